//! Encodings and line ends that bash cannot read: a byte order mark, UTF-16, CR LF.
//!
//! Some editors write them. bash reads the mark as part of the first command, and Linux does not see the `#!` behind
//! it. bash reads a CR as part of each command.

use std::path::Path;

use crate::bash::shell_word;

/// The encoding of a script that bash cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadEncoding {
    /// UTF-8 that begins with a byte order mark.
    ByteOrderMark,
    Utf16,
}

impl BadEncoding {
    /// Looks at the first bytes of a file.
    pub fn detect(text: &[u8]) -> Option<Self> {
        match text {
            [0xef, 0xbb, 0xbf, ..] => Some(Self::ByteOrderMark),
            [0xff, 0xfe, ..]
            | [0xfe, 0xff, ..]
            | [b'#', 0, b'!', 0, ..]
            | [0, b'#', 0, b'!', ..] => Some(Self::Utf16),
            _ => None,
        }
    }

    /// The cause, and the command that converts `file`.
    pub fn describe(self, file: &Path) -> String {
        format!("{}; convert it with: {}", self.cause(), self.remedy(file))
    }

    pub fn cause(self) -> &'static str {
        match self {
            Self::ByteOrderMark => {
                "it begins with a byte order mark, which bash reads as part of the first command"
            }
            Self::Utf16 => "it is UTF-16, and bash reads UTF-8",
        }
    }

    /// The command that converts `file`.
    pub fn remedy(self, file: &Path) -> String {
        let new = shell_word(&format!("{}.new", file.display()));
        let file = shell_word(&file.to_string_lossy());
        match self {
            Self::ByteOrderMark => format!("sed -i '1s/^\\xEF\\xBB\\xBF//' {file}"),
            // cat keeps the mode of a program, which mv would replace.
            Self::Utf16 => {
                format!("iconv -f UTF-16 -t UTF-8 {file} >{new} && cat {new} >{file} && rm {new}")
            }
        }
    }
}

/// Whether every line ends in CR LF, as on Windows. A single CR LF may belong to a here-document.
pub fn has_crlf_line_ends(text: &[u8]) -> bool {
    let line_feeds = memchr::memchr_iter(b'\n', text);
    let mut ends = line_feeds
        .map(|position| position > 0 && text[position - 1] == b'\r')
        .peekable();
    ends.peek().is_some() && ends.all(|is_crlf| is_crlf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_utf_16_are_detected() {
        assert_eq!(
            BadEncoding::detect(b"\xef\xbb\xbf#!/bin/bash"),
            Some(BadEncoding::ByteOrderMark)
        );
        for text in [&b"\xff\xfe#\0"[..], b"\xfe\xff\0#", b"#\0!\0", b"\0#\0!"] {
            assert_eq!(BadEncoding::detect(text), Some(BadEncoding::Utf16));
        }
        for text in [&b""[..], b"#!/bin/bash", b"\x7fELF", b"\xc3\xa9"] {
            assert_eq!(BadEncoding::detect(text), None);
        }
    }
}
