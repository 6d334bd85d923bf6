//! What is left out of a package: what `--exclude` matches, folders of git's, and the output itself.
//!
//! A glob means what it means in a .gitignore; those crates that read such files bring engines for regular
//! expressions with them, of 1 MB.

use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::error::{Error, Result};

/// As in a .gitignore: `*` ends at a slash, and a dot at the start is a letter like any other.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// What is left out.
#[derive(Debug)]
pub(crate) struct Exclusions {
    globs: Vec<Glob>,
    /// What is written, if it is there already: it often lies in the folder that is packed.
    output: Option<PathBuf>,
}

#[derive(Debug)]
struct Glob {
    text: String,
    pattern: Pattern,
    /// There is a slash in it: it tells of a place, and not of the last part of a name.
    is_anchored: bool,
    /// It ends in a slash.
    is_for_folders: bool,
    has_matched: bool,
}

impl Exclusions {
    /// # Errors
    /// [`Error::Misuse`] for a glob that means nothing.
    pub(crate) fn parse(globs: &[String], output: &Path) -> Result<Self> {
        let globs = globs.iter().map(|text| Glob::parse(text));
        Ok(Self {
            globs: globs.collect::<Result<_>>()?,
            output: fs::canonicalize(output).ok(),
        })
    }

    /// Whether what lies at `source` is left out of the package, where it would have this name.
    pub(crate) fn matches(&mut self, source: &Path, name: &Path, is_folder: bool) -> bool {
        if name.file_name().is_some_and(|name| name == ".git") {
            return true;
        }
        let is_output = |output: &PathBuf| {
            output.file_name() == source.file_name()
                && fs::canonicalize(source).is_ok_and(|real| real == *output)
        };
        if self.output.as_ref().is_some_and(is_output) {
            return true;
        }
        // Each is asked: one that another makes superfluous is no mistake.
        let mut is_out = false;
        for glob in &mut self.globs {
            if glob.matches(name, is_folder) {
                glob.has_matched = true;
                is_out = true;
            }
        }
        is_out
    }

    /// The globs that nothing was left out for.
    pub(crate) fn idle(self) -> Vec<String> {
        let idle = self.globs.into_iter().filter(|glob| !glob.has_matched);
        idle.map(|glob| glob.text).collect()
    }
}

impl Glob {
    fn parse(text: &str) -> Result<Self> {
        let stripped = text.strip_suffix('/');
        let body = stripped.unwrap_or(text);
        let pattern = Pattern::new(body.strip_prefix('/').unwrap_or(body));
        let failed = |error: glob::PatternError| {
            Error::misuse(format!("cannot exclude {text}"), error.to_string())
        };
        Ok(Self {
            text: text.to_owned(),
            pattern: pattern.map_err(failed)?,
            is_anchored: body.contains('/'),
            is_for_folders: stripped.is_some(),
            has_matched: false,
        })
    }

    fn matches(&self, name: &Path, is_folder: bool) -> bool {
        if self.is_for_folders && !is_folder {
            return false;
        }
        let part = if self.is_anchored {
            Some(name.as_os_str())
        } else {
            name.file_name()
        };
        // One that is not UTF-8 cannot be told apart from others like it.
        let text = part.unwrap_or_default().to_string_lossy();
        self.pattern.matches_with(&text, OPTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_mean_what_they_mean_in_a_gitignore() {
        let matches = |glob: &str, name: &str, is_folder: bool| {
            Glob::parse(glob).is_ok_and(|glob| glob.matches(Path::new(name), is_folder))
        };
        for (glob, name) in [
            ("*.md", "README.md"),
            ("*.md", "a/b/.md"),
            ("tests", "a/tests"),
            ("/tests", "tests"),
            ("a/*", "a/b"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z"),
            ("**/z", "a/z"),
            ("a/**", "a/b/c"),
            ("[ab]?", "x/bc"),
            ("a[[]b", "a[b"),
        ] {
            assert!(matches(glob, name, false), "{glob} {name}");
        }
        for (glob, name) in [
            ("/tests", "a/tests"),
            ("a/b", "x/a/b"),
            ("a/*", "a/b/c"),
            ("*.md", "a.md/b"),
            ("log/", "log"),
            ("[!a]", "a"),
        ] {
            assert!(!matches(glob, name, false), "{glob} {name}");
        }
        assert!(matches("log/", "a/log", true));
    }
}
