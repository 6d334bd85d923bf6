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
mod damage;
mod earlier;
mod error;
mod exclusions;
mod globs;
mod output;
mod search;
mod stage;
mod stop;
mod tools;
mod unwanted;
mod zip;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use bootstrap::{Architecture, Bootstrap, Source};
use contents::Contents;
use context::Folder;
pub use error::Error;
use error::Result;
use exclusions::Exclusions;
pub use exclusions::LeftOut;
use output::Output;
use stop::Stop;
pub use unwanted::Unwanted;

/// What Lambda unpacks of a zip file and its layers, at most:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_UNPACKED_BYTES: u64 = 262_144_000;
/// The image that a build context builds upon, if none is named. It has no bootstrap.
pub const DEFAULT_BASE: &str = "public.ecr.aws/lambda/provided:al2023";
/// The largest zip file that Lambda takes in a call; the same page.
pub const MAX_UPLOAD_BYTES: u64 = 52_428_800;

/// What is to be packed.
#[derive(Debug)]
pub struct Order {
    /// A folder, whose contents are the package's; or files and folders, by their names.
    pub paths: Vec<PathBuf>,
    /// What of it is left out, as in a .gitignore.
    pub excludes: Vec<String>,
    /// What of it is taken in although nobody is likely to want it.
    pub includes: Vec<String>,
    /// Which bootstrap goes in.
    pub bootstrap: BootstrapChoice,
    /// The architecture that bootstrap has to be for.
    pub architecture: Option<Architecture>,
    /// Where the package is written.
    pub destination: Destination,
    /// It is a layer, for any function.
    pub is_layer: bool,
}

/// Which bootstrap goes into a package.
#[derive(Debug)]
pub enum BootstrapChoice {
    /// None: the function has it from a layer, or from its image.
    Without,
    /// This file.
    File(PathBuf),
    /// The first that works on Lambda of those bundled with coshell, beside it, and in cargo's target folders.
    Search {
        /// The program that coshell has bundled.
        bundled: Option<&'static [u8]>,
    },
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
    place: Place,
    stop: Stop,
    /// The globs of [`Order::excludes`] and [`Order::includes`] that matched nothing: a sentence for each.
    pub idle_globs: Vec<String>,
    /// What nobody is likely to want in it.
    pub left_out: Vec<LeftOut>,
    /// A function that only `coshell-tools` does, which is not there: the name, if a script has one.
    pub lacks_tools_for: Option<&'static str>,
    /// Zip files in it that look as if they were earlier packages.
    pub earlier_packages: Vec<String>,
    /// Programs that came before the bootstrap that was found, and would not work, `<place>: <reason>`; `None` if none was looked for.
    pub passed_over: Option<Vec<String>>,
}

/// Where a package is written, as it was found.
#[derive(Debug)]
enum Place {
    Zip(Output),
    ImageContext { folder: Folder, base: String },
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
    /// Where it comes from.
    pub bootstrap: Option<Source>,
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
        let place = Place::find(order.destination)?;
        place.check_bootstrap(&order.bootstrap)?;
        let (bootstrap, passed_over) = match order.bootstrap {
            BootstrapChoice::Without => (None, None),
            BootstrapChoice::File(path) => (Some(Bootstrap::read(&path)?), None),
            BootstrapChoice::Search { bundled } => {
                let found = search::search(bundled, order.architecture)?;
                (Some(found.bootstrap), Some(found.passed_over))
            }
        };
        if let (Some(bootstrap), Some(wanted)) = (&bootstrap, order.architecture) {
            bootstrap.check_architecture(wanted)?;
        }
        let mut exclusions = Exclusions::parse(&order.excludes, &order.includes, place.path())?;
        let mut contents = Contents::collect(&order.paths, &mut exclusions)?;
        if exclusions.has_met_output {
            place.check_not_part()?;
        }
        let mut lacks_tools_for = None;
        if let Some(bootstrap) = &bootstrap {
            contents.check_no_other_bootstrap(bootstrap)?;
            if order.is_layer || tools::is_used(&contents) {
                match tools::find(bootstrap) {
                    Some(program) => contents.add_program(tools::NAME, program)?,
                    None => lacks_tools_for = tools::needed_for(&contents),
                }
            }
        }
        let (staging, task_root) = match &place {
            Place::Zip(_) => {
                if let Some(bootstrap) = &bootstrap {
                    contents.add_bootstrap(bootstrap);
                }
                check_limit(contents.bytes())?;
                let staging = stage::temporary_folder(&std::env::temp_dir(), "coshell-package-")?;
                let task_root = staging.path().to_owned();
                (staging, task_root)
            }
            Place::ImageContext { folder, .. } => folder.stage()?,
        };
        damage::check(&contents)?;
        // Paths in scripts are compared with it.
        let task_root = task_root
            .canonicalize()
            .map_err(stage::failed(&task_root))?;
        stage::lay_out(&contents, bootstrap.as_ref(), &task_root, &stop)?;
        Ok(Self {
            earlier_packages: earlier::packages(&contents),
            contents,
            bootstrap,
            staging,
            task_root,
            place,
            stop,
            idle_globs: exclusions.idle(),
            lacks_tools_for,
            left_out: exclusions.left_out,
            passed_over,
        })
    }

    /// Call it after a wait.
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
            bootstrap: self.bootstrap.as_ref().map(|one| one.source.clone()),
            zip: None,
        };
        match &self.place {
            Place::Zip(output) => {
                let zip = zip::write(&self.contents, &self.task_root, output, &self.stop);
                written.zip = Some(zip?);
            }
            Place::ImageContext { folder, base } => {
                if let Some(bootstrap) = &self.bootstrap {
                    written.files += 1;
                    written.unpacked_bytes += bootstrap.len_bytes();
                }
                let dockerfile = context::dockerfile(base, handler, written.architecture);
                folder.write(self.staging, self.bootstrap.as_ref(), &dockerfile)?;
            }
        }
        Ok(written)
    }
}

impl Place {
    fn find(destination: Destination) -> Result<Self> {
        Ok(match destination {
            Destination::Zip(file) => Self::Zip(Output::find(&file)?),
            Destination::ImageContext { folder, base } => Self::ImageContext {
                folder: Folder::find(&folder)?,
                base,
            },
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Zip(output) => output.path(),
            Self::ImageContext { folder, .. } => folder.path(),
        }
    }

    /// # Errors
    /// [`Error::Misuse`] when the image would have no bootstrap, or the zip file would take the place of the bootstrap.
    fn check_bootstrap(&self, choice: &BootstrapChoice) -> Result<()> {
        match (self, choice) {
            (Self::ImageContext { base, .. }, BootstrapChoice::Without) if base == DEFAULT_BASE => {
                Err(Error::misuse(
                    "cannot make an image without bootstrap",
                    format!(
                        "{base} has none, and images have no layers; leave out --without-bootstrap, or name an image that has one by --base"
                    ),
                ))
            }
            (Self::Zip(output), BootstrapChoice::File(file))
                if file.canonicalize().is_ok_and(|real| real == output.path()) =>
            {
                Err(output.is_needed("it is the bootstrap"))
            }
            _ => Ok(()),
        }
    }

    /// The output is left out of the package that it lies in. What was there has to be an older output, then.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is a file of the user's, which would be lost.
    fn check_not_part(&self) -> Result<()> {
        match self {
            Self::Zip(output) if !output.is_old_zip()? => {
                Err(output.is_needed("it is a file of the package, and no zip file"))
            }
            _ => Ok(()),
        }
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
