//! Log records: those of `bootstrap` itself, and the form of the handlers' records that `child/logs.rs` forwards.
//!
//! The form of ours is `bootstrap: <level>: <message> (request id <id>)`. If the function's log format is JSON, each record
//! is an object with the keys that AWS's own runtimes use. A record goes to stderr as a line, or to the platform as a frame
//! (`frames.rs`). Events and responses are never logged.

mod frames;

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use serde_json::{Map, Value};

use coshell_handler::Failure;
pub(crate) use frames::Frames;

/// Whether our stderr is where a line begins. A handler may have left an unfinished line there.
static IS_AT_LINE_START: AtomicBool = AtomicBool::new(true);

/// The levels of `AWS_LAMBDA_LOG_LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// Reads a level in any case, and `WARNING` and `CRITICAL` too, which other languages use.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "TRACE" => Some(Self::Trace),
            "DEBUG" => Some(Self::Debug),
            "INFO" => Some(Self::Info),
            "WARN" | "WARNING" => Some(Self::Warn),
            "ERROR" => Some(Self::Error),
            "FATAL" | "CRITICAL" => Some(Self::Fatal),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// What a record belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin<'a> {
    /// The invocation, if there is one.
    pub request_id: Option<&'a str>,
    /// The tenant, if the function has tenants.
    pub tenant_id: Option<&'a str>,
}

/// Which records are written, in what form, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// Each record is a JSON object: `AWS_LAMBDA_LOG_FORMAT=JSON`.
    pub is_json: bool,
    /// The lowest level that is written. It applies to JSON only, as it does in Lambda.
    pub min_level: Level,
    /// Several invocations write at the same time: every line of text begins with its request id.
    pub is_shared: bool,
    /// Takes the records as frames. `None`: records are lines on stderr.
    pub frames: Option<Frames>,
}

impl Log {
    /// Whether a handler's output has to be split into records, instead of being copied to stderr as it comes.
    pub(crate) fn formats_output(&self) -> bool {
        self.is_json || self.is_shared || self.frames.is_some()
    }

    /// Whether records of this level are written.
    pub(crate) fn is_enabled(&self, level: Level) -> bool {
        !self.is_json || level >= self.min_level
    }

    /// Warns of something that belongs to no invocation.
    pub(crate) fn warn(&self, message: fmt::Arguments) {
        self.write(Level::Warn, Origin::default(), &message);
    }

    /// Warns of something that an invocation did.
    pub(crate) fn warn_for(&self, origin: Origin, message: fmt::Arguments) {
        self.write(Level::Warn, origin, &message);
    }

    /// Logs an error that belongs to no invocation.
    pub(crate) fn error(&self, message: fmt::Arguments) {
        self.write(Level::Error, Origin::default(), &message);
    }

    /// Logs an error of an invocation.
    pub(crate) fn error_for(&self, origin: Origin, message: fmt::Arguments) {
        self.write(Level::Error, origin, &message);
    }

    /// Writes a record of ours, which is one line. If the log cannot be written to, there is no other place to report it.
    fn write(&self, level: Level, origin: Origin, message: &dyn Display) {
        if !self.is_enabled(level) {
            return;
        }
        let mut records = Vec::new();
        if self.is_json {
            self.push_object(&mut records, level, origin, &message.to_string(), None);
        } else {
            let text = format_text(level, origin, &Escaped(message).to_string());
            self.push(&mut records, level, text.as_bytes());
        }
        self.write_records(&records);
    }

    /// Writes why an invocation, or the init, failed. As text that is `message` only, on one line, because the output that the
    /// failure quotes is in the log already. A frame also has the stack, and JSON has all fields.
    pub(crate) fn write_failure(
        &self,
        level: Level,
        origin: Origin,
        message: &str,
        failure: &Failure,
    ) {
        if self.frames.is_none() && !self.is_json {
            return self.write(level, origin, &message);
        }
        if !self.is_enabled(level) {
            return;
        }
        let mut records = Vec::new();
        if self.is_json {
            self.push_object(&mut records, level, origin, message, Some(failure));
        } else {
            let message = format!("{}: {}", failure.error_type, failure.without_log());
            let mut text = format_text(level, origin, &message);
            for frame in &failure.stack {
                let _ = write!(text, "\n    at {frame}");
            }
            self.push(&mut records, level, text.as_bytes());
        }
        self.write_records(&records);
    }

    /// Adds to `records` what a handler logged: a line, or a message of several lines.
    pub(crate) fn push_message(
        &self,
        records: &mut Vec<u8>,
        level: Level,
        origin: Origin,
        message: &[u8],
    ) {
        if self.is_json {
            let message = String::from_utf8_lossy(message);
            return self.push_object(records, level, origin, &message, None);
        }
        let prefix = match origin.request_id {
            Some(request_id) if self.is_shared => format!("[{request_id}] "),
            _ => String::new(),
        };
        if self.frames.is_some() {
            return self.push(records, level, &[prefix.as_bytes(), message].concat());
        }
        for line in message.split(|byte| *byte == b'\n') {
            records.extend_from_slice(prefix.as_bytes());
            self.push(records, level, line);
        }
    }

    /// Adds a record that has its final form.
    pub(crate) fn push(&self, records: &mut Vec<u8>, level: Level, record: &[u8]) {
        if self.frames.is_some() {
            frames::push_frame(records, self.is_json, level, record);
        } else {
            records.extend_from_slice(record);
            records.push(b'\n');
        }
    }

    /// Writes the records at once, so that no other thread writes in between.
    pub(crate) fn write_records(&self, records: &[u8]) {
        if let Some(frames) = self.frames {
            return frames.write_all(records);
        }
        let mut stderr = std::io::stderr().lock();
        if !IS_AT_LINE_START.swap(true, Relaxed) {
            let _ = stderr.write_all(b"\n");
        }
        let _ = stderr.write_all(records);
    }

    /// Adds a JSON object with the keys that AWS's runtimes use.
    fn push_object(
        &self,
        records: &mut Vec<u8>,
        level: Level,
        origin: Origin,
        message: &str,
        failure: Option<&Failure>,
    ) {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        put("timestamp", now.into());
        put("level", level.name().into());
        put("message", message.into());
        if let Some(request_id) = origin.request_id {
            put("requestId", request_id.into());
        }
        if let Some(tenant_id) = origin.tenant_id {
            put("tenantId", tenant_id.into());
        }
        if let Some(failure) = failure {
            put("errorType", (&*failure.error_type).into());
            put("errorMessage", failure.without_log().into());
            if !failure.stack.is_empty() {
                let stack = failure.stack.iter().map(ToString::to_string);
                put("stackTrace", stack.collect());
            }
        }
        self.push(records, level, Value::Object(object).to_string().as_bytes());
    }
}

/// Writes what a handler logged to stderr unchanged.
pub(crate) fn write_unchanged(piece: &[u8]) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(piece);
    IS_AT_LINE_START.store(piece.ends_with(b"\n"), Relaxed);
}

/// A record as text.
fn format_text(level: Level, origin: Origin, message: &str) -> String {
    let level = level.name().to_ascii_lowercase();
    let mut text = format!("bootstrap: {level}: {message}");
    if let Some(id) = origin.request_id {
        let _ = write!(text, " (request id {id})");
    }
    text
}

/// Displays with every control character escaped, so that data in a message cannot begin a new line.
pub(crate) struct Escaped<'a>(pub &'a dyn Display);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coshell_handler::Frame;

    const LOG: Log = Log {
        is_json: false,
        min_level: Level::Info,
        is_shared: false,
        frames: None,
    };

    const ORIGIN: Origin = Origin {
        request_id: Some("8476a536"),
        tenant_id: Some("t"),
    };

    #[test]
    fn request_id_is_at_the_end_of_the_message() {
        assert_eq!(
            format_text(Level::Warn, ORIGIN, "a\nb"),
            "bootstrap: warn: a\nb (request id 8476a536)"
        );
        assert_eq!(
            format_text(Level::Warn, Origin::default(), "a\nb"),
            "bootstrap: warn: a\nb"
        );
    }

    #[test]
    fn own_message_is_one_line() {
        assert_eq!(
            Escaped(&"a\nbootstrap: b\r").to_string(),
            "a\\nbootstrap: b\\r"
        );
    }

    #[test]
    fn object_has_the_names_of_aws() {
        let log = Log {
            is_json: true,
            ..LOG
        };
        let failure = Failure {
            error_type: "Function.HandlerFailed".into(),
            message: "a \"b\"\nthe log".to_owned(),
            stack: vec![Frame {
                function: "f".to_owned(),
                file: "g".to_owned(),
                line: 3,
            }],
            quoted_bytes: 8,
        };
        let mut line = Vec::new();
        log.push_object(&mut line, Level::Error, ORIGIN, "x\n", Some(&failure));
        let value: Value = serde_json::from_slice(&line).unwrap_or_default();
        assert_eq!(value["level"], "ERROR");
        assert_eq!(value["message"], "x\n");
        assert_eq!(value["requestId"], "8476a536");
        assert_eq!(value["tenantId"], "t");
        assert_eq!(value["errorType"], "Function.HandlerFailed");
        assert_eq!(value["errorMessage"], "a \"b\"");
        assert_eq!(value["stackTrace"], serde_json::json!(["f (g:3)"]));
        let time = value["timestamp"].as_str();
        assert!(time.is_some_and(|time| time.ends_with('Z')));
    }

    #[test]
    fn each_line_of_a_shared_log_begins_with_its_request_id() {
        let shared = Log {
            is_shared: true,
            ..LOG
        };
        let pushed = |log: Log, origin, message: &[u8]| {
            let mut records = Vec::new();
            log.push_message(&mut records, Level::Info, origin, message);
            String::from_utf8_lossy(&records).into_owned()
        };
        assert_eq!(
            pushed(shared, ORIGIN, b"a\n\nb"),
            "[8476a536] a\n[8476a536] \n[8476a536] b\n"
        );
        assert_eq!(pushed(shared, Origin::default(), b"a"), "a\n");
        assert_eq!(pushed(LOG, ORIGIN, b"a"), "a\n");
    }
}
