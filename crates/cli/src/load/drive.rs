//! Calls at a steady rate, whatever the answers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guildhall_client::{ClientError, Guild};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep_until, timeout_at};
use tracing::warn;

use super::ledger::Ledger;
use super::pace::Pace;
use super::script::Operation;
use crate::trial::latency::{Kind, Latencies};

/// The calls to one guild, and what they came to.
pub(super) struct Calls {
    guild: Guild,
    pub(super) ledger: Mutex<Ledger>,
    latencies: Mutex<Latencies>,
    open: Arc<Semaphore>,
    /// Set when no more are to begin.
    over: AtomicBool,
    counts: [AtomicU64; Count::ALL],
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Messages,
    Changes,
    Typing,
    Presence,
    /// Not carried out for want of room or time.
    Refused,
    /// Due, and not begun in time.
    NotBegun,
    /// Refused for another reason, or with an outcome that is not known.
    Failed,
}

impl Count {
    const ALL: usize = Self::Failed as usize + 1;
}

impl Calls {
    pub(super) fn new(guild: Guild, ledger: Ledger) -> Self {
        let open = Arc::new(Semaphore::new(OPEN_MAX as usize));
        let (ledger, latencies) = (Mutex::new(ledger), Mutex::default());
        Self { guild, ledger, latencies, open, over: AtomicBool::new(false), counts: Default::default() }
    }

    pub(super) fn count(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    pub(super) fn take_latencies(&self) -> Latencies {
        std::mem::take(&mut *self.latencies.lock())
    }

    /// Begins no more calls.
    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Begins one call after the other, each when it is due; those that `next` does not have are left out. Blocks its thread: a
    /// thread wakes some 60 µs late, a task up to a millisecond.
    pub(super) fn drive(
        self: &Arc<Self>,
        runtime: &Handle,
        pace: Pace,
        mut next: impl FnMut(u64) -> Option<Operation>,
    ) {
        for number in 0..pace.count() {
            let due = pace.due(number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let open = Arc::clone(&self.open).try_acquire_owned().ok().or_else(|| {
                let open = timeout_at(pace.end().into(), Arc::clone(&self.open).acquire_owned());
                runtime.block_on(open).ok()?.ok()
            });
            let (Some(permit), false) = (open, self.over.load(Ordering::Relaxed)) else {
                return self.add(Count::NotBegun, pace.count() - number);
            };
            if let Some(operation) = next(number) {
                runtime.spawn(Arc::clone(self).carry_out(operation, due, permit));
            }
        }
    }

    /// Waits until no call is open.
    pub(super) async fn settle(&self) {
        // Never closed.
        drop(self.open.acquire_many(OPEN_MAX).await);
    }

    /// Carries one operation out; at which number.
    pub(super) async fn call(&self, operation: Operation, due: Instant) -> Result<u64, ClientError> {
        let Operation { kind, actor, command, fact } = operation;
        let at = self.guild.call(actor, command).await?.at().seq.0;
        self.latencies.lock().note(kind, due.elapsed());
        self.ledger.lock().enter(at, fact);
        Ok(at)
    }

    async fn carry_out(self: Arc<Self>, operation: Operation, due: Instant, _open: OwnedSemaphorePermit) {
        let done = if operation.kind == Kind::Publish { Count::Messages } else { Count::Changes };
        match self.call(operation, due).await {
            Ok(_) => self.add(done, 1),
            Err(error) => self.came_to_nothing(&error, due),
        }
    }

    /// Waits until the call of a number is due, which is made elsewhere, one after the other: when that is. `None`, and those that are left are taken note
    /// of, if it can no longer begin in time.
    pub(super) async fn wait(&self, pace: Pace, number: u64) -> Option<Instant> {
        if Instant::now() >= pace.end() {
            self.add(Count::NotBegun, pace.count() - number);
            return None;
        }
        let due = pace.due(number);
        sleep_until(due.into()).await;
        Some(due)
    }

    /// Takes note of a call that was made elsewhere.
    pub(super) fn carried_out(&self, what: Count, kind: Kind, due: Instant) {
        self.latencies.lock().note(kind, due.elapsed());
        self.add(what, 1);
    }

    pub(super) fn came_to_nothing(&self, error: &ClientError, due: Instant) {
        match error {
            ClientError::Overloaded { retry_after } => self.refused(due, Some(*retry_after)),
            ClientError::Late | ClientError::Unavailable => self.refused(due, None),
            ClientError::Refused(_)
            | ClientError::OutcomeUnknown
            | ClientError::Denied
            | ClientError::FeedsFull { .. }
            | ClientError::Malformed(_)
            | ClientError::Unread
            | ClientError::Answer(_)
            | ClientError::Closed => self.failed(error),
        }
    }

    /// Takes note of a call that was refused for want of room or time, and of when its caller was told to come again.
    pub(super) fn refused(&self, due: Instant, retry_after: Option<Duration>) {
        {
            let mut latencies = self.latencies.lock();
            latencies.note(Kind::Refused, due.elapsed());
            retry_after.into_iter().for_each(|retry_after| latencies.note(Kind::RetryAfter, retry_after));
        }
        self.add(Count::Refused, 1);
    }

    pub(super) fn failed(&self, error: &dyn std::error::Error) {
        self.add(Count::Failed, 1);
        warn!(%error, "a call came to nothing");
    }

    fn add(&self, what: Count, by: u64) {
        self.counts[what as usize].fetch_add(by, Ordering::Relaxed);
    }
}

/// Calls of one guild that are open at a time: as many as the guild keeps outcomes of a client.
const OPEN_MAX: u32 = guildhall_proto::limits::CLIENT_OUTCOMES_MAX as u32;
