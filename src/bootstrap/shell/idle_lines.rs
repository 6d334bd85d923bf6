//! What is written to a bash that runs no handler: to show its state, to make forks, to open other pipes.
//!
//! Twin of runtime-scripts/restore.bash, `live_on.bash` and `subshell.bash`, as `protocol.rs` is of `driver.bash`.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use memchr::{memchr, memmem};

use super::protocol::{INHERITED_LOG, INHERITED_RESPONSE, LOG, LOG_LINE, RESPONSE};
use crate::child::arguments::Separator;

/// Where bash opens what forks wait at, before it is moved to [`GO_AHEAD`].
const OPENED_GO_AHEAD: i32 = 79;
/// The number of that in bash.
const GO_AHEAD: i32 = 67;

/// The lines that make bash fork, ahead of the event that the fork takes; `shows_kept` if the fork is to
/// show the variables that live on when the handler has returned; `in_function` if what it does runs in a function:
/// `set -x` would show that it runs in `eval`, as FUNCNAME does that it runs in a function.
pub(crate) fn fork_lines(shows_kept: bool, in_function: bool) -> String {
    let keeps = if shows_kept { "keep" } else { "" };
    let (base, call) = if in_function {
        (2, "__driver_fork")
    } else {
        (1, "builtin eval \"$__driver_fork\"")
    };
    format!("__driver_keeps={keeps} __driver_base={base}\n\\{call}\n")
}

/// The line by which `exit` leaves a function of the file's and not the shell.
pub(crate) const GUARD_EXIT_LINE: &str = "\\__driver_guard_exit\n";

/// The line that reports how the handler ended.
pub(crate) fn report_line(nonce: &str) -> String {
    format!("\\,, \"$?\" {nonce}\n")
}

/// The lines that make a shell one whose forks take the events. They wait at `go_ahead`, a descriptor of the process
/// `host`. The file may define an `exit` of its own.
pub(crate) fn run_in_forks_lines(host: u32, go_ahead: BorrowedFd, has_own_exit: bool) -> String {
    let go_ahead = go_ahead.as_raw_fd();
    let own = if has_own_exit { " own" } else { "" };
    format!(
        "\\__driver_seldom __driver_run_in_subshells{own}\n\
         \\__driver_redirect '{OPENED_GO_AHEAD}</proc/{host}/fd/{go_ahead}'\n\
         \\__driver_seldom __driver_adopt {OPENED_GO_AHEAD} {GO_AHEAD}\n"
    )
}

/// What a fork that waits for its event is told: that the event is there, and the mark of its report.
pub(crate) fn go_ahead(separator: Separator, nonce: &str) -> String {
    match separator {
        Separator::Nul => format!("nul {nonce}\n"),
        Separator::Newline => format!("newlines {nonce}\n"),
    }
}

/// What a fork that waits for its event is told when none comes.
pub(crate) const NO_EVENT: &[u8] = b"end\n";

/// Finds the process id of a fork that waits for its event, and where what it says ends.
pub(crate) fn find_waiting_fork(bytes: &[u8]) -> Option<(i32, usize)> {
    const WAITING: &[u8] = b"waiting\0";
    let start = memmem::rfind(bytes, WAITING)? + WAITING.len();
    let end = start + memchr(b'\0', &bytes[start..])?;
    let pid = str::from_utf8(&bytes[start..end]).ok()?.parse().ok()?;
    Some((pid, end + 1))
}

/// The line that makes bash show its state.
pub(crate) fn state_line(nonce: &str) -> String {
    format!("\\,,, {nonce}\n")
}

/// The line that makes bash reset what costs less to reset than to look at, and show its state.
pub(crate) fn reset_line(nonce: &str) -> String {
    format!("\\,,, {nonce} reset\n")
}

/// The line that makes bash show its state, and what it resets otherwise.
pub(crate) fn first_state_line(nonce: &str) -> String {
    format!("\\,,, {nonce} first\n")
}

/// The line that makes a bash that is about to be replaced show the variables that live on.
pub(crate) fn kept_line(nonce: &str) -> String {
    format!("\\__driver_show_all_kept {nonce}\n")
}

/// The line that makes bash read what lies in the file of the arguments.
pub(crate) const READ_ARGUMENTS_LINE: &str = "\\builtin . /dev/fd/60\n";

/// The lines that make bash open other pipes, descriptors of the process `host`, for the handler's
/// standard output and for the log. `exec` leads no descriptor elsewhere that is closed for children,
/// which guards ours, but it closes one.
pub(crate) fn renew_output_lines(host: u32, response: &OwnedFd, log: BorrowedFd) -> String {
    let (response, log) = (response.as_raw_fd(), log.as_raw_fd());
    format!(
        "\\__driver_redirect '{RESPONSE}>&- {LOG}>&- {INHERITED_RESPONSE}>/proc/{host}/fd/{response} {INHERITED_LOG}>/proc/{host}/fd/{log}'\n\
         \\__driver_seldom __driver_adopt {INHERITED_RESPONSE} {RESPONSE}\n\
         \\__driver_seldom __driver_adopt {INHERITED_LOG} {LOG}\n\
         {LOG_LINE}"
    )
}
