//! A list ascending by id, shared until it changes: what a guild has of roles, and of channels.
//!
//! One allocation, not a tree: a tree's smallest leaf takes more than all that a small guild has, and a record of its own for each
//! entry as much again. A change copies the list, at most a thousand entries, if somebody else holds it; entries are changed in
//! place if nobody does.
//!
//! Invariant: ids ascend, none twice.

use std::sync::Arc;

/// What has an id by which it is found.
pub(crate) trait Keyed: Clone {
    type Key: Ord + Copy;

    fn key(&self) -> Self::Key;
}

/// Entries ascending by key. A clone is O(1), and takes no memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sorted<T>(Arc<[T]>);

/// Of nothing, shared by all that have nothing.
impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Keyed> Sorted<T> {
    /// Takes `entries` in any order, one a key. O(n log n).
    pub(crate) fn new(mut entries: Vec<T>) -> Self {
        entries.sort_unstable_by_key(Keyed::key);
        debug_assert!(entries.windows(2).all(|pair| pair[0].key() < pair[1].key()), "one entry a key");
        Self(entries.into())
    }

    /// O(log n).
    pub(crate) fn find(&self, key: T::Key) -> Option<&T> {
        Some(&self.0[self.position(key).ok()?])
    }

    /// O(log n), and O(n) if the list is shared.
    pub(crate) fn find_mut(&mut self, key: T::Key) -> Option<&mut T> {
        let at = self.position(key).ok()?;
        Some(&mut Arc::make_mut(&mut self.0)[at])
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Adds an entry, or has it take the place of the one with its key. O(n).
    pub(crate) fn put(&mut self, entry: T) {
        match self.position(entry.key()) {
            Ok(at) => Arc::make_mut(&mut self.0)[at] = entry,
            Err(at) => {
                let (before, behind) = self.0.split_at(at);
                self.0 = before.iter().cloned().chain([entry]).chain(behind.iter().cloned()).collect();
            }
        }
    }

    /// O(n).
    pub(crate) fn remove(&mut self, key: T::Key) -> Option<T> {
        let at = self.position(key).ok()?;
        let removed = self.0[at].clone();
        self.0 = self.0[..at].iter().chain(&self.0[at + 1..]).cloned().collect();
        Some(removed)
    }

    fn position(&self, key: T::Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, Keyed::key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Keyed for (u8, u32) {
        type Key = u8;

        fn key(&self) -> u8 {
            self.0
        }
    }

    proptest! {
        #[test]
        fn it_is_as_a_map_and_a_copy_stays_as_it_was(
            first in prop::collection::btree_map(0..20_u8, 0..9_u32, 0..20),
            changes in prop::collection::vec((0..4_u8, 0..20_u8, 0..9_u32), 0..40),
        ) {
            let mut model = first.clone();
            let mut list = Sorted::new(first.into_iter().rev().collect());
            for (what, key, value) in changes {
                let (before, copy) = (model.clone(), list.clone());
                match what {
                    0 => {
                        model.insert(key, value);
                        list.put((key, value));
                    }
                    1 => prop_assert_eq!(list.remove(key).map(|entry| entry.1), model.remove(&key)),
                    2 => {
                        let entry = list.find_mut(key);
                        prop_assert_eq!(entry.is_some(), model.contains_key(&key));
                        if let Some(entry) = entry {
                            entry.1 = value;
                            model.insert(key, value);
                        }
                    }
                    _ => prop_assert_eq!(list.find(key).map(|entry| entry.1), model.get(&key).copied()),
                }
                let entries = |list: &Sorted<(u8, u32)>| list.iter().copied().collect::<BTreeMap<_, _>>();
                prop_assert!(list.iter().is_sorted());
                prop_assert_eq!((entries(&list), entries(&copy)), (model.clone(), before));
            }
        }
    }
}
