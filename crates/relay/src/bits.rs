//! A growing set of small numbers, for sets of cohorts.

/// A set of numbers as a bitmap; what lies beyond its end is not in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    #[inline]
    pub(crate) fn contains(&self, number: u32) -> bool {
        self.word(number as usize / 64) >> (number % 64) & 1 == 1
    }

    pub(crate) fn set(&mut self, number: u32, to: bool) {
        let word = number as usize / 64;
        if word >= self.0.len() {
            if !to {
                return;
            }
            self.0.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        if to {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
    }

    /// The numbers `64 * idx ..` as one word; 0 beyond the end.
    #[inline]
    pub(crate) fn word(&self, idx: usize) -> u64 {
        self.0.get(idx).copied().unwrap_or(0)
    }

    /// How many words there are.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

/// The numbers in one word of a set, ascending.
pub(crate) fn numbers(word_idx: usize, word: u64) -> impl Iterator<Item = u32> {
    let mut left = word;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let bit = left.trailing_zeros();
        left &= left - 1;
        Some(u32::try_from(word_idx * 64).expect("cohorts are numbered by 32 bits") + bit)
    })
}
