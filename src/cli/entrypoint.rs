//! `coshell entrypoint`: what a container image starts, on Lambda and anywhere else.
//!
//! One program for both, without a script around it: a bash that looks where it is, and then starts
//! another program, costs 2 ms of each cold start (see bench/README.md). On
//! Lambda nothing of this module runs: `bin/coshell.rs` becomes bootstrap before that.

use std::process::ExitCode;
use std::time::Duration;

use super::Error;
use super::address::AWS_ADDRESS;
use super::serve::{self, FunctionUrl, ServeArguments, port_variable};

/// `docker stop` kills after 10 s.
const GRACE: Duration = Duration::from_secs(8);

/// Serves until a signal comes, as [`serve::run`], with what a container wants as defaults.
///
/// # Errors
/// As [`serve::run`].
pub fn run(mut arguments: ServeArguments) -> Result<ExitCode, Error> {
    let port = port_variable()?;
    if port.is_some() {
        // This is the open network, where an event that a caller made up could pass for one of AWS's.
        arguments.function_url.get_or_insert(FunctionUrl::Only);
    }
    let listen = arguments.listen.get_or_insert_default();
    listen.host.get_or_insert(AWS_ADDRESS.ip());
    listen
        .port
        .get_or_insert(port.unwrap_or(AWS_ADDRESS.port()));
    arguments.grace.get_or_insert(GRACE);
    serve::run(&arguments)
}
