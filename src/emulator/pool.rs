//! The sandboxes of a function: started on demand, lent to one invocation after another, replaced.
//!
//! [`invocation`](super::invocation) borrows a sandbox with [`lend`](Pool::lend) and returns it with
//! [`give_back`](Pool::give_back). It returns a sandbox as soon as the answer is there, so an idle sandbox may still be
//! finishing its last invocation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::faults::Faults;
use super::init::wait_for_init;
use super::logs::Output;
use super::permits::Permits;
use super::sandbox::Sandbox;
use super::{Error, Function, Scale};

/// How often a sandbox that is to stop is checked for users.
const UNUSED_CHECK_PERIOD: Duration = Duration::from_millis(10);

/// The sandboxes of a function.
#[derive(Debug)]
pub struct Pool {
    function: Function,
    arn: String,
    output: Arc<Output>,
    faults: Arc<Faults>,
    pub(crate) permits: Permits,
    sandboxes: Mutex<Sandboxes>,
    /// Held while the one sandbox of Managed Instances starts, so that several callers do not start several.
    start_lock: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Sandboxes {
    idle: Vec<Arc<Sandbox>>,
    all: Vec<Weak<Sandbox>>,
    /// These stop when nobody uses them any more.
    stopping: Vec<Weak<Sandbox>>,
    /// How many sandboxes have crashed and are not replaced yet. A replacement runs its init within an invocation.
    crashes: usize,
    /// Counts the reloads. A sandbox of an older generation has old code.
    generation: u64,
}

impl Sandboxes {
    /// Does nothing for a sandbox that is stopping already: two tasks that hold the same sandbox would wait for each
    /// other forever.
    fn stop_when_unused(&mut self, sandbox: Arc<Sandbox>) {
        self.stopping.retain(|known| known.strong_count() > 0);
        let known = Arc::downgrade(&sandbox);
        if !self.stopping.iter().any(|stopping| stopping.ptr_eq(&known)) {
            self.stopping.push(known);
            tokio::spawn(stop_when_unused(sandbox));
        }
    }
}

impl Pool {
    /// Starts no sandbox yet. When all are busy, up to `max_queued` callers may wait.
    pub fn new(function: Function, max_queued: usize, output: Output, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            arn: function.arn(),
            permits: Permits::new(function.scale.concurrency(), max_queued),
            function,
            output: Arc::new(output),
            faults: Arc::new(faults),
            sandboxes: Mutex::default(),
            start_lock: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn function(&self) -> &Function {
        &self.function
    }

    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    /// Starts a sandbox ahead of the first invocation and waits for its init. False if the init failed: the first
    /// invocation then repeats it.
    ///
    /// # Errors
    /// When the bootstrap cannot be started.
    pub async fn warm_up(&self) -> Result<bool, Error> {
        let Ok(_permit) = self.permits.acquire_for_warm_up().await else {
            return Ok(true);
        };
        let _start_lock = self.start_lock.lock().await;
        let sandbox = self.start().await?;
        let is_ready = wait_for_init(&self.function, &sandbox).await;
        if is_ready {
            self.give_back(sandbox);
        } else {
            sandbox.kill().await;
            self.lock_sandboxes().crashes += 1;
        }
        Ok(is_ready)
    }

    /// Replaces the sandboxes after a change in the task root: stops each when its invocation is over, and warms up a
    /// new one.
    ///
    /// # Errors
    /// When the bootstrap cannot be started.
    pub async fn reload(&self) -> Result<(), Error> {
        {
            let mut sandboxes = self.lock_sandboxes();
            sandboxes.generation += 1;
            sandboxes.crashes = 0;
            for stale in std::mem::take(&mut sandboxes.idle) {
                sandboxes.stop_when_unused(stale);
            }
        }
        self.warm_up().await.map(drop)
    }

    /// Stops all sandboxes. Takes up to 3 s.
    pub async fn close(&self) {
        self.permits.close();
        let mut stops = JoinSet::new();
        let all = std::mem::take(&mut self.lock_sandboxes().all);
        for sandbox in all.iter().filter_map(Weak::upgrade) {
            stops.spawn(async move { sandbox.stop().await });
        }
        stops.join_all().await;
    }

    /// Makes sure that there is an idle sandbox. Does not wait for its init.
    pub(crate) async fn start_if_none_is_idle(&self) -> Result<(), Error> {
        if self.lock_sandboxes().idle.is_empty() {
            let sandbox = self.start().await?;
            self.give_back(sandbox);
        }
        Ok(())
    }

    /// An idle sandbox, or a new one. Waits for the init of a new one, unless it replaces a crashed one or its first
    /// init failed: then the invocation includes the init, as on Lambda.
    pub(crate) async fn lend(&self, tenant: Option<&str>) -> Result<Arc<Sandbox>, Error> {
        let is_shared = matches!(self.function.scale, Scale::ManagedInstance(_));
        let _start_lock = if is_shared {
            Some(self.start_lock.lock().await)
        } else {
            None
        };
        if let Some(sandbox) = self.take_idle(tenant, is_shared) {
            return Ok(sandbox);
        }
        let replaces_crashed = {
            let mut sandboxes = self.lock_sandboxes();
            let replaces_crashed = sandboxes.crashes > 0;
            sandboxes.crashes -= usize::from(replaces_crashed);
            replaces_crashed
        };
        let mut sandbox = self.start().await?;
        sandbox.claim_for(tenant);
        if !replaces_crashed && !wait_for_init(&self.function, &sandbox).await {
            sandbox.kill().await;
            sandbox = self.start().await?;
            sandbox.claim_for(tenant);
        }
        if is_shared {
            self.give_back(Arc::clone(&sandbox));
        }
        Ok(sandbox)
    }

    fn take_idle(&self, tenant: Option<&str>, is_shared: bool) -> Option<Arc<Sandbox>> {
        let mut sandboxes = self.lock_sandboxes();
        sandboxes.idle.retain(|sandbox| !sandbox.has_exited());
        if is_shared {
            return sandboxes.idle.last().cloned();
        }
        let fits = |sandbox: &Arc<Sandbox>| sandbox.claim_for(tenant);
        let is_free = |sandbox: &Arc<Sandbox>| sandbox.api.is_idle() || !sandbox.api.is_ready();
        let free = sandboxes
            .idle
            .iter()
            .rposition(|sandbox| is_free(sandbox) && fits(sandbox));
        if let Some(index) = free {
            return Some(sandboxes.idle.remove(index));
        }
        let running = self.permits.held();
        if sandboxes.idle.len() + running <= self.function.scale.concurrency() {
            return None;
        }
        // No more sandboxes may start. Take one that will be free soon, or else make room for a new one by stopping one
        // of another tenant.
        let fitting = sandboxes.idle.iter().position(fits);
        let taken = sandboxes.idle.remove(fitting.unwrap_or_default());
        if fitting.is_some() {
            return Some(taken);
        }
        sandboxes.stop_when_unused(taken);
        None
    }

    async fn start(&self) -> Result<Arc<Sandbox>, Error> {
        let generation = self.lock_sandboxes().generation;
        let (output, faults) = (Arc::clone(&self.output), Arc::clone(&self.faults));
        let sandbox = Sandbox::start(&self.function, generation, output, faults).await?;
        let sandbox = Arc::new(sandbox);
        let mut sandboxes = self.lock_sandboxes();
        sandboxes.all.retain(|known| known.strong_count() > 0);
        sandboxes.all.push(Arc::downgrade(&sandbox));
        Ok(sandbox)
    }

    /// Makes a sandbox idle, or stops it if it has old code.
    pub(crate) fn give_back(&self, sandbox: Arc<Sandbox>) {
        let mut sandboxes = self.lock_sandboxes();
        if sandbox.generation != sandboxes.generation {
            sandboxes.stop_when_unused(sandbox);
        } else if !sandboxes
            .idle
            .iter()
            .any(|idle| Arc::ptr_eq(idle, &sandbox))
        {
            sandboxes.idle.push(sandbox);
        }
    }

    /// Lends this sandbox to nobody any more.
    pub(crate) fn remove(&self, sandbox: &Arc<Sandbox>) {
        let mut sandboxes = self.lock_sandboxes();
        sandboxes.idle.retain(|idle| !Arc::ptr_eq(idle, sandbox));
    }

    /// Removes a sandbox that has ended, or is about to be killed. The replacement of one that crashed runs its init
    /// within the next invocation, except with SnapStart, which restores it from the snapshot.
    pub(crate) fn remove_ended(&self, sandbox: &Arc<Sandbox>, has_crashed: bool) {
        self.remove(sandbox);
        let mut sandboxes = self.lock_sandboxes();
        let limit = match self.function.scale {
            Scale::ManagedInstance(_) => 1,
            Scale::SnapStart(_) => 0,
            Scale::OnDemand(count) => count,
        };
        sandboxes.crashes = limit.min(sandboxes.crashes + usize::from(has_crashed));
    }

    /// Never hold the guard over an `await`.
    fn lock_sandboxes(&self) -> MutexGuard<'_, Sandboxes> {
        self.sandboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn stop_when_unused(sandbox: Arc<Sandbox>) {
    while Arc::strong_count(&sandbox) > 1 {
        sleep(UNUSED_CHECK_PERIOD).await;
    }
    sandbox.stop().await;
}
