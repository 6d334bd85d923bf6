//! Finds the handler that a name means, and checks its file.
//!
//! The checks come before anything is started, so each fault has an errorType of its own.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::bash::shell_word;
use crate::encoding::{BadEncoding, has_crlf_line_ends};
use crate::executable::{Interpreter, interpreter_exists, machine_of};
use crate::failure::{Failure, Frame, LoadError, quote_log_tail};
use crate::name::{as_relative, is_function_name, split_function};
use crate::suggestion::Suggestion;
use crate::words;

/// As many bytes of a file as show what it is: its encoding, an ELF header, a first line, of which Linux reads 255 bytes;
/// `execve(2)`.
const START_BYTES: u64 = 4096;

type Result<T> = std::result::Result<T, LoadError>;

/// What an invocation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// The name that the user gave, for messages.
    pub name: String,
    /// The file's path, which begins with the task root.
    pub file: PathBuf,
    pub kind: Kind,
    /// The arguments in the name, for a whole script or an executable.
    pub arguments: Vec<OsString>,
}

/// How a handler is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// bash sources the file once, and calls this function of it for each event.
    Function(String),
    /// bash runs the whole file for each event.
    Script(Interpreter),
    /// Linux executes the file for each event.
    Program,
}

impl Handler {
    /// Finds what `name` means: a file under `task_root`, with or without arguments behind it, or else `file.function`
    /// or `file.sh.function`. The file may be in a folder; the last dot separates the function.
    ///
    /// # Errors
    /// If there is no name, the name means nothing, or its file is missing, unreadable, damaged by an editor, or no bash
    /// script and not executable.
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
        if path.is_file() {
            return Self::from_file(text, path, Vec::new());
        }
        let words = words::split(name.as_bytes());
        if let Ok(words) = &words
            && let [first, arguments @ ..] = words.as_slice()
        {
            let path = task_root.join(as_relative(first));
            if !first.is_empty() && path.is_file() {
                return Self::from_file(text, path, arguments.to_vec());
            }
        }
        let function = split_function(&text).filter(|(_, function)| is_function_name(function));
        let Some((file, function)) = function else {
            return Err(malformed_name(&text, &words, task_root));
        };
        let handler = Self {
            file: task_root.join(format!("{}.sh", file.trim_start_matches('/'))),
            kind: Kind::Function(function.to_owned()),
            name: text.clone(),
            arguments: Vec::new(),
        };
        // `missing.sh -t 0.5` is a script with arguments, and not the function `5`.
        if !handler.file.exists()
            && let Ok([first, _, ..]) = words.as_deref()
            && first.to_string_lossy().contains('.')
        {
            return Err(malformed_name(&text, &words, task_root));
        }
        if !handler.file.exists() {
            let cause = format!(
                "{}: {}",
                handler.file.display(),
                io::Error::from_raw_os_error(2)
            );
            let function = Some(handler.label());
            return Err(LoadError {
                suggestion: Suggestion::for_name(&handler.name, function, task_root).map(Box::new),
                ..handler.load_error("Runtime.ImportModuleError", &cause)
            });
        }
        let text = handler.read()?;
        handler.check_text(&text)?;
        Ok(handler)
    }

    /// The handler's name in messages about its invocations: the function, or the name of the file with its arguments.
    pub fn label(&self) -> &str {
        match &self.kind {
            Kind::Function(function) => function,
            Kind::Script(_) | Kind::Program => &self.name,
        }
    }

    /// The part of the name that is the file, without arguments.
    pub fn file_name(&self) -> String {
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

    /// A handler without a function. The file is a bash script if its first line names bash or sh, or no interpreter.
    fn from_file(name: String, file: PathBuf, arguments: Vec<OsString>) -> Result<Self> {
        let mut handler = Self {
            name,
            file,
            kind: Kind::Program,
            arguments,
        };
        let is_executable = access(&handler.file, AccessFlags::X_OK).is_ok();
        let mut start = Vec::new();
        let opened = File::open(&handler.file);
        let read = opened.and_then(|file| file.take(START_BYTES).read_to_end(&mut start));
        // Linux can execute a program that we cannot read.
        if read.is_err() && is_executable {
            return Ok(handler);
        }
        handler.check_encoding(&start)?;
        let first_line = start
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        if let Some(line) = first_line.strip_prefix(b"#!") {
            if line.ends_with(b"\r") || first_line == start && line.contains(&b'\r') {
                return Err(handler.line_end_error(&start));
            }
            let line = String::from_utf8_lossy(line).into_owned();
            match Interpreter::parse(&line) {
                Ok(Some(interpreter)) => handler.kind = Kind::Script(interpreter),
                Ok(None) => handler.check_interpreter(&line)?,
                Err(option) => {
                    let cause = format!(
                        "{}: its first line has the option {option}, with which bash does not run a script",
                        handler.file.display()
                    );
                    return Err(handler.load_error("Runtime.UnsupportedOption", &cause));
                }
            }
        } else if !first_line.contains(&0) {
            handler.kind = Kind::Script(Interpreter::default());
        }
        match handler.kind {
            Kind::Script(_) => {
                let text = handler.read()?;
                handler.check_text(&text)?;
            }
            _ if !is_executable => {
                let file = handler.file.display();
                let cause = format!(
                    "{file}: it is not a bash script, and not executable; if it is a program, run: chmod +x {file}"
                );
                return Err(handler.load_error("Runtime.HandlerFileNotExecutable", &cause));
            }
            _ => handler.check_machine(&start)?,
        }
        Ok(handler)
    }

    /// Reading a FIFO or a device might never end.
    fn read(&self) -> Result<Vec<u8>> {
        let text = match fs::metadata(&self.file) {
            Ok(of_file) if !of_file.is_file() && !of_file.is_dir() => {
                Err(io::Error::other("not a regular file"))
            }
            _ => fs::read(&self.file),
        };
        text.map_err(|error| {
            let error_type = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    "Runtime.ImportModuleError"
                }
                _ => "Runtime.HandlerFileUnreadable",
            };
            self.load_error(error_type, &format!("{}: {error}", self.file.display()))
        })
    }

    /// Finds what an editor may have done to a script.
    fn check_text(&self, text: &[u8]) -> Result<()> {
        self.check_encoding(text)?;
        if has_crlf_line_ends(text) || text.ends_with(b"\r") && !text.contains(&b'\n') {
            return Err(self.line_end_error(text));
        }
        Ok(())
    }

    fn check_encoding(&self, text: &[u8]) -> Result<()> {
        let Some(encoding) = BadEncoding::detect(text) else {
            return Ok(());
        };
        let file = &self.file;
        let cause = format!("{}: {}", file.display(), encoding.describe(file));
        Err(self.load_error("Runtime.HandlerFileEncoding", &cause))
    }

    fn line_end_error(&self, text: &[u8]) -> LoadError {
        let file = self.file.display();
        let (ends, command) = if text.contains(&b'\n') {
            ("CR LF", "s/\\r$//")
        } else {
            ("CR alone", "s/\\r/\\n/g")
        };
        let cause = format!(
            "{file}: its lines end in {ends}, and bash reads the CR as part of each command; \
             convert it with: sed -i '{command}' {}",
            shell_word(&self.file.to_string_lossy())
        );
        self.load_error("Runtime.HandlerFileLineEnds", &cause)
    }

    /// Without this check, the system would report that the file itself does not exist.
    fn check_interpreter(&self, line: &str) -> Result<()> {
        if interpreter_exists(line) {
            return Ok(());
        }
        let cause = format!(
            "{}: the interpreter in its first line does not exist: {}",
            self.file.display(),
            line.trim()
        );
        Err(self.load_error("Runtime.InterpreterNotFound", &cause))
    }

    fn check_machine(&self, start: &[u8]) -> Result<()> {
        let ours = std::env::consts::ARCH;
        let Some(machine) = machine_of(start).filter(|machine| *machine != ours) else {
            return Ok(());
        };
        let file = self.file.display();
        let cause = format!("{file}: it is a program for {machine}, but this machine is {ours}");
        Err(self.load_error("Runtime.HandlerFileNotExecutable", &cause))
    }

    /// An init error about this handler: `cannot load handler <name>: <cause>`.
    pub fn load_error(&self, error_type: &'static str, cause: &str) -> LoadError {
        let message = format!("cannot load handler {}: {cause}", self.name);
        LoadError::new(error_type, message, None)
    }

    /// Like [`Handler::load_error`], with the place where bash was and the end of the log.
    pub fn load_error_at(
        &self,
        error_type: &'static str,
        cause: &str,
        stack: Vec<Frame>,
        log_tail: &str,
    ) -> LoadError {
        let quoted = quote_log_tail(log_tail);
        let message = format!("cannot load handler {}: {cause}{quoted}", self.name);
        LoadError {
            failure: Failure {
                error_type: error_type.into(),
                message,
                stack,
                quoted_bytes: quoted.len(),
            },
            suggestion: None,
        }
    }
}

/// The error for a name that is neither a file nor a file and a function.
fn malformed_name(
    name: &str,
    words: &std::result::Result<Vec<OsString>, char>,
    task_root: &Path,
) -> LoadError {
    let root = task_root.display();
    let mut suggestion = Suggestion::for_name(name, None, task_root);
    let cause = match words.as_deref() {
        Ok([first, _, ..]) => {
            let first = first.to_string_lossy();
            let function_file =
                split_function(&first).map(|(file, _)| task_root.join(format!("{file}.sh")));
            if function_file.is_some_and(|file| file.is_file()) {
                format!("a function takes no arguments; use the name {first} alone")
            } else {
                suggestion = suggestion.or_else(|| Suggestion::for_name(&first, None, task_root));
                format!("there is no script or executable {first} in {root} to take the arguments")
            }
        }
        Err('\\') => "nothing follows the backslash at its end".to_owned(),
        Err(quote) => format!("the quote {quote} in it is not closed"),
        Ok(_) if split_function(name).is_some_and(|(_, function)| function.contains('=')) => {
            "bash cannot look up a function with = in its name; rename it".to_owned()
        }
        Ok(_) => {
            format!("expected file.function or file.sh.function, or the name of a file in {root}")
        }
    };
    let message = format!("cannot load handler {name}: {cause}");
    LoadError::new("Runtime.MalformedHandlerName", message, suggestion)
}
