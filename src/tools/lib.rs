//! `coshell-tools`: the second program, with what is too large for `bootstrap`. jq, and the AWS CLI's work.
//!
//! `bootstrap` starts it at the first call that needs it, and gives it one end of a socket as descriptor 3. Each message is
//! a call, and gets one message as its reply. A process answers one call at a time, so a call that runs away, or needs too
//! much memory, can be ended with its process: it costs that call alone.
//!
//! ```text
//! calls:   run     | command | process id | descriptors | count | NAME=VALUE... | argument...      with descriptors 0, 1, 2
//!          filters | count | filter... | document
//! replies: of run     status | standard output | standard error | variable | lifetime
//!                     output and error that came without a descriptor; the lifetime of a secret: new|kept MILLISECONDS NAME
//!          of filters "ok" | count | value... | count | value...      or  "error" | message
//! ```

mod aws;
mod call;
mod commands;
mod connection;
mod fetch;
mod http;
mod jq;
mod local_time;
mod options;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

use call::{Call, Place};
use commands::Commands;

/// Answers the calls that come through descriptor 3, until `bootstrap` is gone.
pub fn serve() -> ExitCode {
    match connection::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("coshell-tools: {cause}");
            ExitCode::from(2)
        }
    }
}

/// The region in the AWS profile of the user of this process, if it has one.
pub fn profile_region() -> Option<String> {
    aws::profile_region(&std::env::vars().collect(), Place::of_this_process())
}

/// Runs one command for the process that started this one: its name, then its arguments.
pub fn run(arguments: impl Iterator<Item = Vec<u8>>) -> ExitCode {
    let mut arguments = arguments;
    let name = arguments.next().unwrap_or_default();
    let copy = |fd: std::os::fd::BorrowedFd| fd.try_clone_to_owned().ok().map(File::from);
    let call = Call {
        _standard: Default::default(),
        place: Place::of_this_process(),
        input: copy(std::io::stdin().as_fd()),
        output: copy(std::io::stdout().as_fd()),
        errors: copy(std::io::stderr().as_fd()),
        environment: std::env::vars().collect(),
        arguments: arguments.collect(),
    };
    let Some(end) = Commands::default().run(&name, call) else {
        eprintln!(
            "coshell-tools: there is no command {}",
            String::from_utf8_lossy(&name)
        );
        return ExitCode::from(2);
    };
    // What came without a descriptor: it is closed, so that this fails, too.
    let _ = std::io::stdout().write_all(&end.output);
    ExitCode::from(u8::try_from(end.status).unwrap_or(u8::MAX))
}
