//! Every interleaving, and every value the memory model allows, of one writer and its readers in small rings.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p guildhall-ring --release --test loom`.
#![cfg(loom)]

use std::ops::ControlFlow;

use guildhall_ring::{Cursor, ReadError, Reader, RingConfig, Weigh, Writer, ring};
use loom::thread;

/// An entry that says at which index it must stand.
#[derive(Clone)]
struct Marked(u64);

impl Weigh for Marked {
    fn weight_bytes(&self) -> usize {
        1
    }
}

const FIRST: Cursor = Cursor(1);
const UNBOUNDED: usize = usize::MAX;

fn append(writer: &mut Writer<Marked>, entries: u64) {
    for _ in 0..entries {
        let mark = writer.head().0;
        writer.append(Marked(mark));
    }
}

/// Reads all there is, checks that each entry is the one that belongs there, and says whether a gap was told instead.
fn read(reader: &Reader<Marked>, cursor: &mut Cursor) -> bool {
    let seen = reader.head();
    let begin = *cursor;
    let mut expected = begin;
    let result = reader.read(cursor, |at, entry| {
        assert_eq!((at, entry.0), (expected, at.0), "neither a hole nor another index's entry");
        expected = at.next();
        ControlFlow::Continue(())
    });
    match result {
        Ok(read) => {
            assert!(read.at_head && *cursor == expected && read.entries == expected.since(begin));
            assert!(*cursor >= seen, "a reader that saw a head reads all below it");
            false
        }
        Err(ReadError::Gap(gap)) => {
            assert!(gap.from == begin && *cursor == begin && expected == begin);
            assert!(gap.from < gap.tail && gap.tail <= gap.head);
            *cursor = gap.tail;
            true
        }
        Err(ReadError::Ahead { from, head }) => panic!("{from:?} came from this ring, whose head is {head:?}"),
    }
}

#[test]
fn what_lies_below_a_head_that_was_seen_can_be_read() {
    loom::model(|| {
        // Chunks of two slots: the third entry opens the second chunk. Nothing is evicted, so no gap may be told.
        let (mut writer, reader) = ring(RingConfig { entries_max: 16, bytes_max: UNBOUNDED }, FIRST);
        let listener = thread::spawn(move || {
            let mut cursor = FIRST;
            for _ in 0..2 {
                assert!(!read(&reader, &mut cursor));
            }
            (reader, cursor)
        });
        append(&mut writer, 3);
        let (reader, mut cursor) = listener.join().unwrap();
        assert!(!read(&reader, &mut cursor));
        assert_eq!(cursor, Cursor(4));
    });
}

#[test]
fn a_reader_that_is_overtaken_is_told_a_gap() {
    loom::model(|| {
        // A chunk for each entry, so that each append from the third on evicts.
        let (mut writer, reader) = ring(RingConfig { entries_max: 2, bytes_max: UNBOUNDED }, FIRST);
        let listener = thread::spawn(move || {
            let mut cursor = FIRST;
            for _ in 0..2 {
                read(&reader, &mut cursor);
            }
        });
        append(&mut writer, 3);
        listener.join().unwrap();
        let mut sleeper = FIRST;
        assert!(read(&writer.reader(), &mut sleeper));
        assert_eq!(sleeper, Cursor(2));
        assert!(!read(&writer.reader(), &mut sleeper));
        assert_eq!(sleeper, Cursor(4));
    });
}

#[test]
fn a_ring_that_is_emptied_under_a_reader_stays_whole() {
    loom::model(|| {
        let (mut writer, reader) = ring(RingConfig { entries_max: 16, bytes_max: UNBOUNDED }, FIRST);
        let listener = thread::spawn(move || {
            let mut cursor = FIRST;
            for _ in 0..2 {
                read(&reader, &mut cursor);
            }
        });
        append(&mut writer, 2);
        writer.set_bytes_max(0);
        append(&mut writer, 1);
        listener.join().unwrap();
        assert_eq!((writer.tail(), writer.head(), writer.bytes()), (Cursor(3), Cursor(4), 1));
    });
}

#[test]
fn an_entry_found_by_its_index_is_the_one_appended_there() {
    let mut model = loom::model::Builder::new();
    // Three threads: all schedules with at most three preemptions, which is where such defects are found.
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut writer, reader) = ring(RingConfig { entries_max: 2, bytes_max: UNBOUNDED }, FIRST);
        let other = reader.clone();
        let finder = thread::spawn(move || {
            for at in [Cursor(2), Cursor(1)] {
                assert!(other.get(at).is_none_or(|entry: Marked| entry.0 == at.0));
            }
        });
        let listener = thread::spawn(move || {
            let mut cursor = FIRST;
            read(&reader, &mut cursor);
        });
        append(&mut writer, 3);
        finder.join().unwrap();
        listener.join().unwrap();
    });
}
