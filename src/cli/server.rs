//! The HTTP server of `coshell serve`: listens, serves the function, and stops on a signal.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::function_url::FunctionUrl;
use crate::startup_message::{InitState, startup_message};
use crate::terminal::stop_signal;
use coshell_emulator::asynchronous::AsynchronousEvents;
use coshell_emulator::faults::{Fault, Faults};
use coshell_emulator::logs::{Output, eprint};
use coshell_emulator::pool::Pool;
use coshell_emulator::service::Service;
use coshell_emulator::watcher::Watcher;
use coshell_emulator::{self, Function, function_url, host, invoke_api};

/// An init that takes longer than this is announced.
const SLOW_INIT: Duration = Duration::from_millis(250);

/// How to serve the function.
#[derive(Debug)]
pub(crate) struct ServerOptions {
    pub address: SocketAddr,
    pub function_url: Option<FunctionUrl>,
    /// Patterns of files to ignore. `None` to watch no files.
    pub watch: Option<Vec<String>>,
    /// How long running invocations may take after a signal.
    pub grace: Option<Duration>,
    /// How many callers may wait when all sandboxes are busy.
    pub max_queued: usize,
    pub retry_delay: Duration,
    pub faults: Vec<Fault>,
    /// Print nothing but errors.
    pub is_quiet: bool,
}

/// Serves the function until a signal comes.
pub(crate) async fn serve(options: ServerOptions, function: Function) -> Result<(), Error> {
    let stop = stop_signal()?;
    let (listener, address) = bind(options.address).await.map_err(Error::Emulator)?;
    let watcher = options
        .watch
        .as_ref()
        .map(|patterns| Watcher::start(&function.task_root, patterns));
    let watcher = watcher.transpose().map_err(Error::Emulator)?;
    let output = Output::standard_output().map_err(Error::io("cannot use standard output"))?;
    let messages = Messages {
        handler: function.handler.to_string_lossy().into_owned(),
        address,
        has_function_url: options.function_url.is_some(),
        is_quiet: options.is_quiet,
    };
    let faults = Faults::new(options.faults);
    let pool = Pool::new(function, options.max_queued, output, faults);
    let events = Arc::new(AsynchronousEvents::new(
        Arc::clone(&pool),
        options.retry_delay,
    ));
    let service = Service {
        pool: Arc::clone(&pool),
        events: Arc::clone(&events),
        url_format: options.function_url.unwrap_or_default().format,
        logs_access: !options.is_quiet,
    };
    let router = build_router(options.function_url, address).with_state(Arc::new(service));
    let server = Server::start(listener, router);
    run_until_stopped(stop, &pool, watcher, &messages).await?;
    server.stop(options.grace).await;
    pool.close().await;
    report_unfinished(&events);
    Ok(())
}

/// Also returns the address with the port that the system chose.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), coshell_emulator::Error> {
    let fail = |cause| coshell_emulator::Error::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}

fn build_router(function_url: Option<FunctionUrl>, address: SocketAddr) -> Router<Arc<Service>> {
    let mut router = match function_url {
        Some(url) if url.is_only => Router::new(),
        _ => invoke_api::router(),
    };
    if function_url.is_some() {
        router = router.fallback(function_url::serve);
    } else {
        router = router.fallback(invoke_api::not_found);
    }
    if address.ip().is_loopback() {
        router = router.layer(axum::middleware::from_fn(host::require_local_host));
    }
    router
}

/// Serves in a task of its own.
struct Server {
    task: JoinHandle<io::Result<()>>,
    draining: Arc<Notify>,
}

impl Server {
    fn start(listener: TcpListener, router: Router) -> Self {
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let draining = Arc::new(Notify::new());
        let drain = Arc::clone(&draining).notified_owned();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(
            axum::serve(listener, service)
                .with_graceful_shutdown(drain)
                .into_future(),
        );
        Self { task, draining }
    }

    /// Refuses new calls, and closes the connections of running ones, after `grace` if there is one.
    async fn stop(mut self, grace: Option<Duration>) {
        if let Some(grace) = grace {
            self.draining.notify_one();
            let _ = timeout(grace, &mut self.task).await;
        }
        self.task.abort();
    }
}

/// Warms up a sandbox, and reloads after each change of a file, until a signal comes.
async fn run_until_stopped(
    stop: impl Future<Output = u8>,
    pool: &Arc<Pool>,
    mut watcher: Option<Watcher>,
    messages: &Messages,
) -> Result<(), Error> {
    let warm_up = pool.warm_up();
    let slow_init = sleep(SLOW_INIT);
    tokio::pin!(stop, warm_up, slow_init);
    let mut is_warm = false;
    let mut is_announced = false;
    let mut reload = None;
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(()),
            result = &mut warm_up, if !is_warm => {
                is_warm = true;
                let has_succeeded = result.map_err(Error::Emulator)?;
                messages.announce(if has_succeeded { InitState::Succeeded } else { InitState::Failed });
            }
            () = &mut slow_init, if !is_warm && !is_announced => {
                is_announced = true;
                messages.announce(InitState::Running);
            }
            change = next_change(&mut watcher) => match change {
                Ok(name) => {
                    messages.print(&format!("{name} changed, restarting"));
                    let pool = Arc::clone(pool);
                    reload = Some(tokio::spawn(async move { pool.reload().await }));
                }
                Err(error) => eprint(error),
            },
            result = wait_for_reload(&mut reload) => {
                reload = None;
                if let Err(error) = result {
                    eprint(error);
                }
            }
        }
    }
}

async fn next_change(watcher: &mut Option<Watcher>) -> Result<String, coshell_emulator::Error> {
    match watcher {
        Some(watcher) => watcher.next_change().await,
        None => std::future::pending().await,
    }
}

async fn wait_for_reload(
    reload: &mut Option<JoinHandle<Result<(), coshell_emulator::Error>>>,
) -> Result<(), coshell_emulator::Error> {
    match reload {
        // The task can only be cancelled at shutdown.
        Some(task) => task.await.unwrap_or(Ok(())),
        None => std::future::pending().await,
    }
}

fn report_unfinished(events: &AsynchronousEvents) {
    match events.unfinished() {
        0 => {}
        count => eprint(format_args!(
            "dropped unfinished events of invocation type Event: {count}"
        )),
    }
}

/// Prints what coshell says about itself.
struct Messages {
    handler: String,
    address: SocketAddr,
    has_function_url: bool,
    is_quiet: bool,
}

impl Messages {
    fn print(&self, message: &str) {
        if !self.is_quiet {
            eprint(message);
        }
    }

    fn announce(&self, state: InitState) {
        let (address, has_function_url) = (self.address, self.has_function_url);
        self.print(&startup_message(
            &self.handler,
            address,
            has_function_url,
            state,
        ));
    }
}
