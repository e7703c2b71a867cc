//! Numbers mixed evenly, and the pauses that are drawn from them: full jitter under a rising cap.
//!
//! Each pause is drawn evenly from nothing up to a cap that doubles with every one, so that a thousand callers which were refused at the same
//! moment come back spread over the whole of it ("full jitter": Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015). It
//! lies here because links and calls both pause so, and neither may know the other.

use std::time::Duration;

/// What no pause rises above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// The first pause.
    pub first: Duration,
    /// Any.
    pub most: Duration,
}

/// Draws one pause behind the other. The same seed draws the same pauses.
#[derive(Debug, Clone)]
pub struct Jitter {
    caps: Caps,
    /// Pauses drawn since the cap was last brought down.
    drawn: u32,
    random: u64,
}

impl Jitter {
    /// `seed` should differ from one who draws to the next.
    pub const fn new(caps: Caps, seed: u64) -> Self {
        Self { caps, drawn: 0, random: seed }
    }

    /// The next pause, below its cap.
    pub fn draw(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.drawn).unwrap_or(u32::MAX);
        let cap = self.caps.first.saturating_mul(factor).min(self.caps.most);
        self.drawn = self.drawn.saturating_add(1);
        let nanos = u64::try_from(cap.as_nanos()).unwrap_or(u64::MAX);
        // SplitMix64: a counter with this step, mixed.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // The high half of the product: even enough over any range that a pause has.
        Duration::from_nanos(((u128::from(mix(self.random)) * u128::from(nanos)) >> 64) as u64)
    }

    /// Brings the cap down to the first again.
    pub const fn calm(&mut self) {
        self.drawn = 0;
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014): every bit of the number
/// changes each bit of what comes out about half the time, and no two numbers come out the same.
pub const fn mix(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { first: Duration::from_millis(100), most: Duration::from_secs(10) };

    /// The first outputs of SplitMix64 from the seed 1234567, as published with its reference implementation.
    #[test]
    fn numbers_are_mixed_as_the_reference_mixes_them() {
        let mut at = 1_234_567_u64;
        let drawn = [(); 3].map(|()| {
            at = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(at)
        });
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn caps_double_up_to_the_greatest_and_stay() {
        for (nth, cap) in [(1, 100), (2, 200), (3, 400), (4, 800), (7, 6_400), (8, 10_000), (9, 10_000), (100, 10_000)]
        {
            let pause = |seed| {
                let mut jitter = Jitter::new(CAPS, seed);
                (0..nth).map(|_| jitter.draw()).last().unwrap()
            };
            let longest = (0..1_000).map(pause).max().unwrap().as_millis();
            assert!((cap * 98 / 100..cap).contains(&longest), "{longest} ms is the longest of the pauses {nth}");
        }
    }

    #[test]
    fn pauses_fill_the_whole_of_their_cap_evenly() {
        const DRAWN: usize = 10_000;
        let mut tenths = [0_usize; 10];
        for seed in 0..DRAWN as u64 {
            tenths[(Jitter::new(CAPS, seed).draw().as_micros() / 10_000) as usize] += 1;
        }
        assert!(tenths.iter().all(|pauses| (DRAWN / 10 - 150..DRAWN / 10 + 150).contains(pauses)), "{tenths:?}");
    }

    #[test]
    fn one_seed_draws_the_same_pauses_and_another_others() {
        let draw = |seed| {
            let mut jitter = Jitter::new(CAPS, seed);
            [(); 20].map(|()| jitter.draw())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
