//! What `_HANDLER` names: a function in a file, a whole script, an executable.
//!
//! Checked before anything is started, so that each fault has a name of its own. What only bash
//! can tell (a syntax error, a missing function) is told by `shell/` and `program/`, in the same
//! words, of which [`Failure`] is made.

pub mod bash;
mod delivery;
pub mod encoding;
mod failure;
mod files;
pub mod shape;
mod suggestion;
mod syntax;
mod words;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use encoding::Damage;

pub use delivery::Delivery;
pub use failure::{Failure, Frame, LoadError, quoted};
pub use files::files_below;
pub use suggestion::{Suggestion, nearest};
pub use syntax::{no_commands, syntax_error, undefined};

type Result<T> = std::result::Result<T, LoadError>;

/// What an invocation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// As it was named, for texts.
    pub name: String,
    /// The file, under the task root.
    pub file: PathBuf,
    /// How it is run.
    pub kind: Kind,
    /// What a whole script or an executable gets as its arguments, as the name gives them.
    pub arguments: Vec<OsString>,
}

/// How a handler is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The file is sourced once, and this function of it called.
    Function(String),
    /// The file is a script of bash's.
    Script(Interpreter),
    /// The file is executed.
    Program,
}

/// What the first line of a script asks of bash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interpreter {
    /// It says `sh`.
    pub is_posix: bool,
    /// Options that `set` takes.
    pub options: Vec<String>,
    /// Options that bash takes when it is started, and not later.
    pub start_options: Vec<String>,
}

impl Handler {
    /// Finds what `name` means: the name of a file under `task_root`, such a name with arguments behind it, or else
    /// `file.function` or `file.sh.function`, where the file may lie in a folder; the last dot separates the function.
    ///
    /// # Errors
    /// [`LoadError`] when nothing is named, when the name means nothing, when the file is
    /// missing, cannot be read, or has the line ends of Windows, and when a file that is no script
    /// of bash's cannot be executed.
    pub fn find(name: Option<&OsStr>, task_root: &Path) -> Result<Self> {
        let Some(name) = name else {
            let message = "cannot load handler: neither an argument nor _HANDLER names one";
            return Err(LoadError::new(
                "Runtime.MissingHandlerName",
                message.to_owned(),
                None,
            ));
        };
        let text = name.to_string_lossy().into_owned();
        let path = task_root.join(as_relative(name));
        if is_file(&path) {
            return Self::of_file(text, path, Vec::new());
        }
        let words = words::split(name.as_bytes());
        if let Ok(words) = &words
            && let [first, arguments @ ..] = words.as_slice()
        {
            let path = task_root.join(as_relative(first));
            if !first.is_empty() && is_file(&path) {
                return Self::of_file(text, path, arguments.to_vec());
            }
        }
        let function = split(&text).filter(|(_, function)| is_function_name(function));
        let Some((file, function)) = function else {
            return Err(malformed(&text, &words, task_root));
        };
        let handler = Self {
            file: task_root.join(format!("{}.sh", file.trim_start_matches('/'))),
            kind: Kind::Function(function.to_owned()),
            name: text.clone(),
            arguments: Vec::new(),
        };
        // `missing.sh -t 0.5`: the words mean more than what stands before the last dot.
        if !handler.file.exists()
            && let Ok([first, _, ..]) = words.as_deref()
            && first.to_string_lossy().contains('.')
        {
            return Err(malformed(&text, &words, task_root));
        }
        if !handler.file.exists() {
            let cause = format!(
                "{}: {}",
                handler.file.display(),
                io::Error::from_raw_os_error(2)
            );
            let function = Some(handler.label());
            return Err(LoadError {
                suggestion: Suggestion::for_name(&handler.name, function, task_root),
                ..handler.fault("Runtime.ImportModuleError", &cause)
            });
        }
        let text = handler.read()?;
        handler.check_line_ends(&text)?;
        Ok(handler)
    }

    /// What texts call it: the function, or the file as it was named.
    pub fn label(&self) -> &str {
        match &self.kind {
            Kind::Function(function) => function,
            Kind::Script(_) | Kind::Program => &self.name,
        }
    }

    /// The file as it was named, without the arguments behind it.
    pub fn named_file(&self) -> String {
        if self.file.ends_with(as_relative(self.name.as_ref())) {
            return self.name.clone();
        }
        let words = words::split(self.name.as_bytes());
        let first = words.ok().and_then(|words| words.into_iter().next());
        first.map_or_else(
            || self.name.clone(),
            |first| first.to_string_lossy().into_owned(),
        )
    }

    /// A whole file: a script of bash's if its first line names bash or sh, or nothing at all.
    fn of_file(name: String, file: PathBuf, arguments: Vec<OsString>) -> Result<Self> {
        let mut handler = Self {
            name,
            file,
            kind: Kind::Program,
            arguments,
        };
        // A program need not be readable to be executed.
        let is_executable = access(&handler.file, AccessFlags::X_OK).is_ok();
        let mut start = Vec::new();
        let read =
            File::open(&handler.file).and_then(|file| file.take(4096).read_to_end(&mut start));
        if read.is_err() && is_executable {
            return Ok(handler);
        }
        handler.check_encoding(&start)?;
        let first_line = start
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        if let Some(line) = first_line.strip_prefix(b"#!") {
            if line.ends_with(b"\r") {
                return Err(handler.line_ends_fault());
            }
            let line = String::from_utf8_lossy(line).into_owned();
            match interpreter(&line) {
                Ok(Some(interpreter)) => handler.kind = Kind::Script(interpreter),
                Ok(None) => handler.check_interpreter(&line)?,
                Err(option) => {
                    let cause = format!(
                        "{}: its first line gives {option}, with which bash does not run a script",
                        handler.file.display()
                    );
                    return Err(handler.fault("Runtime.UnsupportedOption", &cause));
                }
            }
        } else if !first_line.contains(&0) {
            handler.kind = Kind::Script(Interpreter::default());
        }
        match handler.kind {
            Kind::Script(_) => {
                let text = handler.read()?;
                handler.check_line_ends(&text)?;
            }
            _ if !is_executable => {
                let file = handler.file.display();
                let cause = format!(
                    "{file}: it is no script of bash's, and not executable; if it is a program: \
                     chmod +x {file}"
                );
                return Err(handler.fault("Runtime.HandlerFileNotExecutable", &cause));
            }
            _ => handler.check_machine(&start)?,
        }
        Ok(handler)
    }

    fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.file).map_err(|error| {
            let error_type = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    "Runtime.ImportModuleError"
                }
                _ => "Runtime.HandlerFileUnreadable",
            };
            self.fault(error_type, &format!("{}: {error}", self.file.display()))
        })
    }

    /// What an editor may have done to the file.
    fn check_line_ends(&self, text: &[u8]) -> Result<()> {
        self.check_encoding(text)?;
        if has_line_ends_of_windows(text) {
            return Err(self.line_ends_fault());
        }
        Ok(())
    }

    fn check_encoding(&self, text: &[u8]) -> Result<()> {
        let Some(damage) = Damage::of(text) else {
            return Ok(());
        };
        let cause = format!("{}: {}", self.file.display(), damage.text(&self.file));
        Err(self.fault("Runtime.HandlerFileEncoding", &cause))
    }

    fn line_ends_fault(&self) -> LoadError {
        let file = self.file.display();
        let cause = format!(
            "{file}: its lines end in CR LF, which bash takes for a part of each command; \
             convert it with: sed -i 's/\\r$//' {file}"
        );
        self.fault("Runtime.HandlerFileLineEnds", &cause)
    }

    /// The system would say that the file itself does not exist.
    fn check_interpreter(&self, line: &str) -> Result<()> {
        let mut words = interpreter_words(line);
        let program = words.next().unwrap_or_default();
        let is_there = match words.as_slice().first() {
            Some(named) if is_env(program) => along_path(named),
            _ => Path::new(program).exists(),
        };
        if is_there {
            return Ok(());
        }
        let cause = format!(
            "{}: the interpreter that its first line names is not there: {}",
            self.file.display(),
            line.trim()
        );
        Err(self.fault("Runtime.InterpreterNotFound", &cause))
    }

    /// The likely mistake on Lambda, of the two machines that it has.
    fn check_machine(&self, start: &[u8]) -> Result<()> {
        let machine = match start {
            [0x7f, b'E', b'L', b'F', rest @ ..] => match rest.get(14..16) {
                Some([62, 0]) => "x86_64",
                Some([183, 0]) => "aarch64",
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let ours = std::env::consts::ARCH;
        if machine == ours {
            return Ok(());
        }
        let file = self.file.display();
        let cause = format!("{file}: it is a program for {machine}, and this machine is {ours}");
        Err(self.fault("Runtime.HandlerFileNotExecutable", &cause))
    }

    /// An init error about this handler: `cannot load handler <name>: <cause>`.
    pub fn fault(&self, error_type: &'static str, cause: &str) -> LoadError {
        let message = format!("cannot load handler {}: {cause}", self.name);
        LoadError::new(error_type, message, None)
    }

    /// As [`Handler::fault`], with where bash was, and the end of the log.
    pub fn fault_at(
        &self,
        error_type: &'static str,
        cause: &str,
        stack: Vec<Frame>,
        tail: &str,
    ) -> LoadError {
        let quoted = quoted(tail);
        let message = format!("cannot load handler {}: {cause}{quoted}", self.name);
        LoadError {
            failure: Failure {
                error_type,
                message,
                stack,
                quoted_bytes: quoted.len(),
            },
            suggestion: None,
        }
    }
}

/// A here-document may hold a CRLF; a file in which each line ends so came from Windows.
pub fn has_line_ends_of_windows(text: &[u8]) -> bool {
    let lines = memchr::memchr_iter(b'\n', text);
    let mut ends = lines.map(|at| at > 0 && text[at - 1] == b'\r').peekable();
    ends.peek().is_some() && ends.all(|is_crlf| is_crlf)
}

/// A name that means nothing: what it has instead of a file, or of a file and a function, and what was likely meant.
fn malformed(
    name: &str,
    words: &std::result::Result<Vec<OsString>, char>,
    task_root: &Path,
) -> LoadError {
    let root = task_root.display();
    let mut suggestion = Suggestion::for_name(name, None, task_root);
    let cause = match words.as_deref() {
        Ok([first, _, ..]) => {
            let first = first.to_string_lossy();
            let function = split(&first).map(|(file, _)| task_root.join(format!("{file}.sh")));
            if function.is_some_and(|file| is_file(&file)) {
                format!("a function takes no arguments; name {first} alone")
            } else {
                suggestion = suggestion.or_else(|| Suggestion::for_name(&first, None, task_root));
                format!("there is no file {first} in {root}, which could take arguments")
            }
        }
        Err('\\') => "nothing follows the backslash at its end".to_owned(),
        Err(quote) => format!("the quote {quote} in it is not closed"),
        Ok(_) => {
            format!("expected file.function or file.sh.function, or the name of a file in {root}")
        }
    };
    let message = format!("cannot load handler {name}: {cause}");
    LoadError::new("Runtime.MalformedHandlerName", message, suggestion)
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}

/// Whether bash takes `name` for a single word without a quote. What is left of `.sh` is none: `function.sh:handler`.
fn is_function_name(name: &str) -> bool {
    let is_rest = |rest: &str| rest.starts_with([':', '/', '#']);
    !name.strip_prefix("sh").is_some_and(is_rest)
        && !name
            .contains(|letter: char| letter.is_whitespace() || "'\"\\`$&|;()<>".contains(letter))
}

fn as_relative(name: &OsStr) -> &Path {
    let path = Path::new(name);
    path.strip_prefix("/").unwrap_or(path)
}

fn interpreter_words(line: &str) -> std::vec::IntoIter<&str> {
    line.split_whitespace().collect::<Vec<_>>().into_iter()
}

fn is_env(program: &str) -> bool {
    program.ends_with("/env")
}

fn along_path(program: &str) -> bool {
    // An option or an assignment of env's: it finds the program itself.
    if program.starts_with('-') || program.contains('=') || program.contains('/') {
        return true;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// What the first line of a script, without `#!`, asks of bash; `None` if it names something else.
///
/// # Errors
/// The option with which bash would not run the script, or not as one.
fn interpreter(line: &str) -> std::result::Result<Option<Interpreter>, String> {
    let mut words = interpreter_words(line).peekable();
    let mut program = words.next().unwrap_or_default();
    if is_env(program) {
        let _ = words.next_if_eq(&"-S");
        program = words.next().unwrap_or_default();
    }
    let mut found = Interpreter::default();
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
            _ if !letters.is_empty() && letters.chars().all(|one| SET_OPTIONS.contains(one)) => {
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

/// The letters that `set` takes, `help set`; not `n` and `t`, with which it would run nothing.
const SET_OPTIONS: &str = "abefhkmpuvxBCEHPTo";

/// The file, without `.sh`, and the function; `None` if either is empty.
fn split(name: &str) -> Option<(&str, &str)> {
    let (file, function) = name.rsplit_once('.')?;
    let file = file.strip_suffix(".sh").unwrap_or(file);
    let stem = file.rsplit('/').next()?;
    (!stem.is_empty() && !function.is_empty() && !function.contains('/'))
        .then_some((file, function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_name_splits_at_its_last_dot() {
        assert_eq!(split("hello.greet"), Some(("hello", "greet")));
        assert_eq!(split("function.sh.handler"), Some(("function", "handler")));
        assert_eq!(split("lib/hello.greet"), Some(("lib/hello", "greet")));
        assert_eq!(split("a.b.greet"), Some(("a.b", "greet")));
    }

    #[test]
    fn first_line_says_how_bash_is_started() {
        let found = |line: &str| interpreter(line).ok().flatten().unwrap_or_default();
        assert_eq!(found("/bin/bash"), Interpreter::default());
        assert_eq!(found(" /usr/bin/env bash"), Interpreter::default());
        assert_eq!(found("/bin/bash -"), Interpreter::default());
        assert!(found("/bin/sh").is_posix && found("/bin/bash --posix").is_posix);
        assert_eq!(found("/bin/sh -eu").options, ["-eu"]);
        let split = found("/usr/bin/env -S bash -eo pipefail --login");
        assert_eq!(split.options, ["-eo", "pipefail"]);
        assert_eq!(split.start_options, ["--login"]);
        assert_eq!(interpreter("/usr/bin/python3"), Ok(None));
        assert_eq!(interpreter("/usr/bin/env python3 -u"), Ok(None));
        assert_eq!(interpreter("/bin/bash -i"), Err("-i".to_owned()));
    }

    #[test]
    fn half_a_handler_name_is_malformed() {
        for name in [
            "hello",
            "hello.",
            ".greet",
            ".sh.greet",
            "lib/.greet",
            "",
            ".",
            "a.b/c",
        ] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
