//! What bounded rings hold, told from outside: by how many entries went in, and when they were squeezed.

use std::collections::BTreeMap;

use guildhall_proto::{ChannelId, EventKind, Position};

/// Which entries of a ring are still there. Exact up to 15 entries, which lie in a chunk each, and for rings that never fill.
#[derive(Debug)]
pub(crate) struct Kept {
    len: usize,
    entries_max: usize,
    /// What is before it was squeezed out.
    floor: usize,
    is_squeezed: bool,
}

/// Both rings of a relay as they must be.
#[derive(Debug)]
pub(crate) struct Places {
    /// All entries ever appended, ascending by position.
    entries: Vec<Entry>,
    pub(crate) whole: Kept,
    /// The positions of those that can be for passive sessions, and of the summaries.
    slow_entries: Vec<u64>,
    pub(crate) slow: Kept,
    pub(crate) position: u64,
    /// Entry and position at which the events since the last hole begin.
    run: (usize, u64),
    batch_at: usize,
    batch_limit: usize,
    /// The position up to which the batch consumer has lost events and not been told.
    pub(crate) batch_fell: Option<u64>,
    /// By channel, the latest message since the last summary.
    pub(crate) news: BTreeMap<ChannelId, u64>,
    pub(crate) summaries: Vec<Summary>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    seq: u64,
    /// For a hole: the last position before it.
    since: Option<u64>,
}

/// An unread summary: of which messages, and where it was made.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) seq: u64,
    /// Its place in the slow ring.
    pub(crate) at: usize,
    pub(crate) news: BTreeMap<ChannelId, u64>,
}

impl Kept {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { len: 0, entries_max, floor: 0, is_squeezed: false }
    }

    pub(crate) fn append(&mut self) {
        if self.is_squeezed {
            self.floor = self.len;
        }
        self.len += 1;
    }

    /// The ring may hold no bytes: it is emptied, then holds one entry at a time. Or as many as before.
    pub(crate) fn squeeze(&mut self, is_squeezed: bool) {
        if is_squeezed {
            self.floor = self.len;
        }
        self.is_squeezed = is_squeezed;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the entry is in the ring, or is to come.
    pub(crate) fn is_kept(&self, at: usize) -> bool {
        at >= self.floor && self.fits(at)
    }

    /// Whether the entry is gone that would still be there, had the ring not been squeezed.
    pub(crate) fn is_squeezed_out(&self, at: usize) -> bool {
        at < self.floor && self.fits(at)
    }

    fn fits(&self, at: usize) -> bool {
        at >= self.len.saturating_sub(self.entries_max)
    }
}

impl Places {
    pub(crate) fn new(at: Position, entries_max: usize, slow_max: usize) -> Self {
        let seq = at.seq.0;
        Self {
            entries: Vec::new(),
            whole: Kept::new(entries_max),
            slow_entries: Vec::new(),
            slow: Kept::new(slow_max),
            position: seq,
            run: (0, seq),
            batch_at: 0,
            batch_limit: 0,
            batch_fell: None,
            news: BTreeMap::new(),
            summaries: Vec::new(),
        }
    }

    /// An event comes, which passive sessions may have to see or not.
    pub(crate) fn append(&mut self, seq: u64, is_slow: bool) {
        self.position = seq;
        self.entries.push(Entry { seq, since: None });
        self.whole.append();
        if is_slow {
            self.append_slow();
        }
    }

    /// Notes what an event just appended is to the next summary.
    pub(crate) fn note(&mut self, event: &EventKind) {
        if let EventKind::MessagePublished(message) = event {
            self.news.insert(message.channel, self.position);
        } else if let EventKind::ChannelDeleted { channel, .. } = event {
            self.news.remove(&channel.id);
        }
    }

    pub(crate) fn append_hole(&mut self, through: u64) {
        let since = Some(self.position);
        self.position = through;
        self.entries.push(Entry { seq: through, since });
        self.whole.append();
        self.append_slow();
        self.run = (self.entries.len(), through);
        self.news.clear();
    }

    /// Makes a summary of all news.
    pub(crate) fn summarize(&mut self) -> &Summary {
        let (seq, at, news) = (self.position, self.slow_entries.len(), std::mem::take(&mut self.news));
        self.append_slow();
        self.summaries.push(Summary { seq, at, news });
        self.summaries.last().expect("just made")
    }

    fn append_slow(&mut self) {
        self.slow_entries.push(self.position);
        self.slow.append();
    }

    pub(crate) fn squeeze(&mut self, is_squeezed: bool) {
        self.whole.squeeze(is_squeezed);
        self.slow.squeeze(is_squeezed);
    }

    /// Hands over to the batch consumer.
    pub(crate) fn fill(&mut self) {
        self.batch_limit = self.entries.len();
        if !self.whole.is_kept(self.batch_at) {
            self.batch_at = self.entries.len();
            self.batch_fell = Some(self.position);
        }
    }

    /// The position up to which the batch consumer may read without another fill.
    pub(crate) fn handed_over(&self) -> u64 {
        self.batch_limit.checked_sub(1).map_or(0, |last| self.entries[last].seq)
    }

    pub(crate) fn run_position(&self) -> u64 {
        self.run.1
    }

    /// Whether an attach accepted there can still be served.
    pub(crate) fn reaches_back_to(&self, accepted: u64) -> bool {
        accepted >= self.run.1 && self.whole.is_kept(self.run.0 + (accepted - self.run.1) as usize)
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

    /// The same in the slow ring.
    pub(crate) fn first_slow_for(&self, next: u64, known: u64) -> Option<usize> {
        let holes = self.entries.iter().filter(|entry| entry.since.is_some() && entry.seq > known);
        let hole = holes.map(|hole| hole.seq).next();
        let places = [Some(next), hole].into_iter().flatten().filter_map(|seq| {
            let at = self.slow_entries.partition_point(|at| *at < seq);
            (self.slow_entries.get(at) == Some(&seq)).then_some(at)
        });
        places.min()
    }

    /// Whether anything behind this position has left either ring, or the slow one may say so: it begins just there.
    pub(crate) fn has_lost_behind(&self, known: u64) -> bool {
        let whole = self.entries.partition_point(|entry| entry.seq <= known);
        let slow = self.slow_entries.partition_point(|seq| *seq <= known);
        !self.whole.is_kept(whole) || !self.slow.is_kept(slow) || slow > 0 && !self.slow.is_kept(slow - 1)
    }

    /// The batch consumer reads at most `max` events.
    pub(crate) fn pass(&mut self, max: usize) {
        if !self.whole.is_kept(self.batch_at) {
            return;
        }
        let mut left = max;
        while self.batch_at < self.batch_limit && left > 0 {
            left -= usize::from(self.entries[self.batch_at].since.is_none());
            self.batch_at += 1;
        }
    }
}
