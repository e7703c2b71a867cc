//! When to dial again: full jitter under a rising cap.
//!
//! Each pause is one of [`Jitter`], so that a thousand nodes which lost the same peer at the same moment come back spread over the whole of it. Only
//! a link that lasted brings the cap down again: one that is refused as soon as it stands is no better than none. A pure machine: randomness
//! comes in as a seed, time as `now`.

use std::time::{Duration, Instant};

use guildhall_proto::{Caps, Jitter};

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
    /// How long a link must stand to have lasted.
    lasting: Duration,
    jitter: Jitter,
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
        let BackoffConfig { first, most } = config;
        let jitter = Jitter::new(Caps { first, most }, seed);
        Self { lasting: most, jitter, pause: Duration::ZERO, due: None, stood_at: None }
    }

    /// Not before then is to be dialed; `None` means at once.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// To be told that an attempt begins. If nothing more is heard of it, for whoever made it was dropped, the next is due after a pause from now.
    pub fn begun(&mut self, now: Instant) {
        self.pause = self.jitter.draw();
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
        if now.saturating_duration_since(stood_at) >= self.lasting {
            self.jitter.calm();
            self.pause = self.jitter.draw();
        }
        self.due = Some(now + self.pause);
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
