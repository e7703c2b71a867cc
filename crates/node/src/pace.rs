//! How fast a queue is drained, and from that an honest pause for who finds it full.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// Time an item takes while there is something in the queue; what lies between is not counted.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Nanoseconds an item took, averaged over the last few takes; 0 before the first.
    item_nanos: u64,
    last: Option<(Instant, usize)>,
}

impl Pace {
    /// Notes a take: since the one before, the items taken then were handled.
    pub(crate) fn took(&mut self, items: usize) {
        let now = Instant::now();
        if let Some((then, handled)) = self.last.take()
            && handled > 0
        {
            let nanos = u64::try_from(now.duration_since(then).as_nanos()).unwrap_or(u64::MAX) / handled as u64;
            self.note(nanos);
        }
        self.last = Some((now, items));
    }

    /// Notes that there is nothing to take: the time until the next item is not the drainer's.
    pub(crate) fn pause(&mut self) {
        if let Some((_, handled)) = self.last
            && handled > 0
        {
            self.took(0);
        }
    }

    /// Notes that there is nothing left to take, and that what was taken last came to nothing.
    pub(crate) fn rest(&mut self) {
        self.last = None;
    }

    /// When so many items should be gone, and no earlier than `waited`, which one of them has waited already.
    pub(crate) fn retry_after(&self, items: usize, waited: Duration) -> Duration {
        spread(self.time_for(items).unwrap_or(waited).max(waited))
    }

    /// Since when the items taken last are being handled.
    pub(crate) fn handling_for(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    pub(crate) fn note(&mut self, item_nanos: u64) {
        let before = self.item_nanos;
        self.item_nanos = if before == 0 { item_nanos } else { before - before / 8 + item_nanos / 8 };
    }

    fn time_for(&self, items: usize) -> Option<Duration> {
        (self.item_nanos > 0).then(|| Duration::from_nanos(self.item_nanos.saturating_mul(items as u64)))
    }
}

/// A pause near `expected`, spread by a quarter so that those refused together do not come back together.
pub(crate) fn spread(expected: Duration) -> Duration {
    let spread = 0.875 + f64::from(RandomState::new().hash_one(()) as u8) / 1_024.0;
    expected.min(RETRY_AFTER_MAX).mul_f64(spread).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}

/// Less is not worth a timer.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(1);
/// What needs longer is stuck or about to end: better ask again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_follows_the_pace_and_the_length_of_the_queue() {
        let mut pace = Pace::default();
        let unmeasured = pace.retry_after(100, Duration::from_millis(80));
        assert!((70..=90).contains(&unmeasured.as_millis()), "{unmeasured:?}");
        pace.note(1_000_000);
        let measured = pace.retry_after(100, Duration::ZERO);
        assert!((87..=113).contains(&measured.as_millis()), "{measured:?}");
        let late = pace.retry_after(1, Duration::from_millis(100));
        assert!((87..=113).contains(&late.as_millis()), "{late:?}");
    }

    #[test]
    fn a_pause_is_never_nothing_and_never_endless() {
        assert_eq!(spread(Duration::ZERO), RETRY_AFTER_MIN);
        assert!(spread(Duration::MAX) <= RETRY_AFTER_MAX);
    }
}
