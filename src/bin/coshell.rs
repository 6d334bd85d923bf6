//! The command line's main: a subcommand a line.
//!
//! `coshell bootstrap [HANDLER]` is what the emulator starts in a sandbox. It is not for people,
//! and is taken out first: nothing of what they need (clap, tokio) delays the start of `bootstrap`.

use std::process::ExitCode;

use clap::Parser;
use coshell::cli::{self, Arguments, Command};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "bootstrap") {
        return coshell::bootstrap(words.next());
    }
    let done = match Arguments::parse().command {
        Command::Invoke(arguments) => cli::invoke::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("coshell: {error}");
        ExitCode::from(cli::MISUSE)
    })
}
