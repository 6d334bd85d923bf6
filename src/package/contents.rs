//! What goes into a package: names, kinds and modes. The files themselves stay where they are.
//!
//! Names are those of the package, `lib/a.sh`, in the order of their bytes, with `/` between folders,
//! so that a folder comes before what is in it.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use glob::Pattern;
use walkdir::{DirEntry, WalkDir};

use super::bootstrap::Bootstrap;
use super::error::{Error, Result};
use super::exclusions::Exclusions;
use coshell_handler::bash::{quote, shell_word};

/// By what Lambda starts a function.
const BOOTSTRAP: &str = "bootstrap";

/// All that goes in, by name.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    entries: BTreeMap<String, Entry>,
}

/// One file, folder or link.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it lies here, as the user knows it.
    pub source: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is. Times, owners and all other rights are not kept.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Also one with nothing in it.
    Folder,
    /// With the right to be run, or without.
    File { is_executable: bool, len_bytes: u64 },
    /// The program that Lambda starts, which is no file of the function's.
    Bootstrap { len_bytes: u64 },
    /// With the way to an entry of the package, from the folder that the link is in.
    Link { target: String },
}

/// A path that was given.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Without links.
    real: PathBuf,
    /// Its name in the package; nothing, if the package is its contents.
    name: PathBuf,
}

impl Contents {
    /// All that lies at `paths`, and is not left out.
    ///
    /// # Errors
    /// [`Error::Refused`] for what a package cannot hold: special files, links that lead out of it,
    /// names that are not UTF-8, two files of one name; [`Error::Io`] for what cannot be read.
    pub(crate) fn collect(paths: &[PathBuf], exclusions: &mut Exclusions) -> Result<Self> {
        let is_alone = paths.len() == 1;
        let roots = paths.iter().map(|path| Root::find(path, is_alone));
        let roots: Vec<_> = roots.collect::<Result<_>>()?;
        let mut contents = Self::default();
        let mut links = Vec::new();
        for root in &roots {
            let walk = WalkDir::new(&root.path)
                .min_depth(usize::from(root.name.as_os_str().is_empty()))
                .sort_by_file_name();
            let mut walk = walk.into_iter().filter_entry(|entry| {
                let name = root.name_of(entry);
                name.as_os_str().is_empty() || !exclusions.matches(entry, &name)
            });
            while let Some(entry) = walk.next().transpose().map_err(walk_failed)? {
                let source = entry.path();
                let name = root.name_of(&entry);
                let Some(name) = name.to_str() else {
                    return Err(Error::refused(
                        format!(
                            "cannot package {}",
                            source.as_os_str().as_bytes().escape_ascii()
                        ),
                        "its name is not UTF-8, as names in a package are; rename it",
                    ));
                };
                match Kind::of(&entry)? {
                    Some(kind) => contents.add(name.to_owned(), source, kind)?,
                    // It is known when all that it may lead to is.
                    None => links.push((name.to_owned(), source.to_owned())),
                }
            }
        }
        for (name, source) in links {
            let target = contents.resolve(&roots, exclusions, &name, &source)?;
            contents.add(name, &source, Kind::Link { target })?;
        }
        Ok(contents)
    }

    fn add(&mut self, name: String, source: &Path, kind: Kind) -> Result<()> {
        if let Some(other) = self.entries.get(&name) {
            let other = other.source.display();
            let cause = format!("{other} has the same name in the package, {name}");
            return Err(Error::unfit(source, cause));
        }
        let source = source.to_owned();
        self.entries.insert(name, Entry { source, kind });
        Ok(())
    }

    /// The way from a link to what it leads to at last, if that is in the package. Links that pass
    /// through other links, or by absolute paths, are made short in that.
    fn resolve(
        &self,
        roots: &[Root],
        exclusions: &Exclusions,
        name: &str,
        link: &Path,
    ) -> Result<String> {
        let unfit = |cause: &str| {
            let name = quote(&Pattern::escape(name));
            let cause = format!("{cause}; put what it leads to in its place, or --exclude {name}");
            Err(Error::unfit(link, cause))
        };
        let real = match fs::canonicalize(link) {
            Ok(real) => real,
            Err(error) => return unfit(&format!("it is a link that leads nowhere: {error}")),
        };
        let below = |root: &Root| {
            let below = real.strip_prefix(&root.real).ok()?;
            Some(root.name_below(below))
        };
        let names: Vec<_> = roots.iter().filter_map(below).collect();
        let is_in_package = |target: &&PathBuf| {
            let is_root = target.as_os_str().is_empty();
            is_root || (target.to_str()).is_some_and(|target| self.entries.contains_key(target))
        };
        let Some(target) = names.iter().find(is_in_package) else {
            let real = real.display();
            let left_out = names.iter().find_map(|name| exclusions.left_out_with(name));
            return unfit(&match left_out {
                Some(name) => format!(
                    "it is a link to {real}, which is left out; take it in by --include {}",
                    shell_word(&Pattern::escape(name))
                ),
                None => format!("it is a link to {real}, which is not in the package"),
            });
        };
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let way = pathdiff::diff_paths(target, folder).unwrap_or_default();
        Ok(match way.to_str().unwrap_or_default() {
            "" => ".".to_owned(),
            way => way.to_owned(),
        })
    }

    /// # Errors
    /// [`Error::Refused`] when the package has a bootstrap of its own: that one would be started.
    pub(crate) fn check_no_other_bootstrap(&self, bootstrap: &Bootstrap) -> Result<()> {
        let Some(other) = self.entries.get(BOOTSTRAP) else {
            return Ok(());
        };
        Err(Error::unfit(
            &other.source,
            format!(
                "the bootstrap that is {} takes the same place; leave one out: --exclude /bootstrap, or --without-bootstrap",
                bootstrap.source
            ),
        ))
    }

    /// Puts it where Lambda looks for it; what has that name already is replaced.
    pub(crate) fn add_bootstrap(&mut self, bootstrap: &Bootstrap) {
        let kind = Kind::Bootstrap {
            len_bytes: bootstrap.len_bytes(),
        };
        let source = PathBuf::from(bootstrap.source.to_string());
        self.entries
            .insert(BOOTSTRAP.to_owned(), Entry { source, kind });
    }

    /// Adds a program of coshell's, unless the package has a file of that name.
    pub(crate) fn add_program(&mut self, name: &str, source: PathBuf) -> Result<()> {
        let about = fs::metadata(&source)
            .map_err(Error::io(format!("cannot read {}", source.display())))?;
        let kind = Kind::File {
            is_executable: true,
            len_bytes: about.len(),
        };
        self.entries
            .entry(name.to_owned())
            .or_insert(Entry { source, kind });
        Ok(())
    }

    /// By name, a folder before what is in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// How many files and links there are.
    pub(crate) fn files(&self) -> usize {
        let is_folder = |entry: &&Entry| matches!(entry.kind, Kind::Folder);
        self.entries.len() - self.entries.values().filter(is_folder).count()
    }

    /// The sum of the sizes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let len = |entry: &Entry| match entry.kind {
            Kind::File { len_bytes, .. } | Kind::Bootstrap { len_bytes } => len_bytes,
            Kind::Folder | Kind::Link { .. } => 0,
        };
        self.entries.values().map(len).sum()
    }
}

impl Root {
    fn find(path: &Path, is_alone: bool) -> Result<Self> {
        let failed = || Error::io(format!("cannot package {}", path.display()));
        let real = fs::canonicalize(path).map_err(failed())?;
        let name = if is_alone && real.is_dir() {
            PathBuf::new()
        } else {
            let name = path.file_name().ok_or_else(|| {
                let what = format!("cannot package {}", path.display());
                Error::misuse(what, "among several paths each needs a name")
            })?;
            PathBuf::from(name)
        };
        Ok(Self {
            path: path.to_owned(),
            real,
            name,
        })
    }

    fn name_of(&self, entry: &DirEntry) -> PathBuf {
        let below = entry.path().strip_prefix(&self.path);
        self.name_below(below.unwrap_or(entry.path()))
    }

    fn name_below(&self, below: &Path) -> PathBuf {
        // Joined with nothing, a path would end in a slash.
        if below.as_os_str().is_empty() {
            self.name.clone()
        } else {
            self.name.join(below)
        }
    }
}

impl Kind {
    /// `None` for a link. A path that was given is what it leads to: it has been named.
    fn of(entry: &DirEntry) -> Result<Option<Self>> {
        let source = entry.path();
        let found = if entry.depth() == 0 {
            fs::metadata(source).map_err(Error::io(format!("cannot read {}", source.display())))?
        } else {
            entry.metadata().map_err(walk_failed)?
        };
        let kind = found.file_type();
        if kind.is_dir() {
            return Ok(Some(Self::Folder));
        }
        if kind.is_symlink() {
            return Ok(None);
        }
        if let Some(special) = special(kind) {
            let cause =
                format!("it is {special}, which no package can hold; leave it out by --exclude");
            return Err(Error::unfit(source, cause));
        }
        Ok(Some(Self::File {
            is_executable: found.permissions().mode() & 0o100 != 0,
            len_bytes: found.len(),
        }))
    }
}

fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("a device")
    } else {
        None
    }
}

fn walk_failed(error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(Path::new("")).display();
    let what = format!("cannot read {path}");
    let text = error.to_string();
    // Its own text has the path again.
    let cause = error.into_io_error();
    Error::io(what)(cause.unwrap_or_else(|| io::Error::other(text)))
}
