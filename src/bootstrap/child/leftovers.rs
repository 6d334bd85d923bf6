//! The processes that an invocation left running. Each is logged once, and killed if `COSHELL_LEFTOVERS=kill`.
//!
//! The search runs after the answer is posted, when nobody waits for it.

use std::cell::RefCell;
use std::fs::File;
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

use coshell_process::processes::{self, Orphans, with_descendants};

use super::LaneContext;
use crate::invocation::Invocation;

/// How often we look for leftovers before we log them, at least and at most.
const MIN_CHECKS: usize = 2;
const MAX_CHECKS: usize = 200;
const CHECK_INTERVAL: Duration = Duration::from_millis(1);
/// How often we look at a process that has no environment because it is just executing another program.
const MAX_ENVIRONMENT_CHECKS: usize = 50;
/// How long a leftover has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(50);

/// The processes that the invocations of a lane have left running.
#[derive(Debug)]
pub(crate) struct Leftovers<'a> {
    cx: LaneContext<'a>,
    orphans: Option<Orphans>,
    children_of_shell: Option<File>,
    /// Those that were there at the start.
    first_children: Vec<Pid>,
    /// Processes that the current invocation did not start.
    known: Vec<Pid>,
    /// The fork of the shell that runs the invocation. After its report it may still be running for a moment.
    fork: Option<Pid>,
    /// Orphans that were found to belong to other lanes.
    foreign: RefCell<Vec<Pid>>,
}

impl<'a> Leftovers<'a> {
    /// Watches the orphans that we adopt, and the children of `shell` if there is one. What runs now belongs to no invocation.
    /// On a kernel whose `/proc` has no `children` files, no leftovers are found.
    pub(crate) fn watch(cx: LaneContext<'a>, shell: Option<Pid>) -> Self {
        let children =
            shell.map(|shell| File::open(format!("/proc/{shell}/task/{shell}/children")));
        let mut leftovers = Self {
            cx,
            orphans: Orphans::watch(),
            children_of_shell: children.and_then(Result::ok),
            first_children: Vec::new(),
            known: Vec::new(),
            fork: None,
            foreign: RefCell::default(),
        };
        leftovers.first_children = leftovers.children_of_shell();
        leftovers.known = leftovers.all();
        leftovers
    }

    fn children_of_shell(&self) -> Vec<Pid> {
        let children = self.children_of_shell.as_ref();
        children.map(processes::read_pids).unwrap_or_default()
    }

    /// Whether the shell has a child that was not there at the start: a job of an invocation.
    pub(crate) fn has_job(&self) -> bool {
        let children = self.children_of_shell().into_iter();
        let mut children = children.filter(|pid| !self.first_children.contains(pid));
        children.any(|pid| processes::program_name(pid).is_some())
    }

    /// All orphans of this lane and children of its shell, also those of earlier invocations.
    pub(crate) fn all(&self) -> Vec<Pid> {
        let of_shell = self.children_of_shell();
        let orphans = self.orphans.as_ref().map(Orphans::running);
        let orphans = orphans.map(|living| self.without_foreign(living));
        of_shell
            .into_iter()
            .chain(orphans.into_iter().flatten())
            .collect()
    }

    /// Keeps the orphans of this lane. `bootstrap` adopts the orphans of all lanes. A process whose environment does not have
    /// the lane's tag belongs to this lane if it holds the lane's log pipe.
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
            // During exec(2) a process has no environment for a moment.
            for _ in 0..MAX_ENVIRONMENT_CHECKS {
                if processes::shows_environment(*pid) || processes::program_name(*pid).is_none() {
                    break;
                }
                thread::sleep(CHECK_INTERVAL);
            }
            let is_ours = processes::has_tag(*pid, tag.as_bytes())
                || processes::any_has_open(vec![*pid], &*self.cx.logs.pipe(), None);
            if !is_ours {
                foreign.push(*pid);
            }
            is_ours
        });
        orphans
    }

    /// The running processes of the last invocation and all their descendants, after `shell`, with their programs' names.
    pub(crate) fn handler_processes(&self, shell: Option<Pid>) -> Vec<(Pid, String)> {
        processes::running(|| {
            let roots = shell.into_iter().chain(self.all());
            with_descendants(roots.collect(), &self.known)
        })
    }

    /// Registers a fork of the shell that waits for the next event. Until then it belongs to no invocation.
    pub(crate) fn add_waiting_fork(&mut self, pid: Pid) {
        self.known.push(pid);
    }

    /// The fork `pid`, which has been waiting, runs the invocation from now on.
    pub(crate) fn set_running_fork(&mut self, pid: Pid) {
        self.known.retain(|known| *known != pid);
        self.fork = Some(pid);
    }

    /// The fork of the shell that runs the invocation.
    pub(crate) fn running_fork(&self) -> Option<Pid> {
        self.fork
    }

    /// The processes that the last invocation left running, without their descendants. A process that is not among them has
    /// written all its output.
    ///
    /// The shell's children are read before the orphans: when a child exits, its own children become orphans.
    pub(crate) fn new_processes(&self) -> Vec<Pid> {
        // The fork itself writes nothing after its report, and starts no job.
        let mut running = self.all();
        running.retain(|pid| !self.known.contains(pid) && self.fork != Some(*pid));
        running
    }

    /// The processes that are not known yet, with their programs' names.
    fn find_new(&mut self) -> Vec<(Pid, String)> {
        let running = self.all();
        self.known.retain(|pid| running.contains(pid));
        if running.len() == self.known.len() {
            return Vec::new();
        }
        processes::running(|| {
            let mut running = self.all();
            running.retain(|pid| !self.known.contains(pid));
            running
        })
    }

    /// Logs the processes that `invocation` left running, and kills them if `COSHELL_LEFTOVERS=kill`. Returns those that are
    /// still running.
    ///
    /// A process that was just started may not have redirected its input and output yet. While `is_starting` is true for the
    /// leftovers, the search is repeated, for 200 ms at most.
    pub(crate) fn log_or_kill(
        &mut self,
        invocation: &Invocation,
        is_starting: impl Fn(&[Pid]) -> bool,
    ) -> Vec<Pid> {
        let pids =
            |leftovers: &[(Pid, String)]| leftovers.iter().map(|(pid, _)| *pid).collect::<Vec<_>>();
        self.fork = None;
        let mut leftovers = self.find_new();
        // A process that is about to end, such as a process substitution, is no leftover.
        for check in 0..MAX_CHECKS {
            if leftovers.is_empty() || (check >= MIN_CHECKS && !is_starting(&pids(&leftovers))) {
                break;
            }
            thread::sleep(CHECK_INTERVAL);
            leftovers = self.find_new();
        }
        let config = self.cx.config;
        let action = if config.kills_leftovers {
            "killed"
        } else {
            "its output goes to the log"
        };
        for (pid, program) in &leftovers {
            config.log.warn_for(
                invocation.origin(),
                format_args!(
                    "process {pid} ({program}) is still running after its invocation; {action}"
                ),
            );
        }
        if config.kills_leftovers {
            processes::stop(|| self.handler_processes(None), GRACE);
            leftovers = self.find_new();
        }
        let left = pids(&leftovers);
        self.known.extend(&left);
        left
    }
}
