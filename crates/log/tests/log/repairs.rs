//! What an operator may do with a corrupt log.

use std::sync::Arc;

use guildhall_log::files::{Failure, Fault, Files, Site};
use guildhall_log::{Log, LogError, LogId, MemoryFiles, Place, Repaired, repair, verify};

use crate::world::{CONFIG, ID, Written, create, open, record, store};

/// 60 batches of two records in segments of 4 KiB, of which the first two are given up.
fn image() -> (MemoryFiles, Vec<(Place, Written)>) {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let mut all = Vec::new();
    for seq in 0..60 {
        let batch = [record(2 * seq, (seq as usize * 67) % 300), record(2 * seq + 1, 9)];
        all.extend(store(&mut log, &batch).unwrap().into_iter().zip(batch));
    }
    log.truncate_before(3).unwrap();
    store(&mut log, &[record(500, 5)]).unwrap();
    all.retain(|(place, _)| place.segment >= 3);
    (files, all)
}

fn mend(files: &MemoryFiles) -> Result<Repaired, LogError> {
    repair(Arc::new(files.clone()), ID, CONFIG)
}

fn name(segment: u64) -> String {
    format!("{segment:012}.log")
}

#[test]
fn a_repair_keeps_all_before_the_bad_batch_and_tells_what_it_cuts_off() {
    let (files, all) = image();
    let segments = files.list().unwrap().len() as u64 - 1;
    for nth in 0..all.len() {
        let (place, _) = all[nth];
        let copy = files.copy();
        copy.flip(&name(place.segment), place.offset + 20, 1);
        let repaired = mend(&copy).unwrap();
        let kept = nth / 2 * 2;
        assert!(matches!(&repaired.bad, Some(LogError::Corrupt { offset, .. }) if *offset == place.offset));
        assert_eq!(repaired.found.records as usize, kept);
        // With the one whose head is bad, and with 500, which is none of `all`.
        assert_eq!((repaired.records_lost as usize, repaired.unreadable), (all.len() + 1 - kept, 1));
        let behind = 3 + segments - 1 - place.segment;
        assert_eq!(repaired.renamed.len() as u64, behind);
        assert!(verify(&copy, ID).unwrap().bad.is_none());

        let (mut log, found, again) = open(&copy).unwrap();
        assert_eq!(found.torn, None);
        assert!(again.iter().eq(all[..kept].iter().map(|(_, record)| record)));
        store(&mut log, &[record(900, 30)]).unwrap();
        drop(log);
        assert_eq!(open(&copy).unwrap().2.last(), Some(&record(900, 30)));
    }
}

#[test]
fn a_whole_log_is_left_alone() {
    let (files, _) = image();
    let before = files.counters().changes;
    let repaired = mend(&files).unwrap();
    assert!(repaired.bad.is_none() && repaired.renamed.is_empty());
    assert_eq!(files.counters().changes, before);
}

#[test]
fn whatever_is_wrong_a_repaired_log_opens_with_a_beginning_of_what_it_had() {
    let (files, all) = image();
    let records: Vec<_> = all.iter().map(|(_, record)| record.clone()).chain([record(500, 5)]).collect();
    let names: Vec<_> = files.list().unwrap().into_iter().filter(|name| name != "spare.log").collect();
    let check = |files: &MemoryFiles, what: &str| {
        let repaired = mend(files).unwrap_or_else(|error| panic!("{what}: {error}"));
        let again = open(files).unwrap_or_else(|error| panic!("{what}: {error}")).2;
        // Without its first segment a log begins with the second: what went before it may have been given up.
        assert!(records.starts_with(&again) || records.windows(again.len()).any(|run| run == again), "{what}");
        assert!(repaired.bad.is_some(), "{what}");
        again.len()
    };
    for (nth, name) in names.iter().enumerate() {
        let copy = files.copy();
        copy.remove(name).unwrap();
        assert!(check(&copy, "removed") > 0);
        for (what, bytes) in [("emptied", 0), ("cut in its header", 60), ("cut in a record", 1001)] {
            let copy = files.copy();
            copy.replace(name, files.contents(name).unwrap()[..bytes].to_vec());
            let left = check(&copy, what);
            assert_eq!(left == 0, nth == 0 && bytes < 72, "{name} {what}");
        }
        for other in names.iter().filter(|other| *other != name) {
            let copy = files.copy();
            copy.replace(name, files.contents(other).unwrap());
            check(&copy, "overwritten");
        }
    }
}

#[test]
fn a_repair_that_a_crash_breaks_off_is_done_again() {
    let (files, all) = image();
    let (place, _) = all[20];
    files.flip(&name(place.segment), place.offset + 50, 1);
    let mut broken = 0;
    for after in 0..40 {
        for seed in 0..4 {
            let copy = files.copy();
            copy.fail(Fault { site: Site::Any, after, times: 1, failure: Failure::PowerOff });
            broken += u64::from(mend(&copy).is_err());
            copy.power_cut(seed, 512);
            let repaired = mend(&copy).unwrap();
            let again = open(&copy).unwrap().2;
            assert!(again.iter().eq(all[..20].iter().map(|(_, record)| record)), "{after} {seed} {repaired:?}");
        }
    }
    assert!(broken > 30, "{broken}");
}

#[test]
fn a_repair_without_room_changes_nothing() {
    let (files, all) = image();
    files.flip(&name(all[0].0.segment), all[0].0.offset, 1);
    files.remove("spare.log").unwrap();
    let before: Vec<_> = files.list().unwrap();
    files.set_capacity(0);
    assert!(matches!(mend(&files), Err(LogError::Full)));
    assert_eq!(files.list().unwrap(), before);
}

#[test]
fn another_log_is_not_repaired() {
    let (files, _) = image();
    let other = |files: &MemoryFiles| repair(Arc::new(files.clone()), LogId(3), CONFIG).map(drop);
    assert!(matches!(other(&files), Err(LogError::Foreign { .. })));
    assert!(matches!(other(&MemoryFiles::default()), Err(LogError::Missing { .. })));
    assert!(open(&files).is_ok());
    drop(Log::create(Arc::new(MemoryFiles::default()), LogId(3), CONFIG).unwrap());
}
