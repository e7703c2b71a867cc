//! A list that grows without moving what is in it.
//!
//! A vector that is full moves to twice the room: with a million rows that is tens of milliseconds on the thread of who adds the next
//! one, most of them spent on memory that is new. Here only the first few thousand entries ever move; those behind lie in chunks that stay.
//!
//! Invariants: there are chunks only if `first` has [`CHUNK`] entries; each has at least one, and all but the last have [`CHUNK`];
//! `len` is the number of all entries.

use std::ops::{Index, IndexMut};

/// Entries, numbered from 0 on.
#[derive(Debug, Clone)]
pub(crate) struct Chunks<T> {
    first: Vec<T>,
    more: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { first: Vec::new(), more: Vec::new(), len: 0 }
    }
}

impl<T> Chunks<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.more.iter().flatten())
    }

    pub(crate) fn push(&mut self, entry: T) {
        self.len += 1;
        if self.first.len() < CHUNK {
            return self.first.push(entry);
        }
        match self.more.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(entry),
            Some(_) | None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.more.push(chunk);
            }
        }
    }

    /// Takes the last entry out, and gives room back once much of it is empty.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.len = self.len.saturating_sub(1);
        let Some(last) = self.more.last_mut() else {
            let entry = self.first.pop();
            if self.first.capacity() > ROOM_AN_ENTRY * self.first.len().max(ENTRIES_MIN) {
                self.first.shrink_to_fit();
            }
            return entry;
        };
        let entry = last.pop();
        if last.is_empty() {
            self.more.pop();
        }
        if self.more.is_empty() {
            self.more = Vec::new();
        }
        entry
    }

    /// Takes an entry out, of which there is one; the last one gets its number.
    pub(crate) fn swap_remove(&mut self, number: usize) -> T {
        let last = self.pop().expect("there is an entry of this number");
        if number == self.len() { last } else { std::mem::replace(&mut self[number], last) }
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.first.capacity() + self.more.len() * CHUNK;
        entries * size_of::<T>() + self.more.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: usize) -> &T {
        match number.checked_sub(CHUNK) {
            None => &self.first[number],
            Some(behind) => &self.more[behind / CHUNK][behind % CHUNK],
        }
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, number: usize) -> &mut T {
        match number.checked_sub(CHUNK) {
            None => &mut self.first[number],
            Some(behind) => &mut self.more[behind / CHUNK][behind % CHUNK],
        }
    }
}

/// Entries of a chunk. With fewer, the list of chunks outgrows the cache; with more, the room of the last one is much of all.
const CHUNK: usize = 4_096;
/// When many have gone, the room that is kept for each entry that is left, and for how many at least.
const ROOM_AN_ENTRY: usize = 4;
const ENTRIES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_as_a_vector_whatever_came_and_went(steps in prop::collection::vec((0..5_u8, 0..6_000_usize), 0..40)) {
            let (mut chunks, mut model, mut next) = (Chunks::default(), Vec::new(), 0);
            for (what, number) in steps {
                match what {
                    0 | 1 => for _ in 0..number {
                        chunks.push(next);
                        model.push(next);
                        next += 1;
                    },
                    2 => (0..number).for_each(|_| assert_eq!(chunks.pop(), model.pop())),
                    3 if number < model.len() => prop_assert_eq!(chunks.swap_remove(number), model.swap_remove(number)),
                    _ if number < model.len() => (chunks[number], model[number]) = (next, next),
                    _ => {}
                }
                prop_assert_eq!((chunks.len(), chunks.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(chunks.iter().eq(&model));
                prop_assert!((0..model.len()).all(|number| chunks[number] == model[number]));
            }
        }
    }

    #[test]
    fn what_lies_behind_the_first_few_thousand_never_moves_and_what_is_freed_is_given_back() {
        let mut chunks = Chunks::default();
        (0..CHUNK * 2).for_each(|entry| chunks.push(entry));
        let places: Vec<*const usize> = chunks.iter().map(|entry| entry as *const usize).collect();
        (0..CHUNK * 20).for_each(|entry| chunks.push(entry));
        assert!(chunks.iter().zip(places).all(|(entry, place)| std::ptr::eq(entry, place)));
        assert!(chunks.bytes() <= chunks.len() * size_of::<usize>() * 11 / 10);
        while chunks.len() > 10 {
            chunks.pop();
        }
        assert!(chunks.bytes() <= ROOM_AN_ENTRY * ENTRIES_MIN * size_of::<usize>(), "{}", chunks.bytes());
    }
}
