//! One request that the scripted Runtime API got.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::{excerpt, http};

pub(crate) const NEXT: &str = "/2018-06-01/runtime/invocation/next";
pub(crate) const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";
pub(crate) const RESTORE_NEXT: &str = "/2018-06-01/runtime/restore/next";
pub(crate) const RESTORE_ERROR: &str = "/2018-06-01/runtime/restore/error";
pub(crate) const EXTENSION_REGISTER: &str = "/2020-01-01/extension/register";
pub(crate) const EXTENSION_NEXT: &str = "/2020-01-01/extension/event/next";
pub(crate) const INVOCATION: &str = "/2018-06-01/runtime/invocation/";

/// One request that came in, read to its end.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    /// When its head had been read, since the API was started.
    pub at: Duration,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What came behind a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the body was as long as announced.
    pub is_whole: bool,
}

impl Call {
    /// A header's value, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }

    /// As [`header`](Self::header), of what came behind the body.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        http::header(&self.trailers, name)
    }

    pub fn is_next(&self) -> bool {
        self.method == "GET" && self.path == NEXT
    }

    pub fn is_init_error(&self) -> bool {
        self.method == "POST" && self.path == INIT_ERROR
    }

    pub fn is_restore_next(&self) -> bool {
        self.method == "GET" && self.path == RESTORE_NEXT
    }

    pub fn is_restore_error(&self) -> bool {
        self.method == "POST" && self.path == RESTORE_ERROR
    }

    pub fn is_extension_register(&self) -> bool {
        self.method == "POST" && self.path == EXTENSION_REGISTER
    }

    pub fn is_extension_next(&self) -> bool {
        self.method == "GET" && self.path == EXTENSION_NEXT
    }

    pub fn is_response(&self) -> bool {
        self.answered().is_some_and(|(_, kind)| kind == "response")
    }

    pub fn is_error(&self) -> bool {
        self.answered().is_some_and(|(_, kind)| kind == "error")
    }

    /// The request id of an answer.
    pub fn request_id(&self) -> Option<&str> {
        self.answered().map(|(request_id, _)| request_id)
    }

    fn answered(&self) -> Option<(&str, &str)> {
        let (request_id, kind) = self.path.strip_prefix(INVOCATION)?.split_once('/')?;
        let known = self.method == "POST" && (kind == "response" || kind == "error");
        known.then_some((request_id, kind))
    }

    /// The error document of a response that failed when it had begun.
    #[track_caller]
    pub fn trailing_document(&self) -> serde_json::Value {
        let body = self.trailer("Lambda-Runtime-Function-Error-Body");
        let body = body.unwrap_or_else(|| panic!("no trailer: {:?}", self.trailers));
        let document = BASE64_STANDARD.decode(body).expect("base64");
        serde_json::from_slice(&document).expect("an error document")
    }

    /// The body of an error or init error.
    #[track_caller]
    pub fn error_document(&self) -> serde_json::Value {
        let document = serde_json::from_slice(&self.body);
        document
            .unwrap_or_else(|error| panic!("no error document: {error}: {}", excerpt(&self.body)))
    }
}
