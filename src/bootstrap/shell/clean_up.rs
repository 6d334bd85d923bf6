//! What is done about a shell between two invocations, when nobody waits.
//!
//! After the answer: replaces a shell that has ended or served long enough, closes what the handler
//! left open, parts from the processes that it left running, asks bash what else it changed and puts that back.
//! Only then the next invocation is asked for: what cannot be put back costs a fresh shell here, and
//! never an invocation. Neighbours: `restore.rs` knows what leads back, `forks.rs` is for handlers that bash
//! cannot undo.

use std::fmt::Write;
use std::os::fd::AsFd;

use super::descriptors::{Watch, leads_to};
use super::file_traits::{file_traits, may_kill, observers};
use super::limits::Limits;
use super::observers::{defines_exit, live_commands, watch_commands};
use super::protocol::{self, Context, OUR_DESCRIPTORS};
use super::restore::{Restoration, has_aliases, restoration, restoration_of_few, without_aliases};
use super::state::State;
use super::{Shell, Starting};
use crate::child::LARGE_EVENT_BYTES;
use crate::config::Isolation;
use crate::error::Result;
use crate::invocation::Invocation;
use crate::log::Origin;
use coshell_handler::bash::quote;
use coshell_process::processes;
use coshell_process::sys;

/// What a handler changed is put back in one go, unless its DEBUG trap meddles.
const MAX_ATTEMPTS: usize = 4;
/// A shell that has more than this to show is forked in place of being looked at.
const MAX_STATE_BYTES: usize = 256 * 1024;

/// What became of a shell that was to be put back.
enum RestoreOutcome {
    /// It is as the file left it.
    Done,
    /// Bash cannot do it, because of this.
    Impossible(String),
    /// It does not answer.
    Lost,
}

impl Shell<'_> {
    /// Puts the shell in order, or another one in its place.
    ///
    /// # Errors
    /// [`Error::StartShell`](crate::error::Error::StartShell) or
    /// [`Error::LoadHandler`](crate::error::Error::LoadHandler) when a new shell is needed and
    /// does not come up.
    pub(crate) fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        if invocation.event.len() > LARGE_EVENT_BYTES {
            self.channel.forget_event();
            sys::return_free_memory();
        }
        self.served += 1;
        let config = self.cx.config;
        let is_worn = config.recycle_after.is_some_and(|most| self.served >= most);
        if !self.is_damaged && self.put_in_order(invocation) && !is_worn {
            // What a process wrote that has ended since is of this invocation.
            self.cx.logs.drain();
            self.keep_spare();
            return Ok(());
        }
        if let Some(leftovers) = &mut self.leftovers {
            leftovers.log_or_kill(invocation, |_| false);
        }
        self.replace()?;
        self.prime(invocation);
        Ok(())
    }

    /// What can be done for [`Shell::clean_up`] as soon as the answer is on its way: bash works while the platform
    /// takes it.
    pub(crate) fn begin_clean_up(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let shows_state =
            !self.is_damaged && !self.is_forked() && self.cx.config.isolation != Isolation::Process;
        shows_state.then(|| self.channel.ask_later_for_state_after_reset())
    }

    fn put_in_order(&mut self, invocation: &Invocation) -> bool {
        match self.cx.config.isolation {
            Isolation::Process => {
                // The state that it was to show when it was loaded may still be owed.
                if self.is_in_base_state() && self.channel.wait_for_kept() {
                    let shown = self.channel.take_shown();
                    self.kept.remember_shown(&shown);
                }
                false
            }
            // The fork took with it all that the handler changed.
            _ if self.is_forked() => {
                self.keep_from_fork() && self.collect_leftovers(invocation) && self.make_fork()
            }
            _ => {
                // To give it other pipes takes the state that was asked for.
                let goes_on = self.channel.ask_for_state_after_reset().is_ok()
                    && self.collect_leftovers(invocation)
                    && (self.channel.is_state_pending()
                        || self.channel.ask_for_state_after(b"", b"").is_ok());
                if !goes_on {
                    self.remember_kept();
                    return false;
                }
                // bash is at its state.
                let restore_state = match self.restore_limits() {
                    Ok(()) => self.restore_state(),
                    Err(cause) => {
                        self.remember_kept();
                        RestoreOutcome::Impossible(cause)
                    }
                };
                match restore_state {
                    RestoreOutcome::Done => {
                        self.forks.count_restored();
                        true
                    }
                    RestoreOutcome::Lost => false,
                    RestoreOutcome::Impossible(cause) => {
                        self.give_up(&cause, invocation.origin());
                        false
                    }
                }
            }
        }
    }

    /// Gives bash the limits again that it had.
    ///
    /// # Errors
    /// Which of them cannot be had any more.
    fn restore_limits(&self) -> std::result::Result<(), String> {
        let limits = self.limits.as_ref();
        limits.map_or(Ok(()), |limits| {
            limits.restore(self.channel.process.child.pid())
        })
    }

    /// Bash cannot undo what the event changed.
    fn give_up(&mut self, cause: &str, origin: Origin) {
        let is_undone = self.cx.config.isolation == Isolation::Restore;
        if is_undone && self.forks.count_replaced() {
            self.cx.config.log.warn_for(
                origin,
                format_args!(
                    "events run in forks of the shell from now on, because bash cannot undo what they leave: {cause}"
                ),
            );
        }
    }

    /// Has a fresh shell do what the next invocation would have to wait for: it shows its state, gets the
    /// variables that live on and those that seldom change, or makes a fork.
    pub(super) fn prime(&mut self, invocation: &Invocation) {
        let is_ready = self.is_in_base_state() && self.give_kept();
        if !self.is_forked() && is_ready {
            let context = Context::of(invocation);
            let arguments = protocol::context_arguments(&context, invocation);
            let sent = self
                .channel
                .put(&arguments, b"")
                .and_then(|()| self.channel.write_lines(protocol::CONTEXT_LINE))
                .and_then(|()| self.channel.ask_for_state_after(b"", b""));
            self.context = sent.ok().map(|()| context);
        }
        // One that cannot show its state serves one invocation, as the one before it did.
        self.is_damaged = !is_ready
            || if self.is_forked() {
                !self.make_fork()
            } else {
                !matches!(self.restore_state(), RestoreOutcome::Done)
            };
    }

    /// Starts the bash that a later invocation may need. Not before the first answer, so that the
    /// init does not pay for it, and not beside the start of another one.
    fn keep_spare(&mut self) {
        let config = self.cx.config;
        if !config.keeps_standby || self.standby.is_some() {
            return;
        }
        match Starting::start(self.cx) {
            Ok(standby) => self.standby = Some(Box::new(standby)),
            Err(error) => config.log.warn(format_args!("no spare: {error}")),
        }
    }

    /// Whether the shell is as the file left it, and it is known what that is: asks a shell that has just been
    /// loaded.
    pub(super) fn is_in_base_state(&mut self) -> bool {
        !self.channel.is_state_pending() || matches!(self.restore_state(), RestoreOutcome::Done)
    }

    /// Makes the shell as it was when the file was sourced.
    fn restore_state(&mut self) -> RestoreOutcome {
        for _ in 0..MAX_ATTEMPTS {
            let Some(now) = self.channel.wait_for_state() else {
                return RestoreOutcome::Lost;
            };
            // What the handler did to the variables is mended by the next invocation.
            if (self.context.as_ref())
                .is_some_and(|known| known.shown().as_bytes() != now.context())
            {
                self.context = None;
            }
            // A fresh shell does not have yet what another one has left to it.
            if self.state.is_some() || self.kept.is_empty() {
                self.kept.remember(&now);
            }
            self.kept_descriptors = self.kept.descriptors(&now);
            let restoration = match &self.state {
                None => match self.adopt(now) {
                    commands if commands.is_empty() => return RestoreOutcome::Done,
                    commands => Restoration::Commands {
                        lines: Vec::new(),
                        commands,
                    },
                },
                Some(base) if self.cx.config.isolation == Isolation::Restore => {
                    restoration(base, &now, |name| self.kept.has(name))
                }
                Some(base) => restoration_of_few(base, &now),
            };
            let Some(lines) = self.lines_for_descriptors() else {
                return RestoreOutcome::Impossible("a descriptor that the shell needs".to_owned());
            };
            let mut lines = lines.into_bytes();
            let commands = match restoration {
                Restoration::Impossible(cause) => return RestoreOutcome::Impossible(cause),
                Restoration::None if lines.is_empty() => return RestoreOutcome::Done,
                Restoration::None => Vec::new(),
                Restoration::Commands {
                    lines: more,
                    commands,
                } => {
                    if memchr::memmem::find(&commands, b"LAMBDA_RUNTIME_").is_some() {
                        self.context = None;
                    }
                    lines.extend_from_slice(&more);
                    commands
                }
            };
            if self.channel.ask_for_state_after(&lines, &commands).is_err() {
                return RestoreOutcome::Lost;
            }
        }
        RestoreOutcome::Impossible("what its DEBUG trap does".to_owned())
    }

    /// Takes `shown` for the state that the file left; the commands that make the shell ready for being put
    /// back to it. After those it shows its state once more, which is taken then.
    fn adopt(&mut self, shown: State) -> Vec<u8> {
        if shown.all_bodies().is_none() {
            self.state = Some(shown);
            return Vec::new();
        }
        self.channel.set_initial_exit_trap(&shown);
        let bash = self.channel.process.child.pid();
        // It is at rest now, and has open what it has by rights.
        if matches!(
            self.cx.config.isolation,
            Isolation::Restore | Isolation::None
        ) {
            self.watch = Watch::start(bash);
        }
        let observers = observers(&shown);
        let mut commands = Vec::new();
        if self.cx.config.isolation == Isolation::Restore {
            self.limits = Some(Limits::of(bash));
            let file_traits = file_traits(&shown);
            // One with much to show is forked: that takes less time than to look at it after each event. One that
            // watches the shell would see what is ours in it.
            self.forks.are_needed |=
                file_traits.changes_last_job || observers.any() || shown.len() > MAX_STATE_BYTES;
            commands = file_traits.commands;
        }
        if self.is_forked() {
            self.channel.waits_for_fork_end = may_kill(&shown);
            self.forks.has_own_exit = defines_exit(&shown);
            // What is handed to `eval` is read anew for each event.
            self.forks.are_called |= observers.commands || has_aliases(&shown);
            commands = watch_commands(&shown, observers);
        } else if observers.any() {
            commands = live_commands(&shown, observers);
        }
        if commands.is_empty() {
            self.state = Some(shown);
        } else if has_aliases(&shown) {
            // An alias `builtin` is the file's, too.
            return without_aliases(&commands, true, true);
        }
        commands
    }

    /// Closes what the handler left open at once, since processes that still run may wait for that.
    pub(super) fn close_descriptors(&mut self) {
        if let Some(lines) = self.lines_for_descriptors() {
            // If bash has ended it is replaced.
            let _ = self.channel.write_lines(&lines);
        }
    }

    /// The lines that close what the handler left open, and lead stderr back to the log; `None` if the
    /// handler closed what is needed.
    fn lines_for_descriptors(&self) -> Option<String> {
        let mut lines = String::new();
        let Some(watch) = &self.watch else {
            return Some(lines);
        };
        let added = watch.added_descriptors()?;
        if !watch.has_log() {
            lines.push_str(protocol::LOG_LINE);
        }
        if let Some(directory) = watch.left_directory() {
            let directory = quote(&directory.to_string_lossy());
            let _ = writeln!(lines, "\\builtin cd -- {directory}");
        }
        for fd in added
            .into_iter()
            .filter(|fd| !self.kept_descriptors.contains(fd))
        {
            let _ = writeln!(lines, "\\__driver_redirect '{fd}>&-'");
        }
        Some(lines)
    }

    /// A process that the handler left behind may hold its stdout or its stderr: the next invocation gets
    /// other pipes, and what the process still writes goes to the log of its own. For one that holds what else is the
    /// shell's all of that is renewed.
    fn collect_leftovers(&mut self, invocation: &Invocation) -> bool {
        let Some(leftovers) = &mut self.leftovers else {
            return true;
        };
        let process = &self.channel.process;
        let left = leftovers.log_or_kill(invocation, |pids| {
            processes::hold(pids.to_vec(), &process.event, Some(&OUR_DESCRIPTORS))
        });
        let channels = [
            process.arguments.as_fd(),
            process.event.as_fd(),
            process.state.pipe.as_fd(),
            process.control.as_fd(),
        ];
        if !left.is_empty() && processes::hold_any(&left, &channels) {
            return self.renew_channels();
        }
        let log = self.cx.logs.pipe();
        let is_shared = self.shares_response
            || processes::hold(left.clone(), &process.response, None)
            || processes::hold(left, &*log, None);
        !is_shared || self.renew_output()
    }

    /// Takes other pipes for the response and the log. What is still written to the ones before belongs to
    /// the invocation that has ended.
    fn renew_output(&mut self) -> bool {
        let logs = self.cx.logs;
        if logs.open_new_pipe().is_err() {
            return false;
        }
        // It would write to the log that was.
        self.standby = None;
        let log = logs.pipe();
        let Ok(old) = self.channel.renew_output(log.as_fd()) else {
            return false;
        };
        logs.forward_leftover(old);
        self.shares_response = false;
        let process = &self.channel.process;
        let bash = process.child.pid();
        let is_renewed = leads_to(bash, protocol::RESPONSE, &process.response)
            && leads_to(bash, protocol::LOG, &*log)
            && leads_to(bash, 2, &*log);
        if let Some(watch) = &mut self.watch {
            watch.renew();
        }
        is_renewed
    }

    /// What the variables that live on are by now, of a shell that is about to be replaced.
    fn remember_kept(&mut self) {
        let is_owed =
            self.channel.is_state_pending() || self.channel.ask_for_state_after(b"", b"").is_ok();
        if is_owed && let Some(now) = self.channel.wait_for_state() {
            self.kept.remember(&now);
        }
    }

    /// Gives a fresh shell the variables that live on.
    fn give_kept(&mut self) -> bool {
        if self.kept.is_empty() {
            return true;
        }
        let commands = self.kept.commands(self.state.as_ref());
        // When it has shown its state it has read the commands, and the file is free.
        self.channel.ask_for_state_after(b"", &commands).is_ok() && self.is_in_base_state()
    }

    /// Starts another shell in the place of this one; variables start anew, but for those that live on.
    pub(super) fn replace(&mut self) -> Result<()> {
        // Processes that outlive their shell go on, and what they print is of their own invocation.
        let has_leftovers = self
            .leftovers
            .as_ref()
            .is_some_and(|leftovers| !leftovers.all().is_empty());
        self.channel.process.child.kill();
        self.cx.logs.drain();
        // What was written since the response was taken is of a process that may have ended by now.
        if (has_leftovers || sys::bytes_ready(&self.channel.process.response) > 0)
            && let Ok(pipe) = self.channel.process.response.try_clone()
        {
            self.cx.logs.forward_leftover(pipe);
        }
        if has_leftovers && let Ok(pipe) = self.channel.process.control.try_clone() {
            self.cx.logs.discard_leftover(pipe);
        }
        // Without another pipe their lines are taken for those of the next invocation.
        if has_leftovers && self.cx.logs.open_new_pipe().is_ok() {
            self.standby = None;
        }
        // A spare that has ended meanwhile is none.
        let standby = self.standby.take();
        let standby = standby.and_then(|mut standby| standby.is_alive().then_some(standby));
        let starting = match standby {
            Some(standby) => *standby,
            None => Starting::start(self.cx)?,
        };
        let mut fresh = starting.load().finish()?;
        fresh.kept = std::mem::take(&mut self.kept);
        fresh.forks = self.forks.for_another_shell();
        *self = fresh;
        Ok(())
    }

    /// The descriptors that bash has are those that it has by rights from now on.
    pub(super) fn watch_descriptors(&mut self) {
        self.watch.as_mut().map(Watch::renew);
    }
}
