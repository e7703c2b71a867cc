//! Finds rows by id, in little memory, and grows without a pause.
//!
//! Rows lie elsewhere, numbered densely; an [`Index`] leads from an id to the numbers of its rows. It takes 8 to 12 bytes a row,
//! where an ordered map takes 26 to 34 beside the row, and up to twice the row where that lies in the map.
//!
//! # Driving it
//!
//! Whoever has the rows tells the index of each that is to be found ([`Index::insert`]) and each that is not any more
//! ([`Index::remove`]), and lends it a look at the ids whenever it has to compare them:
//!
//! ```
//! use guildhall_index::Index;
//!
//! let users = [70_u64, 71, 70];
//! let id_of = |row: u32| users[row as usize];
//! let mut index = Index::default();
//! for row in 0..3 {
//!     index.insert(row, id_of);
//! }
//! assert_eq!(index.find(70, id_of).collect::<Vec<_>>(), [2, 0]);
//! index.remove(2, id_of);
//! assert_eq!(index.find(70, id_of).collect::<Vec<_>>(), [0]);
//! ```
//!
//! A [`Table`] is a list of rows together with an index for each of their ids.
//!
//! # How it works, and what it costs
//!
//! Linear hashing (Litwin, 1980): with each row that comes the index has one bucket more, and one old bucket is split into two; with
//! each that goes, the other way. So there is about one row a bucket, and no moment at which all are hashed anew. Nor are lists moved
//! when they grow, but for the first few thousand entries: an owner with a million sessions takes the next one as fast as the first.
//! All is O(1) but for rows of one id, which are found one after another.
//!
//! # What it is not for
//!
//! It has no order: what is to be gone through in order, or by ranges, belongs into an ordered map. The order of the rows of one id is
//! certain, the latest inserted first. Hashes are the same in every process, so whoever may choose ids freely can choose them to
//! collide: ids come from nodes and backends, which are trusted with them.

#![warn(missing_docs)]

mod chunks;
mod table;

use std::iter;

use chunks::Chunks;
pub use table::{Row, Table};

/// Leads from ids to rows. The crate's page shows how to drive it.
///
/// Invariants: a row is in the chain of its id's bucket; there are as many buckets as rows, up to twice as many once rows have gone.
#[derive(Debug, Default, Clone)]
pub struct Index {
    /// By bucket: its first row.
    heads: Chunks<u32>,
    /// By row: the next in its bucket.
    nexts: Chunks<u32>,
    len: usize,
}

impl Index {
    /// Rows that can be found.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has a row be found that is not yet. `id_of` tells the ids of this and of all rows inserted.
    pub fn insert(&mut self, row: u32, id_of: impl Fn(u32) -> u64) {
        debug_assert!(row != NONE);
        while self.nexts.len() <= row as usize {
            self.nexts.push(NONE);
        }
        self.len += 1;
        if self.heads.len() < self.len {
            self.split(&id_of);
        }
        let bucket = self.bucket(id_of(row));
        self.nexts[row as usize] = self.heads[bucket];
        self.heads[bucket] = row;
    }

    /// Has a row not be found any more; whether it was. `id_of` tells the ids of this and of all rows inserted.
    pub fn remove(&mut self, row: u32, id_of: impl Fn(u32) -> u64) -> bool {
        if self.heads.is_empty() {
            return false;
        }
        let bucket = self.bucket(id_of(row));
        let Some(link) = self.links(bucket).find(|link| self.at(*link) == row) else {
            return false;
        };
        *self.at_mut(link) = self.nexts[row as usize];
        if row as usize + 1 == self.nexts.len() {
            self.nexts.pop();
        }
        self.len -= 1;
        // At most as many turns as there are buckets a row.
        while self.heads.len() > BUCKETS_A_ROW * self.len {
            self.join();
        }
        true
    }

    /// The rows of an id, the latest inserted first. `id_of` tells the ids of all rows inserted.
    #[inline]
    pub fn find(&self, id: u64, id_of: impl Fn(u32) -> u64) -> impl Iterator<Item = u32> {
        let first = if self.heads.is_empty() { NONE } else { self.heads[self.bucket(id)] };
        self.chain(first).filter(move |row| id_of(*row) == id)
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.heads.bytes() + self.nexts.bytes()
    }

    /// Adds a bucket, and has those rows of an earlier one go there that belong there now.
    fn split(&mut self, id_of: &impl Fn(u32) -> u64) {
        let added = self.heads.len();
        self.heads.push(NONE);
        if added == 0 {
            return;
        }
        let from = buddy(added);
        let mut row = std::mem::replace(&mut self.heads[from], NONE);
        let mut ends = [Link::Head(from), Link::Head(added)];
        while row != NONE {
            let next = std::mem::replace(&mut self.nexts[row as usize], NONE);
            let end = &mut ends[usize::from(self.bucket(id_of(row)) == added)];
            *self.at_mut(*end) = row;
            *end = Link::Next(row);
            row = next;
        }
    }

    /// Takes the last bucket away; its rows go to the end of the one it was split from.
    fn join(&mut self) {
        let rows = self.heads.pop().unwrap_or(NONE);
        if rows != NONE {
            let last = self.links(buddy(self.heads.len())).last().expect("a chain has at least its head");
            *self.at_mut(last) = rows;
        }
        if self.len == 0 {
            *self = Self::default();
        }
    }

    /// The bucket of an id. There is one.
    #[inline]
    fn bucket(&self, id: u64) -> usize {
        let mask = self.heads.len().next_power_of_two() - 1;
        // The low bits of the product of all bits.
        let bucket = mixed(id) as usize & mask;
        if bucket < self.heads.len() { bucket } else { buddy(bucket) }
    }

    fn chain(&self, first: u32) -> impl Iterator<Item = u32> {
        let some = |row: u32| Some(row).filter(|row| *row != NONE);
        iter::successors(some(first), move |row| some(self.nexts[*row as usize]))
    }

    /// Every link of a chain, the one that leads nowhere among them.
    fn links(&self, bucket: usize) -> impl Iterator<Item = Link> {
        iter::once(Link::Head(bucket)).chain(self.chain(self.heads[bucket]).map(Link::Next))
    }

    fn at(&self, link: Link) -> u32 {
        match link {
            Link::Head(bucket) => self.heads[bucket],
            Link::Next(row) => self.nexts[row as usize],
        }
    }

    fn at_mut(&mut self, link: Link) -> &mut u32 {
        match link {
            Link::Head(bucket) => &mut self.heads[bucket],
            Link::Next(row) => &mut self.nexts[row as usize],
        }
    }
}

/// What leads to a row.
#[derive(Debug, Clone, Copy)]
enum Link {
    Head(usize),
    Next(u32),
}

/// The bucket that one was split from: its number without its highest bit.
fn buddy(bucket: usize) -> usize {
    bucket ^ (1 << bucket.ilog2())
}

/// The finaliser of splitmix64: every bit of an id, snowflakes' constant ones among them, decides about every bit of this.
#[inline]
fn mixed(id: u64) -> u64 {
    let id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}

/// The absence of a row.
const NONE: u32 = u32::MAX;
/// Buckets that are kept for each row: with fewer, rows that come and go at the bound would move others each time.
const BUCKETS_A_ROW: usize = 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_found_by_their_ids_whatever_came_and_went(steps in prop::collection::vec((0_u32..200, 0_u64..60), 0..600)) {
            let (mut index, mut ids, mut model) = (Index::default(), [0; 200], BTreeMap::<u64, Vec<u32>>::new());
            for (row, id) in steps {
                let of_row = model.entry(ids[row as usize]).or_default();
                if let Some(at) = of_row.iter().position(|there| *there == row) {
                    of_row.remove(at);
                    prop_assert!(index.remove(row, |row| ids[row as usize]));
                    prop_assert!(!index.remove(row, |row| ids[row as usize]));
                } else {
                    ids[row as usize] = id;
                    model.entry(id).or_default().insert(0, row);
                    index.insert(row, |row| ids[row as usize]);
                }
                prop_assert_eq!(index.len(), model.values().map(Vec::len).sum::<usize>());
                for id in 0..60 {
                    let found: Vec<u32> = index.find(id, |row| ids[row as usize]).collect();
                    prop_assert_eq!(&found, model.get(&id).map_or(&[][..], |rows| rows));
                }
            }
        }
    }

    #[test]
    fn what_is_freed_is_given_back() {
        let id_of = |row: u32| u64::from(row) << 22;
        let mut index = Index::default();
        (0..10_000).for_each(|row| index.insert(row, id_of));
        assert!(index.bytes() <= 10_000 * 14, "{}", index.bytes());
        assert!((0..10_000).all(|row| index.find(id_of(row), id_of).eq([row])));
        (0..10_000).for_each(|row| assert!(index.remove(row, id_of)));
        assert_eq!((index.len(), index.bytes()), (0, 0));
    }

    #[test]
    fn snowflakes_are_spread_over_the_buckets() {
        let id_of = |row: u32| u64::from(row) << 22 | 3;
        let mut index = Index::default();
        (0..65_536).for_each(|row| index.insert(row, id_of));
        let longest = index.heads.iter().map(|head| index.chain(*head).count()).max();
        assert!(longest <= Some(12), "{longest:?}");
    }
}
