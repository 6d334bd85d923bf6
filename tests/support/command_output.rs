//! The exit status and output of a command that has ended.

use std::process::Command;

use crate::{LIMIT, Process};

#[derive(Debug)]
pub struct CommandOutput {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    /// Runs the command to its end, and kills what it left behind.
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

    /// Asserts that the command ended with `status` and wrote `text` to standard error.
    #[track_caller]
    pub fn assert_failed(&self, status: i32, text: &str) {
        let matches = self.status == status && self.stderr.contains(text);
        assert!(matches, "expected status {status} and {text:?}: {self:?}");
    }
}
