//! The report of an invocation: its durations, its memory, and the log lines that Lambda writes.
//!
//! ```text
//! START RequestId: <id> Version: $LATEST
//! END RequestId: <id>
//! REPORT RequestId: <id>\tInit Duration: 2.31 ms\tDuration: 0.42 ms\tBilled Duration: 3 ms\t
//!        Memory Size: 128 MB\tMax Memory Used: 5 MB\t
//! ```
//!
//! The lines are those of AWS's emulator. Lambda writes the same fields in another order.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// The figures of one invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub request_id: String,
    /// From the start of the bootstrap until its first *next*. Only the report of a sandbox's first invocation has it,
    /// and not if the invocation included the init.
    pub init: Option<Duration>,
    /// From the restore until the first *next*. Only with SnapStart.
    pub restore: Option<Duration>,
    /// From the delivery of the event until the sandbox was idle again.
    pub duration: Duration,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`.
    pub memory_mb: u32,
    /// The peak memory of the sandbox so far.
    pub max_memory_mb: u64,
    /// Why the sandbox ended with this invocation. `None` if it can run another one.
    pub stop_reason: Option<StopReason>,
    /// The last 4 KiB of the invocation's log.
    pub log_tail: Vec<u8>,
}

/// Why a sandbox cannot run another invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    Timeout,
    /// The runtime failed. The text is the errorType.
    Failure(String),
}

impl Report {
    /// In whole milliseconds, including the init, as Lambda has billed since August 2025:
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
            "metrics": {"durationMs": to_ms(self.duration)},
        })
    }

    /// The record of the event `platform.report`.
    pub(crate) fn to_record(&self) -> Value {
        let mut metrics = json!({
            "durationMs": to_ms(self.duration),
            "billedDurationMs": u64::try_from(self.billed_ms()).unwrap_or(u64::MAX),
            "memorySizeMB": self.memory_mb,
            "maxMemoryUsedMB": self.max_memory_mb,
        });
        if let Some(init) = self.init {
            metrics["initDurationMs"] = to_ms(init).into();
        }
        if let Some(restore) = self.restore {
            metrics["restoreDurationMs"] = to_ms(restore).into();
        }
        let mut record = json!({
            "requestId": self.request_id,
            "status": self.status(),
            "metrics": metrics,
        });
        if let Some(StopReason::Failure(error_type)) = &self.stop_reason {
            record["errorType"] = error_type.as_str().into();
        }
        record
    }

    fn status(&self) -> &'static str {
        match self.stop_reason {
            None => "success",
            Some(StopReason::Timeout) => "timeout",
            Some(StopReason::Failure(_)) => "error",
        }
    }

    /// The lines END and REPORT.
    pub(crate) fn to_lines(&self) -> String {
        let request_id = &self.request_id;
        let mut lines = format!("END RequestId: {request_id}\nREPORT RequestId: {request_id}\t");
        if let Some(init) = self.init {
            push_field(&mut lines, "Init Duration", &format_ms(init));
        }
        if let Some(restore) = self.restore {
            push_field(&mut lines, "Restore Duration", &format_ms(restore));
        }
        push_field(&mut lines, "Duration", &format_ms(self.duration));
        push_field(
            &mut lines,
            "Billed Duration",
            &format!("{} ms", self.billed_ms()),
        );
        push_field(&mut lines, "Memory Size", &format!("{} MB", self.memory_mb));
        push_field(
            &mut lines,
            "Max Memory Used",
            &format!("{} MB", self.max_memory_mb),
        );
        if let Some(reason) = &self.stop_reason {
            push_status(&mut lines, reason);
        }
        lines.push('\n');
        lines
    }
}

pub(crate) fn start_line(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}\n")
}

/// The line of a failed init. `phase` is `init` or `invoke`.
pub(crate) fn init_report_line(duration: Duration, phase: &str, reason: &StopReason) -> String {
    let mut line = "INIT_REPORT ".to_owned();
    push_field(&mut line, "Init Duration", &format_ms(duration));
    push_field(&mut line, "Phase", phase);
    push_status(&mut line, reason);
    line.push('\n');
    line
}

/// The record of the event `platform.initReport`.
pub(crate) fn init_record(duration: Duration, initialization_type: &str) -> Value {
    json!({
        "initializationType": initialization_type,
        "phase": "init",
        "status": "success",
        "metrics": {"durationMs": to_ms(duration)},
    })
}

pub(crate) fn restore_report_line(duration: Duration) -> String {
    let mut line = "RESTORE_REPORT ".to_owned();
    push_field(&mut line, "Restore Duration", &format_ms(duration));
    line.push('\n');
    line
}

fn push_field(line: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = write!(line, "{name}: {value}\t");
}

fn push_status(line: &mut String, reason: &StopReason) {
    match reason {
        StopReason::Timeout => push_field(line, "Status", "timeout"),
        StopReason::Failure(error_type) => {
            push_field(line, "Status", "error");
            push_field(line, "Error Type", error_type);
        }
    }
}

/// Milliseconds with three decimals.
pub fn to_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn format_ms(duration: Duration) -> String {
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
    fn report_has_the_fields_of_lambda() {
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
    fn report_shows_why_the_sandbox_was_stopped() {
        let lines = |reason| {
            let report = Report {
                stop_reason: Some(reason),
                ..report()
            };
            report.to_lines()
        };
        assert!(lines(StopReason::Timeout).ends_with("\tStatus: timeout\t\n"));
        assert!(
            lines(StopReason::Failure("Runtime.ExitError".to_owned()))
                .ends_with("\tStatus: error\tError Type: Runtime.ExitError\t\n")
        );
        assert_eq!(
            init_report_line(Duration::from_secs(10), "init", &StopReason::Timeout),
            "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\t\n"
        );
    }
}
