//! Cleans the shell up after an answer, while no caller waits.
//!
//! In this order: close what the handler left open, look at the processes that it left running, show the shell's
//! state, and undo what the handler changed. Then the next event is fetched. If bash cannot undo a change, or has
//! ended, or has served often enough, `replacement.rs` gives the next event a fresh shell. `restore.rs` knows how to
//! undo changes; `forks.rs` is for handlers whose changes bash cannot undo.

use std::io::Write;
use std::os::fd::AsFd;

use super::command_list::{expands_aliases, quoted, without_aliases};
use super::descriptors::{ProcBaseline, leads_to};
use super::file_traits::{FileTraits, find_observers, may_kill};
use super::observers::{defines_exit, fork_commands, live_commands};
use super::process_limits::ProcessLimits;
use super::restore::{RestorePlan, plan_full_restore, plan_partial_restore};
use super::state::ShellState;
use super::to_shell::ToShell;
use super::{CleanUp, Shell};
use crate::child::LARGE_EVENT_BYTES;
use crate::child::leftovers::Leftovers;
use crate::config::Isolation;
use crate::error::Result;
use crate::invocation::Invocation;
use crate::log::Origin;
use coshell_driver::fd;
use coshell_process::processes;
use coshell_process::sys;

/// One attempt restores a shell, unless something interferes, such as the handler's DEBUG trap.
const MAX_ATTEMPTS: usize = 4;
/// A shell with a larger state runs its events in forks, which takes less time than comparing the state.
const MAX_STATE_BYTES: usize = 256 * 1024;

/// How restoring a shell ended.
pub(super) enum RestoreOutcome {
    /// The shell is as the file left it.
    Restored,
    /// bash cannot undo this change.
    Impossible(String),
    /// bash does not answer.
    Lost,
}

impl Shell<'_> {
    /// Gets the shell ready for the next event, or replaces it. Fails only if a new shell is needed and does not start.
    pub(crate) fn clean_up(&mut self, invocation: &Invocation) -> Result<()> {
        if invocation.event.len() > LARGE_EVENT_BYTES {
            self.channel.forget_event();
            sys::return_free_memory();
        }
        self.served += 1;
        self.clean_up = CleanUp::Done;
        let config = self.cx.config;
        let is_worn = config.recycle_after.is_some_and(|most| self.served >= most);
        if !self.is_damaged && self.make_ready(invocation) && !is_worn {
            // Log lines of a process that has ended since the answer belong to this invocation.
            self.cx.logs.drain();
            self.start_standby();
            return Ok(());
        }
        if let Some(leftovers) = &mut self.leftovers {
            leftovers.log_or_kill(invocation, |_| false);
        }
        self.replace()?;
        self.prime(invocation);
        Ok(())
    }

    /// Returns the first step of [`Shell::clean_up`], to be called when the answer has been sent. So bash works while
    /// the platform processes the answer.
    pub(crate) fn begin_clean_up(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let shows_state =
            !self.is_damaged && !self.is_forked() && self.isolation() != Isolation::Process;
        shows_state.then(|| self.channel.defer_state_request())
    }

    /// Gets the shell ready for the next event. Returns false if it has to be replaced.
    fn make_ready(&mut self, invocation: &Invocation) -> bool {
        match self.isolation() {
            Isolation::Process if self.is_forked() => {
                self.keep_from_fork();
                false
            }
            Isolation::Process => {
                // The state from loading the file may still be pending.
                if self.is_in_initial_state() && self.channel.wait_for_kept() {
                    let shown = self.channel.take_shown();
                    self.kept_variables.remember_shown(&shown);
                }
                false
            }
            // What the handler changed has ended with the fork.
            _ if self.is_forked() => {
                self.keep_from_fork()
                    && self.collect_leftovers(invocation)
                    // A fork can change those of its shell.
                    && self.restore_limits().is_ok()
                    && self.make_fork()
            }
            _ => {
                // If the shell gets other pipes, that uses up the requested state, and another one is needed.
                let goes_on = self.channel.request_state_after_reset().is_ok()
                    && self.collect_leftovers(invocation)
                    && (self.channel.is_state_pending()
                        || self.channel.request_state_after(b"", b"").is_ok());
                if !goes_on {
                    self.remember_kept();
                    return false;
                }
                let outcome = match self.restore_limits() {
                    // With job control, bash goes on when a process is stopped, and knows it.
                    Ok(()) if self.isolation() == Isolation::Restore && self.has_job() => {
                        self.remember_kept();
                        RestoreOutcome::Impossible("a job that is stopped or goes on".to_owned())
                    }
                    Ok(()) => self.restore_state(),
                    Err(cause) => {
                        self.remember_kept();
                        RestoreOutcome::Impossible(cause)
                    }
                };
                match outcome {
                    RestoreOutcome::Restored => {
                        self.forks.count_restored();
                        self.open_calls()
                    }
                    RestoreOutcome::Lost => false,
                    RestoreOutcome::Impossible(cause) => {
                        self.count_unrestorable(&cause, invocation.origin());
                        false
                    }
                }
            }
        }
    }

    fn has_job(&self) -> bool {
        self.leftovers.as_ref().is_some_and(Leftovers::has_job)
    }

    /// Gives bash its initial limits again. Fails with the limit that it cannot get.
    fn restore_limits(&self) -> std::result::Result<(), String> {
        let limits = self.initial_limits.as_ref();
        limits.map_or(Ok(()), |limits| {
            limits.restore(self.channel.process.child.pid())
        })
    }

    /// Counts an event whose changes bash cannot undo, and warns if events run in forks from now on.
    fn count_unrestorable(&mut self, cause: &str, origin: Origin) {
        let restores = self.isolation() == Isolation::Restore;
        if restores && self.forks.count_replaced() {
            self.cx.config.log.warn_for(
                origin,
                format_args!(
                    "events run in forks of the shell from now on, because bash cannot undo what they leave: {cause}"
                ),
            );
        }
    }

    /// Waits for the state of a shell that has just been loaded. Returns false if the shell cannot be used.
    pub(super) fn is_in_initial_state(&mut self) -> bool {
        !self.channel.is_state_pending() || matches!(self.restore_state(), RestoreOutcome::Restored)
    }

    /// Reads the pending state, and makes the shell as it was when bash had sourced the file.
    pub(super) fn restore_state(&mut self) -> RestoreOutcome {
        for _ in 0..MAX_ATTEMPTS {
            let Some(now) = self.channel.wait_for_state() else {
                return RestoreOutcome::Lost;
            };
            // If the handler changed a variable of the context, the next invocation sets them all.
            if (self.context.as_ref())
                .is_some_and(|known| known.state_field().as_bytes() != now.context())
            {
                self.context = None;
            }
            // A fresh shell that has not got the kept variables yet must not make us forget them.
            if self.initial_state.is_some() || self.kept_variables.is_empty() {
                self.kept_variables.remember(&now);
            }
            self.kept_descriptors = self.kept_variables.descriptors(&now);
            let plan = match &self.initial_state {
                None => match self.set_initial_state(now) {
                    commands if commands.is_empty() => return RestoreOutcome::Restored,
                    commands => RestorePlan::Commands {
                        lines: Vec::new(),
                        commands,
                    },
                },
                // What a handler changed has ended with its fork. Such a shell does not show all of its state.
                Some(_) if self.is_forked() => RestorePlan::Nothing,
                Some(initial) if self.isolation() == Isolation::Restore => {
                    plan_full_restore(initial, &now, |name| self.kept_variables.contains(name))
                }
                Some(initial) => plan_partial_restore(initial, &now),
            };
            let Some(mut lines) = self.lines_for_descriptors() else {
                return RestoreOutcome::Impossible(
                    "a closed or redirected descriptor that the shell needs".to_owned(),
                );
            };
            let commands = match plan {
                RestorePlan::Impossible(cause) => return RestoreOutcome::Impossible(cause),
                RestorePlan::Nothing if lines.is_empty() => return RestoreOutcome::Restored,
                RestorePlan::Nothing => Vec::new(),
                RestorePlan::Commands {
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
            if self.channel.request_state_after(&lines, &commands).is_err() {
                return RestoreOutcome::Lost;
            }
        }
        RestoreOutcome::Impossible("what changes again while it is restored".to_owned())
    }

    /// Takes `shown` for the initial state, to which the shell is restored from now on.
    ///
    /// Returns the commands that prepare the shell for being restored. If there are any, the shell has to show its
    /// state once more when it has run them, and that is the initial state.
    fn set_initial_state(&mut self, shown: ShellState) -> Vec<u8> {
        if shown.all_bodies().is_none() {
            self.initial_state = Some(shown);
            return Vec::new();
        }
        self.channel.set_initial_exit_trap(&shown);
        let bash = self.channel.process.child.pid();
        // bash is idle now, so its descriptors are the initial ones.
        if matches!(self.isolation(), Isolation::Restore | Isolation::None) {
            self.proc_baseline = ProcBaseline::record(bash);
        }
        if self.isolation() == Isolation::Restore
            && let Some(baseline) = &mut self.proc_baseline
        {
            baseline.mark_files(self.channel.process.child.pidfd());
        }
        let observers = find_observers(&shown);
        let mut commands = Vec::new();
        if matches!(self.isolation(), Isolation::Restore | Isolation::Subshell) {
            self.initial_limits = Some(ProcessLimits::of(bash));
        }
        if self.isolation() == Isolation::Restore {
            let traits = FileTraits::of(&shown);
            let limits = self.initial_limits.as_ref();
            // In a live shell, code that observes commands would see coshell's.
            self.forks.are_needed |= traits.needs_forks
                || observers.any()
                || shown.len() > MAX_STATE_BYTES
                || limits.is_some_and(ProcessLimits::ends_by_processor_time);
            commands = traits.commands;
        }
        if self.is_forked() {
            self.channel.trusts_fork_end_only = may_kill(&shown);
            self.forks.has_own_exit = defines_exit(&shown);
            // bash parses a text for `eval` anew for each event, and would expand the file's aliases in it.
            self.forks.run_in_function |= observers.see_commands || expands_aliases(&shown);
            commands = fork_commands(&shown, observers);
        } else if observers.any() {
            commands = live_commands(&shown, observers);
        }
        if commands.is_empty() {
            self.initial_state = Some(shown);
        } else if expands_aliases(&shown) {
            // The file may have an alias `builtin`.
            return without_aliases(&commands, true, true);
        }
        commands
    }

    /// Closes the descriptors that the handler left open, since a process that still runs may wait for that.
    pub(super) fn close_descriptors(&mut self) {
        if let Some(lines) = self.lines_for_descriptors() {
            // If this fails, bash has ended and is replaced.
            let _ = self.channel.process.script.as_ref().write_all(&lines);
        }
    }

    /// The lines that close the descriptors which the handler left open, and restore stderr and the directory. `None`
    /// if the handler closed a descriptor that is needed.
    fn lines_for_descriptors(&self) -> Option<Vec<u8>> {
        let mut lines = Vec::new();
        let Some(baseline) = &self.proc_baseline else {
            return Some(lines);
        };
        let added = baseline.added_descriptors()?;
        if !baseline.has_log() {
            lines.extend_from_slice(ToShell::RestoreLog.to_string().as_bytes());
        }
        if let Some(directory) = baseline.left_directory() {
            lines.extend_from_slice(b"\\builtin cd -- ");
            lines.append(&mut quoted(directory.as_encoded_bytes()));
            lines.push(b'\n');
        }
        for fd in added
            .into_iter()
            .filter(|fd| !self.kept_descriptors.contains(fd))
        {
            lines.extend_from_slice(ToShell::Close(fd).to_string().as_bytes());
        }
        Some(lines)
    }

    /// Lets the shell wait again when it writes to a full pipe: a program may have switched that off, for all that have the pipe.
    fn make_output_blocking(&self) {
        let child = &self.channel.process.child;
        for fd in [fd::RESPONSE, fd::LOG] {
            // Where the kernel does not let us, a program can do the shell this harm.
            let _ = sys::make_blocking(child.pidfd(), fd);
        }
    }

    /// Looks at the processes that the handler left running. If one of them holds a file or pipe of the shell's, the
    /// shell gets other ones: so the process can neither read nor answer the next event, and its output is logged for
    /// its own event. Returns false if that fails.
    fn collect_leftovers(&mut self, invocation: &Invocation) -> bool {
        self.make_output_blocking();
        let Some(leftovers) = &mut self.leftovers else {
            return true;
        };
        let process = &self.channel.process;
        let left = leftovers.log_or_kill(invocation, |pids| {
            processes::any_has_open(pids.to_vec(), &process.event, Some(&fd::OURS))
        });
        let channels = [
            process.arguments.as_fd(),
            process.event.as_fd(),
            process.state.pipe.as_fd(),
            process.control.as_fd(),
        ];
        if !left.is_empty() && processes::any_has_one_open(&left, &channels) {
            return self.renew_channels();
        }
        let log = self.cx.logs.pipe();
        // Output that came after the response was read is from a process that may have ended by now.
        let is_shared = self.leftover_holds_response
            || sys::bytes_ready(&process.response) > 0
            || processes::any_has_open(left.clone(), &process.response, None)
            || processes::any_has_open(left, &*log, None);
        !is_shared || self.renew_output()
    }

    /// Gives the shell new pipes for response and log. What comes out of the old ones is logged for the invocation
    /// that has ended.
    fn renew_output(&mut self) -> bool {
        let logs = self.cx.logs;
        if logs.open_new_pipe().is_err() {
            return false;
        }
        // The standby shell has the old log pipe.
        self.standby = None;
        let log = logs.pipe();
        let Ok(old) = self.channel.renew_output(log.as_fd()) else {
            return false;
        };
        logs.forward_leftover(old);
        self.leftover_holds_response = false;
        let process = &self.channel.process;
        let bash = process.child.pid();
        let is_renewed = leads_to(bash, fd::RESPONSE, &process.response)
            && leads_to(bash, fd::LOG, &*log)
            && leads_to(bash, 2, &*log);
        self.update_proc_baseline();
        is_renewed
    }

    /// Gives the shell descriptors for its calls, if it makes any and has none yet. Returns false if it has to be replaced.
    fn open_calls(&mut self) -> bool {
        let bash = self.channel.process.child.pid();
        let Some(ends) = self.cx.calls.and_then(|calls| calls.open_for_shell(bash)) else {
            return true;
        };
        let numbers = ends.numbers();
        let host = std::process::id();
        let lines = ToShell::OpenCalls { host, numbers }.to_string();
        let requested = self.channel.request_state_after(lines.as_bytes(), b"");
        // A bash that shows its state has opened them, so that we may close ours.
        let is_open = requested.is_ok() && self.channel.wait_for_state().is_some();
        self.update_proc_baseline();
        is_open
    }

    /// Makes the descriptors and the directory that bash has now the initial ones.
    pub(super) fn update_proc_baseline(&mut self) {
        if let Some(baseline) = &mut self.proc_baseline {
            baseline.update();
        }
    }
}
