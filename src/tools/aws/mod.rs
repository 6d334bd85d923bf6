//! AWS: the command line of its CLI, and requests that are signed and tried again.

mod cli;
mod session;

pub(crate) use cli::run as run_cli;
pub(crate) use session::Kept;
