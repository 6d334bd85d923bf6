//! What Linux needs to execute a file: the interpreter in a first line that begins with `#!`, or the processor that a
//! program is compiled for.

use std::path::Path;

/// How the first line of a script starts bash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interpreter {
    /// The line names `sh`, or has `--posix`.
    pub is_posix: bool,
    /// Options that `set` takes.
    pub options: Vec<String>,
    /// Options that bash takes only when it starts.
    pub start_options: Vec<String>,
}

/// The letters that `set` takes, from `help set`, without `n` and `t`: with these it would run nothing.
const SET_OPTIONS: &str = "abefhkmpuvxBCEHPTo";

impl Interpreter {
    /// Reads a first line without its `#!`; `None` if it names another program than bash or sh.
    ///
    /// # Errors
    /// An option with which bash would not run the script.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, String> {
        let mut words = line.split_whitespace().peekable();
        let mut program = words.next().unwrap_or_default();
        if is_env(program) {
            let _ = words.next_if_eq(&"-S");
            program = words.next().unwrap_or_default();
        }
        let mut found = Self::default();
        match program.rsplit('/').next() {
            Some("bash") => {}
            Some("sh") => found.is_posix = true,
            _ => return Ok(None),
        }
        while let Some(word) = words.next() {
            let letters = word.strip_prefix(['-', '+']).unwrap_or_default();
            match word {
                "-" | "--" => break,
                "--posix" => found.is_posix = true,
                "-l" | "--login" | "-r" | "--restricted" | "--noprofile" | "--norc" => {
                    found.start_options.push(word.to_owned());
                }
                _ if !letters.is_empty()
                    && letters.chars().all(|letter| SET_OPTIONS.contains(letter)) =>
                {
                    found.options.push(word.to_owned());
                    if letters.ends_with('o') {
                        found.options.extend(words.next().map(ToOwned::to_owned));
                    }
                }
                _ => return Err(word.to_owned()),
            }
        }
        Ok(Some(found))
    }
}

/// Whether the program that a first line names exists: of `env prog`, whether `prog` is along `PATH`.
pub(crate) fn interpreter_exists(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    match words.next() {
        Some(argument) if is_env(program) => is_along_path(argument),
        _ => Path::new(program).exists(),
    }
}

fn is_env(program: &str) -> bool {
    program.ends_with("/env")
}

fn is_along_path(program: &str) -> bool {
    // After an option or an assignment, env itself has to find the program.
    if program.starts_with('-') || program.contains('=') || program.contains('/') {
        return true;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// The processor in the header of an ELF file, `elf(5)`, as `std::env::consts::ARCH` spells it; `None` for other files,
/// and for processors that Lambda does not have.
pub fn machine_of(start: &[u8]) -> Option<&'static str> {
    match (start.get(..4)?, start.get(18..20)?) {
        (b"\x7fELF", [62, 0]) => Some("x86_64"),
        (b"\x7fELF", [183, 0]) => Some("aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_says_how_bash_is_started() {
        let parse = |line: &str| Interpreter::parse(line).ok().flatten().unwrap_or_default();
        assert_eq!(parse("/bin/bash"), Interpreter::default());
        assert_eq!(parse(" /usr/bin/env bash"), Interpreter::default());
        assert_eq!(parse("/bin/bash -"), Interpreter::default());
        assert!(parse("/bin/sh").is_posix && parse("/bin/bash --posix").is_posix);
        assert_eq!(parse("/bin/sh -eu").options, ["-eu"]);
        let with_env = parse("/usr/bin/env -S bash -eo pipefail --login");
        assert_eq!(with_env.options, ["-eo", "pipefail"]);
        assert_eq!(with_env.start_options, ["--login"]);
        assert_eq!(Interpreter::parse("/usr/bin/python3"), Ok(None));
        assert_eq!(Interpreter::parse("/usr/bin/env python3 -u"), Ok(None));
        assert_eq!(Interpreter::parse("/bin/bash -i"), Err("-i".to_owned()));
    }
}
