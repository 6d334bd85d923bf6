//! Where a call is made: the event of its invocation, the files and the standard input of the calling process.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::{Current, lock};
use crate::wait::wait_readable_all;
use coshell_calls::{Caller, Document, Source};
use coshell_process::{path_of, sys};

/// How much a call reads of a file or of standard input.
const MAX_BYTES: usize = 64 * 1024 * 1024;

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
        if let Some(record) = &self.record {
            return Ok(Arc::new(Document::of_record(record)));
        }
        let parse = |text: Vec<u8>| match Document::new(text) {
            Ok(document) => Ok(Arc::new(document)),
            Err(error) => Err(format!("the event is not JSON: {error}")),
        };
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

impl CallingProcess<'_> {
    /// Reads a file to its end, for as long as the caller lives: another may be meant to read what comes later.
    fn read_all(&self, mut file: File) -> Result<Vec<u8>, String> {
        let caller = sys::open_pidfd(Pid::from_raw(self.pid)).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let ready = wait_readable_all(&[file.as_fd(), caller.as_fd()], None);
            if ready[1] {
                return Err("its process has ended".to_owned());
            }
            match file.read(&mut piece) {
                Ok(0) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
            if bytes.len() > MAX_BYTES {
                return Err(format!("it has more than {MAX_BYTES} bytes"));
            }
        }
    }
}

impl Caller for CallingProcess<'_> {
    fn read(&self, source: Source<'_>) -> Result<Vec<u8>, String> {
        let name = match source {
            Source::StandardInput => Path::new("/dev/stdin"),
            Source::File(name) => Path::new(OsStr::from_bytes(name)),
        };
        // A FIFO may have no writer yet.
        let file = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path_of(self.pid, name));
        self.read_all(file.map_err(|error| error.to_string())?)
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
