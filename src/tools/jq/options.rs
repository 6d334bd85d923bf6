//! The command line of jq.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jaq_json::{Map, Val};

use super::parse::parse;
use super::write::Style;
use crate::call::Place;

/// The version of jq whose options and messages these are.
const VERSION: &str = "jq-1.7 (jaq in coshell)";
const USAGE: &str = "Usage: jq [OPTIONS] FILTER [FILE]...\n";

#[derive(Debug)]
// Each is an option of its own.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Options {
    /// The filter's text.
    pub filter: String,
    pub files: Vec<PathBuf>,
    pub library: Vec<PathBuf>,
    /// `$NAME` and its value, `$ARGS` among them.
    pub variables: Vec<(String, Val)>,
    pub style: Style,
    pub form: Form,
    pub has_null_input: bool,
    pub is_slurped: bool,
    pub is_raw_input: bool,
    pub is_streamed: bool,
    pub has_exit_status: bool,
    pub is_sequence: bool,
    pub is_unbuffered: bool,
}

/// How strings are written, and what follows a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// `-r`
    Raw,
    /// `-j`
    Joined,
    /// `--raw-output0`
    Nul,
}

/// Why no filter is run.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What to print to standard output.
    Text(String),
    /// The message of an error; the status is 2.
    Error(String),
}

impl Stop {
    fn error(message: impl Into<String>) -> Self {
        Self::Error(message.into())
    }
}

/// Takes the place of the bytes in `arguments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Files,
    Texts,
    Json,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            filter: ".".to_owned(),
            files: Vec::new(),
            library: Vec::new(),
            variables: Vec::new(),
            style: Style {
                indent: Some("  ".to_owned()),
                ..Style::compact()
            },
            form: Form::Json,
            has_null_input: false,
            is_slurped: false,
            is_raw_input: false,
            is_streamed: false,
            has_exit_status: false,
            is_sequence: false,
            is_unbuffered: false,
        }
    }
}

impl Options {
    pub(crate) fn read(arguments: &[Vec<u8>], place: Place) -> Result<Self, Stop> {
        let mut options = Self::default();
        let mut filter = None;
        let (mut rest, mut is_file, mut has_ended) = (Rest::Files, false, false);
        let mut positional = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            // `-1` and `-(.a)` are filters.
            let is_option =
                !has_ended && matches!(argument[..], [b'-', b'-' | b'a'..=b'z' | b'A'..=b'Z', ..]);
            if !is_option {
                match (&filter, rest) {
                    (None, _) => filter = Some(argument),
                    (_, Rest::Files) => options.files.push(OsStr::from_bytes(argument).into()),
                    (_, Rest::Texts) => positional.push(text(argument)),
                    (_, Rest::Json) => positional.push(json(argument, "--jsonargs")?),
                }
                continue;
            }
            let mut value = |option: &str, what: &str| {
                let value = arguments.next();
                value.ok_or_else(|| Stop::error(format!("error: {option} takes {what}")))
            };
            match str::from_utf8(argument).unwrap_or_default() {
                "--" => has_ended = true,
                "--args" => rest = Rest::Texts,
                "--jsonargs" => rest = Rest::Json,
                "--from-file" => is_file = true,
                "--library-path" => {
                    let folder = value("--library-path", "a folder")?;
                    options
                        .library
                        .push(place.path(Path::new(OsStr::from_bytes(folder))));
                }
                "--indent" => {
                    let number = value("--indent", "a number")?;
                    options.indent(number)?;
                }
                named @ ("--arg" | "--argjson" | "--slurpfile" | "--rawfile") => {
                    let name = value(named, "two arguments")?;
                    let given = value(named, "two arguments")?;
                    options.variable(named, name, given, place)?;
                }
                long if long.starts_with("--") => options.long(long)?,
                short => {
                    let letters = short[1..].char_indices();
                    for (at, letter) in letters {
                        match letter {
                            'f' => is_file = true,
                            'L' => {
                                let attached = &argument[at + 2..];
                                let folder = if attached.is_empty() {
                                    value("-L", "a folder")?
                                } else {
                                    attached
                                };
                                options
                                    .library
                                    .push(place.path(Path::new(OsStr::from_bytes(folder))));
                                break;
                            }
                            _ => options.short(letter)?,
                        }
                    }
                    if short.is_empty() {
                        return Err(Stop::error("error: an option is not UTF-8"));
                    }
                }
            }
        }
        if let Some(given) = filter {
            options.filter = if is_file {
                let name = Path::new(OsStr::from_bytes(given));
                let read = place.read(name);
                let fails = |error| {
                    let name = name.display();
                    Stop::error(format!("error: Could not open {name}: {error}"))
                };
                lossy(&read.map_err(fails)?)
            } else {
                lossy(given)
            };
        }
        options.add_arguments(positional);
        Ok(options)
    }

    fn variable(
        &mut self,
        option: &str,
        name: &[u8],
        given: &[u8],
        place: Place,
    ) -> Result<(), Stop> {
        let value = match option {
            "--arg" => text(given),
            "--argjson" => json(given, &format!("--argjson {}", lossy(name)))?,
            _ => of_file(place, option, name, given)?,
        };
        let name = format!("${}", lossy(name));
        if !self.variables.iter().any(|(known, _)| *known == name) {
            self.variables.push((name, value));
        }
        Ok(())
    }

    fn indent(&mut self, number: &[u8]) -> Result<(), Stop> {
        let number = str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse::<i64>().ok());
        let count = match number {
            Some(number @ 0..=7) => usize::try_from(number).unwrap_or_default(),
            Some(..0) => return Err(Stop::error("error: Cannot indent less than zero")),
            Some(_) => return Err(Stop::error("error: Cannot indent more than 7 characters")),
            None => return Err(Stop::error("error: --indent takes a number")),
        };
        self.style.indent = (count > 0).then(|| " ".repeat(count));
        Ok(())
    }

    fn long(&mut self, option: &str) -> Result<(), Stop> {
        match option {
            "--slurp" => self.is_slurped = true,
            "--raw-output" => self.form = Form::Raw,
            "--join-output" => self.form = Form::Joined,
            "--raw-output0" => self.form = Form::Nul,
            "--ascii-output" => self.style.is_ascii = true,
            "--null-input" => self.has_null_input = true,
            "--raw-input" => self.is_raw_input = true,
            "--compact-output" => self.style.indent = None,
            "--monochrome-output" => {}
            "--sort-keys" => self.style.sorts_keys = true,
            "--tab" => self.style.indent = Some("\t".to_owned()),
            "--exit-status" => self.has_exit_status = true,
            "--unbuffered" => self.is_unbuffered = true,
            "--seq" => self.is_sequence = true,
            "--stream" => self.is_streamed = true,
            "--help" => return Err(Stop::Text(USAGE.to_owned())),
            "--version" => return Err(Stop::Text(format!("{VERSION}\n"))),
            "--color-output" | "--stream-errors" | "--argfile" => {
                return Err(Stop::error(format!("error: coshell's jq has no {option}")));
            }
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    fn short(&mut self, letter: char) -> Result<(), Stop> {
        let option = match letter {
            's' => "--slurp",
            'r' => "--raw-output",
            'j' => "--join-output",
            'a' => "--ascii-output",
            'n' => "--null-input",
            'R' => "--raw-input",
            'c' => "--compact-output",
            'M' => "--monochrome-output",
            'C' => "--color-output",
            'S' => "--sort-keys",
            'e' => "--exit-status",
            'h' => "--help",
            'V' => "--version",
            _ => return Err(unknown(&format!("-{letter}"))),
        };
        self.long(option)
    }

    /// Adds `$ARGS`.
    fn add_arguments(&mut self, positional: Vec<Val>) {
        let named: Map = self
            .variables
            .iter()
            .map(|(name, value)| {
                let name = name.strip_prefix('$').unwrap_or(name);
                (Val::from(name.to_owned()), value.clone())
            })
            .collect();
        let members = [
            (
                Val::from("positional".to_owned()),
                positional.into_iter().collect(),
            ),
            (Val::from("named".to_owned()), Val::obj(named)),
        ];
        let members: Map = members.into_iter().collect();
        self.variables.push(("$ARGS".to_owned(), Val::obj(members)));
    }
}

fn unknown(option: &str) -> Stop {
    Stop::error(format!("error: Unknown option: {option}\n{USAGE}"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(bytes: &[u8]) -> Val {
    Val::from(lossy(bytes))
}

fn json(bytes: &[u8], option: &str) -> Result<Val, Stop> {
    let message = || format!("error: Invalid JSON text passed to {option}");
    parse(bytes).map_err(|_| Stop::error(message()))
}

/// The value of `--slurpfile` or `--rawfile`.
fn of_file(place: Place, option: &str, name: &[u8], file: &[u8]) -> Result<Val, Stop> {
    let path = Path::new(OsStr::from_bytes(file));
    let fails = |cause: &dyn std::fmt::Display| {
        let (name, path) = (lossy(name), path.display());
        Stop::error(format!(
            "error: Bad JSON in {option} {name} {path}: {cause}"
        ))
    };
    let bytes = place.read(path).map_err(|error| {
        let (name, path) = (lossy(name), path.display());
        Stop::error(format!(
            "error: Could not open {path} of {option} {name}: {error}"
        ))
    })?;
    if option == "--rawfile" {
        return Ok(text(&bytes));
    }
    super::input::values_in(&bytes).map_err(|cause| fails(&cause))
}
