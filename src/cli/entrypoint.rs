//! `coshell entrypoint`: the program that a container image starts, on Lambda and elsewhere.
//!
//! A script that checks where it runs and then starts the right program would add 2 ms to every cold start (see
//! bench/README.md). So one program does both. On Lambda this module does not run: `main` has become the bootstrap
//! before.
//!
//! The options are those of `coshell serve`. Their help is this module's own, because defaults and purpose differ.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Args};

use crate::address::AWS_ADDRESS;
use crate::error::Error;
use crate::function_url::FunctionUrl;
use crate::serve::{self, ServeArguments, port_variable};

const FUNCTION_URL_HELP: &str = "Serve every other path as a function URL: HTTP requests become events, answers become \
    HTTP responses. =only serves nothing else; =v1 uses the events of a REST API of API Gateway, =alb those of a load \
    balancer; =only,v1 does both [default: only, if $PORT is set]";

/// `docker stop` kills a container after 10 s.
const GRACE: Duration = Duration::from_secs(8);

/// The options of `coshell serve`, with their meaning in a container.
#[derive(Debug, Args)]
#[command(
    mut_arg("handler_or_command", handler_help),
    mut_arg("port", |port| port.help("The port to listen on [default: $PORT if set, else 8080]")),
    mut_arg("listen", |listen| listen.help("The address to listen on [default: 0.0.0.0]")),
    mut_arg("function_url", |url| url.help(FUNCTION_URL_HELP)),
    mut_arg("grace", |grace| {
        grace.help("How long running invocations may take to finish after a signal [default: 8, since docker stop kills after 10]")
    }),
    mut_arg("faults", |faults| faults.hide(true)),
    mut_arg("runtime_api_address", |address| address.hide(true))
)]
#[command(after_help = "In a Dockerfile:\n  \
        COPY function.sh /var/task/function.sh\n  \
        ENTRYPOINT [\"/usr/local/bin/coshell\", \"entrypoint\"]\n  \
        CMD [\"function.handler\"]\n\n\
        Examples:\n  \
        docker run -p 9000:8080 IMAGE\n  \
        curl -d '{\"name\": \"Ada\"}' localhost:9000/2015-03-31/functions/function/invocations\n  \
        docker run -p 9000:8080 IMAGE function.handler --function-url --concurrency 4\n  \
        docker run -p 9000:9000 -e PORT=9000 IMAGE   # and open http://localhost:9000\n\n\
        Environment:\n  \
        AWS_LAMBDA_RUNTIME_API  set on Lambda and by its emulators: then this is the bootstrap\n  \
        PORT                    set on platforms for HTTP containers: the port of the function URL\n  \
        _HANDLER                the handler, if no argument names one\n  \
        LAMBDA_TASK_ROOT        the folder with the code, unless --task-root names one\n\n\
        Exit status:\n  \
        0  it was stopped by SIGINT, SIGTERM or SIGHUP\n  \
        2  it could not start")]
pub struct EntrypointArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub serve: ServeArguments,
}

fn handler_help(handler: Arg) -> Arg {
    let text = "The handler, as on Lambda: [dir/]file[.sh].function, or a script or an executable with its arguments, quoted \
                as one argument; relative to the task root [default: $_HANDLER]. Put it before all options: on Lambda, \
                coshell reads no further argument";
    handler.help(text).long_help(text)
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
