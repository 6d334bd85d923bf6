//! `coshell completions`: what makes the Tab key of a shell know the subcommands and their options.
//!
//! Made from the same definitions as the help texts, so that it cannot fall behind them.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::Arguments;
use crate::error::Error;
use crate::terminal::print;

/// What `coshell completions` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        source <(coshell completions bash)  # for this shell alone\n  \
        coshell completions bash > ~/.local/share/bash-completion/completions/coshell\n  \
        coshell completions zsh > ~/.zfunc/_coshell  # or another folder of $fpath\n  \
        coshell completions fish > ~/.config/fish/completions/coshell.fish")]
pub struct CompletionsArguments {
    /// The shell that is to read it
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When standard output takes no more.
pub(crate) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    generate(arguments.shell, &mut command, name, &mut script);
    print(&script)
}
