//! A command that runs to its end, and what it said.

use std::process::Command;

use crate::{LIMIT, Process};

/// Its status, and its standard output and error.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Runs it; nothing that it started may be left.
    #[track_caller]
    pub fn of(command: Command) -> Self {
        let process = Process::start(command);
        let status = process.wait_exit(LIMIT).code().expect("an exit status");
        process.final_log();
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            status,
            stdout: text(process.stdout()),
            stderr: text(process.stderr()),
        }
    }

    /// It ended with that status, and `text` is in what it said of that.
    #[track_caller]
    pub fn assert_failed(&self, status: i32, text: &str) {
        let is_so = self.status == status && self.stderr.contains(text);
        assert!(is_so, "not {status}, {text:?}: {self:?}");
    }
}
