//! What a store does when nothing goes wrong, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use guildhall_log::QueueConfig;
use guildhall_log::files::Files;
use guildhall_proto::{Epoch, Event, EventKind, Grant, Seq, Standing};
use guildhall_store::{
    Alone, Batch, Directory, DirectoryError, EmbeddedConfig, EmbeddedStore, Identity, IdentityError, Inspection, Known,
    OpenError, Store, StoreError, Workers,
};

use crate::world::{Disk, Opened, assert_same, checkpoint, guild, identity, outcome, record, tiny, told};

#[test]
fn what_was_stored_is_there_when_the_store_is_opened_again() {
    let disk = Disk::with_store(&tiny());
    let records: Vec<_> = (1..=5).map(|number| record(Epoch(1), number, number * 7, 2)).collect();
    {
        let mut opened = disk.open(&tiny()).unwrap();
        assert_eq!(opened.store.knows(guild(1)), Ok(Known::Nothing));
        let claim = opened.claim(guild(1), 3).unwrap();
        assert_eq!((claim.epoch, claim.checkpoint.is_none(), claim.tail.len()), (Epoch(1), true, 0));
        assert_eq!(opened.store.knows(guild(1)), Ok(Known::Nothing), "a claim stores nothing of the guild");
        opened.append_now(guild(1), Epoch(1), records[..3].to_vec()).unwrap();
        opened.append_now(guild(1), Epoch(1), records[3..].to_vec()).unwrap();
        opened.save_now(guild(1), Epoch(1), checkpoint(&records[..4])).unwrap();
        assert_eq!(opened.store.knows(guild(1)), Ok(Known::Something));
    }
    let mut opened = disk.open(&tiny()).unwrap();
    assert_eq!(opened.report.guilds, 1);
    assert_eq!(opened.store.knows(guild(1)), Ok(Known::Something));
    let claim = opened.claim(guild(1), 3).unwrap();
    assert_eq!(claim.epoch, Epoch(2));
    assert_same(&claim.checkpoint.unwrap(), &checkpoint(&records[..4]));
    assert_eq!(claim.tail, records[4..]);
}

#[test]
fn a_deleted_guild_is_known_as_such_once_somebody_has_looked() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let mut last = record(epoch, 2, 2, 1);
    last.event = last.event.map(|event| Arc::new(Event { kind: EventKind::GuildDeleted, ..(*event).clone() }));
    opened.append_now(guild(1), epoch, vec![record(epoch, 1, 1, 1), last.clone()]).unwrap();
    let claim = opened.claim(guild(1), 1).unwrap();
    assert_eq!(opened.store.knows(guild(1)), Ok(Known::Deleted), "its last record says so");
    opened.claim(guild(2), 1).unwrap();
    let third = opened.claim(guild(3), 1).unwrap().epoch;
    opened.append_now(guild(3), third, vec![record(third, 1, 1, 1)]).unwrap();
    // The first is deleted, and nothing is stored of the second.
    assert_eq!(opened.store.list(None, 9), Ok(vec![guild(3)]));
    assert_eq!(opened.store.list(Some(guild(3)), 9), Ok(vec![]));

    let mut deleted = checkpoint(&[record(epoch, 1, 1, 1), last]);
    deleted.structure.standing = Standing::Deleted;
    opened.save_now(guild(1), claim.epoch, deleted).unwrap();
    assert_eq!(opened.store.knows(guild(1)), Ok(Known::Deleted));
    drop(opened);
    let mut opened = disk.open(&tiny()).unwrap();
    assert_eq!(opened.store.knows(guild(1)), Ok(Known::Something), "nobody has looked");
    opened.claim(guild(1), 1).unwrap();
    assert_eq!(opened.store.knows(guild(1)), Ok(Known::Deleted), "its checkpoint says so");
}

#[test]
fn guilds_are_listed_in_order_however_many_there_are_and_however_few_of_them_have_something() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    // More than are looked at under one hold of the lock.
    for number in 1..=700 {
        let epoch = opened.claim(guild(number), 1).unwrap().epoch;
        if number % 3 == 0 {
            opened.append_now(guild(number), epoch, vec![record(epoch, 1, 1, 1)]).unwrap();
        }
    }
    let thirds: Vec<_> = (1..=700).filter(|number| number % 3 == 0).map(guild).collect();
    assert_eq!(opened.store.list(None, 1_000), Ok(thirds.clone()));
    assert_eq!(opened.store.list(None, 100), Ok(thirds[..100].to_vec()));
    assert_eq!(opened.store.list(Some(thirds[99]), 1_000), Ok(thirds[100..].to_vec()));
    assert_eq!(opened.store.list(None, 0), Ok(vec![]));
}

#[test]
fn a_claim_shuts_earlier_owners_out_at_once_and_an_older_grant_is_refused_over_a_restart() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let first = opened.claim(guild(1), 5).unwrap().epoch;
    let settled = opened.append(guild(1), first, vec![record(first, 1, 1, 1)]);
    let second = opened.store.begin_claim(guild(1), Grant(5)).unwrap();
    // Not on the disk yet, and fenced all the same.
    let fenced = StoreError::Fenced { got: first, current: second.epoch() };
    assert_eq!(outcome(&opened.append(guild(1), first, vec![record(first, 2, 2, 1)])), Some(Err(fenced.clone())));
    assert_eq!(outcome(&opened.save(guild(1), first, checkpoint(&[]))), Some(Err(fenced.clone())));
    let confirm = |epoch| {
        let (told, stored) = told();
        opened.store.confirm(guild(1), epoch, stored);
        outcome(&told)
    };
    assert_eq!((confirm(first), confirm(second.epoch())), (Some(Err(fenced)), Some(Ok(()))));
    opened.drive().unwrap();
    assert_eq!(outcome(&settled), Some(Ok(())));
    let claim = second.finish().unwrap();
    assert_eq!(claim.tail.len(), 1, "what was queued before the claim is in its tail");
    let stale = StoreError::StaleGrant { got: Grant(4), seen: Grant(5) };
    assert_eq!(opened.store.begin_claim(guild(1), Grant(4)).unwrap_err(), stale);

    // The grant stands in the checkpoint alone once that has repeated the claim.
    opened.save_now(guild(1), claim.epoch, checkpoint(&claim.tail)).unwrap();
    drop(opened);
    let mut opened = disk.open(&tiny()).unwrap();
    assert_eq!(opened.store.begin_claim(guild(1), Grant(4)).unwrap_err(), stale);
    assert_eq!(opened.claim(guild(1), 6).unwrap().epoch, Epoch(3));
}

#[test]
fn a_claim_waits_for_a_checkpoint_that_is_being_put_in_force_and_goes_on_from_it() {
    let config = EmbeddedConfig { small_bytes: 0, ..tiny() };
    let disk = Disk::with_store(&config);
    let mut opened = disk.open(&config).unwrap();
    let owners = [guild(1), guild(2)].map(|guild| opened.claim(guild, 1).unwrap().epoch);
    let records: Vec<_> = (1..=80).map(|number| record(owners[1], number, number, 0)).collect();
    opened.append_now(guild(2), owners[1], records.clone()).unwrap();

    // The second checkpoint is longer than a segment: while it is written the first is told, and then somebody claims the second's guild.
    let (store, record_writer) = (Arc::new(opened.store), Arc::new(Mutex::new(opened.records)));
    let claiming = Arc::new(Mutex::new(None));
    let stored = {
        let (store, record_writer, claiming) = (Arc::clone(&store), Arc::clone(&record_writer), Arc::clone(&claiming));
        move |stored| {
            assert_eq!(stored, Ok(()));
            let claim = store.begin_claim(guild(2), Grant(1)).unwrap();
            while record_writer.lock().unwrap().step().unwrap() {}
            assert!(!claim.is_settled(), "it would read the checkpoint before");
            *claiming.lock().unwrap() = Some(claim);
        }
    };
    store.checkpoint(guild(1), owners[0], checkpoint(&[]), Box::new(stored));
    let (told, stored) = told();
    store.checkpoint(guild(2), owners[1], checkpoint(&records), stored);
    while opened.checkpoints.step().unwrap() {}
    assert_eq!(outcome(&told), Some(Ok(())));
    let claim = claiming.lock().unwrap().take().unwrap();
    assert!(claim.is_settled());
    let claim = claim.finish().unwrap();
    assert_same(&claim.checkpoint.unwrap(), &checkpoint(&records));
    assert_eq!(claim.tail, []);
}

#[test]
fn the_latest_grant_is_known_after_a_restart_without_a_checkpoint() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    opened.claim(guild(1), 5).unwrap();
    opened.claim(guild(1), 7).unwrap();
    drop(opened);
    let mut opened = disk.open(&tiny()).unwrap();
    let stale = StoreError::StaleGrant { got: Grant(6), seen: Grant(7) };
    assert_eq!(opened.store.begin_claim(guild(1), Grant(6)).unwrap_err(), stale);
    assert_eq!(opened.claim(guild(1), 7).unwrap().epoch, Epoch(3));
}

#[test]
fn what_is_queued_behind_a_batch_that_cannot_be_stored_is_refused_too() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let other = opened.claim(guild(2), 1).unwrap().epoch;
    let told = [
        opened.append(guild(1), epoch, vec![record(epoch, 1, 1, 1)]),
        // Longer than a segment.
        opened.append(guild(1), epoch, vec![record(epoch, 2, u64::MAX >> 1, 1_000)]),
        opened.append(guild(1), epoch, vec![record(epoch, 3, 3, 1)]),
        opened.append(guild(2), other, vec![record(other, 1, 1, 1)]),
    ];
    opened.drive().unwrap();
    let [first, second, third, others] = told.map(|told| outcome(&told).unwrap());
    assert_eq!((first, others), (Ok(()), Ok(())));
    assert!(matches!(second, Err(StoreError::Unavailable { reason }) if reason.contains("segment")));
    assert!(third.is_err());
    assert_eq!(opened.claim(guild(1), 1).unwrap().tail.len(), 1);
}

#[test]
fn a_claim_that_a_later_one_overtook_is_fenced() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let first = opened.store.begin_claim(guild(1), Grant(1)).unwrap();
    let second = opened.store.begin_claim(guild(1), Grant(1)).unwrap();
    opened.drive().unwrap();
    let fenced = StoreError::Fenced { got: first.epoch(), current: second.epoch() };
    assert_eq!(first.finish().unwrap_err(), fenced);
    assert!(second.finish().is_ok());
}

#[test]
fn one_group_is_one_sync_for_many_guilds() {
    let disk = Disk::with_store(&EmbeddedConfig::default());
    let mut opened = disk.open(&EmbeddedConfig::default()).unwrap();
    let owners: Vec<_> =
        (1..=50).map(|number| (guild(number), opened.claim(guild(number), 1).unwrap().epoch)).collect();
    let syncs = disk.records.counters().syncs;
    let told: Vec<_> =
        owners.iter().map(|(guild, epoch)| opened.append(*guild, *epoch, vec![record(*epoch, 1, 9, 1)])).collect();
    assert!(told.iter().all(|told| outcome(told).is_none()), "nothing is told before it is synced");
    assert!(opened.records.step().unwrap());
    assert!(told.iter().all(|told| outcome(told) == Some(Ok(()))));
    assert_eq!(disk.records.counters().syncs - syncs, 1);
}

#[test]
fn a_checkpoint_writes_the_pages_that_changed() {
    let config = EmbeddedConfig { small_bytes: 0, ..EmbeddedConfig::default() };
    let disk = Disk::with_store(&config);
    let mut opened = disk.open(&config).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let records: Vec<_> = (1..=200).map(|number| record(epoch, number, number, 0)).collect();
    opened.append_now(guild(1), epoch, records.clone()).unwrap();
    opened.save_now(guild(1), epoch, checkpoint(&records[..199])).unwrap();
    let first = opened.store.counts();
    assert!(first.parts_written > 12 && first.parts_kept == 0, "{first:?}");
    opened.save_now(guild(1), epoch, checkpoint(&records)).unwrap();
    let second = opened.store.counts();
    assert!(second.parts_kept >= 10, "{second:?}");
    assert!(second.parts_written - first.parts_written <= 3, "the head and a page: {second:?}");
    assert_same(&opened.claim(guild(1), 1).unwrap().checkpoint.unwrap(), &checkpoint(&records));
}

/// Counts the jobs that it is asked to share out.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Workers for Counting {
    fn for_each(&self, n: usize, job: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(usize::from(n > 1), Ordering::Relaxed);
        Alone.for_each(n, job);
    }
}

#[test]
fn a_checkpoint_that_lies_in_one_record_is_read_without_workers() {
    let jobs_of_a_load = |small_bytes| {
        let config = EmbeddedConfig { small_bytes, ..EmbeddedConfig::default() };
        let (disk, workers) = (Disk::with_store(&config), Arc::new(Counting::default()));
        let asked = Arc::clone(&workers) as Arc<dyn Workers>;
        let (store, records, checkpoints, report) = EmbeddedStore::open(disk.directory(), config, asked).unwrap();
        let mut opened = Opened { store, records, checkpoints, report };
        let epoch = opened.claim(guild(1), 1).unwrap().epoch;
        let stored: Vec<_> = (1..=40).map(|number| record(epoch, number, number, 0)).collect();
        opened.append_now(guild(1), epoch, stored.clone()).unwrap();
        opened.save_now(guild(1), epoch, checkpoint(&stored)).unwrap();
        assert_same(&opened.claim(guild(1), 1).unwrap().checkpoint.unwrap(), &checkpoint(&stored));
        workers.0.load(Ordering::Relaxed)
    };
    assert!(jobs_of_a_load(0) > 0, "its pages are records of their own");
    assert_eq!(jobs_of_a_load(64 * 1024), 0);
}

#[test]
fn an_older_checkpoint_changes_nothing_and_counts_as_stored() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let records: Vec<_> = (1..=6).map(|number| record(epoch, number, number, 0)).collect();
    opened.append_now(guild(1), epoch, records.clone()).unwrap();
    opened.save_now(guild(1), epoch, checkpoint(&records[..5])).unwrap();
    opened.save_now(guild(1), epoch, checkpoint(&records[..2])).unwrap();
    let claim = opened.claim(guild(1), 1).unwrap();
    assert_same(&claim.checkpoint.unwrap(), &checkpoint(&records[..5]));
    assert_eq!(claim.tail, records[5..]);
}

#[test]
fn a_full_queue_refuses_a_batch_and_all_later_ones_of_its_epoch() {
    let config = EmbeddedConfig { records: QueueConfig { items_max: 2, ..QueueConfig::default() }, ..tiny() };
    let disk = Disk::with_store(&config);
    let mut opened = disk.open(&config).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let told: Vec<_> = (1..=3).map(|n| opened.append(guild(1), epoch, vec![record(epoch, n, n, 0)])).collect();
    assert_eq!(outcome(&told[2]), Some(Err(StoreError::Busy)));
    opened.drive().unwrap();
    assert_eq!((outcome(&told[0]), outcome(&told[1])), (Some(Ok(())), Some(Ok(()))));
    // There is room again, but a hole would be left.
    assert_eq!(outcome(&opened.append(guild(1), epoch, vec![record(epoch, 4, 4, 0)])), Some(Err(StoreError::Busy)));
    let claim = opened.claim(guild(1), 1).unwrap();
    assert_eq!(claim.tail.len(), 2);
    opened.append_now(guild(1), claim.epoch, vec![record(claim.epoch, 3, 3, 0)]).unwrap();
}

#[test]
fn writers_on_threads_end_when_the_store_is_dropped() {
    let config = EmbeddedConfig::default();
    let disk = Disk::with_store(&config);
    let opened = disk.open(&config).unwrap();
    let (store, records, checkpoints) = (opened.store, opened.records, opened.checkpoints);
    let writers = [thread::spawn(move || records.run()), thread::spawn(move || checkpoints.run())];
    let claim = store.claim(guild(1), Grant(1)).unwrap();
    let (outcome_1, stored) = told();
    store.append(Batch { guild: guild(1), epoch: claim.epoch, records: vec![record(claim.epoch, 1, 1, 0)] }, stored);
    let (outcome_2, stored) = told();
    store.checkpoint(guild(1), claim.epoch, checkpoint(&[]), stored);
    drop(store);
    for writer in writers {
        assert_eq!(writer.join().unwrap(), Ok(()));
    }
    assert_eq!((outcome(&outcome_1), outcome(&outcome_2)), (Some(Ok(())), Some(Ok(()))));
}

#[test]
fn a_guild_is_read_whole_while_what_lies_in_the_logs_is_moved() {
    const ROUNDS: u64 = 300;
    let config = EmbeddedConfig { slack_bytes: 0, small_bytes: 0, ..tiny() };
    let disk = Disk::with_store(&config);
    let opened = disk.open(&config).unwrap();
    let (store, records, checkpoints) = (opened.store, opened.records, opened.checkpoints);
    let writers = [thread::spawn(move || records.run()), thread::spawn(move || checkpoints.run())];
    // One guild at rest, of which everything is moved while another one works.
    let resting = store.claim(guild(1), Grant(1)).unwrap().epoch;
    let kept: Vec<_> = (1..=30).map(|number| record(resting, number, number, 3)).collect();
    let (told, answers) = mpsc::channel();
    let tell = || {
        let told = told.clone();
        Box::new(move |stored| drop(told.send(stored)))
    };
    for records in kept.chunks(5) {
        store.append(Batch { guild: guild(1), epoch: resting, records: records.to_vec() }, tell());
        answers.recv().unwrap().unwrap();
    }
    store.checkpoint(guild(1), resting, checkpoint(&kept[..20]), tell());
    answers.recv().unwrap().unwrap();

    let working = AtomicBool::new(true);
    thread::scope(|scope| {
        let (store, working) = (&store, &working);
        scope.spawn(move || {
            let epoch = store.claim(guild(2), Grant(1)).unwrap().epoch;
            let records: Vec<_> = (1..=ROUNDS).map(|number| record(epoch, number, number, 20)).collect();
            for number in 1..=ROUNDS as usize {
                let batch = vec![records[number - 1].clone()];
                store.append(Batch { guild: guild(2), epoch, records: batch }, tell());
                answers.recv().unwrap().unwrap();
                if number % 3 == 0 {
                    store.checkpoint(guild(2), epoch, checkpoint(&records[..number]), tell());
                    answers.recv().unwrap().unwrap();
                }
            }
            working.store(false, Ordering::Release);
        });
        while working.load(Ordering::Acquire) {
            let found = store.read(guild(1)).unwrap().unwrap();
            assert_same(&found.checkpoint.unwrap(), &checkpoint(&kept[..20]));
            assert_eq!(found.tail, kept[20..]);
        }
    });
    let counts = store.counts();
    assert!(counts.carried > 20 && counts.compacted > 20 && counts.segments_freed > 20, "{counts:?}");
    // Of some 60 segments of each log as many are left as what is live takes twice, and a few.
    for files in [&disk.records, &disk.checkpoints] {
        let left = files.list().unwrap().len();
        assert!(left <= 16, "{left} files are left");
    }
    drop(store);
    for writer in writers {
        assert_eq!(writer.join().unwrap(), Ok(()));
    }
}

#[test]
fn a_log_of_checkpoints_comes_down_though_each_group_is_longer_than_a_segment() {
    const GUILDS: u64 = 24;
    let config = EmbeddedConfig { small_bytes: 0, ..tiny() };
    let disk = Disk::with_store(&config);
    let mut opened = disk.open(&config).unwrap();
    let epochs: Vec<_> = (1..=GUILDS).map(|number| opened.claim(guild(number), 1).unwrap().epoch).collect();
    for round in 1..=60 {
        // Some rest for a while, in segments that many others leave.
        let due = (1..=GUILDS).filter(|number| round % (1 + number % 7) == 0);
        let told: Vec<_> = due
            .map(|number| {
                let epoch = epochs[(number - 1) as usize];
                let records: Vec<_> =
                    (1..=round).map(|record_number| record(epoch, record_number, number + record_number, 3)).collect();
                opened.save(guild(number), epoch, checkpoint(&records))
            })
            .collect();
        assert!(opened.checkpoints.step().unwrap());
        assert!(told.iter().all(|told| outcome(told) == Some(Ok(()))));
        let live = opened.store.live_bytes().checkpoints;
        let kept = 2 * live + config.slack_bytes + 2 * config.segment_bytes;
        if round > 20 {
            let bytes = disk.checkpoints.bytes();
            // And what this group has written itself: at most all that is live.
            assert!(bytes <= kept + live, "round {round}: {bytes} bytes, {live} live");
        }
    }
    assert!(opened.store.counts().segments_freed > 100);
}

#[test]
fn a_store_whose_writers_are_gone_can_be_read_and_not_written() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    drop((opened.records, opened.checkpoints));
    let (told, stored) = told();
    opened.store.append(Batch { guild: guild(1), epoch, records: vec![record(epoch, 1, 1, 0)] }, stored);
    assert!(matches!(outcome(&told), Some(Err(StoreError::Unavailable { .. }))));
    assert!(matches!(opened.store.claim(guild(1), Grant(1)), Err(StoreError::Unavailable { .. })));
}

#[test]
fn another_format_is_refused_by_name_and_a_directory_that_has_logs_and_no_identity_is_not_taken_for_new() {
    let disk = Disk::with_store(&tiny());
    let text = String::from_utf8(disk.root.contents("guildhall").unwrap()).unwrap();
    disk.root.replace("guildhall", text.replace("format 1", "format 2").into_bytes());
    let refused = disk.open(&tiny()).unwrap_err();
    assert!(matches!(refused, OpenError::Identity(IdentityError::Format { found: 2 })), "{refused}");

    let lost = Disk { root: Default::default(), ..disk };
    assert!(matches!(lost.open(&tiny()), Err(OpenError::Identity(IdentityError::Missing))));
    {
        // Something was stored.
        let disk = Disk::with_store(&tiny());
        disk.open(&tiny()).unwrap().claim(guild(1), 1).unwrap();
        let identity = disk.root.contents("guildhall").unwrap();
        let lost = Disk { root: Default::default(), ..disk };
        assert!(matches!(lost.create(&tiny()), Err(OpenError::Log { .. })));
        assert_eq!(lost.root.list().unwrap(), [""; 0], "no other identity is planted");
        lost.root.replace("guildhall", identity);
        assert_eq!(lost.open(&tiny()).unwrap().claim(guild(1), 1).unwrap().epoch, Epoch(2));
    }
}

#[test]
fn a_directory_is_opened_once() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("data");
    assert!(matches!(Directory::lock(&path), Err(DirectoryError::NoData { .. })));
    assert!(!path.exists(), "looking makes nothing");
    let config = EmbeddedConfig { segment_bytes: 64 * 1024, ..EmbeddedConfig::default() };
    let directory = Directory::make(&path).unwrap();
    EmbeddedStore::create(&directory, &identity(1), &config).unwrap();
    assert!(matches!(EmbeddedStore::create(&directory, &identity(1), &config), Err(OpenError::Exists)));
    let (store, records, checkpoints, _) = EmbeddedStore::open(directory, config.clone(), Arc::new(Alone)).unwrap();
    let refused = Directory::lock(&path).unwrap_err();
    assert!(matches!(refused, DirectoryError::InUse { .. }));
    assert!(refused.to_string().contains(path.to_str().unwrap()), "{refused}");
    drop(store);
    assert!(Directory::lock(&path).is_err(), "the writers still write");
    drop((records, checkpoints));
    let directory = Directory::lock(&path).unwrap();
    let (store, ..) = EmbeddedStore::open(directory, config, Arc::new(Alone)).unwrap();
    let expected: Identity = identity(1);
    assert_eq!((store.identity().cluster, store.identity().node), (expected.cluster, expected.node));
}

#[test]
fn no_file_can_be_removed_under_the_lock_and_many_may_look_while_nobody_writes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("data");
    let config = EmbeddedConfig { segment_bytes: 64 * 1024, ..EmbeddedConfig::default() };
    let directory = Directory::make(&path).unwrap();
    EmbeddedStore::create(&directory, &identity(1), &config).unwrap();
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() && file.file_name().unwrap() != "guildhall" {
            fs::remove_file(file).unwrap();
        }
    }
    let in_use = |opened: Result<Directory, DirectoryError>| matches!(opened, Err(DirectoryError::InUse { .. }));
    assert!(in_use(Directory::make(&path)) && in_use(Directory::lock(&path)) && in_use(Directory::look(&path)));
    drop(directory);

    let before = contents(&path);
    let [one, other] = [(); 2].map(|()| Inspection::open(Directory::look(&path).unwrap(), Arc::new(Alone)).unwrap());
    assert!(in_use(Directory::lock(&path)));
    assert_eq!((one.guilds(), other.guilds()), (vec![], vec![]));
    drop((one, other));
    assert!(Inspection::verify(Directory::look(&path).unwrap(), Arc::new(Alone)).unwrap().is_whole());
    assert_eq!(contents(&path), before);
    let read_only = EmbeddedStore::open(Directory::look(&path).unwrap(), config, Arc::new(Alone));
    assert!(matches!(read_only, Err(OpenError::Log { .. })), "it is for looking alone");
    assert_eq!(contents(&path), before);
}

/// The files in a directory and those under it, with what is in them.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| match path.is_dir() {
        true => contents(&path).into_iter().collect(),
        false => vec![(path.clone(), fs::read(&path).unwrap())],
    });
    files.collect()
}

#[test]
fn a_checkpoint_that_numbers_more_than_can_have_happened_is_damage() {
    for (records, seq) in [(u64::MAX, 1), (u64::MAX >> 1, u64::MAX), (1, u64::MAX)] {
        let disk = Disk::with_store(&tiny());
        let mut opened = disk.open(&tiny()).unwrap();
        let epoch = opened.claim(guild(1), 1).unwrap().epoch;
        let mut hostile = checkpoint(&[record(epoch, 1, 1, 1)]);
        (hostile.structure.records, hostile.structure.position.seq) = (records, Seq(seq));
        opened.save_now(guild(1), epoch, hostile).unwrap();
        let claim = opened.claim(guild(1), 1);
        assert!(matches!(claim, Err(StoreError::Corrupt { .. })), "{claim:?}");
    }
}
