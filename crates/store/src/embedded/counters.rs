//! What the store has done, for metrics and for tests that want to know that it happened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbeddedCounts {
    /// Groups of claims and batches that were written and synced as one.
    pub groups: u64,
    /// Claims settled.
    pub claims: u64,
    /// Batches stored.
    pub batches: u64,
    /// Claims and records written again, so that the segment in which they were could be given back.
    pub carried: u64,
    /// Segments of either log that were given back.
    pub segments_freed: u64,
    /// Checkpoints stored.
    pub checkpoints: u64,
    /// Parts of checkpoints that were written.
    pub parts_written: u64,
    /// Parts that the checkpoint before had already.
    pub parts_kept: u64,
    /// Checkpoints written again, for the sake of the segment in which they or their parts were.
    pub compacted: u64,
    /// Batches and checkpoints refused for want of room.
    pub refused_full: u64,
    /// Reads that failed of what was to be written again.
    pub unreadable: u64,
    /// What could not be read for so long that it was moved as lost: its guild stays away.
    pub lost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) groups: Count,
    pub(crate) claims: Count,
    pub(crate) batches: Count,
    pub(crate) carried: Count,
    pub(crate) segments_freed: Count,
    pub(crate) checkpoints: Count,
    pub(crate) parts_written: Count,
    pub(crate) parts_kept: Count,
    pub(crate) compacted: Count,
    pub(crate) refused_full: Count,
    pub(crate) unreadable: Count,
    pub(crate) lost: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn counts(&self) -> EmbeddedCounts {
        EmbeddedCounts {
            groups: self.groups.get(),
            claims: self.claims.get(),
            batches: self.batches.get(),
            carried: self.carried.get(),
            segments_freed: self.segments_freed.get(),
            checkpoints: self.checkpoints.get(),
            parts_written: self.parts_written.get(),
            parts_kept: self.parts_kept.get(),
            compacted: self.compacted.get(),
            refused_full: self.refused_full.get(),
            unreadable: self.unreadable.get(),
            lost: self.lost.get(),
        }
    }
}
