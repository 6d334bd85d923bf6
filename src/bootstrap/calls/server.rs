//! The thread that serves the slots of a lane.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::eventfd::EventFd;
use nix::unistd::{Pid, pipe2};

use super::command::{self, ShellCommand};
use super::prepared::UsualCall;
use super::request::Request;
use super::shell_reply::ShellReply;
use super::shell_slot::{SharedReplies, ShellRequest, ShellSlot};
use super::slot::{ReplyPipe, Slot, Ticket};
use super::values::{Key, Values};
use super::{Current, answer, lock};
use crate::wait::wait_readable_all;
use coshell_process::sys;

/// The number of calls that can be made at the same time. Others wait for a ticket.
pub(crate) const SLOTS: usize = 8;
/// The number of callers that are remembered.
const MAX_CALLERS: usize = 256;
/// How often to look whether a reply has been read, while one has not.
const UNREAD_PERIOD: Duration = Duration::from_millis(1);
/// How often to look for lost tickets while none is left.
const LOST_PERIOD: Duration = Duration::from_millis(250);
/// A taken ticket is lost if no request has come after this number of looks: its process was killed between the two.
const LOST_LOOKS: u8 = 8;
/// How often to look whether a ticket is left: processes that take the last ones may be killed before they send a request.
const LEFT_PERIOD: Duration = Duration::from_secs(2);

/// What the server and the shell's side know of the descriptors that a shell gets.
#[derive(Debug, Default)]
pub(crate) struct ShellCalls {
    /// Processes that have made calls with a ticket; some of them if there are many.
    callers: Mutex<Vec<i32>>,
    /// The shell that has got descriptors.
    shell: AtomicI32,
    opened: Mutex<Option<ShellSlot>>,
    usual: Mutex<UsualCall>,
    /// The file with the replies of that shell.
    replies: Mutex<Option<SharedReplies>>,
}

impl ShellCalls {
    /// Whether this shell makes calls, and has no descriptors for them.
    pub(crate) fn are_missing(&self, shell: Pid) -> bool {
        let shell = shell.as_raw();
        let callers = std::mem::take(&mut *self.callers());
        callers.contains(&shell) && self.shell.swap(shell, Ordering::Relaxed) != shell
    }

    /// The invocation has ended: removes its replies before the next one can look for them.
    pub(crate) fn end(&self) {
        if let Some(replies) = &*lock(&self.replies) {
            lock(replies).forget();
        }
    }

    /// Remembers a caller. If it is the shell, that no longer uses the descriptors that it has got.
    fn remember(&self, caller: i32) {
        let relaxed = Ordering::Relaxed;
        let _ = self.shell.compare_exchange(caller, 0, relaxed, relaxed);
        let mut callers = self.callers();
        if callers.len() < MAX_CALLERS && !callers.contains(&caller) {
            callers.push(caller);
        }
    }

    /// The call with which events begin.
    pub(crate) fn usual(&self) -> MutexGuard<'_, UsualCall> {
        lock(&self.usual)
    }

    fn callers(&self) -> MutexGuard<'_, Vec<i32>> {
        lock(&self.callers)
    }

    /// Hands a slot over to the server, which has to be woken up.
    pub(crate) fn put(&self, slot: ShellSlot) {
        *lock(&self.replies) = Some(slot.replies());
        *lock(&self.opened) = Some(slot);
    }

    fn take(&self) -> Option<ShellSlot> {
        lock(&self.opened).take()
    }
}

pub(crate) struct Server {
    current: Arc<Mutex<Current>>,
    wake: Arc<EventFd>,
    tickets: Arc<OwnedFd>,
    ticket_writer: File,
    slots: Vec<Slot>,
    /// The descriptors of the shell, once it has them.
    shell: Option<ShellSlot>,
    shell_calls: Arc<ShellCalls>,
    /// The call of the shell that the second program is working on.
    shell_command: Option<ShellCommand>,
    /// A value that is not known. The next call of the shell is to find it.
    wanted: Option<Key>,
    /// When to look for lost tickets again.
    next_look: Instant,
}

impl fmt::Debug for Server {
    /// Without what a call is known by, which names secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(current: Arc<Mutex<Current>>, wake: Arc<EventFd>) -> io::Result<Self> {
        let (tickets, ticket_writer) = pipe2(OFlag::O_CLOEXEC)?;
        let slots: io::Result<Vec<_>> = (0..SLOTS).map(|_| Slot::open()).collect();
        let server = Self {
            current,
            wake,
            tickets: Arc::new(tickets),
            ticket_writer: File::from(ticket_writer),
            slots: slots?,
            shell: None,
            shell_calls: Arc::default(),
            shell_command: None,
            wanted: None,
            next_look: Instant::now(),
        };
        for index in 0..SLOTS {
            server.put_ticket(index)?;
        }
        Ok(server)
    }

    /// The pipe of the tickets.
    pub(crate) fn tickets(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.tickets)
    }

    pub(crate) fn shell_calls(&self) -> Arc<ShellCalls> {
        Arc::clone(&self.shell_calls)
    }

    /// The paths of the tickets and of each slot, as words for bash.
    pub(crate) fn paths(&self) -> String {
        let mut numbers = self.tickets.as_raw_fd().to_string();
        for number in self.slots.iter().flat_map(Slot::numbers) {
            // Writing to a string does not fail.
            let _ = write!(numbers, ",{number}");
        }
        format!("/proc/{}/fd/{{{numbers}}}", std::process::id())
    }

    /// Serves calls; never returns.
    pub(crate) fn run(&mut self) {
        loop {
            let has_unread = self.return_tickets();
            let left = sys::bytes_ready(&*self.tickets);
            let limit = if has_unread {
                UNREAD_PERIOD
            } else if left == 0 {
                LOST_PERIOD
            } else {
                LEFT_PERIOD
            };
            if left == 0 {
                self.find_lost_tickets();
            }
            let mut sources: Vec<_> = self.slots.iter().map(Slot::request_pipe).collect();
            sources.push(self.wake.as_fd());
            sources.extend(self.shell.as_ref().map(ShellSlot::request_pipe));
            let command = self.shell_command.as_ref().map(ShellCommand::sources);
            sources.extend(command.into_iter().flatten());
            let ready = wait_readable_all(&sources, Some(limit));
            let is_ready = |index: usize| ready.get(SLOTS + index) == Some(&true);
            if is_ready(2) {
                self.finish_shell_command();
            } else if is_ready(3) {
                self.cancel_shell_command();
            }
            let has_request = is_ready(1);
            if is_ready(0) {
                // Nobody else reads it.
                let _ = self.wake.read();
                if let Some(opened) = self.shell_calls.take() {
                    self.cancel_shell_command();
                    self.shell = Some(opened);
                }
            }
            if has_request {
                self.answer_shell();
            }
            for (index, _) in ready[..SLOTS]
                .iter()
                .enumerate()
                .filter(|(_, ready)| **ready)
            {
                if let Some(request) = self.slots[index].read() {
                    if !request.has_descriptors() {
                        self.shell_calls.remember(request.pid);
                    }
                    self.answer(request, &self.slots[index].reply);
                }
            }
        }
    }

    /// Puts back the tickets of all slots whose reply has been read. Returns whether a reply is there that has not been.
    fn return_tickets(&mut self) -> bool {
        let mut has_unread = false;
        for index in 0..SLOTS {
            if self.slots[index].is_done() {
                self.slots[index].ticket = Ticket::Out(0);
                // A pipe takes more bytes than there are tickets.
                let _ = self.put_ticket(index);
            }
            has_unread |= self.slots[index].has_reply();
        }
        has_unread
    }

    /// A process may be killed after it has taken a ticket, and before it has sent its request. While no ticket is left, each that
    /// is out is taken. A slot whose ticket is put back is counted anew: two callers with the same ticket would wait for one reply.
    fn find_lost_tickets(&mut self) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOST_PERIOD;
        for index in 0..SLOTS {
            match &mut self.slots[index].ticket {
                Ticket::Out(LOST_LOOKS) => {
                    self.slots[index].reset();
                    let _ = self.put_ticket(index);
                }
                Ticket::Out(looks) => *looks += 1,
                Ticket::InUse(_) => {}
            }
        }
    }

    fn put_ticket(&self, index: usize) -> io::Result<()> {
        let digit = b'0' + u8::try_from(index).unwrap_or_default();
        (&self.ticket_writer).write_all(&[digit])
    }

    fn answer_shell(&mut self) {
        let Some(shell) = &mut self.shell else {
            return;
        };
        match shell.read() {
            ShellRequest::Complete(mut request) => {
                // The process that made the last call is gone if that still runs.
                self.cancel_shell_command();
                let wanted = self.wanted.take();
                self.shell_calls.usual().note(&request);
                let reply = if command::is_run(&request) {
                    self.shell_command = ShellCommand::start(&request, wanted);
                    let is_started = self.shell_command.is_some();
                    (!is_started).then(ShellReply::take_ticket_for_command)
                } else if let Some(key) = command::known_key(&mut request) {
                    let found = Values::lock().find(&key);
                    if found.is_none() {
                        self.wanted = Some(key);
                    }
                    Some(found.map_or_else(ShellReply::run_command, ShellReply::of_value))
                } else {
                    Some(answer::reply_to_shell(request, &self.current))
                };
                if let Some(reply) = reply {
                    self.reply_to_shell(&reply);
                }
            }
            ShellRequest::Partial => {}
            ShellRequest::Ended => {
                self.cancel_shell_command();
                self.shell = None;
            }
        }
    }

    fn reply_to_shell(&mut self, reply: &ShellReply) {
        if let Some(shell) = &mut self.shell {
            shell.write(reply);
        }
    }

    fn finish_shell_command(&mut self) {
        if let Some(command) = self.shell_command.take() {
            self.reply_to_shell(&command.reply());
        }
    }

    fn cancel_shell_command(&mut self) {
        if let Some(command) = self.shell_command.take() {
            command.cancel();
        }
    }

    /// A call that reads what another process writes is answered by a thread of its own, so that no other call waits for it.
    fn answer(&self, request: Request, reply: &ReplyPipe) {
        if !answer::may_take_long(&request) {
            return answer::reply_to(request, &self.current, reply);
        }
        let current = Arc::clone(&self.current);
        let (for_thread, wake) = (reply.clone(), Arc::clone(&self.wake));
        let thread = thread::Builder::new()
            .name("call".to_owned())
            .spawn(move || {
                answer::reply_late(request, &current, &for_thread, &wake);
            });
        if let Err(error) = thread {
            answer::refuse(reply, &format!("cannot start a thread: {error}"));
        }
    }
}
