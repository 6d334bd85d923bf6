//! The options of `invoke` and `serve` that describe the function.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::{Args, ValueHint};

use crate::env_file::{Pair, read_dotenv, read_env_file};
use crate::error::Error;
use coshell_emulator::{Function, check_task_root};

/// Linux's limit for one variable with its name: `MAX_ARG_STRLEN`, execve(2).
const MAX_VARIABLE_BYTES: usize = 131_072;

/// The option for the folder of the code, which several subcommands share.
#[derive(Debug, Default, Args)]
pub struct TaskRoot {
    /// The folder of the code
    #[arg(
        long = "task-root",
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        help = "The folder of the code [default: $LAMBDA_TASK_ROOT if set, else the current directory]"
    )]
    pub task_root: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub struct FunctionArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "its own are the help")]
    pub task_root: TaskRoot,

    /// The limit for an invocation
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = parse_seconds,
        help = "The limit for an invocation [default: $AWS_LAMBDA_FUNCTION_TIMEOUT if set, else 300]"
    )]
    pub timeout: Option<Duration>,

    /// The memory size that the function sees
    #[arg(
        long,
        value_name = "MB",
        value_parser = clap::value_parser!(u32).range(128..=32768),
        help = "The memory size that the function sees. It is not enforced [default: \
                $AWS_LAMBDA_FUNCTION_MEMORY_SIZE if set, else 3008]"
    )]
    pub memory: Option<u32>,

    /// Set a variable for the function, in addition to the current environment; may be repeated
    #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
    pub variables: Vec<Variable>,

    /// Set variables from a file with one NAME=VALUE per line, read as Docker reads it: quotes are part of the value; may be
    /// repeated. --env takes precedence
    #[arg(long = "env-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub variable_files: Vec<PathBuf>,

    /// Set variables from a file in the dotenv format: quotes are removed, and $NAME is replaced; may be repeated. Takes
    /// precedence over --env-file
    #[arg(long = "dotenv", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub dotenv_files: Vec<PathBuf>,

    /// The bootstrap to start. It finds the handler in $_HANDLER [default: coshell's own]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub bootstrap: Option<PathBuf>,
}

/// A variable from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: OsString,
    pub value: OsString,
}

impl ValueParserFactory for Variable {
    type Parser = clap::builder::ValueParser;

    fn value_parser() -> Self::Parser {
        clap::builder::OsStringValueParser::new()
            .try_map(|text| parse_variable(&text))
            .into()
    }
}

fn parse_variable(text: &OsStr) -> Result<Variable, String> {
    let bytes = text.as_bytes();
    let index = bytes.iter().position(|&byte| byte == b'=');
    let (name, value) = bytes.split_at(index.ok_or("expected NAME=VALUE")?);
    if name.is_empty() {
        return Err("expected a name before =".to_owned());
    }
    Ok(Variable {
        name: OsString::from_vec(name.to_vec()),
        value: OsString::from_vec(value[1..].to_vec()),
    })
}

/// # Errors
/// When Linux would start no program with one of the variables.
fn checked(path: &Path, pairs: Vec<Pair>) -> Result<Vec<Pair>, Error> {
    for (name, value) in &pairs {
        // With the `=` and a NUL at the end.
        let size = name.len() + value.len() + 2;
        if size > MAX_VARIABLE_BYTES {
            return Err(Error::Misuse {
                what: format!(
                    "cannot use variable {} of {}",
                    name.display(),
                    path.display()
                ),
                cause: format!(
                    "Linux starts no program with a variable of more than {MAX_VARIABLE_BYTES} bytes, and this one has {size}"
                ),
            });
        }
    }
    Ok(pairs)
}

impl FunctionArguments {
    /// Describes the function. Without an option, the variables of AWS's emulator count.
    pub fn function(&self, handler: OsString) -> Result<Function, Error> {
        let defaults = Function::new(handler, self.task_root.folder()?);
        let region = text_variable("AWS_REGION")
            .or_else(|| text_variable("AWS_DEFAULT_REGION"))
            .or_else(coshell_tools::profile_region);
        let bootstrap = self.bootstrap.as_deref().map(absolute).transpose()?;
        Ok(Function {
            bootstrap: bootstrap.map(OsString::from).into_iter().collect(),
            timeout: match self.timeout {
                Some(timeout) => timeout,
                None => number_variable("AWS_LAMBDA_FUNCTION_TIMEOUT", parse_seconds)?
                    .unwrap_or(defaults.timeout),
            },
            memory_mb: match self.memory {
                Some(memory) => memory,
                None => number_variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", parse_mb)?
                    .unwrap_or(defaults.memory_mb),
            },
            name: text_variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or(defaults.name),
            version: text_variable("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or(defaults.version),
            region: region.unwrap_or(defaults.region),
            environment: self.environment()?,
            ..defaults
        })
    }

    fn environment(&self) -> Result<Vec<(OsString, OsString)>, Error> {
        let mut environment = Vec::new();
        for path in &self.variable_files {
            environment.extend(checked(path, read_env_file(path)?)?);
        }
        for path in &self.dotenv_files {
            environment.extend(checked(path, read_dotenv(path)?)?);
        }
        let pair = |variable: &Variable| (variable.name.clone(), variable.value.clone());
        environment.extend(self.variables.iter().map(pair));
        Ok(environment)
    }
}

/// The handler in `_HANDLER`, unless it is empty.
pub(crate) fn handler_variable() -> Option<OsString> {
    env::var_os("_HANDLER").filter(|handler| !handler.is_empty())
}

/// A variable from the environment, unless it is empty or not UTF-8.
pub(crate) fn text_variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A number from the environment. An empty variable counts as unset.
pub(crate) fn number_variable<T>(
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    let Some(text) = text_variable(name) else {
        return Ok(None);
    };
    let number = parse(&text).map_err(|cause| Error::Misuse {
        what: format!("cannot use {name} {text}"),
        cause,
    })?;
    Ok(Some(number))
}

impl TaskRoot {
    /// The folder from the option, or else from the environment, or else the current one, as an absolute path.
    ///
    /// # Errors
    /// When it does not exist, or is not a folder.
    pub fn folder(&self) -> Result<PathBuf, Error> {
        let variable = env::var_os("LAMBDA_TASK_ROOT").filter(|value| !value.is_empty());
        let variable = variable.map(PathBuf::from);
        let path = self.task_root.clone().or(variable);
        let path = absolute(&path.unwrap_or_else(|| ".".into()))?;
        check_task_root(&path).map_err(Error::Emulator)?;
        Ok(path)
    }
}

/// Makes a path absolute, because the bootstrap runs in another directory: the task root.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io(format!("cannot use path {}", path.display())))
}

/// Parses a number of seconds above 0, with or without decimals.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        // Adding more to the time of day could overflow.
        _ if seconds >= 31_536_000.0 => Err("expected less than 31536000, a year".to_owned()),
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

fn parse_mb(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "not a number of MB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_a_positive_number_of_seconds() {
        assert_eq!(parse_seconds("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "1e15", "3s", ""] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
        let cause = parse_seconds("99999999999999999999").unwrap_err();
        assert!(cause.contains("less than"), "{cause}");
    }

    #[test]
    fn variable_has_a_name_and_any_value() {
        let variable = parse_variable(OsStr::new("A=b=c"));
        let (name, value) = ("A".into(), "b=c".into());
        assert_eq!(variable, Ok(Variable { name, value }));
        assert!(parse_variable(OsStr::new("A=")).is_ok());
        assert!(parse_variable(OsStr::new("A")).is_err());
        assert!(parse_variable(OsStr::new("=b")).is_err());
    }
}
