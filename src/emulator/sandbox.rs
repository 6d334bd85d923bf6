//! One bootstrap process: started, and ended with all that it left behind.
//!
//! The bootstrap leads a process group of its own, so that a handler's children end with it. A
//! child that left the group (`set -m`, `setsid`) is found by the address of our Runtime API,
//! which it has in its environment and which no other sandbox shares.
//! [`emulator`](super) decides when; the environment is Lambda's, as far as it makes sense here:
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::Function;

/// What the bootstrap has for a tidy end, from SIGTERM to SIGKILL: as much as Lambda gives a
/// runtime with an internal extension.
const GRACE: Duration = Duration::from_millis(500);
/// How long to look for processes that outlive a SIGKILL.
const SWEEP_LIMIT: Duration = Duration::from_millis(500);
/// Between two looks.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// A bootstrap process. Dropping it kills it, without a wait.
#[derive(Debug)]
pub struct Sandbox {
    child: Child,
    /// The bootstrap, and the process group it leads.
    leader: Pid,
    /// `AWS_LAMBDA_RUNTIME_API=<host:port>`: in the environment of all that it starts.
    mark: Vec<u8>,
    is_ended: bool,
}

impl Sandbox {
    /// Starts the function's bootstrap, in the task root, with standard output and standard error
    /// both to our standard error: they are its log.
    ///
    /// # Errors
    /// When the bootstrap cannot be executed, or the task root cannot be entered.
    pub fn start(function: &Function, runtime_api: SocketAddr) -> io::Result<Self> {
        let mut command = match &function.bootstrap {
            Some(path) => Command::new(path),
            None => this_program(&function.handler),
        };
        let child = command
            .envs(settings(function, runtime_api, |name| {
                std::env::var_os(name)
            }))
            .env_remove("AWS_EXECUTION_ENV")
            .env_remove("_X_AMZN_TRACE_ID")
            .current_dir(&function.task_root)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw);
        Ok(Self {
            child,
            leader: pid.ok_or(Errno::ESRCH)?,
            mark: format!("{RUNTIME_API}={runtime_api}").into_bytes(),
            is_ended: false,
        })
    }

    /// Waits for the bootstrap to end by itself; may be called again afterwards.
    ///
    /// # Errors
    /// When the system does not tell the exit status.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the bootstrap to end, and kills what is left of the sandbox after 500 ms.
    pub async fn stop(mut self) {
        // Without an id it has ended, and the number may be another process by now.
        if self.child.id().is_some() {
            let _ = kill(self.leader, Signal::SIGTERM);
        }
        let _ = timeout(GRACE, self.child.wait()).await;
        self.kill().await;
    }

    /// Kills the whole sandbox, as Lambda does at the deadline. Returns when no process of it is
    /// left, after at most 500 ms.
    pub async fn kill(mut self) {
        let _ = killpg(self.leader, Signal::SIGKILL);
        let _ = self.child.wait().await;
        let limit = Instant::now() + SWEEP_LIMIT;
        while kill_marked(&self.mark) > 0 && Instant::now() < limit {
            sleep(SWEEP_PAUSE).await;
        }
        self.is_ended = true;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.is_ended {
            let _ = killpg(self.leader, Signal::SIGKILL);
            kill_marked(&self.mark);
        }
    }
}

/// The program that runs, as a bootstrap: found through `/proc`, so that a file that was replaced
/// meanwhile does not matter.
fn this_program(handler: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("coshell").arg("bootstrap").arg(handler);
    command
}

/// Our standard error, once more.
fn log() -> io::Result<Stdio> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// The variables that Lambda sets. Those that describe the function are the user's if `set_by_user`
/// has them; the rest of the environment is passed on as it is.
fn settings(
    function: &Function,
    runtime_api: SocketAddr,
    set_by_user: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let mut settings: Vec<(&str, OsString)> = vec![
        (RUNTIME_API, runtime_api.to_string().into()),
        ("_HANDLER", function.handler.clone()),
        ("LAMBDA_TASK_ROOT", function.task_root.clone().into()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone().into()),
        ("AWS_REGION", function.region.clone().into()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
        ("TZ", ":UTC".into()),
    ];
    for (name, default) in [
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_DEFAULT_REGION", &function.region),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "3008"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/Functions"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST"),
    ] {
        settings.push((name, set_by_user(name).unwrap_or_else(|| default.into())));
    }
    settings
}

/// Kills every process with `mark` in its environment, `environ` of `proc(5)`; how many there
/// were. A zombie has none and is not counted, nor is a process of another user.
fn kill_marked(mark: &[u8]) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut count = 0;
    for pid in pids.map(Pid::from_raw).filter(|&pid| pid != Pid::this()) {
        let environment = fs::read(format!("/proc/{pid}/environ"));
        if environment.is_ok_and(|environment| holds(&environment, mark)) {
            let _ = kill(pid, Signal::SIGKILL);
            count += 1;
        }
    }
    count
}

/// Whether an environment, a NUL after each entry, has the entry `mark`.
fn holds(environment: &[u8], mark: &[u8]) -> bool {
    environment
        .split(|&byte| byte == 0)
        .any(|entry| entry == mark)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn value_of(name: &str, set_by_user: &[(&str, &str)]) -> Option<OsString> {
        let function = Function {
            handler: "hello.greet".into(),
            task_root: PathBuf::from("/var/task"),
            bootstrap: None,
            timeout: Duration::from_secs(3),
            name: "hello".to_owned(),
            region: "eu-north-1".to_owned(),
        };
        let found = |wanted: &str| {
            set_by_user
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.into())
        };
        settings(&function, SocketAddr::from(([127, 0, 0, 1], 9001)), found)
            .into_iter()
            .find(|(setting, _)| *setting == name)
            .map(|(_, value)| value)
    }

    #[test]
    fn settings_are_those_of_lambda() {
        assert_eq!(
            value_of("AWS_LAMBDA_RUNTIME_API", &[]),
            Some("127.0.0.1:9001".into())
        );
        assert_eq!(value_of("_HANDLER", &[]), Some("hello.greet".into()));
        assert_eq!(
            value_of("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &[]),
            Some("3008".into())
        );
        assert_eq!(
            value_of("AWS_DEFAULT_REGION", &[]),
            Some("eu-north-1".into())
        );
        assert_eq!(value_of("AWS_EXECUTION_ENV", &[]), None);
    }

    #[test]
    fn user_describes_the_function_but_not_the_platform() {
        let user = [
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("TZ", "Europe/Oslo"),
        ];
        assert_eq!(
            value_of("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &user),
            Some("128".into())
        );
        assert_eq!(value_of("TZ", &user), Some(":UTC".into()));
    }

    #[test]
    fn environment_is_compared_by_whole_entries() {
        let environment = b"PATH=/bin\0AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001\0";
        assert!(holds(environment, b"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001"));
        assert!(!holds(environment, b"AWS_LAMBDA_RUNTIME_API=127.0.0.1:900"));
    }
}
