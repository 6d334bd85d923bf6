//! Globs as in a .gitignore.
//!
//! Those crates that read such files bring engines for regular expressions with them, of 1 MB.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use super::error::{Error, Result};

/// As in a .gitignore: `*` ends at a slash, and a dot at the start is a letter like any other.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// One glob, and whether it was of use.
#[derive(Debug)]
pub(crate) struct Glob {
    pub text: String,
    pattern: Pattern,
    /// A slash in it makes it a place in the package, and not the last part of a name.
    is_anchored: bool,
    /// It ends in a slash.
    is_for_folders: bool,
    pub has_matched: bool,
}

impl Glob {
    /// # Errors
    /// [`Error::Misuse`] for a glob that means nothing, as the value of `--<option>`.
    pub(crate) fn parse(option: &str, text: &str) -> Result<Self> {
        let stripped = text.strip_suffix('/');
        let body = stripped.unwrap_or(text);
        let pattern = Pattern::new(body.strip_prefix('/').unwrap_or(body));
        let failed = |error: glob::PatternError| {
            Error::misuse(format!("cannot {option} {text}"), error.to_string())
        };
        Ok(Self {
            text: text.to_owned(),
            pattern: pattern.map_err(failed)?,
            is_anchored: body.contains('/'),
            is_for_folders: stripped.is_some(),
            has_matched: false,
        })
    }

    pub(crate) fn matches(&self, name: &Path, is_folder: bool) -> bool {
        if self.is_for_folders && !is_folder {
            return false;
        }
        let part = if self.is_anchored {
            Some(name.as_os_str())
        } else {
            name.file_name()
        };
        // Names that are not UTF-8 look alike here.
        let text = part.unwrap_or_default().to_string_lossy();
        self.pattern.matches_with(&text, OPTIONS)
    }

    /// Whether it may match something in the folder, of which it begins with the name.
    pub(crate) fn leads_into(&self, folder: &Path) -> bool {
        let text = Path::new(self.text.trim_start_matches('/'));
        self.is_anchored && text != folder && text.starts_with(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_mean_what_they_mean_in_a_gitignore() {
        let matches = |glob: &str, name: &str, is_folder: bool| {
            Glob::parse("exclude", glob).is_ok_and(|glob| glob.matches(Path::new(name), is_folder))
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
