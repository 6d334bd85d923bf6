//! Bootstrap's own log lines.
//!
//! Text: `bootstrap: <level>: <message> (request id <id>)`. JSON, when the function is set to
//! it: one object a line, with the names that AWS's own runtimes use. Events and responses
//! never get here. What the handler logs is carried by `shell/logs.rs`, in the same format.

use std::fmt::{self, Display};
use std::io::Write;
use std::time::SystemTime;

use serde_json::{Map, Value};

/// How grave a line is, in the words of `AWS_LAMBDA_LOG_LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// Reads a level in any case; `WARNING` and `CRITICAL` too, as other languages write them.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
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
pub struct Origin<'a> {
    /// The invocation, if there is one.
    pub request_id: Option<&'a str>,
    /// The tenant, if the function has tenants.
    pub tenant_id: Option<&'a str>,
}

/// How lines are written, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line; `AWS_LAMBDA_LOG_FORMAT=JSON`.
    pub json: bool,
    /// The least grave level that is written. Lambda filters only JSON, and so do we.
    pub least: Level,
}

impl Log {
    /// Writes a line of ours to stderr; a log that cannot be written to is left silent.
    pub fn write(&self, level: Level, origin: Origin, message: &dyn Display) {
        let line = if self.json {
            if level < self.least {
                return;
            }
            self.record(level, origin, &message.to_string())
        } else {
            text_line(level, origin, message)
        };
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// One JSON object and a newline: level, message, requestId, tenantId, timestamp.
    #[must_use]
    pub fn record(&self, level: Level, origin: Origin, message: &str) -> String {
        let mut object = Map::new();
        let mut put = |key: &str, value: &str| object.insert(key.to_owned(), Value::from(value));
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        put("timestamp", &now);
        put("level", level.name());
        put("message", message);
        if let Some(request_id) = origin.request_id {
            put("requestId", request_id);
        }
        if let Some(tenant_id) = origin.tenant_id {
            put("tenantId", tenant_id);
        }
        let mut line = Value::Object(object).to_string();
        line.push('\n');
        line
    }
}

fn text_line(level: Level, origin: Origin, message: &dyn Display) -> String {
    let level = level.name().to_ascii_lowercase();
    // One record is one line, whatever a handler put into the message.
    let message = Escaped(message);
    match origin.request_id {
        Some(id) => format!("bootstrap: {level}: {message} (request id {id})\n"),
        None => format!("bootstrap: {level}: {message}\n"),
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

    #[test]
    fn text_line_is_one_line() {
        let origin = Origin {
            request_id: Some("8476a536"),
            tenant_id: None,
        };
        assert_eq!(
            text_line(Level::Warn, origin, &"a\nbootstrap: b"),
            "bootstrap: warn: a\\nbootstrap: b (request id 8476a536)\n"
        );
    }

    #[test]
    fn record_is_json_with_aws_names() {
        let log = Log {
            json: true,
            least: Level::Info,
        };
        let origin = Origin {
            request_id: Some("1"),
            tenant_id: Some("t"),
        };
        let line = log.record(Level::Error, origin, "a \"b\"\n");
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        assert_eq!(value["level"], "ERROR");
        assert_eq!(value["message"], "a \"b\"\n");
        assert_eq!(value["requestId"], "1");
        assert_eq!(value["tenantId"], "t");
        assert!(
            value["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }
}
