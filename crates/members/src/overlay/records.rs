//! The records of an overlay, in chunks that it shares with views: written once, one after the other, and freed together.
//!
//! Invariants:
//! - the first `len` slots are written, and no other;
//! - chunks double from [`CHUNK_FIRST`] to [`CHUNK_MAX`] slots, and stay at that.

use std::sync::{Arc, OnceLock};

use super::Record;

/// A record's number in its overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u32);

/// The records. A clone costs a reference count for each chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    chunks: Vec<Arc<[OnceLock<Record>]>>,
    len: u32,
}

impl Records {
    pub(super) fn push(&mut self, record: Record) -> Number {
        let number = Number(self.len);
        let (chunk, slot) = number.place();
        if chunk == self.chunks.len() {
            self.chunks.push((0..chunk_len(chunk)).map(|_| OnceLock::new()).collect());
        }
        let is_written = self.chunks[chunk][slot].set(record).is_ok();
        assert!(is_written, "of the overlays that share a slot one alone is the owner's, and no other writes");
        self.len += 1;
        number
    }

    pub(super) fn record(&self, number: Number) -> &Record {
        let (chunk, slot) = number.place();
        self.chunks[chunk][slot].get().expect("a number is given out when its slot is written")
    }

    /// All records, by number.
    pub(super) fn for_each<'a>(&'a self, mut f: impl FnMut(&'a Record)) {
        let mut left = self.len as usize;
        for chunk in &self.chunks {
            // Behind its own records, the owner may be writing what newer overlays have.
            let written = &chunk[..left.min(chunk.len())];
            left -= written.len();
            written.iter().for_each(|slot| f(slot.get().expect("the first slots are written")));
        }
    }

    /// Bytes on the heap, those of spilled roles and nicks estimated. O(records).
    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.chunks.iter().map(|chunk| size_of_val(&**chunk)).sum();
        let written = self.chunks.iter().flat_map(|chunk| chunk.iter()).filter_map(OnceLock::get);
        let spilled = written.filter(|record| record.roles.spilled()).map(|record| size_of_val(&record.roles[..]));
        slots + self.chunks.capacity() * size_of::<Arc<[OnceLock<Record>]>>() + spilled.sum::<usize>()
    }
}

impl Number {
    /// Its chunk, and its slot there.
    fn place(self) -> (usize, usize) {
        let number = self.0 as usize;
        if number < DOUBLING_SLOTS {
            let chunk = ((number + CHUNK_FIRST) / CHUNK_FIRST).ilog2() as usize;
            (chunk, number + CHUNK_FIRST - (CHUNK_FIRST << chunk))
        } else {
            let behind = number - DOUBLING_SLOTS;
            (DOUBLING_CHUNKS + behind / CHUNK_MAX, behind % CHUNK_MAX)
        }
    }
}

fn chunk_len(chunk: usize) -> usize {
    if chunk < DOUBLING_CHUNKS { CHUNK_FIRST << chunk } else { CHUNK_MAX }
}

/// Records of the first chunk: what a small guild changes between two folds.
const CHUNK_FIRST: usize = 4;
/// Records of a large chunk, 30 KB: what the last one leaves unused is little beside what is used.
const CHUNK_MAX: usize = 256;
/// Chunks that are each twice as long as the one before.
const DOUBLING_CHUNKS: usize = (CHUNK_MAX / CHUNK_FIRST).ilog2() as usize + 1;
const DOUBLING_SLOTS: usize = CHUNK_MAX * 2 - CHUNK_FIRST;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_one_chunk_after_the_other() {
        let (mut chunk, mut slot) = (0, 0);
        for number in 0..5_000 {
            if slot == chunk_len(chunk) {
                (chunk, slot) = (chunk + 1, 0);
            }
            assert_eq!(Number(number).place(), (chunk, slot), "{number}");
            slot += 1;
        }
    }
}
