//! Random histories in which the power goes at any operation, also while the log is made or opened: what was committed is there, once
//! and in order; what was not, batch by batch whole or not at all; and what an opened log has shown stays.

use std::sync::Arc;

use guildhall_log::files::{Failure, Fault, Site};
use guildhall_log::{Log, LogError, MemoryFiles, Place};

use crate::world::{CONFIG, Dice, ID, Written, filled, open, record, store};

#[test]
fn no_power_cut_loses_what_was_committed() {
    for (unit_bytes, torn_min) in [(512, 100), (4096, 15)] {
        let mut sum = Counts::default();
        for seed in 0..250 {
            let counts =
                History::new(seed, unit_bytes, false).run().unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            sum.add(&counts);
        }
        // The histories are worth something only if they come through all this.
        assert!(sum.stored > 5_000, "{sum:?}");
        assert!(sum.unsure_cut > 300 && sum.unsure_kept > 100, "{sum:?}");
        assert!(
            sum.torn > torn_min && sum.opens_cut > 300 && sum.creations_cut > 50 && sum.truncations > 100,
            "{sum:?}"
        );
    }
}

#[test]
fn without_syncs_power_cuts_lose_what_was_committed() {
    let wrong = (0..100).filter(|seed| History::new(*seed, 512, true).run().is_err()).count();
    assert!(wrong > 50, "{wrong} of 100 histories notice that nothing is synced");
}

/// What one attempt at a rotation leaves behind must not be taken for the work of the next.
#[test]
fn a_rotation_that_is_cut_twice_loses_nothing() {
    let rotate_until = |files: &MemoryFiles, log: &mut Log, after: u64, seed: u64| {
        files.fail(Fault { site: Site::Any, after, times: 1, failure: Failure::PowerOff });
        drop(log.rotate());
        files.power_cut(seed, 512);
    };
    for (first, second) in (0..8).flat_map(|first| (0..8).map(move |second| (first, second))) {
        for seed in 0..24 {
            let files = MemoryFiles::default();
            let (mut log, mut all, _) = filled(&files, 3);
            rotate_until(&files, &mut log, first, seed);
            let (mut log, ..) = open(&files).unwrap();
            all.push(record(4, 100));
            store(&mut log, &all[3..]).unwrap();
            rotate_until(&files, &mut log, second, seed * 31);
            let again = open(&files).map(|(_, _, again)| again);
            assert_eq!(again.map_err(|error| error.to_string()), Ok(all), "{first} {second} {seed}");
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Counts {
    stored: u64,
    unsure_cut: u64,
    unsure_kept: u64,
    torn: u64,
    opens_cut: u64,
    creations_cut: u64,
    truncations: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.unsure_cut += other.unsure_cut;
        self.unsure_kept += other.unsure_kept;
        self.torn += other.torn;
        self.opens_cut += other.opens_cut;
        self.creations_cut += other.creations_cut;
        self.truncations += other.truncations;
    }
}

struct History {
    dice: Dice,
    files: MemoryFiles,
    unit_bytes: u64,
    /// What must be there: each record with its place.
    stored: Vec<(Place, Written)>,
    /// The batches of a group of which nobody was told.
    unsure: Vec<Vec<Written>>,
    /// A truncation that may or may not have happened.
    unsure_oldest: Option<u64>,
    seq: u64,
    counts: Counts,
}

impl History {
    fn new(seed: u64, unit_bytes: u64, ignores_sync: bool) -> Self {
        let files = MemoryFiles::default();
        files.ignore_sync(ignores_sync);
        Self {
            dice: Dice(seed),
            files,
            unit_bytes,
            stored: Vec::new(),
            unsure: Vec::new(),
            unsure_oldest: None,
            seq: 0,
            counts: Counts::default(),
        }
    }

    fn run(mut self) -> Result<Counts, String> {
        loop {
            self.power_goes_within(20);
            match Log::create(self.shared(), ID, CONFIG) {
                Ok(log) => {
                    self.live(log)?;
                    break;
                }
                Err(_) => self.counts.creations_cut += 1,
            }
            self.end();
        }
        self.end();
        for _ in 0..8 {
            let within = if self.dice.below(2) == 0 { 12 } else { 150 };
            self.power_goes_within(within);
            self.wake()?;
            self.end();
        }
        // At the end all is well, and stays so.
        self.wake()?;
        Ok(self.counts)
    }

    /// One process: opens the log and writes until the power goes.
    fn wake(&mut self) -> Result<(), String> {
        let mut again = Vec::new();
        let opened = Log::open(
            self.shared(),
            ID,
            CONFIG,
            |_| true,
            |place, head, payload| {
                again.push((place, Written { head, payload: payload.unwrap_or_default().to_vec() }));
            },
        );
        match opened {
            Ok((log, found)) => {
                self.counts.torn += u64::from(found.torn.is_some());
                self.compare(again)?;
                self.live(log)
            }
            Err(LogError::Io { source, .. }) if source.to_string() == "the power is off" => {
                self.counts.opens_cut += 1;
                Ok(())
            }
            Err(error) => Err(format!("not opened: {error}")),
        }
    }

    fn compare(&mut self, again: Vec<(Place, Written)>) -> Result<(), String> {
        let mut at = 0;
        let oldest = self.unsure_oldest.take().unwrap_or_default();
        let is_truncated = again.first().is_none_or(|(place, _)| place.segment >= oldest);
        if is_truncated {
            self.stored.retain(|(place, _)| place.segment >= oldest);
        }
        for stored in &self.stored {
            if again.get(at) != Some(stored) {
                return Err(format!("{stored:?} was stored, {:?} is found", again.get(at)));
            }
            at += 1;
        }
        for batch in self.unsure.drain(..) {
            let is_there = again.get(at).is_some_and(|(_, record)| *record == batch[0]);
            if !is_there {
                self.counts.unsure_cut += 1;
                continue;
            }
            self.counts.unsure_kept += 1;
            for record in batch {
                if again.get(at).map(|(_, again)| again) != Some(&record) {
                    return Err(format!("the batch of {record:?} is there in part"));
                }
                at += 1;
            }
        }
        if at < again.len() {
            return Err(format!("{:?} is found, and was never written there", again[at]));
        }
        self.stored = again;
        Ok(())
    }

    /// Writes until the power goes, or enough is written.
    fn live(&mut self, mut log: Log) -> Result<(), String> {
        for _ in 0..60 {
            let outcome = match self.dice.below(10) {
                0 => self.truncate(&mut log),
                1 => log.rotate(),
                _ => self.store_group(&mut log),
            };
            let outcome = outcome.and_then(|()| log.ensure_spare().map(drop));
            match outcome {
                Ok(()) => {}
                Err(LogError::Io { .. }) => return Ok(()),
                Err(error) => return Err(format!("not written: {error}")),
            }
            if let Some((place, record)) = self.stored.last()
                && self.dice.below(4) == 0
            {
                match log.reader().read(*place) {
                    Ok(payload) if payload == record.payload => {}
                    other => return Err(format!("{place:?} is read as {other:?}")),
                }
            }
        }
        Ok(())
    }

    fn store_group(&mut self, log: &mut Log) -> Result<(), LogError> {
        let mut places = Vec::new();
        for _ in 0..=self.dice.below(4) {
            let batch: Vec<_> = (0..=self.dice.below(3)).map(|_| self.record()).collect();
            let slices: Vec<_> = batch.iter().map(|record| (record.head, record.payload.as_slice())).collect();
            let mut pushed = log.push(&slices, &mut places);
            if let Err(LogError::CommitFirst) = pushed {
                self.commit(log, &mut places)?;
                log.ensure_spare()?;
                pushed = log.push(&slices, &mut places);
            }
            pushed?;
            self.unsure.push(batch);
        }
        self.commit(log, &mut places)
    }

    fn commit(&mut self, log: &mut Log, places: &mut Vec<Place>) -> Result<(), LogError> {
        log.commit()?;
        let records = self.unsure.drain(..).flatten();
        self.stored.extend(places.drain(..).zip(records));
        self.counts.stored += 1;
        Ok(())
    }

    fn truncate(&mut self, log: &mut Log) -> Result<(), LogError> {
        let first = log.segments().next().map_or(0, |(number, _)| number);
        let oldest = (first + self.dice.below(4)).min(log.active_segment());
        self.unsure_oldest = Some(oldest);
        log.truncate_before(oldest)?;
        self.unsure_oldest = None;
        self.stored.retain(|(place, _)| place.segment >= oldest);
        self.counts.truncations += 1;
        Ok(())
    }

    fn record(&mut self) -> Written {
        self.seq += 1;
        let bytes = if self.dice.below(8) == 0 { self.dice.below(900) } else { self.dice.below(120) };
        record(self.seq, bytes as usize)
    }

    fn power_goes_within(&mut self, operations: u64) {
        let after = self.dice.below(operations);
        self.files.fail(Fault { site: Site::Any, after, times: u64::MAX, failure: Failure::PowerOff });
    }

    /// The process ends: mostly with the power, sometimes alone.
    fn end(&mut self) {
        if self.dice.below(4) == 0 {
            self.files.kill();
        } else {
            let seed = self.dice.below(u64::MAX);
            self.files.power_cut(seed, self.unit_bytes);
        }
    }

    fn shared(&self) -> Arc<MemoryFiles> {
        Arc::new(self.files.clone())
    }
}
