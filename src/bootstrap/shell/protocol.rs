//! What is written to bash and read back; twin of runtime-scripts/driver.bash.
//!
//! `docs/protocol.md` draws it. Pure functions over bytes: nothing here touches a descriptor.

use memchr::{memchr, memmem};
use nix::sys::wait::WaitStatus;

use crate::child::arguments::{Arguments, Separator, push_field};
use crate::invocation::{Invocation, variable};
use coshell_handler::Frame;
use coshell_handler::bash::version;

/// The descriptors that bash starts with; the driver moves the first seven to 60 and up, where
/// the handler's commands do not inherit them. Unlike the numbers below 10 they are ours alone.
pub(crate) const INHERITED_ARGUMENTS: i32 = 70;
/// The handler's standard input.
pub(crate) const INHERITED_EVENT: i32 = 71;
/// The handler's standard output.
pub(crate) const INHERITED_RESPONSE: i32 = 72;
/// What the driver tells us.
pub(crate) const INHERITED_CONTROL: i32 = 73;
/// Where the log goes, kept aside for handlers that lead their stderr elsewhere.
pub(crate) const INHERITED_LOG: i32 = 74;
/// The driver's other half.
pub(crate) const INHERITED_RARE: i32 = 75;
/// Where the shell shows its state.
pub(crate) const INHERITED_STATE: i32 = 76;
/// The driver's text; closed when it is read.
pub(crate) const INHERITED_DRIVER: i32 = 77;
/// The script that we write line by line; bash opens it by its name and keeps that.
pub(crate) const INHERITED_SCRIPT: i32 = 78;
/// The numbers that the driver gives them.
pub(crate) const OUR_DESCRIPTORS: std::ops::RangeInclusive<i32> = 60..=67;
/// The number that an invocation's arguments have in bash.
pub(crate) const ARGUMENTS: i32 = 60;
/// The number that the handler's standard input has in bash.
pub(crate) const EVENT: i32 = 61;
/// The number that the handler's standard output has in bash.
pub(crate) const RESPONSE: i32 = 62;
/// The number of what the driver tells us in bash.
pub(crate) const CONTROL: i32 = 63;
/// The number that the log has in bash.
pub(crate) const LOG: i32 = 64;
/// The number of the file where the shell shows its state in bash.
pub(crate) const STATE: i32 = 66;

/// The driver's other half, as bash names it.
const RARE_FILE: &str = "/dev/fd/65";

/// What bash was last given for the variables that seldom change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// The values of [`variable::CONTEXT`]; empty where the header was absent.
    pub values: [String; 4],
    /// Whether there was a trace header.
    pub has_trace: bool,
    /// Whether there was a deadline.
    pub has_deadline: bool,
}

impl Context {
    /// What `invocation` wants bash to have.
    pub(crate) fn of(invocation: &Invocation) -> Self {
        let values = invocation.context_values();
        Self {
            values: values.map(|value| value.unwrap_or_default().to_owned()),
            has_trace: invocation.trace_id.is_some(),
            has_deadline: invocation.deadline_ms.is_some(),
        }
    }

    /// What the driver shows of the variables when they hold this.
    pub(crate) fn shown(&self) -> String {
        let set = |is_set: bool| if is_set { "set" } else { "" };
        format!(
            "{}|{}|{}",
            set(self.has_deadline),
            set(self.has_trace),
            self.values.join("|")
        )
    }

    /// Whether this is what `invocation` wants; allocates nothing.
    pub(crate) fn fits(&self, invocation: &Invocation) -> bool {
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
pub(crate) fn arguments<'a>(
    invocation: &'a Invocation,
    context: Option<&Context>,
    separator: Separator,
) -> Arguments<'a> {
    let end = separator.byte();
    let mut head = Vec::with_capacity(256);
    if let Some(context) = context {
        push_context(&mut head, context, invocation, end);
    }
    push_field(&mut head, &invocation.request_id, end);
    if let Some(deadline) = &invocation.deadline_ms {
        push_field(&mut head, deadline, end);
        if let Some(trace) = &invocation.trace_id {
            push_field(&mut head, trace, end);
        }
    }
    Arguments {
        head,
        event: invocation.argument(),
        end: vec![end],
    }
}

/// Descriptor 60 for [`CONTEXT_LINE`] alone: `[name NUL value NUL]...`.
pub(crate) fn context_arguments<'a>(context: &Context, invocation: &Invocation) -> Arguments<'a> {
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
        push_field(head, name, end);
        push_field(head, value, end);
    }
}

/// The line that sets the variables which seldom change.
pub(crate) const CONTEXT_LINE: &str = "\\__driver_context\n";

/// Where bash stands after an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// How the handler ended.
    pub ended: Ended,
    /// 0 to 255.
    pub status: i32,
    /// The command that failed, if bash knows one.
    pub command: Option<String>,
    /// The statuses of the parts of the pipeline that failed, if it was one.
    pub parts: Vec<i32>,
    /// Where the handler was, the innermost frame first.
    pub stack: Vec<Frame>,
    /// The handler left an EXIT trap, which has not run yet.
    pub has_exit_trap: bool,
}

impl Report {
    /// Of a shell that ended by itself where the handler did, since the handler has an EXIT trap: for the reason that its last
    /// words give.
    pub(crate) fn of_end(end: WaitStatus, words: &ExitTrace) -> Option<Self> {
        let WaitStatus::Exited(_, status) = end else {
            return None;
        };
        let ended = match words.kind.as_str() {
            "exit" => Ended::Exit,
            "errexit" => Ended::ErrExit,
            _ => return None,
        };
        Some(Self {
            ended,
            status,
            command: words.command.clone().filter(|command| !command.is_empty()),
            parts: words.parts.clone(),
            stack: words.stack.clone(),
            has_exit_trap: false,
        })
    }

    /// What a fork of the shell told of itself before it ended, which is not to be trusted beyond
    /// where it was, belongs to its report.
    pub(crate) fn with_trace_of_fork(mut self, words: Option<ExitTrace>) -> Self {
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
        self.parts = words.parts;
        self.stack = words.stack;
        self
    }
}

/// How a handler ended, in the driver's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
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
pub(crate) fn invocation_lines(
    invocation: &Invocation,
    with_context: bool,
    separator: Separator,
    nonce: &str,
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
    format!("{context}\\{take}{suffix}\n\\,, \"$?\" {nonce}\n")
}

/// The lines that run `function` of the file's, which belongs to no invocation, and report it. It is
/// [`Ended::NotCalled`] if the file does not define it.
pub(crate) fn hook_lines(function: &str, nonce: &str) -> String {
    format!("\\__driver_seldom __driver_hook {function}\n\\,, \"$?\" {nonce}\n")
}

/// The line that starts bash's RANDOM anew.
pub(crate) fn reseed_line(seed: u32) -> String {
    format!("\\__driver_seldom __driver_reseed {seed}\n")
}

/// The lines that end an idle bash: what its EXIT trap prints is log.
pub(crate) const END_LINES: &str = "\\__driver_redirect '>&64'\n\\builtin exit 0\n";

/// The line that ends bash, if it still reads lines, with the status of the handler.
pub(crate) const LEAVE_LINE: &str = "\\builtin exit \"${__driver_status:-$?}\"\n";

/// The lines that run the EXIT trap which a handler left, and report again.
pub(crate) fn exit_trap_lines(status: i32, nonce: &str) -> String {
    format!("\\__driver_seldom __driver_exit_trap {status}\n\\,, \"$?\" {nonce}\n")
}

/// Finds the report that bears `nonce` in what bash wrote; also where it ends. `None` while it
/// is not complete. Right before it stands the EXIT trap that bash has now; `initial_trap` is the one
/// that it has by rights.
pub(crate) fn find_report(
    bytes: &[u8],
    nonce: &str,
    initial_trap: &[u8],
) -> Option<(Report, usize)> {
    // A DEBUG trap of the handler's may print our lines: there no NUL follows.
    let start = memmem::find(bytes, format!("{nonce}\0").as_bytes())?;
    let (fields, length) = fields_between(&bytes[start..], nonce)?;
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
        parts: statuses(&fields.next().unwrap_or_default()),
        stack: fields.take(MAX_FRAMES).map(|text| frame(&text)).collect(),
        has_exit_trap: before.ends_with(b" EXIT\n") && !before.ends_with(initial_trap),
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
pub(crate) fn find_report_in_stdout(
    bytes: &[u8],
    nonce: &str,
    initial_trap: &[u8],
) -> Option<(Report, usize)> {
    let (report, _) = find_report(bytes, nonce, initial_trap)?;
    let before = &bytes[..memmem::find(bytes, format!("{nonce}\0").as_bytes())?];
    let start = before.strip_suffix(initial_trap).unwrap_or(before).len();
    Some((report, start))
}

/// How much of `bytes`, which come from the response's pipe, is no part of a report, for all that is
/// known: bash writes the trap and the mark at once each, and one may be there without the other.
pub(crate) fn before_report_in_stdout(bytes: &[u8], nonce: &str, initial_trap: &[u8]) -> usize {
    if nonce.is_empty() {
        return bytes.len();
    }
    let nonce = memmem::find(bytes, format!("{nonce}\0").as_bytes());
    let before = &bytes[..nonce.unwrap_or(bytes.len())];
    let without_trap = before.strip_suffix(initial_trap);
    without_trap.unwrap_or(before).len()
}

/// The last words of a shell that ended by itself. They are not to be trusted beyond where the
/// shell was: a handler can write them too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExitTrace {
    /// `load` while the file was sourced, `options` when `set` refused them.
    pub kind: String,
    /// While the file was sourced: `file:line` of the command that failed.
    pub failed_at: Option<String>,
    /// The command that was running.
    pub command: Option<String>,
    /// The statuses of the parts of the pipeline that failed, if it was one.
    pub parts: Vec<i32>,
    /// Where the shell was, the innermost frame first.
    pub stack: Vec<Frame>,
}

/// Finds the last words in what bash wrote before it ended.
pub(crate) fn find_exit_trace(bytes: &[u8]) -> Option<ExitTrace> {
    let ends = b"died\0";
    let last = memmem::rfind(bytes, ends)?;
    let start = memmem::rfind(&bytes[..last], ends)?;
    let (fields, _) = fields_between(&bytes[start..], "died")?;
    let mut fields = fields.into_iter();
    let kind = fields.next()?;
    let failed_at = fields.nth(1).filter(|place| !place.is_empty());
    let command = fields.next().filter(|command| !command.is_empty());
    let parts = statuses(&fields.next().unwrap_or_default());
    let stack = fields
        .map(|text| frame(&text))
        .filter(|frame| {
            !is_bottom(frame) && frame.function != "exit" && !is_own_function(&frame.function)
        })
        // A trap may run while bash reads the driver's other half.
        .filter(|frame| frame.file != RARE_FILE)
        .take(MAX_FRAMES)
        .collect();
    Some(ExitTrace {
        kind,
        failed_at,
        command,
        parts,
        stack,
    })
}

/// Reads the statuses of a pipeline's parts.
fn statuses(text: &str) -> Vec<i32> {
    let words = text.split_ascii_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
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
pub(crate) const STARTED: &[u8] = b"started\0";

/// Whether a function of this name is the driver's.
pub(crate) fn is_own_function(name: &str) -> bool {
    const SHORT: [&str; 8] = [",", ",t", ",d", ",l", ",tl", ",dl", ",,", ",,,"];
    name.starts_with("__driver_") || SHORT.contains(&name)
}

/// Whether this is where our lines call the driver, and no function `main` of the file's.
fn is_bottom(frame: &Frame) -> bool {
    frame.function == "main" && frame.file.starts_with("/dev/fd/")
}

/// Frames of a stack beyond this are left out.
const MAX_FRAMES: usize = 100;

/// What bash says when the file is sourced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loaded {
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
    /// `unusable`: the file does something with which no event could run.
    Unusable(String),
}

/// What the file does that cannot go on, if it switches off a builtin that the driver needs: the lines `enable -n NAME`.
pub(crate) fn disabled(bytes: &[u8]) -> Option<String> {
    const NEEDED: [&str; 23] = [
        ".", "builtin", "declare", "disown", "enable", "eval", "exec", "exit", "export", "hash",
        "local", "mapfile", "printf", "read", "readonly", "return", "set", "shift", "shopt",
        "trap", "alias", "umask", "unset",
    ];
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\0'));
    lines.find_map(|line| {
        let name = str::from_utf8(line.strip_prefix(b"enable -n ")?).ok()?;
        NEEDED
            .contains(&name)
            .then(|| format!("it switches off the builtin {name} (enable -n {name})"))
    })
}

/// Finds the answer to [`load_lines`] that bears `nonce`, and where it ends.
pub(crate) fn find_loaded(bytes: &[u8], nonce: &str) -> Option<(Loaded, usize)> {
    let start = memmem::find(bytes, nonce.as_bytes())?;
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
    } else if let Some((_, cause)) = text.split_once(" unusable ") {
        Loaded::Unusable(cause.to_owned())
    } else {
        Loaded::Undefined(words.map(ToOwned::to_owned).collect())
    };
    // What the file has switched off is told before.
    let loaded = disabled(&bytes[..start]).map_or(loaded, Loaded::Unusable);
    Some((loaded, end + 1))
}

/// The line that leads bash's stderr back to the log.
pub(crate) const LOG_LINE: &str = "\\__driver_redirect '2>&64'\n";
