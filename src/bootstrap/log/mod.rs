//! Log records: bootstrap's own, and the form of those that `child/logs.rs` carries.
//!
//! Text: `bootstrap: <level>: <message> (request id <id>)`. JSON, when the function is set to
//! it: one object a record, with the names that AWS's own runtimes use. A record is a line on
//! stderr, or a frame (`frames.rs`) where the platform takes those. Events and responses never get
//! here.

mod frames;

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use serde_json::{Map, Value};

use coshell_handler::Failure;
pub(crate) use frames::Frames;

/// How grave a line is, in the words of `AWS_LAMBDA_LOG_LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// Reads a level in any case; `WARNING` and `CRITICAL` too, as other languages write them.
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

/// Whose line it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin<'a> {
    /// The invocation, if there is one.
    pub request_id: Option<&'a str>,
    /// The tenant, if the function has tenants.
    pub tenant_id: Option<&'a str>,
}

/// How records are written, which, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// One JSON object a record; `AWS_LAMBDA_LOG_FORMAT=JSON`.
    pub json: bool,
    /// The least grave level that is written. Lambda filters only JSON, and so do we.
    pub least: Level,
    /// Several invocations at once write to it: what they log says in text too whose it is.
    pub is_shared: bool,
    /// Where the platform takes records as frames; else they are lines on stderr.
    pub frames: Option<Frames>,
}

impl Log {
    /// Whether what a handler logs has to be taken apart into lines, and does not go through as it
    /// comes.
    pub(crate) fn is_by_records(&self) -> bool {
        self.json || self.is_shared || self.frames.is_some()
    }

    /// Whether a record of this level is written.
    pub(crate) fn takes(&self, level: Level) -> bool {
        !self.json || level >= self.least
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

    /// Writes a record of ours, which is one line; a log that cannot be written to is left silent.
    fn write(&self, level: Level, origin: Origin, message: &dyn Display) {
        if !self.takes(level) {
            return;
        }
        let mut records = Vec::new();
        if self.json {
            self.push_object(&mut records, level, origin, &message.to_string(), None);
        } else {
            let text = text(level, origin, &Escaped(message).to_string());
            self.push(&mut records, level, text.as_bytes());
        }
        self.send(&records);
    }

    /// Writes why an invocation, or the init, failed. `line` is all that text has of it, since what
    /// the failure quotes of the log is there already; a frame has its stack too.
    pub(crate) fn write_failure(
        &self,
        level: Level,
        origin: Origin,
        line: &str,
        failure: &Failure,
    ) {
        if self.frames.is_none() && !self.json {
            return self.write(level, origin, &line);
        }
        if !self.takes(level) {
            return;
        }
        let mut records = Vec::new();
        if self.json {
            self.push_object(&mut records, level, origin, line, Some(failure));
        } else {
            let mut message = format!("{}: {}", failure.error_type, failure.without_log());
            for frame in &failure.stack {
                let _ = write!(message, "\n    at {frame}");
            }
            self.push(
                &mut records,
                level,
                text(level, origin, &message).as_bytes(),
            );
        }
        self.send(&records);
    }

    /// Adds to `records` what a handler logged: a line, or a message that may have several.
    pub(crate) fn push_message(
        &self,
        records: &mut Vec<u8>,
        level: Level,
        origin: Origin,
        message: &[u8],
    ) {
        if self.json {
            let message = String::from_utf8_lossy(message);
            return self.push_object(records, level, origin, &message, None);
        }
        let owner = match origin.request_id {
            Some(request_id) if self.is_shared => format!("[{request_id}] "),
            _ => String::new(),
        };
        if self.frames.is_some() {
            return self.push(records, level, &[owner.as_bytes(), message].concat());
        }
        for line in message.split(|byte| *byte == b'\n') {
            records.extend_from_slice(owner.as_bytes());
            self.push(records, level, line);
        }
    }

    /// Adds a record that is complete.
    pub(crate) fn push(&self, records: &mut Vec<u8>, level: Level, record: &[u8]) {
        if self.frames.is_some() {
            frames::push(records, self.json, level, record);
        } else {
            records.extend_from_slice(record);
            records.push(b'\n');
        }
    }

    /// Writes what was added; nothing that another thread writes gets in between.
    pub(crate) fn send(&self, records: &[u8]) {
        match self.frames {
            Some(frames) => frames.send(records),
            None => {
                let _ = std::io::stderr().write_all(records);
            }
        }
    }

    /// One JSON object, with the names that AWS's runtimes use.
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
            put("errorType", failure.error_type.into());
            put("errorMessage", failure.without_log().into());
            if !failure.stack.is_empty() {
                let stack = failure.stack.iter().map(ToString::to_string);
                put("stackTrace", stack.collect());
            }
        }
        self.push(records, level, Value::Object(object).to_string().as_bytes());
    }
}

/// The request id stands at the end of the first line.
fn text(level: Level, origin: Origin, message: &str) -> String {
    let level = level.name().to_ascii_lowercase();
    let (first, rest) = message.split_at(message.find('\n').unwrap_or(message.len()));
    match origin.request_id {
        Some(id) => format!("bootstrap: {level}: {first} (request id {id}){rest}"),
        None => format!("bootstrap: {level}: {message}"),
    }
}

/// Displays with every control character escaped, so that nothing can start a line of its own.
struct Escaped<'a>(&'a dyn Display);

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
        json: false,
        least: Level::Info,
        is_shared: false,
        frames: None,
    };

    const ORIGIN: Origin = Origin {
        request_id: Some("8476a536"),
        tenant_id: Some("t"),
    };

    #[test]
    fn request_id_is_in_the_first_line() {
        assert_eq!(
            text(Level::Warn, ORIGIN, "a\n    b"),
            "bootstrap: warn: a (request id 8476a536)\n    b"
        );
        assert_eq!(
            text(Level::Warn, Origin::default(), "a\n    b"),
            "bootstrap: warn: a\n    b"
        );
    }

    #[test]
    fn message_of_ours_is_one_line() {
        assert_eq!(
            Escaped(&"a\nbootstrap: b\r").to_string(),
            "a\\nbootstrap: b\\r"
        );
    }

    #[test]
    fn object_has_the_names_of_aws() {
        let log = Log { json: true, ..LOG };
        let failure = Failure {
            error_type: "Function.HandlerFailed",
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
    fn each_line_of_a_shared_log_says_whose_it_is() {
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
