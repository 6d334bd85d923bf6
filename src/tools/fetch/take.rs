//! Gives out an answer: to standard output, or to a file.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;

use super::decode::decoder;
use super::failure::{Failure, broken, failure, status};
use super::options::Destination;
use super::request::Transfer;
use super::run::{Answer, Fetch};
use super::url::Url;
use crate::call::{Output, Place};
use crate::http::Response;

const BUFFER_BYTES: usize = 128 * 1024;

/// Where the answer goes.
enum Target<'a> {
    Output(&'a Output),
    File(File),
}

impl Fetch<'_> {
    /// Gives out the heads in `answer`, and the body of the response.
    pub(super) fn take(
        &self,
        transfer: Transfer,
        url: &Url,
        sent: Result<Response, Failure>,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let options = self.options;
        let heads = std::mem::take(&mut answer.heads);
        if let Some(name) = options.dump_headers.as_ref().filter(|_| !heads.is_empty()) {
            self.dump(name, &heads)?;
        }
        let is_refused = answer.status >= 400 && (options.fails || options.fails_with_body);
        let refused = failure(
            status::REFUSED,
            format!("The requested URL returned error: {}", answer.status),
        );
        let sent = match sent {
            Ok(_) if is_refused && !options.fails_with_body => Err(refused),
            Ok(response) if is_refused => Ok((response, Some(refused))),
            sent => sent.map(|response| (response, None)),
        };
        let has_head = options.shows_heads() && !heads.is_empty();
        if let (Err(failure), false) = (&sent, has_head) {
            return Err(failure.clone());
        }
        let mut target = self.target(transfer, url, &mut answer.file_name)?;
        if has_head {
            target.write(heads.as_bytes())?;
        }
        let (response, refused) = sent?;
        let encoding = response
            .header("content-encoding")
            .filter(|_| options.is_compressed)
            .unwrap_or_default()
            .to_owned();
        let count = Rc::new(Cell::new(0));
        let body = Box::new(Counted {
            body: response.body,
            count: Rc::clone(&count),
        });
        let copied = if self.options.is_head {
            Ok(())
        } else {
            decoder(body, &encoding).and_then(|body| copy(body, &mut target, &count))
        };
        answer.bytes = count.get();
        copied?;
        refused.map_or(Ok(()), Err)
    }

    fn target(
        &self,
        transfer: Transfer,
        url: &Url,
        file_name: &mut String,
    ) -> Result<Target<'_>, Failure> {
        let name = match transfer.destination {
            None => return Ok(Target::Output(self.output)),
            Some(Destination::File(name)) if name == "-" => return Ok(Target::Output(self.output)),
            Some(Destination::File(name)) => name.clone(),
            Some(Destination::RemoteName) => url.remote_name()?.to_owned(),
        };
        file_name.clone_from(&name);
        let file = create(self.inputs.place, &name, self.options.creates_folders)?;
        Ok(Target::File(file))
    }

    fn dump(&self, name: &str, heads: &str) -> Result<(), Failure> {
        let mut target = if name == "-" {
            Target::Output(self.output)
        } else {
            Target::File(create(self.inputs.place, name, false)?)
        };
        target.write(heads.as_bytes())
    }
}

fn create(place: Place, name: &str, creates_folders: bool) -> Result<File, Failure> {
    let path = place.path(Path::new(name));
    if let Some(folder) = path.parent().filter(|_| creates_folders) {
        // What is wrong shows when the file is made.
        let _ = fs::create_dir_all(folder);
    }
    File::create(path)
        .map_err(|error| failure(status::WRITE, format!("cannot write {name}: {error}")))
}

impl Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Output(output) => {
                if output.write(|text| text.extend_from_slice(bytes), false) {
                    return Ok(());
                }
                // The caller says why.
                Err(failure(status::WRITE, "cannot write the output"))
            }
            Self::File(file) => file
                .write_all(bytes)
                .map_err(|error| failure(status::WRITE, format!("cannot write the file: {error}"))),
        }
    }
}

/// Counts the bytes of a body before they are decoded.
struct Counted {
    body: Box<dyn Read>,
    count: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.body.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

fn copy(mut body: Box<dyn Read>, target: &mut Target, count: &Cell<u64>) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => target.write(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error, count.get())),
        }
    }
}
