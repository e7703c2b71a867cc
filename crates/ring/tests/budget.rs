//! Rings under one budget: what they hold together, who gets more, and that nothing leaks.
#![cfg(not(loom))]

use std::cell::Cell;
use std::sync::Arc;

use guildhall_ring::{Budget, Cursor, FREE_BYTES, Reader, RingConfig, Weigh, Writer, ring_within};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

struct Entry(usize);

impl Weigh for Entry {
    fn weight_bytes(&self) -> usize {
        self.0
    }
}

const MANY: RingConfig = RingConfig { entries_max: 100_000, bytes_max: 1024 * 1024 };

fn fill(writer: &mut Writer<Entry>, bytes: usize) {
    for _ in 0..bytes / 100 {
        writer.append(Entry(100));
    }
}

#[test]
fn one_busy_ring_takes_nearly_all_and_gives_it_back_when_others_come() {
    let budget = Budget::new(160 * 1024);
    let (mut hot, _) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut hot, 1024 * 1024);
    assert!(hot.bytes() > 128 * 1024 && budget.leased() <= 160 * 1024);
    assert!(budget.refusals() > 0 && !budget.is_short(), "nobody within its share was refused");

    let (mut late, _) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut late, 64 * 1024);
    assert!(late.bytes() < 40 * 1024, "an eighth was free for it: {}", late.bytes());
    assert!(budget.is_short());
    // The busy one gives back as it goes on, and the late one comes to its share.
    for _ in 0..64 {
        fill(&mut hot, 16 * 1024);
        fill(&mut late, 16 * 1024);
    }
    assert!(late.bytes() > 60 * 1024 && hot.bytes() > 60 * 1024, "{} {}", hot.bytes(), late.bytes());
}

#[test]
fn an_idle_ring_gives_back_when_it_is_told() {
    let budget = Budget::new(160 * 1024);
    let (mut idle, idle_reader) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut idle, 1024 * 1024);
    let before = idle.bytes();
    drop(idle.give_back());
    assert_eq!(idle.bytes(), before, "all of it is its share");
    let (mut busy, _) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut busy, 80 * 1024);
    assert!(budget.is_short());
    budget.forget_shortage();
    drop(idle.give_back());
    assert!(idle.bytes() <= FREE_BYTES + 80 * 1024 && idle_reader.leased() <= budget.share());
    fill(&mut busy, 160 * 1024);
    assert!(busy.bytes() > 64 * 1024);
}

#[test]
fn a_quiet_ring_leases_nothing_and_all_is_given_back_with_the_last_reader() {
    let budget = Budget::new(1024 * 1024);
    let (mut quiet, _) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut quiet, FREE_BYTES);
    assert_eq!((budget.leased(), quiet.bytes() > FREE_BYTES - 100), (0, true));
    let (mut gone, reader) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut gone, 100_000);
    drop(gone);
    assert!(reader.leased() > 0 && budget.leased() == reader.leased(), "a reader may still read it");
    drop(reader);
    assert_eq!((budget.leased(), budget.share()), (0, budget.bytes_max()));
}

#[test]
fn a_budget_of_nothing_leaves_each_ring_its_free_bytes_or_one_entry() {
    let budget = Budget::new(0);
    let (mut writer, _) = ring_within(&budget, MANY, Cursor(1));
    fill(&mut writer, 50_000);
    assert!(writer.bytes() <= FREE_BYTES && writer.bytes() > FREE_BYTES / 2);
    writer.append(Entry(50_000));
    assert_eq!(writer.bytes(), 50_000);
    writer.append(Entry(10));
    assert_eq!(writer.bytes(), 10);
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Append { ring: usize, bytes: usize, times: usize },
    GiveBack { ring: usize },
    SetBytesMax { ring: usize, bytes_max: usize },
    Replace { ring: usize },
}

const RINGS: usize = 5;

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let step = prop_oneof![
        8 => (0..RINGS, 1..2_000_usize, 1..60_usize).prop_map(|(ring, bytes, times)| Step::Append { ring, bytes, times }),
        1 => (0..RINGS, 1..40_000_usize).prop_map(|(ring, bytes)| Step::Append { ring, bytes, times: 1 }),
        3 => (0..RINGS).prop_map(|ring| Step::GiveBack { ring }),
        1 => (0..RINGS, 0..100_000_usize).prop_map(|(ring, bytes_max)| Step::SetBytesMax { ring, bytes_max }),
        1 => (0..RINGS).prop_map(|ring| Step::Replace { ring }),
    ];
    (0..200_000_usize, prop::collection::vec(step, 1..120))
}

#[test]
fn rings_hold_together_what_the_budget_says_whatever_they_do() {
    let (refused, short) = (Cell::new(0_u64), Cell::new(0_u64));
    let mut runner = TestRunner::new(Config { cases: 1_000, ..Config::default() });
    let outcome = runner.run(&steps(), |(bytes_max, steps)| {
        let budget = Budget::new(bytes_max);
        let make = |budget: &Arc<Budget>| ring_within::<Entry>(budget, MANY, Cursor(1));
        let mut rings: Vec<(Writer<Entry>, Reader<Entry>)> = (0..RINGS).map(|_| make(&budget)).collect();
        for step in steps {
            match step {
                Step::Append { ring, bytes, times } => (0..times).for_each(|_| {
                    rings[ring].0.append(Entry(bytes));
                }),
                Step::GiveBack { ring } => drop(rings[ring].0.give_back()),
                Step::SetBytesMax { ring, bytes_max } => rings[ring].0.set_bytes_max(bytes_max),
                Step::Replace { ring } => rings[ring] = make(&budget),
            }
            let leases: usize = rings.iter().map(|(_, reader)| reader.leased()).sum();
            assert_eq!(budget.leased(), leases);
            assert!(leases <= bytes_max);
            for (writer, reader) in &rings {
                let is_alone = writer.head().since(writer.tail()) == 1;
                assert!(writer.bytes() <= FREE_BYTES + reader.leased() || is_alone, "{writer:?}");
            }
            short.set(short.get() + u64::from(budget.is_short()));
        }
        refused.set(refused.get() + budget.refusals());
        drop(rings);
        assert_eq!((budget.leased(), budget.share()), (0, bytes_max));
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    assert!(refused.get() > 10_000 && short.get() > 1_000, "{} {}", refused.get(), short.get());
}
