//! What has happened in the guild, by number, as the answers to commands tell it.
//!
//! A command's answer says at which number its event stands. So the ledger owes nothing to what sessions hear, with one exception:
//! how a prune was cut into batches is told by nobody but the events themselves, as the owner's session hears them; that they are as
//! many as the prune's answer says is checked here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use guildhall_proto::UserId;

use crate::checks::Number;
use crate::trial::fact::Fact;
use crate::trial::rights::{Rights, Touched};

/// A ledger that is being written. Entries come in any order.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The last number before the first entry.
    after: Number,
    facts: BTreeMap<Number, Fact>,
    /// Numbers that two commands say are theirs.
    twice: u64,
}

/// A ledger that is complete, or says how much of it is not.
#[derive(Debug)]
pub(crate) struct Closed {
    first: Number,
    pub(crate) facts: Vec<Fact>,
    /// The rights from an entry on, ascending by index, with what changed. The first is how all began.
    pub(crate) rights: Vec<(usize, Rights, Touched)>,
    /// Numbers that nobody can explain, or that two can.
    pub(crate) unexplained: u64,
}

impl Ledger {
    /// A ledger of what comes after the number `after`.
    pub(crate) fn after(after: Number) -> Self {
        Self { after, facts: BTreeMap::new(), twice: 0 }
    }

    pub(crate) fn enter(&mut self, number: Number, fact: Fact) {
        match self.facts.entry(number) {
            Entry::Vacant(entry) => {
                entry.insert(fact);
            }
            Entry::Occupied(_) => self.twice += 1,
        }
    }

    /// Closes the ledger at its last entry. `pruned` are the batches of the prune, which removed `removed` members.
    pub(crate) fn close(mut self, rights: Rights, pruned: Vec<(Number, Box<[UserId]>)>, removed: u64) -> Closed {
        let told: usize = pruned.iter().map(|(_, users)| users.len()).sum();
        let mut unexplained = (told as u64).abs_diff(removed);
        for (number, users) in pruned {
            self.enter(number, Fact::Pruned { users });
        }
        unexplained += self.twice;
        let first = self.after + 1;
        let mut versions = vec![(0, rights, Touched::Everything)];
        let mut facts: Vec<Fact> = Vec::with_capacity(self.facts.len());
        for (number, fact) in self.facts {
            let idx = index(first, number).unwrap_or(facts.len());
            unexplained += (idx.abs_diff(facts.len())) as u64;
            facts.resize_with(idx.max(facts.len()), || Fact::Unheard);
            let mut rights = versions.last().expect("there is a first version").1.clone();
            match rights.apply(&fact) {
                Touched::Nothing => {}
                touched @ (Touched::Channel(_) | Touched::Everything) => versions.push((facts.len(), rights, touched)),
            }
            facts.push(fact);
        }
        Closed { first, facts, rights: versions, unexplained }
    }
}

impl Closed {
    /// Entries from a number on, with their indices.
    pub(crate) fn from(&self, number: Number) -> impl Iterator<Item = (usize, Number, &Fact)> {
        let idx = index(self.first, number).unwrap_or(0).min(self.facts.len());
        let numbered = self.facts.iter().enumerate().skip(idx);
        numbered.map(|(idx, fact)| (idx, self.first + idx as u64, fact))
    }

    /// The first number behind all entries.
    pub(crate) fn end(&self) -> Number {
        self.first + self.facts.len() as u64
    }

    /// The rights as the ledger ends.
    pub(crate) fn last_rights(&self) -> &Rights {
        &self.rights.last().expect("there is a first version").1
    }
}

fn index(first: Number, number: Number) -> Option<usize> {
    usize::try_from(number.checked_sub(first)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::GUILD;
    use super::*;

    fn rights() -> Rights {
        Shape { guild: GUILD, members: 10, seed: 1 }.rights()
    }
    use crate::trial::shape::Shape;

    #[test]
    fn every_number_is_explained_once() {
        let left = |number| Fact::Left { user: Shape::user(number) };
        let ledger = || {
            let mut ledger = Ledger::after(10);
            ledger.enter(13, left(3));
            ledger.enter(11, left(1));
            ledger
        };
        let users: Box<[UserId]> = [Shape::user(2)].into();
        let closed = ledger().close(rights(), vec![(12, users.clone())], 1);
        assert_eq!((closed.unexplained, closed.facts.len(), closed.end()), (0, 3, 14));
        assert_eq!(closed.from(12).map(|(idx, number, _)| (idx, number)).collect::<Vec<_>>(), [(1, 12), (2, 13)]);
        assert_eq!(closed.from(0).count(), 3);

        assert_eq!(ledger().close(rights(), Vec::new(), 0).unexplained, 1);
        assert_eq!(ledger().close(rights(), vec![(12, users.clone())], 2).unexplained, 1);
        assert_eq!(ledger().close(rights(), vec![(11, users)], 1).unexplained, 2);
    }

    #[test]
    fn a_version_of_the_rights_begins_with_what_changed_them() {
        let mut ledger = Ledger::after(0);
        ledger.enter(1, Fact::Unheard);
        ledger.enter(2, Fact::RoleDeleted { role: Shape::role(0) });
        let closed = ledger.close(rights(), Vec::new(), 0);
        let versions: Vec<(usize, Touched)> = closed.rights.iter().map(|(idx, _, touched)| (*idx, *touched)).collect();
        assert_eq!(versions, [(0, Touched::Everything), (1, Touched::Everything)]);
        assert!(!closed.last_rights().has_role(Shape::role(0)));
    }
}
