//! The one source of chance of a run.
//!
//! Dice are forked by name: each part of the world has dice of its own, so that a draw more in one part shifts no draw in another.

/// Numbers from a seed: SplitMix64, as published by Steele, Lea and Flood (2014).
#[derive(Debug, Clone)]
pub struct Dice {
    origin: u64,
    at: u64,
}

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        let origin = mix(seed.wrapping_add(GOLDEN));
        Self { origin, at: origin }
    }

    /// Dice of another's seed and a name. What was drawn from either does not matter to the other.
    pub fn fork(&self, name: &str) -> Self {
        let named = name.bytes().fold(self.origin, |hash, byte| mix(hash ^ u64::from(byte)));
        Self { origin: named, at: named }
    }

    /// The same for one of many.
    pub fn fork_nth(&self, name: &str, nth: u64) -> Self {
        let named = self.fork(name);
        let origin = mix(named.origin ^ nth.wrapping_mul(GOLDEN));
        Self { origin, at: origin }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.at = self.at.wrapping_add(GOLDEN);
        mix(self.at)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `from` up to, and not including, `to`; `from` if there is none.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from))
    }

    /// An index into something of this length, if there is any.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        let drawn = self.below(len as u64);
        (len > 0).then(|| usize::try_from(drawn).expect("it is below a usize"))
    }

    /// One of these, if there is any.
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        self.index(things.len()).map(|at| &things[at])
    }

    /// True once in so many times; 0 counts as never.
    pub fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    /// True in so many of a hundred times.
    pub fn percent(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    /// An index below `len`, small ones far more often: rank `n` about `1 / (n + 1)` as often as rank 0.
    pub fn zipf(&mut self, len: usize) -> Option<usize> {
        let mut upto = self.index(len)? as u64 + 1;
        // An even draw below an even draw twice over leans on the low end as a harmonic series does.
        upto = self.below(upto) + 1;
        usize::try_from(self.below(upto)).ok()
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_more_in_one_part_shifts_no_draw_in_another() {
        let mut world = Dice::new(7);
        let before = world.fork("network").number();
        world.number();
        assert_eq!(world.fork("network").number(), before);
        assert_ne!(world.fork("disk").number(), before);
        assert_ne!(world.fork_nth("disk", 0).number(), world.fork_nth("disk", 1).number());
    }

    #[test]
    fn what_is_drawn_from_nothing_is_nothing() {
        let mut dice = Dice::new(1);
        assert_eq!((dice.below(0), dice.index(0), dice.zipf(0), dice.one_in(0)), (0, None, None, false));
    }

    #[test]
    fn the_first_of_many_comes_up_most() {
        let mut dice = Dice::new(3);
        let mut counts = [0_u32; 8];
        (0..10_000).filter_map(|_| dice.zipf(8)).for_each(|at| counts[at] += 1);
        assert!(counts[0] > 3 * counts[4] && counts[7] > 0, "{counts:?}");
    }
}
