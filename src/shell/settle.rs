//! What is done about a shell between two invocations, when nobody waits.
//!
//! After the answer: replaces a shell that has ended or served long enough, closes what the handler
//! left open, tells what it left running, and asks bash what else it changed. bash is not waited
//! for, which would cost a wake-up for each thing that it tells: if it has not told by then, what it
//! says is read when the next invocation is there.

use std::fmt::Write;

use super::protocol::{self, Context, OUR_DESCRIPTORS};
use super::{Shell, Starting};
use crate::child::bash::quote;
use crate::child::{KEPT_BYTES, processes};
use crate::config::Isolation;
use crate::error::Result;
use crate::invocation::Invocation;
use crate::log::Level;
use crate::sys;

/// What a handler changed is put back in one go, unless its DEBUG trap meddles.
const MAX_ATTEMPTS: usize = 3;

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
        self.served += 1;
        let config = self.around.config;
        let is_worn = config.recycle_after.is_some_and(|most| self.served >= most);
        let goes_on = !self.is_damaged
            && !is_worn
            && match config.isolation {
                Isolation::None => {
                    self.channel.ask_for_state_after("").is_ok()
                        && self.put_back_descriptors()
                        && self.part_from_leftovers(invocation)
                        && (!self.channel.has_told_state() || self.put_back())
                }
                // The fork took with it all that the handler changed.
                Isolation::Subshell => self.part_from_leftovers(invocation),
                Isolation::Process => false,
            };
        if !goes_on {
            if let Some(leftovers) = &mut self.leftovers {
                leftovers.part(invocation, |_| false);
            }
            self.replace()?;
            self.warm(invocation);
            return Ok(());
        }
        self.keep_spare();
        Ok(())
    }

    /// Has a fresh shell do what the next invocation would have to wait for: it shows its state, and
    /// is given the variables that seldom change.
    fn warm(&mut self, invocation: &Invocation) {
        if !self.is_forked() {
            let context = Context::of(invocation);
            let arguments = protocol::context_arguments(&context, invocation);
            let sent = self
                .channel
                .put(&arguments, b"")
                .and_then(|()| self.channel.ask_for_state_after(protocol::CONTEXT_LINE));
            self.context = sent.ok().map(|()| context);
        }
        // One that cannot show its state serves one invocation, as the one before it did.
        self.is_damaged = !self.put_back();
    }

    /// Starts the bash that a later invocation may need. Not before the first answer, so that the
    /// init does not pay for it, and not beside the start of another one.
    fn keep_spare(&mut self) {
        let config = self.around.config;
        if !config.keeps_spare || self.spare.is_some() {
            return;
        }
        match Starting::start(self.around) {
            Ok(spare) => self.spare = Some(Box::new(spare)),
            Err(error) => {
                let text = format!("no spare: {error}");
                config
                    .log
                    .write(Level::Warn, crate::log::Origin::default(), &text);
            }
        }
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
            let directory = quote(&directory.to_string_lossy());
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
        let Some(leftovers) = &mut self.leftovers else {
            return true;
        };
        let process = &self.channel.process;
        let left = leftovers.part(invocation, |pids| {
            processes::hold(pids.to_vec(), &process.event, Some(&OUR_DESCRIPTORS))
        });
        if processes::hold(left.clone(), &process.event, Some(&OUR_DESCRIPTORS)) {
            return false;
        }
        !processes::hold(left, &process.response, Some(&OUR_DESCRIPTORS)) || self.renew_response()
    }

    fn renew_response(&mut self) -> bool {
        let Ok(old) = self.channel.renew_response() else {
            return false;
        };
        self.around.logs.carry_leftover(old);
        if let Some(watch) = &mut self.watch {
            watch.renew();
        }
        true
    }

    /// Starts another shell in the place of this one; variables start anew.
    pub(super) fn replace(&mut self) -> Result<()> {
        // A spare that has ended meanwhile is none.
        let spare = self.spare.take();
        let spare = spare.and_then(|mut spare| spare.is_alive().then_some(spare));
        self.channel.process.child.kill();
        self.around.logs.drain();
        // Processes that outlive their shell go on, and so does what they print.
        let has_leftovers = self
            .leftovers
            .as_ref()
            .is_some_and(|leftovers| !leftovers.all().is_empty());
        if has_leftovers && let Ok(pipe) = self.channel.process.response.try_clone() {
            self.around.logs.carry_leftover(pipe.into());
        }
        let starting = match spare {
            Some(spare) => *spare,
            None => Starting::start(self.around)?,
        };
        *self = starting.load().finish()?;
        Ok(())
    }
}
