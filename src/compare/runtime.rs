//! A runtime. It is prepared once and started many times, each time with a Runtime API and a folder for temporary files of
//! its own; it ends together with all processes that it started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Error;
use super::container::{self, Container};
use super::endpoint::{Endpoint, Fault, WaitFor, WaitOutcome};
use super::fork_count::ForkCounter;
use super::limits::{Group, Limits};
use super::output::{Log, Output};
use super::results::ProblemKind;
use super::scenario::{Program, Runtime};
use coshell_process::processes;

/// The variable that marks all processes of a start.
const MARK: &str = "COSHELL_COMPARE";
/// How long killed processes may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);
const END_STEP: Duration = Duration::from_micros(500);
/// The memory size in the environment of a function without a limit.
const MEMORY_MB: u32 = 1024;

/// A runtime that is ready to be started.
#[derive(Debug)]
pub(crate) struct PreparedRuntime {
    pub runtime: Runtime,
    /// What a report says it is.
    pub description: String,
    words: Vec<String>,
    task_root: PathBuf,
    limits: Limits,
    log: Arc<Log>,
    /// The unpacked zip file; dropping it removes the files.
    _unpacked: Option<TempDir>,
}

impl PreparedRuntime {
    /// Unpacks a zip file, looks for an image, tries the limits. If limits are not permitted the runtime goes without, with a
    /// warning in `warnings`. Its output goes to a file in the folder `logs`, if there is one.
    ///
    /// # Errors
    /// If the zip file or image cannot be used, or Docker is missing.
    pub(crate) fn new(
        runtime: &Runtime,
        logs: Option<&Path>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let (mut words, mut task_root, mut unpacked) =
            (Vec::new(), runtime.task_root.clone(), None);
        match &runtime.program {
            Program::Command(command) => words.clone_from(command),
            Program::Zip(path) => {
                let folder = unpack(path).map_err(|cause| {
                    let what = format!(
                        "cannot use zip {} of runtime {}",
                        path.display(),
                        runtime.name
                    );
                    Error::new(what, cause)
                })?;
                folder.path().clone_into(&mut task_root);
                words.push(
                    folder
                        .path()
                        .join("bootstrap")
                        .to_string_lossy()
                        .into_owned(),
                );
                unpacked = Some(folder);
            }
            Program::Image(image) => container::check(image).map_err(|cause| {
                Error::new(
                    format!("cannot use image {image} of runtime {}", runtime.name),
                    cause,
                )
            })?,
        }
        let mut limits = runtime.limits;
        let is_image = matches!(runtime.program, Program::Image(_));
        if !limits.is_none() && !is_image {
            let made =
                Group::make(&limits, &unique()).and_then(|group| group.join_files().map(drop));
            if let Err(error) = made {
                warnings.push(format!(
                    "{} runs without its limits: cannot make a control group: {error}",
                    runtime.name
                ));
                limits = Limits::default();
            }
        }
        let log = logs.map(|folder| folder.join(format!("{}.log", runtime.name.replace('/', "_"))));
        Ok(Self {
            description: describe(runtime),
            runtime: runtime.clone(),
            words,
            task_root,
            limits,
            log: Arc::new(Log::new(log)),
            _unpacked: unpacked,
        })
    }

    fn environment(
        &self,
        endpoint: &Endpoint,
        mark: &str,
        temporary: &Path,
    ) -> Vec<(OsString, OsString)> {
        let runtime = &self.runtime;
        let memory_mb = runtime.limits.memory_mb.unwrap_or(MEMORY_MB).to_string();
        let mut all: BTreeMap<OsString, OsString> = [
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "compared"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/compared"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"),
            ("AWS_REGION", "us-east-1"),
            // Many machines lack Lambda's en_US.UTF-8, and a bash that falls back to bytes is faster than on Lambda.
            ("LANG", "C.UTF-8"),
            ("TZ", ":UTC"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let is_image = matches!(runtime.program, Program::Image(_));
        if !is_image {
            // As long as on Lambda: shells search it for every command.
            all.insert(
                "PATH".into(),
                "/usr/local/bin:/usr/bin:/bin:/opt/bin".into(),
            );
            all.insert("LAMBDA_RUNTIME_DIR".into(), "/var/runtime".into());
        }
        all.extend(
            runtime
                .env
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        // A scenario cannot change what the measurement depends on.
        all.insert(
            "AWS_LAMBDA_RUNTIME_API".into(),
            endpoint.address.to_string().into(),
        );
        all.insert("_HANDLER".into(), runtime.handler.clone().into());
        all.insert(MARK.into(), mark.into());
        if !is_image {
            all.insert("LAMBDA_TASK_ROOT".into(), self.task_root.clone().into());
            all.insert("TMPDIR".into(), temporary.into());
        }
        all.into_iter().collect()
    }

    /// A warning, if it has printed very much.
    pub(crate) fn log_warning(&self) -> Option<String> {
        let warning = self.log.warning()?;
        Some(format!("{} {warning}", self.runtime.name))
    }

    /// Starts it at `endpoint`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(&self, endpoint: Endpoint) -> Result<RunningRuntime, Fault> {
        self.spawn(endpoint)
            .map_err(|cause| Fault::new(ProblemKind::NotStarted, cause))
    }

    fn spawn(&self, endpoint: Endpoint) -> Result<RunningRuntime, String> {
        let name = unique();
        let temporary = tempfile::Builder::new()
            .prefix("coshell-compare-")
            .tempdir();
        let temporary = temporary
            .map_err(|error| format!("cannot make a folder for temporary files: {error}"))?;
        let environment = self.environment(&endpoint, &name, temporary.path());
        let mut container = None;
        let mut group = None;
        let mut command = if let Program::Image(image) = &self.runtime.program {
            let made = Container::create(
                &name,
                image,
                &self.runtime.handler,
                &environment,
                &self.limits,
            )?;
            container.insert(made).start()
        } else {
            let mut command = Command::new(&self.words[0]);
            command
                .args(&self.words[1..])
                .env_clear()
                .envs(environment)
                .current_dir(&self.task_root);
            if !self.limits.is_none() {
                let made = Group::make(&self.limits, &name);
                let made = made.map_err(|error| format!("cannot make a control group: {error}"))?;
                let doors = made
                    .join_files()
                    .map_err(|error| format!("cannot open a control group: {error}"))?;
                coshell_process::sys::write_zero_before_exec(&mut command, doors);
                group = Some(made);
            }
            command
        };
        let (output, stdout, stderr) = Output::open(Arc::clone(&self.log))
            .map_err(|error| format!("cannot open its log: {error}"))?;
        command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        let started_at = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let leader = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
        coshell_process::register_child(leader);
        Ok(RunningRuntime {
            endpoint,
            started_at,
            output,
            child,
            leader,
            mark: format!("{MARK}={name}").into_bytes(),
            container,
            temporary,
            fork_counter: None,
            group,
        })
    }
}

/// A runtime that was started. Dropping it kills it and all processes that it started, and removes its files.
#[derive(Debug)]
pub(crate) struct RunningRuntime {
    pub endpoint: Endpoint,
    /// The time just before it was started.
    pub started_at: Instant,
    output: Output,
    child: Child,
    leader: Pid,
    mark: Vec<u8>,
    container: Option<Container>,
    temporary: TempDir,
    /// Counts its processes, while they are counted.
    fork_counter: Option<ForkCounter>,
    group: Option<Group>,
}

impl RunningRuntime {
    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<WaitOutcome> {
        ended(&mut self.child, &mut self.fork_counter)
    }

    /// Waits for it. `look` is called every now and then, and can end the wait.
    pub(crate) fn wait(
        &mut self,
        until: WaitFor,
        limit: Duration,
        mut look: impl FnMut() -> Option<WaitOutcome>,
    ) -> WaitOutcome {
        let Self {
            endpoint,
            output,
            child,
            fork_counter,
            group,
            ..
        } = self;
        let mut ended = endpoint.wait(until, limit, || {
            look().or_else(|| ended(child, fork_counter))
        });
        if let WaitOutcome::Failed(fault) = &mut ended {
            fault.log = output.last_lines();
            if group.as_ref().is_some_and(Group::is_out_of_memory) {
                fault.detail += ", and the kernel killed a process: the memory size was exceeded";
            }
        }
        ended
    }

    /// The last lines that it has printed.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.output.last_lines()
    }

    /// Begins to count the processes and threads that it starts.
    ///
    /// # Errors
    /// The system's, if it does not permit that.
    pub(crate) fn start_counting(&mut self) -> io::Result<()> {
        let mut roots = self.tree();
        roots.extend(self.processes());
        self.fork_counter = Some(ForkCounter::attach(roots)?);
        Ok(())
    }

    /// Stops counting, and returns how many it started. `None` if it ended meanwhile.
    pub(crate) fn stop_counting(&mut self) -> Option<usize> {
        self.fork_counter.take().map(|counter| counter.started())
    }

    /// Its process and the descendants that still have their parents.
    pub(crate) fn tree(&self) -> Vec<Pid> {
        let root = match &self.container {
            Some(container) => container.pid(),
            None => Some(self.leader),
        };
        processes::with_descendants(root.into_iter().collect(), &[])
    }

    /// Its process and all living processes that it has started, orphans too.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let all = || {
            let mut roots = self.tree();
            roots.extend(processes::find_tagged(&self.mark));
            processes::with_descendants(roots, &[])
        };
        processes::running(all)
            .into_iter()
            .map(|(pid, _)| pid)
            .collect()
    }

    /// The folder that it has for temporary files.
    pub(crate) fn temporary(&self) -> &Path {
        self.temporary.path()
    }
}

impl Drop for RunningRuntime {
    fn drop(&mut self) {
        self.fork_counter = None;
        self.container = None;
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
        let begun = Instant::now();
        loop {
            let left = self.processes();
            for &pid in &left {
                let _ = kill(pid, Signal::SIGKILL);
            }
            processes::reap_orphans();
            if left.is_empty() || begun.elapsed() > END_LIMIT {
                break;
            }
            thread::sleep(END_STEP);
        }
        let _ = self.child.wait();
        coshell_process::unregister_child(self.leader);
    }
}

fn ended(child: &mut Child, fork_counter: &mut Option<ForkCounter>) -> Option<WaitOutcome> {
    // While it is traced, waitid(2) would report its events as its end.
    if let Some(counter) = fork_counter {
        if !counter.has_ended() {
            return None;
        }
        *fork_counter = None;
    }
    let status = child.try_wait().ok().flatten()?;
    Some(WaitOutcome::Failed(Fault::new(
        ProblemKind::Died,
        ending(status),
    )))
}

/// A name that is unique on this machine.
fn unique() -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("coshell-compare-{}-{number}", std::process::id())
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(number)) => {
            let signal = Signal::try_from(number).map(Signal::as_str);
            match signal {
                Ok(signal) => format!("it was killed by {signal}"),
                Err(_) => format!("it was killed by signal {number}"),
            }
        }
        (None, None) => "it ended".to_owned(),
    }
}

fn describe(runtime: &Runtime) -> String {
    let handler = format!("handler {}", runtime.handler);
    let memory = runtime.limits.memory_mb.map(|mb| format!("{mb} MB"));
    let cpus = runtime.limits.cpus.map(|cpus| format!("{cpus:.2} CPUs"));
    let parts = [Some(runtime.written.clone()), Some(handler), memory, cpus];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Unpacks the zip file of a function to a folder, as Lambda does.
fn unpack(path: &Path) -> Result<TempDir, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| error.to_string())?;
    if archive.index_for_name("bootstrap").is_none() {
        return Err("it has no bootstrap".to_owned());
    }
    let folder = tempfile::Builder::new()
        .prefix("coshell-compare-")
        .tempdir();
    let folder = folder.map_err(|error| error.to_string())?;
    archive
        .extract(folder.path())
        .map_err(|error| error.to_string())?;
    Ok(folder)
}
