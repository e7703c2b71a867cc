//! Archives of a store, made while it runs and when it is stopped, and stores made of them.

use std::sync::Arc;

use guildhall_log::files::{Failure, Fault, Files, Site};
use guildhall_proto::{Epoch, Millis, NodeId, Record};
use guildhall_store::{
    Alone, ArchiveError, BackupReport, EmbeddedConfig, EmbeddedStore, IdentityError, Inspection, Known, OpenError,
    RestoreError, Store, StoreError, prove, restore,
};

use crate::world::{Disk, Opened, assert_same, checkpoint, guild, record, tiny};

/// Three guilds: in parts with a tail, in one piece without, and without a checkpoint.
fn fill(opened: &mut Opened) -> Vec<Vec<Record>> {
    [(1, 40, 47), (2, 3, 3), (3, 0, 5)]
        .map(|(number, covered, records)| {
            let epoch = opened.claim(guild(number), number).unwrap().epoch;
            let records: Vec<_> = (1..=records).map(|n| record(epoch, n, n * 5 + number, 2)).collect();
            for records in records.chunks(4) {
                opened.append_now(guild(number), epoch, records.to_vec()).unwrap();
            }
            if covered > 0 {
                opened.save_now(guild(number), epoch, checkpoint(&records[..covered])).unwrap();
            }
            records
        })
        .to_vec()
}

fn restored(archive: &[u8], now: Millis) -> Result<(Disk, BackupReport), RestoreError> {
    let disk = Disk::default();
    let (node, config) = (NodeId::new(9).unwrap(), tiny());
    let report = restore(&mut &*archive, &disk.directory(), node, [3; 40], now, &config, Arc::new(Alone))?;
    Ok((disk, report))
}

#[test]
fn a_store_restored_from_a_backup_made_while_it_runs_has_all_guilds_under_higher_epochs() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let guilds = fill(&mut opened);
    let mut archive = Vec::new();
    let made = opened.store.backup(&mut archive, Millis(5)).unwrap();
    assert_eq!((made.guilds, made.bytes), (3, archive.len() as u64));
    // What comes later is not in it.
    let epoch = opened.claim(guild(2), 2).unwrap().epoch;
    opened.append_now(guild(2), epoch, vec![record(epoch, 4, 4, 0)]).unwrap();

    let now = Millis(1_700_000_000_000);
    let (disk, report) = restored(&archive, now).unwrap();
    assert_eq!(report.guilds, 3);
    assert_eq!(prove(&mut &*archive).unwrap(), report);
    let mut opened = disk.open(&tiny()).unwrap();
    assert_eq!(opened.store.identity().cluster, 1);
    assert_eq!(opened.store.identity().node, NodeId::new(9).unwrap());
    for (number, records) in (1..).zip(&guilds) {
        let stale = opened.store.begin_claim(guild(number), guildhall_proto::Grant(number - 1));
        assert!(stale.is_err(), "grants never fall");
        let claim = opened.claim(guild(number), number).unwrap();
        assert_eq!(claim.epoch, Epoch((1_700_000_000_000 << 22) + 1));
        let covered = claim.checkpoint.as_ref().map_or(0, |found| found.structure.records) as usize;
        if let Some(found) = &claim.checkpoint {
            assert_same(found, &checkpoint(&records[..covered]));
        }
        assert_eq!(claim.tail, records[covered..]);
    }
    // A restored store is restored again, above its own epochs, whatever the clock says.
    let mut archive = Vec::new();
    opened.store.backup(&mut archive, Millis(6)).unwrap();
    let (disk, _) = restored(&archive, Millis(0)).unwrap();
    let claim = disk.open(&tiny()).unwrap().claim(guild(1), 1).unwrap();
    assert!(claim.epoch > Epoch((1_700_000_000_000 << 22) + 1));
}

#[test]
fn a_backup_restored_twice_within_a_moment_gives_no_epoch_twice() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    fill(&mut opened);
    let mut archive = Vec::new();
    opened.store.backup(&mut archive, Millis(5)).unwrap();
    let epoch_from = |now| restored(&archive, now).unwrap().0.open(&tiny()).unwrap().claim(guild(1), 1).unwrap().epoch;
    let first = epoch_from(Millis(1_700_000_000_000));
    assert!(epoch_from(Millis(1_700_000_000_001)).0 > first.0 + (1 << 20), "and many claims come between");
}

#[test]
fn a_stopped_directory_gives_the_same_archive_and_is_not_changed() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    fill(&mut opened);
    let mut online = Vec::new();
    opened.store.backup(&mut online, Millis(5)).unwrap();
    drop(opened);
    let changes = disk.all().map(|files| files.counters().changes);
    let mut offline = Vec::new();
    let inspection = Inspection::open(disk.directory(), Arc::new(Alone)).unwrap();
    inspection.backup(&mut offline, Millis(5)).unwrap();
    assert_eq!(disk.all().map(|files| files.counters().changes), changes);
    assert!(online == offline);
}

#[test]
fn a_damaged_archive_is_refused_and_leaves_no_store() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(1), 1).unwrap().epoch;
    let records: Vec<_> = (1..=6).map(|n| record(epoch, n, n, 1)).collect();
    opened.append_now(guild(1), epoch, records.clone()).unwrap();
    opened.save_now(guild(1), epoch, checkpoint(&records[..4])).unwrap();
    let mut archive = Vec::new();
    opened.store.backup(&mut archive, Millis(5)).unwrap();
    assert!(restored(&archive, Millis(5)).is_ok());

    for at in 0..archive.len() {
        let mut flipped = archive.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(matches!(restored(&flipped, Millis(5)), Err(RestoreError::Archive(_))), "byte {at}");
        assert!(matches!(restored(&archive[..at], Millis(5)), Err(RestoreError::Archive(_))), "cut at {at}");
        assert!(prove(&mut &*flipped).is_err() && prove(&mut &archive[..at]).is_err(), "byte {at}");
    }
    let proved = prove(&mut &*archive).unwrap();
    assert_eq!((proved.guilds, proved.records, proved.bytes), (1, 6, archive.len() as u64));
    archive.push(0);
    assert!(matches!(prove(&mut &*archive), Err(ArchiveError::Damaged { .. })));
    assert!(matches!(restored(&archive, Millis(5)), Err(RestoreError::Archive(ArchiveError::Damaged { .. }))));

    let disk = Disk::default();
    let (node, config) = (NodeId::new(9).unwrap(), EmbeddedConfig::default());
    let cut = &archive[..archive.len() - 9];
    let refused = restore(&mut &*cut, &disk.directory(), node, [3; 40], Millis(5), &config, Arc::new(Alone));
    assert!(refused.is_err());
    assert!(disk.open(&config).is_err(), "no store was left behind");
}

#[test]
fn a_store_is_not_restored_over() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    fill(&mut opened);
    let mut archive = Vec::new();
    opened.store.backup(&mut archive, Millis(5)).unwrap();
    drop(opened);
    let refused = restore(&mut &*archive, &disk.directory(), NodeId::MIN, [3; 40], Millis(5), &tiny(), Arc::new(Alone));
    assert!(matches!(refused, Err(RestoreError::Store(OpenError::Exists))));
    let (store, ..) = EmbeddedStore::open(disk.directory(), tiny(), Arc::new(Alone)).unwrap();
    assert_eq!(store.knows(guild(1)), Ok(Known::Something));
}

#[test]
fn a_restore_that_failed_or_was_killed_is_begun_again() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    fill(&mut opened);
    let mut archive = Vec::new();
    opened.store.backup(&mut archive, Millis(5)).unwrap();
    let guilds = opened.store.guilds();
    let restore_into = |disk: &Disk, mut archive: &[u8]| {
        restore(&mut archive, &disk.directory(), NodeId::MIN, [3; 40], Millis(5), &tiny(), Arc::new(Alone))
    };
    let is_whole = |disk: &Disk| disk.open(&tiny()).unwrap().store.guilds() == guilds;

    let cut = Disk::default();
    assert!(restore_into(&cut, &archive[..archive.len() / 2]).is_err());
    let unfinished = cut.open(&tiny()).unwrap_err();
    assert!(matches!(unfinished, OpenError::Identity(IdentityError::Unfinished)), "{unfinished}");
    restore_into(&cut, &archive).unwrap();
    assert!(is_whole(&cut));

    let mut killed = 0;
    for after in 0..60 {
        let disk = Disk::default();
        for files in disk.all() {
            files.fail(Fault { site: Site::Any, after, times: 1, failure: Failure::PowerOff });
        }
        killed += u64::from(restore_into(&disk, &archive).is_err());
        disk.power_cut(after, 512);
        match restore_into(&disk, &archive) {
            Ok(_) | Err(RestoreError::Store(OpenError::Exists)) => assert!(is_whole(&disk)),
            Err(error) => panic!("{after}: {error}"),
        }
    }
    assert!(killed > 20, "{killed}");

    // Another log in its place is not one of the restore's to remove.
    let unfinished = Disk::default();
    assert!(restore_into(&unfinished, &archive[..archive.len() / 2]).is_err());
    let other = Disk { records: disk.records.copy(), ..unfinished };
    let before = other.records.list().unwrap();
    assert!(matches!(restore_into(&other, &archive), Err(RestoreError::Store(OpenError::Log { .. }))));
    assert_eq!(other.records.list().unwrap(), before);
}

#[test]
fn a_guild_with_a_hole_is_left_out_of_a_backup_and_the_others_can_be_restored() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let guilds = fill(&mut opened);
    let epoch = opened.claim(guild(2), 2).unwrap().epoch;
    opened.append_now(guild(2), epoch, vec![record(epoch, 9, 9, 0)]).unwrap();
    let mut archive = Vec::new();
    let made = opened.store.backup(&mut archive, Millis(5)).unwrap();
    assert_eq!(made.guilds, 2);
    let left_out: Vec<_> = made.left_out.iter().map(|(guild, _)| *guild).collect();
    assert_eq!(left_out, [guild(2)]);

    let (disk, report) = restored(&archive, Millis(0)).unwrap();
    assert_eq!(report.guilds, 2);
    assert!(matches!(&report.left_out[..], [(left_out, _)] if *left_out == guild(2)), "{report:?}");
    let mut opened = disk.open(&tiny()).unwrap();
    // Nobody makes it anew, and has what was applied once applied again.
    assert_eq!(opened.store.knows(guild(2)), Ok(Known::Something));
    assert!(matches!(opened.claim(guild(2), 3).map(drop), Err(StoreError::Corrupt { .. })));
    assert_eq!(opened.claim(guild(3), 3).unwrap().tail, guilds[2]);
}

#[test]
fn a_restored_store_is_above_the_epochs_of_guilds_that_were_claimed_and_never_written() {
    let disk = Disk::with_store(&tiny());
    let mut opened = disk.open(&tiny()).unwrap();
    let mut epoch = Epoch(0);
    for _ in 0..9 {
        epoch = opened.claim(guild(7), 1).unwrap().epoch;
    }
    let mut archive = Vec::new();
    opened.store.backup(&mut archive, Millis(5)).unwrap();
    let (disk, _) = restored(&archive, Millis(0)).unwrap();
    assert!(disk.open(&tiny()).unwrap().claim(guild(7), 1).unwrap().epoch > epoch);
}
