//! The command line's main: a subcommand a line.
//!
//! `coshell bootstrap [HANDLER]` is what the emulator starts in a sandbox, and `coshell entrypoint
//! [HANDLER]` is the same on Lambda. They are taken out first: nothing of what people need (clap,
//! tokio) delays the start of `bootstrap`.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use coshell::cli::serve::from_aws_emulator;
use coshell::cli::{self, Arguments, Command};

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let is_aws_emulator = Path::new(&name).file_name() == Some("aws-lambda-rie".as_ref());
    let is_lambda = || env::var_os("AWS_LAMBDA_RUNTIME_API").is_some_and(|api| !api.is_empty());
    let is_bootstrap = |word: OsString| word == "bootstrap" || word == "entrypoint" && is_lambda();
    if !is_aws_emulator && env::args_os().nth(1).is_some_and(is_bootstrap) {
        return coshell::bootstrap(words.nth(1));
    }
    #[cfg(feature = "compare")]
    if !is_aws_emulator
        && env::args_os()
            .nth(1)
            .is_some_and(|word| word == coshell::compare::floor::WORD)
    {
        return coshell::compare::floor::serve();
    }
    let arguments = if is_aws_emulator {
        Arguments::parse_from(from_aws_emulator(words))
    } else {
        Arguments::parse()
    };
    let done = match arguments.command {
        Command::Serve(arguments) => cli::serve::run(&arguments),
        Command::Entrypoint(arguments) => cli::entrypoint::run(*arguments),
        Command::Invoke(arguments) => cli::invoke::run(&arguments),
        Command::Check(arguments) => cli::check::run(&arguments),
        Command::Package(arguments) => cli::package::run(&arguments),
        #[cfg(feature = "compare")]
        Command::Compare(arguments) => cli::compare::run(&arguments),
        Command::Completions(arguments) => cli::completions::run(&arguments),
        Command::Man(arguments) => cli::man::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("coshell: {error}");
        ExitCode::from(cli::MISUSE)
    })
}
