//! The place of the zip file: a new file, or a regular file that is replaced as a whole.
//!
//! A temporary file beside it takes its place by a rename, so that a failure or a signal leaves the old one. A rename would put the
//! new file in the place of anything, of a device or of a link just as well: so what is there is looked at before, and links are
//! followed.

use std::fs::{self, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, eaccess};
use tempfile::NamedTempFile;

use super::error::{Error, Result};
use super::stage;

/// As many links follow each other in Linux (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// What it may have of the old file's mode.
const PERMISSIONS: u32 = 0o777;

/// A place that a zip file may be written to.
#[derive(Debug)]
pub(crate) struct Output {
    /// As it was given, for texts.
    name: PathBuf,
    /// The same place without links.
    path: PathBuf,
    /// The regular file that is there.
    old: Option<Metadata>,
}

impl Output {
    /// # Errors
    /// [`Error::Misuse`] when a file would take the place of something that is no regular file;
    /// [`Error::Io`] when none can be written there.
    pub(crate) fn find(name: &Path) -> Result<Self> {
        let refused = |cause: &str| Err(Error::misuse(what(name), cause));
        if name.as_os_str() == "-" {
            return refused("a package is written to a file; ./- is a file of that name");
        }
        let bytes = name.as_os_str().as_bytes();
        if bytes.ends_with(b"/") || bytes.ends_with(b"/.") || name.file_name().is_none() {
            return refused("it is a folder; -o names a file");
        }
        let mut path = name.to_owned();
        for _ in 0..MAX_LINKS {
            let folder = folder_of(&path);
            let real = fs::canonicalize(folder).map_err(Error::no_folder(what(name), folder))?;
            path = real.join(path.file_name().unwrap_or_default());
            if path.starts_with("/proc") {
                return refused("it leads to /proc, as standard output does; -o names a file");
            }
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_symlink() => {
                    let target = fs::read_link(&path).map_err(Error::io(what(name)))?;
                    if !path.exists() && !is_special_link(&target) {
                        return refused("it is a link that leads nowhere; remove it before");
                    }
                    path = real.join(target);
                }
                Ok(found) => {
                    check_kind(name, found.file_type())?;
                    check_rights(name, &path, Some(&found))?;
                    return Ok(Self {
                        name: name.to_owned(),
                        path,
                        old: Some(found),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    check_rights(name, &path, None)?;
                    return Ok(Self {
                        name: name.to_owned(),
                        path,
                        old: None,
                    });
                }
                Err(error) => return Err(Error::io(what(name))(error)),
            }
        }
        refused("it is a link that leads to itself")
    }

    /// The refusal to replace a file that would be lost.
    pub(crate) fn is_needed(&self, cause: &str) -> Error {
        Error::misuse(
            what(&self.name),
            format!("{cause}; name another file by -o"),
        )
    }

    /// Where it is, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The place as it was given.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Whether the file that is there may be lost when it was also meant as a part of the package: an older zip file, or
    /// an empty file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read.
    pub(crate) fn is_old_zip(&self) -> Result<bool> {
        if self.old.is_none() {
            return Ok(true);
        }
        let mut start = Vec::new();
        fs::File::open(&self.path)
            .and_then(|file| file.take(4).read_to_end(&mut start))
            .map_err(Error::io(format!("cannot read {}", self.name.display())))?;
        Ok(start.is_empty() || matches!(&*start, b"PK\x03\x04" | b"PK\x05\x06"))
    }

    /// A file in the same folder, which is removed when it is dropped.
    pub(crate) fn temporary_file(&self) -> Result<NamedTempFile> {
        let made = tempfile::Builder::new()
            .prefix(".coshell-")
            // As any other file: the umask takes from it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(&self.path));
        made.map_err(stage::failed(&self.name))
    }

    /// Puts the file in its place, with the rights of the old one, if there is one.
    ///
    /// # Errors
    /// As [`Output::find`]: what is there may be another thing by now.
    pub(crate) fn replace(&self, temporary: NamedTempFile) -> Result<()> {
        let failed = || stage::failed(&self.name);
        if let Ok(found) = fs::symlink_metadata(&self.path) {
            check_kind(&self.name, found.file_type())?;
        }
        if let Some(old) = &self.old {
            let mode = Permissions::from_mode(old.mode() & PERMISSIONS);
            // Only root can give a file away, and does not have to.
            let _ = fchown(temporary.as_file(), Some(old.uid()), Some(old.gid()));
            temporary
                .as_file()
                .set_permissions(mode)
                .map_err(failed())?;
        }
        // The rename must not reach the disk before the bytes do.
        temporary.as_file().sync_all().map_err(failed())?;
        temporary
            .persist(&self.path)
            .map_err(|error| failed()(error.error))?;
        Ok(())
    }
}

fn what(name: &Path) -> String {
    format!("cannot write {}", name.display())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether a link leads to an open file, as `/dev/stdout` does: it may look as if it led nowhere.
fn is_special_link(target: &Path) -> bool {
    target.starts_with("/proc")
}

fn check_kind(name: &Path, kind: FileType) -> Result<()> {
    let cause = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "it is a folder; -o names a file"
    } else if kind.is_fifo() {
        "it is a named pipe, and -o writes over regular files alone"
    } else if kind.is_socket() {
        "it is a socket, and -o writes over regular files alone"
    } else if kind.is_symlink() {
        "it is a link by now, and was none before"
    } else {
        "it is a device, and -o writes over regular files alone"
    };
    Err(Error::misuse(what(name), cause))
}

/// Whether a file can be made beside it, and the old one may be written.
fn check_rights(name: &Path, path: &Path, old: Option<&Metadata>) -> Result<()> {
    if old.is_some() {
        // Opened and closed: nothing is cut off, and a FIFO that took its place would not be waited for.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = OpenOptions::new();
        let opened = options.write(true).custom_flags(flags.bits()).open(path);
        opened.map_err(Error::io(what(name)))?;
    }
    let folder = folder_of(path);
    let may = eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK);
    may.map_err(|errno| {
        let what = format!(
            "{}: a new file cannot be made in {}",
            what(name),
            folder.display()
        );
        Error::io(what)(errno.into())
    })
}
