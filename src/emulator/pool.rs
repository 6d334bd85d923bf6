//! The sandboxes of a function: started on demand, given one invocation after another, replaced.
//!
//! ```text
//! admit: waits for a turn, or refuses
//! run:   idle sandbox, or a new one ---> START, event, answer, until idle ---> END, REPORT
//!            ^                                                                    |
//!            \------------------------- put back, unless it has ended ------------/
//! ```
//!
//! The turns are as many as there may be invocations at a time, and are had in the order of
//! asking. An invocation runs to its end in a task of its own, whether its caller waits or not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::exchange::{Answer, Event, Exchange, Failure, exited_text, new_id};
use super::faults::Faults;
use super::logs::Output;
use super::pulse::Pulse;
use super::report::{End, Report, init_line, restore_line, start_line};
use super::run::{First, Run};
use super::sandbox::Sandbox;
use super::{Error, Function, Scale};

/// What Lambda gives the init before the first invocation; after that it is repeated within that.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The same for SnapStart and Managed Instances, if the function's timeout is not longer.
const LONG_INIT_LIMIT: Duration = Duration::from_secs(130);
/// What Lambda gives the restore, with what the runtime does after it.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// How long a bootstrap that has said why it cannot go on may take to end.
const END_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked whether nobody uses a sandbox any more that is to go.
const UNUSED_PERIOD: Duration = Duration::from_millis(10);

/// All turns are taken, and as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// A turn: leave to run one invocation.
#[derive(Debug)]
pub struct Turn(
    #[expect(dead_code, reason = "held, and given back when it is dropped")] OwnedSemaphorePermit,
);

/// What becomes of an invocation.
#[derive(Debug)]
pub struct Reply {
    /// What the caller gets.
    pub answer: Answer,
    /// What it took, once it is over.
    pub report: oneshot::Receiver<Report>,
}

/// The sandboxes of a function.
#[derive(Debug)]
pub struct Pool {
    function: Function,
    arn: String,
    output: Arc<Output>,
    faults: Arc<Faults>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    sandboxes: Mutex<Sandboxes>,
    pulse: Pulse,
    /// Only one sandbox of Managed Instances is there, however many want it at once.
    starting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Sandboxes {
    idle: Vec<Arc<Sandbox>>,
    all: Vec<Weak<Sandbox>>,
    /// How many have been lost, whose successors do their init within an invocation.
    lost: usize,
    generation: u64,
}

impl Pool {
    /// The sandboxes of `function`, of which none is started yet; what they log goes to `output`.
    /// When all are busy, `max_waiting` callers may wait.
    #[must_use]
    pub fn new(
        function: Function,
        max_waiting: usize,
        output: Output,
        faults: Faults,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            arn: function.arn(),
            turns: Arc::new(Semaphore::new(function.scale.concurrency())),
            function,
            output: Arc::new(output),
            faults: Arc::new(faults),
            waiting: AtomicUsize::new(0),
            max_waiting,
            sandboxes: Mutex::default(),
            pulse: Pulse::default(),
            starting: tokio::sync::Mutex::default(),
        });
        let beating = Arc::clone(&pool);
        tokio::spawn(async move { beating.pulse.run().await });
        pool
    }

    /// The sandboxes of `function`, for [`invoke_once`](Self::invoke_once) alone.
    #[must_use]
    pub fn for_one(function: Function, output: Output, faults: Faults) -> Arc<Self> {
        Self::new(function, 0, output, faults)
    }

    /// Runs one invocation whose timeout is for the init too.
    ///
    /// # Errors
    /// When the bootstrap cannot be started.
    pub async fn invoke_once(self: &Arc<Self>, event: Event) -> Result<Reply, Error> {
        if self.sandboxes().idle.is_empty() {
            let sandbox = self.start().await?;
            self.put_back(sandbox);
        }
        let gone = || Error::WatchBootstrap(std::io::ErrorKind::Interrupted.into());
        let turn = self.wait_for_turn().await.map_err(|_| gone())?;
        let reply = self.invoke(turn, new_id(), event).await;
        reply.map_err(|_| gone())
    }

    /// What is invoked.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn admit(&self) -> Result<Turn, Busy> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(Turn(permit));
        }
        let _waiting = Waiting::join(&self.waiting, self.max_waiting).ok_or(Busy)?;
        self.wait_for_turn().await
    }

    /// Waits for a turn, however many wait already.
    ///
    /// # Errors
    /// When the pool is closed.
    pub async fn wait_for_turn(&self) -> Result<Turn, Busy> {
        let permit = Arc::clone(&self.turns).acquire_owned().await;
        permit.map(Turn).map_err(|_| Busy)
    }

    /// Runs one invocation. What becomes of it arrives when the answer is there, or has begun.
    pub fn invoke(
        self: &Arc<Self>,
        turn: Turn,
        request_id: String,
        event: Event,
    ) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        tokio::spawn(Arc::clone(self).run(turn, request_id, event, reply));
        receiver
    }

    /// Starts a sandbox ahead of the first invocation. Takes as long as the init does.
    ///
    /// # Errors
    /// When the bootstrap cannot be started. An init that fails is repeated with the first invocation.
    pub async fn warm_up(self: &Arc<Self>) -> Result<(), Error> {
        let Ok(_turn) = self.wait_for_turn().await else {
            return Ok(());
        };
        let _starting = self.starting.lock().await;
        let sandbox = self.start().await?;
        if self.init(&sandbox).await {
            self.put_back(sandbox);
        } else {
            sandbox.kill().await;
            self.sandboxes().lost += 1;
        }
        Ok(())
    }

    /// Lets go of the sandboxes that have the task root as it was, and starts a new one.
    ///
    /// # Errors
    /// When the bootstrap cannot be started.
    pub async fn reload(self: &Arc<Self>) -> Result<(), Error> {
        let stale = {
            let mut sandboxes = self.sandboxes();
            sandboxes.generation += 1;
            sandboxes.lost = 0;
            std::mem::take(&mut sandboxes.idle)
        };
        for sandbox in stale {
            tokio::spawn(retire(sandbox));
        }
        self.warm_up().await
    }

    /// Ends all sandboxes, in order where they are idle. Takes up to 3 s.
    pub async fn close(&self) {
        self.turns.close();
        let mut ends = JoinSet::new();
        let all = std::mem::take(&mut self.sandboxes().all);
        for sandbox in all.iter().filter_map(Weak::upgrade) {
            ends.spawn(async move { sandbox.stop().await });
        }
        ends.join_all().await;
    }

    async fn run(
        self: Arc<Self>,
        turn: Turn,
        request_id: String,
        event: Event,
        reply: oneshot::Sender<Reply>,
    ) {
        let mut sandbox = match self.take(event.tenant_id.as_deref()).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                eprintln!("coshell: {error}");
                let failure = Failure::not_started(&request_id, &error.to_string());
                let (_, report) = oneshot::channel();
                let answer = Answer::Error(failure);
                let _ = reply.send(Reply { answer, report });
                return;
            }
        };
        if self.function.scale.capacity() == 1 {
            sandbox.log.begin();
        }
        let restore = self.restore(&sandbox).await;
        let start = start_line(&request_id, &self.function.version);
        sandbox.log.write_platform_lines(&start);
        let run = Run {
            function: &self.function,
            begun_at: Instant::now(),
            pulse: &self.pulse,
            request_id: &request_id,
        };
        let (exchange, mut answer) =
            Exchange::open(&request_id, event, &self.arn, self.function.timeout);
        let was_ready = sandbox.api.is_ready();
        sandbox.api.push(exchange);
        let mut first = run.first(&sandbox, &mut answer).await;
        // One that ended before it took the event was not invoked: another takes its place.
        if was_ready
            && matches!(first, First::Ended(_))
            && let Some(exchange) = sandbox.api.take_back(&request_id)
            && let Ok(another) = self.start().await
        {
            self.forget(&sandbox);
            sandbox = another;
            sandbox.api.push(exchange);
            first = run.first(&sandbox, &mut answer).await;
        }
        let (report, receiver) = oneshot::channel();
        let over = run.until_over(&sandbox, first, reply, receiver).await;
        let told = Report {
            request_id: request_id.clone(),
            init: sandbox.take_init(),
            restore,
            duration: over.duration,
            memory_mb: self.function.memory_mb,
            max_memory_mb: sandbox.memory.peak_mb(over.duration),
            end: over.end,
            log_tail: Vec::new(),
        };
        sandbox.log.drain();
        if let (Some(end), false) = (&told.end, sandbox.api.is_ready()) {
            let line = init_line(sandbox.age(), "invoke", end);
            sandbox.log.write_platform_lines(&line);
        }
        sandbox.log.write_platform_lines(&told.to_lines());
        let has_failed = told.end.is_some();
        let _ = report.send(Report {
            log_tail: sandbox.log.tail(),
            ..told
        });
        if over.is_lost || sandbox.has_ended() {
            self.lose(&sandbox, has_failed);
            sandbox.kill().await;
        } else {
            self.put_back(sandbox);
        }
        drop(turn);
    }

    /// An idle sandbox, or a new one. Its init is over, unless that failed or was lost before: then
    /// it is a part of the invocation.
    async fn take(&self, tenant: Option<&str>) -> Result<Arc<Sandbox>, Error> {
        let of_all = matches!(self.function.scale, Scale::ManagedInstance(_));
        let _starting = if of_all {
            Some(self.starting.lock().await)
        } else {
            None
        };
        if let Some(sandbox) = self.take_idle(tenant, of_all) {
            return Ok(sandbox);
        }
        let is_lost = {
            let mut sandboxes = self.sandboxes();
            let is_lost = sandboxes.lost > 0;
            sandboxes.lost -= usize::from(is_lost);
            is_lost
        };
        let mut sandbox = self.start().await?;
        sandbox.is_for(tenant);
        if !is_lost && !self.init(&sandbox).await {
            sandbox.kill().await;
            sandbox = self.start().await?;
            sandbox.is_for(tenant);
        }
        if of_all {
            self.put_back(Arc::clone(&sandbox));
        }
        Ok(sandbox)
    }

    fn take_idle(&self, tenant: Option<&str>, of_all: bool) -> Option<Arc<Sandbox>> {
        let mut sandboxes = self.sandboxes();
        sandboxes.idle.retain(|sandbox| !sandbox.has_ended());
        if of_all {
            return sandboxes.idle.last().cloned();
        }
        let found = sandboxes
            .idle
            .iter()
            .rposition(|sandbox| sandbox.is_for(tenant));
        if let Some(found) = found {
            return Some(sandboxes.idle.remove(found));
        }
        // One of another tenant's makes room, if there are as many as there may be.
        let busy = self.function.scale.concurrency() - self.turns.available_permits();
        if sandboxes.idle.len() + busy > self.function.scale.concurrency() {
            tokio::spawn(retire(sandboxes.idle.remove(0)));
        }
        None
    }

    async fn start(&self) -> Result<Arc<Sandbox>, Error> {
        let generation = self.sandboxes().generation;
        let (output, faults) = (Arc::clone(&self.output), Arc::clone(&self.faults));
        let sandbox = Sandbox::start(&self.function, generation, output, faults).await?;
        let sandbox = Arc::new(sandbox);
        let mut sandboxes = self.sandboxes();
        sandboxes.all.retain(|known| known.strong_count() > 0);
        sandboxes.all.push(Arc::downgrade(&sandbox));
        Ok(sandbox)
    }

    /// Waits for the end of the init, whether it succeeds.
    async fn init(&self, sandbox: &Sandbox) -> bool {
        let limit = match self.function.scale {
            Scale::OnDemand(_) => INIT_LIMIT,
            Scale::SnapStart(_) | Scale::ManagedInstance(_) => {
                LONG_INIT_LIMIT.max(self.function.timeout)
            }
        };
        let end = tokio::select! {
            biased; // an init error comes before the end that follows it
            standing = sandbox.api.until(|now| now.ready_at.is_some() || now.failure.is_some()) => {
                if let (Some(ready_at), None) = (standing.ready_at, &standing.failure) {
                    sandbox.end_init(ready_at);
                    sandbox.memory.look();
                    sandbox.log.drain();
                    return true;
                }
                let _ = timeout(END_LIMIT, sandbox.ended()).await;
                End::Failure(standing.failure.unwrap_or_else(unknown).error_type)
            }
            status = sandbox.ended() => {
                sandbox.log.drain();
                sandbox.log.write_platform_lines(&format!("{}\n", exited_text(status)));
                End::Failure("Runtime.ExitError".to_owned())
            }
            () = sleep(limit) => End::Timeout,
        };
        sandbox.log.drain();
        let line = init_line(sandbox.age(), "init", &end);
        sandbox.log.write_platform_lines(&line);
        false
    }

    fn put_back(&self, sandbox: Arc<Sandbox>) {
        let mut sandboxes = self.sandboxes();
        if sandbox.generation != sandboxes.generation {
            tokio::spawn(retire(sandbox));
        } else if !sandboxes
            .idle
            .iter()
            .any(|idle| Arc::ptr_eq(idle, &sandbox))
        {
            sandboxes.idle.push(sandbox);
        }
    }

    fn forget(&self, sandbox: &Arc<Sandbox>) {
        let mut sandboxes = self.sandboxes();
        sandboxes.idle.retain(|idle| !Arc::ptr_eq(idle, sandbox));
    }

    /// One that failed has a successor whose init is a part of the next invocation; one that ended
    /// in order has not.
    fn lose(&self, sandbox: &Arc<Sandbox>, has_failed: bool) {
        self.forget(sandbox);
        let mut sandboxes = self.sandboxes();
        let most = match self.function.scale {
            Scale::ManagedInstance(_) => 1,
            scale => scale.concurrency(),
        };
        sandboxes.lost = most.min(sandboxes.lost + usize::from(has_failed));
    }

    /// Lets a bootstrap that waits for its restore go on, and waits until it asks for an event.
    async fn restore(&self, sandbox: &Sandbox) -> Option<Duration> {
        if !sandbox.api.awaits_restore() {
            return None;
        }
        let restored_at = Instant::now();
        sandbox.api.restore();
        tokio::select! {
            _ = sandbox.api.until(|now| now.is_idle || now.failure.is_some()) => {}
            _ = sandbox.ended() => {}
            () = sleep(RESTORE_LIMIT) => {}
        }
        let duration = restored_at.elapsed();
        sandbox.log.write_platform_lines(&restore_line(duration));
        Some(duration)
    }

    /// Never held over an `await`.
    fn sandboxes(&self) -> MutexGuard<'_, Sandboxes> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops a sandbox once nobody else has it.
async fn retire(sandbox: Arc<Sandbox>) {
    while Arc::strong_count(&sandbox) > 1 {
        sleep(UNUSED_PERIOD).await;
    }
    sandbox.stop().await;
}

fn unknown() -> Failure {
    Failure::of_runtime(Some("Runtime.Unknown"), axum::body::Bytes::new())
}

/// One who waits is counted as long as this lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let join = |count: usize| (count < most).then_some(count + 1);
        let joined = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join);
        joined.ok().map(|_| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
