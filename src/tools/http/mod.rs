//! HTTP and HTTPS requests, over connections that live on between calls.

mod client;
mod error;
mod proxy;
mod watch;

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

pub(crate) use client::{Client, Limits, Route, is_timeout};
pub(crate) use error::HttpError;
pub(crate) use proxy::proxy_for;

/// A request to a server.
#[derive(Debug)]
pub(crate) struct Request {
    pub method: String,
    /// Absolute, with `http` or `https`, and encoded.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Request {
    /// Whether the body goes in chunks, because a header says so.
    fn is_chunked(&self) -> bool {
        let names_chunks = |(name, value): &(String, String)| {
            name == "transfer-encoding" && value.trim().eq_ignore_ascii_case("chunked")
        };
        !matches!(self.body, Body::None) && self.headers.iter().any(names_chunks)
    }
}

/// What a request carries.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    None,
    Bytes(Arc<Vec<u8>>),
    /// `length` bytes of a file, from `start` on. It is read anew for each try.
    Part {
        file: File,
        start: u64,
        length: u64,
    },
    /// Several bodies of known length, one behind the other.
    Pieces(Vec<Body>),
    /// All that a file, a pipe or a socket has. It can be sent once, and its length is not known.
    Stream(File),
}

impl Body {
    /// The number of its bytes; `None` if only the end of the input tells.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Part { length, .. } => Some(*length),
            Self::Pieces(pieces) => pieces.iter().map(Self::length).sum(),
            Self::Stream(_) => None,
        }
    }

    /// The same body for one more try.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::None => Self::None,
            Self::Bytes(bytes) => Self::Bytes(Arc::clone(bytes)),
            Self::Part {
                file,
                start,
                length,
            } => Self::Part {
                file: file.try_clone()?,
                start: *start,
                length: *length,
            },
            Self::Pieces(pieces) => Self::Pieces(
                pieces
                    .iter()
                    .map(Self::try_clone)
                    .collect::<io::Result<_>>()?,
            ),
            Self::Stream(file) => Self::Stream(file.try_clone()?),
        })
    }
}

/// What a server answers. Its body is read as it comes.
pub(crate) struct Response {
    pub status: u16,
    /// Names are in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Box<dyn Read>,
}

impl Response {
    /// The first header of this name, which is in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(header, _)| header == name)?;
        Some(value)
    }
}

/// The text without the user in it, whether it is a URL or not.
pub(crate) fn without_user(text: &str) -> String {
    let start = text.find("//").map_or(0, |at| at + 2);
    let end = text[start..].find(['/', '?', '#']);
    let end = end.map_or(text.len(), |end| start + end);
    match text[start..end].rfind('@') {
        Some(at) => format!("{}{}", &text[..start], &text[start + at + 1..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_left_out() {
        for (text, expected) in [
            ("http://u:p@h/x@y", "http://h/x@y"),
            ("u:p@h", "h"),
            ("h/@", "h/@"),
        ] {
            assert_eq!(without_user(text), expected);
        }
    }
}
