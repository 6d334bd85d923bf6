//! `coshell completions`: a script that lets a shell complete subcommands and options with the Tab key.
//!
//! It is generated from the same definitions as the help texts, so both always agree.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::Arguments;
use crate::error::Error;
use crate::terminal::print;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        source <(coshell completions bash)  # only for this shell\n  \
        coshell completions bash > ~/.local/share/bash-completion/completions/coshell\n  \
        coshell completions zsh > ~/.zfunc/_coshell  # or another folder of $fpath\n  \
        coshell completions fish > ~/.config/fish/completions/coshell.fish")]
pub struct CompletionsArguments {
    /// The shell that will read the script
    pub shell: Shell,
}

pub(crate) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    generate(arguments.shell, &mut command, name, &mut script);
    print(&script)
}
