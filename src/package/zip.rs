//! The zip file: the same bytes for the same files, wherever and whenever it is made.
//!
//! Names are in order, times are the first that a zip file can hold, modes are set, and owners and
//! all else that a file system knows is left out. So Lambda's `CodeSha256` tells whether code has
//! changed.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::zip::write::{SimpleFileOptions, ZipWriter};
use ::zip::{CompressionMethod, DateTime};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::Zip;
use super::contents::{Contents, Kind};
use super::error::Result;
use super::stage::{self, EXECUTABLE};
use super::stop::Stop;

/// The best that deflate can do: a package is packed once, and loaded often.
const LEVEL: i64 = 9;

/// Writes what is laid out in `root` to `file`: to a temporary file beside it, which then takes its
/// place.
pub(crate) fn write(contents: &Contents, root: &Path, file: &Path, stop: &Stop) -> Result<Zip> {
    let failed = || stage::failed(file);
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new()
        .prefix(".coshell-")
        // As any other file: the umask takes from it.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed())?;
    let compressed = compress(contents, root, temporary, stop);
    stop.check()?;
    let temporary = compressed.map_err(failed())?;
    let bytes = fs::read(temporary.path()).map_err(failed())?;
    temporary
        .persist(file)
        .map_err(|error| failed()(error.error))?;
    Ok(Zip {
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        code_sha256: BASE64_STANDARD.encode(Sha256::digest(&bytes)),
    })
}

fn compress(
    contents: &Contents,
    root: &Path,
    file: NamedTempFile,
    stop: &Stop,
) -> io::Result<NamedTempFile> {
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default()
        .last_modified_time(DateTime::DEFAULT)
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL));
    for (name, entry) in contents.iter() {
        match &entry.kind {
            Kind::Folder => {
                zip.add_directory(format!("{name}/"), options.unix_permissions(EXECUTABLE))?;
            }
            Kind::File { is_executable, .. } => {
                let mode = stage::mode(*is_executable);
                zip.start_file(name, options.unix_permissions(mode))?;
                let file = File::open(root.join(name))?;
                io::copy(&mut stop.watch(file), &mut zip)?;
            }
            Kind::Link { target } => {
                zip.add_symlink(name, target, options.unix_permissions(0o777))?;
            }
        }
    }
    let written = zip.finish()?;
    written.into_inner().map_err(io::IntoInnerError::into_error)
}
