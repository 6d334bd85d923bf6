//! How the Runtime API refuses a call.
//!
//! Texts and statuses are those of AWS's emulator or, if it has none, those of Lambda.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::failure::platform_document;

pub(crate) fn json_response(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, coshell_wire::JSON)], text).into_response()
}

/// The error that a refused call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: &'static str,
}

impl Refusal {
    /// No running invocation has this request id.
    pub(crate) const REQUEST_ID: Self = Self::new(400, "InvalidRequestID", "Invalid request ID");
    /// The answer is for another attempt.
    pub(crate) const INVOCATION_ID: Self =
        Self::new(400, "InvalidRequestID", "Invalid invocation ID");
    /// The call does not fit the state: the answer has been sent, the init is over, or the init has failed.
    pub(crate) const STATE: Self = Self::new(
        403,
        "InvalidStateTransition",
        "State transition is not allowed",
    );
    /// The answer came after the deadline.
    pub(crate) const LATE: Self = Self::new(410, "InvokeTimeout", "Invocation has timed out");
    /// The body has more bytes than Lambda accepts.
    pub(crate) const TOO_LARGE: Self = Self::new(
        413,
        "RequestEntityTooLarge",
        "Exceeded maximum allowed payload size (6291556 bytes).",
    );
    /// The body ended too soon.
    pub(crate) const TRUNCATED: Self = Self::new(
        400,
        "TruncatedHTTPRequest",
        "HTTP request detected as truncated",
    );
    /// The response mode is unknown.
    pub(crate) const RESPONSE_MODE: Self = Self::new(
        400,
        "InvalidFunctionResponseMode",
        "Invalid function response mode",
    );
    /// A failure of the platform. A runtime has to exit.
    pub(crate) const CONTAINER: Self = Self::new(500, "ServiceError", "Internal service error");
    /// Extensions can register only until the first *next*.
    pub(crate) const REGISTRATION_CLOSED: Self = Self::new(
        403,
        "Extension.RegistrationClosed",
        "Extension registration closed already",
    );
    /// Extensions can subscribe only during the init.
    pub(crate) const SUBSCRIPTION_CLOSED: Self = Self::new(
        403,
        "Telemetry.SubscriptionClosed",
        "Telemetry API subscription is closed already",
    );
    /// The registration has no name.
    pub(crate) const EXTENSION_NAME: Self = Self::new(
        403,
        "Extension.InvalidExtensionName",
        "Empty extension name",
    );
    /// An extension of this name is registered.
    pub(crate) const EXTENSION_TWICE: Self = Self::new(
        403,
        "Extension.AlreadyRegistered",
        "Extension with this name already registered",
    );
    /// The event is neither INVOKE nor SHUTDOWN, or is SHUTDOWN for an internal extension.
    pub(crate) const EXTENSION_EVENT: Self = Self::new(
        403,
        "Extension.InvalidEventType",
        "Event type not allowed for this extension",
    );
    /// Ten extensions are registered.
    pub(crate) const EXTENSION_COUNT: Self = Self::new(
        403,
        "Extension.TooManyExtensions",
        "Extension limit (10) reached",
    );
    /// The identifier of the extension is missing or unknown.
    pub(crate) const EXTENSION_IDENTIFIER: Self = Self::new(
        403,
        "Extension.UnknownExtensionIdentifier",
        "Unknown extension identifier",
    );
    /// The body is not the JSON that the call expects.
    pub(crate) const REQUEST_BODY: Self =
        Self::new(400, "InvalidRequestFormat", "Unable to parse request body");

    const fn new(status: u16, error_type: &'static str, message: &'static str) -> Self {
        let status = match status {
            400 => StatusCode::BAD_REQUEST,
            403 => StatusCode::FORBIDDEN,
            410 => StatusCode::GONE,
            413 => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            error_type,
            message,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json_response(
            self.status,
            platform_document(self.error_type, self.message),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coshell_wire as wire;

    #[test]
    fn message_states_the_real_limit() {
        let limit = wire::MAX_RESPONSE_BYTES.to_string();
        assert!(Refusal::TOO_LARGE.message.contains(&limit));
    }
}
