//! Virtual time, and what is to happen in it.

use std::collections::BTreeMap;

use guildhall_proto::Millis;

/// Microseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Micros(pub u64);

impl Micros {
    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// This time later by `by`.
    #[must_use]
    pub const fn plus(self, by: Self) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// What the clocks of the world show now.
    pub fn clock(self) -> Millis {
        Millis(BEGINNING.0 + self.0 / 1_000)
    }
}

/// What the clocks show when a run begins.
pub const BEGINNING: Millis = Millis(1_700_000_000_000);

/// All that is to happen, by time, and at one time in the order in which it was put there.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    happenings: BTreeMap<(Micros, u64), T>,
    put: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { happenings: BTreeMap::new(), put: 0 }
    }
}

impl<T> Queue<T> {
    pub(crate) fn put(&mut self, at: Micros, happening: T) {
        self.put += 1;
        self.happenings.insert((at, self.put), happening);
    }

    pub(crate) fn pop(&mut self) -> Option<(Micros, T)> {
        self.happenings.pop_first().map(|((at, _), happening)| (at, happening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_at_one_time_happens_in_the_order_it_was_put() {
        let mut queue = Queue::default();
        queue.put(Micros(2), "second");
        queue.put(Micros(2), "third");
        queue.put(Micros(1), "first");
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop().map(|(_, what)| what)).collect();
        assert_eq!(order, ["first", "second", "third"]);
    }
}
