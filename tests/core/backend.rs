//! One relay under test, with what is known of its ring: which entries it keeps, where its batch consumer stands.

use std::sync::Arc;

use guildhall_members::View;
use guildhall_proto::{Event, Position};
use guildhall_relay::{Batch, Relay, RelayConfig};
use guildhall_ring::{Cursor, RingConfig};

pub(crate) struct Backend {
    pub(crate) relay: Relay,
    pub(crate) batch: Batch,
    /// Its place in the owner's ring.
    pub(crate) cursor: Cursor,
    pub(crate) places: Places,
    /// Set when it fell out of the owner's ring and the guild is gone: there is no view to start again from.
    pub(crate) is_lost: bool,
}

/// A relay's ring as it must be.
#[derive(Debug)]
pub(crate) struct Places {
    /// All entries ever appended, ascending by position.
    entries: Vec<Entry>,
    entries_max: usize,
    pub(crate) pending_max: usize,
    pub(crate) position: u64,
    /// Entry and position at which the events since the last hole begin.
    run: (usize, u64),
    batch_at: usize,
    batch_limit: usize,
    /// The position up to which the batch consumer has lost events and not been told.
    pub(crate) batch_fell: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    seq: u64,
    /// For a hole: the last position before it.
    since: Option<u64>,
}

impl Backend {
    pub(crate) fn new(view: &View, entries_max: usize, pending_max: usize) -> Self {
        let ring = RingConfig { entries_max, bytes_max: usize::MAX };
        let config = RelayConfig { ring, pending_max, ..RelayConfig::default() };
        let position = view.position();
        let (relay, batch) = Relay::new(config, view.rights().clone(), position);
        let seq = position.seq.0;
        let places = Places {
            entries: Vec::new(),
            entries_max,
            pending_max,
            position: seq,
            run: (0, seq),
            batch_at: 0,
            batch_limit: 0,
            batch_fell: None,
        };
        Self { relay, batch, cursor: Cursor::after(position.seq), places, is_lost: false }
    }

    /// Hands over to the batch consumer.
    pub(crate) fn fill(&mut self) {
        self.relay.fill(&mut self.batch);
        let places = &mut self.places;
        places.batch_limit = places.entries.len();
        if places.batch_at < places.tail() {
            places.batch_at = places.entries.len();
            places.batch_fell = Some(places.position);
        }
    }
}

impl Places {
    pub(crate) fn append(&mut self, event: &Event) {
        self.position = event.position.seq.0;
        self.entries.push(Entry { seq: self.position, since: None });
    }

    pub(crate) fn append_hole(&mut self, through: Position) {
        let since = Some(self.position);
        self.position = through.seq.0;
        self.entries.push(Entry { seq: self.position, since });
        self.run = (self.entries.len(), self.position);
    }

    fn tail(&self) -> usize {
        self.entries.len().saturating_sub(self.entries_max)
    }

    pub(crate) fn head(&self) -> usize {
        self.entries.len()
    }

    /// The position up to which the batch consumer may read without another fill.
    pub(crate) fn handed_over(&self) -> u64 {
        self.batch_limit.checked_sub(1).map_or(0, |last| self.entries[last].seq)
    }

    pub(crate) fn run_position(&self) -> u64 {
        self.run.1
    }

    /// Whether the entry is in the ring, or is to come.
    pub(crate) fn is_kept(&self, at: usize) -> bool {
        at >= self.tail()
    }

    /// Whether an attach accepted there can still be served.
    pub(crate) fn reaches_back_to(&self, accepted: u64) -> bool {
        accepted >= self.run.1 && self.is_kept(self.run.0 + (accepted - self.run.1) as usize)
    }

    /// Whether there is a hole through this position, before which nothing is outstanding.
    pub(crate) fn is_hole(&self, through: u64, next: u64) -> bool {
        let holes = self.entries.iter().rev().filter(|entry| entry.seq == through);
        holes.filter_map(|entry| entry.since).any(|since| next > since)
    }

    /// The first entry that is for a session which hears the event `next` next and knows all up to `known`.
    pub(crate) fn first_for(&self, next: u64, known: u64) -> Option<usize> {
        let event = self.entries.binary_search_by(|entry| (entry.seq, entry.since.is_some()).cmp(&(next, false))).ok();
        let from = self.entries.partition_point(|entry| entry.seq <= known);
        let hole = (from..self.entries.len()).find(|at| self.entries[*at].since.is_some());
        event.into_iter().chain(hole).min()
    }

    /// The batch consumer reads at most `max` events.
    pub(crate) fn pass(&mut self, max: usize) {
        if !self.is_kept(self.batch_at) {
            return;
        }
        let mut left = max;
        while self.batch_at < self.batch_limit && left > 0 {
            left -= usize::from(self.entries[self.batch_at].since.is_none());
            self.batch_at += 1;
        }
    }
}

/// The events that a session's end must be looked for in, when it is attached in the past.
pub(crate) fn between(events: &[Arc<Event>], after: u64, through: u64) -> &[Arc<Event>] {
    &events[after as usize..through as usize]
}
