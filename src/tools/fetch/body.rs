//! What is sent: data, forms and files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::aws::encode_query_bytes;
use crate::call::Place;
use crate::http::Body;

use super::options::{Data, Options};

/// The type of a form, if the caller gives it no other.
pub(super) const FORM_DATA: &str = "multipart/form-data";

/// The files that a call may read.
pub(crate) struct Inputs {
    pub place: Place,
    pub input: Option<File>,
}

/// A body, and the type that goes with it.
pub(crate) type Typed = (Body, Option<String>);

impl Inputs {
    /// The body of a request; nothing if the options have no data. `own_kind` is the type that the caller gives a form.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn body(
        &mut self,
        options: &Options,
        upload: Option<&str>,
        own_kind: Option<&str>,
    ) -> Result<Typed, String> {
        if let Some(name) = upload {
            return Ok((self.upload(name)?, None));
        }
        if !options.form.is_empty() {
            return self.form(&options.form, own_kind.unwrap_or(FORM_DATA));
        }
        let kind = if options.has_json() {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        if options.data.is_empty() || options.is_get {
            return Ok((Body::None, options.has_json().then(|| kind.to_owned())));
        }
        // A large file is sent as it is read.
        if let [Data::Binary(text) | Data::Json(text)] = &options.data[..]
            && let Some(name) = text.strip_prefix('@')
            && name != "-"
        {
            return Ok((self.file(name)?, Some(kind.to_owned())));
        }
        let bytes = self.data(&options.data)?;
        Ok((Body::Bytes(Arc::new(bytes)), Some(kind.to_owned())))
    }

    /// All data, with `&` between them.
    pub(crate) fn data(&mut self, data: &[Data]) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        for (index, piece) in data.iter().enumerate() {
            let bytes = match piece {
                Data::Raw(text) => text.clone().into_bytes(),
                Data::Text(text) => match text.strip_prefix('@') {
                    Some(name) => {
                        let mut bytes = self.read(name)?;
                        bytes.retain(|byte| !matches!(byte, b'\n' | b'\r' | 0));
                        bytes
                    }
                    None => text.clone().into_bytes(),
                },
                Data::Binary(text) | Data::Json(text) => match text.strip_prefix('@') {
                    Some(name) => self.read(name)?,
                    None => text.clone().into_bytes(),
                },
                Data::Encoded(text) => self.encoded(text)?.into_bytes(),
            };
            if index > 0 && !matches!(piece, Data::Json(_)) {
                all.push(b'&');
            }
            all.extend(bytes);
        }
        Ok(all)
    }

    /// `content`, `=content`, `name=content`, `@file` or `name@file`.
    fn encoded(&mut self, text: &str) -> Result<String, String> {
        let at = text.find(['=', '@']);
        let (name, content) = match at.map(|at| (at, text.as_bytes()[at])) {
            Some((at, b'=')) => (&text[..at], text.as_bytes()[at + 1..].to_vec()),
            Some((at, _)) => (&text[..at], self.read(&text[at + 1..])?),
            None => ("", text.as_bytes().to_vec()),
        };
        let content = encode_query_bytes(&content).replace("%20", "+");
        Ok(if name.is_empty() {
            content
        } else {
            format!("{name}={content}")
        })
    }

    /// The text of `--write-out`, which may be in a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn format(&mut self, text: Option<&str>) -> Result<Option<String>, String> {
        let Some(text) = text else {
            return Ok(None);
        };
        let format = match text.strip_prefix('@') {
            Some(name) => String::from_utf8_lossy(&self.read(name)?).into_owned(),
            None => text.to_owned(),
        };
        Ok(Some(format))
    }

    pub(super) fn read(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let bytes = if name == "-" {
            self.read_input()
        } else {
            self.place.read(Path::new(name))
        };
        bytes.map_err(|error| format!("cannot read {name}: {error}"))
    }

    fn read_input(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(input) = &mut self.input {
            input.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// A file as it is. What is no regular file is sent as it comes.
    pub(super) fn file(&self, name: &str) -> Result<Body, String> {
        let fails = |error: io::Error| format!("cannot read {name}: {error}");
        let file = File::open(self.place.path(Path::new(name))).map_err(fails)?;
        let about = file.metadata().map_err(fails)?;
        if about.is_dir() {
            return Err(format!("cannot read {name}: it is a folder"));
        }
        Ok(if about.is_file() {
            Body::Part {
                file,
                start: 0,
                length: about.len(),
            }
        } else {
            Body::Stream(file)
        })
    }

    fn upload(&mut self, name: &str) -> Result<Body, String> {
        if name != "-" && name != "." {
            return self.file(name);
        }
        Ok(self.input.take().map_or(Body::None, Body::Stream))
    }
}
