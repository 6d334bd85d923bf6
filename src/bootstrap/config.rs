//! The settings: environment variables, read once at start and given types.
//!
//! `docs/settings.md` has them as a table. Names of ours begin with `COSHELL_`, because some kinds of function drop names
//! that begin with an underscore. An invalid value of ours is an init error ([`Config::invalid`]); an invalid value of the
//! platform's is only a warning ([`Config::ignored_platform_settings`]).

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use coshell_handler::{Delivery, bash};

use crate::error::{Error, Result};
use crate::log::{Frames, Level, Log};
use crate::wait::Overrun;

/// How many invocations Lambda sends at a time.
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";
/// The descriptor to which log frames are written, if the platform wants frames. Handlers do not inherit this variable.
pub(crate) const TELEMETRY_FD: &str = "_LAMBDA_TELEMETRY_LOG_FD";
/// The deadline margin on Managed Instances, if none is set.
const MANAGED_DEADLINE_MARGIN: Duration = Duration::from_millis(500);
/// How long processes have between SIGTERM and SIGKILL when the sandbox shuts down.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(40);
/// The longest grace at a handler's deadline.
const MAX_DEADLINE_GRACE: Duration = Duration::from_millis(500);
/// Each lane is a bash: a larger number is a mistake.
const MAX_LANES: u32 = 1024;

/// What the environment and the first argument set.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `AWS_LAMBDA_RUNTIME_API`: `host:port`.
    pub runtime_api: String,
    /// The first argument, or else `_HANDLER`.
    pub handler: Option<OsString>,
    /// `LAMBDA_TASK_ROOT`, or else the current directory: where the function's files are.
    pub task_root: PathBuf,
    /// `COSHELL_BASH`: the bash to start. By default `/bin/bash`, or else the `bash` on `PATH`.
    pub bash: PathBuf,
    /// `COSHELL_SHELL_OPTIONS`: arguments of `set` before the file is sourced.
    pub shell_options: Vec<String>,
    /// `COSHELL_TRAILING_NEWLINES=keep`: a response keeps the newlines at its end.
    pub keep_trailing_newlines: bool,
    /// `COSHELL_RESPONSE_MODE`.
    pub response_mode: ResponseMode,
    /// `COSHELL_ISOLATION`: which changes to the shell the next invocation sees.
    pub isolation: Isolation,
    /// `COSHELL_EVENT`: how the handler gets its event. `None`: the default of its kind.
    pub delivery: Option<Delivery>,
    /// `COSHELL_DEADLINE_MARGIN_MS`: how long before its deadline a handler is stopped. `None`: never.
    pub deadline_margin: Option<Duration>,
    /// `COSHELL_LEFTOVERS=kill`: processes that are still running after their invocation are killed.
    pub kills_leftovers: bool,
    /// `COSHELL_RECYCLE_AFTER`: how many invocations a shell serves before it is replaced. `None`: no limit.
    pub recycle_after: Option<u64>,
    /// `COSHELL_SPARE`: whether a standby shell is kept. The default is on, or off with several lanes.
    pub keeps_standby: bool,
    /// `COSHELL_COMMANDS`: the commands that are functions of ours even if there is a program.
    pub commands: Vec<String>,
    /// `AWS_LAMBDA_MAX_CONCURRENCY`: how many invocations run at a time, each in its lane. At least 1. Only Managed
    /// Instances set it.
    pub max_concurrency: u32,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`: what follows the init.
    pub initialization: Initialization,
    /// The first of our settings that has an invalid value, and the cause.
    pub invalid: Option<InvalidSetting>,
    /// `AWS_LAMBDA_LOG_FORMAT`, `AWS_LAMBDA_LOG_LEVEL`, and where the log goes.
    pub log: Log,
}

/// The name of an environment variable, and why its value cannot be used.
pub(crate) type InvalidSetting = (&'static str, String);

/// When a response is sent, unless its handler chooses otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    /// After the handler has ended.
    Buffered,
    /// While the handler writes it.
    Streaming,
}

/// Where a function runs, and which of its changes the next invocation sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// In the warm shell. Afterwards the shell gets back the state it had when the file was sourced.
    Restore,
    /// In the warm shell. The next invocation sees changed variables and functions.
    None,
    /// In a fork of the warm shell.
    Subshell,
    /// In a new shell for each invocation.
    Process,
}

/// What happens between the init and the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initialization {
    /// Nothing: on demand, with provisioned concurrency, or an unknown value.
    Direct,
    /// `snap-start`: Lambda takes a snapshot and restores sandboxes from it.
    SnapStart,
    /// `lambda-managed-instances`.
    ManagedInstance,
}

impl Initialization {
    fn read() -> Self {
        match read_text("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() {
            Some("snap-start") => Self::SnapStart,
            Some("lambda-managed-instances") => Self::ManagedInstance,
            _ => Self::Direct,
        }
    }
}

impl Config {
    /// Reads the environment. `argument` is the program's first argument, `log` comes from [`read_log`].
    ///
    /// # Errors
    /// [`Error::ReadConfig`] if `AWS_LAMBDA_RUNTIME_API` is not set: this is not Lambda.
    pub(crate) fn read(argument: Option<OsString>, log: Log) -> Result<Self> {
        let runtime_api = read_text("AWS_LAMBDA_RUNTIME_API").ok_or_else(|| Error::ReadConfig {
            variable: "AWS_LAMBDA_RUNTIME_API",
            cause: "it is not set, so this is not Lambda; to try a handler here, \
                    run: coshell invoke HANDLER"
                .to_owned(),
        })?;
        let mut invalid = None;
        let max_concurrency = read_max_concurrency();
        let initialization = Initialization::read();
        let standby_choices = match max_concurrency {
            1 => [("on", true), ("off", false)],
            // While one lane replaces its shell, the others serve.
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
            bash: bash::find_program(env::var_os("COSHELL_BASH")),
            shell_options: shell_options(
                read_text_or_empty("COSHELL_SHELL_OPTIONS").as_deref(),
                &read_text("SHELLOPTS").unwrap_or_default(),
            ),
            keep_trailing_newlines: read_choice(
                "COSHELL_TRAILING_NEWLINES",
                &[("strip", false), ("keep", true)],
                &mut invalid,
            ),
            response_mode: read_choice(
                "COSHELL_RESPONSE_MODE",
                &[
                    ("buffered", ResponseMode::Buffered),
                    ("streaming", ResponseMode::Streaming),
                ],
                &mut invalid,
            ),
            isolation: read_choice(
                "COSHELL_ISOLATION",
                &[
                    ("restore", Isolation::Restore),
                    ("none", Isolation::None),
                    ("subshell", Isolation::Subshell),
                    ("process", Isolation::Process),
                ],
                &mut invalid,
            ),
            delivery: read_delivery(&mut invalid),
            deadline_margin: deadline_margin(
                read_number("COSHELL_DEADLINE_MARGIN_MS", &mut invalid),
                max_concurrency > 1 || initialization == Initialization::ManagedInstance,
            ),
            kills_leftovers: read_choice(
                "COSHELL_LEFTOVERS",
                &[("keep", false), ("kill", true)],
                &mut invalid,
            ),
            recycle_after: read_number("COSHELL_RECYCLE_AFTER", &mut invalid)
                .filter(|number| *number > 0),
            keeps_standby: read_choice("COSHELL_SPARE", &standby_choices, &mut invalid),
            commands: read_commands(&mut invalid),
            max_concurrency,
            initialization,
            invalid: None,
            log,
        };
        Ok(Self { invalid, ..config })
    }

    /// How long a handler that is stopped may take for its own traps. At its deadline that is half of the margin: the other
    /// half is for posting the answer.
    pub(crate) fn stop_grace(&self, overrun: Overrun) -> Duration {
        match (overrun, self.deadline_margin) {
            (Overrun::Deadline, Some(margin)) => (margin / 2).min(MAX_DEADLINE_GRACE),
            _ => STOP_GRACE,
        }
    }

    /// A warning for each of the platform's settings whose value is invalid.
    pub(crate) fn ignored_platform_settings(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut check = |name: &str, known: &[&str]| {
            if let Some(value) = read_text(name)
                && !known.iter().any(|known| known.eq_ignore_ascii_case(&value))
            {
                texts.push(format!(
                    "cannot use {name}={value}: expected {}",
                    known.join(" or ")
                ));
            }
        };
        check("AWS_LAMBDA_LOG_FORMAT", &["Text", "JSON"]);
        if let Some(value) = read_text("AWS_LAMBDA_LOG_LEVEL")
            && Level::from_name(&value).is_none()
        {
            texts.push(format!(
                "cannot use AWS_LAMBDA_LOG_LEVEL={value}: expected TRACE or DEBUG or INFO or WARN or ERROR or FATAL"
            ));
        }
        if let Some(value) = read_text(MAX_CONCURRENCY)
            && value.parse::<u32>().is_err()
        {
            texts.push(format!(
                "cannot use {MAX_CONCURRENCY}={value}: expected a whole number"
            ));
        }
        if let Some(value) = read_text(TELEMETRY_FD)
            && self.log.frames.is_none()
        {
            texts.push(format!(
                "cannot use {TELEMETRY_FD}={value}: expected a descriptor above 2 that is open for writing"
            ));
        }
        texts
    }
}

/// Reads how the log is written, before anything else can fail. To be called once, before we open any descriptor: the
/// platform's descriptor number must not name one of ours.
pub(crate) fn read_log() -> Log {
    let is_json = read_text("AWS_LAMBDA_LOG_FORMAT")
        .is_some_and(|format| format.eq_ignore_ascii_case("JSON"));
    let min_level = read_text("AWS_LAMBDA_LOG_LEVEL").and_then(|name| Level::from_name(&name));
    Log {
        is_json,
        min_level: min_level.unwrap_or(Level::Info),
        is_shared: read_max_concurrency() > 1,
        frames: read_text(TELEMETRY_FD).and_then(|number| Frames::open(&number)),
    }
}

/// Options in `SHELLOPTS` that show commands or change them, with their letters. They are for the file, and not for the driver.
pub(crate) const FILE_OPTIONS: [(&str, &str); 3] =
    [("keyword", "-k"), ("verbose", "-v"), ("xtrace", "-x")];

/// The default is that of the tutorial's bootstrap; an empty value means no options.
fn shell_options(setting: Option<&str>, shellopts: &str) -> Vec<String> {
    let inherited = FILE_OPTIONS
        .into_iter()
        .filter(|(name, _)| shellopts.split(':').any(|option| option == *name))
        .map(|(_, letter)| letter);
    let options = setting.unwrap_or("-euo pipefail").split_ascii_whitespace();
    inherited.chain(options).map(ToOwned::to_owned).collect()
}

/// The choice that the variable `name` holds, in any case. The first one is the default.
fn read_choice<T: Copy>(
    name: &'static str,
    choices: &[(&str, T)],
    invalid: &mut Option<InvalidSetting>,
) -> T {
    let Some(value) = read_text(name) else {
        return choices[0].1;
    };
    let mut known = choices.iter();
    if let Some((_, choice)) = known.find(|(word, _)| word.eq_ignore_ascii_case(&value)) {
        return *choice;
    }
    let expected: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    let cause = format!("expected {}, found {value}", expected.join(" or "));
    invalid.get_or_insert((name, cause));
    choices[0].1
}

/// `COSHELL_EVENT`, if it is set.
fn read_delivery(invalid: &mut Option<InvalidSetting>) -> Option<Delivery> {
    let name = "COSHELL_EVENT";
    read_text(name).map(|_| read_choice(name, &Delivery::NAMES, invalid))
}

/// `COSHELL_COMMANDS`: names with commas or blanks between them.
fn read_commands(invalid: &mut Option<InvalidSetting>) -> Vec<String> {
    let name = "COSHELL_COMMANDS";
    let value = read_text(name).unwrap_or_default();
    let commands = value.split([',', ' ']).filter(|word| !word.is_empty());
    let commands: Vec<_> = commands.map(ToOwned::to_owned).collect();
    let is_known = |command: &String| command == "jq" || command == "aws";
    if let Some(unknown) = commands.iter().find(|command| !is_known(command)) {
        invalid.get_or_insert((name, format!("expected jq or aws, found {unknown}")));
    }
    commands
}

fn read_max_concurrency() -> u32 {
    parse_concurrency(read_text(MAX_CONCURRENCY).as_deref())
}

/// At least 1, also for a value that is not a number.
fn parse_concurrency(setting: Option<&str>) -> u32 {
    let number = setting.and_then(|text| text.parse().ok());
    number.unwrap_or(1).clamp(1, MAX_LANES)
}

/// 0 turns it off. Managed Instances have a default, because they do not stop a handler at its deadline themselves.
fn deadline_margin(milliseconds: Option<u64>, is_managed: bool) -> Option<Duration> {
    let default = is_managed.then_some(MANAGED_DEADLINE_MARGIN);
    let margin = milliseconds.map(Duration::from_millis).or(default);
    margin.filter(|margin| !margin.is_zero())
}

/// The whole number that the variable `name` holds; `None` if it is not set.
fn read_number(name: &'static str, invalid: &mut Option<InvalidSetting>) -> Option<u64> {
    let value = read_text(name)?;
    // 15 digits of milliseconds are 30,000 years.
    if value.len() > 15 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let cause = format!("expected a whole number, found {value}");
        invalid.get_or_insert((name, cause));
        return None;
    }
    value.parse().ok()
}

fn read_text(name: &str) -> Option<String> {
    read_text_or_empty(name).filter(|value| !value.is_empty())
}

fn read_text_or_empty(name: &str) -> Option<String> {
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
        assert_eq!(shell_options(None, "posix"), ["-euo", "pipefail"]);
        assert_eq!(shell_options(Some(""), ""), [""; 0]);
        assert_eq!(
            shell_options(Some("-u"), "verbose:xtrace"),
            ["-v", "-x", "-u"]
        );
    }

    #[test]
    fn concurrency_is_1_unless_it_is_a_number_above() {
        let parse = parse_concurrency;
        assert_eq!([parse(None), parse(Some("")), parse(Some("many"))], [1; 3]);
        assert_eq!(
            [parse(Some("0")), parse(Some("1")), parse(Some("-3"))],
            [1; 3]
        );
        assert_eq!([parse(Some("2")), parse(Some("64"))], [2, 64]);
    }
}
