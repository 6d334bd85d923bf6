//! The zip file: the same bytes for the same files, wherever and whenever it is made.
//!
//! Names are in order, times are the first that a zip file can hold, modes are set, and owners and
//! all else that a file system knows is left out. So Lambda's `CodeSha256` tells whether code has
//! changed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use ::zip::result::ZipError;
use ::zip::write::{SimpleFileOptions, ZipWriter};
use ::zip::{CompressionMethod, DateTime};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::Zip;
use super::contents::{Contents, Kind};
use super::error::Result;
use super::output::Output;
use super::stage::{self, EXECUTABLE};
use super::stop::Stop;

/// The best that deflate can do: a package is packed once, and loaded often.
const LEVEL: i64 = 9;

/// Writes what is laid out in `root` to its place, whole or not at all.
pub(crate) fn write(contents: &Contents, root: &Path, output: &Output, stop: &Stop) -> Result<Zip> {
    let failed = || stage::failed(output.name());
    let temporary = output.temporary_file()?;
    let compressed = compress(contents, root, temporary.as_file(), stop);
    stop.check()?;
    compressed.map_err(failed())?;
    let bytes = fs::read(temporary.path()).map_err(failed())?;
    output.replace(temporary)?;
    Ok(Zip {
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        code_sha256: BASE64_STANDARD.encode(Sha256::digest(&bytes)),
    })
}

/// A file that takes nothing any more after a failure, but without failing again: `ZipWriter` would try once more when it is dropped, and
/// print the failure.
struct OnceFailing<'a> {
    file: BufWriter<&'a File>,
    has_failed: bool,
}

impl<'a> OnceFailing<'a> {
    fn attempt<T>(
        &mut self,
        done: T,
        act: impl FnOnce(&mut BufWriter<&'a File>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.has_failed {
            return Ok(done);
        }
        let result = act(&mut self.file);
        self.has_failed = result.is_err();
        result
    }
}

impl Write for OnceFailing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(bytes.len(), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt((), Write::flush)
    }
}

impl Seek for OnceFailing<'_> {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.attempt(0, |file| file.seek(place))
    }
}

fn compress(contents: &Contents, root: &Path, file: &File, stop: &Stop) -> io::Result<()> {
    let mut zip = ZipWriter::new(OnceFailing {
        file: BufWriter::new(file),
        has_failed: false,
    });
    let options = SimpleFileOptions::default()
        .last_modified_time(DateTime::DEFAULT)
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL));
    for (name, entry) in contents.iter() {
        match &entry.kind {
            Kind::Folder => {
                zip.add_directory(format!("{name}/"), options.unix_permissions(EXECUTABLE))
                    .map_err(io_error)?;
            }
            Kind::File { .. } | Kind::Bootstrap { .. } => {
                let is_plain =
                    matches!(entry.kind, Kind::File { is_executable, .. } if !is_executable);
                let mode = stage::mode(!is_plain);
                zip.start_file(name, options.unix_permissions(mode))
                    .map_err(io_error)?;
                let file = File::open(root.join(name))?;
                io::copy(&mut stop.watch(file), &mut zip)?;
            }
            Kind::Link { target } => {
                zip.add_symlink(name, target, options.unix_permissions(0o777))
                    .map_err(io_error)?;
            }
        }
    }
    zip.finish().map_err(io_error)?.flush()
}

/// The system's own error, without the words of the library around it.
fn io_error(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        error => error.into(),
    }
}
