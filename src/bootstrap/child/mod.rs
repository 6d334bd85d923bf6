//! What `shell` and `program` both need to run a handler.
//!
//! [`LaneContext`] is what every handler runs with. `arguments.rs` writes an invocation to a file for bash, `logs.rs` forwards
//! stderr to the log, `late_output.rs` waits for processes that still write to the response, and `leftovers.rs` finds the
//! processes that an invocation left running.

pub(crate) mod arguments;
pub(crate) mod late_output;
pub(crate) mod leftovers;
pub(crate) mod logs;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::Calls;
use crate::config::{Config, TELEMETRY_FD};
use crate::invocation::variable;
use crate::wait::Signals;
use coshell_handler::{Delivery, Handler, Kind};
use logs::HandlerLog;

/// How long we wait only for the handler's end before we also read its response. A response that fits into its pipe then
/// costs no wake-up of its own, and a longer one costs one for each megabyte.
pub(crate) const RESPONSE_READ_DELAY: Duration = Duration::from_millis(1);
/// After an event that is larger than this, freed memory goes back to the system.
pub(crate) const LARGE_EVENT_BYTES: usize = 256 * 1024;
/// A socket that gives each of several runtime processes its own log descriptor. We are one process, and handlers get none.
const TELEMETRY_SOCKET: &str = "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET";
/// Holds the lane's number in a handler's environment. It also identifies the processes that a lane has started.
const LANE_VARIABLE: &str = "COSHELL_LANE";

/// What every handler runs with. There is one for the life of the sandbox, or of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneContext<'a> {
    pub config: &'a Config,
    pub handler: &'a Handler,
    /// Where the handler's stderr goes.
    pub logs: &'a HandlerLog,
    pub signals: &'a Arc<Signals>,
    /// Answers the `lambda_` functions; `None` if the handler's file calls none.
    pub calls: Option<&'a Calls>,
    /// The number of the lane, from 0; `None` without lanes.
    pub lane: Option<u32>,
}

impl LaneContext<'_> {
    /// The entry `name=value` that only processes of this lane have in their environment; `None` without lanes.
    pub(crate) fn environment_tag(self) -> Option<String> {
        self.lane.map(|lane| format!("{LANE_VARIABLE}={lane}"))
    }

    /// Starts the threads of the lane, which read the log and answer calls. They may start after the handler's process, because
    /// what it writes to either of them waits in a pipe. But they are there before anybody waits for that process.
    ///
    /// # Errors
    /// The system's, if there is no thread left.
    pub(crate) fn start_threads(self) -> io::Result<()> {
        self.logs.start_thread();
        self.calls.map_or(Ok(()), Calls::start_thread)
    }

    /// How the handler gets its events. Unless `COSHELL_EVENT` is set, functions get them as an argument and on standard input,
    /// scripts and programs only on standard input.
    pub(crate) fn delivery(self) -> Delivery {
        let default = match self.handler.kind {
            Kind::Function(_) => Delivery::Both,
            Kind::Script(_) | Kind::Program => Delivery::Stdin,
        };
        self.config.delivery.unwrap_or(default)
    }

    /// The environment for what this lane starts, as `name=value`. The variables of an invocation are not in it, even if we have
    /// inherited some: they are set for each event. Nor are those in which bash would no longer say which functions run.
    pub(crate) fn environment(self) -> Vec<CString> {
        let mut withheld = vec![
            TELEMETRY_FD,
            TELEMETRY_SOCKET,
            LANE_VARIABLE,
            "FUNCNAME",
            "BASH_SOURCE",
            "BASH_LINENO",
            variable::REQUEST_ID,
            variable::DEADLINE,
        ];
        withheld.extend(variable::CONTEXT.iter().chain(&variable::TRACE));
        let inherited = std::env::vars_os()
            .filter(|(name, _)| !withheld.iter().any(|withheld| name == withheld))
            .filter_map(|(name, value)| {
                let mut pair = name;
                pair.push("=");
                pair.push(value);
                CString::new(pair.into_vec()).ok()
            });
        let tag = self
            .environment_tag()
            .and_then(|tag| CString::new(tag).ok());
        inherited.chain(tag).collect()
    }
}

/// Why bash does not run its script, if an option in our environment is the cause.
pub(crate) fn idle_cause() -> Option<String> {
    let options = std::env::var("SHELLOPTS").ok()?;
    let option = options
        .split(':')
        .find(|option| matches!(*option, "noexec" | "onecmd"))?;
    Some(format!(
        "the environment variable SHELLOPTS has {option}: bash does not run its script"
    ))
}
