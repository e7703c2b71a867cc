//! How much a client may repeat: what keeps retries from becoming the overload that they answer.
//!
//! A bucket of retries, filled by each call's first attempt with a fraction of one, and by time a little, so that a client that calls seldom may
//! retry too. In any span of time no more is taken out than was in it, at most `burst`, and has come in: so of what a client sends at most
//! a tenth, by default, are retries, however bad it goes. After "per-client retry budget" in *Site Reliability Engineering* (Beyer et al.,
//! O'Reilly 2016, chapter 21), as Finagle's `RetryBudget` and Envoy's retry budgets have it.

use crate::Micros;

/// What a client may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Retries for a hundred first attempts. Default 10. Less, and calls fail that a second attempt would have saved; more, and nodes that
    /// recover are held down.
    pub percent: u32,
    /// Retries a second whatever is called. Default 10. Less, and a client that calls seldom has none; more, and a thousand idle
    /// clients that wake together are a storm.
    pub per_second: u32,
    /// Retries that may be saved up, with which a client begins. Default 100. Less, and a short trouble of a busy client fails calls; more, and the
    /// first second of a long one is twice the load.
    pub burst: u32,
}

/// The bucket that all calls of one client take from.
#[derive(Debug)]
pub struct RetryBudget {
    config: BudgetConfig,
    /// In millionths of a retry.
    saved: u64,
    filled_at: Micros,
}

/// Nothing is left: the call is not to be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the retry budget is spent")]
pub struct BudgetSpent;

impl RetryBudget {
    /// A full one.
    pub const fn new(config: BudgetConfig, now: Micros) -> Self {
        Self { config, saved: config.burst as u64 * RETRY, filled_at: now }
    }

    /// A call makes its first attempt.
    pub fn deposit(&mut self, now: Micros) {
        self.fill(now);
        self.add(u64::from(self.config.percent) * (RETRY / 100));
    }

    /// A call makes another attempt.
    ///
    /// # Errors
    /// [`BudgetSpent`]; nothing was taken.
    pub fn withdraw(&mut self, now: Micros) -> Result<(), BudgetSpent> {
        self.fill(now);
        self.saved = self.saved.checked_sub(RETRY).ok_or(BudgetSpent)?;
        Ok(())
    }

    /// So many retries a second are as many millionths a microsecond.
    fn fill(&mut self, now: Micros) {
        self.add(now.since(self.filled_at).saturating_mul(u64::from(self.config.per_second)));
        self.filled_at = self.filled_at.max(now);
    }

    fn add(&mut self, millionths: u64) {
        self.saved = self.saved.saturating_add(millionths).min(u64::from(self.config.burst) * RETRY);
    }
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { percent: 10, per_second: 10, burst: 100 }
    }
}

/// One retry in the unit of the bucket.
const RETRY: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn withdraw_all(budget: &mut RetryBudget, now: Micros) -> u32 {
        (0..).take_while(|_| budget.withdraw(now).is_ok()).count() as u32
    }

    #[test]
    fn ten_first_attempts_pay_for_one_retry() {
        let config = BudgetConfig { percent: 10, per_second: 0, burst: 100 };
        let mut budget = RetryBudget::new(config, Micros(0));
        assert_eq!(withdraw_all(&mut budget, Micros(0)), 100, "it begins full");
        for _ in 0..9 {
            budget.deposit(Micros(SECOND));
            assert_eq!(budget.withdraw(Micros(SECOND)), Err(BudgetSpent));
        }
        budget.deposit(Micros(SECOND));
        assert_eq!(budget.withdraw(Micros(SECOND)), Ok(()));
        assert_eq!(budget.withdraw(Micros(SECOND)), Err(BudgetSpent));
    }

    #[test]
    fn time_pays_for_some_whatever_is_called_and_never_backwards() {
        let config = BudgetConfig { percent: 0, per_second: 10, burst: 100 };
        let mut budget = RetryBudget::new(config, Micros(SECOND));
        withdraw_all(&mut budget, Micros(SECOND));
        assert_eq!(withdraw_all(&mut budget, Micros(SECOND * 3 / 2)), 5);
        assert_eq!(withdraw_all(&mut budget, Micros(SECOND)), 0);
        assert_eq!(withdraw_all(&mut budget, Micros(SECOND * 3 / 2)), 0, "a clock that went back pays nothing twice");
        assert_eq!(withdraw_all(&mut budget, Micros(u64::MAX)), 100, "no more is saved than may be");
    }

    proptest! {
        #[test]
        fn in_no_span_is_more_taken_out_than_was_in_and_came_in(
            percent in 0_u32..100,
            per_second in 0_u32..50,
            burst in 0_u32..50,
            steps in vec((0_u64..SECOND, 0_u8..3), 1..300),
        ) {
            let config = BudgetConfig { percent, per_second, burst };
            let mut budget = RetryBudget::new(config, Micros(0));
            let mut now = 0;
            // Of each step: the time, deposits and withdrawals up to it.
            let mut history = vec![(0, 0, 0)];
            for (after, what) in steps {
                now += after;
                let (_, mut deposits, mut withdrawals) = *history.last().unwrap();
                match what {
                    0 => {
                        budget.deposit(Micros(now));
                        deposits += 1;
                    }
                    _ => withdrawals += u64::from(budget.withdraw(Micros(now)).is_ok()),
                }
                for (since, deposited, withdrawn) in &history {
                    let bound = u64::from(burst) * RETRY
                        + (now - since) * u64::from(per_second)
                        + (deposits - deposited) * u64::from(percent) * (RETRY / 100);
                    prop_assert!((withdrawals - withdrawn) * RETRY <= bound);
                }
                history.push((now, deposits, withdrawals));
            }
        }
    }
}
