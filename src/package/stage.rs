//! The files of a package, laid out in a folder as they will lie on Lambda: copies, with the modes that
//! all of them have there, whatever the umask is.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::bootstrap::Bootstrap;
use super::contents::{Contents, Kind};
use super::error::{Error, Result};
use super::stop::Stop;

/// Of folders, and of files that may be run.
pub(crate) const EXECUTABLE: u32 = 0o755;
/// Of other files.
pub(crate) const PLAIN: u32 = 0o644;

/// A folder that is removed when it is dropped.
pub(crate) fn temporary_folder(parent: &Path, prefix: &str) -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
    made.map_err(failed(parent))
}

/// Copies all that goes in. `root` is there, and empty.
pub(crate) fn lay_out(
    contents: &Contents,
    bootstrap: Option<&Bootstrap>,
    root: &Path,
    stop: &Stop,
) -> Result<()> {
    for (name, entry) in contents.iter() {
        stop.check()?;
        let place = root.join(name);
        match &entry.kind {
            Kind::Folder => make_folder(&place)?,
            Kind::File { is_executable, .. } => {
                copy(&entry.source, &place, mode(*is_executable), stop)?;
            }
            Kind::Bootstrap { .. } => {
                let program = bootstrap.map(|one| &*one.program);
                write_program(program.unwrap_or_default(), &place)?;
            }
            Kind::Link { target } => symlink(target, &place).map_err(failed(&place))?,
        }
    }
    Ok(())
}

/// The mode that a file gets.
pub(crate) fn mode(is_executable: bool) -> u32 {
    if is_executable { EXECUTABLE } else { PLAIN }
}

/// Makes a folder that all may enter.
pub(crate) fn make_folder(place: &Path) -> Result<()> {
    fs::create_dir(place).map_err(failed(place))?;
    set_mode(place, EXECUTABLE)
}

/// Writes a program that all may run.
pub(crate) fn write_program(program: &[u8], place: &Path) -> Result<()> {
    fs::write(place, program).map_err(failed(place))?;
    set_mode(place, EXECUTABLE)
}

/// Copies one file, whose own mode does not count.
fn copy(source: &Path, place: &Path, mode: u32, stop: &Stop) -> Result<()> {
    let cannot_read = Error::io(format!("cannot read {}", source.display()));
    let from = File::open(source).map_err(cannot_read)?;
    let mut to = File::create(place).map_err(failed(place))?;
    let copied = io::copy(&mut stop.watch(from), &mut to);
    stop.check()?;
    copied.map_err(failed(place))?;
    set_mode(place, mode)
}

/// Sets a mode, which the umask has no part in.
pub(crate) fn set_mode(place: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(place, Permissions::from_mode(mode)).map_err(failed(place))
}

/// The error for something that cannot be written there.
pub(crate) fn failed(place: &Path) -> impl FnOnce(io::Error) -> Error {
    Error::io(format!("cannot write {}", place.display()))
}
