//! What a log does while nothing fails.

use std::sync::Arc;

use guildhall_log::{DirFiles, Log, LogConfig, LogError, LogId, MemoryFiles, identify, scan, verify};

use crate::world::{CONFIG, ID, PART, RECORD, Written, create, filled, open, push, record, store};

#[test]
fn what_was_stored_is_found_again_in_order_and_read_by_its_place() {
    let files = MemoryFiles::default();
    let (log, all, places) = filled(&files, 100);
    assert!(log.segments().count() > 3);
    drop(log);

    let (log, found, again) = open(&files).unwrap();
    assert_eq!(again, all);
    assert_eq!((found.records, found.torn, found.unmarked), (100, None, 0));
    assert!(places.is_sorted());
    for (place, record) in places.iter().zip(&all) {
        assert_eq!(log.reader().read_record(*place).unwrap(), (record.head, record.payload.clone()));
    }
    assert_eq!(identify(&files).unwrap(), ID);
}

#[test]
fn a_group_of_many_batches_takes_one_sync() {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let before = files.counters().syncs;
    for seq in 0..20 {
        push(&mut log, &[record(2 * seq, 10), record(2 * seq + 1, 10)]).unwrap();
    }
    log.commit().unwrap();
    assert_eq!(files.counters().syncs, before + 1);
    log.commit().unwrap();
    assert_eq!(files.counters().syncs, before + 1, "nothing was pending");
    assert_eq!(open(&files).unwrap().2.len(), 40);
}

#[test]
fn payloads_that_are_not_wanted_are_not_shown_but_can_be_read() {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let part = Written { head: guildhall_log::Head { kind: PART, ..record(1, 0).head }, payload: vec![7; 500] };
    store(&mut log, &[part.clone(), record(2, 20)]).unwrap();

    let mut shown = Vec::new();
    scan(&files, ID, |kind| kind == RECORD, |place, head, payload| shown.push((place, head, payload.is_some())))
        .unwrap();
    let [(place, head, false), (_, _, true)] = shown[..] else { panic!("{shown:?}") };
    assert_eq!(head, part.head);
    assert_eq!(log.reader().read(place).unwrap(), part.payload);
}

#[test]
fn a_log_goes_on_where_it_ended() {
    let files = MemoryFiles::default();
    let mut all = Vec::new();
    drop(create(&files));
    for seq in 0..60 {
        let (mut log, found, before) = open(&files).unwrap();
        assert_eq!((before, found.torn), (all.clone(), None));
        all.push(record(seq, 100));
        store(&mut log, &all[all.len() - 1..]).unwrap();
    }
}

#[test]
fn segments_that_are_given_up_go_and_the_rest_stays() {
    let files = MemoryFiles::default();
    let (mut log, all, places) = filled(&files, 100);
    let keep = places[70].segment;
    log.truncate_before(keep).unwrap();
    let first = places.iter().position(|place| place.segment == keep).unwrap();
    assert_eq!(log.segments().next().unwrap().0, keep);
    assert!(matches!(log.reader().read(places[0]), Err(LogError::Missing { .. })));
    store(&mut log, &[record(101, 8)]).unwrap();
    drop(log);

    let (mut log, _, again) = open(&files).unwrap();
    assert_eq!(again[..again.len() - 1], all[first..]);
    // The active segment stays, whatever is asked for.
    log.truncate_before(u64::MAX).unwrap();
    assert_eq!(log.segments().count(), 1);
    drop(log);
    assert!(open(&files).unwrap().2.len() < again.len());
}

#[test]
fn a_batch_that_begins_the_next_segment_ends_the_group() {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let mut pushed = 0;
    while push(&mut log, &[record(pushed, 300)]).is_ok() {
        pushed += 1;
    }
    assert!(matches!(push(&mut log, &[record(pushed, 300)]), Err(LogError::CommitFirst)));
    log.commit().unwrap();
    push(&mut log, &[record(pushed, 300)]).unwrap();
    log.commit().unwrap();
    assert_eq!(open(&files).unwrap().2.len() as u64, pushed + 1);
}

#[test]
fn a_batch_longer_than_a_segment_is_refused() {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let limit = CONFIG.batch_bytes_max();
    let longest = limit as usize - 48;
    assert!(
        matches!(push(&mut log, &[record(1, longest + 1)]), Err(LogError::TooLarge { bytes, limit: l }) if l == limit && bytes > l)
    );
    store(&mut log, &[record(1, longest)]).unwrap();
    store(&mut log, &[record(2, longest)]).unwrap();
    assert_eq!(open(&files).unwrap().2, [record(1, longest), record(2, longest)]);
}

#[test]
fn a_log_is_not_made_where_one_is() {
    let files = MemoryFiles::default();
    assert!(matches!(open(&files), Err(LogError::Missing { .. })));
    let again = || Log::create(Arc::new(files.clone()), LogId(5), CONFIG);
    drop(create(&files));
    // It was never written to.
    let mut log = again().unwrap();
    store(&mut log, &[record(1, 1)]).unwrap();
    assert!(matches!(again(), Err(LogError::Exists { .. })));
    assert!(matches!(open(&files), Err(LogError::Foreign { .. })));
}

#[test]
fn a_log_lies_in_a_real_directory() {
    let dir = tempfile::tempdir().unwrap();
    let files = || Arc::new(DirFiles::open(dir.path()).unwrap());
    let config = LogConfig { segment_bytes: 64 * 1024 };
    let all: Vec<_> = (0..300).map(|seq| record(seq, 1000)).collect();
    let mut log = Log::create(files(), ID, config).unwrap();
    for batch in all.chunks(3) {
        store(&mut log, batch).unwrap();
    }
    log.truncate_before(2).unwrap();
    drop(log);
    let mut again = Vec::new();
    let (log, found) =
        Log::open(files(), ID, config, |_| true, |_, head, payload| again.push((head, payload.unwrap().to_vec())))
            .unwrap();
    assert!(again.len() < all.len());
    assert_eq!(found.records, again.len() as u64);
    let kept = &all[all.len() - again.len()..];
    assert!(again.iter().zip(kept).all(|(again, all)| (again.0, &again.1) == (all.head, &all.payload)));
    assert!(log.has_spare());
    assert!(verify(&*files(), ID).unwrap().bad.is_none());
}
