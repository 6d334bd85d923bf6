//! What an invocation leaves running: told of once, or ended.
//!
//! Looked for after the answer, when nobody waits.

use std::cell::RefCell;
use std::fs::File;
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

use coshell_process::processes::{self, Orphans, trees};

use super::LaneContext;
use crate::invocation::Invocation;

/// How often a process that is left is looked at before it is told of, and how often at most.
const MIN_LOOKS: usize = 2;
const MAX_LOOKS: usize = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How often one that starts another program is looked at.
const MAX_LOOKS_AT_STARTING: usize = 50;
/// What a process that is to be ended has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(50);

/// The processes that are left of what ran so far.
#[derive(Debug)]
pub(crate) struct Leftovers<'a> {
    cx: LaneContext<'a>,
    orphans: Option<Orphans>,
    children_of_shell: Option<File>,
    /// Those that belong to an invocation before.
    known: Vec<Pid>,
    /// The fork of the shell that the invocation runs in, which may be about to end.
    fork: Option<Pid>,
    /// The orphans of other lanes, as far as they are known.
    foreign: RefCell<Vec<Pid>>,
}

impl<'a> Leftovers<'a> {
    /// Watches the orphans, and the children of the process `shell` if there is one; what is there
    /// now is of no invocation. Where `/proc` shows no children, nothing is found.
    pub(crate) fn watch(cx: LaneContext<'a>, shell: Option<Pid>) -> Self {
        let children =
            shell.map(|shell| File::open(format!("/proc/{shell}/task/{shell}/children")));
        let mut leftovers = Self {
            cx,
            orphans: Orphans::watch(),
            children_of_shell: children.and_then(Result::ok),
            known: Vec::new(),
            fork: None,
            foreign: RefCell::default(),
        };
        leftovers.known = leftovers.all();
        leftovers
    }

    /// Those that are there now, of whichever invocation.
    pub(crate) fn all(&self) -> Vec<Pid> {
        let of_shell = self.children_of_shell.as_ref().map(processes::pids_in);
        let orphans = self.orphans.as_ref().map(Orphans::living);
        let orphans = orphans.map(|living| self.without_foreign(living));
        of_shell.into_iter().chain(orphans).flatten().collect()
    }

    /// The orphans of this lane: all of them become ours, whoever started them. One that has thrown its
    /// environment away is known by the log that it can write to.
    fn without_foreign(&self, mut orphans: Vec<Pid>) -> Vec<Pid> {
        let Some(tag) = self.cx.environment_tag() else {
            return orphans;
        };
        let mut foreign = self.foreign.borrow_mut();
        foreign.retain(|pid| orphans.contains(pid));
        orphans.retain(|pid| {
            if self.known.contains(pid) {
                return true;
            }
            if foreign.contains(pid) {
                return false;
            }
            // One that is about to become another program shows no environment for a moment.
            for _ in 0..MAX_LOOKS_AT_STARTING {
                if processes::shows_environment(*pid) || processes::program(*pid).is_none() {
                    break;
                }
                thread::sleep(LOOK_AGAIN);
            }
            let is_ours = processes::is_marked(*pid, tag.as_bytes())
                || processes::hold(vec![*pid], &*self.cx.logs.pipe(), None);
            if !is_ours {
                foreign.push(*pid);
            }
            is_ours
        });
        orphans
    }

    /// Those of the last invocation that live, with all that they started; before them `shell`.
    pub(crate) fn handler_processes(&self, shell: Option<Pid>) -> Vec<(Pid, String)> {
        processes::living(|| {
            let roots = shell.into_iter().chain(self.all());
            trees(roots.collect(), &self.known)
        })
    }

    /// A process that is there between invocations, and belongs to none: a fork that was made ahead.
    pub(crate) fn add_waiting_fork(&mut self, pid: Pid) {
        self.known.push(pid);
    }

    /// The process `pid`, which was expected, runs the invocation from here on.
    pub(crate) fn set_running_fork(&mut self, pid: Pid) {
        self.known.retain(|known| *known != pid);
        self.fork = Some(pid);
    }

    /// The fork of the shell that the invocation runs in.
    pub(crate) fn running_fork(&self) -> Option<Pid> {
        self.fork
    }

    /// Those that the last invocation started and that are still there, without what they started
    /// themselves. What has ended by now has written all that it had to write.
    ///
    /// The shell's children are read first: what one of them had started is ours by the time it is gone.
    pub(crate) fn new_processes(&self) -> Vec<Pid> {
        // A fork that has reported before its end writes nothing any more, and has started no job.
        let mut now = self.all();
        now.retain(|pid| !self.known.contains(pid) && self.fork != Some(*pid));
        now
    }

    /// The new ones, by pid and the name of their program.
    fn find_new(&mut self) -> Vec<(Pid, String)> {
        let now = self.all();
        self.known.retain(|pid| now.contains(pid));
        if now.len() == self.known.len() {
            return Vec::new();
        }
        processes::living(|| {
            let mut now = self.all();
            now.retain(|pid| !self.known.contains(pid));
            now
        })
    }

    /// Tells of what `invocation` left running, or ends it, as `COSHELL_LEFTOVERS` says; what is
    /// left then. A process that was just started has its input and output still to be led
    /// elsewhere: while `is_unsettled` it is looked at again, for 200 ms at most.
    pub(crate) fn log_or_kill(
        &mut self,
        invocation: &Invocation,
        is_unsettled: impl Fn(&[Pid]) -> bool,
    ) -> Vec<Pid> {
        let pids = |new: &[(Pid, String)]| new.iter().map(|(pid, _)| *pid).collect::<Vec<_>>();
        self.fork = None;
        let mut new = self.find_new();
        // One that is about to end (a process substitution) is no leftover.
        for look in 0..MAX_LOOKS {
            if new.is_empty() || (look >= MIN_LOOKS && !is_unsettled(&pids(&new))) {
                break;
            }
            thread::sleep(LOOK_AGAIN);
            new = self.find_new();
        }
        let config = self.cx.config;
        let is_ended = config.kills_leftovers;
        for (pid, program) in &new {
            let fate = if is_ended {
                "is ended"
            } else {
                "what it prints goes to the log"
            };
            let text = format!("process {pid} ({program}) outlives its invocation; {fate}");
            config
                .log
                .warn_for(invocation.origin(), format_args!("{text}"));
        }
        if is_ended {
            processes::stop(|| self.handler_processes(None), GRACE);
            new = self.find_new();
        }
        let left = pids(&new);
        self.known.extend(&left);
        left
    }
}
