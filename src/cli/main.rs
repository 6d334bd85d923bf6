//! The command line: one file a subcommand (check.rs, compare.rs, completions.rs, entrypoint.rs, invoke.rs, man.rs,
//! package.rs, serve.rs).
//!
//! The definitions here and there are the help texts too. A subcommand gives its exit status, or
//! an [`Error`](error::Error) that is printed here; none of them ends the process itself.
//!
//! `coshell bootstrap [HANDLER]` is what the emulator starts in a sandbox, and `coshell entrypoint
//! [HANDLER]` is the same on Lambda. They are taken out first: nothing of what people need (clap,
//! tokio) delays the start of `bootstrap`.

mod address;
mod check;
#[cfg(feature = "compare")]
mod compare;
mod completions;
mod entrypoint;
mod env_file;
mod error;
mod function;
mod function_url;
mod greeting;
mod invoke;
mod man;
mod outcome;
mod package;
mod samples;
mod serve;
mod terminal;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use error::MISUSE;
use serve::from_aws_emulator;

/// Run bash functions as AWS Lambda runs them.
#[derive(Debug, clap::Parser)]
#[command(name = "coshell", version, max_term_width = 100)]
#[command(after_help = "Examples:\n  \
        coshell serve function.sh.handler\n  \
        coshell invoke function.sh.handler --event 'Hello'\n  \
        coshell check function.sh.handler\n  \
        coshell package src --handler function.sh.handler -o function.zip\n  \
        coshell man invoke | man -l -")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serve a handler over HTTP, on this machine, as Lambda would
    ///
    /// Takes the calls that Lambda takes, of the AWS CLI, of the SDKs and of curl, starts sandboxes
    /// for them, and prints what the handler logs, with Lambda's own lines around it, to standard
    /// output.
    Serve(Box<serve::ServeArguments>),
    /// Be the entry point of a container image
    ///
    /// On Lambda this is bootstrap, for the handler that is named. Anywhere else it is serve, at 0.0.0.0:8080, where
    /// AWS's images have their emulator. Where PORT is set, as on Knative and other platforms for HTTP containers, it
    /// serves the function URL alone, at that port.
    Entrypoint(Box<serve::ServeArguments>),
    /// Invoke a handler, on this machine
    ///
    /// Starts a sandbox with the environment that Lambda gives, hands it the event, prints the
    /// response exactly as it is, and stops the sandbox. What the handler writes to standard error
    /// is its log, and goes to standard error.
    Invoke(Box<invoke::InvokeArguments>),
    /// Check a handler before it is deployed
    ///
    /// Tells what would go wrong on Lambda, of what can be seen here: names, syntax, line ends, rights, commands that the
    /// image lacks, variables that are too large, and what shellcheck finds if it is installed. Runs nothing of the handler.
    Check(check::CheckArguments),
    /// Package a function for Lambda: as a zip file, a layer, or a folder for docker build
    ///
    /// Puts bootstrap and the files of a function in a zip file, after it has checked them as `coshell check` does. The
    /// same files give the same bytes, everywhere and at any time.
    Package(Box<package::PackageArguments>),
    /// Compare runtimes: cold starts and warm invocations, side by side
    ///
    /// Runs several runtimes on the same handler and the same events, in turn, checks every answer, and tells which is
    /// faster, by how much, and how sure that is. Or takes the figures from logs of Lambda.
    #[cfg(feature = "compare")]
    Compare(Box<compare::CompareArguments>),
    /// Print a script that completes coshell's command line
    ///
    /// The shell has to read it: see the examples.
    Completions(completions::CompletionsArguments),
    /// Print a manual page
    ///
    /// The page is in roff, as man(1) reads it.
    Man(man::ManArguments),
}

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let is_aws_emulator = Path::new(&name).file_name() == Some("aws-lambda-rie".as_ref());
    let is_lambda = || env::var_os("AWS_LAMBDA_RUNTIME_API").is_some_and(|api| !api.is_empty());
    let is_bootstrap = |word: OsString| word == "bootstrap" || word == "entrypoint" && is_lambda();
    if !is_aws_emulator && env::args_os().nth(1).is_some_and(is_bootstrap) {
        return coshell_bootstrap::bootstrap(words.nth(1));
    }
    #[cfg(feature = "compare")]
    if !is_aws_emulator
        && env::args_os()
            .nth(1)
            .is_some_and(|word| word == coshell_compare::floor::WORD)
    {
        return coshell_compare::floor::serve();
    }
    let arguments = if is_aws_emulator {
        Arguments::parse_from(from_aws_emulator(words))
    } else {
        Arguments::parse()
    };
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Entrypoint(arguments) => entrypoint::run(*arguments),
        Command::Invoke(arguments) => invoke::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Package(arguments) => package::run(&arguments),
        #[cfg(feature = "compare")]
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("coshell: {}", check::printable(&error.to_string()));
        ExitCode::from(MISUSE)
    })
}
