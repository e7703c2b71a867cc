//! Disks without room, and disks that fail.

use std::sync::Arc;

use guildhall_log::files::{Failure, Fault, Site};
use guildhall_log::{Log, LogError, MemoryFiles};

use crate::world::{CONFIG, Dice, ID, Written, create, filled, open, push, record, store};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn a_full_disk_leaves_the_rest_of_a_segment_for_small_records_and_the_log_goes_on_when_there_is_room() {
    let files = MemoryFiles::with_capacity(5 * 4096);
    let mut log = create(&files);
    let mut all = Vec::new();
    for seq in 0.. {
        match store(&mut log, &[record(seq, 700)]) {
            Ok(_) => all.push(record(seq, 700)),
            Err(LogError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!log.has_spare());
    assert!(!log.ensure_spare().unwrap());
    // What is refused is refused without a trace, and smaller records still find room.
    let room = log.room_bytes();
    assert!(room >= 48);
    all.push(record(1_000, room as usize - 48));
    store(&mut log, &all[all.len() - 1..]).unwrap();
    assert!(matches!(store(&mut log, &[record(1_001, 0)]), Err(LogError::Full)));
    assert_eq!(log.reader().read(store_place(&files)).unwrap(), all[0].payload);

    files.set_capacity(20 * 4096);
    assert!(log.ensure_spare().unwrap());
    all.push(record(2_000, 700));
    store(&mut log, &all[all.len() - 1..]).unwrap();
    drop(log);
    assert_eq!(open(&files).unwrap().2, all);
}

/// Where the first record lies.
fn store_place(files: &MemoryFiles) -> guildhall_log::Place {
    let mut first = None;
    guildhall_log::scan(files, ID, |_| false, |place, _, _| first = first.or(Some(place))).unwrap();
    first.unwrap()
}

#[test]
fn a_full_log_makes_room_by_truncation() {
    let files = MemoryFiles::with_capacity(5 * 4096);
    let mut log = create(&files);
    let mut seq = 0;
    let mut fill = |log: &mut Log| loop {
        seq += 1;
        match store(log, &[record(seq, 200)]) {
            Ok(_) => {}
            Err(LogError::Full) => return seq,
            Err(error) => panic!("{error}"),
        }
    };
    // Someone else takes each segment that is freed, until even the reserve is used up.
    let mut truncated = 0;
    fill(&mut log);
    for oldest in 2.. {
        if oldest == log.active_segment() {
            break;
        }
        log.truncate_before(oldest).unwrap();
        truncated += 1;
    }
    assert!(truncated >= 3);
    assert!(log.ensure_spare().unwrap());
    let last = fill(&mut log);
    drop(log);
    let again = open(&files).unwrap().2;
    assert_eq!(again.last(), Some(&record(last - 1, 200)));
}

#[test]
fn a_disk_that_is_full_when_a_log_is_opened_costs_nothing() {
    let files = MemoryFiles::default();
    let (log, all, _) = filled(&files, 30);
    drop(log);
    // The last group is torn, and there is no room for a segment to go on in.
    let last = files.contents("spare.log").map(|_| "spare.log").unwrap();
    guildhall_log::files::Files::remove(&files, last).unwrap();
    let name = newest(&files);
    let contents = files.contents(&name).unwrap();
    files.flip(&name, contents.len() as u64 - 9, 1);
    files.set_capacity(0);
    for _ in 0..2 {
        let (mut log, found, again) = open(&files).unwrap();
        assert!(found.torn.is_some());
        assert_eq!((again, log.has_spare(), log.room_bytes()), (all.clone(), false, 0));
        assert!(matches!(store(&mut log, &[record(31, 1)]), Err(LogError::Full)));
    }
    let (mut log, ..) = open(&files).unwrap();
    files.set_capacity(u64::MAX);
    assert!(log.ensure_spare().unwrap());
    store(&mut log, &[record(31, 1)]).unwrap();
    drop(log);
    let (_, found, again) = open(&files).unwrap();
    assert_eq!((found.torn, again.len()), (None, 31));
}

fn newest(files: &MemoryFiles) -> String {
    let names = guildhall_log::files::Files::list(files).unwrap();
    names.into_iter().rfind(|name| name != "spare.log").unwrap()
}

/// Of a refused group the beginning is written, and what is stored next is shorter: what lies behind that must never be read.
#[test]
fn a_group_that_was_refused_does_not_come_back() {
    let files = MemoryFiles::default();
    let (mut log, mut all, _) = filled(&files, 2);
    for seq in 100..110 {
        push(&mut log, &[record(seq, 0)]).unwrap();
    }
    files.fail(Fault { site: Site::Write, after: 0, times: 1, failure: Failure::Error(ENOSPC) });
    assert!(matches!(log.commit(), Err(LogError::Full)));
    all.push(record(3, 0));
    store(&mut log, &all[2..]).unwrap();
    drop(log);
    assert_eq!(open(&files).unwrap().2, all);
}

/// What becomes of a script when an operation fails.
struct Script {
    /// What was stored, or was found by an open: it must stay.
    stored: Vec<Written>,
    /// What the next open may show behind that.
    unsure: Vec<Written>,
    full: u64,
    broken: u64,
}

/// Stores 40 batches in segments of 4 KiB, truncates twice, and opens again after each failure that closes the log.
fn script(files: &MemoryFiles, fault: Fault) -> Script {
    let mut script = Script { stored: Vec::new(), unsure: Vec::new(), full: 0, broken: 0 };
    let mut log = create(files);
    files.fail(fault);
    for seq in 0..40 {
        let batch = [record(2 * seq, 150), record(2 * seq + 1, 60)];
        let mut outcome = store(&mut log, &batch).map(drop);
        let stored = outcome.is_ok();
        if stored {
            script.stored.extend(batch.clone());
        }
        if outcome.is_ok() && seq % 16 == 15 {
            outcome = log.truncate_before(log.active_segment() - 1);
        }
        match outcome {
            Ok(()) => {}
            Err(LogError::Full) => {
                script.full += 1;
                log.ensure_spare().unwrap_or_default();
            }
            Err(LogError::Io { .. } | LogError::Poisoned { .. }) => {
                script.broken += 1;
                assert!(matches!(store(&mut log, &batch), Err(LogError::Poisoned { .. })));
                assert!(matches!(log.ensure_spare(), Err(LogError::Poisoned { .. })));
                files.kill();
                if !stored {
                    script.unsure = batch.to_vec();
                }
                log = script.reopen(files);
            }
            Err(error) => panic!("{error}"),
        }
    }
    script
}

impl Script {
    fn reopen(&mut self, files: &MemoryFiles) -> Log {
        let (log, _, again) = open(files).unwrap();
        let unsure = std::mem::take(&mut self.unsure);
        if !unsure.is_empty() && again.ends_with(&unsure) {
            self.stored.extend(unsure);
        }
        // Truncation takes from the front.
        assert!(self.stored.ends_with(&again) && !again.is_empty(), "{again:?}");
        log
    }
}

#[test]
fn a_lack_of_room_at_any_operation_loses_nothing_and_the_log_goes_on() {
    let (mut full, mut broken) = (0, 0);
    for times in [1, 5] {
        for after in 0..170 {
            let files = MemoryFiles::default();
            let mut script = script(&files, Fault { site: Site::Any, after, times, failure: Failure::Error(ENOSPC) });
            full += script.full;
            broken += script.broken;
            files.kill();
            drop(script.reopen(&files));
        }
    }
    assert!(full > 50 && broken > 50, "{full} full, {broken} broken");
}

#[test]
fn a_lack_of_room_closes_no_log_as_long_as_syncs_succeed() {
    for site in [Site::Allocate, Site::Create, Site::Rename, Site::Write] {
        for after in 0..100 {
            let files = MemoryFiles::default();
            let mut script = script(&files, Fault { site, after, times: 3, failure: Failure::Error(ENOSPC) });
            assert_eq!(script.broken, 0, "{site:?} after {after}");
            files.kill();
            drop(script.reopen(&files));
        }
    }
}

/// Linux forgets after a failed sync that anything was to be written, and shows it nevertheless: what an open has shown must survive.
#[test]
fn what_is_shown_after_a_failed_sync_survives_a_power_cut() {
    let mut broken = 0;
    for after in 0..45 {
        for seed in 0..6 {
            let files = MemoryFiles::default();
            let fault = Fault { site: Site::Sync, after, times: 1, failure: Failure::Error(EIO) };
            let mut script = script(&files, fault);
            broken += script.broken;
            files.power_cut(seed, 512);
            drop(script.reopen(&files));
        }
    }
    assert!(broken > 200, "{broken}");
}

#[test]
fn a_failed_sync_closes_the_log() {
    let files = MemoryFiles::default();
    let (mut log, mut all, _) = filled(&files, 5);
    files.fail(Fault { site: Site::Sync, after: 0, times: 1, failure: Failure::Error(EIO) });
    let error = store(&mut log, &[record(6, 10)]).unwrap_err();
    assert!(matches!(&error, LogError::Io { doing: "sync", .. }), "{error}");
    let closed = store(&mut log, &[record(7, 10)]).unwrap_err();
    assert!(closed.to_string().contains(&error.to_string()), "{closed}");
    assert!(matches!(log.rotate(), Err(LogError::Poisoned { .. })));
    assert!(matches!(log.truncate_before(9), Err(LogError::Poisoned { .. })));
    drop(log);
    all.push(record(6, 10));
    assert_eq!(open(&files).unwrap().2, all, "the batch of which nothing was known is there, whole");
}

#[test]
fn an_error_while_reading_is_told_as_such() {
    let files = MemoryFiles::default();
    drop(filled(&files, 40));
    let mut dice = Dice(1);
    for after in 0..12 {
        files.fail(Fault { site: Site::Read, after, times: 1 + dice.below(3), failure: Failure::Error(EIO) });
        let error = open(&files).map(|(log, ..)| drop(log)).unwrap_err();
        assert!(matches!(error, LogError::Io { doing: "read", .. }), "{error}");
        files.mend();
    }
    let reader = guildhall_log::LogReader::new(Arc::new(files.clone()), ID);
    let place = store_place(&files);
    files.fail(Fault { site: Site::Read, after: 0, times: 1, failure: Failure::Error(EIO) });
    assert!(matches!(reader.read(place), Err(LogError::Io { .. })));
    assert!(reader.read(place).is_ok());
    assert_eq!(CONFIG.segment_bytes, 4096);
}
