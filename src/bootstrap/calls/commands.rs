//! Which functions of the second program a handler gets: those that its file names, but none in the place of a program that
//! is there.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use coshell_driver::names;
use coshell_handler::names_word;

use super::{runs_other_code, tools};

/// The folders of `PATH`, if it is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A function of the second program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Command {
    /// What handlers call.
    pub function: &'static str,
    /// How the second program names it.
    pub name: &'static str,
}

impl Command {
    /// The command of the driver that runs it.
    pub(crate) fn call(self) -> String {
        format!("{} {} {}", names::COMMAND, self.function, self.name)
    }
}

const fn command(function: &'static str, name: &'static str) -> Command {
    Command { function, name }
}

/// Those that take the place of a program.
const STAND_INS: [Command; 2] = [command("jq", "jq"), command("aws", "aws")];
/// Those that are ours alone.
const OURS: [Command; 4] = [
    command("lambda_fetch", "fetch"),
    command("lambda_aws", "aws-request"),
    command("lambda_secret", "secret"),
    command("lambda_parameter", "parameter"),
];

/// The functions for a file with this text. `wanted` is what `COSHELL_COMMANDS` names.
pub(super) fn defined_for(text: &[u8], wanted: &[String]) -> Vec<Command> {
    let runs_other_code = runs_other_code(text);
    let names = |command: &Command| names_word(text, command.function);
    let stands_in = |command: &&Command| {
        (runs_other_code || names(command))
            && (wanted.iter().any(|name| name == command.function)
                || !is_on_path(command.function) && tools::is_installed())
    };
    // What the file names is there, if only to say what is missing.
    let is_there = |command: &&Command| names(command) || runs_other_code && tools::is_installed();
    let stand_ins = STAND_INS.iter().filter(stands_in);
    stand_ins
        .chain(OURS.iter().filter(is_there))
        .copied()
        .collect()
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let is_program = |file: std::path::PathBuf| {
        fs::metadata(file)
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&path).any(|folder| is_program(folder.join(program)))
}
