//! A message of a log, and the function and stream that an export names for it.

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

/// The place of a message in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Line(usize),
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

/// The function of a log group: `/aws/lambda/<name>`, in Insights with the number of the account before it. Any other group is its
/// own name.
pub(super) fn function_of_group(group: &str) -> String {
    let group = group
        .split_once(':')
        .map_or(group, |(_account, group)| group);
    group
        .strip_prefix("/aws/lambda/")
        .unwrap_or(group)
        .to_owned()
}

/// The function of a log stream: `2026/10/08/<name>[<version>]<digits>`, if functions share a group.
pub(super) fn function_in_stream(stream: &str) -> Option<String> {
    let (name, _version) = stream.split('/').nth(3)?.split_once('[')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The text of a `LogResult`: the last 4 KiB of a log. Its first line can be cut.
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
