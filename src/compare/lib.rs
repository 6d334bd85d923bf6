//! Cold starts and warm invocations, side by side.
//!
//! ```text
//! scenario -> run (cold rounds, warm rounds) -+
//!                                             +-> Results -> report: table, Markdown, JSON, CSV, pictures, page
//! log files -> lambda_logs -------------------+
//! ```
//!
//! A runtime is made ready and started by `runtime`, within `limits` or a `container`, and measured at an `endpoint`; `tally`
//! keeps what was measured, `usage` looks at what it cost, `machine` at what else runs. `floor` is a runtime of our own
//! that does nothing.
//!
//! `results` is what both ways end in and all reports begin with; `statistics` is where the figures
//! of a report come from. Nothing here knows the emulator: what it costs would be measured too.

pub mod cold;
pub mod container;
pub mod endpoint;
pub mod event;
pub(crate) mod exact;
pub mod floor;
pub(crate) mod fork_count;
pub mod lambda_logs;
pub mod limits;
pub mod machine;
pub(crate) mod output;
pub mod report;
pub mod results;
pub mod run;
pub mod runtime;
pub mod scenario;
pub mod session;
pub mod statistics;
pub(crate) mod tally;
pub(crate) mod turn;
pub mod usage;
pub mod warm;

use std::fmt;

/// What could not be done. Displays as `cannot <do what> <to what>: <cause>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    what: String,
    cause: String,
}

impl Error {
    /// `what` is `cannot <do what> <to what>`.
    pub fn new(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            cause: cause.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)
    }
}

impl std::error::Error for Error {}
