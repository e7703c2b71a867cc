//! A disk that is full, and one that fails.

use std::time::Duration;

use guildhall_log::MemoryFiles;
use guildhall_log::files::{Failure, Fault, Files, Site};
use guildhall_proto::{Epoch, Record};
use guildhall_store::{EmbeddedConfig, Store, StoreError};

use crate::world::{Disk, Opened, assert_same, checkpoint, guild, outcome, record, tiny};

/// No room for anything that is not there yet.
fn fill(files: &MemoryFiles) {
    let used = files.list().unwrap().iter().map(|name| files.contents(name).unwrap().len() as u64).sum();
    files.set_capacity(used);
}

#[test]
fn a_full_disk_refuses_batches_and_takes_claims_and_goes_on_by_itself() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    fill(&disk.records);
    assert!(opened.store.has_room());
    let mut stored = Vec::new();
    let refused = loop {
        let number = stored.len() as u64 + 1;
        let next = record(epoch, number, number, 20);
        match opened.append_now(guild(1), epoch, vec![next.clone()]) {
            Ok(()) => stored.push(next),
            Err(error) => break error,
        }
        assert!(stored.len() < 1_000);
    };
    assert_eq!(refused, StoreError::Full);
    assert!(!opened.store.has_room());

    // Reads and claims go on: a quarter of a segment is kept for them.
    for _ in 0..4 {
        let claim = opened.claim(guild(1), 1).unwrap();
        assert_eq!(claim.tail, stored);
        assert!(opened.claim(guild(2), 1).is_ok());
        assert!(!opened.store.has_room());
    }
    // Also over a restart on the full disk.
    drop(opened);
    let mut opened = disk.open(&tiny()).unwrap();
    assert!(!opened.store.has_room());
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let next = record(epoch, stored.len() as u64 + 1, 7, 20);
    assert_eq!(opened.append_now(guild(1), epoch, vec![next.clone()]), Err(StoreError::Full));

    // There is room: whoever asks is told so soon, and nobody has to start anything anew.
    disk.records.set_capacity(1 << 20);
    assert!(!opened.store.has_room());
    opened.drive().unwrap();
    assert!(opened.store.has_room());
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let next = record(epoch, next.number, 8, 20);
    opened.append_now(guild(1), epoch, vec![next.clone()]).unwrap();
    stored.push(next);
    assert_eq!(opened.claim(guild(1), 1).unwrap().tail, stored);
}

#[test]
fn files_that_cannot_be_made_for_a_while_are_as_a_full_disk_and_end_nothing() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    // EMFILE: the process has too many files open.
    disk.records.fail(Fault { site: Site::Create, after: 0, times: u64::MAX, failure: Failure::Error(24) });
    let mut stored = 0;
    while opened.append_now(guild(1), epoch, vec![record(epoch, stored + 1, stored, 20)]).is_ok() {
        stored += 1;
        assert!(stored < 1_000);
    }
    assert!(stored > 1 && !opened.store.has_room());
    assert_eq!(opened.claim(guild(1), 1).unwrap().tail.len() as u64, stored);

    disk.records.mend();
    assert!(!opened.store.has_room());
    opened.drive().unwrap();
    assert!(opened.store.has_room());
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    opened.append_now(guild(1), epoch, vec![record(epoch, stored + 1, stored, 20)]).unwrap();
}

#[test]
fn a_checkpoint_makes_room_on_a_full_disk() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let mut stored = Vec::new();
    disk.records.set_capacity(6 * 4_096);
    loop {
        let number = stored.len() as u64 + 1;
        let next = record(epoch, number, number, 20);
        if opened.append_now(guild(1), epoch, vec![next.clone()]).is_err() {
            break;
        }
        stored.push(next);
    }
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    opened.save_now(guild(1), epoch, checkpoint(&stored)).unwrap();
    assert!(opened.store.has_room(), "the segments that it covers were given back");
    opened.append_now(guild(1), epoch, vec![record(epoch, stored.len() as u64 + 1, 1, 20)]).unwrap();
}

#[test]
fn checkpoints_are_refused_without_room_and_replace_nothing() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let records: Vec<_> = (1..=300).map(|number| record(epoch, number, number, 0)).collect();
    for records in records.chunks(10) {
        opened.append_now(guild(1), epoch, records.to_vec()).unwrap();
    }
    fill(&disk.checkpoints);
    let mut last = 0;
    let refused = loop {
        match opened.save_now(guild(1), epoch, checkpoint(&records[..last + 1])) {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    let claim = opened.claim(guild(1), 1).unwrap();
    assert_same(&claim.checkpoint.unwrap(), &checkpoint(&records[..last]));
    assert_eq!(claim.tail, records[last..]);
    disk.checkpoints.set_capacity(1 << 20);
    opened.save_now(guild(1), claim.epoch, checkpoint(&records)).unwrap();
}

/// Claims, batches and checkpoints of two guilds, as far as the disk lets them: what was acknowledged, and how the last checkpoint went.
fn work(opened: &mut Opened, stored: &mut [Vec<Record>; 2], errors: &mut Vec<StoreError>) {
    for round in 0..12 {
        let mut queued = Vec::new();
        for (n, stored) in stored.iter().enumerate() {
            let guild = guild(n as u64 + 1);
            match opened.claim(guild, 1) {
                Ok(claim) => {
                    let covered = claim.checkpoint.as_ref().map_or(0, |found| found.structure.records) as usize;
                    if let Some(found) = &claim.checkpoint {
                        assert_same(found, &checkpoint(&stored[..covered]));
                    }
                    assert_eq!(claim.tail, stored[covered..]);
                    queued.push((n, guild, claim.epoch));
                }
                Err(error) => errors.push(error),
            }
        }
        // Several batches of each owner in one group.
        let mut told = Vec::new();
        for salt in 0..4 {
            for (n, guild, epoch) in &queued {
                let next = record(*epoch, stored[*n].len() as u64 + 1 + salt, round * 100 + salt, 12);
                told.push((*n, next.clone(), opened.append(*guild, *epoch, vec![next])));
            }
        }
        drop(opened.drive());
        let mut refused = [false; 2];
        for (n, next, told) in told {
            match outcome(&told).unwrap() {
                Ok(()) => {
                    assert!(!refused[n], "stored behind one that was refused");
                    stored[n].push(next);
                }
                Err(error) => {
                    refused[n] = true;
                    errors.push(error);
                }
            }
        }
        if round % 3 == 0 {
            let told: Vec<_> =
                queued.iter().map(|(n, guild, epoch)| opened.save(*guild, *epoch, checkpoint(&stored[*n]))).collect();
            drop(opened.drive());
            errors.extend(told.iter().filter_map(|told| outcome(told).unwrap().err()));
        }
    }
}

#[test]
fn lack_of_room_at_any_write_refuses_and_loses_nothing() {
    let mut refused = 0;
    for in_records in [true, false] {
        for site in [Site::Create, Site::Rename, Site::Allocate, Site::Write] {
            for after in (0..12).chain((12..80).step_by(5)) {
                let disk = Disk::with_store(&tiny());
                let mut opened = disk.open(&tiny()).unwrap();
                let files = if in_records { &disk.records } else { &disk.checkpoints };
                files.fail(Fault { site, after, times: 3, failure: Failure::Error(28) });
                let mut stored = [Vec::new(), Vec::new()];
                let mut errors = Vec::new();
                work(&mut opened, &mut stored, &mut errors);
                assert!(errors.iter().all(|error| matches!(error, StoreError::Full | StoreError::Busy)), "{errors:?}");
                refused += errors.len();
                files.mend();
                errors.clear();
                opened.store.has_room();
                opened.drive().unwrap();
                work(&mut opened, &mut stored, &mut errors);
                assert_eq!(errors, [], "there is room again: {site:?} {after}");
                drop(opened);
                let mut opened = disk.open(&tiny()).unwrap();
                work(&mut opened, &mut stored, &mut errors);
                assert_eq!(errors, []);
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_the_next_open_is_right() {
    let mut failed = 0;
    for in_records in [true, false] {
        for after in 0..40 {
            let disk = Disk::with_store(&tiny());
            let mut opened = disk.open(&tiny()).unwrap();
            let files = if in_records { &disk.records } else { &disk.checkpoints };
            files.fail(Fault { site: Site::Sync, after, times: 1, failure: Failure::Error(5) });
            let mut stored = [Vec::new(), Vec::new()];
            let mut errors = Vec::new();
            work(&mut opened, &mut stored, &mut errors);
            if let Some(first) = errors.first() {
                failed += 1;
                assert!(matches!(first, StoreError::Unavailable { reason } if reason.contains("log")), "{first}");
                let told = opened.append(guild(1), Epoch(1), vec![record(Epoch(1), 1, 1, 0)]);
                assert!(matches!(outcome(&told), Some(Err(StoreError::Unavailable { .. }))));
                assert!(matches!(opened.claim(guild(1), 1), Err(StoreError::Unavailable { .. })));
            }
            drop(opened);
            disk.power_cut(after, 512);
            let mut opened = disk.open(&tiny()).unwrap();
            for (n, stored) in stored.iter().enumerate() {
                let claim = opened.claim(guild(n as u64 + 1), 1).unwrap();
                let covered = claim.checkpoint.as_ref().map_or(0, |found| found.structure.records) as usize;
                if let Some(found) = &claim.checkpoint {
                    assert_same(found, &checkpoint(&stored[..covered]));
                }
                // At most the group that was being written when the sync failed came in beside what was acknowledged.
                let must = stored.len() - covered;
                assert!((must..=must + 4).contains(&claim.tail.len()));
                assert_eq!(claim.tail[..must], stored[covered..]);
            }
        }
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn a_full_disk_is_not_tried_with_each_question_for_room() {
    let changes = |config: &EmbeddedConfig| {
        let disk = Disk::with_store(&tiny());
        disk.records.remove("spare.log").unwrap();
        fill(&disk.records);
        let mut opened = disk.open(config).unwrap();
        let before = disk.records.counters().changes;
        for _ in 0..100 {
            assert!(!opened.store.has_room());
            opened.drive().unwrap();
        }
        disk.records.counters().changes - before
    };
    let [each, paced] = [Duration::ZERO, Duration::from_secs(3_600)]
        .map(|room_pause| changes(&EmbeddedConfig { room_pause, ..tiny() }));
    assert_eq!((each, paced), (100 * paced, paced), "once is tried in any case");
    assert!(paced > 0);
}
