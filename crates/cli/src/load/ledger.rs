//! What has happened in the guild, by number, as the answers to calls tell it: kept until it is checked.
//!
//! Invariants: what was taken is before `next`; everything from `next` up to `complete` is there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::checks::Number;
use crate::trial::fact::Fact;

/// A ledger that is written at one end and taken at the other. Entries come in any order.
#[derive(Debug)]
pub(super) struct Ledger {
    next: Number,
    complete: Number,
    facts: BTreeMap<Number, Fact>,
    /// Numbers that two calls say are theirs, or that none does.
    pub(super) unexplained: u64,
}

impl Ledger {
    /// A ledger of what comes after the number `after`.
    pub(super) fn after(after: Number) -> Self {
        Self { next: after + 1, complete: after + 1, facts: BTreeMap::new(), unexplained: 0 }
    }

    pub(super) fn enter(&mut self, number: Number, fact: Fact) {
        match self.facts.entry(number) {
            Entry::Vacant(entry) if number >= self.next => {
                entry.insert(fact);
            }
            Entry::Vacant(_) | Entry::Occupied(_) => self.unexplained += 1,
        }
        while self.facts.contains_key(&self.complete) {
            self.complete += 1;
        }
    }

    /// The first number behind those that were taken.
    pub(super) fn next(&self) -> Number {
        self.next
    }

    /// The first number that is not known yet.
    pub(super) fn complete(&self) -> Number {
        self.complete
    }

    /// The first number behind all entries.
    pub(super) fn end(&self) -> Number {
        self.facts.last_key_value().map_or(self.next, |(number, _)| number + 1)
    }

    /// Takes the entries up to, but not including, a number. Those that are missing are unexplained, and come as [`Fact::Unheard`].
    pub(super) fn take(&mut self, end: Number) -> Vec<Fact> {
        let rest = self.facts.split_off(&end);
        let taken = std::mem::replace(&mut self.facts, rest);
        self.unexplained += end.saturating_sub(self.next) - taken.len() as u64;
        let mut facts = Vec::with_capacity(taken.len());
        for (number, fact) in taken {
            let missing = number - self.next;
            facts.extend((0..missing).map(|_| Fact::Unheard));
            facts.push(fact);
            self.next = number + 1;
        }
        facts.extend((self.next..end).map(|_| Fact::Unheard));
        self.next = self.next.max(end);
        self.complete = self.complete.max(end);
        while self.facts.contains_key(&self.complete) {
            self.complete += 1;
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_explained_once_and_taken_in_order() {
        let left = |number| Fact::Left { user: crate::trial::shape::Shape::user(number) };
        let is_left = |fact: &Fact| matches!(fact, Fact::Left { .. });
        let mut ledger = Ledger::after(10);
        assert_eq!((ledger.next(), ledger.complete(), ledger.end()), (11, 11, 11));
        [13, 11, 12, 15].iter().for_each(|number| ledger.enter(*number, left(*number)));
        assert_eq!((ledger.complete(), ledger.end(), ledger.unexplained), (14, 16, 0));
        let taken = ledger.take(13);
        assert!(taken.len() == 2 && taken.iter().all(is_left) && ledger.next() == 13);
        // Again, and before what was taken.
        ledger.enter(15, left(1));
        ledger.enter(12, left(1));
        assert_eq!(ledger.unexplained, 2);
        // A hole.
        let taken = ledger.take(16);
        assert_eq!(taken.iter().map(is_left).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!((ledger.unexplained, ledger.next(), ledger.complete(), ledger.end()), (3, 16, 16, 16));
        // Nothing at all.
        assert_eq!((ledger.take(18).len(), ledger.unexplained, ledger.complete()), (2, 5, 18));
    }
}
