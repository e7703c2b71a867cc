//! When what happens at a steady rate is due, shared out among guilds.

use std::time::{Duration, Instant};

/// One guild's share of what happens at a steady rate for some time: the guilds take turns, so that in all of them together as much is due as in one
/// alone would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    begin: Instant,
    time: Duration,
    /// A second; not 0.
    rate: u64,
    /// The guild's place among so many.
    idx: u64,
    guilds: u64,
}

impl Pace {
    /// The share of the guild of that place among so many; `None` if nothing is ever due.
    pub(super) const fn share(
        (begin, time): (Instant, Duration),
        rate: u64,
        (idx, guilds): (u64, u64),
    ) -> Option<Self> {
        if rate == 0 || guilds == 0 { None } else { Some(Self { begin, time, rate, idx, guilds }) }
    }

    /// How many are due.
    pub(super) fn count(self) -> u64 {
        let all = (u128::from(self.rate) * self.time.as_nanos()).div_ceil(SECOND_NS);
        let behind_first = all.saturating_sub(u128::from(self.idx));
        u64::try_from(behind_first.div_ceil(u128::from(self.guilds))).unwrap_or(u64::MAX)
    }

    /// When the one of this number is due.
    pub(super) fn due(self, number: u64) -> Instant {
        let turn = u128::from(self.idx) + u128::from(number) * u128::from(self.guilds);
        self.begin + Duration::from_nanos(u64::try_from(turn * SECOND_NS / u128::from(self.rate)).unwrap_or(u64::MAX))
    }

    /// From then on nothing is due.
    pub(super) fn end(self) -> Instant {
        self.begin + self.time
    }
}

const SECOND_NS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_all_guilds_together_as_much_is_due_as_was_asked_for() {
        let (begin, time) = (Instant::now(), Duration::from_secs(7));
        for (rate, guilds) in [(10, 1), (10, 2), (10, 3), (10, 1_000), (3, 7), (1, 1_000), (999, 10), (1_000_000, 3)] {
            let share = |idx| Pace::share((begin, time), rate, (idx, guilds)).unwrap();
            assert_eq!((0..guilds).map(|idx| share(idx).count()).sum::<u64>(), rate * 7, "{rate} in {guilds}");
            for pace in (0..guilds).map(share) {
                assert!(pace.count() == 0 || pace.due(pace.count() - 1) < pace.end(), "{pace:?}");
                assert!(pace.due(pace.count()) >= pace.end(), "{pace:?}");
            }
        }
        assert!(Pace::share((begin, time), 0, (0, 1)).is_none());
    }

    #[test]
    fn guilds_take_turns() {
        let begin = Instant::now();
        let after = |idx, number| {
            let pace = Pace::share((begin, Duration::from_secs(1)), 100, (idx, 2)).unwrap();
            (pace.due(number) - begin).as_millis()
        };
        assert_eq!([after(0, 0), after(1, 0), after(0, 1), after(1, 1), after(0, 2)], [0, 10, 20, 30, 40]);
    }
}
