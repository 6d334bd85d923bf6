//! Reads a message of a log as a record of an invocation.
//!
//! ```text
//! REPORT RequestId: <id>\tDuration: 0.42 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\t
//!        Max Memory Used: 5 MB\tInit Duration: 2.31 ms\t[Status: timeout\t]
//! {"time": ..., "type": "platform.report", "record": {"requestId": ..., "metrics": {"durationMs": 0.42, ...}}}
//! ```
//!
//! Only the start of a message counts: further on it can be the output of a handler. AWS's emulator has the parts in
//! another order, and tools that copy logs turn tabs into spaces.

use serde_json::Value;

/// The report of an invocation. Times are in milliseconds, memory is in MB.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// A retry has the id of the first attempt.
    pub request_id: String,
    pub duration: f64,
    pub billed: Option<f64>,
    pub memory: Option<f64>,
    pub max_memory: Option<f64>,
    pub init: Option<f64>,
    pub restore: Option<f64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl Report {
    /// Whether it waited for an init or a restore.
    pub fn is_cold(&self) -> bool {
        self.init.is_some() || self.restore.is_some()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// The end of an invocation.
    Report(Report),
    /// The end of an init or a restore, in a record of its own. The report of the invocation that waited for it has the
    /// same duration.
    Init {
        /// Why it failed, if it did.
        failure: Option<String>,
        /// Whether no invocation waited for it: provisioned concurrency, or a snapshot.
        is_ahead: bool,
    },
    /// The failure of an invocation. Older logs report it in no other way.
    Failure { request_id: String, what: String },
    /// The records that follow belong to this function.
    Function(String),
}

/// Reads a message, which is text or a document. `None` if it is no record.
///
/// # Errors
/// If it begins like a record and cannot be read as one: why.
pub(crate) fn of(message: &Value) -> Result<Option<Record>, String> {
    match message {
        Value::String(text) if text.starts_with('{') => match serde_json::from_str(text) {
            Ok(event) => of_event(&event),
            Err(error) if text.contains(r#""platform."#) => Err(error.to_string()),
            Err(_) => Ok(None),
        },
        Value::String(text) => of_text(text),
        event => of_event(event),
    }
}

fn of_text(text: &str) -> Result<Option<Record>, String> {
    let rest = |start: &str| {
        text.strip_prefix(start)
            .filter(|rest| rest.starts_with(char::is_whitespace))
    };
    if text.starts_with("REPORT RequestId:") {
        return of_fields(&text["REPORT".len()..]).map(|report| Some(Record::Report(report)));
    }
    if let Some(rest) = rest("INIT_REPORT").or_else(|| rest("RESTORE_REPORT")) {
        let failure = failure_in(&Fields::of(rest));
        // Lambda writes INIT_REPORT of a good init only if no invocation waited for it.
        let is_ahead = failure.is_none() && text.starts_with("INIT");
        return Ok(Some(Record::Init { failure, is_ahead }));
    }
    Ok(failure_line(text))
}

/// `[<time>] <id> Task timed out after 3.00 seconds`, and `RequestId: <id> Error: <what>`.
fn failure_line(text: &str) -> Option<Record> {
    /// A failure is described in fewer words; what a handler printed behind them is cut.
    const WORDS: usize = 50;
    const LENGTH: usize = 500;
    let words: Vec<_> = text.split_whitespace().take(WORDS).collect();
    let failure = |request_id: &str, what: String| {
        let [request_id, what] =
            [request_id, &what].map(|text| text.chars().take(LENGTH).collect::<String>());
        Some(Record::Failure { request_id, what })
    };
    match words.as_slice() {
        ["RequestId:", request_id, "Error:", what @ ..] => failure(request_id, what.join(" ")),
        [_, request_id, what @ ..] if what.starts_with(&["Task", "timed", "out", "after"]) => {
            failure(request_id, what.join(" "))
        }
        [request_id, what @ ..] if what.starts_with(&["Task", "timed", "out", "after"]) => {
            failure(request_id, what.join(" "))
        }
        _ => None,
    }
}

/// The words of a line as names and values: `Duration: 0.42 ms`.
struct Fields<'a>(Vec<(String, &'a str, Option<&'a str>)>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let mut words = text.split_whitespace().peekable();
        let mut found = Vec::new();
        let mut name: Vec<&str> = Vec::new();
        while let Some(word) = words.next() {
            let Some(last) = word.strip_suffix(':') else {
                name.push(word);
                continue;
            };
            name.push(last);
            // A number is followed by its unit. Any other value is one word.
            let value = words.next().unwrap_or_default();
            let is_number = value.parse::<f64>().is_ok();
            let unit = words.next_if(|next| is_number && !next.ends_with(':'));
            found.push((name.join(" "), value, unit));
            name.clear();
        }
        Self(found)
    }

    fn word(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, ..)| known == name);
        found.map(|(_, value, _)| *value)
    }

    /// `None` if there is no such field.
    fn number(&self, name: &str, unit: &str) -> Result<Option<f64>, String> {
        let Some((_, value, found)) = self.0.iter().find(|(known, ..)| known == name) else {
            return Ok(None);
        };
        let number = value.parse().ok().and_then(sensible);
        match number {
            Some(number) if *found == Some(unit) => Ok(Some(number)),
            _ => Err(format!("{name} is not a number of {unit}")),
        }
    }
}

fn sensible(number: f64) -> Option<f64> {
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn of_fields(text: &str) -> Result<Report, String> {
    let fields = Fields::of(text);
    let request_id = fields.word("RequestId").filter(|id| !id.is_empty());
    Ok(Report {
        request_id: request_id.ok_or("it has no RequestId")?.to_owned(),
        duration: fields
            .number("Duration", "ms")?
            .ok_or("it has no Duration")?,
        billed: fields.number("Billed Duration", "ms")?,
        memory: fields.number("Memory Size", "MB")?,
        max_memory: fields.number("Max Memory Used", "MB")?,
        init: fields.number("Init Duration", "ms")?,
        restore: fields.number("Restore Duration", "ms")?,
        failure: failure_in(&fields),
    })
}

fn failure_in(fields: &Fields) -> Option<String> {
    failure(fields.word("Status")?, fields.word("Error Type"))
}

fn failure(status: &str, error_type: Option<&str>) -> Option<String> {
    let kind = error_type.map(|kind| format!(", {kind}"));
    (status != "success").then(|| format!("status {status}{}", kind.unwrap_or_default()))
}

/// A platform event, of the JSON log format or of the Telemetry API:
/// <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>.
fn of_event(event: &Value) -> Result<Option<Record>, String> {
    let (Some(kind), Some(record)) = (event["type"].as_str(), event.get("record")) else {
        return Ok(None);
    };
    let failure = record["status"]
        .as_str()
        .and_then(|status| failure(status, record["errorType"].as_str()));
    Ok(Some(match kind {
        "platform.report" => Record::Report(of_record(record, failure)?),
        "platform.initReport" | "platform.restoreReport" => {
            let way = record["initializationType"].as_str();
            let is_ahead = failure.is_none() && way.is_some_and(|way| way != "on-demand");
            Record::Init { failure, is_ahead }
        }
        "platform.initStart" | "platform.start" => {
            let name = record["functionName"].as_str().or_else(|| {
                // arn:aws:lambda:<region>:<account>:function:<name>
                record["functionArn"].as_str()?.split(':').nth(6)
            });
            let Some(name) = name else { return Ok(None) };
            Record::Function(name.to_owned())
        }
        _ => return Ok(None),
    }))
}

fn of_record(record: &Value, failure: Option<String>) -> Result<Report, String> {
    let metric = |name: &str| match record["metrics"].get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_f64().and_then(sensible);
            number
                .map(Some)
                .ok_or_else(|| format!("{name} is not a number"))
        }
    };
    let request_id = record["requestId"].as_str().filter(|id| !id.is_empty());
    Ok(Report {
        request_id: request_id.ok_or("it has no requestId")?.to_owned(),
        duration: metric("durationMs")?.ok_or("it has no durationMs")?,
        billed: metric("billedDurationMs")?,
        memory: metric("memorySizeMB")?,
        max_memory: metric("maxMemoryUsedMB")?,
        init: metric("initDurationMs")?,
        restore: metric("restoreDurationMs")?,
        failure,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The record as `tests/fixtures/lambda-logs/reports.txt` writes it.
    fn described(message: &str) -> String {
        match of(&message.replace("\\n", "\n").into()) {
            Ok(Some(Record::Report(report))) => {
                let named = [
                    ("billed", report.billed),
                    ("memory", report.memory),
                    ("used", report.max_memory),
                    ("init", report.init),
                    ("restore", report.restore),
                ];
                let named = named
                    .iter()
                    .filter_map(|(name, number)| Some(format!(" {name} {}", (*number)?)));
                let failure = report.failure.map(|what| format!(" failed: {what}"));
                format!(
                    "{} {}{}{}",
                    report.request_id,
                    report.duration,
                    named.collect::<String>(),
                    failure.unwrap_or_default()
                )
            }
            Ok(other) => format!("{other:?}"),
            Err(cause) => format!("bad: {cause}"),
        }
    }

    #[test]
    fn reports_in_all_their_forms_are_read() {
        let text = include_str!("../../../tests/fixtures/lambda-logs/reports.txt");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() > 80, "{}", lines.len());
        for pair in lines.chunks(2) {
            assert_eq!(pair[1], format!("=> {}", described(pair[0])), "{}", pair[0]);
        }
    }

    #[test]
    fn message_that_only_mentions_a_report_is_no_record() {
        for message in [
            "the last line was REPORT RequestId: 1\tDuration: 1.00 ms",
            " REPORT RequestId: 1\tDuration: 1.00 ms",
            "REPORTING RequestId: 1\tDuration: 1.00 ms",
            "INIT_REPORTS",
            r#"{"level":"INFO","message":"REPORT RequestId: 1\tDuration: 1.00 ms"}"#,
            r#"{"type":"function","record":"REPORT RequestId: 1\tDuration: 1.00 ms"}"#,
            r#"{"type":"platform.runtimeDone","record":{"requestId":"1","metrics":{"durationMs":1}}}"#,
            "{not JSON",
            "",
        ] {
            assert_eq!(of(&message.into()), Ok(None), "{message}");
        }
    }

    #[test]
    fn event_that_is_cut_is_an_error() {
        let cut = r#"{"time":"2026-10-08T07:30:31.470Z","type":"platform.report","record":{"requ"#;
        assert!(of(&cut.into()).unwrap_err().contains("EOF"));
    }

    #[test]
    fn failures_beside_reports_are_read() {
        let failure = |message: &str| match of(&message.into()) {
            Ok(Some(Record::Failure { request_id, what })) => format!("{request_id}: {what}"),
            other => format!("{other:?}"),
        };
        let late = "Task timed out after 3.00 seconds";
        assert_eq!(
            failure(&format!("2026-10-08T07:30:32.470Z 8476 {late}")),
            format!("8476: {late}")
        );
        assert_eq!(failure(&format!("8476 {late}")), format!("8476: {late}"));
        let exit = "Runtime exited with error: exit status 1";
        assert_eq!(
            failure(&format!("RequestId: 8476 Error: {exit}\nRuntime.ExitError")),
            format!("8476: {exit} Runtime.ExitError")
        );
        assert_eq!(
            failure(&format!("INFO we saw that 8476 {late}")),
            "Ok(None)"
        );
    }

    #[test]
    fn inits_by_themselves_are_failures_or_ahead() {
        let init = |message: &str| match of(&message.into()) {
            Ok(Some(Record::Init { failure, is_ahead })) => (failure.unwrap_or_default(), is_ahead),
            other => (format!("{other:?}"), false),
        };
        let good = |is_ahead| (String::new(), is_ahead);
        assert_eq!(init("INIT_REPORT Init Duration: 9908.09 ms"), good(true));
        assert_eq!(
            init("RESTORE_REPORT Restore Duration: 511.25 ms"),
            good(false)
        );
        assert_eq!(
            init("INIT_REPORT Init Duration: 10007.33 ms\tPhase: init\tStatus: timeout\t"),
            ("status timeout".to_owned(), false)
        );
        assert_eq!(
            init(
                "RESTORE_REPORT Restore Duration: 1236.04 ms\tStatus: error\tError Type: Runtime.ExitError"
            ),
            ("status error, Runtime.ExitError".to_owned(), false)
        );
        let event = |way: &str, status: &str| {
            format!(
                r#"{{"type":"platform.initReport","record":{{"initializationType":"{way}","status":"{status}"}}}}"#
            )
        };
        assert_eq!(init(&event("on-demand", "success")), good(false));
        assert_eq!(
            init(&event("provisioned-concurrency", "success")),
            good(true)
        );
        assert_eq!(
            init(&event("on-demand", "failure")),
            ("status failure".to_owned(), false)
        );
    }
}
