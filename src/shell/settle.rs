//! What is done about a shell between two invocations, when nobody waits.
//!
//! After the answer: replaces a shell that has ended, closes what the handler left open, tells what
//! it left running, and asks bash what else it changed. bash is not waited for, which would cost a
//! wake-up for each thing that it tells: if it has not told by then, what it says is read when the
//! next invocation is there.

use std::fmt::Write;
use std::fs::File;
use std::thread;
use std::time::Duration;

use super::Shell;
use super::leftovers::Leftover;
use super::protocol;
use crate::error::Result;
use crate::invocation::Invocation;
use crate::log::Level;
use crate::sys;

/// Memory that an invocation needed beyond this is given back after it.
const KEPT_BYTES: usize = 256 * 1024;
/// What a handler changed is put back in one go, unless its DEBUG trap meddles.
const MAX_ATTEMPTS: usize = 3;
/// How often a process that is left is looked at before it is told of, and how often at most.
const MIN_LOOKS: usize = 2;
const MAX_LOOKS: usize = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Shell<'_> {
    /// Puts the shell in order, or another one in its place.
    ///
    /// # Errors
    /// [`Error::StartShell`](crate::error::Error::StartShell) or
    /// [`Error::LoadHandler`](crate::error::Error::LoadHandler) when a new shell is needed and
    /// does not come up.
    pub fn settle(&mut self, invocation: &Invocation) -> Result<()> {
        if invocation.event.len() > KEPT_BYTES {
            self.channel.forget_event();
            sys::return_free_memory();
        }
        let goes_on = !self.is_damaged
            && self.channel.ask_for_state_after("").is_ok()
            && self.put_back_descriptors()
            && self.part_from_leftovers(invocation)
            && (!self.channel.has_told_state() || self.put_back());
        if goes_on { Ok(()) } else { self.replace() }
    }

    /// Makes the shell as it was when the file was sourced; whether that went well.
    pub(super) fn put_back(&mut self) -> bool {
        for _ in 0..MAX_ATTEMPTS {
            let Some((now, context)) = self.channel.wait_for_state() else {
                return false;
            };
            // What the handler did to the variables is mended by the next invocation.
            if self
                .context
                .as_ref()
                .is_some_and(|known| known.shown() != context)
            {
                self.context = None;
            }
            let lines = match &self.state {
                Some(state) if *state == now => return true,
                Some(state) => state.lines_back_from(&now),
                None => {
                    self.channel.adopt_exit_trap(&now);
                    self.state = Some(now);
                    return true;
                }
            };
            if self.channel.ask_for_state_after(&lines).is_err() {
                return false;
            }
        }
        false
    }

    /// Closes what the handler left open, and leads stderr back to the log; `false` if the
    /// handler closed what is needed.
    fn put_back_descriptors(&mut self) -> bool {
        let Some(watch) = &self.watch else {
            return true;
        };
        let Some(added) = watch.added_descriptors() else {
            return false;
        };
        let mut lines = String::new();
        if !watch.has_log() {
            lines.push_str(protocol::LOG_LINE);
        }
        if let Some(directory) = watch.left_directory() {
            let directory = protocol::quote(&directory.to_string_lossy());
            let _ = writeln!(lines, "\\builtin cd -- {directory}");
        }
        for fd in added {
            let _ = writeln!(lines, "\\exec {fd}>&-");
        }
        lines.is_empty() || self.channel.ask_for_state_after(&lines).is_ok()
    }

    /// A process that the handler left behind may hold its stdout: the next invocation gets
    /// another pipe, and what the process still writes goes to the log. One that holds its stdin
    /// would read the next event: that takes a new shell.
    fn part_from_leftovers(&mut self, invocation: &Invocation) -> bool {
        let mut new = self.new_leftovers();
        // A child that was just started has its stdin still to be led elsewhere, and one that is
        // about to end (a process substitution) is no leftover: so look again.
        for attempt in 0..MAX_LOOKS {
            let holds_event = new.iter().any(|one| one.holds(&self.channel.process.event));
            if new.is_empty() || (attempt >= MIN_LOOKS && !holds_event) {
                break;
            }
            thread::sleep(LOOK_AGAIN);
            new = self.new_leftovers();
        }
        for leftover in &new {
            let (pid, program) = (leftover.pid, &leftover.program);
            let text = format!(
                "process {pid} ({program}) outlives its invocation; what it prints goes to the log"
            );
            let log = &self.config.log;
            log.write(Level::Warn, invocation.origin(), &text);
            self.known_leftovers.push(pid);
        }
        let holds = |file: &File| new.iter().any(|leftover| leftover.holds(file));
        if holds(&self.channel.process.event) {
            return false;
        }
        !holds(&self.channel.process.response) || self.renew_response()
    }

    fn new_leftovers(&mut self) -> Vec<Leftover> {
        let Some(watch) = &self.watch else {
            return Vec::new();
        };
        let pids = watch.processes();
        self.known_leftovers.retain(|pid| pids.contains(pid));
        let new = pids
            .into_iter()
            .filter(|pid| !self.known_leftovers.contains(pid));
        new.filter_map(Leftover::look_up).collect()
    }

    fn renew_response(&mut self) -> bool {
        let Ok(old) = self.channel.renew_response() else {
            return false;
        };
        self.logs.carry_leftover(old);
        if let Some(watch) = &mut self.watch {
            watch.renew();
        }
        true
    }

    /// Starts another shell in the place of this one; variables start anew.
    pub(super) fn replace(&mut self) -> Result<()> {
        self.channel.process.kill();
        self.logs.drain();
        // Processes that outlive their shell go on, and so does what they print.
        let has_leftovers = self
            .watch
            .as_ref()
            .is_some_and(|watch| !watch.processes().is_empty());
        if has_leftovers && let Ok(pipe) = self.channel.process.response.try_clone() {
            self.logs.carry_leftover(pipe.into());
        }
        *self = Self::start(self.config, self.handler)?.finish()?;
        Ok(())
    }
}
