//! What a command does with one file or object.

use time::OffsetDateTime;

use super::paths;
use super::report::Title;

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// An absolute path of the caller.
    File(String),
    /// `BUCKET/KEY`.
    Object(String),
    /// Standard input or output.
    Stream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Upload,
    Download,
    Copy,
    Delete,
}

/// One step of a command.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub verb: Verb,
    pub source: Location,
    pub target: Option<Location>,
    /// The path below the source, by which both sides of a command are compared.
    pub key: String,
    /// Is not known of an object that no list or request has been about.
    pub size: Option<u64>,
    pub modified: Option<OffsetDateTime>,
    /// Whether the object lies in an archive, and has to be restored first.
    pub is_archived: bool,
    /// The headers that `HeadObject` answered with, if the object was looked up.
    pub head: Vec<(String, String)>,
}

impl Verb {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Copy => "copy",
            Self::Delete => "delete",
        }
    }
}

impl Location {
    /// How to name it to someone in `folder`.
    pub(super) fn text(&self, folder: &str) -> String {
        match self {
            Self::File(path) => paths::relative(folder, path),
            Self::Object(name) => format!("s3://{name}"),
            Self::Stream => "-".to_owned(),
        }
    }
}

impl Item {
    pub(super) fn title(&self, folder: &str, is_move: bool) -> Title {
        let target = self.target.as_ref();
        Title {
            verb: if is_move { "move" } else { self.verb.word() },
            source: self.source.text(folder),
            target: target.map(|target| target.text(folder)),
        }
    }
}

/// Whether an object of this storage class has to be restored before it can be read. `restore` is what S3 says about that.
pub(super) fn is_archived(storage_class: &str, restore: &str) -> bool {
    matches!(storage_class, "GLACIER" | "DEEP_ARCHIVE")
        && !restore.contains("ongoing-request=\"false\"")
}
