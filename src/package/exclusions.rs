//! What is left out of a package: what `--exclude` matches, the output itself, and what nobody wants unless `--include` takes it in.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::DirEntry;

use super::error::Result;
use super::globs::Glob;
use super::unwanted::{self, Rules, Unwanted};

/// What is left out.
#[derive(Debug)]
pub(crate) struct Exclusions {
    excludes: Vec<Glob>,
    includes: Vec<Glob>,
    rules: Rules,
    /// What is written, without links: it often lies in the folder that is packed.
    output: PathBuf,
    /// An older output was among the files.
    pub has_met_output: bool,
    /// What nobody wants, in the order in which it was found.
    pub left_out: Vec<LeftOut>,
}

/// Something that `coshell package` leaves out by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in the package, with a slash behind that of a folder.
    pub name: String,
    /// Why.
    pub reason: Unwanted,
}

impl Exclusions {
    /// # Errors
    /// [`Error::Misuse`](super::Error::Misuse) for a glob that means nothing.
    pub(crate) fn parse(excludes: &[String], includes: &[String], output: &Path) -> Result<Self> {
        let parse = |option, texts: &[String]| {
            let globs = texts.iter().map(|text| Glob::parse(option, text));
            globs.collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            excludes: parse("exclude", excludes)?,
            includes: parse("include", includes)?,
            rules: Rules::new(),
            output: fs::canonicalize(output).unwrap_or_else(|_| output.to_owned()),
            has_met_output: false,
            left_out: Vec::new(),
        })
    }

    /// Whether an entry is left out of the package, where it would have this name.
    pub(crate) fn matches(&mut self, entry: &DirEntry, name: &Path) -> bool {
        let is_folder = entry.file_type().is_dir();
        if self.is_output(entry) {
            self.has_met_output = true;
            return true;
        }
        // Tries every glob: one that another makes superfluous is no mistake.
        let mut is_out = false;
        for glob in &mut self.excludes {
            if glob.matches(name, is_folder) {
                glob.has_matched = true;
                is_out = true;
            }
        }
        // A path of the command line is meant.
        if is_out || entry.depth() == 0 {
            return is_out;
        }
        let Some(reason) = self.reason(entry, name) else {
            return false;
        };
        if self.is_included(name, is_folder) {
            return false;
        }
        // Only what is included of such a folder.
        if is_folder && self.includes.iter().any(|glob| glob.leads_into(name)) {
            return false;
        }
        let slash = if is_folder { "/" } else { "" };
        self.left_out.push(LeftOut {
            name: format!("{}{slash}", name.display()),
            reason,
        });
        true
    }

    /// What was left out, and has this name or the name of a folder above it.
    pub(crate) fn left_out_with(&self, name: &Path) -> Option<&str> {
        let mut names = self
            .left_out
            .iter()
            .map(|one| one.name.trim_end_matches('/'));
        names.find(|left_out| name.starts_with(left_out))
    }

    /// A sentence for each glob that nothing was left out for, or that took nothing in.
    pub(crate) fn idle(&self) -> Vec<String> {
        let idle = |globs: &[Glob], text: fn(&str) -> String| {
            let idle = globs.iter().filter(|glob| !glob.has_matched);
            idle.map(|glob| text(&glob.text)).collect::<Vec<_>>()
        };
        let mut all = idle(&self.excludes, |glob| {
            format!("--exclude {glob} matches nothing")
        });
        all.extend(idle(&self.includes, |glob| {
            format!("--include {glob} matches nothing that would be left out")
        }));
        all
    }

    /// A link to it is one, too: the output may be named by that link, and no package has where it leads.
    fn is_output(&self, entry: &DirEntry) -> bool {
        let source = entry.path();
        let may_be = entry.path_is_symlink() || self.output.file_name() == source.file_name();
        may_be && fs::canonicalize(source).is_ok_and(|real| real == self.output)
    }

    /// Why nobody wants it: for itself, or for a folder that it lies in, of which something is included.
    fn reason(&self, entry: &DirEntry, name: &Path) -> Option<Unwanted> {
        let of_folder = |folder| self.rules.by_name(folder, true);
        self.rules
            .by_name(name, entry.file_type().is_dir())
            .or_else(|| name.ancestors().skip(1).find_map(of_folder))
            .or_else(|| {
                let is_file = entry.file_type().is_file();
                is_file.then(|| unwanted::by_contents(entry.path()))?
            })
    }

    /// Whether `--include` names it, or a folder that it lies in.
    fn is_included(&mut self, name: &Path, is_folder: bool) -> bool {
        let mut is_in = false;
        for glob in &mut self.includes {
            let folders = name.ancestors().skip(1);
            let mut folders = folders.filter(|folder| !folder.as_os_str().is_empty());
            if glob.matches(name, is_folder) || folders.any(|folder| glob.matches(folder, true)) {
                glob.has_matched = true;
                is_in = true;
            }
        }
        is_in
    }
}
