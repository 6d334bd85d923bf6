//! A request that the scripted Runtime API received.

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

/// A request, read to its end.
#[derive(Debug, Clone)]
pub struct Call {
    /// The number of its connection, counted from 1.
    pub connection: usize,
    /// Time from the start of the API until the head had been read.
    pub received_at: Duration,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The trailers after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// True if the body was not cut off.
    pub is_whole: bool,
}

impl Call {
    /// The value of a header. The name matches in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }

    /// The value of a trailer. The name matches in any case.
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
        self.parse_answer()
            .is_some_and(|(_, kind)| kind == "response")
    }

    pub fn is_error(&self) -> bool {
        self.parse_answer().is_some_and(|(_, kind)| kind == "error")
    }

    /// The request id, if this is a response or an error for an invocation.
    pub fn request_id(&self) -> Option<&str> {
        self.parse_answer().map(|(request_id, _)| request_id)
    }

    fn parse_answer(&self) -> Option<(&str, &str)> {
        let (request_id, kind) = self.path.strip_prefix(INVOCATION)?.split_once('/')?;
        let is_answer = self.method == "POST" && (kind == "response" || kind == "error");
        is_answer.then_some((request_id, kind))
    }

    /// The error document in the trailers of a streamed response that failed midway.
    #[track_caller]
    pub fn trailer_error_document(&self) -> serde_json::Value {
        let body = self.trailer("Lambda-Runtime-Function-Error-Body");
        let body = body.unwrap_or_else(|| panic!("no trailer: {:?}", self.trailers));
        let document = BASE64_STANDARD.decode(body).expect("base64");
        serde_json::from_slice(&document).expect("an error document")
    }

    /// The error document in the body of an invocation error or init error.
    #[track_caller]
    pub fn error_document(&self) -> serde_json::Value {
        let document = serde_json::from_slice(&self.body);
        document
            .unwrap_or_else(|error| panic!("no error document: {error}: {}", excerpt(&self.body)))
    }
}
