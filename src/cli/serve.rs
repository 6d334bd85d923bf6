//! `coshell serve`: a function that is called over HTTP, as behind Lambda.
//!
//! Opens the doors of [`emulator`](coshell_emulator), starts the first sandbox, and serves until a
//! signal comes. Takes the flags of AWS's emulator too, and its place: called as `aws-lambda-rie` it
//! is that program.

use std::ffi::{OsStr, OsString};
use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use clap::{Args, ValueEnum, ValueHint};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::address::{AWS_ADDRESS, Address, default_address, parse_port};
use crate::error::Error;
use crate::function::{
    FunctionArguments, absolute, handler_variable, number_variable, parse_seconds, text_variable,
};
use crate::function_url::FunctionUrl;
use crate::greeting::{State, greeting};
use crate::terminal::{stop_signal, tokio_of_one_thread};
use coshell_emulator::asynchronous::AsynchronousEvents;
use coshell_emulator::faults::{Fault, Faults};
use coshell_emulator::invoke_api;
use coshell_emulator::logs::{self, Output};
use coshell_emulator::pool::Pool;
use coshell_emulator::service::Service;
use coshell_emulator::watcher::Watcher;
use coshell_emulator::{self, Function, Scale, function_url, host};

/// Where Lambda looks for a bootstrap, and after that AWS's emulator.
const BOOTSTRAPS: [&str; 3] = [
    "/var/task/bootstrap",
    "/opt/bootstrap",
    "/var/runtime/bootstrap",
];

/// After so long coshell says that the function is still loading.
const SLOW_INIT: Duration = Duration::from_millis(250);

/// What `coshell serve` is told.
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
        Ends in order on SIGINT and SIGTERM, with exit status 0; 2 if it could not start.")]
pub struct ServeArguments {
    /// The handler, as Lambda has it: [dir/]file[.sh].function, or a script or an executable with its
    /// arguments, in one word; relative to the task root. Or else, as for AWS's emulator: a bootstrap, its arguments, and the handler as the last
    /// of them
    #[arg(
        value_name = "HANDLER",
        long_help = "The handler, as Lambda has it: [dir/]file[.sh].function, or a script or an executable \
                     with its arguments, in one word; relative to the task root [default: $_HANDLER]. Or else, as for AWS's \
                     emulator: a bootstrap, its arguments, and the handler as the last of them"
    )]
    pub words: Vec<OsString>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "their own are the help")]
    pub function: FunctionArguments,

    /// The port to listen at
    #[arg(long, short, help = "The port to listen at [default: 9000]")]
    pub port: Option<u16>,

    /// The address to listen at.
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        alias = "runtime-interface-emulator-address",
        value_parser = Address::parse,
        help = "The address to listen at [default: 127.0.0.1, in a container 0.0.0.0]"
    )]
    pub listen: Option<Address>,

    /// Serve every other path as a function URL: HTTP in, HTTP out.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        value_name = "FORMAT",
        default_missing_value = "beside",
        help = "Serve every other path as a function URL: HTTP in, HTTP out; with =only, every path; with =v1 or \
                =alb as a REST API of API Gateway or a load balancer; =only,v1. $PORT, if set, is the port then"
    )]
    pub function_url: Option<FunctionUrl>,

    /// Start anew when a file in the task root changes; what .gitignore leaves out is left out here, too
    #[arg(long, short)]
    pub watch: bool,

    /// What --watch leaves out besides, as in .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "watch")]
    pub watch_ignore: Vec<String>,

    /// Invocations under way when a signal comes may take so long to end [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub grace: Option<Duration>,

    /// Up to so many sandboxes at a time, started on demand
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count)]
    pub concurrency: usize,

    /// One sandbox with up to so many invocations at a time, as on Lambda Managed Instances
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with_all = ["concurrency", "snapstart"])]
    pub managed_instances: Option<usize>,

    /// Play SnapStart: the sandbox waits after its init, and is restored for its first event
    #[arg(long, alias = "enable-init-caching")]
    pub snapstart: bool,

    /// So many callers may wait when all sandboxes are busy; more get 429
    #[arg(long, value_name = "N", default_value = "1000")]
    pub queue: usize,

    /// How long a failed event of invocation type Event waits for its second attempt; twice that for
    /// the third
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub retry_delay: Duration,

    /// Something that the Runtime API is to do wrong, once; may be repeated
    #[arg(long = "fault", value_name = "NAME")]
    pub faults: Vec<Fault>,

    /// Where the first sandbox finds the Runtime API [default: any free port of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT", value_parser = Address::parse)]
    pub runtime_api_address: Option<Address>,

    /// The folder whose programs are started as external extensions
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/opt/extensions")]
    pub extensions: PathBuf,

    /// How much coshell says of itself.
    #[arg(
        long,
        value_name = "LEVEL",
        ignore_case = true,
        help = "How much coshell says of itself: from error on, nothing but errors [default: $LOG_LEVEL \
                if set, else info]"
    )]
    pub log_level: Option<LogLevel>,

    /// As `aws-lambda-rie`: a single word is the bootstrap, and the address is 0.0.0.0:8080.
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

/// Turns the words that AWS's emulator was called with into ours: its flags come first, and what
/// follows the first other word is the bootstrap's.
pub(crate) fn from_aws_emulator(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut ours: Vec<OsString> =
        vec!["coshell".into(), "serve".into(), "--as-aws-emulator".into()];
    let mut words = words.peekable();
    while let Some(word) = words.next_if(|word| is_flag(word)) {
        let wants_value = word != "--enable-init-caching" && !word.to_string_lossy().contains('=');
        ours.push(word);
        ours.extend(if wants_value { words.next() } else { None });
    }
    ours.push("--".into());
    ours.extend(words);
    ours
}

fn is_flag(word: &OsStr) -> bool {
    word.to_string_lossy().starts_with("--") && word != "--"
}

/// Serves until a signal comes.
///
/// # Errors
/// When it cannot listen, or the bootstrap cannot be started.
pub(crate) fn run(arguments: &ServeArguments) -> Result<ExitCode, Error> {
    let function = function(arguments)?;
    let address = address(arguments)?;
    tokio_of_one_thread()?.block_on(serve(arguments, function, address))
}

fn function(arguments: &ServeArguments) -> Result<Function, Error> {
    let mut bootstrap: Vec<OsString> = Vec::new();
    let handler = match arguments.words.as_slice() {
        [] if arguments.as_aws_emulator => {
            bootstrap.push(found_bootstrap()?);
            handler_variable()
        }
        [] => handler_variable(),
        [program] if arguments.as_aws_emulator => {
            bootstrap.push(program.clone());
            handler_variable()
        }
        [handler] => Some(handler.clone()),
        [.., handler] => {
            bootstrap.clone_from(&arguments.words);
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
        // Another is looked for along PATH.
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
    function.extensions.clone_from(&arguments.extensions);
    Ok(function)
}

fn found_bootstrap() -> Result<OsString, Error> {
    let found = BOOTSTRAPS.iter().find(|path| Path::new(path).is_file());
    found.map(OsString::from).ok_or_else(|| Error::Misuse {
        what: "cannot find a bootstrap".to_owned(),
        cause: format!("there is none of {}", BOOTSTRAPS.join(", ")),
    })
}

/// Where to listen.
///
/// # Errors
/// When it depends on `PORT`, and that is no port.
fn address(arguments: &ServeArguments) -> Result<SocketAddr, Error> {
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
        // A port alone is meant for everybody.
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

/// The port that a platform for HTTP containers wants to have served.
///
/// # Errors
/// When it is set to something else.
pub(crate) fn port_variable() -> Result<Option<u16>, Error> {
    number_variable("PORT", parse_port)
}

async fn serve(
    arguments: &ServeArguments,
    function: Function,
    address: SocketAddr,
) -> Result<ExitCode, Error> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let fail = |cause| Error::Emulator(coshell_emulator::Error::Listen { address, cause });
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let patterns = &arguments.watch_ignore;
    let watch = || Watcher::start(&function.task_root, patterns);
    let mut changes = arguments
        .watch
        .then(watch)
        .transpose()
        .map_err(Error::Emulator)?;
    let output = Output::standard_output().map_err(Error::io("cannot use standard output"))?;
    let handler = function.handler.to_string_lossy().into_owned();
    let pool = Pool::new(
        function,
        arguments.queue,
        output,
        Faults::new(arguments.faults.clone()),
    );
    let service = Arc::new(Service {
        pool: Arc::clone(&pool),
        events: Arc::new(AsynchronousEvents::new(
            Arc::clone(&pool),
            arguments.retry_delay,
        )),
        url_format: arguments.function_url.unwrap_or_default().format,
        logs_access: log_level(arguments) < LogLevel::Error,
    });
    let doors = router(arguments, address)
        .with_state(Arc::clone(&service))
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let draining = Arc::new(Notify::new());
    let drain = Arc::clone(&draining).notified_owned();
    let mut server = tokio::spawn(
        axum::serve(listener, doors)
            .with_graceful_shutdown(drain)
            .into_future(),
    );
    let log_level = log_level(arguments);
    let say = |text: String| {
        if log_level < LogLevel::Error {
            logs::eprint(text);
        }
    };
    let has_url = arguments.function_url.is_some();
    let greet = |state| say(greeting(&handler, address, has_url, state));
    let warm_up = pool.warm_up();
    let slow = tokio::time::sleep(SLOW_INIT);
    tokio::pin!(warm_up, slow);
    let mut is_slow = false;
    let mut is_warm = false;
    let mut reload = None;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            done = &mut warm_up, if !is_warm => {
                is_warm = true;
                let is_ready = done.map_err(Error::Emulator)?;
                greet(if is_ready { State::Served } else { State::Failed });
            }
            () = &mut slow, if !is_warm && !is_slow => {
                is_slow = true;
                greet(State::Loading);
            }
            name = next_change(&mut changes) => {
                say(format!("{name} has changed, starting anew"));
                let pool = Arc::clone(&pool);
                reload = Some(tokio::spawn(async move { pool.reload().await }));
            }
            done = finished(&mut reload) => {
                reload = None;
                if let Err(error) = done {
                    logs::eprint(error);
                }
            }
        }
    }
    if let Some(grace) = arguments.grace {
        draining.notify_one();
        // What is not done by then is ended, and its callers see the connection end.
        let _ = tokio::time::timeout(grace, &mut server).await;
    }
    server.abort();
    pool.close().await;
    match service.events.unfinished() {
        0 => {}
        count => {
            logs::eprint(format_args!(
                "events of type Event that are not done with, and are dropped: {count}"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The doors that are open, and who may come to them.
fn router(arguments: &ServeArguments, address: SocketAddr) -> Router<Arc<Service>> {
    let mut router = match arguments.function_url {
        Some(url) if url.is_alone => Router::new(),
        _ => invoke_api::router(),
    };
    if arguments.function_url.is_some() {
        router = router.fallback(function_url::serve);
    } else {
        router = router.fallback(invoke_api::not_found);
    }
    if address.ip().is_loopback() {
        router = router.layer(axum::middleware::from_fn(host::require_local_host));
    }
    router
}

/// A variable of this name may be another program's: what it does not mean to us is not used.
fn log_level(arguments: &ServeArguments) -> LogLevel {
    let set = || LogLevel::from_str(&text_variable("LOG_LEVEL")?, true).ok();
    arguments.log_level.or_else(set).unwrap_or(LogLevel::Info)
}

async fn next_change(changes: &mut Option<Watcher>) -> String {
    match changes {
        Some(changes) => changes.next_change().await,
        None => std::future::pending().await,
    }
}

async fn finished(
    reload: &mut Option<tokio::task::JoinHandle<Result<(), coshell_emulator::Error>>>,
) -> Result<(), coshell_emulator::Error> {
    match reload {
        // A reload that is not there any more has nothing to tell.
        Some(task) => task.await.unwrap_or(Ok(())),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_aws_emulator_are_taken_apart_as_it_does() {
        let ours = |words: &str| {
            let words = words.split(' ').map(OsString::from);
            let ours = from_aws_emulator(words).into_iter().skip(3);
            let ours: Vec<_> = ours
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            ours.join(" ")
        };
        assert_eq!(
            ours("--log-level debug --enable-init-caching /var/runtime/bootstrap --flag a.b"),
            "--log-level debug --enable-init-caching -- /var/runtime/bootstrap --flag a.b"
        );
        assert_eq!(
            ours("--runtime-api-address=127.0.0.1:9001 bootstrap"),
            "--runtime-api-address=127.0.0.1:9001 -- bootstrap"
        );
    }
}
