//! What the Runtime API says to a call that it does not take.
//!
//! Words and statuses are those of AWS's emulator, and of the service where that one lacks them.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::exchange::platform_document;

/// A response of JSON text.
pub(crate) fn json(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, coshell_wire::JSON)], text).into_response()
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: &'static str,
}

impl Refusal {
    /// No exchange of that name is under way.
    pub(crate) const REQUEST_ID: Self = Self::new(400, "InvalidRequestID", "Invalid request ID");
    /// The answer is one to another attempt.
    pub(crate) const INVOCATION_ID: Self =
        Self::new(400, "InvalidRequestID", "Invalid invocation ID");
    /// Not now: the answer is given, the init is over, or it has failed.
    pub(crate) const STATE: Self = Self::new(
        403,
        "InvalidStateTransition",
        "State transition is not allowed",
    );
    /// The invocation has run out of time.
    pub(crate) const LATE: Self = Self::new(410, "InvokeTimeout", "Invocation has timed out");
    /// The body has more bytes than Lambda takes.
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
    /// There is one response mode, and it has another name.
    pub(crate) const RESPONSE_MODE: Self = Self::new(
        400,
        "InvalidFunctionResponseMode",
        "Invalid function response mode",
    );
    /// The platform is broken, which ends the sandbox.
    pub(crate) const CONTAINER: Self = Self::new(500, "ServiceError", "Internal service error");
    /// The sandbox has asked for its first invocation.
    pub(crate) const REGISTRATION_CLOSED: Self = Self::new(
        403,
        "Extension.RegistrationClosed",
        "Extension registration closed already",
    );
    /// Extensions subscribe during the init alone.
    pub(crate) const SUBSCRIPTION_CLOSED: Self = Self::new(
        403,
        "Telemetry.SubscriptionClosed",
        "Telemetry API subscription is closed already",
    );
    /// An extension has to say what it is called.
    pub(crate) const EXTENSION_NAME: Self = Self::new(
        403,
        "Extension.InvalidExtensionName",
        "Empty extension name",
    );
    /// Two extensions have the same name.
    pub(crate) const EXTENSION_TWICE: Self = Self::new(
        403,
        "Extension.AlreadyRegistered",
        "Extension with this name already registered",
    );
    /// Only INVOKE and SHUTDOWN, and SHUTDOWN only for an extension that is a process of its own.
    pub(crate) const EXTENSION_EVENT: Self = Self::new(
        403,
        "Extension.InvalidEventType",
        "Event type not allowed for this extension",
    );
    /// Ten are registered.
    pub(crate) const EXTENSION_COUNT: Self = Self::new(
        403,
        "Extension.TooManyExtensions",
        "Extension limit (10) reached",
    );
    /// The call does not say which extension it is from, or no such one is registered.
    pub(crate) const EXTENSION_IDENTIFIER: Self = Self::new(
        403,
        "Extension.UnknownExtensionIdentifier",
        "Unknown extension identifier",
    );
    /// The body of a registration is not the JSON that it should be.
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
        json(
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
    fn limit_is_told_as_it_is() {
        let limit = wire::MAX_RESPONSE_BYTES.to_string();
        assert!(Refusal::TOO_LARGE.message.contains(&limit));
    }
}
