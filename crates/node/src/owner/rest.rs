//! The rest that an owner takes after some batches of a whole-guild change, while somebody calls.
//!
//! Who calls waits for the batch under way, a tenth of a millisecond or two. One batch after the other would keep a core for tenths of a second, and whatever
//! else is to run on that waits for the scheduler to take it away: a millisecond and more, measured on two cores. A guild that
//! nobody calls meanwhile, as one that is just being filled, has its batches without rest.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// When the next batch may be done.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
    /// Batches since the last rest.
    batches: u32,
    /// When the last call was handled.
    called: Option<Instant>,
}

impl Rest {
    /// Whether the next batch may be done now.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    /// Notes that calls were handled.
    pub(super) fn note_calls(&mut self) {
        self.called = Some(Instant::now());
    }

    /// Notes that so many batches, or work like theirs, were done: after some of them the next one waits, if somebody has called of late.
    pub(super) fn note(&mut self, batches: u32) {
        self.until = None;
        self.batches += batches;
        if self.batches < BATCHES {
            return;
        }
        self.batches = 0;
        let now = Instant::now();
        self.until = self.called.filter(|called| now - *called < OF_LATE).map(|_| now + REST);
    }

    /// Waits for what ends the rest early, or else for its end.
    pub(super) async fn cut_short_by(&self, arrival: impl Future<Output = ()>) {
        let Some(until) = self.until else {
            return;
        };
        // Either is a reason for a turn.
        drop(timeout_at(until, arrival).await);
    }
}

/// Batches between two rests; sessions for which nobody speaks any more are released as many at a time as take that long.
pub(super) const BATCHES: u32 = 3;
/// The batches take a third to half of it; 100,000 members are pruned in half a second. The timers of the runtime do not tell shorter times apart.
const REST: Duration = Duration::from_millis(1);
/// Who calls more rarely meets a batch that is under way, and no more.
const OF_LATE: Duration = Duration::from_millis(10);
