//! Which numbers one reader has heard: a bit each, from the first that it may hear on.
//!
//! Invariants: no bit is set at or behind `next`; `next` is one more than the highest number heard or passed by.

use super::Number;

/// The numbers that one reader has heard. One bit for each between the first and the highest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    from: Number,
    next: Number,
    words: Vec<u64>,
}

/// How a number came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Behind all that came before.
    InOrder,
    /// After a higher one.
    Late,
    /// Not for the first time.
    Again,
    /// From before the first that the reader may hear; it is not kept.
    Early,
}

impl Heard {
    /// A reader that may hear numbers `from` on.
    pub(crate) fn new(from: Number) -> Self {
        Self { from, next: from, words: Vec::new() }
    }

    /// The first number that it may hear.
    pub(crate) fn from(&self) -> Number {
        self.from
    }

    /// One more than the highest number heard or passed by.
    pub(crate) fn next(&self) -> Number {
        self.next
    }

    /// Takes note of a number. O(1), and the room for the bits up to it.
    pub(crate) fn note(&mut self, number: Number) -> Noted {
        let Some((word, bit)) = self.place(number) else {
            return Noted::Early;
        };
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit != 0 {
            return Noted::Again;
        }
        self.words[word] |= bit;
        if number < self.next {
            return Noted::Late;
        }
        self.next = number + 1;
        Noted::InOrder
    }

    /// Passes by all numbers below `next`: what comes of them from now on is late.
    pub(crate) fn pass(&mut self, next: Number) {
        self.next = self.next.max(next);
    }

    /// Whether the number was heard.
    pub(crate) fn contains(&self, number: Number) -> bool {
        let at = self.place(number);
        at.is_some_and(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    /// How many numbers from `number` on were heard.
    pub(crate) fn count_from(&self, number: Number) -> u64 {
        // Those that are passed by may be many.
        let end = self.next.min(self.from + self.words.len() as u64 * u64::from(u64::BITS));
        (number.max(self.from)..end).filter(|number| self.contains(*number)).count() as u64
    }

    /// A bit for each number, from the first that it may hear on, 64 to a word; words behind the last that it heard may be missing.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Keeps no more of the first so many words of numbers: they are before the first that it may hear now.
    pub(crate) fn forget(&mut self, words: usize) {
        self.words.drain(..words.min(self.words.len()));
        self.from += words as u64 * u64::from(u64::BITS);
    }

    /// What the bits take.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    fn place(&self, number: Number) -> Option<(usize, u64)> {
        let at = number.checked_sub(self.from)?;
        Some((usize::try_from(at / 64).expect("numbers are far fewer than addresses"), 1 << (at % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_noted_as_it_comes() {
        let mut heard = Heard::new(10);
        let noted: Vec<Noted> = [10, 75, 12, 75, 12, 9, 76].into_iter().map(|number| heard.note(number)).collect();
        let expected =
            [Noted::InOrder, Noted::InOrder, Noted::Late, Noted::Again, Noted::Again, Noted::Early, Noted::InOrder];
        assert_eq!(noted, expected);
        assert_eq!((9..80).filter(|number| heard.contains(*number)).collect::<Vec<_>>(), [10, 12, 75, 76]);
        assert_eq!((heard.count_from(0), heard.count_from(12), heard.count_from(76)), (4, 3, 1));
    }

    #[test]
    fn what_was_forgotten_is_early_and_the_rest_stays() {
        let mut heard = Heard::new(10);
        [10, 80, 140].iter().for_each(|number| assert_eq!(heard.note(*number), Noted::InOrder));
        assert_eq!(heard.words(), [1, 1 << 6, 1 << 2]);
        heard.forget(1);
        assert_eq!((heard.words(), heard.from(), heard.next()), (&[1 << 6, 1 << 2][..], 74, 141));
        assert_eq!([73, 80, 81].map(|number| heard.note(number)), [Noted::Early, Noted::Again, Noted::Late]);
        heard.forget(5);
        assert_eq!((heard.note(394), heard.words(), heard.contains(394)), (Noted::InOrder, &[1][..], true));
    }

    #[test]
    fn what_was_passed_by_is_late() {
        let mut heard = Heard::new(0);
        heard.pass(5);
        heard.pass(3);
        assert_eq!([4, 5, 4].map(|number| heard.note(number)), [Noted::Late, Noted::InOrder, Noted::Again]);
        heard.pass(u64::MAX);
        assert_eq!((heard.next(), heard.count_from(5)), (u64::MAX, 1));
    }
}
