//! The lines that bash reads between two invocations: they show its state, make forks, and replace its pipes.
//!
//! A change here needs the same change in `restore.bash`, `keep.bash` or `subshell.bash` in `runtime-scripts`,
//! just as `protocol.rs` and `driver.bash` change together.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use memchr::{memchr, memmem};

use super::protocol::{INHERITED_LOG, INHERITED_RESPONSE, LOG, LOG_LINE, RESPONSE};
use super::report::Located;
use crate::child::arguments::Separator;

/// Where bash opens the pipe at which forks wait, before it moves it to [`GO_AHEAD`].
const OPENED_GO_AHEAD: i32 = 79;
/// The pipe at which forks wait, in a running shell.
const GO_AHEAD: i32 = 67;

/// The lines that make a fork, which waits for an event.
///
/// With `shows_kept` the fork shows the kept variables when the handler has returned. Its code runs in a function if
/// `in_function`, and otherwise in `eval`. `set -x` would show the `eval`, and `FUNCNAME` would show the function.
pub(crate) fn fork_lines(shows_kept: bool, in_function: bool) -> String {
    let keeps = if shows_kept { "keep" } else { "" };
    let (base, call) = if in_function {
        (2, "__driver_fork")
    } else {
        (1, "builtin eval \"$__driver_fork\"")
    };
    format!("__driver_keeps={keeps} __driver_base={base}\n\\{call}\n")
}

/// The line that makes `exit` leave a function of the file, and not the shell.
pub(crate) const GUARD_EXIT_LINE: &str = "\\__driver_guard_exit\n";

/// The lines after which events run in forks of this shell. Forks wait at `go_ahead`, a descriptor of the process
/// `host`. With `has_own_exit` the function `exit` belongs to the file, and stays.
pub(crate) fn run_in_forks_lines(host: u32, go_ahead: BorrowedFd, has_own_exit: bool) -> String {
    let go_ahead = go_ahead.as_raw_fd();
    let own = if has_own_exit { " own" } else { "" };
    format!(
        "\\__driver_rare __driver_run_in_forks{own}\n\
         \\__driver_redirect '{OPENED_GO_AHEAD}</proc/{host}/fd/{go_ahead}'\n\
         \\__driver_rare __driver_take_descriptor {OPENED_GO_AHEAD} {GO_AHEAD}\n"
    )
}

/// The line that a waiting fork reads when its event has arrived. `nonce` is that of its report.
pub(crate) fn go_ahead(separator: Separator, nonce: &str) -> String {
    match separator {
        Separator::Nul => format!("nul {nonce}\n"),
        Separator::Newline => format!("newlines {nonce}\n"),
    }
}

/// The line that ends a waiting fork.
pub(crate) const NO_EVENT: &[u8] = b"end\n";

/// Finds the record `waiting NUL PID NUL` of a fork that waits for an event.
pub(crate) fn find_waiting_fork(bytes: &[u8]) -> Option<Located<i32>> {
    const WAITING: &[u8] = b"waiting\0";
    let start = memmem::rfind(bytes, WAITING)? + WAITING.len();
    let end = start + memchr(b'\0', &bytes[start..])?;
    let pid = str::from_utf8(&bytes[start..end]).ok()?.parse().ok()?;
    Some(Located {
        record: pid,
        end: end + 1,
    })
}

/// The line that makes bash show its state.
pub(crate) fn state_line(nonce: &str) -> String {
    format!("\\,,, {nonce}\n")
}

/// The line that makes bash reset what is cheaper to reset than to compare, and show its state.
pub(crate) fn reset_line(nonce: &str) -> String {
    format!("\\,,, {nonce} reset\n")
}

/// The line that makes bash show its full state, with everything that [`reset_line`] resets.
pub(crate) fn first_state_line(nonce: &str) -> String {
    format!("\\,,, {nonce} first\n")
}

/// The line that makes a bash that is about to be replaced show the kept variables.
pub(crate) fn kept_line(nonce: &str) -> String {
    format!("\\__driver_show_all_kept {nonce}\n")
}

/// The line that runs the commands in the file of the arguments.
pub(crate) const READ_ARGUMENTS_LINE: &str = "\\builtin . /dev/fd/60\n";

/// The lines that make bash open other pipes for the response and the log: descriptors of the process `host`.
///
/// Ours are close-on-exec. `exec` cannot redirect such a descriptor, but it can close one: so the lines close it first.
pub(crate) fn renew_output_lines(host: u32, response: &OwnedFd, log: BorrowedFd) -> String {
    let (response, log) = (response.as_raw_fd(), log.as_raw_fd());
    format!(
        "\\__driver_redirect '{RESPONSE}>&- {LOG}>&- {INHERITED_RESPONSE}>/proc/{host}/fd/{response} {INHERITED_LOG}>/proc/{host}/fd/{log}'\n\
         \\__driver_rare __driver_take_descriptor {INHERITED_RESPONSE} {RESPONSE}\n\
         \\__driver_rare __driver_take_descriptor {INHERITED_LOG} {LOG}\n\
         {LOG_LINE}"
    )
}
