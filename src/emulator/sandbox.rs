//! One sandbox: a bootstrap process with a Runtime API of its own, and its extensions.
//!
//! The bootstrap leads a session of its own, so that nothing in the sandbox can use the user's terminal, and a process
//! group, so that its children end with it. A child that leaves the group (`set -m`, `setsid`) and an extension are
//! found by the id of the sandbox, which every process of the sandbox has in its environment.
//!
//! [`pool`](super::pool) and [`invocation`](super::invocation) decide when a sandbox starts and ends.

use std::env;
use std::fs::{self, DirEntry};
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::serve::ListenerExt;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::environment;
use super::exchange::new_id;
use super::extension_api;
use super::extensions::Extensions;
use super::faults::Faults;
use super::logs::{Log, Output};
use super::memory::Memory;
use super::runtime_api::RuntimeApi;
use super::{Error, Function, check_task_root};
use coshell_process::processes::{are_orphans_left, find_tagged};
use coshell_process::sys;

/// From SIGTERM to SIGKILL: as much as Lambda gives a runtime with an internal extension.
const GRACE: Duration = Duration::from_millis(500);
/// The same, if there are external extensions.
const GRACE_WITH_EXTENSIONS: Duration = Duration::from_secs(2);
/// How long to look for processes that are still there after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_millis(500);
const KILL_CHECK_PERIOD: Duration = Duration::from_millis(2);

/// A bootstrap process and its Runtime API. Dropping it kills the processes and does not wait for their end.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub api: Arc<RuntimeApi>,
    pub log: Arc<Log>,
    pub memory: Memory,
    /// How many reloads came before its start.
    pub generation: u64,
    started_at: Instant,
    tenant: OnceLock<Option<String>>,
    start_times: Mutex<StartTimes>,
    /// The bootstrap, and the process group that it leads.
    leader: Pid,
    /// Every process of the sandbox has this `NAME=VALUE` in its environment.
    environment_tag: Vec<u8>,
    exit_status: watch::Receiver<Option<ExitStatus>>,
    is_killed: AtomicBool,
    /// Serves the Runtime API until it is dropped.
    _servers: JoinSet<io::Result<()>>,
}

/// What the start of a sandbox took.
#[derive(Debug, Default)]
pub(crate) struct StartTimes {
    pub init: Option<Duration>,
    pub restore: Option<Duration>,
}

impl Sandbox {
    /// Starts the function's bootstrap and the extensions in the task root. Standard output and standard error both go
    /// to the log.
    ///
    /// # Errors
    /// When there is no port or no pipe, when a program cannot be executed, or when the task root cannot be entered.
    pub(crate) async fn start(
        function: &Function,
        generation: u64,
        output: Arc<Output>,
        faults: Arc<Faults>,
    ) -> Result<Self, Error> {
        let listener = listen(function.runtime_api).await;
        let listener = listener.map_err(Error::OpenRuntimeApi)?;
        let address = listener.local_addr().map_err(Error::OpenRuntimeApi)?;
        let extensions = find_extensions(&function.extensions);
        let names = extensions.iter().map(|(name, _)| name.clone());
        let (log, writer) = Log::open(output).map_err(Error::OpenLog)?;
        let api = Arc::new(RuntimeApi::new(
            function.scale.capacity(),
            function.timeout,
            Extensions::new(names.collect()),
            faults,
            Arc::clone(&log),
        ));
        let mut servers = JoinSet::new();
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = RuntimeApi::router().merge(extension_api::router());
        let router: axum::Router = router.with_state(Arc::clone(&api));
        servers.spawn(axum::serve(listener, router).into_future());
        let id = new_id();
        let variables = environment::variables(function, address, &id, |name| env::var_os(name));
        let started_at = Instant::now();
        let spawn = |mut command: Command| {
            sys::start_in_own_session(command.as_std_mut());
            command
                .envs(variables.iter().map(|(name, value)| (name, value)))
                .env_remove("AWS_EXECUTION_ENV")
                .env_remove("_X_AMZN_TRACE_ID")
                .env_remove("HOME")
                .current_dir(&function.task_root)
                .stdin(Stdio::null())
                .stdout(writer.try_clone()?)
                .stderr(writer.try_clone()?)
                .kill_on_drop(true)
                .spawn()
        };
        let bootstrap = spawn(function.bootstrap_command()).map_err(|cause| {
            // The system names neither the program nor the folder that is missing.
            let missing_root = check_task_root(&function.task_root).err();
            let path = function.program();
            missing_root.unwrap_or(Error::StartBootstrap { path, cause })
        })?;
        let leader =
            pid_of(&bootstrap).ok_or_else(|| Error::WatchBootstrap(Errno::ESRCH.into()))?;
        coshell_process::register_child(leader);
        let mut roots = vec![leader];
        for (name, path) in extensions {
            let extension = spawn(Command::new(&path));
            let mut extension = extension.map_err(|cause| Error::StartExtension { path, cause })?;
            let (pid, api) = (pid_of(&extension), Arc::clone(&api));
            pid.into_iter().for_each(coshell_process::register_child);
            roots.extend(pid);
            tokio::spawn(async move {
                if let Ok(status) = extension.wait().await {
                    api.record_extension_exit(&name, status);
                }
                pid.into_iter().for_each(coshell_process::unregister_child);
            });
        }
        drop(writer);
        let (exit_sender, exit_status) = watch::channel(None);
        tokio::spawn(wait_for_bootstrap(bootstrap, leader, exit_sender));
        Ok(Self {
            api,
            log,
            memory: Memory::new(roots),
            generation,
            started_at,
            tenant: OnceLock::new(),
            start_times: Mutex::default(),
            leader,
            environment_tag: environment::sandbox_tag(&id),
            exit_status,
            is_killed: AtomicBool::new(false),
            _servers: servers,
        })
    }

    /// Waits until the bootstrap exits by itself.
    pub(crate) async fn wait_for_exit(&self) -> ExitStatus {
        let mut exit_status = self.exit_status.clone();
        let status = exit_status.wait_for(Option::is_some).await;
        match status.map(|status| *status) {
            Ok(Some(status)) => status,
            // The task that waits for the bootstrap is gone, so tokio is shutting down and nobody polls this again.
            _ => std::future::pending().await,
        }
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exit_status.borrow().is_some()
    }

    /// Whether this sandbox may serve `tenant`. The first tenant who claims it keeps it.
    pub(crate) fn claim_for(&self, tenant: Option<&str>) -> bool {
        let owner = self.tenant.get_or_init(|| tenant.map(ToOwned::to_owned));
        owner.as_deref() == tenant
    }

    /// Notes that the init was over at `ready_at`, and returns how long it took.
    pub(crate) fn record_init(&self, ready_at: std::time::Instant) -> Duration {
        let duration = ready_at.saturating_duration_since(self.started_at.into_std());
        self.start_times().init = Some(duration);
        duration
    }

    pub(crate) fn record_restore(&self, duration: Duration) {
        self.start_times().restore = Some(duration);
    }

    /// Time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// What the start took. Only the first caller gets it, because only the first report of a sandbox shows it.
    pub(crate) fn take_start_times(&self) -> StartTimes {
        std::mem::take(&mut *self.start_times())
    }

    fn start_times(&self) -> MutexGuard<'_, StartTimes> {
        self.start_times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends SIGTERM to the bootstrap and SHUTDOWN to the extensions, and kills what is left when they have exited, or after
    /// 500 ms, or after 2 s if an extension gets SHUTDOWN.
    pub(crate) async fn stop(&self) {
        self.log.telemetry.close().await;
        let grace = if self.api.extensions.send_shutdown(GRACE_WITH_EXTENSIONS) {
            GRACE_WITH_EXTENSIONS
        } else {
            GRACE
        };
        if !self.has_exited() {
            let _ = kill(self.leader, Signal::SIGTERM);
        }
        let all_exit =
            async { tokio::join!(self.wait_for_exit(), self.api.extensions.wait_for_exit()) };
        let _ = timeout(grace, all_exit).await;
        self.kill().await;
    }

    /// Kills all processes of the sandbox, as Lambda does at the deadline, and waits until they are gone, for at most
    /// 1 s.
    pub(crate) async fn kill(&self) {
        if self.is_killed.load(Ordering::Relaxed) {
            return;
        }
        if !self.has_exited() {
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
        let limit = Instant::now() + KILL_LIMIT;
        let _ = timeout(KILL_LIMIT, self.wait_for_exit()).await;
        loop {
            // As the first process of a container, coshell also has to reap what others leave behind.
            let is_done = !kill_tagged(&self.environment_tag) && !are_orphans_left();
            if is_done || Instant::now() > limit {
                break;
            }
            sleep(KILL_CHECK_PERIOD).await;
        }
        self.is_killed.store(true, Ordering::Relaxed);
        self.log.drain();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.has_exited() {
            let _ = killpg(self.leader, Signal::SIGKILL);
            // Nobody waits for it in any other way when the emulator ends during the init. A killed process ends at once.
            let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            let _ = waitid(Id::Pid(self.leader), ended);
        }
        if !self.is_killed.load(Ordering::Relaxed) {
            kill_tagged(&self.environment_tag);
        }
    }
}

/// Waits for the bootstrap, and then kills the rest of its process group at once: as soon as the group is empty, the
/// system may give its number to another.
async fn wait_for_bootstrap(
    mut bootstrap: Child,
    leader: Pid,
    exit_status: watch::Sender<Option<ExitStatus>>,
) {
    if let Ok(status) = bootstrap.wait().await {
        let _ = killpg(leader, Signal::SIGKILL);
        coshell_process::unregister_child(leader);
        exit_status.send_replace(Some(status));
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    pid.map(Pid::from_raw)
}

/// Listens at the address that is wanted or, if another sandbox has it, at another port of the same host.
async fn listen(wanted: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((wanted.ip(), 0)).await
        }
        listener => listener,
    }
}

/// The programs in a folder with their names, sorted. Empty if there is no such folder.
fn find_extensions(folder: &Path) -> Vec<(String, PathBuf)> {
    let is_program = |path: &PathBuf| {
        let metadata = fs::metadata(path);
        metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let extension = |entry: DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, entry.path())).filter(|(_, path)| is_program(path))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut extensions: Vec<_> = entries.filter_map(extension).collect();
    extensions.sort();
    extensions
}

/// Sends SIGKILL to every process that has `tag` in its environment. False if there is none.
fn kill_tagged(tag: &[u8]) -> bool {
    let pids = find_tagged(tag);
    for &pid in &pids {
        let _ = kill(pid, Signal::SIGKILL);
    }
    !pids.is_empty()
}
