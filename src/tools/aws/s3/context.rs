//! What the steps of one command have in common.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::arguments::Arguments;
use super::object_headers::ObjectHeaders;
use super::report::Report;
use super::settings::Settings;
use crate::aws::session::{Operation, Session};
use crate::call::Place;

pub(super) struct Context<'a> {
    pub session: &'a Session<'a>,
    pub arguments: &'a Arguments,
    pub settings: Settings,
    pub headers: ObjectHeaders,
    pub report: &'a Report,
    pub place: Place,
    /// The caller's folder.
    pub folder: String,
    pub input: Option<File>,
    pub is_move: bool,
    /// Held by the one transfer that goes in parts.
    pub parts: Mutex<()>,
}

impl Context<'_> {
    /// The path by which this process finds a file of the caller's.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.place.path(Path::new(path))
    }

    /// The headers of every request.
    pub(super) fn common_headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        if self.arguments.has("request-payer") {
            headers.push(("x-amz-request-payer".to_owned(), "requester".to_owned()));
        }
        headers
    }

    /// A request about the object `BUCKET/KEY`.
    pub(super) fn operation(&self, name: &str, method: &str, object: &str) -> Operation {
        let (bucket, key) = super::uri::split(object);
        Operation {
            name: name.to_owned(),
            method: method.to_owned(),
            path: super::uri::request_path(bucket, key),
            headers: self.common_headers(),
            ..Operation::default()
        }
    }

    /// Waits until no other transfer goes in parts: each of them uses all requests that may run at once.
    pub(super) fn lock_parts(&self) -> MutexGuard<'_, ()> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
