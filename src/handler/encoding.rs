//! Damage that an editor did to a file: a byte order mark, or UTF-16.
//!
//! bash takes the mark for a part of the first command, and Linux does not see the first line behind it.

use std::path::Path;

/// What is wrong with the encoding of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// UTF-8 that begins with a byte order mark.
    Mark,
    /// Two bytes for each letter.
    Utf16,
}

impl Damage {
    /// Looks at the first bytes of a file.
    pub fn of(text: &[u8]) -> Option<Self> {
        match text {
            [0xef, 0xbb, 0xbf, ..] => Some(Self::Mark),
            [0xff, 0xfe, ..]
            | [0xfe, 0xff, ..]
            | [b'#', 0, b'!', 0, ..]
            | [0, b'#', 0, b'!', ..] => Some(Self::Utf16),
            _ => None,
        }
    }

    /// What is wrong, and the command that mends it.
    pub fn text(self, file: &Path) -> String {
        format!("{}; convert it with: {}", self.cause(), self.remedy(file))
    }

    /// What is wrong.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Mark => {
                "it begins with a byte order mark, which bash takes for a part of the first command"
            }
            Self::Utf16 => "it is UTF-16, and scripts are UTF-8",
        }
    }

    /// The command that mends it.
    pub fn remedy(self, file: &Path) -> String {
        let file = file.display();
        match self {
            Self::Mark => format!("sed -i '1s/^\\xEF\\xBB\\xBF//' {file}"),
            Self::Utf16 => {
                format!("iconv -f UTF-16 -t UTF-8 {file} >{file}.new && mv {file}.new {file}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_utf_16_are_told_from_text() {
        assert_eq!(Damage::of(b"\xef\xbb\xbf#!/bin/bash"), Some(Damage::Mark));
        for text in [&b"\xff\xfe#\0"[..], b"\xfe\xff\0#", b"#\0!\0", b"\0#\0!"] {
            assert_eq!(Damage::of(text), Some(Damage::Utf16));
        }
        for text in [&b""[..], b"#!/bin/bash", b"\x7fELF", b"\xc3\xa9"] {
            assert_eq!(Damage::of(text), None);
        }
    }
}
