//! Environment variables, read once, typed.
//!
//! `docs/settings.md` has the same settings as a table. Ours start `COSHELL_`, since Lambda drops
//! names with a leading underscore on some kinds of function.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use coshell_handler::{Delivery, bash};

use crate::error::{Error, Result};
use crate::log::{Frames, Level, Log};
use crate::wait::Overrun;

/// How many invocations Lambda sends at once.
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";
/// The descriptor on which the platform takes the log as frames; no business of the handler's.
pub(crate) const TELEMETRY: &str = "_LAMBDA_TELEMETRY_LOG_FD";
/// The margin on Managed Instances, unless it is set.
const MANAGED_MARGIN: Duration = Duration::from_millis(500);
/// What processes that are stopped may take when we are asked to end.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(40);
/// More than this are no good to anyone: each is a bash.
const MAX_LANES: u32 = 1024;
/// And at most at the deadline.
const MAX_GRACE: Duration = Duration::from_millis(500);

/// What `bootstrap` is told by its environment and its first argument.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: `host:port`.
    pub runtime_api: String,
    /// The first argument, or else `_HANDLER`.
    pub handler: Option<OsString>,
    /// `LAMBDA_TASK_ROOT`, or else the current directory: where the code lies.
    pub task_root: PathBuf,
    /// `COSHELL_BASH`: which bash; `/bin/bash`, or else `bash` along `PATH`.
    pub bash: PathBuf,
    /// `COSHELL_SHELL_OPTIONS`: what `set` is given before the file is sourced, in words.
    pub shell_options: Vec<String>,
    /// `COSHELL_TRAILING_NEWLINES=keep`: newlines at the end of a response stay.
    pub keep_trailing_newlines: bool,
    /// `COSHELL_RESPONSE_MODE=streaming`: a response is sent while the handler makes it.
    pub response_mode: ResponseMode,
    /// `COSHELL_ISOLATION`: what of a function's shell the next invocation sees.
    pub isolation: Isolation,
    /// `COSHELL_EVENT`: how the handler gets its event; `None`, if it is not set, is as the kind of handler has it.
    pub delivery: Option<Delivery>,
    /// `COSHELL_DEADLINE_MARGIN_MS`: so long before the deadline the handler is stopped.
    pub deadline_margin: Option<Duration>,
    /// `COSHELL_LEFTOVERS=kill`: processes that outlive their invocation are ended.
    pub kills_leftovers: bool,
    /// `COSHELL_RECYCLE_AFTER`: a function's shell serves so many invocations.
    pub recycle_after: Option<u64>,
    /// `COSHELL_SPARE=on`: a bash is started before it is needed. By default, if there is but one lane.
    pub keeps_standby: bool,
    /// `AWS_LAMBDA_MAX_CONCURRENCY`: how many invocations may run at a time, each in a lane; 1 unless it is a
    /// number above that. Only Managed Instances have it.
    pub max_concurrency: u32,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`: what follows the init.
    pub initialization: Initialization,
    /// The first of the settings above that has a value which means nothing, and why.
    pub invalid: Option<(&'static str, String)>,
    /// `AWS_LAMBDA_LOG_FORMAT`, `AWS_LAMBDA_LOG_LEVEL` and where it goes.
    pub log: Log,
}

/// How a response is sent, unless its handler says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    /// When the handler has ended.
    Buffered,
    /// While the handler makes it.
    Streaming,
}

/// Where a function runs, and what the next invocation finds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// In the warm shell itself, which is put back to what it was when the file had been sourced.
    Restore,
    /// In the warm shell itself, where variables and functions live on.
    None,
    /// In a fork of it.
    Subshell,
    /// In a shell of its own.
    Process,
}

/// What follows the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initialization {
    /// The first event, at some time: on demand, with provisioned concurrency, or of a kind that is not known.
    Direct,
    /// `snap-start`: a snapshot, and copies that are restored from it.
    SnapStart,
    /// `lambda-managed-instances`.
    ManagedInstance,
}

impl Initialization {
    fn read() -> Self {
        match text("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() {
            Some("snap-start") => Self::SnapStart,
            Some("lambda-managed-instances") => Self::ManagedInstance,
            _ => Self::Direct,
        }
    }
}

impl Config {
    /// Reads the environment; `argument` is the program's first one, if it has one, and `log` is
    /// [`log`]'s.
    ///
    /// # Errors
    /// [`Error::ReadConfig`] when `AWS_LAMBDA_RUNTIME_API` is not set: we are not on Lambda.
    pub(crate) fn read(argument: Option<OsString>, log: Log) -> Result<Self> {
        let runtime_api = text("AWS_LAMBDA_RUNTIME_API").ok_or_else(|| Error::ReadConfig {
            variable: "AWS_LAMBDA_RUNTIME_API",
            cause: "it is not set, so this is not Lambda; to try a handler here, \
                    run: coshell invoke HANDLER"
                .to_owned(),
        })?;
        let mut invalid = None;
        let max_concurrency = max_concurrency();
        let initialization = Initialization::read();
        let spare_words = match max_concurrency {
            1 => [("on", true), ("off", false)],
            // Another lane is there while one gets a fresh shell.
            _ => [("off", false), ("on", true)],
        };
        let config = Self {
            runtime_api,
            handler: argument
                .or_else(|| env::var_os("_HANDLER"))
                .filter(|name| !name.is_empty()),
            task_root: match env::var_os("LAMBDA_TASK_ROOT").filter(|path| !path.is_empty()) {
                Some(path) => PathBuf::from(path),
                None => env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            },
            bash: bash::named_or_found(env::var_os("COSHELL_BASH")),
            shell_options: shell_options(text_or_empty("COSHELL_SHELL_OPTIONS").as_deref()),
            keep_trailing_newlines: choice(
                "COSHELL_TRAILING_NEWLINES",
                &[("strip", false), ("keep", true)],
                &mut invalid,
            ),
            response_mode: choice(
                "COSHELL_RESPONSE_MODE",
                &[
                    ("buffered", ResponseMode::Buffered),
                    ("streaming", ResponseMode::Streaming),
                ],
                &mut invalid,
            ),
            isolation: choice(
                "COSHELL_ISOLATION",
                &[
                    ("restore", Isolation::Restore),
                    ("none", Isolation::None),
                    ("subshell", Isolation::Subshell),
                    ("process", Isolation::Process),
                ],
                &mut invalid,
            ),
            delivery: delivery(&mut invalid),
            deadline_margin: margin(
                number("COSHELL_DEADLINE_MARGIN_MS", &mut invalid),
                max_concurrency > 1 || initialization == Initialization::ManagedInstance,
            ),
            kills_leftovers: choice(
                "COSHELL_LEFTOVERS",
                &[("keep", false), ("kill", true)],
                &mut invalid,
            ),
            recycle_after: number("COSHELL_RECYCLE_AFTER", &mut invalid)
                .filter(|number| *number > 0),
            keeps_standby: choice("COSHELL_SPARE", &spare_words, &mut invalid),
            max_concurrency,
            initialization,
            invalid: None,
            log,
        };
        Ok(Self { invalid, ..config })
    }

    /// How long a handler that is stopped may take for its own traps: half of the margin, so that
    /// there is time for the answer.
    pub(crate) fn stop_grace(&self, overrun: Overrun) -> Duration {
        match (overrun, self.deadline_margin) {
            (Overrun::Deadline, Some(margin)) => (margin / 2).min(MAX_GRACE),
            _ => STOP_GRACE,
        }
    }

    /// Says which of the platform's settings have a value that means nothing, one text each.
    pub(crate) fn ignored_platform_settings(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut check = |name: &str, known: &[&str]| {
            if let Some(value) = text(name)
                && !known.iter().any(|known| known.eq_ignore_ascii_case(&value))
            {
                texts.push(format!(
                    "cannot use {name}={value}: expected {}",
                    known.join(" or ")
                ));
            }
        };
        check("AWS_LAMBDA_LOG_FORMAT", &["Text", "JSON"]);
        if let Some(value) = text("AWS_LAMBDA_LOG_LEVEL")
            && Level::from_name(&value).is_none()
        {
            texts.push(format!(
                "cannot use AWS_LAMBDA_LOG_LEVEL={value}: expected TRACE or DEBUG or INFO or WARN or ERROR or FATAL"
            ));
        }
        if let Some(value) = text(MAX_CONCURRENCY)
            && value.parse::<u32>().is_err()
        {
            texts.push(format!(
                "cannot use {MAX_CONCURRENCY}={value}: expected a whole number"
            ));
        }
        if let Some(value) = text(TELEMETRY)
            && self.log.frames.is_none()
        {
            texts.push(format!(
                "cannot use {TELEMETRY}={value}: expected a descriptor above 2 that is open for writing"
            ));
        }
        texts
    }
}

/// How records are written; known before anything else can fail. Called once, before anything of
/// ours has a descriptor that the platform's number could name.
pub(crate) fn log() -> Log {
    let json =
        text("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("JSON"));
    let least = text("AWS_LAMBDA_LOG_LEVEL").and_then(|name| Level::from_name(&name));
    Log {
        json,
        least: least.unwrap_or(Level::Info),
        is_shared: max_concurrency() > 1,
        frames: text(TELEMETRY).and_then(|number| Frames::open(&number)),
    }
}

/// Unset: as the tutorial's bootstrap; set but empty: no options.
fn shell_options(setting: Option<&str>) -> Vec<String> {
    let words = setting.unwrap_or("-euo pipefail");
    words
        .split_ascii_whitespace()
        .map(ToOwned::to_owned)
        .collect()
}

/// The value that `name` stands for; the first of the known ones if it is not set.
fn choice<T: Copy>(
    name: &'static str,
    known: &[(&str, T)],
    invalid: &mut Option<(&'static str, String)>,
) -> T {
    let Some(value) = text(name) else {
        return known[0].1;
    };
    let mut named = known.iter();
    if let Some((_, meant)) = named.find(|(word, _)| word.eq_ignore_ascii_case(&value)) {
        return *meant;
    }
    let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
    let cause = format!("expected {}, found {value}", words.join(" or "));
    invalid.get_or_insert((name, cause));
    known[0].1
}

/// How `COSHELL_EVENT` says that a handler gets its event, if it is set.
fn delivery(invalid: &mut Option<(&'static str, String)>) -> Option<Delivery> {
    let name = "COSHELL_EVENT";
    text(name).map(|_| choice(name, &Delivery::WORDS, invalid))
}

fn max_concurrency() -> u32 {
    concurrency_in(text(MAX_CONCURRENCY).as_deref())
}

/// What is no number, or means no concurrency, is 1.
fn concurrency_in(setting: Option<&str>) -> u32 {
    let number = setting.and_then(|text| text.parse().ok());
    number.unwrap_or(1).clamp(1, MAX_LANES)
}

/// 0 is off. Managed Instances end nothing at the deadline themselves.
fn margin(milliseconds: Option<u64>, is_managed: bool) -> Option<Duration> {
    let default = is_managed.then_some(MANAGED_MARGIN);
    let margin = milliseconds.map(Duration::from_millis).or(default);
    margin.filter(|margin| !margin.is_zero())
}

/// A whole number; `None` if it is not set.
fn number(name: &'static str, invalid: &mut Option<(&'static str, String)>) -> Option<u64> {
    let value = text(name)?;
    // More digits than this are more milliseconds than there will ever be.
    if value.len() > 15 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let cause = format!("expected a whole number, found {value}");
        invalid.get_or_insert((name, cause));
        return None;
    }
    value.parse().ok()
}

fn text(name: &str) -> Option<String> {
    text_or_empty(name).filter(|value| !value.is_empty())
}

fn text_or_empty(name: &str) -> Option<String> {
    env::var_os(name)
        .as_deref()
        .map(OsStr::to_string_lossy)
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_options_are_the_tutorials_unless_set() {
        assert_eq!(shell_options(None), ["-euo", "pipefail"]);
        assert_eq!(shell_options(Some("")), [""; 0]);
        assert_eq!(shell_options(Some("-u")), ["-u"]);
    }

    #[test]
    fn concurrency_is_1_unless_it_is_a_number_above() {
        let of = concurrency_in;
        assert_eq!([of(None), of(Some("")), of(Some("many"))], [1; 3]);
        assert_eq!([of(Some("0")), of(Some("1")), of(Some("-3"))], [1; 3]);
        assert_eq!([of(Some("2")), of(Some("64"))], [2, 64]);
    }
}
