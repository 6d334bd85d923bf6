//! `coshell entrypoint`: what a container image starts, on Lambda and anywhere else.
//!
//! One program for both, without a script around it: a bash that looks where it is, and then starts
//! another program, costs 2 ms of each cold start (see bench/README.md). On
//! Lambda nothing of this module runs: `bin/coshell.rs` becomes bootstrap before that.

use std::process::ExitCode;
use std::time::Duration;

use crate::address::AWS_ADDRESS;
use crate::error::Error;
use crate::function_url::FunctionUrl;
use crate::serve::{self, ServeArguments, port_variable};

/// `docker stop` kills after 10 s.
const GRACE: Duration = Duration::from_secs(8);

/// Serves until a signal comes, as [`serve::run`], with what a container wants as defaults.
///
/// # Errors
/// As [`serve::run`].
pub(crate) fn run(mut arguments: ServeArguments) -> Result<ExitCode, Error> {
    let port = port_variable()?;
    if port.is_some() {
        // This is the open network, where an event that a caller made up could pass for one of AWS's.
        arguments.function_url.get_or_insert(FunctionUrl {
            is_alone: true,
            ..FunctionUrl::default()
        });
    }
    let listen = arguments.listen.get_or_insert_default();
    listen.host.get_or_insert(AWS_ADDRESS.ip());
    listen
        .port
        .get_or_insert(port.unwrap_or(AWS_ADDRESS.port()));
    arguments.grace.get_or_insert(GRACE);
    serve::run(&arguments)
}
