//! What every kind of handler is run with ([`LaneContext`]), and what is done about what it leaves behind.
//!
//! Neighbours: `arguments.rs` lays an invocation out for bash, `logs.rs` carries stderr, `late_output.rs` waits for the
//! processes that finish a response, `leftovers.rs` decides what is done about those that are left.

pub(crate) mod arguments;
pub(crate) mod late_output;
pub(crate) mod leftovers;
pub(crate) mod logs;

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, TELEMETRY};
use crate::invocation::variable;
use crate::wait::Signals;
use coshell_handler::{Delivery, Handler, Kind};
use logs::Logs;

/// For so long only the end of the handler is waited for: a response that is shorter than its pipe
/// then costs no wake-up of its own, and a longer one costs one a megabyte.
pub(crate) const RESPONSE_READ_DELAY: Duration = Duration::from_millis(1);
/// Memory that an invocation needed beyond this is given back after it.
pub(crate) const LARGE_EVENT_BYTES: usize = 256 * 1024;
/// Where each of several runtimes gets a descriptor of its own for its log. We have one for all, and
/// a handler has none.
const TELEMETRY_SOCKET: &str = "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET";
/// Says in a handler's environment in which lane it runs; by it, too, what a lane has started is known.
const LANE_VARIABLE: &str = "COSHELL_LANE";

/// What every handler is run with; one for the life of the sandbox, or of a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneContext<'a> {
    /// The settings.
    pub config: &'a Config,
    /// What is run.
    pub handler: &'a Handler,
    /// Where its stderr goes.
    pub logs: &'a Logs,
    /// What may end it.
    pub signals: &'a Arc<Signals>,
    /// Which of several lanes this is, from 0; `None` if there is but one.
    pub lane: Option<u32>,
}

impl LaneContext<'_> {
    /// What is in the environment of all that this lane starts, and of nothing else; `None` if there are no
    /// others.
    pub(crate) fn environment_tag(self) -> Option<String> {
        self.lane.map(|lane| format!("{LANE_VARIABLE}={lane}"))
    }

    /// How the handler gets its events: as `COSHELL_EVENT` says, or else a function by both ways and a program on
    /// standard input.
    pub(crate) fn delivery(self) -> Delivery {
        let usual = match self.handler.kind {
            Kind::Function(_) => Delivery::Both,
            Kind::Script(_) | Kind::Program => Delivery::Stdin,
        };
        self.config.delivery.unwrap_or(usual)
    }

    /// Our environment, as a handler is given it: the variables of an invocation come with it alone.
    pub(crate) fn environment(self) -> Vec<CString> {
        let mut withheld = vec![
            TELEMETRY,
            TELEMETRY_SOCKET,
            LANE_VARIABLE,
            variable::REQUEST_ID,
            variable::DEADLINE,
        ];
        withheld.extend(variable::CONTEXT.iter().chain(&variable::TRACE));
        let given = std::env::vars_os()
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
        given.chain(tag).collect()
    }
}
