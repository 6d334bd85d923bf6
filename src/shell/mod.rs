//! Keeps the bash coprocess: start, invoke, settle, replace.
//!
//! bash is started once and sources the handler's file once. An invocation is four lines on its
//! script (see `protocol.rs`): bash calls the function, reports, and then shows its state while
//! the answer is already on its way. No process is started for it. Whatever a handler does to
//! the shell is either put back in [`Shell::settle`] or costs a new shell there, never an
//! invocation. Neighbours: `process.rs` starts and kills, `state.rs` and `leftovers.rs` know what
//! to put back, `logs.rs` carries stderr.

mod failure;
mod leftovers;
mod logs;
mod process;
pub mod protocol;
mod state;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use memchr::{memchr, memmem};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::uio::pwritev;
use nix::sys::wait::WaitStatus;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::handler::Handler;
use crate::invocation::{Invocation, Outcome};
use crate::log::{Level, Origin};
use crate::sys;
use leftovers::{Leftover, Watch};
use logs::Logs;
use process::Process;
use protocol::{Context, Ended, Loaded, Report, Separator};
use state::State;

/// For so long only the report is waited for: a response that is shorter than its pipe then
/// costs no wake-up of its own.
const REPORT_ALONE: Duration = Duration::from_millis(1);
/// How long bash may take for what it does between invocations, before it counts as lost.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// A buffer or memory file larger than this is given back after the invocation that needed it.
const KEPT_BYTES: usize = 256 * 1024;

/// A live bash with a handler loaded.
#[derive(Debug)]
pub struct Shell<'a> {
    config: &'a Config,
    handler: &'a Handler,
    process: Process,
    logs: Logs,
    sequence: u64,
    version: (u32, u32),
    /// What the shell was like when the file was sourced.
    state: State,
    /// What /proc shows of bash; `None` where it shows nothing.
    watch: Option<Watch>,
    /// The shell answered once more, and cannot be used again.
    damaged: bool,
    /// What the variables that seldom change hold in bash.
    context: Context,
    /// Bytes from the control pipe that are not used yet.
    told: Vec<u8>,
    /// The mark of the state that bash still owes us.
    owed: Option<String>,
    marks: Marks,
    event_bytes: usize,
    /// Nobody can write to the response's pipe any more: polling it would return at once.
    response_closed: bool,
    /// Processes that were told of already.
    known_leftovers: Vec<nix::unistd::Pid>,
}

/// What came of waiting for bash.
enum Told<T> {
    /// It said this.
    Words(T),
    /// It ended, or cannot tell us anything any more.
    Ended(WaitStatus),
}

impl<'a> Shell<'a> {
    /// Starts bash; it loads the handler meanwhile, until [`Starting::finish`] waits for it.
    ///
    /// # Errors
    /// [`Error::StartShell`] when bash cannot be started.
    pub fn start(config: &'a Config, handler: &'a Handler) -> Result<Starting<'a>> {
        let start = || -> io::Result<Shell<'a>> {
            let mut process = Process::start(&config.bash)?;
            let stderr = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let logs = Logs::start(stderr, config.log);
            Ok(Shell {
                config,
                handler,
                process,
                logs,
                sequence: 0,
                version: (0, 0),
                state: State::default(),
                watch: None,
                damaged: false,
                context: Context::default(),
                told: Vec::new(),
                owed: None,
                marks: Marks::new()?,
                event_bytes: 0,
                response_closed: false,
                known_leftovers: Vec::new(),
            })
        };
        let mut shell = start().map_err(|error| Error::start_shell(&config.bash, &error))?;
        let (mark, state_mark) = (shell.marks.next(), shell.marks.next());
        let lines = protocol::start_lines(
            &std::env::args()
                .next()
                .unwrap_or_else(|| "bootstrap".to_owned()),
            &handler.file.to_string_lossy(),
            &handler.function,
            &config.shell_options,
            &mark,
            &state_mark,
        );
        shell
            .write_lines(&lines)
            .map_err(|error| Error::start_shell(&config.bash, &error))?;
        shell.owed = Some(state_mark);
        Ok(Starting { shell, mark })
    }

    /// Runs one invocation to its end. The response is drained, and so is the log.
    ///
    /// # Errors
    /// [`Error::StartShell`] when the shell has to be replaced before the handler can run, and
    /// cannot be.
    pub fn invoke(&mut self, invocation: &Invocation) -> Result<Outcome> {
        self.logs
            .begin(&invocation.request_id, invocation.tenant_id.as_deref());
        if (self.owed.is_none() || self.put_back())
            && let Some(outcome) = self.try_invoke(invocation)
        {
            return Ok(outcome);
        }
        // The handler was not called, so that it can be called now.
        self.replace()?;
        self.logs
            .begin(&invocation.request_id, invocation.tenant_id.as_deref());
        match self.try_invoke(invocation) {
            Some(outcome) => Ok(outcome),
            None => Err(Error::StartShell {
                bash: self.config.bash.clone(),
                cause: "a fresh shell does not take an invocation".to_owned(),
            }),
        }
    }

    /// `None`: the shell could not take the invocation, and the handler was not called.
    fn try_invoke(&mut self, invocation: &Invocation) -> Option<Outcome> {
        self.sequence += 1;
        let separator = self.separator_for(&invocation.event);
        let mark = self.marks.next();
        let with_context = self.put(invocation, separator).ok()?;
        self.write_lines(&protocol::invocation_lines(separator, with_context, &mark))
            .ok()?;

        let mut response = Vec::new();
        let told = self.wait_for_report(&mark, &mut response);
        self.take_response(&mut response);
        let outcome = match told {
            Told::Words(report) => {
                if report.sequence != Some(self.sequence) {
                    return None;
                }
                let report = self.run_exit_trap(report, &mut response);
                self.logs.drain();
                match report {
                    Told::Words(report) => self.outcome_of_report(&report, response),
                    Told::Ended(status) => self.outcome_of_end(status, response),
                }
            }
            Told::Ended(status) => {
                self.logs.drain();
                self.outcome_of_end(status, response)
            }
        };
        Some(outcome)
    }

    fn separator_for(&self, event: &[u8]) -> Separator {
        if self.version < (5, 2) && memchr(b'\n', event).is_none() {
            Separator::Newline
        } else {
            Separator::Nul
        }
    }

    /// Lays the invocation out where bash and the handler read it; whether that includes the
    /// variables that seldom change.
    fn put(&mut self, invocation: &Invocation, separator: Separator) -> io::Result<bool> {
        let with_context = !self.context.fits(invocation);
        if with_context {
            self.context = Context::of(invocation);
        }
        let context = with_context.then_some(&self.context);
        let arguments = protocol::arguments(self.sequence, invocation, context, separator);
        let pieces = [&arguments.head[..], &arguments.event, &arguments.end];
        put_file(&mut self.process.arguments, &pieces)?;
        put_file(&mut self.process.event, &[&invocation.event])?;
        if invocation.event.len() < self.event_bytes {
            self.process.event.set_len(invocation.event.len() as u64)?;
        }
        self.event_bytes = invocation.event.len();
        Ok(with_context)
    }

    fn write_lines(&mut self, lines: &str) -> io::Result<()> {
        self.process.script.write_all(lines.as_bytes())
    }

    /// Waits for the report, and takes what the handler writes if that is more than its pipe
    /// holds, or takes long.
    fn wait_for_report(&mut self, mark: &str, response: &mut Vec<u8>) -> Told<Report> {
        let begun = Instant::now();
        let mut alone = true;
        loop {
            if let Some((report, end)) = protocol::find_report(&self.told, mark) {
                self.told.drain(..end);
                return Told::Words(report);
            }
            let limit = alone.then(|| REPORT_ALONE.saturating_sub(begun.elapsed()));
            let ready = self.wait([true, true, !alone && !self.response_closed], limit);
            if ready.response
                && let Some(report) = self.take_misled_report(mark, response)
            {
                return Told::Words(report);
            }
            if ready.control {
                match read_available(&mut self.process.control, &mut self.told) {
                    Ok(0) => return Told::Ended(self.wait_for_end(response)),
                    Ok(_) => {}
                    Err(_) => return Told::Ended(self.wait_for_end(response)),
                }
            } else if ready.ended {
                return Told::Ended(self.wait_for_end(response));
            }
            alone = alone && begun.elapsed() < REPORT_ALONE;
        }
    }

    /// bash has closed its control descriptor: it became another program (`exec`), or the handler
    /// closed it. Either way its exit status is the outcome.
    fn wait_for_end(&mut self, response: &mut Vec<u8>) -> WaitStatus {
        self.damaged = true;
        // If it is still bash it gets to this line after the handler, and ends as that did.
        let _ = self.write_lines("builtin exit \"${__driver_status:-0}\"\n");
        loop {
            if let Some(status) = self.process.status() {
                // Its last words may have come with its end.
                while matches!(
                    self.read_control_now(),
                    Ok(count) if count > 0
                ) {}
                return status;
            }
            let ready = self.wait([false, true, !self.response_closed], None);
            if ready.response {
                self.take_or_close_response(response);
            }
        }
    }

    /// Takes what the handler wrote so far. A handler that closed every descriptor has closed the
    /// one that bash keeps its stdout in as well: then the report comes with the response.
    fn take_misled_report(&mut self, mark: &str, response: &mut Vec<u8>) -> Option<Report> {
        let before = response.len();
        self.take_or_close_response(response);
        let (report, start) = protocol::find_misled_report(&response[before..], mark)?;
        response.truncate(before + start);
        self.damaged = true;
        Some(report)
    }

    /// A pipe that is ready and empty has no writer any more.
    fn take_or_close_response(&mut self, response: &mut Vec<u8>) {
        let before = response.len();
        self.take_response(response);
        self.response_closed = response.len() == before;
    }

    fn read_control_now(&mut self) -> io::Result<usize> {
        if sys::bytes_ready(&self.process.control) == 0 {
            return Ok(0);
        }
        read_available(&mut self.process.control, &mut self.told)
    }

    /// Waits until one of what is `wanted` is ready: the control pipe, the end of bash, the
    /// response. A pipe that is closed counts as ready.
    fn wait(&self, wanted: [bool; 3], limit: Option<Duration>) -> Ready {
        let sources = [
            self.process.control.as_fd(),
            self.process.ended(),
            self.process.response.as_fd(),
        ];
        let chosen = sources
            .into_iter()
            .zip(wanted)
            .filter(|(_, wanted)| *wanted);
        let mut polled: Vec<_> = chosen
            .map(|(source, _)| PollFd::new(source, PollFlags::POLLIN))
            .collect();
        let _ = ppoll(&mut polled, limit.map(TimeSpec::from_duration), None);
        let mut found = polled
            .iter()
            .map(|one| one.revents().is_some_and(|events| !events.is_empty()));
        let mut take = |wanted: bool| wanted && found.next().unwrap_or(false);
        Ready {
            control: take(wanted[0]),
            ended: take(wanted[1]),
            response: take(wanted[2]),
        }
    }

    /// Takes what is in the response's pipe now, and no more: what a background job writes later
    /// is not of this response.
    fn take_response(&mut self, response: &mut Vec<u8>) {
        let ready = sys::bytes_ready(&self.process.response);
        response.reserve(ready);
        let limit = u64::try_from(ready).unwrap_or(u64::MAX);
        // It does not block: an error means that there is no more.
        let _ = (&self.process.response).take(limit).read_to_end(response);
    }

    /// An EXIT trap that the handler set runs at the end of its invocation, as it would at the
    /// end of the tutorial's subshell; once, even if it sets another one.
    fn run_exit_trap(&mut self, report: Report, response: &mut Vec<u8>) -> Told<Report> {
        if !report.has_exit_trap {
            return Told::Words(report);
        }
        let mark = self.marks.next();
        let lines = protocol::exit_trap_lines(report.status, self.sequence, &mark);
        if self.write_lines(&lines).is_err() {
            return Told::Words(report);
        }
        let told = self.wait_for_report(&mark, response);
        self.take_response(response);
        match told {
            // The trap went through: the handler's own end counts.
            Told::Words(after) if after.ended == Ended::Return => Told::Words(report),
            told => told,
        }
    }

    fn outcome_of_report(&self, report: &Report, response: Vec<u8>) -> Outcome {
        if report.status == 0 && report.ended != Ended::ErrExit {
            return Outcome::Response(self.trim(response));
        }
        let function = &self.handler.function;
        Outcome::Failure(failure::of_report(function, report, &self.logs.tail()))
    }

    fn outcome_of_end(&mut self, status: WaitStatus, response: Vec<u8>) -> Outcome {
        if matches!(status, WaitStatus::Exited(_, 0)) {
            return Outcome::Response(self.trim(response));
        }
        let words = protocol::find_last_words(&self.told).unwrap_or_default();
        Outcome::Failure(failure::of_end(
            &self.handler.function,
            status,
            words,
            &self.logs.tail(),
        ))
    }

    fn trim(&self, mut response: Vec<u8>) -> Vec<u8> {
        if !self.config.keep_trailing_newlines {
            response.truncate(protocol::without_newlines_at_end(&response).len());
        }
        response
    }

    /// What is done when the answer is posted and nobody waits: replaces a shell that has ended,
    /// tells what the handler left running, closes what it left open, and puts back what it
    /// changed, if bash has told that by now; if not, [`Shell::invoke`] does. So bash need not be
    /// waited for, which would cost a wake-up for each thing that it tells.
    ///
    /// # Errors
    /// [`Error::StartShell`] or [`Error::LoadHandler`] when a new shell is needed and does not
    /// come up.
    pub fn settle(&mut self, invocation: &Invocation) -> Result<()> {
        let goes_on = !self.damaged
            && self.ask_for_state().is_ok()
            && self.close_descriptors()
            && self.part_from_leftovers(invocation)
            && (!self.has_told_state() || self.put_back());
        if !goes_on {
            self.replace()?;
        }
        self.give_memory_back(invocation);
        Ok(())
    }

    /// Makes bash show its state, for a mark that is then owed.
    fn ask_for_state(&mut self) -> io::Result<()> {
        self.ask_for_state_after("")
    }

    fn ask_for_state_after(&mut self, lines: &str) -> io::Result<()> {
        if let Some(mark) = self.owed.take() {
            // One state at a time: the one before `lines` is of no use.
            self.wait_for_state(&mark)
                .ok_or(io::ErrorKind::BrokenPipe)?;
        }
        let mark = self.marks.next();
        self.write_lines(&format!("{lines}{}", protocol::state_lines(&mark)))?;
        self.owed = Some(mark);
        Ok(())
    }

    /// Whether the state that bash owes us is here, without waiting for it.
    fn has_told_state(&mut self) -> bool {
        let _ = self.read_control_now();
        let Some(mark) = &self.owed else { return true };
        memmem::find(&self.told, mark.as_bytes()).is_some()
    }

    /// Makes the shell as it was when the file was sourced; whether that went well.
    fn put_back(&mut self) -> bool {
        for _ in 0..2 {
            let Some(now) = self.owed.take().and_then(|mark| self.wait_for_state(&mark)) else {
                return false;
            };
            let lines = self.state.lines_back_from(&now);
            self.context = now.context;
            if lines.is_empty() {
                return true;
            }
            if self.ask_for_state_after(&lines).is_err() {
                return false;
            }
        }
        false
    }

    /// Closes what the handler left open; `false` if it closed what is needed.
    fn close_descriptors(&mut self) -> bool {
        let Some(watch) = &self.watch else {
            return true;
        };
        let Some(added) = watch.added_descriptors() else {
            return false;
        };
        if added.is_empty() {
            return true;
        }
        let mut lines = String::new();
        for fd in added {
            let _ = writeln!(lines, "exec {fd}>&-");
        }
        self.ask_for_state_after(&lines).is_ok()
    }

    fn wait_for_state(&mut self, mark: &str) -> Option<State> {
        let begun = Instant::now();
        loop {
            if let Some((state, end)) = state::find_state(&self.told, mark) {
                self.told.drain(..end);
                return Some(state);
            }
            let limit = SETTLE_LIMIT.checked_sub(begun.elapsed())?;
            let ready = self.wait([true, true, false], Some(limit));
            if ready.control {
                if read_available(&mut self.process.control, &mut self.told).ok()? == 0 {
                    return None;
                }
            } else if ready.ended {
                return None;
            }
        }
    }

    /// A process that the handler left behind may hold its stdout: the next invocation gets
    /// another pipe, and what the process still writes goes to the log. One that holds its stdin
    /// would read the next event: that takes a new shell.
    fn part_from_leftovers(&mut self, invocation: &Invocation) -> bool {
        let Some(watch) = &self.watch else {
            return true;
        };
        let pids = watch.processes();
        if pids.is_empty() {
            return true;
        }
        self.known_leftovers.retain(|pid| pids.contains(pid));
        let new = pids
            .into_iter()
            .filter(|pid| !self.known_leftovers.contains(pid));
        let new: Vec<Leftover> = new.filter_map(Leftover::look_up).collect();
        for leftover in &new {
            let (pid, command) = (leftover.pid, &leftover.command);
            let text = format!(
                "process {pid} ({command}) outlives its invocation; what it prints goes to the log"
            );
            self.warn(invocation, &text);
            self.known_leftovers.push(pid);
        }
        let holds = |file: &File| new.iter().any(|leftover| leftover.holds(file));
        if holds(&self.process.event) {
            return false;
        }
        !holds(&self.process.response) || self.renew_response().is_ok()
    }

    /// Gives bash another pipe for the handler's stdout.
    fn renew_response(&mut self) -> io::Result<()> {
        let (ours, theirs) = process::response_pipe()?;
        let lines = protocol::renew_response_lines(std::process::id(), theirs.as_raw_fd());
        // When bash has shown its state it has opened the pipe: we may close our end of it.
        self.ask_for_state_after(&lines)?;
        self.ask_for_state()?;
        let old = std::mem::replace(&mut self.process.response, sys::file(ours));
        self.logs.carry_leftover(old.into());
        if let Some(watch) = &mut self.watch {
            watch.renew();
        }
        Ok(())
    }

    fn warn(&self, invocation: &Invocation, text: &str) {
        let origin = Origin {
            request_id: Some(&invocation.request_id),
            tenant_id: invocation.tenant_id.as_deref(),
        };
        self.config.log.write(Level::Warn, origin, &text);
    }

    /// Starts another shell in the place of this one; variables start anew.
    fn replace(&mut self) -> Result<()> {
        self.process.kill();
        self.logs.drain();
        // Processes that outlive their shell go on, and so does what they print.
        if self
            .watch
            .as_ref()
            .is_some_and(|watch| !watch.processes().is_empty())
            && let Ok(pipe) = self.process.response.try_clone()
        {
            self.logs.carry_leftover(pipe.into());
        }
        *self = Self::start(self.config, self.handler)?.finish()?;
        Ok(())
    }

    fn give_memory_back(&mut self, invocation: &Invocation) {
        if self.event_bytes > KEPT_BYTES {
            self.event_bytes = 0;
            let _ = self.process.event.set_len(0);
            let _ = self.process.arguments.set_len(0);
        }
        if invocation.event.len() > KEPT_BYTES {
            sys::return_free_memory();
        }
    }
}

/// A shell that loads its handler.
#[derive(Debug)]
pub struct Starting<'a> {
    shell: Shell<'a>,
    mark: String,
}

impl<'a> Starting<'a> {
    /// Waits until the file is sourced, without a limit: the platform has one of its own.
    ///
    /// # Errors
    /// [`Error::LoadHandler`] with what was the matter with the handler.
    pub fn finish(self) -> Result<Shell<'a>> {
        let Self { mut shell, mark } = self;
        let loaded = loop {
            if let Some((loaded, end)) = protocol::find_loaded(&shell.told, &mark) {
                shell.told.drain(..end);
                break loaded;
            }
            let ready = shell.wait([true, true, false], None);
            let closed = ready.control
                && !matches!(
                    read_available(&mut shell.process.control, &mut shell.told),
                    Ok(1..)
                );
            if closed || (ready.ended && !ready.control) {
                let status = shell.wait_for_end(&mut Vec::new());
                return Err(shell.load_error(status));
            }
        };
        let syntax_error = || failure::syntax_error(shell.config, shell.handler);
        match loaded {
            Loaded::Ready { status, version } => {
                // Without `set -e` bash goes on after a syntax error.
                if status != 0
                    && let Some(error) = syntax_error()
                {
                    return Err(error);
                }
                shell.version = version;
            }
            Loaded::Undefined(functions) => {
                return Err(
                    syntax_error().unwrap_or_else(|| failure::undefined(shell.handler, &functions))
                );
            }
        }
        let state = shell
            .owed
            .take()
            .and_then(|mark| shell.wait_for_state(&mark));
        let Some(state) = state else {
            let status = shell.wait_for_end(&mut Vec::new());
            return Err(shell.load_error(status));
        };
        shell.context = state.context.clone();
        shell.state = state;
        shell.watch = Watch::start(shell.process.pid());
        shell.known_leftovers = shell
            .watch
            .as_ref()
            .map(Watch::processes)
            .unwrap_or_default();
        shell.logs.drain();
        Ok(shell)
    }
}

impl Shell<'_> {
    fn load_error(&mut self, status: WaitStatus) -> Error {
        self.logs.drain();
        let words = protocol::find_last_words(&self.told);
        failure::of_load(self.config, self.handler, status, words, &self.logs.tail())
    }
}

/// What `wait` found to be ready.
struct Ready {
    control: bool,
    ended: bool,
    response: bool,
}

/// Makes `file` start with the pieces, to be read from its start. Does not cut off what is behind.
fn put_file(file: &mut File, pieces: &[&[u8]]) -> io::Result<()> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let slices: Vec<IoSlice> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let written = pwritev(&*file, &slices, 0)?;
    if written < length {
        let all: Cow<[u8]> = pieces.concat().into();
        std::os::unix::fs::FileExt::write_all_at(file, &all[written..], written as u64)?;
    }
    file.rewind()
}

/// One read of what is there, appended.
fn read_available(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    loop {
        match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(count) => {
                bytes.extend_from_slice(&piece[..count]);
                return Ok(count);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Marks that no handler can guess: 40 random bits each.
#[derive(Debug)]
struct Marks {
    source: File,
    bytes: Vec<u8>,
}

impl Marks {
    fn new() -> io::Result<Self> {
        Ok(Self {
            source: File::open("/dev/urandom")?,
            bytes: Vec::new(),
        })
    }

    fn next(&mut self) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        if self.bytes.len() < 8 {
            self.bytes.resize(1024, 0);
            // The system's source of random bytes does not run dry or break.
            let _ = self.source.read_exact(&mut self.bytes);
        }
        let bytes = self.bytes.split_off(self.bytes.len() - 8);
        bytes
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(byte & 31)]))
            .collect()
    }
}
