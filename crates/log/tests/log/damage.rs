//! Every byte and every file of a small log damaged: an error, or the very same records.

use std::sync::Arc;

use guildhall_log::{Log, LogError, LogId, MemoryFiles, Place, verify};

use crate::world::{CONFIG, ID, PART, Written, create, filled, open, push, record, store};

/// A log of some segments as its writer leaves it, with batches, large payloads, a truncation, and two groups that lie in the last
/// segment.
fn image() -> (MemoryFiles, Vec<Written>) {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let mut batches = Vec::new();
    for seq in 0..16 {
        let batch = vec![record(3 * seq, 5), record(3 * seq + 1, (seq as usize * 131) % 600), record(3 * seq + 2, 0)];
        let place = store(&mut log, &batch).unwrap()[0];
        batches.push((place, batch));
        if seq == 11 {
            log.truncate_before(2).unwrap();
        }
    }
    push(&mut log, &[record(100, 20)]).unwrap();
    push(&mut log, &[record(101, 30), record(102, 1)]).unwrap();
    log.commit().unwrap();
    drop(log);
    // A copy: to open a log is to finish what its writer may have left.
    let all = open(&files.copy()).unwrap().2;
    let kept: Vec<_> =
        batches.into_iter().filter(|(place, _)| place.segment >= 2).flat_map(|(_, batch)| batch).collect();
    assert_eq!(all[..all.len() - 3], kept);
    assert!(segments(&files).len() >= 3);
    (files, all)
}

fn segments(files: &MemoryFiles) -> Vec<String> {
    use guildhall_log::files::Files;
    files.list().unwrap()
}

/// Opens a damaged log. Returns whether that was refused; what is not refused must be as before, and go on.
fn refused(files: &MemoryFiles, all: &[Written], what: &str) -> bool {
    let verified = verify(files, ID);
    match open(files) {
        Err(error) => {
            match verified {
                Ok(verified) => assert!(verified.bad.is_some(), "{what}: refused, but verified: {error}"),
                Err(LogError::Io { .. } | LogError::Format { .. }) => {}
                Err(error) => panic!("{what}: {error}"),
            }
            // Refusing changes nothing that a second look would not see.
            assert!(open(files).is_err(), "{what}: refused once, then opened");
            true
        }
        Ok((mut log, _, again)) => {
            assert!(verified.unwrap().bad.is_none(), "{what}: opened, but not verified");
            assert!(again == all, "{what}: other records than before");
            let mut longer = again;
            longer.push(record(999, 50));
            store(&mut log, &longer[longer.len() - 1..]).unwrap();
            drop(log);
            assert!(open(files).unwrap().2 == longer, "{what}: it does not go on");
            false
        }
    }
}

#[test]
fn a_flip_of_any_byte_is_told_or_does_not_matter() {
    let (files, all) = image();
    let (mut told, mut harmless) = (0, 0);
    for name in segments(&files) {
        let len = files.contents(&name).unwrap().len() as u64;
        for offset in 0..len {
            // Half a segment of zeros is like the other half.
            if offset % 16 != 0 && files.contents(&name).unwrap()[offset as usize..].iter().all(|byte| *byte == 0) {
                continue;
            }
            let copy = files.copy();
            assert!(copy.flip(&name, offset, 1 << (offset % 8)));
            let refused = refused(&copy, &all, &format!("{name} at {offset}"));
            told += u64::from(refused);
            harmless += u64::from(!refused);
        }
    }
    assert!(told > 4_000, "{told} told, {harmless} harmless");
}

#[test]
fn corruption_is_told_with_file_record_and_offset() {
    let (files, _, places) = {
        let files = MemoryFiles::default();
        let (log, all, places) = filled(&files, 60);
        drop(log);
        (files, all, places)
    };
    let place = places[20];
    let nth =
        places.iter().filter(|other| other.segment == place.segment && other.offset < place.offset).count() as u64;
    files.flip(&format!("{:012}.log", place.segment), place.offset + 48, 1);
    let error = open(&files).unwrap_err();
    let LogError::Corrupt { file, record, offset, .. } = &error else { panic!("{error}") };
    // Each record before it was a group of its own, with its mark.
    assert_eq!(
        (file.as_str(), *record, *offset),
        (format!("{:012}.log", place.segment).as_str(), 2 * nth + 1, place.offset)
    );
    let bad = verify(&files, ID).unwrap();
    assert_eq!(bad.found.records, 20);
    assert_eq!(bad.bad.unwrap().to_string(), error.to_string());
}

#[test]
fn a_payload_that_was_not_looked_at_is_checked_when_it_is_read() {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let mut part = record(1, 300);
    part.head.kind = PART;
    let place = store(&mut log, &[part]).unwrap()[0];
    drop(log);
    files.flip("000000000001.log", place.offset + 100, 4);
    let (log, _) = Log::open(Arc::new(files), ID, CONFIG, |kind| kind != PART, |_, _, _| {}).unwrap();
    let error = log.reader().read(place).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { record: 1, offset, .. } if offset == place.offset), "{error}");
    // Places that were never given lead nowhere.
    for wrong in [
        Place { offset: place.offset + 8, ..place },
        Place { bytes: 299, ..place },
        Place { offset: u64::MAX, ..place },
        Place { bytes: u32::MAX, ..place },
        Place { offset: 0, ..place },
        Place { segment: 9, ..place },
    ] {
        assert!(log.reader().read(wrong).is_err());
    }
}

#[test]
fn a_file_of_any_other_length_is_told_or_does_not_matter() {
    let (files, all) = image();
    let mut told = 0;
    for name in segments(&files) {
        let contents = files.contents(&name).unwrap();
        let used = contents.len();
        let cuts = (0..used).step_by(8).chain([1, 71, 73, 119, used - 1, used - 7]);
        for len in cuts {
            let copy = files.copy();
            copy.replace(&name, contents[..len].to_vec());
            let refused = refused(&copy, &all, &format!("{name} cut to {len}"));
            assert_eq!(refused, name != "spare.log", "{name} cut to {len}");
            told += u64::from(refused);
        }
        for tail in [vec![0; 1], vec![0; 5000], vec![9; 64], contents.clone()] {
            let copy = files.copy();
            copy.replace(&name, [contents.as_slice(), &tail].concat());
            assert!(!refused(&copy, &all, &format!("{name} longer by {}", tail.len())));
        }
        let copy = files.copy();
        copy.replace(&name, vec![0; contents.len()]);
        assert_eq!(refused(&copy, &all, &format!("{name} zeroed")), name != "spare.log");
        if name != "spare.log" {
            assert!(matches!(open(&copy), Err(LogError::Corrupt { file, record: 0, .. }) if file == name));
        }
    }
    assert!(told > 800, "{told}");
}

#[test]
fn a_file_that_is_missing_or_in_anothers_place_is_told() {
    use guildhall_log::files::Files;
    let (files, all) = image();
    let names = segments(&files);
    let other = MemoryFiles::default();
    {
        let mut log = Log::create(Arc::new(other.clone()), LogId(77), CONFIG).unwrap();
        for seq in 0..40 {
            store(&mut log, &[record(seq, 300)]).unwrap();
        }
    }
    for name in names.iter().filter(|name| *name != "spare.log") {
        let copy = files.copy();
        copy.remove(name).unwrap();
        assert!(refused(&copy, &all, &format!("{name} removed")));
        let copy = files.copy();
        copy.replace(name, other.contents(name).unwrap());
        assert!(matches!(open(&copy), Err(LogError::Foreign { file }) if file == *name));
        for with in names.iter().filter(|with| *with != name) {
            let copy = files.copy();
            copy.replace(name, files.contents(with).unwrap());
            assert!(refused(&copy, &all, &format!("{name} overwritten with {with}")));
            copy.replace(with, files.contents(name).unwrap());
            assert!(refused(&copy, &all, &format!("{name} swapped with {with}")));
        }
    }
    // What lies there beside the log is none of it.
    for name in ["000000000099.log.cut", "notes", "1.log", "000000000000.log", "spare.log"] {
        let copy = files.copy();
        copy.replace(name, vec![1; 4096]);
        assert!(!refused(&copy, &all, name));
    }
    // A spare with anything in it is none.
    let copy = files.copy();
    copy.replace("spare.log", vec![1; 4096]);
    let mut log = open(&copy).unwrap().0;
    log.rotate().unwrap();
    drop(log);
    assert_eq!(open(&copy).unwrap().1.torn, None);
    let copy = files.copy();
    copy.replace("000000000099.log", other.contents("000000000003.log").unwrap());
    assert!(refused(&copy, &all, "a segment too many"));
}

#[test]
fn records_of_another_segment_or_log_are_not_taken_even_at_the_same_offset() {
    let (files, all) = image();
    let other = MemoryFiles::default();
    {
        let mut log = Log::create(Arc::new(other.clone()), LogId(77), CONFIG).unwrap();
        for seq in 0..40 {
            store(&mut log, &[record(seq, 300)]).unwrap();
        }
    }
    let names: Vec<_> = segments(&files).into_iter().filter(|name| name != "spare.log").collect();
    let pairs = names.iter().flat_map(|to| names.iter().map(move |from| (to, from)));
    for (to, from) in pairs {
        for source in [&files, &other] {
            let (mut contents, with) = (files.contents(to).unwrap(), source.contents(from).unwrap());
            let n = contents.len().min(with.len());
            contents[72..n].copy_from_slice(&with[72..n]);
            let is_itself = contents == files.contents(to).unwrap();
            let copy = files.copy();
            copy.replace(to, contents);
            if Some(to) == names.last() && !is_itself {
                // All marks are gone with the rest, as if nothing had ever been synced there.
                let again = open(&copy).unwrap().2;
                assert!(again.len() < all.len() && all.starts_with(&again));
            } else {
                assert_eq!(refused(&copy, &all, &format!("{to} with records of {from}")), !is_itself);
            }
        }
    }
}

#[test]
fn a_record_is_not_taken_at_another_place_of_its_own_segment() {
    let files = MemoryFiles::default();
    let mut log = create(&files);
    let all: Vec<_> = (0..8).map(|seq| record(seq, 40)).collect();
    let places: Vec<_> = all.iter().map(|record| store(&mut log, std::slice::from_ref(record)).unwrap()[0]).collect();
    drop(log);
    let contents = files.contents("000000000001.log").unwrap();
    let record = |nth: usize| places[nth].offset as usize..places[nth].offset as usize + 48 + 40;
    for (from, to) in [(0, 1), (5, 2), (7, 6), (6, 7)] {
        let mut changed = contents.clone();
        changed.copy_within(record(from), record(to).start);
        let copy = files.copy();
        copy.replace("000000000001.log", changed);
        assert!(refused(&copy, &all, "a record doubled"));
    }
}

#[test]
fn records_behind_a_bad_header_are_not_thrown_away_whatever_else_is_wrong() {
    let (files, all) = image();
    let names = segments(&files);
    let [.., before, last, _spare] = &names[..] else { panic!("{names:?}") };
    // As long as if its successor had never been begun.
    let mut contents = files.contents(before).unwrap();
    contents.resize(4096, 0);
    files.replace(before, contents);
    files.flip(last, 30, 1);
    assert!(refused(&files, &all, "two faults"));
}

#[test]
fn another_format_is_refused_by_its_name() {
    let (files, _) = image();
    files.flip("000000000002.log", 8, 1 ^ 7);
    let error = open(&files).unwrap_err();
    assert!(matches!(error, LogError::Format { found: 7, .. }), "{error}");
    assert!(matches!(verify(&files, ID), Err(LogError::Format { .. })));
}
