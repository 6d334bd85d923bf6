//! The command line. Each subcommand has a file: check.rs, compare.rs, completions.rs, entrypoint.rs, invoke.rs, man.rs,
//! package.rs, serve.rs.
//!
//! The doc comments of commands and options are their help texts. A subcommand returns its exit status, or an
//! [`Error`](error::Error) that is printed here. None of them exits by itself.
//!
//! The emulator starts `coshell bootstrap [HANDLER]` in a sandbox, and on Lambda `coshell entrypoint [HANDLER]` does the
//! same. `coshell tools` is the second program, which bootstrap starts. `main` handles them before it uses clap or tokio, which would delay the cold start.

mod address;
mod aws_emulator;
mod bundled;
mod check;
#[cfg(feature = "compare")]
mod compare;
mod completions;
mod entrypoint;
mod env_file;
mod error;
mod function;
mod function_url;
mod invoke;
mod man;
mod outcome;
mod package;
mod samples;
mod serve;
mod server;
mod startup_message;
mod terminal;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use aws_emulator::translate_aws_emulator_arguments;
use error::{Error, MISUSE};

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
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serve a handler over HTTP on this machine, as Lambda does
    ///
    /// Accepts the same calls as Lambda, from the AWS CLI, the SDKs and curl. Starts sandboxes on demand, and prints the
    /// handler's log to standard output, with Lambda's lines START, END and REPORT around it.
    Serve(Box<serve::ServeArguments>),
    /// Run as the entry point of a container image, on Lambda or elsewhere
    ///
    /// One image runs in three places. On Lambda, where `AWS_LAMBDA_RUNTIME_API` is set, this is the bootstrap, for the given
    /// handler. If PORT is set, as on Knative and other platforms for HTTP containers, it serves only the function URL, on
    /// that port. Elsewhere it accepts Lambda's calls on 0.0.0.0:8080, the address of the emulator in AWS's images.
    Entrypoint(Box<entrypoint::EntrypointArguments>),
    /// Invoke a handler once, on this machine
    ///
    /// Starts a sandbox with the environment that Lambda provides, sends it the event, prints the response unchanged, and
    /// stops the sandbox. The handler's standard error is its log and goes to standard error.
    Invoke(Box<invoke::InvokeArguments>),
    /// Check a handler before you deploy it
    ///
    /// Reports what would go wrong on Lambda, as far as it can be seen on this machine: names, syntax, line endings, permissions,
    /// commands that the image lacks, variables that are too large, and what shellcheck finds, if it is installed. Does not
    /// run the handler.
    Check(check::CheckArguments),
    /// Package a function for Lambda: as a zip file, a layer, or a folder for docker build
    ///
    /// Checks the function as `coshell check` does, and then puts bootstrap and the function's files into the package. The
    /// same files always give the same bytes.
    Package(Box<package::PackageArguments>),
    /// Compare the cold starts and warm invocations of several runtimes
    ///
    /// Runs the runtimes in turn with the same handler and the same events, checks every answer, and reports which is
    /// faster, by how much, and how certain that is. Or takes the figures from Lambda's logs.
    #[cfg(feature = "compare")]
    Compare(Box<compare::CompareArguments>),
    /// Print a script that completes coshell's command line
    ///
    /// Your shell has to read the script: see the examples.
    Completions(completions::CompletionsArguments),
    /// Print a manual page
    ///
    /// The page is in roff, the format that man(1) reads.
    Man(man::ManArguments),
}

/// The argument with which bootstrap, which coshell contains, starts it as the second program.
const TOOLS: &str = "tools";

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let is_aws_emulator = Path::new(&name).file_name() == Some("aws-lambda-rie".as_ref());
    let is_lambda = || env::var_os("AWS_LAMBDA_RUNTIME_API").is_some_and(|api| !api.is_empty());
    let is_bootstrap = |subcommand: OsString| {
        subcommand == "bootstrap" || subcommand == "entrypoint" && is_lambda()
    };
    if !is_aws_emulator && env::args_os().nth(1).is_some_and(is_bootstrap) {
        return coshell_bootstrap::bootstrap(arguments.nth(1), Some(TOOLS));
    }
    if !is_aws_emulator
        && env::args_os()
            .nth(1)
            .is_some_and(|subcommand| subcommand == TOOLS)
    {
        return coshell_tools::serve();
    }
    #[cfg(feature = "compare")]
    if !is_aws_emulator
        && env::args_os()
            .nth(1)
            .is_some_and(|subcommand| subcommand == coshell_compare::floor::WORD)
    {
        return coshell_compare::floor::serve();
    }
    let arguments = if is_aws_emulator {
        Arguments::try_parse_from(translate_aws_emulator_arguments(arguments))
    } else {
        Arguments::try_parse()
    };
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(message) => return terminal::show(&message).unwrap_or_else(|error| fail(&error)),
    };
    let result = match arguments.command {
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
    result.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("coshell: {}", check::printable(&error.to_string()));
    ExitCode::from(MISUSE)
}
