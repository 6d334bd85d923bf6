//! The sandboxes of a function: started on demand, given one invocation after another, replaced.
//!
//! ```text
//! turn -> sandbox: idle, or new -> START, event, answer -> until idle -> END, REPORT
//!            ^                                       |
//!            \---- put back, unless it has ended ----/
//! ```
//!
//! An invocation runs to its end in a task of its own, whether its caller waits or not. A sandbox
//! is put back when the answer is there: the next event waits in it for the bootstrap to ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::exchange::{Answer, Event, Exchange, Failure, HandedOut, Opened, new_id};
use super::faults::Faults;
use super::init::{init, restore};
use super::logs::{Output, say};
use super::report::{End, Report, init_line, start_line};
use super::run::{Reply, Run};
use super::sandbox::Sandbox;
use super::turns::{Turn, Turns};
use super::{Error, Function, Scale};

/// How often it is looked whether nobody uses a sandbox any more that is to go.
const UNUSED_PERIOD: Duration = Duration::from_millis(10);

/// The sandboxes of a function.
#[derive(Debug)]
pub struct Pool {
    function: Function,
    arn: String,
    output: Arc<Output>,
    faults: Arc<Faults>,
    /// Who may run an invocation.
    pub turns: Turns,
    sandboxes: Mutex<Sandboxes>,
    /// Only one sandbox of Managed Instances is there, however many want it at once.
    starting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Sandboxes {
    idle: Vec<Arc<Sandbox>>,
    all: Vec<Weak<Sandbox>>,
    /// Those that are to be stopped.
    retired: Vec<Weak<Sandbox>>,
    /// How many have been lost, whose successors do their init within an invocation.
    lost: usize,
    generation: u64,
}

impl Sandboxes {
    /// Stops a sandbox once nobody else has it. Several may say so of one: they must not wait for each
    /// other.
    fn retire(&mut self, sandbox: Arc<Sandbox>) {
        self.retired.retain(|known| known.strong_count() > 0);
        let known = Arc::downgrade(&sandbox);
        if !self.retired.iter().any(|retired| retired.ptr_eq(&known)) {
            self.retired.push(known);
            tokio::spawn(retire(sandbox));
        }
    }
}

impl Pool {
    /// The sandboxes of `function`, of which none is started yet; what they log goes to `output`.
    /// When all are busy, `max_waiting` callers may wait.
    pub fn new(
        function: Function,
        max_waiting: usize,
        output: Output,
        faults: Faults,
    ) -> Arc<Self> {
        Arc::new(Self {
            arn: function.arn(),
            turns: Turns::new(function.scale.concurrency(), max_waiting),
            function,
            output: Arc::new(output),
            faults: Arc::new(faults),
            sandboxes: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
        })
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
        let turn = self.turns.wait().await.map_err(|_| gone())?;
        let reply = self.invoke(turn, new_id(), event).await;
        reply.map_err(|_| gone())
    }

    /// What is invoked.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Runs one invocation. What becomes of it arrives when the answer is there, or has begun.
    pub(crate) fn invoke(
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
    pub async fn warm_up(self: &Arc<Self>) -> Result<bool, Error> {
        let Ok(_turn) = self.turns.warm_up().await else {
            return Ok(true);
        };
        let _starting = self.starting.lock().await;
        let sandbox = self.start().await?;
        let is_ready = init(&self.function, &sandbox).await;
        if is_ready {
            self.put_back(sandbox);
        } else {
            sandbox.kill().await;
            self.sandboxes().lost += 1;
        }
        Ok(is_ready)
    }

    /// Lets go of the sandboxes that have the task root as it was, and starts a new one.
    ///
    /// # Errors
    /// When the bootstrap cannot be started.
    pub async fn reload(self: &Arc<Self>) -> Result<(), Error> {
        {
            let mut sandboxes = self.sandboxes();
            sandboxes.generation += 1;
            sandboxes.lost = 0;
            for stale in std::mem::take(&mut sandboxes.idle) {
                sandboxes.retire(stale);
            }
        }
        self.warm_up().await.map(drop)
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
        let timeout = self.function.timeout;
        let tenant = event.tenant_id.clone();
        let (mut exchange, mut opened) = Exchange::open(&request_id, event, &self.arn, timeout);
        let (sandbox, begun) = loop {
            let sandbox = match self.take(tenant.as_deref()).await {
                Ok(sandbox) => sandbox,
                Err(error) => return refuse(&request_id, &error, reply),
            };
            match self.hand_over(&sandbox, exchange, &mut opened).await {
                Ok(begun) => break (sandbox, begun),
                Err(returned) => exchange = *returned,
            }
            self.forget(&sandbox);
        };
        let run = Run {
            function: &self.function,
            begun_at: begun.at,
            request_id: &request_id,
        };
        let of_one = self.function.scale.capacity() == 1;
        if of_one {
            sandbox.log.begin(&request_id);
        }
        let start = start_line(&request_id, &self.function.version);
        sandbox.log.write_platform_lines(&start);
        let telemetry = sandbox.api.telemetry();
        telemetry.tell(
            "platform.start",
            || json!({"requestId": request_id, "version": self.function.version}),
        );
        // A bootstrap that ends by and by cannot be looked at then.
        sandbox.memory.look_once();
        let first = run.first(&sandbox, &mut opened.answer).await;
        let (report, receiver) = oneshot::channel();
        let end = run.reply(&sandbox, first, reply, receiver).await;
        let mut turn = Some(turn);
        let is_back = of_one && end.is_none() && sandbox.api.failure().is_none();
        if is_back {
            // The next one may have it: it gets its event when this one is over.
            self.put_back(Arc::clone(&sandbox));
            turn = None;
        }
        // In a sandbox that was not ready the event is handed out later than its time begins.
        let handed_out = opened.handed_out.try_recv().unwrap_or(begun);
        let over = run.over(&sandbox, handed_out.idle_count, end).await;
        let has_failed = over.end.is_some();
        let _ = report.send(self.tell(&request_id, &sandbox, over.duration, over.end));
        if (of_one && has_failed) || sandbox.has_ended() {
            self.lose(&sandbox, has_failed);
            sandbox.kill().await;
        } else if !is_back {
            self.put_back(sandbox);
        }
        drop(turn);
    }

    /// Gives the exchange to a sandbox, and waits until its time begins: when the bootstrap gets it,
    /// or at once if the init is still to come.
    ///
    /// The one before it may not be over. Both learn of that in the same moment, and that one first:
    /// it waits for the sandbox to be idle, and we for what follows from that. So its END stands
    /// before our START.
    ///
    /// # Errors
    /// The exchange, if the sandbox ended before that.
    async fn hand_over(
        &self,
        sandbox: &Sandbox,
        mut exchange: Exchange,
        opened: &mut Opened,
    ) -> Result<HandedOut, Box<Exchange>> {
        restore(sandbox).await;
        let now = || HandedOut {
            at: Instant::now(),
            idle_count: 0,
        };
        let request_id = exchange.request_id.clone();
        if !sandbox.api.is_ready() {
            exchange.begin();
            // Nobody waits for the end of this init: the bootstrap finds its restore done.
            sandbox.api.restore();
            sandbox.api.push(exchange);
            return Ok(now());
        }
        let pushed_at = Instant::now();
        sandbox.api.push(exchange);
        tokio::select! {
            biased;
            // One that is answered without that has a restore that failed.
            handed_out = &mut opened.handed_out => Ok(handed_out.unwrap_or_else(|_| now())),
            _ = sandbox.ended() => match sandbox.api.take_back(&request_id) {
                Some(exchange) => Err(Box::new(exchange)),
                None => Ok(now()),
            },
            // A bootstrap that waited and does not take it has no more time than one that does.
            () = sleep_until((pushed_at + self.function.timeout).into()) => Ok(HandedOut {
                at: pushed_at,
                idle_count: 0,
            }),
        }
    }

    /// Writes the last lines of an invocation; what they say.
    fn tell(
        &self,
        request_id: &str,
        sandbox: &Sandbox,
        duration: Duration,
        end: Option<End>,
    ) -> Report {
        let (init, restore) = sandbox.take_init();
        let mut report = Report {
            request_id: request_id.to_owned(),
            init,
            restore,
            duration,
            memory_mb: self.function.memory_mb,
            max_memory_mb: sandbox.memory.peak_mb(duration),
            end,
            log_tail: Vec::new(),
        };
        if let Some(end) = &report.end {
            sandbox.log.drain();
            if !sandbox.api.is_ready() {
                let line = init_line(sandbox.age(), "invoke", end);
                sandbox.log.write_platform_lines(&line);
            }
        }
        sandbox.log.write_platform_lines(&report.to_lines());
        let telemetry = sandbox.api.telemetry();
        telemetry.tell("platform.runtimeDone", || report.to_runtime_done());
        telemetry.tell("platform.report", || report.to_record());
        report.log_tail = sandbox.log.tail();
        report
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
        if !is_lost && !init(&self.function, &sandbox).await {
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
        let fits = |sandbox: &Arc<Sandbox>| sandbox.is_for(tenant);
        let is_free = |sandbox: &Arc<Sandbox>| sandbox.api.is_idle() || !sandbox.api.is_ready();
        let free = sandboxes
            .idle
            .iter()
            .rposition(|one| is_free(one) && fits(one));
        if let Some(free) = free {
            return Some(sandboxes.idle.remove(free));
        }
        let busy = self.turns.taken();
        if sandboxes.idle.len() + busy <= self.function.scale.concurrency() {
            return None;
        }
        // There are as many as there may be: one that is about to be idle will do, and one of another
        // tenant's makes room.
        let found = sandboxes.idle.iter().position(fits);
        let taken = sandboxes.idle.remove(found.unwrap_or_default());
        if found.is_some() {
            return Some(taken);
        }
        sandboxes.retire(taken);
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

    fn put_back(&self, sandbox: Arc<Sandbox>) {
        let mut sandboxes = self.sandboxes();
        if sandbox.generation != sandboxes.generation {
            sandboxes.retire(sandbox);
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
    /// in order has not, nor one that was restored from a snapshot.
    fn lose(&self, sandbox: &Arc<Sandbox>, has_failed: bool) {
        self.forget(sandbox);
        let mut sandboxes = self.sandboxes();
        let most = match self.function.scale {
            Scale::ManagedInstance(_) => 1,
            Scale::SnapStart(_) => 0,
            Scale::OnDemand(count) => count,
        };
        sandboxes.lost = most.min(sandboxes.lost + usize::from(has_failed));
    }

    /// Never held over an `await`.
    fn sandboxes(&self) -> MutexGuard<'_, Sandboxes> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// No sandbox could be started.
fn refuse(request_id: &str, error: &Error, reply: oneshot::Sender<Reply>) {
    say(error);
    let failure = Failure::not_started(request_id, &error.to_string());
    let (_, report) = oneshot::channel();
    let answer = Answer::Error(failure);
    // An error means that the caller has gone.
    let _ = reply.send(Reply { answer, report });
}

/// Stops a sandbox once nobody else has it.
async fn retire(sandbox: Arc<Sandbox>) {
    while Arc::strong_count(&sandbox) > 1 {
        sleep(UNUSED_PERIOD).await;
    }
    sandbox.stop().await;
}
