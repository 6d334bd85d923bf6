//! `coshell serve`: a function that is called over HTTP, as behind Lambda.
//!
//! Opens the doors of [`emulator`](crate::emulator), starts the first sandbox, and serves until a
//! signal comes. Takes the flags of AWS's emulator too, and its place: called as `aws-lambda-rie` it
//! is that program.

use std::ffi::{OsStr, OsString};
use std::future::IntoFuture;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use clap::{Args, ValueEnum, ValueHint};
use tokio::net::TcpListener;

use super::function::{FunctionArguments, absolute, parse_seconds, text_variable};
use super::{Error, stop_signal, tokio_of_one_thread};
use crate::emulator::asynchronous::Events;
use crate::emulator::faults::{Fault, Faults};
use crate::emulator::invoke_api::{self, Service};
use crate::emulator::logs::{self, Output};
use crate::emulator::pool::Pool;
use crate::emulator::reload::Changes;
use crate::emulator::{self, Function, Scale, function_url, host};

/// The port that the tutorial publishes.
const PORT: u16 = 9000;
/// The address that AWS's emulator has, in a container.
const AWS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// Where Lambda looks for a bootstrap, and after that AWS's emulator.
const BOOTSTRAPS: [&str; 3] = [
    "/var/task/bootstrap",
    "/opt/bootstrap",
    "/var/runtime/bootstrap",
];
/// What container engines leave in a container.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

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
    /// The handler, as Lambda has it: [dir/]file[.sh].function, or the name of a script or an executable, relative
    /// to the task root. Or else, as for AWS's emulator: a bootstrap, its arguments, and the handler as the last
    /// of them
    #[arg(
        value_name = "HANDLER",
        long_help = "The handler, as Lambda has it: [dir/]file[.sh].function, or the name of a script or an \
                     executable, relative to the task root [default: $_HANDLER]. Or else, as for AWS's \
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
        value_parser = parse_address,
        help = "The address to listen at [default: 127.0.0.1, in a container 0.0.0.0]"
    )]
    pub listen: Option<Address>,

    /// Serve every other path as a function URL: HTTP in, HTTP out
    #[arg(long)]
    pub function_url: bool,

    /// Start anew when a file in the task root changes
    #[arg(long, short)]
    pub watch: bool,

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
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
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

/// `host:port`, of which either may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    host: Option<IpAddr>,
    port: Option<u16>,
}

fn parse_address(text: &str) -> Result<Address, String> {
    let parse_host = |host: &str| match host {
        "" => Ok(None),
        "localhost" => Ok(Some(Ipv4Addr::LOCALHOST.into())),
        host => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let host = host
                .parse()
                .map_err(|_| "expected HOST[:PORT], the host as an IP address");
            host.map(Some)
        }
    };
    if let Ok(host) = parse_host(text) {
        return Ok(Address { host, port: None });
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or("expected HOST[:PORT], the host as an IP address")?;
    let port = port.parse().map_err(|_| format!("{port} is no port"))?;
    Ok(Address {
        host: parse_host(host)?,
        port: Some(port),
    })
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1000).contains(&count) => Ok(count),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

/// Turns the words that AWS's emulator was called with into ours: its flags come first, and what
/// follows the first other word is the bootstrap's.
#[must_use]
pub fn from_aws_emulator(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
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
pub fn run(arguments: &ServeArguments) -> Result<ExitCode, Error> {
    let function = function(arguments)?;
    let address = address(arguments);
    tokio_of_one_thread()?.block_on(serve(arguments, function, address))
}

fn function(arguments: &ServeArguments) -> Result<Function, Error> {
    let set = || std::env::var_os("_HANDLER").filter(|handler| !handler.is_empty());
    let mut bootstrap: Vec<OsString> = Vec::new();
    let handler = match arguments.words.as_slice() {
        [] if arguments.as_aws_emulator => {
            bootstrap.push(found_bootstrap()?);
            set()
        }
        [] => set(),
        [program] if arguments.as_aws_emulator => {
            bootstrap.push(program.clone());
            set()
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
        let host = address.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
        function.runtime_api = SocketAddr::new(host, address.port.unwrap_or(0));
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

/// Where to listen: loopback, unless that would be the inside of a container.
fn address(arguments: &ServeArguments) -> SocketAddr {
    let is_in_container = CONTAINER_MARKS.iter().any(|mark| Path::new(mark).exists());
    let mut address = if arguments.as_aws_emulator {
        AWS_ADDRESS
    } else if is_in_container {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))
    } else {
        SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))
    };
    if let Some(listen) = arguments.listen {
        address.set_ip(listen.host.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        address.set_port(listen.port.unwrap_or(address.port()));
    }
    if let Some(port) = arguments.port {
        address.set_port(port);
    }
    address
}

async fn serve(
    arguments: &ServeArguments,
    function: Function,
    address: SocketAddr,
) -> Result<ExitCode, Error> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let fail = |cause| Error::Emulator(emulator::Error::Listen { address, cause });
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let mut changes = if arguments.watch {
        Some(Changes::watch(&function.task_root).map_err(Error::Emulator)?)
    } else {
        None
    };
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
        events: Events::default(),
        retry_delay: arguments.retry_delay,
    });
    let mut router = invoke_api::router();
    if arguments.function_url {
        router = router.fallback(function_url::serve);
    }
    if address.ip().is_loopback() {
        router = router.layer(axum::middleware::from_fn(host::only_local));
    }
    let doors = router
        .with_state(Arc::clone(&service))
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = tokio::spawn(axum::serve(listener, doors).into_future());
    let log_level = log_level(arguments);
    let say = |text: String| {
        if log_level < LogLevel::Error {
            logs::say(text);
        }
    };
    say(greeting(&handler, address, arguments.function_url));
    let warm_up = pool.warm_up();
    tokio::pin!(warm_up);
    let mut is_warm = false;
    let mut reload = None;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            done = &mut warm_up, if !is_warm => {
                is_warm = true;
                done.map_err(Error::Emulator)?;
            }
            name = next_change(&mut changes) => {
                say(format!("{name} has changed, starting anew"));
                let pool = Arc::clone(&pool);
                reload = Some(tokio::spawn(async move { pool.reload().await }));
            }
            done = finished(&mut reload) => {
                reload = None;
                if let Err(error) = done {
                    logs::say(error);
                }
            }
        }
    }
    server.abort();
    pool.close().await;
    match service.events.count() {
        0 => {}
        count => {
            logs::say(format_args!(
                "events of type Event that are not done with, and are dropped: {count}"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A variable of this name may be another program's: what it does not mean to us is not used.
fn log_level(arguments: &ServeArguments) -> LogLevel {
    let set = || LogLevel::from_str(&text_variable("LOG_LEVEL")?, true).ok();
    arguments.log_level.or_else(set).unwrap_or(LogLevel::Info)
}

async fn next_change(changes: &mut Option<Changes>) -> String {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

async fn finished(
    reload: &mut Option<tokio::task::JoinHandle<Result<(), emulator::Error>>>,
) -> Result<(), emulator::Error> {
    match reload {
        // A reload that is not there any more has nothing to tell.
        Some(task) => task.await.unwrap_or(Ok(())),
        None => std::future::pending().await,
    }
}

fn greeting(handler: &str, address: SocketAddr, has_function_url: bool) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let at = format!("http://{host}:{}", address.port());
    if has_function_url {
        return format!("{handler} is served at {at}");
    }
    format!("{handler} is served: curl -d '{{}}' {at}/2015-03-31/functions/function/invocations")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_a_host_a_port_or_both() {
        let parts = |text| parse_address(text).map(|address| (address.host, address.port));
        let loopback = Some(Ipv4Addr::LOCALHOST.into());
        assert_eq!(parts("127.0.0.1"), Ok((loopback, None)));
        assert_eq!(parts("localhost:8080"), Ok((loopback, Some(8080))));
        assert_eq!(parts(":8080"), Ok((None, Some(8080))));
        assert_eq!(
            parts("[::1]:80"),
            Ok((Some(std::net::Ipv6Addr::LOCALHOST.into()), Some(80)))
        );
        for wrong in ["example.com", "127.0.0.1:x", "127.0.0.1:70000"] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
    }

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

    #[test]
    fn greeting_can_be_pasted() {
        let any = SocketAddr::from(([0, 0, 0, 0], 9000));
        assert_eq!(
            greeting("a.b", any, false),
            "a.b is served: curl -d '{}' http://localhost:9000/2015-03-31/functions/function/invocations"
        );
        assert_eq!(
            greeting("a.b", any, true),
            "a.b is served at http://localhost:9000"
        );
    }
}
