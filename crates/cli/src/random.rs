//! Randomness from a seed: the same demo on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014): random enough to spread ids and roles, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers that belong to a seed and what they are for.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed);
        let mixed = random.draw() ^ purpose;
        Self(mixed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A number below `bound`, which is not 0; how often a number comes falls with its rank (Zipf's law, exponent 1).
    pub(crate) fn zipf(&mut self, bound: u64) -> u64 {
        let unit = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = ((bound + 1) as f64).powf(unit) as u64;
        rank.clamp(1, bound) - 1
    }

    /// One of several, if there are any.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let bound = u64::try_from(of.len()).expect("lengths fit into 64 bits");
        if bound == 0 { None } else { of.get(usize::try_from(self.below(bound)).expect("below a length")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_ranks_come_more_often() {
        let mut random = Random::new(1, 2);
        let mut counts = [0_u32; 8];
        for _ in 0..100_000 {
            counts[usize::try_from(random.zipf(8)).unwrap()] += 1;
        }
        assert!(counts.windows(2).all(|pair| pair[0] > pair[1]), "{counts:?}");
        assert!(counts[0] > 4 * counts[7], "{counts:?}");
    }
}
