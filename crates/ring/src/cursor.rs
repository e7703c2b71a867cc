//! Places in a ring, and what a read from one comes to.

use guildhall_proto::Seq;

/// One reader's place in a ring: the index of the next entry it reads.
///
/// Indexes are dense and rise by one for each entry. In a guild's own ring an entry's index is its event's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The place of a reader that reads the event numbered `seq` next, in a ring whose indexes are event numbers.
    pub const fn at(seq: Seq) -> Self {
        Self(seq.0)
    }

    /// The place of a reader that has just read the event numbered `seq`, in a ring whose indexes are event numbers.
    pub const fn after(seq: Seq) -> Self {
        Self(seq.0 + 1)
    }

    /// The place one entry on.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Entries from `earlier` to here; 0 if `earlier` is the later of the two.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Entries that the visitor took; the cursor has moved on by as many.
    pub entries: u64,
    /// Whether the reader has taken all there was when the read began. The head may have moved on meanwhile.
    pub at_head: bool,
}

/// What a reader is told whose next entry has left the ring: all from `from` up to `tail` is lost to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entries {} to {} have left the ring; it reaches up to {}", from.0, tail.0 - 1, head.0)]
pub struct Gap {
    /// The reader's cursor, which has not moved.
    pub from: Cursor,
    /// The oldest entry that could still be read at that moment; above `from`.
    pub tail: Cursor,
    /// The place behind the newest entry at that moment; at or above `tail`.
    pub head: Cursor,
}

/// Why a read could not begin. The cursor has not moved and nothing was visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The next entry has left the ring: start again from a view, and go on from a cursor of the caller's choice.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The cursor is not of this ring: it lies beyond what was ever appended.
    #[error("cursor {} lies beyond the head {}", from.0, head.0)]
    Ahead {
        /// The reader's cursor.
        from: Cursor,
        /// The place behind the newest entry.
        head: Cursor,
    },
}
