//! Where the entries of a ring lie: chunks of write-once slots, oldest first.
//!
//! A directory never changes once published; the writer replaces it. Only slots of the last chunk are still written.
//!
//! Invariants:
//! - chunks are contiguous: each holds the entries from its `first` up to the next one's, the last one up to the head;
//! - the first chunk begins at `tail`; without chunks `tail` is the head.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::Cursor;
use crate::sync::Slot;

/// The chunks of a ring at one time.
pub(crate) struct Directory<T> {
    /// The index of the oldest entry.
    pub(crate) tail: Cursor,
    /// Ascending by `first`.
    pub(crate) chunks: Box<[Chunk<T>]>,
}

/// Slots for consecutive entries, shared by all directories that list them.
pub(crate) struct Chunk<T> {
    /// The index of the entry in the first slot.
    pub(crate) first: Cursor,
    /// What its entries weigh together; true once a later chunk stands behind it.
    pub(crate) bytes: usize,
    /// Written front to back. A chunk closed for its weight leaves slots unwritten for ever.
    pub(crate) slots: Arc<[Slot<T>]>,
}

impl<T> Directory<T> {
    pub(crate) fn empty(tail: Cursor) -> Self {
        Self { tail, chunks: Box::default() }
    }

    /// Visits the entries from `from` up to `to` in order while the visitor says so.
    ///
    /// `from` is at or above the tail, `to` at or below a head that was seen before this directory was loaded.
    pub(crate) fn visit(
        &self,
        from: Cursor,
        to: Cursor,
        mut visit: impl FnMut(Cursor, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let idx = self.chunks.partition_point(|chunk| chunk.first <= from).saturating_sub(1);
        let ends = self.chunks.iter().skip(idx + 1).map(|next| next.first);
        let mut at = from;
        for (chunk, end) in self.chunks[idx..].iter().zip(ends.chain([to])) {
            for slot in chunk.between(at, end.min(to)) {
                visit(at, slot.get().expect("a slot is written before the head passes it"))?;
                at = at.next();
            }
            if at >= to {
                break;
            }
        }
        debug_assert!(at >= to, "the directory has a chunk for every entry below a head seen before");
        ControlFlow::Continue(())
    }
}

impl<T> Chunk<T> {
    /// A chunk with room for `entries` entries from the index `first` on.
    pub(crate) fn open(first: Cursor, entries: usize) -> Self {
        Self { first, bytes: 0, slots: (0..entries).map(|_| Slot::default()).collect() }
    }

    /// The slot for the entry `at`, or `None` where the chunk ends.
    pub(crate) fn slot(&self, at: Cursor) -> Option<&Slot<T>> {
        self.slots.get(self.slot_idx(at))
    }

    fn between(&self, from: Cursor, to: Cursor) -> &[Slot<T>] {
        &self.slots[self.slot_idx(from)..self.slot_idx(to)]
    }

    pub(crate) fn slot_idx(&self, at: Cursor) -> usize {
        // Readers ask for nothing below a chunk's first entry, and a chunk has at most `CHUNK_ENTRIES_MAX` slots.
        usize::try_from(at.since(self.first)).unwrap_or(usize::MAX)
    }
}

impl<T> Clone for Chunk<T> {
    fn clone(&self) -> Self {
        Self { first: self.first, bytes: self.bytes, slots: Arc::clone(&self.slots) }
    }
}
