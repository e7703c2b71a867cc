//! Who is kept out of a guild, and why.
//!
//! Kept beside the members and shared like them: a checkpoint or a view takes all of it in O(1).

use std::ops::Bound;

use guildhall_proto::{Ban, Reason, UserId};

/// The bans of one guild, ascending by user. Clone is O(1), and stays as it is while the original changes.
#[derive(Debug, Clone, Default)]
pub struct Bans(im::OrdMap<UserId, Option<Reason>>);

impl Bans {
    /// How many there are. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ban of `user`, if there is one. O(log n).
    pub fn find(&self, user: UserId) -> Option<Ban> {
        self.0.get(&user).map(|reason| Ban { user, reason: reason.clone() })
    }

    /// Whether `user` is kept out. O(log n).
    pub fn contains(&self, user: UserId) -> bool {
        // The common case, and it saves the call.
        !self.0.is_empty() && self.0.contains_key(&user)
    }

    /// All bans of users behind `after`, ascending; from the first one with `None`. O(log n) before the first.
    pub fn behind(&self, after: Option<UserId>) -> impl Iterator<Item = Ban> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range((from, Bound::Unbounded)).map(|(user, reason)| Ban { user: *user, reason: reason.clone() })
    }

    /// Adds a ban, or gives the one that is there another reason.
    pub(crate) fn put(&mut self, user: UserId, reason: Option<Reason>) {
        self.0.insert(user, reason);
    }

    pub(crate) fn lift(&mut self, user: UserId) {
        self.0.remove(&user);
    }

    /// Bytes held, allocations and the tree estimated. O(n).
    pub(crate) fn bytes(&self) -> usize {
        let reasons = self.0.values().flatten().map(|reason| reason.as_str().len() + ALLOCATION_BYTES);
        self.0.len() * ENTRY_BYTES + reasons.sum::<usize>()
    }
}

/// An entry in a tree whose nodes are two thirds full, as they are after random insertions.
const ENTRY_BYTES: usize = size_of::<(UserId, Option<Reason>)>() * 3 / 2;
/// What a shared allocation takes beside its content: two counts.
const ALLOCATION_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_the_bans_of_its_moment() {
        let user = |number| UserId::new(number).unwrap();
        let mut bans = Bans::default();
        for number in [3, 1, 2] {
            bans.put(user(number), None);
        }
        let copy = bans.clone();
        bans.lift(user(2));
        bans.put(user(3), Some(Reason::parse("spam").unwrap()));

        let users = |bans: &Bans, after| bans.behind(after).map(|ban| ban.user.get()).collect::<Vec<_>>();
        assert_eq!((users(&copy, None), users(&bans, None)), (vec![1, 2, 3], vec![1, 3]));
        assert_eq!(users(&bans, Some(user(1))), [3]);
        assert_eq!(copy.find(user(3)).unwrap().reason, None);
        assert_eq!(bans.find(user(3)).unwrap().reason.unwrap().as_str(), "spam");
    }
}
