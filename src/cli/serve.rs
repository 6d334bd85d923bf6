//! `coshell serve`: serves a function over HTTP, as Lambda does.
//!
//! This file turns options and environment variables into a [`Function`] and [`ServerOptions`]. It also accepts the
//! options and variables of AWS's emulator.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use crate::address::{AWS_ADDRESS, Address, default_address, parse_port};
use crate::aws_emulator::find_bootstrap;
use crate::error::Error;
use crate::function::{
    FunctionArguments, absolute, handler_variable, number_variable, parse_seconds, text_variable,
};
use crate::function_url::FunctionUrl;
use crate::server::{self, ServerOptions};
use crate::terminal::single_threaded_runtime;
use coshell_emulator::faults::Fault;
use coshell_emulator::{self, Function, Scale};

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
#[command(after_help = "Examples:\n  \
        coshell serve function.sh.handler\n  \
        curl -d '{\"name\": \"Ada\"}' localhost:9000/2015-03-31/functions/function/invocations\n  \
        aws lambda invoke --endpoint-url http://localhost:9000 --no-sign-request \\\n    \
        --function-name any --payload '{}' --cli-binary-format raw-in-base64-out /dev/stdout\n  \
        coshell serve site.handler --function-url --watch   # and open http://localhost:9000\n  \
        coshell serve --bootstrap ./bootstrap app.handler --concurrency 4 --timeout 3\n  \
        coshell serve legacy.sh --env STAGE=test --env-file .env\n\n\
        Exit status:\n  \
        0  it was stopped by SIGINT, SIGTERM or SIGHUP\n  \
        2  it could not start")]
pub struct ServeArguments {
    /// The handler, as on Lambda: [dir/]file[.sh].function, or a script or an executable with its arguments, quoted as one
    /// argument; relative to the task root. Or, as for AWS's emulator: a bootstrap, its arguments and, last, the handler
    #[arg(
        value_name = "HANDLER",
        long_help = "The handler, as on Lambda: [dir/]file[.sh].function, or a script or an executable with its arguments, \
                     quoted as one argument; relative to the task root [default: $_HANDLER]. Or, as for AWS's emulator: a \
                     bootstrap, its arguments and, last, the handler"
    )]
    pub handler_or_command: Vec<OsString>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub function: FunctionArguments,

    /// The port to listen on
    #[arg(long, short, help = "The port to listen on [default: 9000]")]
    pub port: Option<u16>,

    /// The address to listen on
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        alias = "runtime-interface-emulator-address",
        value_parser = Address::parse,
        help = "The address to listen on [default: 127.0.0.1, in a container 0.0.0.0]"
    )]
    pub listen: Option<Address>,

    /// Serve every other path as a function URL
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        value_name = "FORMAT",
        default_missing_value = "v2",
        help = "Serve every other path as a function URL: HTTP requests become events, answers become HTTP responses. \
                =only serves nothing else; =v2, the default, uses the events of a function URL, =v1 those of a REST API of API \
                Gateway, =alb those of a load balancer; =only,v1 does both. If $PORT is set, it is the default port"
    )]
    pub function_url: Option<FunctionUrl>,

    /// Restart when a file in the task root changes, unless .gitignore excludes it
    #[arg(long, short)]
    pub watch: bool,

    /// Files that --watch ignores too: a pattern as in .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "watch")]
    pub watch_ignore: Vec<String>,

    /// How long running invocations may take to finish after a signal [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub grace: Option<Duration>,

    /// Run up to N sandboxes at a time, started on demand
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count)]
    pub concurrency: usize,

    /// Run one sandbox with up to N invocations at a time, as Lambda Managed Instances do
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with_all = ["concurrency", "snapstart"])]
    pub managed_instances: Option<usize>,

    /// Emulate SnapStart: a sandbox waits after its init, and is restored for its first event
    #[arg(long, alias = "enable-init-caching")]
    pub snapstart: bool,

    /// How many callers may wait when all sandboxes are busy. Further callers get 429
    #[arg(long, value_name = "N", default_value = "1000")]
    pub queue: usize,

    /// How long a failed event of invocation type Event waits before the second attempt. It waits twice as long before the
    /// third
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub retry_delay: Duration,

    /// Make the Runtime API fail once in this way; may be repeated
    #[arg(long = "fault", value_name = "NAME")]
    pub faults: Vec<Fault>,

    /// The address of the first sandbox's Runtime API [default: any free port of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT", value_parser = Address::parse)]
    pub runtime_api_address: Option<Address>,

    /// The folder of external extensions. Its programs are started with every sandbox [default: /opt/extensions]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub extensions: Option<PathBuf>,

    /// How much coshell prints about itself
    #[arg(
        long,
        value_name = "LEVEL",
        ignore_case = true,
        help = "How much coshell prints about itself; from error on, only errors [default: $LOG_LEVEL if set, else info]"
    )]
    pub log_level: Option<LogLevel>,

    /// As `aws-lambda-rie`: a single argument is the bootstrap, and the address is 0.0.0.0:8080.
    #[arg(long, hide = true)]
    pub as_aws_emulator: bool,
}

/// The levels of AWS's emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "their names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    #[value(alias = "warning")]
    Warn,
    Error,
    Fatal,
    Panic,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1000).contains(&count) => Ok(count),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

pub(crate) fn run(arguments: &ServeArguments) -> Result<ExitCode, Error> {
    let function = build_function(arguments)?;
    let options = ServerOptions {
        address: listen_address(arguments)?,
        function_url: arguments.function_url,
        watch: arguments.watch.then(|| arguments.watch_ignore.clone()),
        grace: arguments.grace,
        max_queued: arguments.queue,
        retry_delay: arguments.retry_delay,
        faults: arguments.faults.clone(),
        is_quiet: log_level(arguments) >= LogLevel::Error,
    };
    let served = single_threaded_runtime()?.block_on(server::serve(options, function));
    served.map_err(|error| explain_words(error, &arguments.handler_or_command))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what several words mean, if the first is no program.
fn explain_words(error: Error, words: &[OsString]) -> Error {
    let Error::Emulator(coshell_emulator::Error::StartBootstrap { path, cause }) = &error else {
        return error;
    };
    let [_, .., last] = words else {
        return error;
    };
    if cause.kind() != ErrorKind::NotFound {
        return error;
    }
    let last = last.to_string_lossy();
    let remedy = match FunctionUrl::parse(&last) {
        Ok(_) => format!("; did you mean --function-url={last}?"),
        Err(_) => String::new(),
    };
    Error::Misuse {
        what: format!("cannot start bootstrap {}", path.display()),
        cause: format!(
            "{cause}; several words are a bootstrap, its arguments and the handler{remedy}"
        ),
    }
}

fn build_function(arguments: &ServeArguments) -> Result<Function, Error> {
    let mut bootstrap: Vec<OsString> = Vec::new();
    let handler = match arguments.handler_or_command.as_slice() {
        [] if arguments.as_aws_emulator => {
            bootstrap.push(find_bootstrap()?);
            handler_variable()
        }
        [] => handler_variable(),
        [program] if arguments.as_aws_emulator => {
            bootstrap.push(program.clone());
            handler_variable()
        }
        [handler] => Some(handler.clone()),
        [.., handler] => {
            bootstrap.clone_from(&arguments.handler_or_command);
            Some(handler.clone())
        }
    };
    if handler.is_none() && !arguments.as_aws_emulator {
        return Err(Error::Misuse {
            what: "cannot serve a function".to_owned(),
            cause: "neither an argument nor _HANDLER names a handler; for example: coshell serve function.sh.handler"
                .to_owned(),
        });
    }
    let mut function = arguments.function.function(handler.unwrap_or_default())?;
    if let Some(program) = bootstrap.first_mut() {
        // A program that does not exist here is looked up in PATH.
        if Path::new(program).exists() {
            *program = absolute(Path::new(program))?.into();
        }
        function.bootstrap = bootstrap;
    }
    function.scale = match arguments.managed_instances {
        Some(count) => Scale::ManagedInstance(count),
        None if arguments.snapstart => Scale::SnapStart(arguments.concurrency),
        None => Scale::OnDemand(arguments.concurrency),
    };
    if let Some(address) = arguments.runtime_api_address {
        function.runtime_api = address.or((Ipv4Addr::LOCALHOST, 0).into());
    }
    if let Some(folder) = &arguments.extensions {
        let what = format!("cannot read extensions in {}", folder.display());
        fs::read_dir(folder).map_err(Error::io(what))?;
        function.extensions.clone_from(folder);
    }
    Ok(function)
}

fn listen_address(arguments: &ServeArguments) -> Result<SocketAddr, Error> {
    let mut default = if arguments.as_aws_emulator {
        AWS_ADDRESS
    } else {
        default_address()
    };
    if arguments.function_url.is_some()
        && let Some(port) = port_variable()?
    {
        default.set_port(port);
    }
    let mut address = match arguments.listen {
        // `:PORT` means all addresses, not the default one.
        Some(Address { host: None, port }) => {
            let port = port.unwrap_or(default.port());
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
        }
        Some(listen) => listen.or(default),
        None => default,
    };
    if let Some(port) = arguments.port {
        address.set_port(port);
    }
    Ok(address)
}

/// `PORT`, which platforms for HTTP containers set.
pub(crate) fn port_variable() -> Result<Option<u16>, Error> {
    number_variable("PORT", parse_port)
}

/// Another program may use `LOG_LEVEL` too, so a value that is not one of ours is ignored.
fn log_level(arguments: &ServeArguments) -> LogLevel {
    let variable = || LogLevel::from_str(&text_variable("LOG_LEVEL")?, true).ok();
    let level = arguments.log_level.or_else(variable);
    level.unwrap_or(LogLevel::Info)
}
