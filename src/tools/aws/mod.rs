//! AWS: the command line of its CLI, and requests that are signed and tried again.

mod cli;
mod credentials;
mod endpoint;
mod error;
mod profile;
mod retry;
mod s3;
mod session;
mod sign;

pub(crate) use cli::run as run_cli;
pub(crate) use error::AwsError;
pub(crate) use session::Kept;
pub(crate) use sign::encode as encode_query_value;
