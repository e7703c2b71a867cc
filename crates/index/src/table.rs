//! Rows in a dense list, found by each of their ids.
//!
//! Invariants: every index leads to every row; lists that there are are not empty.

use crate::Index;
use crate::chunks::Chunks;

/// What lies in a [`Table`]: something with so many ids, which stay as they are while it lies there.
pub trait Row<const IDS: usize> {
    /// One of its ids.
    fn id(&self, which: usize) -> u64;
}

/// Rows in no order, found by each of their ids in O(1). An empty one is a null pointer.
#[derive(Debug, Clone)]
pub struct Table<R, const IDS: usize>(Option<Box<Lists<R, IDS>>>);

#[derive(Debug, Clone)]
struct Lists<R, const IDS: usize> {
    rows: Chunks<R>,
    indexes: [Index; IDS],
}

impl<R, const IDS: usize> Default for Table<R, IDS> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R: Row<IDS>, const IDS: usize> Table<R, IDS> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.rows.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Every row, in an order that only what was done before decides.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.0.iter().flat_map(|lists| lists.rows.iter())
    }

    /// The row of a number. They are numbered from 0 on, without a hole: where one is taken out, the last one gets its number.
    pub fn at(&self, number: usize) -> Option<&R> {
        self.0.as_ref().filter(|lists| number < lists.rows.len()).map(|lists| &lists.rows[number])
    }

    /// The rows of an id, the latest listed first.
    pub fn all(&self, which: usize, id: u64) -> impl Iterator<Item = &R> {
        self.0.iter().flat_map(move |lists| lists.numbers(which, id).map(|row| &lists.rows[row as usize]))
    }

    /// The row of an id, the latest listed if there are several.
    pub fn find(&self, which: usize, id: u64) -> Option<&R> {
        self.all(which, id).next()
    }

    /// The same, to be changed in all but its ids.
    pub fn find_mut(&mut self, which: usize, id: u64) -> Option<&mut R> {
        let lists = self.0.as_deref_mut()?;
        let row = lists.numbers(which, id).next()?;
        Some(&mut lists.rows[row as usize])
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If there are as many as 32 bits number.
    pub fn insert(&mut self, row: R) {
        let lists = self.0.get_or_insert_with(|| {
            Box::new(Lists { rows: Chunks::default(), indexes: [(); IDS].map(|()| Index::default()) })
        });
        lists.rows.push(row);
        lists.list(lists.last());
    }

    /// Takes out the row that [`find`](Self::find) finds.
    pub fn remove(&mut self, which: usize, id: u64) -> Option<R> {
        let lists = self.0.as_deref_mut()?;
        let row = lists.numbers(which, id).next()?;
        let removed = lists.remove(row);
        if lists.rows.is_empty() {
            self.0 = None;
        }
        Some(removed)
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let of = |lists: &Lists<R, IDS>| {
            let indexes = lists.indexes.iter().map(Index::bytes).sum::<usize>();
            size_of::<Lists<R, IDS>>() + lists.rows.bytes() + indexes
        };
        self.0.as_deref().map_or(0, of)
    }
}

impl<R: Row<IDS>, const IDS: usize> Lists<R, IDS> {
    fn remove(&mut self, row: u32) -> R {
        let last = self.last();
        self.unlist(row);
        if row != last {
            self.unlist(last);
        }
        // The last one takes its place.
        let removed = self.rows.swap_remove(row as usize);
        if row != last {
            self.list(row);
        }
        removed
    }

    fn numbers(&self, which: usize, id: u64) -> impl Iterator<Item = u32> {
        self.indexes[which].find(id, move |row| self.rows[row as usize].id(which))
    }

    fn list(&mut self, row: u32) {
        for (which, index) in self.indexes.iter_mut().enumerate() {
            index.insert(row, |row| self.rows[row as usize].id(which));
        }
    }

    fn unlist(&mut self, row: u32) {
        for (which, index) in self.indexes.iter_mut().enumerate() {
            index.remove(row, |row| self.rows[row as usize].id(which));
        }
    }

    /// The number of the last row, of which there is one.
    fn last(&self) -> u32 {
        u32::try_from(self.rows.len() - 1).expect("there are no more rows than 32 bits number")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Pair(u64, u64);

    impl Row<2> for Pair {
        fn id(&self, which: usize) -> u64 {
            [self.0, self.1][which]
        }
    }

    proptest! {
        #[test]
        fn rows_are_found_by_both_ids_whatever_came_and_went(steps in prop::collection::vec((0_u64..200, 0_u64..20), 0..600)) {
            let (mut table, mut model) = (Table::<Pair, 2>::default(), BTreeMap::new());
            for (one, other) in steps {
                match model.remove(&one) {
                    Some(other) => prop_assert_eq!(table.remove(0, one), Some(Pair(one, other))),
                    None => {
                        prop_assert_eq!(table.remove(0, one), None);
                        model.insert(one, other);
                        table.insert(Pair(one, other));
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.find(0, one).map(|row| row.1), model.get(&one).copied());
                let mut found: Vec<u64> = table.all(1, other).map(|row| row.0).collect();
                found.sort_unstable();
                prop_assert_eq!(found, model.iter().filter(|(_, of)| **of == other).map(|(one, _)| *one).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_freed_is_given_back() {
        let mut table = Table::<Pair, 2>::default();
        (0..10_000).for_each(|row| table.insert(Pair(row, row)));
        (0..10_000).for_each(|row| assert!(table.remove(1, row).is_some()));
        assert_eq!((table.is_empty(), table.bytes()), (true, 0));
    }

    #[test]
    fn of_many_that_have_gone_the_few_that_are_left_keep_no_room() {
        let mut table = Table::<Pair, 2>::default();
        (0..10_000).for_each(|row| table.insert(Pair(row, row)));
        (8..10_000).for_each(|row| assert!(table.remove(1, row).is_some()));
        assert!((0..8).all(|row| table.find(1, row) == Some(&Pair(row, row))));
        assert!(table.bytes() <= 8_192, "{}", table.bytes());
    }
}
