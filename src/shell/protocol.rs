//! What is written to bash and read back; twin of runtime-scripts/driver.bash.
//!
//! `docs/protocol.md` draws it. Pure functions over bytes: nothing here touches a descriptor.

use std::fmt::Write;

use std::os::fd::{AsRawFd, OwnedFd};

use memchr::{memchr, memmem};

use crate::child::arguments::{Arguments, Separator, push};
use crate::child::bash::{quote, version, without_comments};
use crate::invocation::{Frame, Invocation, variable};

/// The driver, as bash reads it when it starts; `in_subshell` if handlers run in a fork.
#[must_use]
pub fn driver(in_subshell: bool) -> String {
    let mut script = String::new();
    if in_subshell {
        script = without_comments(include_str!("../../runtime-scripts/subshell.bash"));
    }
    script + &without_comments(include_str!("../../runtime-scripts/driver.bash"))
}

/// The driver's other half, which bash reads when something goes wrong.
#[must_use]
pub fn seldom() -> String {
    without_comments(concat!(
        include_str!("../../runtime-scripts/seldom.bash"),
        include_str!("../../runtime-scripts/lambda.bash")
    ))
}

/// The descriptors that bash starts with; the driver moves the first six to 60 and up, where
/// the handler's commands do not inherit them. Unlike the numbers below 10 they are ours alone.
pub const INHERITED_ARGUMENTS: i32 = 70;
/// The handler's standard input.
pub const INHERITED_EVENT: i32 = 71;
/// The handler's standard output.
pub const INHERITED_RESPONSE: i32 = 72;
/// What the driver tells us.
pub const INHERITED_CONTROL: i32 = 73;
/// Where the log goes, kept aside for handlers that lead their stderr elsewhere.
pub const INHERITED_LOG: i32 = 74;
/// The driver's other half.
pub const INHERITED_SELDOM: i32 = 75;
/// The driver's text; closed when it is read.
pub const INHERITED_DRIVER: i32 = 76;
/// The script that we write line by line; bash opens it by its name and keeps that.
pub const INHERITED_SCRIPT: i32 = 77;

/// The numbers that the driver gives them.
pub const OUR_DESCRIPTORS: std::ops::RangeInclusive<i32> = 60..=65;
/// The number that the handler's standard output has in bash.
pub const RESPONSE: i32 = 62;

/// What bash was last given for the variables that seldom change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The values of [`variable::CONTEXT`]; empty where the header was absent.
    pub values: [String; 4],
    /// Whether there was a trace header.
    pub has_trace: bool,
    /// Whether there was a deadline.
    pub has_deadline: bool,
}

impl Context {
    /// What `invocation` wants bash to have.
    #[must_use]
    pub fn of(invocation: &Invocation) -> Self {
        let values = invocation.context_values();
        Self {
            values: values.map(|value| value.unwrap_or_default().to_owned()),
            has_trace: invocation.trace_id.is_some(),
            has_deadline: invocation.deadline_ms.is_some(),
        }
    }

    /// What the driver shows of the variables when they hold this.
    #[must_use]
    pub fn shown(&self) -> String {
        let set = |is_set: bool| if is_set { "set" } else { "" };
        format!(
            "{}|{}|{}",
            set(self.has_deadline),
            set(self.has_trace),
            self.values.join("|")
        )
    }

    /// Whether this is what `invocation` wants; allocates nothing.
    #[must_use]
    pub fn fits(&self, invocation: &Invocation) -> bool {
        let headers = invocation.context_values();
        let same = |(value, header): (&String, Option<&str>)| value == header.unwrap_or_default();
        self.has_trace == invocation.trace_id.is_some()
            && self.has_deadline == invocation.deadline_ms.is_some()
            // `,d` sets neither: without a deadline the trace comes with the context.
            && (self.has_deadline || !self.has_trace)
            && self.values.iter().zip(headers).all(same)
    }
}

/// Descriptor 60 for one invocation:
/// `[name NUL value NUL]... request id NUL [deadline NUL [trace NUL]]`, the event, `NUL`.
/// bash reads so many and no more: what is left of a longer one behind it does no harm.
/// `context` is given only when it changed.
#[must_use]
pub fn arguments<'a>(
    invocation: &'a Invocation,
    context: Option<&Context>,
    separator: Separator,
) -> Arguments<'a> {
    let end = separator.byte();
    let mut head = Vec::with_capacity(256);
    if let Some(context) = context {
        push_context(&mut head, context, invocation, end);
    }
    push(&mut head, &invocation.request_id, end);
    if let Some(deadline) = &invocation.deadline_ms {
        push(&mut head, deadline, end);
        if let Some(trace) = &invocation.trace_id {
            push(&mut head, trace, end);
        }
    }
    Arguments {
        head,
        event: invocation.argument(),
        end: vec![end],
    }
}

/// Descriptor 60 for [`CONTEXT_LINE`] alone: `[name NUL value NUL]...`.
#[must_use]
pub fn context_arguments<'a>(context: &Context, invocation: &Invocation) -> Arguments<'a> {
    let mut head = Vec::new();
    push_context(&mut head, context, invocation, Separator::Nul.byte());
    Arguments {
        head,
        event: Vec::new().into(),
        end: Vec::new(),
    }
}

fn push_context(head: &mut Vec<u8>, context: &Context, invocation: &Invocation, end: u8) {
    let values = context.values.iter().map(String::as_str);
    let trace = invocation.trace_id.as_deref().unwrap_or_default();
    let deadline = invocation.deadline_ms.as_deref().unwrap_or_default();
    let pairs = variable::CONTEXT.into_iter().zip(values);
    let pairs = pairs.chain(variable::TRACE.map(|name| (name, trace)));
    for (name, value) in pairs.chain([(variable::DEADLINE, deadline)]) {
        push(head, name, end);
        push(head, value, end);
    }
}

/// The line that sets the variables which seldom change.
pub const CONTEXT_LINE: &str = "\\__driver_context\n";

/// Where bash stands after an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the handler ended.
    pub ended: Ended,
    /// 0 to 255.
    pub status: i32,
    /// The command that failed, if bash knows one.
    pub command: Option<String>,
    /// Where the handler was, the innermost frame first.
    pub stack: Vec<Frame>,
    /// The handler left an EXIT trap, which has not run yet.
    pub has_exit_trap: bool,
}

impl Report {
    /// What a fork of the shell told of itself before it ended, which is not to be trusted beyond
    /// where it was, belongs to its report.
    #[must_use]
    pub fn with_words_of_fork(mut self, words: Option<LastWords>) -> Self {
        // Without a frame the handler has returned, and the status is its own.
        let Some(words) = words.filter(|words| !words.stack.is_empty()) else {
            return self;
        };
        let command = words.command.as_deref().unwrap_or_default();
        let is_exit = command == "exit" || command.starts_with("exit ");
        self.ended = if words.kind == "return" && is_exit {
            Ended::Exit
        } else {
            Ended::ErrExit
        };
        self.command = words.command;
        self.stack = words.stack;
        self
    }
}

/// How a handler ended, in the driver's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// `return`: it returned.
    Return,
    /// `exit`: it called `exit`.
    Exit,
    /// `errexit`: a command failed under `set -e`.
    ErrExit,
    /// `idle`: it was not called, which is not meant to happen to a handler.
    NotCalled,
}

/// The lines that make bash run one invocation and report it. Each starts with a backslash, which
/// keeps it from being taken for an alias.
#[must_use]
pub fn invocation_lines(
    invocation: &Invocation,
    with_context: bool,
    separator: Separator,
    mark: &str,
) -> String {
    let take = match (&invocation.deadline_ms, &invocation.trace_id) {
        (Some(_), None) => ",",
        (Some(_), Some(_)) => ",t",
        (None, _) => ",d",
    };
    let (context, suffix) = match separator {
        Separator::Nul => (CONTEXT_LINE, ""),
        Separator::Newline => ("\\__driver_context $'\\n'\n", "l"),
    };
    let context = if with_context { context } else { "" };
    format!("{context}\\{take}{suffix}\n\\,, \"$?\" {mark}\n")
}

/// The lines that make bash run one invocation in a fork of itself, and report it.
#[must_use]
pub fn subshell_lines(separator: Separator, mark: &str) -> String {
    let separator = match separator {
        Separator::Nul => "",
        Separator::Newline => " $'\\n'",
    };
    format!("\\,s{separator}\n\\,, \"$?\" {mark}\n")
}

/// The lines that run `function` of the file's, which belongs to no invocation, and report it. It is
/// [`Ended::NotCalled`] if the file does not define it.
#[must_use]
pub fn hook_lines(function: &str, mark: &str) -> String {
    format!("\\__driver_seldom __driver_hook {function}\n\\,, \"$?\" {mark}\n")
}

/// The line that starts bash's RANDOM anew.
#[must_use]
pub fn reseed_line(seed: u32) -> String {
    format!("\\__driver_seldom __driver_reseed {seed}\n")
}

/// The lines that end an idle bash: what its EXIT trap prints is log.
pub const END_LINES: &str = "\\exec >&64\n\\builtin exit 0\n";

/// The line that ends bash, if it still reads lines, with the status of the handler.
pub const LEAVE_LINE: &str = "\\builtin exit \"${__driver_status:-$?}\"\n";

/// The lines that run the EXIT trap which a handler left, and report again.
#[must_use]
pub fn exit_trap_lines(status: i32, mark: &str) -> String {
    format!("\\__driver_seldom __driver_exit_trap {status}\n\\,, \"$?\" {mark}\n")
}

/// The lines that make bash show its state.
#[must_use]
pub fn state_lines(mark: &str) -> String {
    format!("\\,,, {mark}\n")
}

/// The lines that make bash open `response`, a descriptor of the process `host`, in the place of
/// the pipe that it has. `exec` leads no descriptor elsewhere that is closed for children, which
/// guards ours, but it closes one.
#[must_use]
pub fn renew_response_lines(host: u32, response: &OwnedFd) -> String {
    let response = response.as_raw_fd();
    format!(
        "\\exec {RESPONSE}>&- {INHERITED_RESPONSE}>/proc/{host}/fd/{response}\n\
         \\__driver_seldom __driver_adopt {INHERITED_RESPONSE} {RESPONSE}\n"
    )
}

/// Finds the report that bears `mark` in what bash wrote; also where it ends. `None` while it
/// is not complete. Right before it stands the EXIT trap that bash has now; `own_trap` is the one
/// that it has by rights.
#[must_use]
pub fn find_report(bytes: &[u8], mark: &str, own_trap: &str) -> Option<(Report, usize)> {
    // A DEBUG trap of the handler's may print our lines: there no NUL follows.
    let start = memmem::find(bytes, format!("{mark}\0").as_bytes())?;
    let (fields, length) = fields_between(&bytes[start..], mark)?;
    let mut fields = fields.into_iter();
    let ended = match fields.next()?.as_str() {
        "exit" => Ended::Exit,
        "errexit" => Ended::ErrExit,
        "idle" => Ended::NotCalled,
        // `return`, or nothing at all if the handler unset the variable.
        _ => Ended::Return,
    };
    let status = fields.next()?.parse().unwrap_or(1);
    let before = &bytes[..start];
    let report = Report {
        ended,
        status,
        command: fields.next().filter(|command| !command.is_empty()),
        stack: fields.take(MAX_FRAMES).map(|text| frame(&text)).collect(),
        has_exit_trap: before.ends_with(b" EXIT\n") && !before.ends_with(own_trap.as_bytes()),
    };
    Some((report, start + length))
}

/// The strings, each with a NUL after it, between a word and its next occurrence, and how long
/// all is together.
fn fields_between(bytes: &[u8], word: &str) -> Option<(Vec<String>, usize)> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let end = at + memchr(b'\0', &bytes[at..])?;
        let field = &bytes[at..end];
        at = end + 1;
        match (field == word.as_bytes(), fields.is_empty()) {
            (true, false) => return Some((fields.split_off(1), at)),
            _ => fields.push(String::from_utf8_lossy(field).into_owned()),
        }
    }
}

/// Finds a report among the bytes of a response, and where it starts.
#[must_use]
pub fn find_misled_report(bytes: &[u8], mark: &str, own_trap: &str) -> Option<(Report, usize)> {
    let (report, _) = find_report(bytes, mark, own_trap)?;
    let before = &bytes[..memmem::find(bytes, format!("{mark}\0").as_bytes())?];
    let start = before
        .strip_suffix(own_trap.as_bytes())
        .unwrap_or(before)
        .len();
    Some((report, start))
}

/// How much of `bytes`, which come from the response's pipe, is no part of a report, for all that is
/// known: bash writes the trap and the mark at once each, and one may be there without the other.
#[must_use]
pub fn before_misled_report(bytes: &[u8], mark: &str, own_trap: &str) -> usize {
    if mark.is_empty() {
        return bytes.len();
    }
    let mark = memmem::find(bytes, format!("{mark}\0").as_bytes());
    let before = &bytes[..mark.unwrap_or(bytes.len())];
    let without_trap = before.strip_suffix(own_trap.as_bytes());
    without_trap.unwrap_or(before).len()
}

/// The last words of a shell that ended by itself. They are not to be trusted beyond where the
/// shell was: a handler can write them too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastWords {
    /// `load` while the file was sourced, `options` when `set` refused them.
    pub kind: String,
    /// While the file was sourced: `file:line` of the command that failed.
    pub failed_at: Option<String>,
    /// The command that was running.
    pub command: Option<String>,
    /// Where the shell was, the innermost frame first.
    pub stack: Vec<Frame>,
}

/// Finds the last words in what bash wrote before it ended.
#[must_use]
pub fn find_last_words(bytes: &[u8]) -> Option<LastWords> {
    let ends = b"died\0";
    let last = memmem::rfind(bytes, ends)?;
    let start = memmem::rfind(&bytes[..last], ends)?;
    let (fields, _) = fields_between(&bytes[start..], "died")?;
    let mut fields = fields.into_iter();
    let kind = fields.next()?;
    let failed_at = fields.nth(1).filter(|place| !place.is_empty());
    let command = fields.next().filter(|command| !command.is_empty());
    let stack = fields
        .map(|text| frame(&text))
        .filter(|frame| frame.function != "main" && !is_own_function(&frame.function))
        .take(MAX_FRAMES)
        .collect();
    Some(LastWords {
        kind,
        failed_at,
        command,
        stack,
    })
}

/// Reads `function file:line`.
fn frame(text: &str) -> Frame {
    let (function, place) = text.split_once(' ').unwrap_or((text, ""));
    let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
    Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line: line.parse().unwrap_or(0),
    }
}

/// What the driver says when it is there, before the file is sourced.
pub const STARTED: &[u8] = b"started\0";

/// Whether a function of this name is the driver's.
fn is_own_function(name: &str) -> bool {
    name == "exit" || name.starts_with(',') || name.starts_with("__driver_")
}

/// Frames of a stack beyond this are left out.
const MAX_FRAMES: usize = 100;

/// What bash says when the file is sourced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// `ready`: the handler is there.
    Ready {
        /// What sourcing the file ended with, where `set -e` does not make that an error.
        status: i32,
        /// bash's version, major and minor.
        version: (u32, u32),
        /// The file defines `lambda_shutdown`.
        has_shutdown: bool,
    },
    /// `undefined`: it is not; these functions are.
    Undefined(Vec<String>),
}

/// Finds the answer to [`load_lines`] that bears `mark`, and where it ends.
#[must_use]
pub fn find_loaded(bytes: &[u8], mark: &str) -> Option<(Loaded, usize)> {
    let start = memmem::find(bytes, mark.as_bytes())?;
    let end = start + memchr(b'\0', &bytes[start..])?;
    let text = String::from_utf8_lossy(&bytes[start..end]).into_owned();
    let mut words = text.split_ascii_whitespace().skip(1);
    let loaded = if words.next() == Some("ready") {
        let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
        Loaded::Ready {
            status,
            version: version(words.next().unwrap_or_default()),
            has_shutdown: words.next().is_some(),
        }
    } else {
        Loaded::Undefined(words.map(ToOwned::to_owned).collect())
    };
    Some((loaded, end + 1))
}

/// The line that leads bash's stderr back to the log.
pub const LOG_LINE: &str = "\\exec 2>&64\n";

/// The lines that start the driver. `argument_zero` is what `$0` is, `log_mark` what `lambda_log` puts
/// before its messages.
#[must_use]
pub fn start_lines(argument_zero: &str, function: &str, log_mark: Option<&str>) -> String {
    let mark = log_mark.map(|mark| format!("__driver_log_mark={mark} "));
    format!(
        "{}__driver_function={} BASH_ARGV0={}\n\
         . /dev/fd/{INHERITED_DRIVER}\n\
         exec {INHERITED_DRIVER}<&- {INHERITED_SCRIPT}<&-\n",
        mark.unwrap_or_default(),
        quote(function),
        quote(argument_zero),
    )
}

/// The lines that set the options, and source the file.
#[must_use]
pub fn load_lines(file: &str, options: &[String], mark: &str, state_mark: &str) -> String {
    let mut lines = String::new();
    if !options.is_empty() {
        let words: Vec<_> = options.iter().map(|word| quote(word)).collect();
        let _ = writeln!(
            lines,
            "builtin set {} || __driver_seldom __driver_refuse_options",
            words.join(" ")
        );
    }
    let _ = write!(
        lines,
        ". {} >&2\n__driver_loaded {mark}\n,,, {state_mark}\n",
        quote(file),
    );
    lines
}
