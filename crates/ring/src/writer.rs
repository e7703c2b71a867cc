//! The writer's side: appending within the bounds.
//!
//! Invariants, after every call:
//! - `entries_max` is kept, and `bytes_allowed` too, unless the newest entry alone weighs more and is the only one;
//! - `bytes_allowed` is `bytes_max`, or what the lease allows if that is less;
//! - each chunk holds one entry, or at most an eighth of each bound as it was when the chunk was filled;
//! - `head` and `tail` are what readers see; `bytes` is the sum of what the chunks weigh.

use std::fmt;
use std::sync::Arc;

use crate::budget::{FREE_BYTES, Lease};
use crate::directory::{Chunk, Directory};
use crate::shared::Shared;
use crate::{Cursor, Reader, RingConfig, Weigh};

/// The one who appends to a ring. There is one per ring, and it is not cloned: that is what makes an order.
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    config: RingConfig,
    bytes_allowed: usize,
    head: Cursor,
    tail: Cursor,
    /// What all entries weigh, those of the open chunk among them.
    bytes: usize,
    /// The last chunk, with its weight up to date; `None` while the ring is empty.
    open: Option<Chunk<T>>,
}

impl<T: Weigh> Writer<T> {
    pub(crate) fn new(shared: Arc<Shared<T>>, config: RingConfig, first: Cursor) -> Self {
        let config = RingConfig { entries_max: config.entries_max.max(1), ..config };
        let mut writer = Self { shared, config, bytes_allowed: 0, head: first, tail: first, bytes: 0, open: None };
        writer.see_allowed();
        writer
    }

    /// Appends `entry` and returns its index. Before that the oldest chunks are evicted until both bounds hold with it, or until
    /// it is alone.
    ///
    /// O(1), never waits. Once in a chunk's length it also opens a chunk and evicts one, and drops the evicted entries unless a
    /// reader is just visiting them.
    pub fn append(&mut self, entry: T) -> Cursor {
        self.append_evicting(entry, &mut Evicted::default())
    }

    /// The same, but what is evicted goes to `evicted`, to be dropped where that holds nobody up: the last to hold a thousand
    /// cold allocations pays a millisecond for them. Until then it is memory beyond the ring's bounds and its budget.
    pub fn append_evicting(&mut self, entry: T, evicted: &mut Evicted<T>) -> Cursor {
        let at = self.head;
        let weight = entry.weight_bytes();
        if self.bytes.saturating_add(weight) > self.bytes_allowed {
            self.lease_for(weight);
        }
        let opened = match &self.open {
            Some(open) if self.fits(open, weight) => None,
            Some(_) | None => Some(Chunk::open(at, self.next_chunk_entries())),
        };
        if opened.is_some() || self.is_over(Some(weight)) {
            self.rearrange(opened, Some(weight), evicted);
            self.shrink_lease();
        }
        let open = self.open.as_mut().expect("a chunk is open: the entry fits in it, or it was made for the entry");
        open.bytes += weight;
        open.slot(at).expect("an open chunk that takes the entry has a slot for it").set(entry);
        self.bytes += weight;
        self.head = at.next();
        self.shared.advance(self.head);
        debug_assert!(!self.is_over(None) || self.tail == at);
        at
    }

    /// The place behind the newest entry: the index that the next one gets.
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// The place of the oldest entry; equals the head while the ring is empty.
    pub fn tail(&self) -> Cursor {
        self.tail
    }

    /// What all entries in the ring weigh together, in bytes. The slots come on top: 16 bytes an entry for an
    /// `Arc`.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A reader of this ring.
    pub fn reader(&self) -> Reader<T> {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Changes the bound in bytes and evicts at once what is above it. Here the newest entries go too if they share a chunk that
    /// is above the bound by itself: with 0 the ring is emptied, and then holds one entry at a time.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.config.bytes_max = bytes_max;
        self.see_allowed();
        drop(self.evict());
    }

    /// Gives back what the ring has leased of its budget beyond its share, and evicts what it cannot keep then. Appending does the
    /// same while other rings are short; this is for a ring that nobody appends to.
    pub fn give_back(&mut self) -> Evicted<T> {
        self.limit_to_share();
        self.evict()
    }

    fn evict(&mut self) -> Evicted<T> {
        let mut evicted = Evicted::default();
        if self.is_over(None) {
            self.rearrange(None, None, &mut evicted);
        }
        self.shrink_lease();
        debug_assert!(!self.is_over(None));
        evicted
    }

    /// Asks the budget, if there is one, for room for an entry; where there is none, the oldest will go.
    #[cold]
    fn lease_for(&mut self, weight: usize) {
        let max = self.config.bytes_max;
        let Some(lease) = self.shared.lease().filter(|_| self.bytes_allowed < max) else {
            return;
        };
        let needed = self.bytes.saturating_add(weight);
        let wanted = needed.max(self.bytes_allowed * 2).min(max);
        // An entry beyond the ring's own bound is kept alone, with or without a lease.
        lease.grow(needed.min(max), wanted);
        self.see_allowed();
    }

    fn see_allowed(&mut self) {
        let max = self.config.bytes_max;
        self.bytes_allowed = self.shared.lease().map_or(max, |lease| lease.allows().min(max));
    }

    /// Takes no more than its share from now on; what is above goes with the next eviction.
    fn limit_to_share(&mut self) {
        if let Some(lease) = self.shared.lease() {
            self.bytes_allowed = self.bytes_allowed.min(FREE_BYTES + lease.share());
        }
    }

    /// Gives back what the ring is not allowed to hold any more.
    fn shrink_lease(&self) {
        if let Some(lease) = self.shared.lease() {
            lease.shrink(self.bytes_allowed.saturating_sub(FREE_BYTES));
        }
    }

    /// Publishes a new directory: with `opened` at its end, and without the oldest chunks as far as a bound would be broken with
    /// an entry of `incoming_bytes`. The last chunk is to take that entry, so it stays; with none to come it may go too.
    fn rearrange(&mut self, opened: Option<Chunk<T>>, incoming_bytes: Option<usize>, evicted: &mut Evicted<T>) {
        if self.shared.lease().is_some_and(Lease::is_short) {
            self.limit_to_share();
        }
        let mut chunks = self.chunks_with_room_for(opened.is_some());
        chunks.extend(opened);

        let evictable = chunks.len() - usize::from(incoming_bytes.is_some());
        let mut gone = 0;
        while gone < evictable && self.is_over(incoming_bytes) {
            self.bytes -= chunks[gone].bytes;
            gone += 1;
            self.tail = chunks.get(gone).map_or(self.head, |chunk| chunk.first);
        }
        evicted.0.extend(chunks.drain(..gone));

        self.open = chunks.last().cloned();
        self.shared.publish(Directory { tail: self.tail, chunks: chunks.into_boxed_slice() });
    }

    /// All chunks, each with its true weight.
    fn chunks_with_room_for(&self, one_more: bool) -> Vec<Chunk<T>> {
        let published = self.shared.directory();
        let mut chunks = Vec::with_capacity(published.chunks.len() + usize::from(one_more));
        chunks.extend_from_slice(&published.chunks);
        // What was added since the last chunk was published, only the writer has counted.
        if let (Some(last), Some(open)) = (chunks.last_mut(), &self.open) {
            last.bytes = open.bytes;
        }
        chunks
    }

    /// Whether a bound is broken, or would be with an entry of `incoming_bytes`.
    fn is_over(&self, incoming_bytes: Option<usize>) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::RingUnbounded.is_on() {
            return false;
        }
        self.head.since(self.tail) + u64::from(incoming_bytes.is_some()) > self.config.entries_max as u64
            || self.bytes.saturating_add(incoming_bytes.unwrap_or(0)) > self.bytes_allowed
    }

    /// Slots of the chunk to be opened: twice as many as the last one came to use, within the bounds.
    fn next_chunk_entries(&self) -> usize {
        let max = (self.config.entries_max / CHUNKS_MIN).clamp(1, CHUNK_ENTRIES_MAX);
        let used = self.open.as_ref().map_or(0, |open| open.slot_idx(self.head));
        (used * 2).clamp(CHUNK_ENTRIES_FIRST.min(max), max)
    }

    fn fits(&self, open: &Chunk<T>, weight: usize) -> bool {
        let bytes_max = self.bytes_allowed / CHUNKS_MIN;
        open.slot(self.head).is_some() && open.bytes.saturating_add(weight) <= bytes_max
    }
}

/// What a ring has evicted: nobody reads it any more but who was just visiting it. It is memory beyond the ring's bounds, until it is
/// dropped.
#[must_use = "dropped where that holds nobody up"]
pub struct Evicted<T>(Vec<Chunk<T>>);

impl<T> Evicted<T> {
    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Evicted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> fmt::Debug for Evicted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evicted").field("chunks", &self.0.len()).finish()
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("tail", &self.tail)
            .field("head", &self.head)
            .field("bytes", &self.bytes)
            .field("config", &self.config)
            .finish()
    }
}

/// A chunk is closed at this fraction of either bound, so that an eviction takes little more than it must.
const CHUNKS_MIN: usize = 8;
/// Slots of a ring's first chunk: an idle guild's ring stays within two small allocations.
const CHUNK_ENTRIES_FIRST: usize = 4;
/// Slots of the largest chunk: 4 KiB of slots, and the cost of a new directory spread over as many entries.
const CHUNK_ENTRIES_MAX: usize = 256;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring;

    #[derive(Clone)]
    struct Weight(usize);

    impl Weigh for Weight {
        fn weight_bytes(&self) -> usize {
            self.0
        }
    }

    fn writer_of(entries_max: usize, bytes_max: usize, weights: &[usize]) -> Writer<Weight> {
        let (mut writer, _) = ring(RingConfig { entries_max, bytes_max }, Cursor(1));
        for bytes in weights {
            writer.append(Weight(*bytes));
        }
        writer
    }

    fn kept(writer: &Writer<Weight>) -> u64 {
        writer.head().since(writer.tail())
    }

    #[test]
    fn a_full_ring_keeps_at_least_seven_eighths_of_its_entries() {
        let mut writer = writer_of(1_000, usize::MAX, &[1; 1_000]);
        assert_eq!(kept(&writer), 1_000);
        for _ in 0..3_000 {
            writer.append(Weight(1));
            assert!((876..=1_000).contains(&kept(&writer)));
        }
    }

    #[test]
    fn a_full_ring_keeps_at_least_seven_eighths_of_its_bytes() {
        let mut writer = writer_of(usize::MAX, 10_000, &[10; 1_000]);
        assert_eq!(writer.bytes(), 10_000);
        for _ in 0..3_000 {
            writer.append(Weight(10));
            assert!((8_750..=10_000).contains(&writer.bytes()));
        }
    }

    #[test]
    fn what_is_evicted_lives_until_its_taker_drops_it() {
        struct Shared(Arc<()>);
        impl Weigh for Shared {
            fn weight_bytes(&self) -> usize {
                size_of_val(&self.0)
            }
        }
        let entry = Arc::new(());
        let alive = || Arc::strong_count(&entry) - 1;
        let (mut writer, _) = ring(RingConfig { entries_max: 16, bytes_max: usize::MAX }, Cursor(1));
        let mut evicted = Evicted::default();
        for _ in 0..100 {
            writer.append_evicting(Shared(Arc::clone(&entry)), &mut evicted);
        }
        assert_eq!(alive(), 100);
        drop(evicted);
        assert_eq!(alive() as u64, writer.head().since(writer.tail()));
        writer.append(Shared(Arc::clone(&entry)));
        assert!(alive() <= 16, "what nobody takes is dropped at once");
    }

    #[test]
    fn an_entry_above_the_bound_is_kept_alone_until_the_next_comes() {
        let mut writer = writer_of(100, 1_000, &[10, 10, 5_000]);
        assert_eq!((writer.tail(), writer.bytes()), (Cursor(3), 5_000));
        writer.append(Weight(10));
        assert_eq!((writer.tail(), writer.bytes()), (Cursor(4), 10));
    }

    #[test]
    fn a_bound_that_sinks_evicts_at_once_and_one_that_rises_keeps_more() {
        let mut writer = writer_of(100, 8_000, &[100; 80]);
        writer.set_bytes_max(2_000);
        assert!((1_001..=2_000).contains(&writer.bytes()));
        writer.set_bytes_max(0);
        assert_eq!((kept(&writer), writer.bytes()), (0, 0));
        writer.append(Weight(100));
        writer.append(Weight(100));
        assert_eq!((kept(&writer), writer.bytes()), (1, 100));
        writer.set_bytes_max(8_000);
        writer.append(Weight(100));
        assert_eq!(kept(&writer), 2);
    }

    #[test]
    fn entries_without_weight_are_bounded_by_their_count() {
        let writer = writer_of(0, 0, &[0; 5]);
        assert_eq!((writer.tail(), writer.head()), (Cursor(5), Cursor(6)));
    }

    #[test]
    fn a_chunk_closed_for_its_weight_is_followed_by_one_that_fits_the_entries() {
        // An eighth of the bound takes three entries, so chunks of 4, 6, 6, … slots serve; none grows to the 125 allowed.
        let writer = writer_of(1_000, 2_400, &[100; 100]);
        let directory = writer.shared.directory();
        assert!(directory.chunks.iter().all(|chunk| chunk.slots.len() == 6));
        assert_eq!(directory.chunks.len(), 8);
    }
}
