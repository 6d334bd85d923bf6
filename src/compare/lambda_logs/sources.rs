//! Files of logs, and the group to which their lines belong.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::message::Message;
use super::messages::read_messages;
use crate::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// The group of all its lines. Without a label they are grouped by function.
    pub label: Option<String>,
    /// The file; `-` is standard input.
    pub path: PathBuf,
}

impl LogSource {
    /// `[LABEL=]FILE`, as on a command line. A file with an equals sign in its name has a slash before it.
    ///
    /// # Errors
    /// If the label or the file is empty.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let cannot = |cause| {
            let what = format!("cannot read logs of {}", text.display());
            Err(Error::new(what, cause))
        };
        let split = text.to_str().and_then(|text| text.split_once('='));
        let (label, path) = match split.filter(|(label, _)| !label.contains('/')) {
            Some((label, path)) => (Some(label.to_owned()), PathBuf::from(path)),
            None => (None, PathBuf::from(text)),
        };
        if label.as_ref().is_some_and(String::is_empty) {
            return cannot("the label is empty");
        }
        if path.as_os_str().is_empty() {
            return cannot("no file is named");
        }
        Ok(Self { label, path })
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Its name in reports and errors.
    pub fn name(&self) -> String {
        if self.is_stdin() {
            "standard input".to_owned()
        } else {
            self.path.display().to_string()
        }
    }

    /// The group of lines without a function: the name of the file without its extension or, if another of these files has the
    /// same name, its path.
    pub fn group(&self, sources: &[Self]) -> String {
        let own = stem(&self.path);
        let is_shared = sources.iter().any(|other| {
            other.label.is_none() && other.path != self.path && stem(&other.path) == own
        });
        match own {
            Some(stem) if !is_shared && !self.is_stdin() => stem,
            _ => self.name(),
        }
    }

    /// Gives each message in it to `each`.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub(super) fn read(&self, each: impl FnMut(Message)) -> Result<(), Error> {
        let cannot = || format!("cannot read logs of {}", self.name());
        let read = if self.is_stdin() {
            read_messages(io::stdin().lock(), each)
        } else {
            let file = File::open(&self.path).map_err(|error| Error::new(cannot(), error))?;
            read_messages(file, each)
        };
        read.map_err(|cause| Error::new(cannot(), cause))
    }
}

/// The name of a file without extensions: `ours` of `logs/ours.log.gz`.
fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = Path::new(name).file_stem()?;
    Some(stem.to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_are_not_mixed_up() {
        let sources = [
            "a/000000.gz",
            "b/000000.gz",
            "c/ours.log.gz",
            "x.y/tutorial",
        ]
        .map(|path| LogSource {
            label: None,
            path: path.into(),
        });
        let groups: Vec<_> = sources
            .iter()
            .map(|source| source.group(&sources[..3]))
            .collect();
        assert_eq!(groups, ["a/000000.gz", "b/000000.gz", "ours", "tutorial"]);
    }

    #[test]
    fn labels_stand_before_an_equals_sign() {
        let parse = |text: &str| LogSource::parse(OsStr::new(text));
        let parsed = |text: &str| {
            let source = parse(text).unwrap();
            (source.label, source.path.display().to_string())
        };
        assert_eq!(
            parsed("a=b=c.log"),
            (Some("a".to_owned()), "b=c.log".to_owned())
        );
        assert_eq!(parsed("./a=b"), (None, "./a=b".to_owned()));
        assert_eq!(parsed("-"), (None, "-".to_owned()));
        for (text, cause) in [
            ("=a.log", "the label is empty"),
            ("a=", "no file is named"),
            ("", "no file is named"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("cannot read logs of {text}: {cause}"));
        }
    }
}
