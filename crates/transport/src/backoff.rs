//! When to dial again: full jitter under a rising cap.
//!
//! Each pause is drawn evenly from nothing up to a cap that doubles with every attempt, so that a thousand nodes which lost the same peer at the
//! same moment come back spread over the whole of it. Only a link that lasted brings the cap down again: one that is refused as soon as it
//! stands is no better than none. A pure machine: randomness comes in as a seed, time as `now`.

use std::time::{Duration, Instant};

/// How far pauses may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The cap of the first pause. Default 100 ms. Shorter, and a peer that restarts is hammered; longer, and a single lost link is missed.
    pub first: Duration,
    /// What no cap rises above, and how long a link must stand to have lasted. Default 10 s. Shorter, and a peer that is away for long is dialed for
    /// nothing; longer, and it is missed after it is back.
    pub most: Duration,
}

/// Tells when to dial one peer.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    /// Pauses drawn since a link last lasted.
    drawn: u32,
    random: u64,
    /// Drawn ahead of the last attempt, for what comes behind it.
    pause: Duration,
    /// Not before then is dialed; `None` before the first attempt.
    due: Option<Instant>,
    /// Since when a link stands.
    stood_at: Option<Instant>,
}

impl Backoff {
    /// `seed` should differ from node to node.
    pub const fn new(config: BackoffConfig, seed: u64) -> Self {
        Self { config, drawn: 0, random: seed, pause: Duration::ZERO, due: None, stood_at: None }
    }

    /// Not before then is to be dialed; `None` means at once.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// To be told that an attempt begins. If nothing more is heard of it, for whoever made it was dropped, the next is due after a pause from now.
    pub fn begun(&mut self, now: Instant) {
        self.pause = self.draw();
        self.due = Some(now + self.pause);
    }

    /// To be told that the attempt has failed.
    pub fn failed(&mut self, now: Instant) {
        self.due = Some(now + self.pause);
    }

    /// To be told that a link stands.
    pub const fn stands(&mut self, now: Instant) {
        self.stood_at = Some(now);
    }

    /// To be told that the link, if there was one, has ended.
    pub fn ended(&mut self, now: Instant) {
        let Some(stood_at) = self.stood_at.take() else { return };
        if now.saturating_duration_since(stood_at) >= self.config.most {
            self.drawn = 0;
            self.pause = self.draw();
        }
        self.due = Some(now + self.pause);
    }

    /// The next pause.
    fn draw(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.drawn).unwrap_or(u32::MAX);
        let cap = self.config.first.saturating_mul(factor).min(self.config.most);
        self.drawn = self.drawn.saturating_add(1);
        let nanos = u64::try_from(cap.as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product: even enough over any range that a pause has.
        Duration::from_nanos(((u128::from(self.next_random()) * u128::from(nanos)) >> 64) as u64)
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

    /// The pause behind an attempt that fails at once.
    fn fail(backoff: &mut Backoff, now: Instant) -> Duration {
        backoff.begun(now);
        backoff.failed(now);
        backoff.due().unwrap() - now
    }

    /// The longest of the pauses that a thousand nodes take behind their `nth` failure in a row, in milliseconds.
    fn longest(nth: usize) -> u128 {
        let now = Instant::now();
        let pause = |seed| {
            let mut backoff = Backoff::new(CONFIG, seed);
            (0..nth).map(|_| fail(&mut backoff, now)).last().unwrap()
        };
        (0..1_000).map(pause).max().unwrap().as_millis()
    }

    #[test]
    fn caps_double_up_to_the_greatest_and_stay() {
        for (nth, cap) in [(1, 100), (2, 200), (3, 400), (4, 800), (7, 6_400), (8, 10_000), (9, 10_000), (100, 10_000)]
        {
            let longest = longest(nth);
            assert!((cap * 98 / 100..cap).contains(&longest), "{longest} ms behind failure {nth}");
        }
    }

    #[test]
    fn pauses_fill_the_whole_of_their_cap_evenly() {
        const NODES: usize = 10_000;
        let (now, mut tenths) = (Instant::now(), [0_usize; 10]);
        for seed in 0..NODES as u64 {
            let pause = fail(&mut Backoff::new(CONFIG, seed), now);
            tenths[(pause.as_micros() / 10_000) as usize] += 1;
        }
        assert!(tenths.iter().all(|nodes| (NODES / 10 - 150..NODES / 10 + 150).contains(nodes)), "{tenths:?}");
    }

    #[test]
    fn one_seed_draws_the_same_pauses_and_another_others() {
        let now = Instant::now();
        let draw = |seed| {
            let mut backoff = Backoff::new(CONFIG, seed);
            (0..20).map(|_| fail(&mut backoff, now)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_first_attempt_is_due_at_once_and_one_that_is_dropped_still_has_its_pause() {
        let now = Instant::now();
        let mut backoff = Backoff::new(CONFIG, 7);
        assert_eq!(backoff.due(), None);
        backoff.begun(now);
        assert!(backoff.due().unwrap() > now);
    }

    #[test]
    fn a_link_that_lasted_brings_the_cap_down_and_one_that_did_not_leaves_it() {
        let now = Instant::now();
        let longest_behind = |lived| {
            let pause = |seed| {
                let mut backoff = Backoff::new(CONFIG, seed);
                for _ in 0..20 {
                    fail(&mut backoff, now);
                }
                backoff.stands(now);
                backoff.ended(now + lived);
                backoff.due().unwrap() - (now + lived)
            };
            (0..1_000).map(pause).max().unwrap()
        };
        assert!(longest_behind(CONFIG.most) < CONFIG.first);
        assert!(longest_behind(CONFIG.most - Duration::from_nanos(1)) > CONFIG.most / 2);
    }

    #[test]
    fn an_end_that_is_told_twice_counts_once() {
        let now = Instant::now();
        let mut backoff = Backoff::new(CONFIG, 7);
        backoff.begun(now);
        backoff.stands(now);
        backoff.ended(now);
        let due = backoff.due();
        backoff.ended(now + CONFIG.most);
        assert_eq!(backoff.due(), due);
    }
}
