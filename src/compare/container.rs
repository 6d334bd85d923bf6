//! A runtime in a container, started with the command line of the local Docker engine.
//!
//! The container is created before the clock starts, and started afterwards: the figures of a start include what Docker needs
//! to start it. Its processes are processes of this machine, and found by their pids.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

use super::limits::Limits;

const DOCKER: &str = "docker";

/// Runs a command of Docker, and returns its output.
fn docker(words: &[&str]) -> Result<String, String> {
    let ran = Command::new(DOCKER)
        .args(words)
        .stdin(Stdio::null())
        .output();
    let ran = ran.map_err(|error| format!("cannot run {DOCKER}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if ran.status.success() {
        return Ok(text(&ran.stdout));
    }
    let stderr = text(&ran.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    Err(format!(
        "{DOCKER} {}: {last}",
        words.first().copied().unwrap_or_default()
    ))
}

/// Checks that the engine runs and has the image.
///
/// # Errors
/// Docker's words, or that Docker is missing.
pub fn check(image: &str) -> Result<(), String> {
    docker(&["image", "inspect", "--format", "{{.Id}}", "--", image]).map(drop)
}

/// A container. Dropping it removes it, even if it runs.
#[derive(Debug)]
pub struct Container {
    name: String,
    pid: OnceCell<Pid>,
}

impl Container {
    /// Creates a container without starting it. Its entry point is that of the image: AWS's images execute the bootstrap
    /// if `AWS_LAMBDA_RUNTIME_API` is set, as on Lambda.
    ///
    /// # Errors
    /// Docker's words.
    pub(crate) fn create(
        name: &str,
        image: &str,
        handler: &str,
        environment: &[(OsString, OsString)],
        limits: &Limits,
    ) -> Result<Self, String> {
        let mut words = vec!["create".to_owned(), "--name".to_owned(), name.to_owned()];
        words.extend(["--network", "host"].map(ToOwned::to_owned));
        for (name, value) in environment {
            let pair = format!("{}={}", name.to_string_lossy(), value.to_string_lossy());
            words.extend(["--env".to_owned(), pair]);
        }
        if let Some(memory_mb) = limits.memory_mb {
            let memory = format!("{memory_mb}m");
            words.extend([
                "--memory".to_owned(),
                memory.clone(),
                "--memory-swap".to_owned(),
                memory,
            ]);
        }
        if let Some(cpus) = limits.cpus {
            words.extend(["--cpus".to_owned(), format!("{cpus:.3}")]);
        }
        words.extend([image.to_owned(), handler.to_owned()]);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let container = Self {
            name: name.to_owned(),
            pid: OnceCell::new(),
        };
        docker(&words)?;
        Ok(container)
    }

    /// A command that starts it, and runs until it ends.
    pub fn start(&self) -> Command {
        let mut command = Command::new(DOCKER);
        command.args(["start", "--attach", &self.name]);
        command
    }

    /// Its first process; `None` if it does not run.
    pub fn pid(&self) -> Option<Pid> {
        if let Some(pid) = self.pid.get() {
            return Some(*pid);
        }
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &self.name]).ok()?;
        let pid = pid.parse().ok().filter(|&pid| pid > 0).map(Pid::from_raw)?;
        Some(*self.pid.get_or_init(|| pid))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
