//! Why a request to AWS has no result.

use std::fmt;
use std::io::Read;

use serde_json::Value;

use crate::http::{HttpError, Response};

/// Of a refusal, no more is read.
const MAX_REFUSAL_BYTES: u64 = 256 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AwsError {
    /// The service refused: its code and its message.
    Service {
        operation: String,
        status: u16,
        code: String,
        message: String,
        /// How often the request was tried again, if no try was left.
        retries: Option<u32>,
    },
    /// A parameter cannot be sent: the text of the AWS CLI.
    Parameter(String),
    /// Credentials or the region are missing: the text to show, and what to do.
    Settings(String),
    /// No answer came.
    Connection(String),
    /// Something else, such as a profile that is not there.
    Other(String),
}

impl AwsError {
    /// No answer came from this URL.
    pub(super) fn of_connection(error: &HttpError, url: &str) -> Self {
        let url = url.split('?').next().unwrap_or_default();
        Self::Connection(if error.is_tls() {
            format!("SSL validation failed for {url} {error}")
        } else if error.is_connection() {
            format!("Could not connect to the endpoint URL: \"{url}\": {error}")
        } else if error.is_timeout() {
            format!("Read timeout on endpoint URL: \"{url}\"")
        } else {
            format!(
                "Connection was closed before we received a valid response from endpoint URL: \"{url}\": {error}"
            )
        })
    }

    /// The exit status of the AWS CLI.
    pub(crate) fn exit_status(&self) -> i32 {
        match self {
            Self::Service { .. } => 254,
            Self::Parameter(_) => 252,
            Self::Settings(_) => 253,
            Self::Connection(_) | Self::Other(_) => 255,
        }
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service {
                operation,
                code,
                message,
                retries,
                ..
            } => {
                write!(
                    f,
                    "An error occurred ({code}) when calling the {operation} operation"
                )?;
                if let Some(retries) = retries {
                    write!(f, " (reached max retries: {retries})")?;
                }
                write!(f, ": {message}")
            }
            Self::Parameter(cause) => write!(f, "Parameter validation failed:\n{cause}"),
            Self::Settings(cause) | Self::Connection(cause) | Self::Other(cause) => {
                f.write_str(cause)
            }
        }
    }
}

/// The status, the code and the message of an answer that is a refusal.
pub(super) fn refusal(response: Response) -> (u16, String, String) {
    let mut text = Vec::new();
    let Response {
        status,
        headers,
        body,
        ..
    } = response;
    // What cannot be read is missing in the message.
    let _ = body.take(MAX_REFUSAL_BYTES).read_to_end(&mut text);
    let header = |name: &str| {
        let mut headers = headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    };
    let (code, message) = read_refusal(status, header, &text);
    (status, code, message)
}

/// The code and the message of a refusal. `header` finds headers.
fn read_refusal<'a>(
    status: u16,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    let is_json = text.trim_start().starts_with('{');
    let (code, message) = if is_json {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let field = |names: &[&str]| {
            let mut fields = names.iter().filter_map(|name| document[name].as_str());
            fields.next().map(ToOwned::to_owned)
        };
        (
            field(&["__type", "code", "Code"]),
            field(&["message", "Message", "errorMessage"]),
        )
    } else {
        (element(&text, "Code"), element(&text, "Message"))
    };
    // Services that had another protocol before tell their old code.
    let old = header("x-amzn-query-error").and_then(|text| text.split(';').next());
    let of_header = header("x-amzn-errortype").map(ToOwned::to_owned);
    let code = old.map(ToOwned::to_owned).or(of_header).or(code);
    let code = code.unwrap_or_else(|| status.to_string());
    // `aws.api#Name:http://...` is Name.
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    // A document without a message has none; without a document the status speaks.
    let message = message.or_else(|| is_json.then(String::new));
    let message = message.unwrap_or_else(|| match status {
        400 => "Bad Request".to_owned(),
        403 => "Forbidden".to_owned(),
        404 => "Not Found".to_owned(),
        412 => "Precondition Failed".to_owned(),
        304 => "Not Modified".to_owned(),
        503 => "Service Unavailable".to_owned(),
        500 => "Internal Server Error".to_owned(),
        301 => "Moved Permanently".to_owned(),
        _ => "Unknown".to_owned(),
    });
    (code.to_owned(), message)
}

/// The text of the first XML element of this name that has text alone.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    let content = content
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(headers: &[(&str, &'static str)], body: &str) -> (String, String) {
        let header = |name: &str| {
            let mut headers = headers.iter();
            headers
                .find(|(header, _)| *header == name)
                .map(|(_, value)| *value)
        };
        read_refusal(404, header, body.as_bytes())
    }

    #[test]
    fn refusals_of_each_protocol_are_read() {
        let both = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        assert_eq!(
            refusal(
                &[],
                r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"m"}"#
            ),
            both("ParameterNotFound", "m")
        );
        assert_eq!(
            refusal(
                &[("x-amzn-errortype", "Gone:http://x/")],
                r#"{"Message":"m"}"#
            ),
            both("Gone", "m")
        );
        assert_eq!(
            refusal(
                &[("x-amzn-query-error", "AWS.Old;Sender")],
                r#"{"__type":"a#New"}"#
            ),
            both("AWS.Old", "")
        );
        assert_eq!(
            refusal(
                &[],
                "<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt; &amp;amp;</Message></Error>"
            ),
            both("NoSuchKey", "a <b> &amp;")
        );
        assert_eq!(refusal(&[], ""), both("404", "Not Found"));
        assert_eq!(refusal(&[], "{"), both("404", ""));
    }
}
