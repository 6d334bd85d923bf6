//! `coshell entrypoint`: the program that a container image starts, on Lambda and elsewhere.
//!
//! A script that checks where it runs and then starts the right program would add 2 ms to every cold start (see
//! bench/README.md). So one program does both. On Lambda this module does not run: `main` has become the bootstrap
//! before.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::address::AWS_ADDRESS;
use crate::error::Error;
use crate::function_url::FunctionUrl;
use crate::serve::{self, ServeArguments, port_variable};

const FUNCTION_URL_HELP: &str = "Serve every other path as a function URL: HTTP requests become events, answers become \
    HTTP responses. =only serves nothing else; =v1 uses the events of a REST API of API Gateway, =alb those of a load \
    balancer; =only,v1 does both [default: only, if $PORT is set]";

/// `docker stop` kills a container after 10 s.
const GRACE: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
#[command(
    mut_arg("port", |port| port.help("The port to listen on [default: $PORT if set, else 8080]")),
    mut_arg("listen", |listen| listen.help("The address to listen on [default: 0.0.0.0]")),
    mut_arg("function_url", |url| url.help(FUNCTION_URL_HELP)),
    mut_arg("grace", |grace| {
        grace.help("How long running invocations may take to finish after a signal [default: 8]")
    })
)]
#[command(after_help = "Examples:\n  \
        coshell entrypoint function.sh.handler\n  \
        ENTRYPOINT [\"coshell\", \"entrypoint\"]   # in a Dockerfile, with CMD [\"function.sh.handler\"]\n\n\
        Exit status:\n  \
        0  it was stopped by SIGINT, SIGTERM or SIGHUP\n  \
        2  it could not start")]
pub struct EntrypointArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub serve: ServeArguments,
}

/// Does the same as [`serve::run`], with defaults for a container.
pub(crate) fn run(arguments: EntrypointArguments) -> Result<ExitCode, Error> {
    let mut arguments = arguments.serve;
    let port = port_variable()?;
    if port.is_some() {
        // Anyone on the network may call this port. Through the Invoke API they could forge events of AWS services.
        arguments.function_url.get_or_insert(FunctionUrl {
            is_only: true,
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
