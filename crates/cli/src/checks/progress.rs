//! How much all sessions together have heard, for the one who waits for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// A count that many raise and one waits for.
#[derive(Debug)]
pub(crate) struct Progress {
    heard: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// As much as wanted was heard.
    Reached,
    /// Nobody has heard anything for [`STALLED_AFTER`]; the count is this.
    Stalled(u64),
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { heard: AtomicU64::new(0), wanted: AtomicU64::new(u64::MAX), reached: Notify::new() }
    }

    /// Counts deliveries that were heard. Wakes the one who waits for this many.
    pub(crate) fn add(&self, deliveries: u64) {
        // One order for both numbers: either this sees what is wanted, or the one who wants it sees this.
        let before = self.heard.fetch_add(deliveries, Ordering::SeqCst);
        let wanted = self.wanted.load(Ordering::SeqCst);
        if before < wanted && before + deliveries >= wanted {
            self.reached.notify_one();
        }
    }

    /// How much was heard so far.
    pub(crate) fn total(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// Waits until as many deliveries were heard, or nothing moves any more. For one task at a time.
    pub(crate) async fn wait_for(&self, wanted: u64) -> Waited {
        self.wanted.store(wanted, Ordering::SeqCst);
        let mut before = self.heard.load(Ordering::SeqCst);
        while before < wanted {
            let woken = timeout(STALLED_AFTER, self.reached.notified()).await.is_ok();
            let now = self.heard.load(Ordering::SeqCst);
            // A wake-up may be left over from an earlier wait: only silence is a stall.
            if !woken && now == before {
                return Waited::Stalled(now);
            }
            before = now;
        }
        Waited::Reached
    }
}

/// Far longer than any pause of a machine that works; what is still due then is lost.
const STALLED_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_enough_was_heard() {
        let progress = Arc::new(Progress::new());
        let waiting = tokio::spawn({
            let progress = Arc::clone(&progress);
            async move { (progress.wait_for(3).await, progress.wait_for(4).await) }
        });
        for deliveries in [1, 2, 1] {
            tokio::task::yield_now().await;
            progress.add(deliveries);
        }
        assert_eq!(waiting.await.unwrap(), (Waited::Reached, Waited::Reached));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_what_never_comes_ends_too() {
        let progress = Progress::new();
        progress.add(5);
        assert_eq!(progress.wait_for(5).await, Waited::Reached);
        assert_eq!(progress.wait_for(6).await, Waited::Stalled(5));
    }
}
