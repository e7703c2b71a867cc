//! What cannot be read when its segment is to be given back: it costs its own guild, and neither the others nor the disk.

use std::sync::Arc;
use std::time::Duration;

use guildhall_log::files::{Failure, Fault, Site};
use guildhall_proto::Record;
use guildhall_store::{Alone, EmbeddedConfig, Inspection, Logs, StoreError};

use crate::world::{Disk, Opened, assert_same, checkpoint, guild, record, tiny};

/// Taken for lost at once.
fn config() -> EmbeddedConfig {
    EmbeddedConfig { slack_bytes: 8 * 1024, lost_after: Duration::ZERO, ..tiny() }
}

/// A guild that nobody uses any more, and one that is busy.
struct Two {
    disk: Disk,
    opened: Opened,
    busy: Vec<Record>,
}

/// More than both logs have while their segments are given back, less than what is written in the meantime.
const BYTES_MAX: u64 = 96 * 1024;

const QUIET: u64 = 1;
const BUSY: u64 = 2;

impl Two {
    /// The quiet one has so many records, the first of them under its checkpoint.
    fn new(config: &EmbeddedConfig, records: u64, covered: usize) -> Self {
        let disk = Disk::with_store(config);
        let mut opened = disk.open(config).unwrap();
        let epoch = opened.claim(guild(QUIET), 1).unwrap().epoch;
        let records: Vec<_> = (1..=records).map(|number| record(epoch, number, number * 3, 4)).collect();
        if covered > 0 {
            opened.append_now(guild(QUIET), epoch, records[..covered].to_vec()).unwrap();
            opened.save_now(guild(QUIET), epoch, checkpoint(&records[..covered])).unwrap();
        }
        if covered < records.len() {
            opened.append_now(guild(QUIET), epoch, records[covered..].to_vec()).unwrap();
        }
        Self { disk, opened, busy: Vec::new() }
    }

    /// Flips a bit in the payload of the newest record of this kind.
    fn flip(&self, log: &str, kind: &str) {
        let mut place = None;
        let seen = |seen: guildhall_store::Seen| place = (seen.kind == kind).then_some(seen.place).or(place);
        Logs::of(self.disk.directory()).read(seen).unwrap();
        let place = place.unwrap();
        let files = if log == "records" { &self.disk.records } else { &self.disk.checkpoints };
        assert!(files.flip(&format!("{:012}.log", place.segment), place.offset + 60, 1));
    }

    /// Has the busy one go through many times what a log may hold.
    fn work(&mut self, steps: u64) {
        let epoch = self.opened.claim(guild(BUSY), 1).unwrap().epoch;
        for step in 0..steps {
            let number = self.busy.len() as u64 + 1;
            self.busy.push(record(epoch, number, number * 7 + 1, 8));
            self.opened.append_now(guild(BUSY), epoch, self.busy[self.busy.len() - 1..].to_vec()).unwrap();
            if step % 3 == 0 {
                self.opened.save_now(guild(BUSY), epoch, checkpoint(&self.busy)).unwrap();
            }
        }
    }

    /// Of both logs.
    fn bytes(&self) -> u64 {
        let logs = Logs::of(self.disk.directory()).verify().unwrap();
        logs.records.found.bytes + logs.checkpoints.found.bytes
    }

    /// The quiet one stays away, in this store and in the next; the busy one is whole.
    fn assert_lost(mut self, config: &EmbeddedConfig) {
        for _ in 0..2 {
            let refused = self.opened.claim(guild(QUIET), 2).map(drop).unwrap_err();
            assert!(matches!(&refused, StoreError::Corrupt { .. }), "{refused}");
            drop(self.opened);
            self.opened = self.disk.open(config).unwrap();
        }
        let claim = self.opened.claim(guild(BUSY), 2).unwrap();
        let covered = claim.checkpoint.as_ref().map_or(0, |found| found.structure.records as usize);
        assert_same(&claim.checkpoint.unwrap(), &checkpoint(&self.busy[..covered]));
        assert_eq!(claim.tail, self.busy[covered..]);
        drop(self.opened);
        let verified = Inspection::verify(self.disk.directory(), Arc::new(Alone)).unwrap();
        assert_eq!((verified.guilds, verified.damaged.len()), (vec![guild(BUSY)], 1));
        assert!(
            verified.records.bad.is_none() && verified.checkpoints.bad.is_none(),
            "what is lost is told, and no damage"
        );
    }
}

#[test]
fn a_record_that_cannot_be_read_any_more_keeps_no_segment() {
    let config = config();
    let mut two = Two::new(&config, 3, 0);
    two.flip("records", "records");
    two.work(400);
    assert!(two.bytes() < BYTES_MAX, "{}", two.bytes());
    assert!(two.opened.store.counts().lost > 0);
    two.assert_lost(&config);
}

#[test]
fn a_checkpoint_that_cannot_be_read_any_more_keeps_no_segment() {
    let config = config();
    // In one piece, in parts, and a part of it.
    for (covered, kind) in [(2, "checkpoint"), (40, "manifest"), (40, "part")] {
        let mut two = Two::new(&config, 40, covered);
        two.flip("checkpoints", kind);
        two.work(400);
        assert!(two.bytes() < BYTES_MAX, "{kind}: {}", two.bytes());
        assert!(two.opened.store.counts().lost > 0, "{kind}");
        two.assert_lost(&config);
    }
}

#[test]
fn a_read_that_fails_for_a_while_loses_nothing() {
    for errno in [5, 24] {
        let patient = EmbeddedConfig { lost_after: Duration::from_secs(3_600), ..config() };
        // EIO is the medium's word, and what is tried again after an hour is not tried again here.
        let config = if errno == 5 { patient } else { config() };
        let mut two = Two::new(&config, 3, 0);
        let fault = Fault { site: Site::Read, after: 0, times: 1, failure: Failure::Error(errno) };
        two.disk.records.fail(fault);
        two.work(300);
        let counts = two.opened.store.counts();
        assert!(counts.unreadable > 0 && counts.lost == 0, "{counts:?}");
        let claim = two.opened.claim(guild(QUIET), 2).unwrap();
        assert_eq!(claim.tail.len(), 3);
        if errno == 24 {
            assert!(two.bytes() < BYTES_MAX, "it goes on by itself");
        }
    }
}

#[test]
fn the_next_checkpoint_of_a_guild_makes_good_what_is_lost_of_the_last() {
    let config = config();
    let mut two = Two::new(&config, 40, 40);
    let epoch = guildhall_proto::Epoch(1);
    let records: Vec<_> = (1..=44).map(|number| record(epoch, number, number * 3, 4)).collect();
    two.flip("checkpoints", "manifest");
    two.work(200);
    assert!(two.opened.store.counts().lost > 0);
    // Its owner has all of it in memory still.
    two.opened.append_now(guild(QUIET), epoch, records[40..].to_vec()).unwrap();
    two.opened.save_now(guild(QUIET), epoch, checkpoint(&records)).unwrap();
    let claim = two.opened.claim(guild(QUIET), 2).unwrap();
    assert_same(&claim.checkpoint.unwrap(), &checkpoint(&records));
    two.work(200);
    assert!(two.bytes() < BYTES_MAX, "{}", two.bytes());
    drop(two.opened);
    assert!(Inspection::verify(two.disk.directory(), Arc::new(Alone)).unwrap().is_whole());
}
