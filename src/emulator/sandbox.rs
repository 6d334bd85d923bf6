//! One bootstrap process: started with its Runtime API, ended with all that it left behind.
//!
//! The bootstrap leads a session of its own, so that nothing of it finds the user's terminal, and its process
//! group, so that a handler's children end with it. A child that left the group (`set -m`, `setsid`), and an
//! extension, is found by the id of the sandbox, which it has in its environment and which no other sandbox shares.
//! [`pool`](super::pool) decides when; the environment is Lambda's, as far as it makes sense here:
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.

use std::env;
use std::ffi::{OsStr, OsString};
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
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::exchange::new_id;
use super::extension_api;
use super::extensions::Extensions;
use super::faults::Faults;
use super::logs::{Log, Output};
use super::memory::Memory;
use super::runtime_api::RuntimeApi;
use super::{Error, Function, Scale};
use coshell_process::processes::{are_orphans_left, marked};
use coshell_process::sys;

/// What the bootstrap has for a tidy end, from SIGTERM to SIGKILL: as much as Lambda gives a
/// runtime with an internal extension.
const GRACE: Duration = Duration::from_millis(500);
/// The same, with an external extension.
const GRACE_WITH_EXTENSIONS: Duration = Duration::from_secs(2);
/// How long to look for processes that outlive a SIGKILL.
const SWEEP_LIMIT: Duration = Duration::from_millis(500);
/// Between two looks.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// Names the sandbox, in the environment of all that it starts.
const MARK: &str = "COSHELL_SANDBOX";

/// A bootstrap process and its Runtime API. Dropping it kills it, without a wait.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// What the bootstrap speaks to.
    pub api: Arc<RuntimeApi>,
    /// What it logs.
    pub log: Arc<Log>,
    /// What it needs.
    pub memory: Memory,
    /// Which state of the task root it has loaded.
    pub generation: u64,
    started_at: Instant,
    tenant: OnceLock<Option<String>>,
    /// How long the init took, and the restore; gone once they are reported.
    init: Mutex<(Option<Duration>, Option<Duration>)>,
    /// The bootstrap, and the process group it leads.
    leader: Pid,
    /// `COSHELL_SANDBOX=<id>`.
    mark: Vec<u8>,
    ended: watch::Receiver<Option<ExitStatus>>,
    is_swept: AtomicBool,
    /// Serves the Runtime API; ends when it is dropped.
    _servers: JoinSet<io::Result<()>>,
}

impl Sandbox {
    /// Starts the function's bootstrap, in the task root, with standard output and standard error
    /// both to the log.
    ///
    /// # Errors
    /// When there is no port or no pipe, when the bootstrap cannot be executed, or the task root
    /// cannot be entered.
    pub(crate) async fn start(
        function: &Function,
        generation: u64,
        output: Arc<Output>,
        faults: Arc<Faults>,
    ) -> Result<Self, Error> {
        let listener = listen(function.runtime_api).await;
        let listener = listener.map_err(Error::OpenRuntimeApi)?;
        let address = listener.local_addr().map_err(Error::OpenRuntimeApi)?;
        let extensions = programs_in(&function.extensions);
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
        let settings = settings(function, address, &id, |name| env::var_os(name));
        let started_at = Instant::now();
        let spawn = |mut command: Command| {
            sys::start_in_session_of_its_own(command.as_std_mut());
            command
                .envs(settings.iter().map(|(name, value)| (name, value)))
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
        let child = spawn(function.command()).map_err(|cause| Error::StartBootstrap {
            path: function.program(),
            cause,
        })?;
        let leader = pid_of(&child).ok_or_else(|| Error::WatchBootstrap(Errno::ESRCH.into()))?;
        coshell_process::keep(leader);
        let mut roots = vec![leader];
        for (name, path) in extensions {
            let child = spawn(Command::new(&path));
            let mut child = child.map_err(|cause| Error::StartBootstrap { path, cause })?;
            let (pid, api) = (pid_of(&child), Arc::clone(&api));
            pid.into_iter().for_each(coshell_process::keep);
            roots.extend(pid);
            tokio::spawn(async move {
                if let Ok(status) = child.wait().await {
                    api.end_extension(&name, status);
                }
                pid.into_iter().for_each(coshell_process::forget);
            });
        }
        drop(writer);
        let (ended, receiver) = watch::channel(None);
        tokio::spawn(watch_over(child, leader, ended));
        Ok(Self {
            api,
            log,
            memory: Memory::of(roots),
            generation,
            started_at,
            tenant: OnceLock::new(),
            init: Mutex::default(),
            leader,
            mark: format!("{MARK}={id}").into_bytes(),
            ended: receiver,
            is_swept: AtomicBool::new(false),
            _servers: servers,
        })
    }

    /// Waits for the bootstrap to end by itself.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await.map(|status| *status) {
            Ok(Some(status)) => status,
            // The task that watches is gone: so is tokio, and nobody polls this again.
            _ => std::future::pending().await,
        }
    }

    /// Whether the bootstrap has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Whether it may serve this tenant; it is this tenant's from now on.
    pub(crate) fn is_for(&self, tenant: Option<&str>) -> bool {
        let owner = self.tenant.get_or_init(|| tenant.map(ToOwned::to_owned));
        owner.as_deref() == tenant
    }

    /// The init is over, and took until `ready_at`: so long.
    pub(crate) fn end_init(&self, ready_at: std::time::Instant) -> Duration {
        let duration = ready_at.saturating_duration_since(self.started_at.into_std());
        self.init().0 = Some(duration);
        duration
    }

    /// The restore is over, and took so long.
    pub(crate) fn end_restore(&self, duration: Duration) {
        self.init().1 = Some(duration);
    }

    /// How long it has been there.
    pub(crate) fn age(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// How long the init took, and the restore, for the first who asks.
    pub(crate) fn take_init(&self) -> (Option<Duration>, Option<Duration>) {
        std::mem::take(&mut *self.init())
    }

    fn init(&self) -> MutexGuard<'_, (Option<Duration>, Option<Duration>)> {
        self.init.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the bootstrap to end, and kills what is left of the sandbox after 500 ms; after 2 s if
    /// it has extensions that want to know.
    pub(crate) async fn stop(&self) {
        self.log.telemetry.close().await;
        let grace = if self.api.extensions.tell_of_end(GRACE_WITH_EXTENSIONS) {
            GRACE_WITH_EXTENSIONS
        } else {
            GRACE
        };
        if !self.has_ended() {
            let _ = kill(self.leader, Signal::SIGTERM);
        }
        let _ = timeout(grace, self.ended()).await;
        self.kill().await;
    }

    /// Kills the whole sandbox, as Lambda does at the deadline. Returns when no process of it is
    /// left, after at most 1 s.
    pub(crate) async fn kill(&self) {
        if self.is_swept.load(Ordering::Relaxed) {
            return;
        }
        if !self.has_ended() {
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
        let limit = Instant::now() + SWEEP_LIMIT;
        let _ = timeout(SWEEP_LIMIT, self.ended()).await;
        loop {
            // What has ended is our child where we are the first process of a container.
            let is_last = !kill_marked(&self.mark) && !are_orphans_left();
            if is_last || Instant::now() > limit {
                break;
            }
            sleep(SWEEP_PAUSE).await;
        }
        self.is_swept.store(true, Ordering::Relaxed);
        self.log.drain();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
        if !self.is_swept.load(Ordering::Relaxed) {
            kill_marked(&self.mark);
        }
    }
}

/// Takes the exit status, and ends what is left of the group at once: as soon as there is nobody in
/// it, its number may be another's.
async fn watch_over(mut child: Child, leader: Pid, ended: watch::Sender<Option<ExitStatus>>) {
    if let Ok(status) = child.wait().await {
        let _ = killpg(leader, Signal::SIGKILL);
        coshell_process::forget(leader);
        ended.send_replace(Some(status));
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    pid.map(Pid::from_raw)
}

/// At the address that is wanted, or if another sandbox has it, at another port beside it.
async fn listen(wanted: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((wanted.ip(), 0)).await
        }
        listener => listener,
    }
}

/// The programs in a folder, by their names and in their order; none if there is no folder.
fn programs_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let is_program = |path: &PathBuf| {
        let metadata = fs::metadata(path);
        metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let named = |entry: DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, entry.path())).filter(|(_, path)| is_program(path))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut programs: Vec<_> = entries.filter_map(named).collect();
    programs.sort();
    programs
}

/// The variables that Lambda sets. Those that describe the function are the user's if `set_by_user`
/// has them; the rest of the environment is passed on as it is.
fn settings(
    function: &Function,
    runtime_api: SocketAddr,
    id: &str,
    set_by_user: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let mut settings: Vec<(&str, OsString)> = vec![
        (RUNTIME_API, runtime_api.to_string().into()),
        (MARK, id.into()),
        ("_HANDLER", function.handler.clone()),
        ("LAMBDA_TASK_ROOT", function.task_root.clone().into()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone().into()),
        (
            "AWS_LAMBDA_FUNCTION_VERSION",
            function.version.clone().into(),
        ),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            function.memory_mb.to_string().into(),
        ),
        ("AWS_REGION", function.region.clone().into()),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            function.scale.initialization_type().into(),
        ),
        ("TZ", ":UTC".into()),
    ];
    for (name, default) in [
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_DEFAULT_REGION", &function.region),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/Functions"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"),
        ("LANG", "en_US.UTF-8"),
    ] {
        settings.push((name, set_by_user(name).unwrap_or_else(|| default.into())));
    }
    if let Scale::ManagedInstance(count) = function.scale {
        settings.push(("AWS_LAMBDA_MAX_CONCURRENCY", count.to_string().into()));
        settings.push(("AWS_LAMBDA_LOG_FORMAT", "JSON".into()));
    }
    let path = set_by_user("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    settings.push(("PATH", with_folder(path, "/opt/bin")));
    let libraries = set_by_user("LD_LIBRARY_PATH");
    let libraries = libraries.unwrap_or_else(|| libraries_of_lambda(function, &settings));
    settings.push(("LD_LIBRARY_PATH", with_folder(libraries, "/opt/lib")));
    let own = settings
        .into_iter()
        .map(|(name, value)| (OsString::from(name), value));
    // Lambda lets nobody set its own variables: they come last.
    let mut all = function.environment.clone();
    all.extend(own.filter(|(name, _)| {
        let is_users = function.environment.iter().any(|(user, _)| user == name);
        !(is_users && may_be_users(name))
    }));
    all
}

/// What describes the machine, and not the function or the platform.
fn may_be_users(name: &OsStr) -> bool {
    let names = [
        "PATH",
        "LD_LIBRARY_PATH",
        "LANG",
        "TZ",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
    ];
    names.iter().any(|one| name == *one)
}

/// Where Lambda looks for libraries: in the system, the runtime and the function.
fn libraries_of_lambda(function: &Function, settings: &[(&str, OsString)]) -> OsString {
    let runtime = settings
        .iter()
        .find(|(name, _)| *name == "LAMBDA_RUNTIME_DIR");
    let runtime = runtime.map_or_else(OsString::new, |(_, folder)| folder.clone());
    let of = |folder: &OsStr| [folder.to_owned(), Path::new(folder).join("lib").into()];
    let system = ["/lib64".into(), "/usr/lib64".into()];
    let folders: Vec<OsString> = system
        .into_iter()
        .chain(of(&runtime))
        .chain(of(function.task_root.as_os_str()))
        .collect();
    folders.join(OsStr::new(":"))
}

/// A list of folders with one more at its end, where layers are.
fn with_folder(mut list: OsString, folder: &str) -> OsString {
    if !env::split_paths(&list).any(|one| one == Path::new(folder)) {
        if !list.is_empty() {
            list.push(":");
        }
        list.push(folder);
    }
    list
}

/// Kills every process with `mark` in its environment; whether there were any.
fn kill_marked(mark: &[u8]) -> bool {
    let pids = marked(mark);
    for &pid in &pids {
        let _ = kill(pid, Signal::SIGKILL);
    }
    !pids.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(function: &Function, name: &str, set_by_user: &[(&str, &str)]) -> Option<OsString> {
        let found = |wanted: &str| {
            set_by_user
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.into())
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 9001));
        settings(function, address, "id", found)
            .into_iter()
            .rfind(|(setting, _)| setting == name)
            .map(|(_, value)| value)
    }

    fn function() -> Function {
        Function {
            region: "eu-north-1".to_owned(),
            memory_mb: 128,
            ..Function::new("hello.greet".into(), "/var/task".into())
        }
    }

    #[test]
    fn settings_are_those_of_lambda() {
        let value_of = |name| value_of(&function(), name, &[]);
        assert_eq!(
            value_of("AWS_LAMBDA_RUNTIME_API"),
            Some("127.0.0.1:9001".into())
        );
        assert_eq!(value_of("_HANDLER"), Some("hello.greet".into()));
        assert_eq!(
            value_of("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
            Some("128".into())
        );
        assert_eq!(value_of("AWS_DEFAULT_REGION"), Some("eu-north-1".into()));
        assert_eq!(
            value_of("AWS_LAMBDA_INITIALIZATION_TYPE"),
            Some("on-demand".into())
        );
        assert_eq!(value_of("AWS_LAMBDA_MAX_CONCURRENCY"), None);
        assert_eq!(value_of("AWS_EXECUTION_ENV"), None);
        assert_eq!(
            value_of("PATH"),
            Some("/usr/local/bin:/usr/bin:/bin:/opt/bin".into())
        );
    }

    #[test]
    fn managed_instance_has_its_concurrency_and_json_logs() {
        let mut function = function();
        function.scale = Scale::ManagedInstance(8);
        let value_of = |name| value_of(&function, name, &[]);
        assert_eq!(value_of("AWS_LAMBDA_MAX_CONCURRENCY"), Some("8".into()));
        assert_eq!(value_of("AWS_LAMBDA_LOG_FORMAT"), Some("JSON".into()));
    }

    #[test]
    fn user_describes_the_machine_but_not_the_platform() {
        let user = [
            ("TZ", "Europe/Oslo"),
            ("LANG", "C"),
            ("PATH", "/bin:/opt/bin"),
        ];
        let from_outside = |name| value_of(&function(), name, &user);
        assert_eq!(from_outside("TZ"), Some(":UTC".into()));
        assert_eq!(from_outside("LANG"), Some("C".into()));
        assert_eq!(from_outside("PATH"), Some("/bin:/opt/bin".into()));
        let mut function = function();
        function.environment = [("TZ", "Europe/Oslo"), ("_HANDLER", "x"), ("STAGE", "test")]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec();
        let from_option = |name| value_of(&function, name, &[]);
        assert_eq!(from_option("TZ"), Some("Europe/Oslo".into()));
        assert_eq!(from_option("STAGE"), Some("test".into()));
        assert_eq!(from_option("_HANDLER"), Some("hello.greet".into()));
    }
}
