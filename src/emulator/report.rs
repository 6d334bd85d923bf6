//! What is said of an invocation when it is over: figures, and Lambda's lines.
//!
//! ```text
//! START RequestId: <id> Version: $LATEST
//! END RequestId: <id>
//! REPORT RequestId: <id>\tInit Duration: 2.31 ms\tDuration: 0.42 ms\tBilled Duration: 3 ms\t
//!        Memory Size: 128 MB\tMax Memory Used: 5 MB\t
//! ```
//!
//! The lines are those of AWS's emulator; Lambda has the same parts in another order. All figures
//! are measured here.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// How an invocation went, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Names the invocation.
    pub request_id: String,
    /// From the start of the bootstrap until it asked for its first event; only in the report of a
    /// sandbox's first invocation, and not if the init was a part of that.
    pub init: Option<Duration>,
    /// From the restore until the bootstrap asked for its first event; SnapStart only.
    pub restore: Option<Duration>,
    /// From the event until the bootstrap asked for the next one.
    pub duration: Duration,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`.
    pub memory_mb: u32,
    /// The peak of the sandbox so far.
    pub max_memory_mb: u64,
    /// What ended the sandbox, if something did.
    pub end: Option<End>,
    /// The last 4 KiB of the log.
    pub log_tail: Vec<u8>,
}

/// What ended a sandbox before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The deadline.
    Timeout,
    /// A failure of the runtime, of this type.
    Failure(String),
}

impl Report {
    /// In whole milliseconds, the init included, as Lambda has it since August 2025:
    /// <https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/>.
    pub(crate) fn billed_ms(&self) -> u128 {
        let billed =
            self.duration + self.init.unwrap_or_default() + self.restore.unwrap_or_default();
        billed.as_micros().div_ceil(1000)
    }

    /// The record of the event `platform.runtimeDone`.
    pub(crate) fn to_runtime_done(&self) -> Value {
        json!({
            "requestId": self.request_id,
            "status": self.status(),
            "metrics": {"durationMs": ms_of(self.duration)},
        })
    }

    /// The record of the event `platform.report`.
    pub(crate) fn to_record(&self) -> Value {
        let mut metrics = json!({
            "durationMs": ms_of(self.duration),
            "billedDurationMs": u64::try_from(self.billed_ms()).unwrap_or(u64::MAX),
            "memorySizeMB": self.memory_mb,
            "maxMemoryUsedMB": self.max_memory_mb,
        });
        if let Some(init) = self.init {
            metrics["initDurationMs"] = ms_of(init).into();
        }
        if let Some(restore) = self.restore {
            metrics["restoreDurationMs"] = ms_of(restore).into();
        }
        let mut record = json!({
            "requestId": self.request_id,
            "status": self.status(),
            "metrics": metrics,
        });
        if let Some(End::Failure(error_type)) = &self.end {
            record["errorType"] = error_type.as_str().into();
        }
        record
    }

    fn status(&self) -> &'static str {
        match self.end {
            None => "success",
            Some(End::Timeout) => "timeout",
            Some(End::Failure(_)) => "error",
        }
    }

    /// The lines END and REPORT.
    pub(crate) fn to_lines(&self) -> String {
        let request_id = &self.request_id;
        let mut lines = format!("END RequestId: {request_id}\nREPORT RequestId: {request_id}\t");
        if let Some(init) = self.init {
            add(&mut lines, "Init Duration", &in_ms(init));
        }
        if let Some(restore) = self.restore {
            add(&mut lines, "Restore Duration", &in_ms(restore));
        }
        add(&mut lines, "Duration", &in_ms(self.duration));
        add(
            &mut lines,
            "Billed Duration",
            &format!("{} ms", self.billed_ms()),
        );
        add(&mut lines, "Memory Size", &format!("{} MB", self.memory_mb));
        add(
            &mut lines,
            "Max Memory Used",
            &format!("{} MB", self.max_memory_mb),
        );
        if let Some(end) = &self.end {
            add_end(&mut lines, end);
        }
        lines.push('\n');
        lines
    }
}

/// The line at the start of an invocation.
pub(crate) fn start_line(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}\n")
}

/// The line of an init that failed; `phase` is `init` or `invoke`.
pub(crate) fn init_line(duration: Duration, phase: &str, end: &End) -> String {
    let mut line = "INIT_REPORT ".to_owned();
    add(&mut line, "Init Duration", &in_ms(duration));
    add(&mut line, "Phase", phase);
    add_end(&mut line, end);
    line.push('\n');
    line
}

/// The record of the event `platform.initReport`.
pub(crate) fn init_record(duration: Duration, initialization_type: &str) -> Value {
    json!({
        "initializationType": initialization_type,
        "phase": "init",
        "status": "success",
        "metrics": {"durationMs": ms_of(duration)},
    })
}

/// The line of a restore from a snapshot.
pub(crate) fn restore_line(duration: Duration) -> String {
    let mut line = "RESTORE_REPORT ".to_owned();
    add(&mut line, "Restore Duration", &in_ms(duration));
    line.push('\n');
    line
}

fn add(line: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = write!(line, "{name}: {value}\t");
}

fn add_end(line: &mut String, end: &End) {
    match end {
        End::Timeout => add(line, "Status", "timeout"),
        End::Failure(error_type) => {
            add(line, "Status", "error");
            add(line, "Error Type", error_type);
        }
    }
}

/// Milliseconds, to the microsecond.
pub fn ms_of(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn in_ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            request_id: "8476a536".to_owned(),
            duration: Duration::from_micros(1_001),
            memory_mb: 128,
            max_memory_mb: 5,
            ..Report::default()
        }
    }

    #[test]
    fn report_has_the_parts_of_lambda() {
        assert_eq!(
            report().to_lines(),
            "END RequestId: 8476a536\nREPORT RequestId: 8476a536\tDuration: 1.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 5 MB\t\n"
        );
    }

    #[test]
    fn init_is_billed_with_the_first_invocation() {
        let report = Report {
            init: Some(Duration::from_micros(2_500)),
            ..report()
        };
        assert!(
            report
                .to_lines()
                .contains("\tInit Duration: 2.50 ms\tDuration: 1.00 ms\tBilled Duration: 4 ms\t")
        );
    }

    #[test]
    fn end_of_the_sandbox_is_told() {
        let ended = |end| {
            let end = Some(end);
            Report { end, ..report() }.to_lines()
        };
        assert!(ended(End::Timeout).ends_with("\tStatus: timeout\t\n"));
        assert!(
            ended(End::Failure("Runtime.ExitError".to_owned()))
                .ends_with("\tStatus: error\tError Type: Runtime.ExitError\t\n")
        );
        assert_eq!(
            init_line(Duration::from_secs(10), "init", &End::Timeout),
            "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\t\n"
        );
    }
}
