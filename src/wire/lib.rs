//! Paths, header names, the error document: spelled here and nowhere else.
//!
//! Both sides of the Runtime API use this file: the client that `bootstrap` is
//! made of, and the emulator. The tests spell the same words as literals, from
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use serde_json::{Value, json};

/// `GET`: the next invocation; waits until there is one.
pub const NEXT: &str = "/2018-06-01/runtime/invocation/next";
/// `POST`: why the handler could not be loaded; only before the first [`NEXT`].
pub const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// `POST`: the response of one invocation, at most [`MAX_RESPONSE_BYTES`].
pub fn response_path(request_id: &str) -> String {
    format!("/2018-06-01/runtime/invocation/{request_id}/response")
}

/// `POST`: the error document of one invocation.
pub fn error_path(request_id: &str) -> String {
    format!("/2018-06-01/runtime/invocation/{request_id}/error")
}

/// On [`NEXT`]: names the invocation; the only header that is always there.
pub const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
/// On [`NEXT`]: when the platform gives up, in milliseconds since the epoch.
pub const DEADLINE_MS: &str = "lambda-runtime-deadline-ms";
/// On [`NEXT`]: the ARN that was invoked, with its version or alias.
pub const INVOKED_FUNCTION_ARN: &str = "lambda-runtime-invoked-function-arn";
/// On [`NEXT`]: the X-Ray trace header.
pub const TRACE_ID: &str = "lambda-runtime-trace-id";
/// On [`NEXT`]: JSON from a mobile SDK.
pub const CLIENT_CONTEXT: &str = "lambda-runtime-client-context";
/// On [`NEXT`]: JSON, the caller's Cognito identity.
pub const COGNITO_IDENTITY: &str = "lambda-runtime-cognito-identity";
/// On [`NEXT`]: the tenant of a function with tenant isolation.
pub const TENANT_ID: &str = "lambda-runtime-aws-tenant-id";
/// On [`NEXT`], and then on the answer too: which attempt this is.
pub const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// On both kinds of error: `Runtime.Name` or `Function.Name`.
pub const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
/// On an invocation's error: what X-Ray shows, JSON; Lambda crops it to 64 KiB.
pub const XRAY_ERROR_CAUSE: &str = "lambda-runtime-function-xray-error-cause";

/// `POST`: registers an extension; only before the first [`NEXT`].
pub const EXTENSION_REGISTER: &str = "/2020-01-01/extension/register";
/// `GET`: the extension's next event; waits until there is one.
pub const EXTENSION_EVENT_NEXT: &str = "/2020-01-01/extension/event/next";
/// On [`EXTENSION_REGISTER`]: what the extension calls itself.
pub const EXTENSION_NAME: &str = "lambda-extension-name";
/// On the answer to [`EXTENSION_REGISTER`], and then on [`EXTENSION_EVENT_NEXT`].
pub const EXTENSION_IDENTIFIER: &str = "lambda-extension-identifier";

/// On the answer to [`EXTENSION_EVENT_NEXT`]: names the event.
pub const EXTENSION_EVENT_ID: &str = "lambda-extension-event-identifier";
/// `POST`: why an extension could not start.
pub const EXTENSION_INIT_ERROR: &str = "/2020-01-01/extension/init/error";
/// `POST`: why an extension ends.
pub const EXTENSION_EXIT_ERROR: &str = "/2020-01-01/extension/exit/error";

/// `PUT`: subscribes an extension to the Telemetry API.
pub const TELEMETRY: &str = "/2022-07-01/telemetry";
/// `PUT`: the same for the Logs API, which came before it.
pub const LOGS: &str = "/2020-08-15/logs";

/// `GET`: waits for the restore from the snapshot; SnapStart only.
pub const RESTORE_NEXT: &str = "/2018-06-01/runtime/restore/next";
/// `POST`: why the runtime cannot go on after the restore; SnapStart only.
pub const RESTORE_ERROR: &str = "/2018-06-01/runtime/restore/error";

/// On a response: [`STREAMING`], if its bytes come as the handler makes them.
pub const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
/// The only value of [`RESPONSE_MODE`].
pub const STREAMING: &str = "streaming";
/// A trailer of a streamed response that failed: the error document, base64. Beside it is
/// [`ERROR_TYPE`].
pub const ERROR_BODY: &str = "lambda-runtime-function-error-body";
/// The content of a streamed response that begins with status, headers and cookies, and eight NULs.
pub const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

/// The type of every body that `bootstrap` sends.
pub const JSON: &str = "application/json";

/// 6 MiB and 100 bytes: the largest response that Lambda takes.
pub const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// The body of an init error or an invocation's error:
/// `{"errorMessage": string, "errorType": string, "stackTrace": [string]}`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ErrorDocument {
    /// What went wrong, for a person; may have several lines.
    pub message: String,
    /// `Runtime.Name` or `Function.Name`, letters only.
    pub error_type: String,
    /// One `function (file:line)` a frame, the innermost first.
    pub stack_trace: Vec<String>,
}

impl ErrorDocument {
    /// The document as JSON text; control characters come out escaped.
    pub fn to_json(&self) -> String {
        json!({
            "errorMessage": self.message,
            "errorType": self.error_type,
            "stackTrace": self.stack_trace,
        })
        .to_string()
    }

    /// Reads a document back, from any runtime; what is absent is empty.
    /// `None` if `text` is not a JSON object.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let object = value.as_object()?;
        let text_of = |key: &str| {
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
            message: text_of("errorMessage"),
            error_type: text_of("errorType"),
            stack_trace,
        })
    }
}
