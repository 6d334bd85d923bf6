//! bootstrap: what Lambda runs. The handler is the first argument, or else `_HANDLER`.

use std::process::ExitCode;

fn main() -> ExitCode {
    coshell_bootstrap::bootstrap(std::env::args_os().nth(1))
}
