//! The words of Lambda's APIs: paths, header names and the error document.
//!
//! Both sides of the Runtime API use them, the client in `bootstrap` and the emulator. The tests have the same words as
//! literals, from <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// `GET`: the next invocation. Waits until there is one.
pub const NEXT: &str = "/2018-06-01/runtime/invocation/next";
/// `POST`: the error document of a failed init. Only before the first [`NEXT`].
pub const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// `POST`: the response of an invocation with this [encoded](encode_id) id, at most [`MAX_RESPONSE_BYTES`].
pub fn response_path(request_id: &str) -> String {
    format!("/2018-06-01/runtime/invocation/{request_id}/response")
}

/// `POST`: the error document of a failed invocation with this [encoded](encode_id) id.
pub fn error_path(request_id: &str) -> String {
    format!("/2018-06-01/runtime/invocation/{request_id}/error")
}

/// What a segment of a path cannot have as it is.
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A request id as it stands in a path, whatever characters it has; RFC 3986.
pub fn encode_id(request_id: &str) -> String {
    utf8_percent_encode(request_id, &RESERVED).to_string()
}

/// On [`NEXT`]: the id of the invocation. Only this header is always there.
pub const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
/// On [`NEXT`]: when the invocation times out, in milliseconds since the epoch.
pub const DEADLINE_MS: &str = "lambda-runtime-deadline-ms";
/// On [`NEXT`]: the ARN that was invoked, with its version or alias.
pub const INVOKED_FUNCTION_ARN: &str = "lambda-runtime-invoked-function-arn";
/// On [`NEXT`]: the X-Ray trace header.
pub const TRACE_ID: &str = "lambda-runtime-trace-id";
/// On [`NEXT`]: JSON that the caller's SDK sent.
pub const CLIENT_CONTEXT: &str = "lambda-runtime-client-context";
/// On [`NEXT`]: the caller's Cognito identity, JSON.
pub const COGNITO_IDENTITY: &str = "lambda-runtime-cognito-identity";
/// On [`NEXT`]: the tenant of a function with tenant isolation.
pub const TENANT_ID: &str = "lambda-runtime-aws-tenant-id";
/// On [`NEXT`], and then on the response or error: the id of this attempt of the invocation.
pub const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// On init errors and invocation errors: `Runtime.Name` or `Function.Name`.
pub const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
/// On invocation errors: JSON that X-Ray shows. Lambda crops it to 64 KiB.
pub const XRAY_ERROR_CAUSE: &str = "lambda-runtime-function-xray-error-cause";

/// `POST`: registers an extension. Only before the first [`NEXT`].
pub const EXTENSION_REGISTER: &str = "/2020-01-01/extension/register";
/// `GET`: the extension's next event. Waits until there is one.
pub const EXTENSION_EVENT_NEXT: &str = "/2020-01-01/extension/event/next";
/// On [`EXTENSION_REGISTER`]: the extension's name.
pub const EXTENSION_NAME: &str = "lambda-extension-name";
/// On the response to [`EXTENSION_REGISTER`], and then on [`EXTENSION_EVENT_NEXT`]: the extension's id.
pub const EXTENSION_IDENTIFIER: &str = "lambda-extension-identifier";

/// On the response to [`EXTENSION_EVENT_NEXT`]: the id of the event.
pub const EXTENSION_EVENT_ID: &str = "lambda-extension-event-identifier";
/// `POST`: why an extension could not start.
pub const EXTENSION_INIT_ERROR: &str = "/2020-01-01/extension/init/error";
/// `POST`: why an extension ends.
pub const EXTENSION_EXIT_ERROR: &str = "/2020-01-01/extension/exit/error";

/// `PUT`: subscribes an extension to telemetry.
pub const TELEMETRY: &str = "/2022-07-01/telemetry";
/// `PUT`: subscribes an extension to logs, by the older Logs API.
pub const LOGS: &str = "/2020-08-15/logs";

/// `GET`: waits until the snapshot is restored. Only with SnapStart.
pub const RESTORE_NEXT: &str = "/2018-06-01/runtime/restore/next";
/// `POST`: why the runtime cannot continue after the restore. Only with SnapStart.
pub const RESTORE_ERROR: &str = "/2018-06-01/runtime/restore/error";

/// On a response: [`STREAMING`] if its bytes are sent as the handler writes them.
pub const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
/// The only value of [`RESPONSE_MODE`].
pub const STREAMING: &str = "streaming";
/// Trailer of a streamed response that failed: the error document in base64. [`ERROR_TYPE`] is a trailer too.
pub const ERROR_BODY: &str = "lambda-runtime-function-error-body";
/// The content type of a streamed response that begins with status, headers and cookies as JSON, and eight NULs.
pub const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

/// The content type of every other body that `bootstrap` sends.
pub const JSON: &str = "application/json";

/// The largest response that Lambda takes: 6 MiB and 100 bytes.
pub const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// The body of an init error or an invocation error:
/// `{"errorMessage": string, "errorType": string, "stackTrace": [string]}`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ErrorDocument {
    /// For people; may have several lines.
    pub message: String,
    /// `Runtime.Name` or `Function.Name`, with letters only after the dot.
    pub error_type: String,
    /// One `function (file:line)` for each frame, the innermost first.
    pub stack_trace: Vec<String>,
}

impl ErrorDocument {
    /// JSON text; control characters are escaped.
    pub fn to_json(&self) -> String {
        json!({
            "errorMessage": self.message,
            "errorType": self.error_type,
            "stackTrace": self.stack_trace,
        })
        .to_string()
    }

    /// Reads a document of any runtime; missing fields are empty. `None` if `text` is not a JSON object.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let object = value.as_object()?;
        let string = |key: &str| {
            let value = object.get(key).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let stack_trace = match object.get("stackTrace") {
            Some(Value::Array(frames)) => frames
                .iter()
                .filter_map(|frame| frame.as_str().map(ToOwned::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        Some(Self {
            message: string("errorMessage"),
            error_type: string("errorType"),
            stack_trace,
        })
    }
}
