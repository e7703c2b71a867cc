//! Random histories of a keep-latest map and its readers against a plain list of all that was ever put.
#![cfg(not(loom))]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::thread;

use guildhall_ring::{LatestConfig, LatestHeld, LatestReader, LatestWriter, Version, Weigh, latest};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A value that knows its subject and its put.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Value {
    subject: u8,
    version: u64,
    bytes: usize,
}

impl Weigh for Value {
    fn weight_bytes(&self) -> usize {
        self.bytes
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Put {
        subject: u8,
        bytes: usize,
    },
    /// Subjects of one decade, as those of one user stand together.
    Remove {
        decade: u8,
    },
    /// The reader takes as many values and then breaks.
    Read {
        reader_idx: usize,
        values: usize,
    },
}

fn steps() -> impl Strategy<Value = (LatestConfig, Vec<Step>)> {
    let step = prop_oneof![
        12 => (0..60_u8, prop_oneof![8 => 0..20_usize, 1 => 0..500_usize])
            .prop_map(|(subject, bytes)| Step::Put { subject, bytes }),
        1 => (0..6_u8).prop_map(|decade| Step::Remove { decade }),
        3 => (0..READERS, 0..30_usize).prop_map(|(reader_idx, values)| Step::Read { reader_idx, values }),
    ];
    let config =
        (0..50_usize, 0..600_usize).prop_map(|(subjects_max, bytes_max)| LatestConfig { subjects_max, bytes_max });
    (config, prop::collection::vec(step, 1..300))
}

const READERS: usize = 3;

struct World {
    config: LatestConfig,
    writer: LatestWriter<u8, Value>,
    reader: LatestReader<u8, Value>,
    places: [Version; READERS],
    /// What is kept, oldest first.
    kept: Vec<Value>,
    puts: u64,
}

#[derive(Default)]
struct Occurred {
    replaced: Cell<u32>,
    pushed_out: Cell<u32>,
    alone: Cell<u32>,
    removed: Cell<u32>,
    breaks: Cell<u32>,
    missed: Cell<u32>,
}

fn count(occurred: &Cell<u32>, really: bool) {
    occurred.set(occurred.get() + u32::from(really));
}

impl World {
    fn new(config: LatestConfig) -> Self {
        let (writer, reader) = latest(config);
        Self { config, writer, reader, places: [Version(0); READERS], kept: Vec::new(), puts: 0 }
    }

    fn bytes(&self) -> usize {
        self.kept.iter().map(|value| value.bytes).sum()
    }

    fn put(&mut self, subject: u8, bytes: usize, occurred: &Occurred) {
        self.puts += 1;
        let value = Value { subject, version: self.puts, bytes };
        let before = self.kept.len();
        self.kept.retain(|kept| kept.subject != subject);
        count(&occurred.replaced, self.kept.len() < before);
        self.kept.push(value);
        let full = self.kept.len();
        while self.kept.len() > self.config.subjects_max.max(1)
            || self.bytes() > self.config.bytes_max && self.kept.len() > 1
        {
            self.kept.remove(0);
        }
        let pushed_out = full - self.kept.len();
        count(&occurred.pushed_out, pushed_out > 0);
        count(&occurred.alone, self.bytes() > self.config.bytes_max);
        assert_eq!(self.writer.put(subject, value), pushed_out);
        assert_eq!((self.writer.head(), self.reader.head()), (Version(self.puts), Version(self.puts)));
        assert_eq!(self.reader.held(), LatestHeld { subjects: self.kept.len(), bytes: self.bytes() });
        assert!(self.writer.bytes() >= self.bytes());
    }

    fn remove(&mut self, decade: u8, occurred: &Occurred) {
        let before = self.kept.len();
        self.kept.retain(|kept| kept.subject / 10 != decade);
        count(&occurred.removed, self.kept.len() < before);
        self.writer.remove(&(decade * 10), |subject| subject / 10 == decade);
        assert_eq!(self.reader.held(), LatestHeld { subjects: self.kept.len(), bytes: self.bytes() });
    }

    fn read(&mut self, reader_idx: usize, values: usize, occurred: &Occurred) {
        let from = self.places[reader_idx];
        let due: Vec<Value> = self.kept.iter().copied().filter(|value| value.version > from.0).collect();
        let mut seen = Vec::new();
        let mut place = from;
        self.reader.read(&mut place, |version, value| {
            if seen.len() == values {
                return ControlFlow::Break(());
            }
            assert_eq!(version.0, value.version);
            seen.push(*value);
            ControlFlow::Continue(())
        });
        assert_eq!(seen, due[..due.len().min(values)]);
        let at = if due.len() > values { seen.last().map_or(from.0, |value| value.version) } else { self.puts };
        assert_eq!(place, Version(at));
        self.places[reader_idx] = place;
        count(&occurred.breaks, due.len() > values);
        count(&occurred.missed, (self.puts - from.0) as usize > due.len());
    }

    fn get_all(&self) {
        for subject in 0..60 {
            let kept = self.kept.iter().copied().find(|kept| kept.subject == subject);
            assert_eq!(self.reader.get(&subject), kept);
        }
    }
}

#[test]
fn a_reader_hears_each_subject_that_changed_once_with_its_latest_value() {
    let occurred = Occurred::default();
    let mut runner = TestRunner::new(Config { cases: 1_000, ..Config::default() });
    let outcome = runner.run(&steps(), |(config, steps)| {
        let mut world = World::new(config);
        for step in steps {
            match step {
                Step::Put { subject, bytes } => world.put(subject, bytes, &occurred),
                Step::Remove { decade } => world.remove(decade, &occurred),
                Step::Read { reader_idx, values } => world.read(reader_idx, values, &occurred),
            }
        }
        world.get_all();
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    let Occurred { replaced, pushed_out, alone, removed, breaks, missed } = &occurred;
    for occurrences in [replaced, pushed_out, alone, removed, breaks, missed] {
        assert!(occurrences.get() > 100);
    }
}

#[test]
fn readers_on_other_threads_never_go_backwards_and_end_with_the_latest_of_each() {
    const SUBJECTS: u8 = 8;
    const PUTS: u64 = 20_000;
    let (mut writer, reader) = latest(LatestConfig { subjects_max: 5, bytes_max: 1_000 });
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = reader.clone();
            scope.spawn(move || {
                let (mut at, mut last) = (Version(0), [0; SUBJECTS as usize]);
                while at.0 < PUTS {
                    reader.read(&mut at, |version, value: &Value| {
                        let last = &mut last[usize::from(value.subject)];
                        assert!(version.0 == value.version && value.version > *last);
                        *last = value.version;
                        ControlFlow::Continue(())
                    });
                }
                // The last five puts were of five subjects, and nothing came after them.
                assert_eq!(last.iter().filter(|last| **last > PUTS - 5).count(), 5);
            });
        }
        for version in 1..=PUTS {
            let subject = (version % u64::from(SUBJECTS)) as u8;
            writer.put(subject, Value { subject, version, bytes: 10 });
        }
    });
}
