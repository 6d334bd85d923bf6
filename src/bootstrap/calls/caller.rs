//! Where a call is made: the event of its invocation, the files and the standard input of the calling process.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Current, lock};
use coshell_calls::{Caller, Document, Source};

/// How much a call reads of a file or of standard input.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The process that calls.
pub(crate) struct CallingProcess<'a> {
    pid: i32,
    request_id: Vec<u8>,
    current: &'a Mutex<Current>,
    /// The record that takes the place of the event.
    record: Option<Vec<u8>>,
    document: OnceCell<Result<Arc<Document<'static>>, String>>,
}

impl<'a> CallingProcess<'a> {
    pub(crate) fn new(
        pid: i32,
        request_id: Vec<u8>,
        current: &'a Mutex<Current>,
        record: Option<Vec<u8>>,
    ) -> Self {
        Self {
            pid,
            request_id,
            current,
            record,
            document: OnceCell::new(),
        }
    }

    fn find_document(&self) -> Result<Arc<Document<'static>>, String> {
        let parse = |text: Vec<u8>| match Document::new(text) {
            Ok(document) => Ok(Arc::new(document)),
            Err(error) => Err(format!("the event is not JSON: {error}")),
        };
        if let Some(record) = &self.record {
            return parse(record.clone());
        }
        let mut current = lock(self.current);
        let event = current.event.clone();
        let Some(event) = event.filter(|_| current.request_id.as_bytes() == self.request_id) else {
            return Err("there is no invocation".to_owned());
        };
        current
            .document
            .get_or_insert_with(|| parse(event.to_vec()))
            .clone()
    }
}

impl Caller for CallingProcess<'_> {
    fn read(&self, source: Source<'_>) -> Result<Vec<u8>, String> {
        let path = match source {
            Source::StandardInput => format!("/proc/{}/fd/0", self.pid).into(),
            // An absolute path replaces the folder.
            Source::File(path) => {
                Path::new(&format!("/proc/{}/cwd", self.pid)).join(OsStr::from_bytes(path))
            }
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        Ok(bytes)
    }

    fn event(&self) -> Result<&Document<'_>, String> {
        match self.document.get_or_init(|| self.find_document()) {
            Ok(document) => Ok(document),
            Err(cause) => Err(cause.clone()),
        }
    }

    fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }

    fn metric_namespace(&self) -> Option<String> {
        std::env::var("AWS_EMF_NAMESPACE").ok()
    }
}
