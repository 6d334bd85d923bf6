//! Whether there is a bash that can check the syntax.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// bash does not start, so nothing can be checked.
#[derive(Debug)]
pub struct NoBash {
    bash: PathBuf,
    cause: String,
}

impl fmt::Display for NoBash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bash = self.bash.display();
        write!(f, "cannot start shell {bash}: {}", self.cause)
    }
}

impl std::error::Error for NoBash {}

/// Starts bash once, for its version.
pub(crate) fn check_bash(bash: &Path) -> Result<(), NoBash> {
    let started = Command::new(bash)
        .arg("--version")
        .env_remove("BASH_ENV")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let cause = match started {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("{} --version ended with {status}", bash.display()),
        Err(error) => error.to_string(),
    };
    Err(NoBash {
        bash: bash.to_owned(),
        cause,
    })
}
