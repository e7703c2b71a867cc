//! What is known of each guild without reading a file: its epoch, and where its checkpoint and its records lie.
//!
//! Of a guild that sleeps, the row is all there is in memory.
//!
//! Invariants, under the lock:
//! - a guild's entries are records that no checkpoint of it covers, ascending;
//! - `records` and `checkpoints` count what is live in each segment of the two logs: entries, claims that no checkpoint repeats,
//!   checkpoints with their parts. What is not counted there may be cut off.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_log::Place;
use guildhall_proto::{Epoch, Grant, GuildId};

use super::bytes::{Cursor, Malformed, Put};
use super::loading::damaged;
use crate::{Known, StoreError};

/// All rows, and what else the two writers and the callers share.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) guilds: BTreeMap<GuildId, Row>,
    /// Those that are known to be deleted, for nobody has looked at the others since the store was opened.
    pub(crate) deleted: BTreeSet<GuildId>,
    /// Those that a repair has cut, or that a backup left out, with the number of the last record that they had: they stay away. They have
    /// rows too.
    pub(crate) cut: BTreeMap<GuildId, u64>,
    pub(crate) records: Live,
    pub(crate) checkpoints: Live,
    /// Claims on their way to the disk, with how they turned out.
    pub(crate) claims: BTreeMap<(GuildId, Epoch), Option<Result<(), StoreError>>>,
    /// The guilds whose checkpoints are being put in the place of those before.
    pub(crate) replacing: BTreeSet<GuildId>,
    /// Why the store does nothing any more.
    pub(crate) failed: Option<String>,
}

/// What is known of a guild.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The epoch in force, settled or on its way to the disk.
    pub(crate) epoch: Epoch,
    /// The latest grant seen. That of a guild asleep since the store was opened stands in its checkpoint alone.
    pub(crate) grant: Grant,
    pub(crate) checkpoint: Option<Spot>,
    /// The segment of the last claim, unless a checkpoint has its epoch and grant.
    pub(crate) claim: Option<u32>,
    pub(crate) awake: Option<Box<Awake>>,
}

/// What only a guild in use has.
#[derive(Debug, Default)]
pub(crate) struct Awake {
    /// Whether a batch of the epoch in force was refused: then all later ones are.
    pub(crate) is_refused: bool,
    pub(crate) entries: Vec<Entry>,
}

/// Records of one guild that lie together in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The number of the last of them.
    pub(crate) last: u64,
    pub(crate) spot: Spot,
}

/// A [`Place`] in fewer bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) segment: u32,
    offset: u32,
    bytes: u32,
}

impl Rows {
    /// What is in force, or why nothing is.
    pub(crate) fn working(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some(reason) => Err(StoreError::Unavailable { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// What is known of a guild without reading it.
    pub(crate) fn known(&self, guild: GuildId) -> Known {
        match self.guilds.get(&guild) {
            _ if self.cut.contains_key(&guild) => Known::Something,
            Some(_) if self.deleted.contains(&guild) => Known::Deleted,
            Some(row) if row.is_stored() => Known::Something,
            Some(_) | None => Known::Nothing,
        }
    }

    /// Refuses a writer that is not the owner in force.
    pub(crate) fn fence(&self, guild: GuildId, got: Epoch) -> Result<(), StoreError> {
        self.working()?;
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::FenceUnchecked.is_on() {
            return Ok(());
        }
        let current = self.guilds.get(&guild).map_or(Epoch::default(), |row| row.epoch);
        if got == current { Ok(()) } else { Err(StoreError::Fenced { got, current }) }
    }

    /// Refuses to read a guild that is not what it was.
    pub(crate) fn whole(&self, guild: GuildId) -> Result<(), StoreError> {
        match self.cut.get(&guild) {
            Some(number) => Err(damaged(guild, format!("what it had stored is lost, up to record {number}"))),
            None => Ok(()),
        }
    }

    /// The number of the last record that a damaged guild is known to have had, at least 1.
    pub(crate) fn reached(&self, guild: GuildId) -> u64 {
        let last = self.guilds.get(&guild).and_then(|row| row.entries().last()).map_or(0, |entry| entry.last);
        self.cut.get(&guild).map_or(last, |cut| last.max(*cut)).max(1)
    }

    /// The guilds of which anything is stored, or was before a repair cut it off, ascending.
    pub(crate) fn stored(&self) -> impl Iterator<Item = GuildId> {
        let is_one = |(guild, row): &(&GuildId, &Row)| row.is_stored() || self.cut.contains_key(guild);
        self.guilds.iter().filter(is_one).map(|(guild, _)| *guild)
    }

    /// A batch of this epoch was refused.
    pub(crate) fn refuse(&mut self, guild: GuildId, epoch: Epoch) {
        if let Some(row) = self.guilds.get_mut(&guild).filter(|row| row.epoch == epoch) {
            row.awake().is_refused = true;
        }
    }

    /// A claim lies in the log. It is live until a checkpoint repeats it.
    pub(crate) fn claimed(&mut self, guild: GuildId, at: u32) {
        let row = self.guilds.entry(guild).or_default();
        if let Some(before) = row.claim.replace(at) {
            self.records.sub(before, guild, CLAIM_BYTES);
        }
        self.records.add(at, guild, CLAIM_BYTES);
    }

    /// Records lie in the log.
    pub(crate) fn appended(&mut self, guild: GuildId, entry: Entry) {
        self.guilds.entry(guild).or_default().awake().entries.push(entry);
        self.records.add(entry.spot.segment, guild, entry.spot.bytes());
    }

    /// Records lie elsewhere in the log too, and are read from there.
    pub(crate) fn carried(&mut self, guild: GuildId, before: Entry, spot: Spot) {
        let Some(awake) = self.guilds.get_mut(&guild).and_then(|row| row.awake.as_mut()) else { return };
        let at = awake.entries.binary_search_by_key(&before.last, |entry| entry.last);
        // Meanwhile a checkpoint may have covered it.
        if let Some(entry) = at.ok().map(|at| &mut awake.entries[at]).filter(|entry| **entry == before) {
            entry.spot = spot;
            self.records.sub(before.spot.segment, guild, before.spot.bytes());
            self.records.add(spot.segment, guild, spot.bytes());
        }
    }

    /// A checkpoint lies in the log, in these shares of segments, in the place of the one before: it covers records up to a number,
    /// and repeats a claim. Of one before that cannot be read it is not known where it was live.
    pub(crate) fn covered(&mut self, guild: GuildId, checkpoint: Kept<'_>, before: Option<&[(u32, u64)]>) {
        let row = self.guilds.entry(guild).or_default();
        row.checkpoint = Some(checkpoint.spot);
        match before {
            Some(shares) => shares.iter().for_each(|(segment, bytes)| self.checkpoints.sub(*segment, guild, *bytes)),
            None => self.checkpoints.remove(guild),
        }
        for (segment, bytes) in checkpoint.shares {
            self.checkpoints.add(*segment, guild, *bytes);
        }
        if checkpoint.epoch >= row.epoch
            && let Some(claim) = row.claim.take()
        {
            self.records.sub(claim, guild, CLAIM_BYTES);
        }
        if let Some(awake) = &mut row.awake {
            let n_covered = awake.entries.partition_point(|entry| entry.last <= checkpoint.records);
            #[cfg(feature = "defects")]
            let n_covered =
                if guildhall_proto::Defect::NewerForgotten.is_on() { awake.entries.len() } else { n_covered };
            for entry in awake.entries.drain(..n_covered) {
                self.records.sub(entry.spot.segment, guild, entry.spot.bytes());
            }
            row.rest();
        }
    }
}

/// A checkpoint that is to be the one in force.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) spot: Spot,
    pub(crate) epoch: Epoch,
    pub(crate) records: u64,
    pub(crate) shares: &'a [(u32, u64)],
}

impl Row {
    pub(crate) fn awake(&mut self) -> &mut Awake {
        self.awake.get_or_insert_default()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.awake.as_ref().map_or(&[], |awake| &awake.entries)
    }

    /// Whether anything is stored but claims.
    pub(crate) fn is_stored(&self) -> bool {
        self.checkpoint.is_some() || !self.entries().is_empty()
    }

    /// Whether batches of the epoch in force are refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.awake.as_ref().is_some_and(|awake| awake.is_refused)
    }

    /// A new owner's batches are not those that were refused.
    pub(crate) fn forgive(&mut self) {
        if let Some(awake) = &mut self.awake {
            awake.is_refused = false;
        }
        self.rest();
    }

    /// Frees what only a guild in use needs, if there is nothing in it.
    fn rest(&mut self) {
        if let Some(awake) = &mut self.awake {
            if awake.entries.is_empty() && !awake.is_refused {
                self.awake = None;
            } else {
                awake.entries.shrink_to_fit();
            }
        }
    }
}

impl Spot {
    pub(crate) fn of(place: Place) -> Self {
        let narrow = |wide: u64| u32::try_from(wide).expect("a log has fewer than 4 billion segments, none over 4 GiB");
        Self { segment: narrow(place.segment), offset: narrow(place.offset), bytes: place.bytes }
    }

    pub(crate) fn place(self) -> Place {
        Place { segment: u64::from(self.segment), offset: u64::from(self.offset), bytes: self.bytes }
    }

    pub(crate) fn put(self, bytes: &mut Vec<u8>) {
        for number in [self.segment, self.offset, self.bytes] {
            bytes.put_u32(number);
        }
    }

    pub(crate) fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(Self { segment: cursor.u32()?, offset: cursor.u32()?, bytes: cursor.u32()? })
    }

    /// About what it takes in the log.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.bytes) + HEAD_BYTES
    }
}

/// What is live in a log, by segment and guild.
#[derive(Debug, Default)]
pub(crate) struct Live {
    segments: BTreeMap<u32, BTreeMap<GuildId, u64>>,
    bytes: u64,
}

impl Live {
    pub(crate) fn add(&mut self, segment: u32, guild: GuildId, bytes: u64) {
        *self.segments.entry(segment).or_default().entry(guild).or_default() += bytes;
        self.bytes += bytes;
    }

    pub(crate) fn sub(&mut self, segment: u32, guild: GuildId, bytes: u64) {
        let guilds = self.segments.get_mut(&segment).expect("what is no longer live was counted");
        let live = guilds.get_mut(&guild).expect("what is no longer live was counted");
        *live -= bytes;
        self.bytes -= bytes;
        if *live == 0 {
            guilds.remove(&guild);
        }
        if guilds.is_empty() {
            self.segments.remove(&segment);
        }
    }

    /// Nothing of a guild is live any more. O(segments).
    pub(crate) fn remove(&mut self, guild: GuildId) {
        for guilds in self.segments.values_mut() {
            self.bytes -= guilds.remove(&guild).unwrap_or_default();
        }
        self.segments.retain(|_, guilds| !guilds.is_empty());
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first segment in which anything is live.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.segments.keys().next().copied()
    }

    /// Whose things are live in a segment, from a guild on, ascending.
    pub(crate) fn guilds_in(&self, segment: u32) -> impl Iterator<Item = GuildId> {
        self.segments.get(&segment).into_iter().flat_map(|guilds| guilds.keys().copied())
    }
}

/// What a claim takes in the log; no more than the order of it matters.
pub(crate) const CLAIM_BYTES: u64 = HEAD_BYTES;
/// What a record's head takes in the log.
const HEAD_BYTES: u64 = 48;

const _: () = assert!(size_of::<Row>() <= 48, "a hundred thousand guilds that sleep take some megabytes");
