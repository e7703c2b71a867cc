//! Opening: the rows, from the heads of both logs' records.
//!
//! The log of checkpoints is read first: of each guild the last manifest is in force, for the writer never puts an older one behind a
//! newer. Then the log of records: what no checkpoint covers is live. Records that were carried forward lie there twice, and of those the
//! later place counts.

use std::collections::BTreeMap;

use guildhall_log::{Head, Kind, Place};
use guildhall_proto::{Epoch, Grant, GuildId};

use super::checkpoint_writer::{LOST_CHECKPOINT, MANIFEST, PART, WHOLE};
use super::directory::{CHECKPOINTS, RECORDS};
use super::manifest::Manifest;
use super::record_writer::{CLAIM, LOST_RECORD, RECORD};
use super::rows::{Entry, Kept, Rows, Spot};

/// The rows in the making.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    checkpoints: BTreeMap<GuildId, CheckpointFound>,
    guilds: BTreeMap<GuildId, RecordsFound>,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct CheckpointFound {
    spot: Spot,
    epoch: Epoch,
    records: u64,
    shares: Vec<(u32, u64)>,
}

#[derive(Debug, Default)]
struct RecordsFound {
    epoch: Epoch,
    /// The claim of the highest epoch, with its grant and where it lies.
    claim: Option<(Epoch, Grant, u32)>,
    /// By the number of the last record of each chunk.
    entries: BTreeMap<u64, Spot>,
}

/// A record that is whole, and that no store has written.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) log: &'static str,
    pub(crate) place: Place,
    pub(crate) guild: u64,
    pub(crate) what: &'static str,
}

impl Recovery {
    /// Whether a record of the log of checkpoints is to be shown with its payload.
    pub(crate) fn wants(kind: Kind) -> bool {
        kind == MANIFEST
    }

    /// Takes a record of the log of checkpoints, in order.
    pub(crate) fn checkpoint(&mut self, place: Place, head: Head, bytes: Option<&[u8]>) {
        let fault = |what| Fault { log: CHECKPOINTS, place, guild: head.guild, what };
        let Ok(guild) = GuildId::new(head.guild) else {
            self.fault.get_or_insert(fault("its guild is none"));
            return;
        };
        let spot = Spot::of(place);
        let shares = match head.kind {
            PART => return,
            WHOLE | LOST_CHECKPOINT => vec![(spot.segment, spot.bytes())],
            MANIFEST => match bytes.map(Manifest::decode) {
                Some(Ok(manifest)) => manifest.shares(spot),
                Some(Err(_)) | None => {
                    self.fault.get_or_insert(fault("it is no manifest"));
                    return;
                }
            },
            _ => {
                self.fault.get_or_insert(fault("its kind is none of a checkpoint's"));
                return;
            }
        };
        let found = CheckpointFound { spot, epoch: Epoch(head.epoch), records: head.seq, shares };
        self.checkpoints.insert(guild, found);
    }

    /// Takes a record of the log of records, in order, when all checkpoints have been taken.
    pub(crate) fn record(&mut self, place: Place, head: Head) {
        let fault = |what| Fault { log: RECORDS, place, guild: head.guild, what };
        let Ok(guild) = GuildId::new(head.guild) else {
            self.fault.get_or_insert(fault("its guild is none"));
            return;
        };
        let (covered, covered_epoch) =
            self.checkpoints.get(&guild).map_or((0, None), |found| (found.records, Some(found.epoch)));
        let (epoch, spot) = (Epoch(head.epoch), Spot::of(place));
        match head.kind {
            CLAIM if covered_epoch.is_some_and(|covered| epoch <= covered) => {}
            CLAIM => {
                let found = self.guilds.entry(guild).or_default();
                found.epoch = found.epoch.max(epoch);
                if found.claim.is_none_or(|(before, _, _)| before <= epoch) {
                    found.claim = Some((epoch, Grant(head.seq), spot.segment));
                }
            }
            RECORD | LOST_RECORD if head.seq <= covered => {}
            RECORD | LOST_RECORD => {
                let found = self.guilds.entry(guild).or_default();
                found.epoch = found.epoch.max(epoch);
                found.entries.insert(head.seq, spot);
            }
            _ => {
                self.fault.get_or_insert(fault("its kind is none of a guild's"));
            }
        }
    }

    /// The rows. Of `reached`, which a repair has left, those guilds stay away that have fewer records.
    pub(crate) fn finish(self, reached: &BTreeMap<GuildId, u64>) -> Result<Rows, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut rows = Rows::default();
        for (guild, number) in reached {
            let covered = self.checkpoints.get(guild).map_or(0, |found| found.records);
            let last = self.guilds.get(guild).and_then(|found| found.entries.last_key_value());
            if covered.max(last.map_or(0, |(last, _)| *last)) < *number {
                rows.cut.insert(*guild, *number);
                rows.guilds.entry(*guild).or_default();
            }
        }
        for (guild, found) in self.checkpoints {
            rows.guilds.entry(guild).or_default().epoch = found.epoch;
            let CheckpointFound { spot, epoch, records, shares } = found;
            rows.covered(guild, Kept { spot, epoch, records, shares: &shares }, Some(&[]));
        }
        for (guild, found) in self.guilds {
            let row = rows.guilds.entry(guild).or_default();
            row.epoch = row.epoch.max(found.epoch);
            if let Some((_, grant, segment)) = found.claim {
                row.grant = grant;
                rows.claimed(guild, segment);
            }
            for (last, spot) in found.entries {
                rows.appended(guild, Entry { last, spot });
            }
        }
        Ok(rows)
    }
}
