//! The program `bootstrap`, which Lambda runs. Its first argument names the handler; without one, `_HANDLER` does.

use std::process::ExitCode;

fn main() -> ExitCode {
    coshell_bootstrap::bootstrap(std::env::args_os().nth(1), None)
}
