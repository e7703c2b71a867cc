//! The rest that an owner takes behind each batch of a whole-guild change, while somebody calls.
//!
//! Who calls waits for the batch under way, a tenth of a millisecond or two; and who has been answered, for the core on which the owner goes on
//! with the next one: the scheduler takes that away behind its slice, or at its next tick (150-180 µs by its trace where the owner rested behind
//! three batches, on two cores). With one batch in a millisecond few calls meet any. A guild that nobody calls meanwhile, as one that is just being
//! filled, has its batches without rest.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// When the next batch may be done.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
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

    /// Notes that a batch, or work like one, was done: the next one waits, if somebody has called of late.
    pub(super) fn note(&mut self) {
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

/// The timers of the runtime do not tell shorter times apart.
const REST: Duration = Duration::from_millis(1);
/// Who calls more rarely meets a batch that is under way, and no more.
const OF_LATE: Duration = Duration::from_millis(10);
