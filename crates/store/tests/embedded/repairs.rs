//! A directory that an operator had repaired: what came back is all that there was, or it is told.

use std::sync::Arc;

use guildhall_log::LogError;
use guildhall_proto::{Grant, Millis, NodeId, Record};
use guildhall_store::{Alone, EmbeddedConfig, Inspection, Known, Logs, Seen, Store, StoreError, Verification, restore};

use crate::world::{Disk, assert_same, checkpoint, guild, record, tiny};

const GUILDS: u64 = 4;

/// Guilds with checkpoints of three moments, the records before the last of which are mostly given back, and a tail for two of them.
fn image() -> (Disk, Vec<Vec<Record>>) {
    let narrow = EmbeddedConfig { slack_bytes: 0, ..tiny() };
    // With room nothing is moved behind what is saved last.
    let roomy = EmbeddedConfig { slack_bytes: 1 << 30, ..tiny() };
    let disk = Disk::with_store(&narrow);
    let mut opened = disk.open(&narrow).unwrap();
    let mut all = vec![Vec::new(); GUILDS as usize];
    for moment in 0..3 {
        for number in 1..=GUILDS {
            if (moment, number) == (2, GUILDS) {
                drop(opened);
                opened = disk.open(&roomy).unwrap();
            }
            let epoch = opened.claim(guild(number), 1).unwrap().epoch;
            let records = &mut all[number as usize - 1];
            let next = records.len() as u64 + 1;
            let new: Vec<_> = (next..next + 20).map(|nth| record(epoch, nth, number * 1_000 + nth, 12)).collect();
            records.extend(new.iter().cloned());
            opened.append_now(guild(number), epoch, new).unwrap();
            // The first two are small enough to lie in one record.
            let reached = if moment < 2 || number % 2 == 0 { records.len() } else { records.len() - 7 };
            opened.save_now(guild(number), epoch, checkpoint(&records[..reached])).unwrap();
        }
    }
    (disk, all)
}

fn logs(disk: &Disk) -> Logs {
    Logs::of(disk.directory())
}

/// The last record of a guild in the log of checkpoints.
fn last_checkpoint_of(disk: &Disk, number: u64) -> Seen {
    let mut last = None;
    let is_its = |seen: &Seen| seen.log == "checkpoints" && seen.head.guild == number;
    logs(disk).read(|seen| last = is_its(&seen).then_some(seen).or(last)).unwrap();
    last.unwrap()
}

fn verify(disk: &Disk) -> Verification {
    Inspection::verify(disk.directory(), Arc::new(Alone)).unwrap()
}

/// The guilds that came back as they were not, by their numbers, though nobody was told.
fn rolled_back(disk: &Disk, all: &[Vec<Record>]) -> Vec<u64> {
    let inspection = Inspection::open(disk.directory(), Arc::new(Alone)).unwrap();
    let mut silent = Vec::new();
    for (number, records) in (1..).zip(all) {
        match inspection.read(guild(number)) {
            Ok(None) => silent.push(number),
            Ok(Some(stored)) => {
                let covered = stored.checkpoint.map_or(0, |checkpoint| checkpoint.structure.records as usize);
                if records[covered..] != stored.tail {
                    silent.push(number);
                }
            }
            Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error}"),
        }
    }
    silent
}

#[test]
fn a_guild_that_a_repair_has_cut_is_named_and_stays_away() {
    let (disk, all) = image();
    let mut places = Vec::new();
    logs(&disk).read(|seen| places.push((seen.log, seen.place))).unwrap();
    let (mut stayed_away, mut unreadable) = (0, 0);
    for (log, place) in places {
        // In its payload, which leaves its head whole, or in its head.
        for offset in [place.offset + 48, place.offset + 20] {
            if offset == place.offset + 48 && place.bytes == 0 {
                continue;
            }
            let copy = disk.copy();
            let files = if log == "records" { &copy.records } else { &copy.checkpoints };
            assert!(files.flip(&format!("{:012}.log", place.segment), offset, 1));
            let foreseen = logs(&copy).foresee().unwrap();
            let repaired = logs(&copy).repair(&tiny(), Millis(1)).unwrap();
            let of_both = [repaired.records, repaired.checkpoints];
            let lost: u64 = of_both.iter().map(|repaired| repaired.unreadable).sum();
            assert_eq!(lost, foreseen.records.unreadable + foreseen.checkpoints.unreadable);
            assert!(of_both.iter().any(|repaired| repaired.records_lost > 0), "the bad one itself");
            let verified = verify(&copy);
            assert_eq!(verified.guilds.len() + verified.damaged.len(), GUILDS as usize, "each is there, or named");
            stayed_away += verified.damaged.len();
            // Of one record it is not known whose it was.
            let silent = rolled_back(&copy, &all);
            assert!(silent.len() as u64 <= lost, "{log} {place:?} {offset}: {silent:?} of {lost}");
            unreadable += lost;
        }
    }
    assert!(stayed_away > 20 && unreadable > 20, "{stayed_away} {unreadable}");
}

#[test]
fn a_guild_that_is_wholly_lost_is_named_and_not_made_anew_until_that_is_accepted() {
    let (disk, _) = image();
    // From the first record on nothing of the log of checkpoints is left, and of the second guild no records are.
    let mut first = None;
    logs(&disk).read(|seen| first = first.or((seen.log == "checkpoints").then_some(seen.place))).unwrap();
    let place = first.unwrap();
    disk.checkpoints.flip(&format!("{:012}.log", place.segment), place.offset + 48, 1);
    assert!(matches!(verify(&disk).checkpoints.bad, Some(LogError::Corrupt { .. })));
    for _ in 0..2 {
        // Of the second there is nothing to do, and it forgets nothing.
        logs(&disk).repair(&tiny(), Millis(1)).unwrap();
        let opened = disk.open(&tiny()).unwrap();
        assert_eq!(opened.report.guilds as u64, GUILDS);
        assert_eq!(opened.store.knows(guild(2)), Ok(Known::Something));
        let refused = opened.store.begin_claim(guild(2), Grant(1)).unwrap_err();
        assert!(matches!(&refused, StoreError::Corrupt { what } if what.contains("record 60")), "{refused}");
    }
    logs(&disk).accept().unwrap();
    let mut opened = disk.open(&tiny()).unwrap();
    assert_eq!(opened.store.knows(guild(2)), Ok(Known::Nothing));
    let claim = opened.claim(guild(2), 1).unwrap();
    assert!(claim.checkpoint.is_none() && claim.tail.is_empty());
}

#[test]
fn a_guild_that_lacks_nothing_comes_back_from_a_repair() {
    let (disk, all) = image();
    // The last that was made: what it covers is still there.
    let last = last_checkpoint_of(&disk, GUILDS);
    disk.checkpoints.flip(&format!("{:012}.log", last.place.segment), last.place.offset + 48, 1);
    let repaired = logs(&disk).repair(&tiny(), Millis(1)).unwrap();
    assert_eq!((repaired.checkpoints.records_lost, repaired.checkpoints.unreadable), (1, 0));
    assert!(verify(&disk).is_whole());
    let identity = String::from_utf8(disk.root.contents("guildhall").unwrap()).unwrap();
    assert!(!identity.contains("reached"), "{identity}");

    let mut opened = disk.open(&tiny()).unwrap();
    let claim = opened.claim(guild(last.head.guild), 1).unwrap();
    let records = &all[last.head.guild as usize - 1];
    assert_same(&claim.checkpoint.unwrap(), &checkpoint(&records[..40]));
    assert_eq!(claim.tail, records[40..]);
}

#[test]
fn what_a_crash_cut_short_is_nobodys_loss_in_a_repair() {
    let (disk, all) = image();
    let mut opened = disk.open(&tiny()).unwrap();
    let epoch = opened.claim(guild(2), 2).unwrap().epoch;
    // On its way to the disk when the power goes: its head is written, and of the rest nothing.
    drop(opened.append(guild(2), epoch, vec![record(epoch, 61, 1, 99)]));
    opened.drive().unwrap();
    drop(opened);
    let mut torn = None;
    logs(&disk).read(|seen| torn = (seen.kind == "records").then_some(seen).or(torn)).unwrap();
    let torn = torn.unwrap();
    assert_eq!((torn.head.guild, torn.head.seq), (2, 61));
    let name = format!("{:012}.log", torn.place.segment);
    let mut bytes = disk.records.contents(&name).unwrap();
    bytes[torn.place.offset as usize + 48 + 8..].fill(0);
    disk.records.replace(&name, bytes);
    // Beside it, damage in the other log.
    let last = last_checkpoint_of(&disk, GUILDS);
    disk.checkpoints.flip(&format!("{:012}.log", last.place.segment), last.place.offset + 48, 1);
    assert!(verify(&disk).records.found.torn.is_some());

    logs(&disk).repair(&tiny(), Millis(1)).unwrap();
    let mut opened = disk.open(&tiny()).unwrap();
    let claim = opened.claim(guild(2), 3).unwrap();
    assert_eq!(claim.checkpoint.unwrap().structure.records as usize + claim.tail.len(), all[1].len());
}

#[test]
fn a_restore_behind_a_repair_gives_higher_epochs() {
    let (disk, _) = image();
    let mut archive = Vec::new();
    Inspection::open(disk.directory(), Arc::new(Alone)).unwrap().backup(&mut archive, Millis(1)).unwrap();
    let repaired_at = Millis(1_790_000_000_000);
    for later in [1_100, 86_400_000, 40 * 365 * 86_400_000] {
        let broken = disk.copy();
        let mut last = None;
        logs(&broken).read(|seen| last = (seen.log == "records").then_some(seen.place).or(last)).unwrap();
        let last = last.unwrap();
        broken.records.flip(&format!("{:012}.log", last.segment), last.offset + 20, 1);
        logs(&broken).repair(&tiny(), repaired_at).unwrap();
        logs(&broken).accept().unwrap();
        let given = broken.open(&tiny()).unwrap().claim(guild(3), 9).unwrap().epoch;

        let restored = Disk::default();
        let now = Millis(repaired_at.0 + later);
        let (node, random) = (NodeId::new(2).unwrap(), [9; 40]);
        restore(&mut &archive[..], &restored.directory(), node, random, now, &tiny(), Arc::new(Alone)).unwrap();
        assert!(restored.open(&tiny()).unwrap().claim(guild(3), 9).unwrap().epoch > given, "{later}");
    }
}
