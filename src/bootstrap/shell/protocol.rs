//! The numbers and lines on which bootstrap and the driver agree.
//!
//! A change here needs the same change in `runtime-scripts/driver.bash` and in `docs/protocol.md`, which draws what
//! the two exchange. bash reads the lines as its script. `report.rs` and `load_report.rs` read what bash writes back.

use crate::child::arguments::Separator;
use crate::invocation::Invocation;

/// The numbers of the descriptors that bash starts with. The driver moves the first seven to 60 and up, where the
/// commands of a handler do not inherit them. The numbers are high because handlers use low ones.
///
/// The arguments: a memory file with what an invocation brings.
pub(crate) const INHERITED_ARGUMENTS: i32 = 70;
/// The event: a memory file that is the handler's standard input.
pub(crate) const INHERITED_EVENT: i32 = 71;
/// The response: the pipe of the handler's standard output.
pub(crate) const INHERITED_RESPONSE: i32 = 72;
/// The pipe of what the driver reports.
pub(crate) const INHERITED_CONTROL: i32 = 73;
/// The pipe of the log. The driver needs a descriptor of its own, because a handler may redirect its stderr.
pub(crate) const INHERITED_LOG: i32 = 74;
/// The rarely needed half of the driver.
pub(crate) const INHERITED_RARE: i32 = 75;
/// The pipe through which the shell shows its state.
pub(crate) const INHERITED_STATE: i32 = 76;
/// The half of the driver that bash reads when it starts; closed then.
pub(crate) const INHERITED_DRIVER: i32 = 77;
/// The script that we write line by line. bash opens it by its name and closes this number.
pub(crate) const INHERITED_SCRIPT: i32 = 78;

/// The numbers that coshell uses in a running shell. 67 is the pipe at which forks wait.
pub(crate) const OUR_DESCRIPTORS: std::ops::RangeInclusive<i32> = 60..=67;
/// The arguments, in a running shell.
pub(crate) const ARGUMENTS: i32 = 60;
/// The event, in a running shell.
pub(crate) const EVENT: i32 = 61;
/// The response, in a running shell.
pub(crate) const RESPONSE: i32 = 62;
/// The control pipe, in a running shell.
pub(crate) const CONTROL: i32 = 63;
/// The log, in a running shell.
pub(crate) const LOG: i32 = 64;
/// The state pipe, in a running shell.
pub(crate) const STATE: i32 = 66;

/// The line that sets the variables of the context.
pub(crate) const CONTEXT_LINE: &str = "\\__driver_context\n";

/// The lines that run and report one invocation. The backslash at the start of a line keeps bash from taking the
/// first word for an alias.
pub(crate) fn invocation_lines(
    invocation: &Invocation,
    with_context: bool,
    separator: Separator,
    nonce: &str,
) -> String {
    let take = match (&invocation.deadline_ms, &invocation.trace_id) {
        (Some(_), None) => ",",
        (Some(_), Some(_)) => ",t",
        (None, _) => ",d",
    };
    let (context, suffix) = match separator {
        Separator::Nul => (CONTEXT_LINE, ""),
        Separator::Newline => ("\\__driver_context $'\\n'\n", "l"),
    };
    let context = if with_context { context } else { "" };
    format!("{context}\\{take}{suffix}\n\\,, \"$?\" {nonce}\n")
}

/// The line that reports how the last command ended.
pub(crate) fn report_line(nonce: &str) -> String {
    format!("\\,, \"$?\" {nonce}\n")
}

/// The lines that run and report a hook: a function of the file that belongs to no invocation. The kind is
/// [`NotCalled`](super::report::ReportKind::NotCalled) if the file does not define it.
pub(crate) fn hook_lines(function: &str, nonce: &str) -> String {
    format!("\\__driver_rare __driver_run_hook {function}\n\\,, \"$?\" {nonce}\n")
}

/// The line that seeds bash's RANDOM.
pub(crate) fn reseed_line(seed: u32) -> String {
    format!("\\__driver_rare __driver_reseed {seed}\n")
}

/// The lines that end an idle bash. The output of its EXIT trap goes to the log.
pub(crate) const END_LINES: &str = "\\__driver_redirect '>&64'\n\\builtin exit 0\n";

/// The line that ends bash with the status of the handler, if bash still reads lines.
pub(crate) const LEAVE_LINE: &str = "\\builtin exit \"${__driver_status:-$?}\"\n";

/// The lines that run the EXIT trap that a handler left, and report how the trap ended. `status` is the handler's.
pub(crate) fn exit_trap_lines(status: i32, nonce: &str) -> String {
    format!("\\__driver_rare __driver_run_exit_trap {status}\n\\,, \"$?\" {nonce}\n")
}

/// The line that redirects bash's stderr to the log again.
pub(crate) const LOG_LINE: &str = "\\__driver_redirect '2>&64'\n";

/// What the driver writes when bash has read it, before the file is sourced.
pub(crate) const STARTED: &[u8] = b"started\0";

/// What a bash before 4.4 writes in place of [`STARTED`], and then its version and a NUL. It ends after that.
pub(crate) const OLDER: &[u8] = b"older ";

/// Whether the driver has reserved this name for a function of its own.
pub(crate) fn is_own_function(name: &str) -> bool {
    const SHORT: [&str; 8] = [",", ",t", ",d", ",l", ",tl", ",dl", ",,", ",,,"];
    name.starts_with("__driver_") || SHORT.contains(&name)
}
