//! The program `coshell-tools`, which `bootstrap` starts when a call needs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    coshell_tools::serve()
}
