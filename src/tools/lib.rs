//! `coshell-tools`: the second program, with what is too large for `bootstrap`. Today that is jq.
//!
//! `bootstrap` starts it at the first call that needs it, and gives it one end of a socket as descriptor 3. Each message is
//! a call, and gets one message as its reply. A process answers one call at a time, so a call that runs away, or needs too
//! much memory, can be ended with its process: it costs that call alone.
//!
//! ```text
//! calls:   jq      | process id | descriptors | count | NAME=VALUE... | argument...      with descriptors 0, 1, 2
//!          filters | count | filter... | document
//! replies: of jq      status | standard output | standard error       (of what came without a descriptor)
//!          of filters "ok" | count | value... | count | value...      or  "error" | message
//! ```

mod connection;
mod jq;

use std::process::ExitCode;

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
