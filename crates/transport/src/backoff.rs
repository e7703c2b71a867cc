//! How long to wait before dialing again: full jitter under a rising cap.
//!
//! Each wait is drawn evenly from nothing up to a cap that doubles with every attempt, so that a thousand nodes which lost the same peer at the
//! same moment come back spread over the whole of it. A pure machine: randomness comes in as a seed, time not at all.

use std::time::Duration;

/// How far waits may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The cap of the first wait. Default 100 ms. Shorter, and a peer that restarts is hammered; longer, and a single lost link is missed.
    pub first: Duration,
    /// What no cap rises above. Default 10 s. Shorter, and a peer that is away for long is dialed for nothing; longer, and it is missed
    /// after it is back.
    pub most: Duration,
}

/// Draws one wait after the other.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    /// Waits drawn since the last success.
    drawn: u32,
    random: u64,
}

impl Backoff {
    /// `seed` should differ from node to node.
    pub const fn new(config: BackoffConfig, seed: u64) -> Self {
        Self { config, drawn: 0, random: seed }
    }

    /// The next wait.
    pub fn draw(&mut self) -> Duration {
        let cap = self.cap();
        self.drawn = self.drawn.saturating_add(1);
        let nanos = u64::try_from(cap.as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product: even enough over any range that a wait has.
        Duration::from_nanos(((u128::from(self.next_random()) * u128::from(nanos)) >> 64) as u64)
    }

    /// The cap of the next wait.
    pub fn cap(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.drawn).unwrap_or(u32::MAX);
        self.config.first.saturating_mul(factor).min(self.config.most)
    }

    /// To be told of a success that lasted.
    pub const fn reset(&mut self) {
        self.drawn = 0;
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BackoffConfig = BackoffConfig { first: Duration::from_millis(100), most: Duration::from_secs(10) };

    #[test]
    fn caps_double_up_to_the_greatest_and_stay() {
        let mut backoff = Backoff::new(CONFIG, 1);
        let mut caps = Vec::new();
        for _ in 0..100 {
            caps.push(backoff.cap().as_millis());
            backoff.draw();
        }
        assert_eq!(caps[..9], [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(caps[99], 10_000);
        backoff.reset();
        assert_eq!(backoff.cap(), CONFIG.first);
    }

    #[test]
    fn waits_fill_the_whole_of_their_cap_evenly() {
        const NODES: usize = 10_000;
        let mut tenths = [0_usize; 10];
        for seed in 0..NODES as u64 {
            let wait = Backoff::new(CONFIG, seed).draw();
            assert!(wait < CONFIG.first);
            tenths[(wait.as_micros() / 10_000) as usize] += 1;
        }
        assert!(tenths.iter().all(|nodes| (NODES / 10 - 150..NODES / 10 + 150).contains(nodes)), "{tenths:?}");
    }

    #[test]
    fn one_seed_draws_the_same_waits_and_another_others() {
        let draw = |seed| {
            let mut backoff = Backoff::new(CONFIG, seed);
            (0..20).map(|_| backoff.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
