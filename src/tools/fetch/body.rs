//! What is sent: data, forms and files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::aws::{encode_query_bytes, hex};
use crate::call::Place;
use crate::http::Body;

use super::options::{Data, Options};

/// The files that a call may read.
pub(crate) struct Inputs {
    pub place: Place,
    pub input: Option<File>,
}

/// A body, and the type that goes with it.
pub(crate) type Typed = (Body, Option<String>);

impl Inputs {
    /// The body of a request; nothing if the options have no data.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn body(&mut self, options: &Options) -> Result<Typed, String> {
        if let Some(name) = &options.upload {
            return Ok((self.upload(name)?, None));
        }
        if !options.form.is_empty() {
            return self.form(&options.form);
        }
        if options.data.is_empty() || options.is_get {
            return Ok((Body::None, None));
        }
        let is_json = matches!(options.data[0], Data::Json(_));
        let kind = if is_json {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
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

    fn read(&mut self, name: &str) -> Result<Vec<u8>, String> {
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
    fn file(&self, name: &str) -> Result<Body, String> {
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

    /// A form with parts.
    fn form(&mut self, parts: &[(String, bool)]) -> Result<Typed, String> {
        let boundary = boundary();
        let mut pieces = Vec::new();
        for (part, is_string) in parts {
            let Some((name, content)) = part.split_once('=') else {
                return Err(format!("expected NAME=CONTENT for --form, found {part}"));
            };
            let mut head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
                quoted(name)
            );
            let mark = content.chars().next().filter(|_| !is_string);
            let (content, settings) = match mark {
                Some('@' | '<') => split_settings(&content[1..]),
                _ if *is_string => (content, Vec::new()),
                _ => split_settings(content),
            };
            let setting = |wanted: &str| {
                let mut settings = settings.iter();
                settings
                    .find(|(name, _)| *name == wanted)
                    .map(|(_, value)| *value)
            };
            let file_name = setting("filename").or_else(|| {
                let last = content.rsplit('/').next();
                last.filter(|_| mark == Some('@'))
            });
            if let Some(file_name) = file_name {
                // Writing to a string does not fail.
                let _ = write!(head, "; filename=\"{}\"", quoted(file_name));
            }
            let kind = setting("type")
                .or_else(|| (mark == Some('@')).then(|| type_of(file_name.unwrap_or_default())));
            if let Some(kind) = kind {
                let _ = write!(head, "\r\nContent-Type: {kind}");
            }
            head.push_str("\r\n\r\n");
            pieces.push(Body::Bytes(Arc::new(head.into_bytes())));
            pieces.push(match mark {
                Some('@' | '<') if content != "-" => match self.file(content)? {
                    // Its length has to be known.
                    Body::Stream(_) => Body::Bytes(Arc::new(self.read(content)?)),
                    body => body,
                },
                Some('@' | '<') => Body::Bytes(Arc::new(self.read(content)?)),
                _ => Body::Bytes(Arc::new(content.as_bytes().to_vec())),
            });
            pieces.push(Body::Bytes(Arc::new(b"\r\n".to_vec())));
        }
        pieces.push(Body::Bytes(Arc::new(
            format!("--{boundary}--\r\n").into_bytes(),
        )));
        let kind = format!("multipart/form-data; boundary={boundary}");
        Ok((Body::Pieces(pieces), Some(kind)))
    }
}

/// What stands between the parts. Nothing that is sent has it by chance.
fn boundary() -> String {
    let mut bytes = [0_u8; 12];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if random.is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
    }
    format!("------------------------{}", hex(&bytes))
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(['\r', '\n'], " ")
}

/// `content;type=text/plain;filename=x`: the content, and the settings behind it.
fn split_settings(text: &str) -> (&str, Vec<(&str, &str)>) {
    let known = [";type=", ";filename="];
    let starts = known.iter().filter_map(|setting| text.find(setting));
    let end = starts.min().unwrap_or(text.len());
    let settings = text[end..]
        .split(';')
        .filter_map(|setting| setting.split_once('='));
    let settings = settings.map(|(name, value)| (name.trim(), value.trim_matches('"')));
    (&text[..end], settings.collect())
}

/// What curl takes a file for, by its name.
fn type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("gif") => "image/gif",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain",
        Some("htm" | "html") => "text/html",
        Some("pdf") => "application/pdf",
        Some("xml") => "application/xml",
        _ => "application/octet-stream",
    }
}
