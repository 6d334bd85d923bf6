//! What a function is deployed as: a zip file, a layer, or a folder for `docker build`.
//!
//! ```text
//! paths -> contents -> staged in a folder -> checked there -> zip file
//!          bootstrap -/                                   \-> the folder itself, with a Dockerfile
//! ```
//!
//! What is checked is what is written: the files as they will lie on Lambda, with their modes, and
//! without what is left out. Nothing is written to its place before all of it is known to be good.

pub mod bootstrap;
mod contents;
mod context;
mod error;
mod exclusions;
mod line_ends;
mod stage;
mod stop;
mod zip;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use bootstrap::{Architecture, Bootstrap};
use contents::Contents;
pub use error::Error;
use error::Result;
use exclusions::Exclusions;
use stop::Stop;

/// What Lambda unpacks of a zip file and its layers, at most:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_UNPACKED_BYTES: u64 = 262_144_000;
/// The largest zip file that Lambda takes in a call; the same page.
pub const MAX_UPLOAD_BYTES: u64 = 52_428_800;

/// What is to be packed.
#[derive(Debug)]
pub struct Order {
    /// A folder, whose contents are the package's; or files and folders, by their names.
    pub paths: Vec<PathBuf>,
    /// What of it is left out, as in a .gitignore.
    pub excludes: Vec<String>,
    /// Where bootstrap is, if it goes in.
    pub bootstrap: Option<PathBuf>,
    /// The architecture that bootstrap has to be for.
    pub architecture: Option<Architecture>,
    /// Where the package is written.
    pub destination: Destination,
}

/// Where a package is written, and in which form.
#[derive(Debug)]
pub enum Destination {
    /// A zip file, for a function or a layer.
    Zip(PathBuf),
    /// A folder for `docker build`, which is not there yet, or empty.
    ImageContext {
        /// The folder.
        folder: PathBuf,
        /// The image that it builds upon.
        base: String,
    },
}

/// A package whose files are laid out in a folder that nobody else knows.
#[derive(Debug)]
pub struct Package {
    contents: Contents,
    bootstrap: Option<Bootstrap>,
    staging: TempDir,
    /// The part of `staging` that is the task root on Lambda.
    task_root: PathBuf,
    destination: Destination,
    stop: Stop,
    /// The globs of [`Order::excludes`] that nothing was left out for.
    pub idle_excludes: Vec<String>,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Files and links, bootstrap among them.
    pub files: usize,
    /// The size of all that.
    pub unpacked_bytes: u64,
    /// What bootstrap is for, if it is in.
    pub architecture: Option<Architecture>,
    /// Of a zip file.
    pub zip: Option<Zip>,
}

/// A zip file that was written.
#[derive(Debug)]
pub struct Zip {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in base64, which Lambda calls `CodeSha256`.
    pub code_sha256: String,
}

impl Package {
    /// Finds what goes in, refuses what would not work, and lays the rest out. Blocks for as long as
    /// it takes to copy the files.
    ///
    /// # Errors
    /// [`Error::Refused`] for a bootstrap or a file that would not work on Lambda, or too much of
    /// them; [`Error::Misuse`] for a glob or a destination that makes no sense; [`Error::Io`];
    /// [`Error::Stopped`].
    pub fn prepare(order: Order) -> Result<Self> {
        let stop = Stop::listen()?;
        let output = match &order.destination {
            Destination::Zip(file) => file,
            Destination::ImageContext { folder, .. } => {
                context::check_empty(folder)?;
                folder
            }
        };
        let bootstrap = order.bootstrap.as_deref().map(Bootstrap::read);
        let bootstrap = bootstrap.transpose()?;
        if let (Some(bootstrap), Some(wanted)) = (&bootstrap, order.architecture) {
            bootstrap.check_architecture(wanted)?;
        }
        let mut exclusions = Exclusions::parse(&order.excludes, output)?;
        let mut contents = Contents::collect(&order.paths, &mut exclusions)?;
        if let Some(bootstrap) = &bootstrap {
            contents.check_no_other_bootstrap(bootstrap)?;
        }
        let (staging, task_root) = match &order.destination {
            Destination::Zip(_) => {
                if let Some(bootstrap) = &bootstrap {
                    contents.add_bootstrap(bootstrap);
                }
                check_limit(contents.bytes())?;
                let staging = stage::temporary_folder(&std::env::temp_dir(), "coshell-package-")?;
                let task_root = staging.path().to_owned();
                (staging, task_root)
            }
            Destination::ImageContext { folder, .. } => context::stage(folder)?,
        };
        line_ends::check(&contents)?;
        // Paths in scripts are compared with it.
        let task_root = task_root
            .canonicalize()
            .map_err(stage::failed(&task_root))?;
        stage::lay_out(&contents, &task_root, &stop)?;
        Ok(Self {
            contents,
            bootstrap,
            staging,
            task_root,
            destination: order.destination,
            stop,
            idle_excludes: exclusions.idle(),
        })
    }

    /// For those who had to wait in between.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn check_stopped(&self) -> Result<()> {
        self.stop.check()
    }

    /// Where the files lie as on Lambda, until the package is dropped or written.
    pub fn task_root(&self) -> &Path {
        &self.task_root
    }

    /// Writes the package to its place, whole or not at all. `handler` is what the image starts.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Stopped`]; what lay there is untouched then.
    pub fn write(self, handler: &str) -> Result<Written> {
        let mut written = Written {
            files: self.contents.files(),
            unpacked_bytes: self.contents.bytes(),
            architecture: self.bootstrap.as_ref().map(|one| one.architecture),
            zip: None,
        };
        match &self.destination {
            Destination::Zip(file) => {
                written.zip = Some(zip::write(
                    &self.contents,
                    &self.task_root,
                    file,
                    &self.stop,
                )?);
            }
            Destination::ImageContext { folder, base } => {
                if let Some(bootstrap) = &self.bootstrap {
                    written.files += 1;
                    written.unpacked_bytes += bootstrap.len_bytes;
                }
                let dockerfile = context::dockerfile(base, handler, written.architecture);
                context::write(self.staging, self.bootstrap.as_ref(), &dockerfile, folder)?;
            }
        }
        Ok(written)
    }
}

fn check_limit(bytes: u64) -> Result<()> {
    if bytes <= MAX_UNPACKED_BYTES {
        return Ok(());
    }
    Err(Error::refused(
        "cannot package so much",
        format!(
            "it has {bytes} bytes, and Lambda unpacks {MAX_UNPACKED_BYTES} at most; leave something \
             out by --exclude, or make a container image: --image-context DIR"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_the_last_size_that_is_allowed() {
        assert!(check_limit(262_144_000).is_ok());
        let refused = check_limit(262_144_001).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|text| text.contains("262144001 bytes")));
    }
}
