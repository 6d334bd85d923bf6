//! Finds the caller's files below a folder, in the order in which S3 lists keys.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use time::OffsetDateTime;

use super::report::Report;
use crate::call::Place;

/// A file of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalFile {
    /// Absolute, as the caller sees it. That of a folder ends with a slash.
    pub path: String,
    pub size: u64,
    pub modified: OffsetDateTime,
}

/// The files below a folder, or one file.
pub(super) struct LocalFiles<'a> {
    place: Place,
    report: &'a Report,
    follows_links: bool,
    is_recursive: bool,
    /// A file that the caller named, or a folder: it may have to be left out.
    root: Option<String>,
    /// What is still to be looked at, the last one first.
    pending: Vec<String>,
}

impl<'a> LocalFiles<'a> {
    /// `root` is absolute. Files that cannot be read become warnings of `report`.
    pub(super) fn new(
        root: String,
        is_recursive: bool,
        follows_links: bool,
        place: Place,
        report: &'a Report,
    ) -> Self {
        Self {
            place,
            report,
            follows_links,
            is_recursive,
            root: Some(root),
            pending: Vec::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path(Path::new(path))
    }

    /// Whether a file is left out, because it is a link, or with a warning.
    fn is_ignored(&self, path: &str) -> bool {
        if !self.follows_links {
            let link = fs::symlink_metadata(self.path(path.trim_end_matches('/')));
            if link.is_ok_and(|metadata| metadata.is_symlink()) {
                return true;
            }
        }
        let Some(cause) = self.problem(path) else {
            return false;
        };
        self.report.skip(path, cause);
        true
    }

    /// Why a file cannot be sent.
    fn problem(&self, path: &str) -> Option<&'static str> {
        let found = self.path(path);
        let Ok(metadata) = fs::metadata(&found) else {
            return Some("File does not exist.");
        };
        if is_special(&metadata) {
            return Some(
                "File is character special device, block special device, FIFO, or socket.",
            );
        }
        let is_readable = if metadata.is_dir() {
            fs::read_dir(&found).is_ok()
        } else {
            File::open(&found).is_ok()
        };
        (!is_readable).then_some("File/Directory is not readable.")
    }

    /// Adds what is in a folder to the files that are pending.
    fn open(&mut self, folder: &str) {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            self.report.skip(folder, "File/Directory is not readable.");
            return;
        };
        let mut paths = Vec::new();
        for entry in entries.flatten() {
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    let cause = "The name is not text in UTF-8, as keys of S3 have to be.";
                    self.report
                        .skip(&format!("{folder}{}", name.to_string_lossy()), cause);
                    continue;
                }
            };
            let path = format!("{folder}{name}");
            // Before any file of the folder, and in the folder's own order, as the AWS CLI does.
            if self.is_ignored(&path) {
                continue;
            }
            let is_folder = fs::metadata(self.path(&path)).is_ok_and(|metadata| metadata.is_dir());
            let end = if is_folder { "/" } else { "" };
            paths.push(format!("{path}{end}"));
        }
        // Folders with their slash, so that keys come in their order.
        paths.sort_unstable();
        self.pending.extend(paths.into_iter().rev());
    }
}

impl Iterator for LocalFiles<'_> {
    type Item = LocalFile;

    fn next(&mut self) -> Option<LocalFile> {
        if let Some(root) = self.root.take()
            && !self.is_ignored(&root)
        {
            self.pending.push(root);
        }
        loop {
            let path = self.pending.pop()?;
            if self.is_recursive && path.ends_with('/') {
                self.open(&path);
                continue;
            }
            match fs::metadata(self.path(&path)) {
                Ok(metadata) => {
                    return Some(LocalFile {
                        path,
                        size: metadata.len(),
                        modified: modified(&metadata),
                    });
                }
                Err(_) => self.report.skip(&path, "File does not exist."),
            }
        }
    }
}

fn modified(metadata: &Metadata) -> OffsetDateTime {
    metadata
        .modified()
        .map_or(UNIX_EPOCH.into(), OffsetDateTime::from)
}

/// Whether a file is a device, a pipe or a socket.
pub(super) fn is_special(metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::report::Level;
    use super::*;
    use crate::call::Output;

    /// The files of a folder that has all kinds, and the exit status.
    fn found(follows_links: bool) -> (Vec<String>, i32) {
        let name = format!("coshell-local-files-{}-{follows_links}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("b/c")).expect("a folder");
        for file in ["b.txt", "b/c/x", "b-x", "a"] {
            fs::write(root.join(file), "12345").expect("a file");
        }
        symlink("a", root.join("link")).expect("a link");
        symlink("nowhere", root.join("broken")).expect("a link");
        let text = format!("{}/", root.display());
        let report = Report::new(Output::new(None, None), Level::All);
        let place = Place::of_this_process();
        let files = LocalFiles::new(text.clone(), true, follows_links, place, &report);
        let files = files.map(|file| {
            assert_eq!(file.size, 5);
            file.path[text.len()..].to_owned()
        });
        let files = files.collect();
        fs::remove_dir_all(&root).expect("no folder");
        (files, report.into_parts().0)
    }

    #[test]
    fn files_come_in_the_order_of_keys() {
        let (files, status) = found(true);
        assert_eq!(files, ["a", "b-x", "b.txt", "b/c/x", "link"]);
        // Of the broken link.
        assert_eq!(status, 2);
        let (files, status) = found(false);
        assert_eq!(files, ["a", "b-x", "b.txt", "b/c/x"]);
        assert_eq!(status, 0);
    }
}
