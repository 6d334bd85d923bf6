//! Values of arguments that are in files: `file://NAME` for text, `fileb://NAME` for bytes, and the files of objects.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::failure::Failure;
use super::value::Value;
use crate::call::Place;

/// Where names of files count: at the caller's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub place: Place,
    pub environment: &'a [(String, String)],
}

impl Files<'_> {
    /// The content that `file://` and `fileb://` name. `None` if the value names no file.
    pub(crate) fn content(self, argument: &str, value: &str) -> Result<Option<Value>, Failure> {
        let (name, is_text) = match (
            value.strip_prefix("file://"),
            value.strip_prefix("fileb://"),
        ) {
            (Some(name), _) => (name, true),
            (None, Some(name)) => (name, false),
            (None, None) => return Ok(None),
        };
        let name = self.expand(name);
        let bytes = self.place.read(&name).map_err(|error| {
            let cause = format!("Unable to load paramfile {value}: {error}");
            Failure::argument(argument, &cause)
        })?;
        if !is_text {
            return Ok(Some(Value::Bytes(bytes)));
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            let name = name.display();
            let cause = format!(
                "Unable to load paramfile ({name}), text contents could not be decoded.  If this is a binary file, please use the \
                 fileb:// prefix instead of the file:// prefix."
            );
            Failure::argument(argument, &cause)
        })?;
        Ok(Some(Value::Text(text)))
    }

    /// The file that a value names, to be sent as it is.
    pub(crate) fn open(self, argument: &str, name: &str) -> Result<Value, Failure> {
        let path = self.place.path(&self.expand(name));
        let open = || {
            let file = File::open(&path).ok()?;
            let about = file.metadata().ok()?;
            about
                .is_file()
                .then(|| Value::File(Rc::new(file), about.len()))
        };
        open().ok_or_else(|| Failure::argument(argument, "Blob values must be a path to a file."))
    }

    /// Puts in the home folder for `~`, and variables for `$NAME` and `${NAME}`. Unknown variables stay as they are.
    pub(crate) fn expand(self, name: &str) -> PathBuf {
        let variable = |wanted: &str| {
            let mut variables = self.environment.iter();
            let (_, value) = variables.find(|(name, _)| name == wanted)?;
            Some(value.as_str())
        };
        let mut expanded = String::new();
        let mut rest = name;
        if let Some(after) = rest.strip_prefix('~')
            && (after.is_empty() || after.starts_with('/'))
            && let Some(home) = variable("HOME")
        {
            expanded.push_str(home);
            rest = after;
        }
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let braced = after
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'));
            let (wanted, length) = if let Some((wanted, _)) = braced {
                (wanted, wanted.len() + 2)
            } else {
                let end = after.find(|letter| !is_name(letter)).unwrap_or(after.len());
                (&after[..end], end)
            };
            match variable(wanted) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[at..=at + length]),
            }
            rest = &after[length..];
        }
        expanded.push_str(rest);
        PathBuf::from(OsString::from_vec(expanded.into_bytes()))
    }
}
