//! Cold starts and warm invocations, side by side.
//!
//! ```text
//! scenario -> run (cold rounds, warm rounds) -+
//!                                             +-> Results -> report: table, Markdown, JSON, CSV, pictures, page
//! log files -> lambda_logs -------------------+
//! ```
//!
//! `runtime` prepares and starts a runtime, within `limits` or in a `container`, and reads its `output`. An `endpoint` sends events
//! to it and takes the times. `turn` measures a warm turn, with `usage` for CPU and memory and `fork_count` for processes.
//! `tally` keeps the samples, and `machine` watches what else runs. `floor` is a runtime of our own that does nothing.
//!
//! Both ways end in `results`, from which all reports are made; `statistics` and `exact` compute their figures. Nothing here uses
//! the emulator: its cost would be measured, too.

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

/// A failure. Displays as `cannot <do what> <to what>: <cause>`.
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
