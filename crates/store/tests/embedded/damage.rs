//! A directory whose bytes have changed: an error that says where, or the same answer.

use std::sync::Arc;

use guildhall_log::MemoryFiles;
use guildhall_log::files::Files;
use guildhall_proto::{Epoch, GuildId, Record};
use guildhall_store::{Alone, EmbeddedConfig, EmbeddedStore, Inspection, OpenError, StoreError};

use crate::world::{Disk, assert_same, checkpoint, guild, identity, record, tiny};

/// A directory with a guild in parts, one in one piece and one without a checkpoint, and what is stored of them.
struct Stored {
    disk: Disk,
    guilds: Vec<(GuildId, usize, Vec<Record>)>,
}

impl Stored {
    fn new() -> Self {
        let config = EmbeddedConfig { small_bytes: 420, ..tiny() };
        let disk = Disk::with_store(&config);
        let mut opened = disk.open(&config).unwrap();
        let mut guilds = Vec::new();
        for (number, covered, records) in [(1, 24, 30), (2, 2, 4), (3, 0, 3)] {
            let guild = guild(number);
            let epoch = opened.claim(guild, number).unwrap().epoch;
            let records: Vec<_> = (1..=records).map(|n| record(epoch, n, n * 5 + number, 2)).collect();
            for records in records.chunks(3) {
                opened.append_now(guild, epoch, records.to_vec()).unwrap();
            }
            if covered > 0 {
                opened.save_now(guild, epoch, checkpoint(&records[..covered])).unwrap();
            }
            guilds.push((guild, covered, records));
        }
        let counts = opened.store.counts();
        assert!(counts.parts_written > 4 && counts.checkpoints == 2, "{counts:?}");
        drop(opened);
        Self { disk, guilds }
    }

    /// Reads all guilds: each as it was, or with an error that says what is damaged. Returns whether there was an error.
    fn look(&self, file: &str) -> bool {
        let inspection = match Inspection::open(self.disk.directory(), Arc::new(Alone)) {
            Ok(inspection) => inspection,
            Err(error) => {
                assert!(error.to_string().contains(file.rsplit('/').next().unwrap()), "{file}: {error}");
                return true;
            }
        };
        let mut is_damaged = false;
        assert_eq!(inspection.guilds().len(), self.guilds.len(), "{file}: a guild is gone");
        for (guild, covered, records) in &self.guilds {
            match inspection.read(*guild) {
                Ok(found) => {
                    let found = found.unwrap();
                    assert_eq!(found.epoch, Epoch(1));
                    assert_eq!(found.grant.0, guild.get());
                    assert_eq!(found.checkpoint.is_some(), *covered > 0);
                    if let Some(found) = &found.checkpoint {
                        assert_same(found, &checkpoint(&records[..*covered]));
                    }
                    assert_eq!(found.tail, records[*covered..]);
                }
                Err(StoreError::Corrupt { what }) => {
                    assert!(what.contains(file), "{file}: {what}");
                    is_damaged = true;
                }
                Err(error) => panic!("{file}: {error}"),
            }
        }
        is_damaged
    }

    fn files(&self) -> Vec<(&'static str, &MemoryFiles, String)> {
        let mut files = Vec::new();
        let folders = ["", "records/", "checkpoints/"];
        for (folder, disk) in folders.into_iter().zip(self.disk.all()) {
            files.extend(disk.list().unwrap().into_iter().map(|name| (folder, disk, name)));
        }
        files
    }
}

#[test]
fn each_byte_flipped_is_told_or_does_not_matter() {
    let stored = Stored::new();
    assert!(!stored.look("nothing is wrong"));
    let (mut told, mut dead, mut unseen) = (0, 0, 0);
    for (folder, disk, name) in stored.files() {
        if name == "spare.log" {
            continue;
        }
        let file = format!("{folder}{name}");
        let bytes = disk.contents(&name).unwrap();
        // What lies behind the last record is zeros: a flipped one of them is looked at here and there.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let offsets = (0..end).chain((end..bytes.len() as u64).step_by(97));
        for offset in offsets {
            disk.flip(&name, offset, 1 << (offset % 8));
            if stored.look(&file) {
                told += 1;
            } else if Inspection::verify(stored.disk.directory(), Arc::new(Alone)).unwrap().is_whole() {
                unseen += 1;
            } else {
                dead += 1;
            }
            disk.flip(&name, offset, 1 << (offset % 8));
        }
    }
    // Whoever reads all guilds is told; of records that a checkpoint covers, whoever verifies. What is left is the last mark of each
    // log, without which what lies before it is whole all the same, and the zeros behind it.
    assert!(told > 4_000 && dead > 100, "{told} {dead}");
    assert!(unseen < 300, "{unseen}");
}

#[test]
fn files_cut_emptied_removed_lengthened_and_exchanged_are_told() {
    let stored = Stored::new();
    for (folder, disk, name) in stored.files() {
        if name == "spare.log" {
            continue;
        }
        let file = format!("{folder}{name}");
        let whole = disk.contents(&name).unwrap();
        for len in [0, 1, 8, 63, 64, 65, 100, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            disk.replace(&name, whole[..len].to_vec());
            assert!(stored.look(&file), "{file} cut to {len}");
        }
        let mut longer = whole.clone();
        longer.extend([7; 100]);
        disk.replace(&name, longer);
        // A log knows where its files end; an identity has no bytes to spare.
        assert_eq!(stored.look(&file), folder.is_empty(), "{file} lengthened");
        disk.replace(&name, whole.clone());

        disk.remove(&name).unwrap();
        let refused = Inspection::open(stored.disk.directory(), Arc::new(Alone));
        let is_told = match (&refused, folder) {
            (Err(error), _) => error.to_string().contains(&name),
            (Ok(_), _) => stored.look(&file),
        };
        assert!(is_told, "{file} removed");
        disk.replace(&name, whole.clone());

        for (_, other_disk, other) in stored.files() {
            let bytes = other_disk.contents(&other).unwrap();
            if bytes != whole && other != "spare.log" {
                disk.replace(&name, bytes);
                assert!(stored.look(&file), "{file} replaced with {other}");
            }
        }
        disk.replace(&name, whole);
    }
    assert!(!stored.look("all is as it was"));
}

#[test]
fn files_of_another_directory_are_foreign() {
    let stored = Stored::new();
    let other = Disk::default();
    EmbeddedStore::create(&other.directory(), &identity(2), &tiny()).unwrap();
    for (files, others) in stored.disk.all().into_iter().zip(other.all()).skip(1) {
        let name = "000000000001.log";
        let whole = files.contents(name).unwrap();
        files.replace(name, others.contents(name).unwrap());
        assert!(stored.look(name));
        files.replace(name, whole);
    }
    // The identity says which logs belong to it.
    stored.disk.root.replace("guildhall", other.root.contents("guildhall").unwrap());
    let refused = Inspection::open(stored.disk.directory(), Arc::new(Alone)).unwrap_err();
    assert!(matches!(refused, OpenError::Log { .. }), "{refused}");
}

#[test]
fn verification_names_what_is_damaged() {
    let stored = Stored::new();
    let verification = Inspection::verify(stored.disk.directory(), Arc::new(Alone)).unwrap();
    assert!(verification.is_whole());
    assert_eq!(verification.guilds.len(), 3);
    assert!(verification.read().0 > 10);

    let name = "000000000001.log";
    stored.disk.checkpoints.flip(name, 200, 1);
    let verification = Inspection::verify(stored.disk.directory(), Arc::new(Alone)).unwrap();
    assert!(!verification.is_whole());
    let bad = verification.checkpoints.bad.unwrap().to_string();
    assert!(bad.contains(name) && bad.contains("offset"), "{bad}");
}
