//! One message of a log, and what an export says of where it comes from.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// One message, as the function or Lambda wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Text, or a document if the export has parsed it.
    pub body: Value,
    /// The function's name, if the export has it.
    pub function: Option<String>,
    /// The log stream, if the export has it.
    pub stream: Option<String>,
    pub place: Place,
}

/// Where a message stands in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file of lines.
    Line(usize),
    /// In a file of documents.
    Event(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Event(number) => write!(f, "event {number}"),
        }
    }
}

/// `/aws/lambda/<name>`, with the account's number before it in Insights; any other group is its own name.
pub(super) fn function_of_group(group: &str) -> String {
    let group = group
        .split_once(':')
        .map_or(group, |(_account, group)| group);
    group
        .strip_prefix("/aws/lambda/")
        .unwrap_or(group)
        .to_owned()
}

/// `2026/10/08/<name>[<version>]<digits>`, where functions share a group; without a name where they do not.
pub(super) fn function_in_stream(stream: &str) -> Option<String> {
    let (name, _version) = stream.split('/').nth(3)?.split_once('[')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// What `LogResult` has: the last 4 KiB of a log, the first line of which may be cut.
pub(super) fn log_result(text: &str) -> Result<String, String> {
    let bytes = BASE64_STANDARD.decode(text.trim());
    let bytes = bytes.map_err(|error| format!("LogResult is no base64: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_groups_name_functions() {
        assert_eq!(
            function_in_stream("2026/10/08/echo[$LATEST]60cefc").as_deref(),
            Some("echo")
        );
        assert_eq!(function_in_stream("2026/10/08/[$LATEST]60cefc"), None);
        assert_eq!(function_in_stream("of-our-own"), None);
        assert_eq!(function_of_group("/aws/lambda/echo"), "echo");
        assert_eq!(function_of_group("123456789012:/aws/lambda/echo"), "echo");
        assert_eq!(function_of_group("shared"), "shared");
    }
}
