//! AWS: the command line of its CLI, and requests that are signed and tried again.

mod cli;
mod credentials;
mod endpoint;
mod error;
mod payload;
mod profile;
mod protocols;
mod providers;
mod request;
mod retry;
mod s3;
mod session;
mod settings;
mod sign;
mod values;
mod xml_text;

pub(crate) use cli::run as run_cli;
pub(crate) use error::AwsError;
pub(crate) use profile::region as profile_region;
pub(crate) use request::run as run_request;
pub(crate) use session::Kept;
pub(crate) use sign::{encode_bytes as encode_query_bytes, hex};
pub(crate) use values::{Cache as ValueCache, Kind as ValueKind, run as run_value};
