//! The program `coshell-tools`, which `bootstrap` starts when a call needs it. `coshell-tools run aws ...` runs one command.

use std::env;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "run") {
        return coshell_tools::run(arguments.map(OsStringExt::into_vec));
    }
    coshell_tools::serve()
}
