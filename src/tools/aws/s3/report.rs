//! The lines that a command writes, from all of its threads.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::call::{End, Output};

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    All,
    Errors,
    Nothing,
}

/// Writes what has been done, and counts what has not.
#[derive(Debug)]
pub(super) struct Report {
    state: Mutex<State>,
    level: Level,
}

#[derive(Debug)]
struct State {
    output: Output,
    failed: u64,
    warned: u64,
}

/// What was done to what, such as `upload`, `./a to s3://b/a`.
#[derive(Debug, Clone)]
pub(super) struct Title {
    pub verb: &'static str,
    pub source: String,
    pub target: Option<String>,
}

impl Display for Title {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)?;
        match &self.target {
            Some(target) => write!(f, " to {target}"),
            None => Ok(()),
        }
    }
}

impl Report {
    pub(super) fn new(output: Output, level: Level) -> Self {
        let state = State {
            output,
            failed: 0,
            warned: 0,
        };
        Self {
            state: Mutex::new(state),
            level,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn done(&self, title: &Title) {
        self.line(&format!("{}: {title}\n", title.verb));
    }

    pub(super) fn would_do(&self, title: &Title) {
        self.line(&format!("(dryrun) {}: {title}\n", title.verb));
    }

    fn line(&self, line: &str) {
        if self.level == Level::All {
            let state = self.state();
            let write = |text: &mut Vec<u8>| text.extend_from_slice(line.as_bytes());
            // The end of the command tells that the output is broken.
            state.output.write(write, false);
        }
    }

    pub(super) fn failed(&self, title: &Title, cause: &dyn Display) {
        let mut state = self.state();
        state.failed += 1;
        self.error(&state, &format!("{} failed: {title} {cause}\n", title.verb));
    }

    /// The whole command fails.
    pub(super) fn fatal(&self, cause: &dyn Display) {
        let mut state = self.state();
        state.failed += 1;
        self.error(&state, &format!("fatal error: {cause}\n"));
    }

    pub(super) fn warn(&self, text: &str) {
        let mut state = self.state();
        state.warned += 1;
        self.error(&state, &format!("warning: {text}\n"));
    }

    /// Warns of a file or an object that is left out.
    pub(super) fn skip(&self, path: &str, cause: &str) {
        self.warn(&format!("Skipping file {path}. {cause}"));
    }

    fn error(&self, state: &State, line: &str) {
        if self.level != Level::Nothing {
            state.output.write_error(line.as_bytes());
        }
    }

    /// Writes the content of an object to standard output. Returns false if that cannot be.
    pub(super) fn write(&self, bytes: &[u8]) -> bool {
        let write = |text: &mut Vec<u8>| text.extend_from_slice(bytes);
        self.state().output.write(write, false)
    }

    /// Why standard output could not be written.
    pub(super) fn broken(&self) -> Option<std::io::Error> {
        self.state().output.broken()
    }

    /// The exit status, by what has been counted, and the output.
    pub(super) fn into_parts(self) -> (i32, Output) {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let status = match (state.failed, state.warned) {
            (0, 0) => 0,
            (0, _) => 2,
            _ => 1,
        };
        (status, state.output)
    }
}

/// Ends a command whose output was `output`.
pub(super) fn end(output: Output, status: i32) -> End {
    let status = match output.finish("aws") {
        Some(_) if status == 0 => 1,
        _ => status,
    };
    output.end(status)
}
