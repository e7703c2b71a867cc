//! Random histories of a ring and its readers against a plain list of all that was ever appended.
#![cfg(not(loom))]

use std::cell::Cell;
use std::ops::ControlFlow;

use guildhall_ring::{Cursor, Gap, Read, ReadError, Reader, RingConfig, Weigh, Writer, ring};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// An entry of some weight that knows its index.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    at: Cursor,
    bytes: usize,
}

impl Weigh for Entry {
    fn weight_bytes(&self) -> usize {
        self.bytes
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Append {
        bytes: usize,
    },
    SetBytesMax {
        bytes_max: usize,
    },
    /// The reader takes as many entries and then breaks.
    Read {
        reader_idx: usize,
        entries: u64,
    },
    Get {
        back: u64,
    },
}

fn steps() -> impl Strategy<Value = (RingConfig, Vec<Step>)> {
    let step = prop_oneof![
        12 => prop_oneof![8 => 0..60_usize, 1 => 0..900_usize].prop_map(|bytes| Step::Append { bytes }),
        1 => (0..1_200_usize).prop_map(|bytes_max| Step::SetBytesMax { bytes_max }),
        3 => (0..READERS, 0..40_u64).prop_map(|(reader_idx, entries)| Step::Read { reader_idx, entries }),
        1 => (0..80_u64).prop_map(|back| Step::Get { back }),
    ];
    let config =
        (0..100_usize, 0..1_200_usize).prop_map(|(entries_max, bytes_max)| RingConfig { entries_max, bytes_max });
    (config, prop::collection::vec(step, 1..300))
}

const READERS: usize = 3;
const FIRST: Cursor = Cursor(7);

/// A ring, its readers, and all that was ever appended.
struct World {
    config: RingConfig,
    writer: Writer<Entry>,
    reader: Reader<Entry>,
    cursors: [Cursor; READERS],
    all: Vec<Entry>,
}

/// How often what the test is about has really occurred.
#[derive(Default)]
struct Occurred {
    evictions: Cell<u32>,
    alone: Cell<u32>,
    emptied: Cell<u32>,
    gaps: Cell<u32>,
    breaks: Cell<u32>,
    across_chunks: Cell<u32>,
}

fn count(occurred: &Cell<u32>, really: bool) {
    occurred.set(occurred.get() + u32::from(really));
}

impl World {
    fn new(config: RingConfig) -> Self {
        let (writer, reader) = ring(config, FIRST);
        Self { config, writer, reader, cursors: [FIRST; READERS], all: Vec::new() }
    }

    fn entries_max(&self) -> u64 {
        self.config.entries_max.max(1) as u64
    }

    fn between(&self, from: Cursor, to: Cursor) -> &[Entry] {
        let idx = |at: Cursor| usize::try_from(at.since(FIRST)).expect("a short history");
        &self.all[idx(from)..idx(to)]
    }

    fn bytes_from(&self, tail: Cursor) -> usize {
        self.between(tail, self.writer.head()).iter().map(|entry| entry.bytes).sum()
    }

    /// The oldest place from which on all entries keep within the bounds.
    fn least_tail(&self, mut tail: Cursor) -> Cursor {
        let head = self.writer.head();
        while tail < head && (head.since(tail) > self.entries_max() || self.bytes_from(tail) > self.config.bytes_max) {
            tail = tail.next();
        }
        tail
    }

    fn append(&mut self, bytes: usize, occurred: &Occurred) {
        let before = self.writer.tail();
        let entry = Entry { at: self.writer.head(), bytes };
        self.all.push(entry);
        assert_eq!(self.writer.append(entry), entry.at);
        // The newest entry stays, however heavy.
        let least = self.least_tail(before).min(entry.at);
        self.check_bounds(least);
        count(&occurred.evictions, self.writer.tail() > before);
        count(&occurred.alone, self.writer.bytes() > self.config.bytes_max);
    }

    fn set_bytes_max(&mut self, bytes_max: usize, occurred: &Occurred) {
        let before = self.writer.tail();
        self.config.bytes_max = bytes_max;
        self.writer.set_bytes_max(bytes_max);
        self.check_bounds(self.least_tail(before));
        assert!(self.writer.bytes() <= bytes_max);
        count(&occurred.emptied, self.writer.tail() == self.writer.head() && before < self.writer.head());
    }

    /// Nothing is kept that must go, and no more than one chunk's rest goes that could be kept.
    fn check_bounds(&self, least_tail: Cursor) {
        let (tail, head) = (self.writer.tail(), self.writer.head());
        assert!(least_tail <= tail && tail <= head);
        assert!(tail.since(least_tail) < (self.entries_max() / 8).max(1));
        assert!(head.since(tail) <= self.entries_max());
        assert_eq!(self.writer.bytes(), self.bytes_from(tail));
        assert!(self.writer.bytes() <= self.config.bytes_max || head.since(tail) == 1);
        assert_eq!((self.reader.tail(), self.reader.head()), (tail, head));
    }

    fn read(&mut self, reader_idx: usize, entries: u64, occurred: &Occurred) {
        let (tail, head) = (self.writer.tail(), self.writer.head());
        let from = self.cursors[reader_idx];
        let mut cursor = from;
        let mut seen = Vec::new();
        let result = self.reader.read(&mut cursor, |at, entry| {
            if seen.len() as u64 == entries {
                return ControlFlow::Break(());
            }
            assert_eq!(at, entry.at);
            seen.push(*entry);
            ControlFlow::Continue(())
        });
        if from < tail {
            assert_eq!(result, Err(ReadError::Gap(Gap { from, tail, head })));
            assert!(cursor == from && seen.is_empty());
            self.cursors[reader_idx] = tail;
            count(&occurred.gaps, true);
            return;
        }
        let to = Cursor(head.0.min(from.0 + entries));
        assert_eq!(result, Ok(Read { entries: to.since(from), at_head: to == head }));
        assert_eq!((cursor, &seen[..]), (to, self.between(from, to)));
        self.cursors[reader_idx] = cursor;
        count(&occurred.breaks, to < head);
        count(&occurred.across_chunks, to.since(from) > (self.entries_max() / 8).max(1));
    }

    fn get(&self, at: Cursor) {
        let held = at >= self.writer.tail() && at < self.writer.head();
        assert_eq!(self.reader.get(at), held.then(|| self.between(at, at.next())[0]));
    }
}

#[test]
fn a_ring_and_its_readers_behave_as_a_list_of_the_latest_entries() {
    let occurred = Occurred::default();
    let mut runner = TestRunner::new(Config { cases: 1_000, ..Config::default() });
    let outcome = runner.run(&steps(), |(config, steps)| {
        let mut world = World::new(config);
        for step in steps {
            match step {
                Step::Append { bytes } => world.append(bytes, &occurred),
                Step::SetBytesMax { bytes_max } => world.set_bytes_max(bytes_max, &occurred),
                Step::Read { reader_idx, entries } => world.read(reader_idx, entries, &occurred),
                Step::Get { back } => world.get(Cursor((world.writer.head().0 + 2).saturating_sub(back))),
            }
        }
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    let Occurred { evictions, alone, emptied, gaps, breaks, across_chunks } = &occurred;
    for occurrences in [evictions, alone, emptied, gaps, breaks, across_chunks] {
        assert!(occurrences.get() > 100);
    }
}
