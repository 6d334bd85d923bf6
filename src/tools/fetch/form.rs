//! Forms with parts: `-F`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use crate::aws::hex;
use crate::http::Body;

use super::body::{FORM_DATA, Inputs, Typed};
use super::options::NO_NAME;

/// What a part says of its content.
const SETTINGS: [&str; 4] = ["type=", "filename=", "headers=", "encoder="];

/// `name=content`, `name=@file` or `name=<file`, and what stands behind `;`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    name: String,
    /// `@` or `<` if the content is in a file.
    mark: Option<char>,
    content: String,
    kind: Option<String>,
    file_name: Option<String>,
}

impl Inputs {
    /// A form with parts, of the type `kind`, to which the boundary is added. `is_string`: the content is taken as it is.
    ///
    /// # Errors
    /// A part cannot be understood, or a file cannot be read.
    pub(super) fn form(&mut self, parts: &[(String, bool)], kind: &str) -> Result<Typed, String> {
        let boundary = boundary();
        let is_usual = kind
            .get(..FORM_DATA.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(FORM_DATA));
        let disposition = if is_usual { "form-data" } else { "attachment" };
        let mut pieces = Vec::new();
        for (text, is_string) in parts {
            let part = Part::read(text, *is_string)?;
            let head = format!("--{boundary}\r\n{}\r\n", part.head(disposition));
            pieces.push(Body::Bytes(Arc::new(head.into_bytes())));
            pieces.push(self.content(&part)?);
            pieces.push(Body::Bytes(Arc::new(b"\r\n".to_vec())));
        }
        pieces.push(Body::Bytes(Arc::new(
            format!("--{boundary}--\r\n").into_bytes(),
        )));
        let kind = format!("{kind}; boundary={boundary}");
        Ok((Body::Pieces(pieces), Some(kind)))
    }

    fn content(&mut self, part: &Part) -> Result<Body, String> {
        let content = &part.content;
        Ok(match part.mark {
            Some(_) if content != "-" => match self.file(content)? {
                // Its length has to be known.
                Body::Stream(_) => Body::Bytes(Arc::new(self.read(content)?)),
                body => body,
            },
            Some(_) => Body::Bytes(Arc::new(self.read(content)?)),
            None => Body::Bytes(Arc::new(content.clone().into_bytes())),
        })
    }
}

impl Part {
    fn read(text: &str, is_string: bool) -> Result<Self, String> {
        let Some((name, content)) = text.split_once('=') else {
            return Err(NO_NAME.to_owned());
        };
        let mut part = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        if is_string {
            content.clone_into(&mut part.content);
            return Ok(part);
        }
        part.mark = content.chars().next().filter(|mark| "@<".contains(*mark));
        let content = if part.mark.is_some() {
            &content[1..]
        } else {
            content
        };
        let (content, mut rest) = value(content);
        part.content = content;
        while let Some(setting) = rest.strip_prefix(';').map(str::trim_start) {
            let known = SETTINGS.iter().find(|known| setting.starts_with(**known));
            rest = match known.copied() {
                Some("type=") => {
                    let (kind, rest) = type_value(&setting["type=".len()..]);
                    part.kind = Some(kind);
                    rest
                }
                Some("filename=") => {
                    let (name, rest) = value(&setting["filename=".len()..]);
                    part.file_name = Some(name);
                    rest
                }
                Some(other) => {
                    let other = other.trim_end_matches('=');
                    return Err(format!(
                        "there is no setting {other} for --form; the program curl may have it"
                    ));
                }
                // curl drops it, too.
                None => value(setting).1,
            };
        }
        if part.mark == Some('@') && part.file_name.is_none() {
            let last = part.content.rsplit('/').next();
            part.file_name = last.map(ToOwned::to_owned);
        }
        Ok(part)
    }

    /// The lines before the content, without the empty one.
    fn head(&self, disposition: &str) -> String {
        let mut head = format!("Content-Disposition: {disposition}");
        // Writing to a string does not fail.
        if !self.name.is_empty() {
            let _ = write!(head, "; name=\"{}\"", quoted(&self.name));
        }
        if let Some(name) = &self.file_name {
            let _ = write!(head, "; filename=\"{}\"", quoted(name));
        }
        head.push_str("\r\n");
        let by_name = || {
            let name = self.file_name.as_deref()?;
            let usual = (self.mark == Some('@')).then_some("application/octet-stream");
            type_of(name).or(usual)
        };
        if let Some(kind) = self.kind.as_deref().or_else(by_name) {
            let _ = write!(head, "Content-Type: {kind}\r\n");
        }
        head
    }
}

/// A value up to `;`, or in quotes, where `\` stands before `"` and `\`; and the rest.
fn value(text: &str) -> (String, &str) {
    let text = text.trim_start();
    if let Some((inside, behind)) = text.strip_prefix('"').and_then(in_quotes) {
        let end = behind.find(';').unwrap_or(behind.len());
        return (inside, &behind[end..]);
    }
    let end = text.find(';').unwrap_or(text.len());
    (text[..end].trim_end().to_owned(), &text[end..])
}

/// What stands before the closing quote, and what follows it.
fn in_quotes(text: &str) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((inside, &text[at + 1..])),
            '\\' if text[at + 1..].starts_with(['"', '\\']) => {
                inside.extend(letters.next().map(|(_, letter)| letter));
            }
            letter => inside.push(letter),
        }
    }
    None
}

/// A type, which may have parameters: it goes up to the next setting.
fn type_value(text: &str) -> (String, &str) {
    if text.starts_with('"') {
        return value(text);
    }
    let mut ends = text.match_indices(';').map(|(at, _)| at);
    let is_setting = |at: &usize| {
        let setting = text[at + 1..].trim_start();
        SETTINGS.iter().any(|known| setting.starts_with(known))
    };
    let end = ends.find(is_setting).unwrap_or(text.len());
    (text[..end].trim().to_owned(), &text[end..])
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

/// As browsers and curl write names.
fn quoted(text: &str) -> String {
    text.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What curl takes a file for, by its name.
fn type_of(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "htm" | "html" => "text/html",
        "pdf" => "application/pdf",
        "xml" => "application/xml",
        _ => return None,
    })
}
