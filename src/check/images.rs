//! The commands that an image has: data, with its sources.
//!
//! The list of an image is a file in `images/`. Its head says where each part comes from and how sure it is. An image may
//! also have commands that are not in its list, so findings about these are worded with care.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

/// What an image's list says about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    /// The image has the command.
    Present,
    /// The image lacks the command, which this package contains.
    Missing(&'static str),
    /// A search found that the image lacks the command.
    Absent,
    /// The command is not in the list.
    Unknown,
}

/// An image whose commands are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Image {
    /// `provided:al2023`, and the OS-only runtime of that name
    Al2023,
    /// The image that coshell runs in: commands are searched for in PATH
    Here,
    /// No image: commands are not checked
    None,
}

/// The commands of an image, and commands that can be installed in it, each with its package.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    present: BTreeMap<&'static str, &'static str>,
    missing: BTreeMap<&'static str, &'static str>,
    /// The folders of PATH, if the image is the one that coshell runs in.
    folders: Option<Vec<PathBuf>>,
}

impl Image {
    /// The image's name as an option's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Al2023 => "al2023",
            Self::Here => "here",
            Self::None => "none",
        }
    }

    /// What the image has; `None` for [`Image::None`].
    pub(crate) fn commands(self) -> Option<Commands> {
        match self {
            Self::Al2023 => Some(Commands::parse(include_str!("images/al2023.txt"))),
            Self::Here => Some(Commands::along_path()),
            Self::None => None,
        }
    }
}

impl Commands {
    fn parse(text: &'static str) -> Self {
        let mut commands = Self::default();
        for line in text.lines() {
            let (into, rest) = match line.split_at_checked(2) {
                Some(("+ " | "? ", rest)) => (&mut commands.present, rest),
                Some(("- ", rest)) => (&mut commands.missing, rest),
                _ => continue,
            };
            let (package, names) = rest.split_once(": ").unwrap_or_default();
            into.extend(names.split_whitespace().map(|name| (name, package)));
        }
        commands
    }

    fn along_path() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self {
            folders: Some(env::split_paths(&path).collect()),
            ..Self::default()
        }
    }

    pub(crate) fn find(&self, command: &str) -> Availability {
        if let Some(folders) = &self.folders {
            let files = folders.iter().map(|folder| folder.join(command));
            let mut programs = files.filter(|file| file.is_file());
            let is_present = programs.any(|file| access(&file, AccessFlags::X_OK).is_ok());
            return if is_present {
                Availability::Present
            } else {
                Availability::Absent
            };
        }
        if self.present.contains_key(command) {
            Availability::Present
        } else if let Some(package) = self.missing.get(command) {
            Availability::Missing(package)
        } else {
            Availability::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_has_what_the_tutorial_needs_and_not_jq() {
        let commands = Image::Al2023.commands().unwrap_or_default();
        for name in ["curl", "grep", "tr", "cut", "mktemp", "bash", "sed", "["] {
            assert_eq!(commands.find(name), Availability::Present, "{name}");
        }
        assert_eq!(commands.find("jq"), Availability::Missing("jq"));
        assert_eq!(commands.find("xargs"), Availability::Missing("findutils"));
        assert_eq!(commands.find("mytool"), Availability::Unknown);
        assert!(Image::None.commands().is_none());
    }

    #[test]
    fn every_line_of_the_list_is_understood_and_no_command_is_listed_twice() {
        let text = include_str!("images/al2023.txt");
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (package, names) = line.split_once(": ").unwrap_or_default();
            assert!(
                ["+ ", "? ", "- "]
                    .iter()
                    .any(|kind| package.starts_with(kind)),
                "{line}"
            );
            for name in names.split_whitespace() {
                assert_eq!(seen.insert(name, package), None, "{name}");
            }
        }
    }
}
