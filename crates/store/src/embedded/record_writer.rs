//! The writer of records: takes what waits, writes and syncs it as one, and tells each how it turned out.
//!
//! It is alone with the log of records, and so looks after it too: while the log is much longer than what is live in it, each group
//! carries a little of the oldest segment forward, and a segment in which nothing is live any more is given back.
//!
//! Invariants:
//! - what waits is written in the order in which it came, and told in that order;
//! - once a batch was refused, so are all later ones of its epoch;
//! - nothing is told before it is synced.

use std::collections::BTreeMap;
use std::mem::take;
use std::ops::Range;
use std::sync::Arc;

use guildhall_log::{Head, Kind, Log, LogConfig, LogError, Place, Taken};
use guildhall_proto::{Epoch, Grant, GuildId, Record};

use super::StoreFailure;
use super::batch;
use super::directory::RECORDS;
use super::rows::{CLAIM_BYTES, Entry, Spot};
use super::shared::Shared;
use super::suspects::Suspects;
use crate::{Batch, StoreError, Stored};

/// What the writer of records is asked to do.
pub(crate) enum Work {
    Claim {
        guild: GuildId,
        epoch: Epoch,
        grant: Grant,
    },
    Append {
        batch: Batch,
        stored: Stored,
    },
    /// See whether there is room, and what need not be kept any more.
    Look,
}

/// Writes claims and batches; the store's caller gives it a thread, or [steps](Self::step) it.
#[derive(Debug)]
pub struct RecordWriter {
    shared: Arc<Shared>,
    log: Log,
    /// Pushed, not yet settled.
    pending: Vec<Pending>,
    /// The epochs of which a batch was refused, and why, until a later one is claimed.
    refused: BTreeMap<GuildId, (Epoch, StoreError)>,
    /// Whether the disk has had no room for the next segment.
    is_full: bool,
    /// What is to be carried and cannot be read.
    suspects: Suspects,
    taken: Vec<Work>,
    buffer: Vec<u8>,
    chunks: Vec<(u64, Range<usize>)>,
    places: Vec<Place>,
}

/// What has been pushed into the log's group.
#[derive(Debug)]
enum Pending {
    Claim {
        guild: GuildId,
        epoch: Epoch,
        at: Spot,
    },
    Append {
        guild: GuildId,
        epoch: Epoch,
        entries: Vec<Entry>,
        stored: Told,
    },
    /// Not pushed; told when those before it are.
    Refused {
        error: StoreError,
        stored: Told,
    },
    CarriedClaim {
        guild: GuildId,
        before: u32,
        at: Spot,
    },
    Carried {
        guild: GuildId,
        before: Entry,
        at: Spot,
    },
}

struct Told(Stored);

impl RecordWriter {
    pub(crate) fn new(shared: Arc<Shared>, log: Log) -> Self {
        let suspects = Suspects::new(shared.config.lost_after);
        let writer = Self {
            shared,
            log,
            pending: Vec::new(),
            refused: BTreeMap::new(),
            is_full: false,
            suspects,
            taken: Vec::new(),
            buffer: Vec::new(),
            chunks: Vec::new(),
            places: Vec::new(),
        };
        writer.shared.set_room(writer.log.has_spare());
        writer
    }

    /// Writes until the store is closed and nothing waits. Blocks its thread.
    ///
    /// # Errors
    /// [`StoreFailure`] if the disk failed: nothing is known of what it has, so the store does nothing any more, and the process should
    /// end.
    pub fn run(mut self) -> Result<(), StoreFailure> {
        let shared = Arc::clone(&self.shared);
        while shared.work.take(&mut self.taken) == Taken::Group {
            self.group()?;
        }
        Ok(())
    }

    /// Writes one group if something waits, and tells whether something did. Never waits for work.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn step(&mut self) -> Result<bool, StoreFailure> {
        let shared = Arc::clone(&self.shared);
        if shared.work.try_take(&mut self.taken) != Taken::Group {
            return Ok(false);
        }
        self.group()?;
        Ok(true)
    }

    fn group(&mut self) -> Result<(), StoreFailure> {
        let outcome = self.write();
        if let Err(error) = outcome {
            let failure = StoreFailure::new(RECORDS, &error);
            self.give_up(&failure);
            return Err(failure);
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), LogError> {
        let mut taken = take(&mut self.taken).into_iter();
        while let Some(work) = taken.next() {
            let done = match work {
                Work::Claim { guild, epoch, grant } => self.claim(guild, epoch, grant),
                Work::Append { batch, stored } => self.append(batch, Told(stored)),
                Work::Look => {
                    self.shared.looked();
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.taken = taken.collect();
                return Err(error);
            }
        }
        self.carry()?;
        self.settle()?;
        self.give_back()?;
        self.is_full = false;
        let has_spare = self.has_spare()?;
        self.shared.set_room(has_spare);
        Ok(())
    }

    fn claim(&mut self, guild: GuildId, epoch: Epoch, grant: Grant) -> Result<(), LogError> {
        self.refused.remove(&guild);
        let head = Head { kind: CLAIM, guild: guild.get(), epoch: epoch.0, seq: grant.0 };
        match self.push(&[(head, &[])])? {
            Ok(()) => {
                let at = Spot::of(self.places[0]);
                self.pending.push(Pending::Claim { guild, epoch, at });
            }
            Err(error) => self.claim_done(guild, epoch, Err(error)),
        }
        Ok(())
    }

    fn append(&mut self, batch: Batch, stored: Told) -> Result<(), LogError> {
        let Batch { guild, epoch, records } = batch;
        let entries = match self.append_records(guild, epoch, &records) {
            Ok(entries) => entries,
            Err(error) => {
                let reason = StoreFailure::new(RECORDS, &error).to_string();
                self.pending.push(Pending::Refused { error: StoreError::Unavailable { reason }, stored });
                return Err(error);
            }
        };
        let pending = match entries {
            Ok(entries) => Pending::Append { guild, epoch, entries, stored },
            Err(error) => {
                self.refuse(guild, epoch, &error);
                Pending::Refused { error, stored }
            }
        };
        self.pending.push(pending);
        Ok(())
    }

    fn append_records(
        &mut self,
        guild: GuildId,
        epoch: Epoch,
        records: &[Record],
    ) -> Result<Result<Vec<Entry>, StoreError>, LogError> {
        // First, for it may refuse what is pending of the same epoch.
        let has_spare = self.has_spare()?;
        if let Some((refused, error)) = self.refused.get(&guild)
            && *refused == epoch
        {
            return Ok(Err(error.clone()));
        }
        let (mut buffer, mut chunks) = (take(&mut self.buffer), take(&mut self.chunks));
        buffer.clear();
        chunks.clear();
        if let Err(error) = batch::encode(records, &mut buffer, &mut chunks) {
            let reason = format!("a record of guild {guild} cannot be written: {error}");
            return Ok(Err(StoreError::Unavailable { reason }));
        }
        let head = |seq| Head { kind: RECORD, guild: guild.get(), epoch: epoch.0, seq };
        let parts: Vec<(Head, &[u8])> =
            chunks.iter().map(|(last, bytes)| (head(*last), &buffer[bytes.clone()])).collect();
        // What is left without a spare is for claims.
        let bytes = LogConfig::batch_bytes(parts.iter().map(|(_, part)| part.len()));
        let has_room = has_spare || self.log.room_bytes() >= bytes + self.reserve();
        let pushed = match parts.is_empty() {
            true => Ok(()),
            false if has_room => self.push(&parts)?,
            false => Err(StoreError::Full),
        };
        let spots = self.places.iter().map(|place| Spot::of(*place));
        let entries = chunks.iter().zip(spots).map(|((last, _), spot)| Entry { last: *last, spot }).collect();
        (self.buffer, self.chunks) = (buffer, chunks);
        Ok(pushed.map(|()| entries))
    }

    /// Pushes a batch, settling what is pending if it begins a new segment. The inner error leaves the log as it is.
    fn push(&mut self, batch: &[(Head, &[u8])]) -> Result<Result<(), StoreError>, LogError> {
        self.places.clear();
        let mut pushed = self.log.push(batch, &mut self.places);
        if matches!(pushed, Err(LogError::CommitFirst)) {
            if !self.settle()? {
                // An earlier batch of the same epoch may be among what was refused.
                return Ok(Err(StoreError::Full));
            }
            self.has_spare()?;
            self.places.clear();
            pushed = self.log.push(batch, &mut self.places);
        }
        match pushed {
            Ok(()) => Ok(Ok(())),
            Err(LogError::Full) => Ok(Err(StoreError::Full)),
            Err(error @ LogError::TooLarge { .. }) => Ok(Err(StoreError::Unavailable { reason: error.to_string() })),
            Err(error) => Err(error),
        }
    }

    /// Whether the next segment is at hand. A group that is longer than a segment needs more than one, so it is asked for here too,
    /// once a group if the disk is full.
    fn has_spare(&mut self) -> Result<bool, LogError> {
        if !self.log.has_spare() && !self.is_full {
            self.settle()?;
            self.is_full = !self.log.ensure_spare()?;
        }
        Ok(self.log.has_spare())
    }

    /// Makes durable what is pending, and tells. False if there was no room: then all of it is refused.
    fn settle(&mut self) -> Result<bool, LogError> {
        if self.pending.is_empty() {
            return Ok(true);
        }
        match self.log.commit() {
            Ok(()) => {
                self.settled();
                Ok(true)
            }
            Err(LogError::Full) => {
                self.unsettled(&StoreError::Full);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn settled(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.counters.groups.add(1);
        let mut told = Vec::new();
        let mut rows = shared.rows();
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Claim { guild, epoch, at } => {
                    shared.counters.claims.add(1);
                    rows.claimed(guild, at.segment);
                    if let Some(outcome) = rows.claims.get_mut(&(guild, epoch)) {
                        *outcome = Some(Ok(()));
                    }
                }
                Pending::Append { guild, epoch: _, entries, stored } => {
                    shared.counters.batches.add(1);
                    for entry in entries {
                        rows.appended(guild, entry);
                    }
                    told.push((stored, Ok(())));
                }
                Pending::Refused { error, stored } => told.push((stored, Err(error))),
                Pending::CarriedClaim { guild, before, at } => {
                    if rows.guilds.get(&guild).and_then(|row| row.claim) == Some(before) {
                        rows.claimed(guild, at.segment);
                    }
                    shared.counters.carried.add(1);
                }
                Pending::Carried { guild, before, at } => {
                    rows.carried(guild, before, at);
                    shared.counters.carried.add(1);
                }
            }
        }
        drop(rows);
        shared.notify();
        // Without the lock: whoever hears it may come back at once.
        for (Told(stored), outcome) in told {
            stored(outcome);
        }
    }

    /// Nothing of what is pending was written, or nothing is known of it.
    fn unsettled(&mut self, error: &StoreError) {
        for pending in take(&mut self.pending) {
            match pending {
                Pending::Claim { guild, epoch, at: _ } => self.claim_done(guild, epoch, Err(error.clone())),
                Pending::Append { guild, epoch, entries: _, stored } => {
                    self.refuse(guild, epoch, error);
                    stored.0(Err(error.clone()));
                }
                Pending::Refused { error, stored } => stored.0(Err(error)),
                Pending::CarriedClaim { .. } | Pending::Carried { .. } => {}
            }
        }
    }

    fn claim_done(&self, guild: GuildId, epoch: Epoch, told: Result<(), StoreError>) {
        if let Some(outcome) = self.shared.rows().claims.get_mut(&(guild, epoch)) {
            *outcome = Some(told);
        }
        self.shared.notify();
    }

    /// No batch of this epoch is written any more.
    fn refuse(&mut self, guild: GuildId, epoch: Epoch, error: &StoreError) {
        self.refused.entry(guild).or_insert_with(|| (epoch, error.clone()));
        self.shared.rows().refuse(guild, epoch);
        if *error == StoreError::Full {
            self.shared.counters.refused_full.add(1);
        }
    }

    /// What is kept for claims while there is no other segment: some ten thousand of them, each in a group of its own, or more together.
    fn reserve(&self) -> u64 {
        self.shared.config.segment_bytes / 4
    }

    /// Pushes a little of what is live in the oldest segment once more, if the log is much longer than what is live in it.
    fn carry(&mut self) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let mut carried = Vec::new();
        {
            let rows = shared.rows();
            let is_long = self.log.bytes() > 2 * rows.records.bytes() + shared.config.slack_bytes;
            let Some(oldest) = rows.records.oldest().filter(|_| is_long && self.log.has_spare()) else {
                return Ok(());
            };
            if u64::from(oldest) >= self.log.active_segment() {
                return Ok(());
            }
            self.suspects.forget_before(oldest);
            let mut bytes = 0;
            'guilds: for guild in rows.records.guilds_in(oldest) {
                let Some(row) = rows.guilds.get(&guild) else { continue };
                if row.claim == Some(oldest) {
                    // The epoch may be that of a claim on its way: then this one only comes to the disk earlier.
                    carried.push((guild, Carry::Claim { before: oldest, epoch: row.epoch, grant: row.grant }));
                    bytes += CLAIM_BYTES;
                }
                let is_wanted = |entry: &&Entry| entry.spot.segment == oldest && self.suspects.is_due(entry.spot);
                for entry in row.entries().iter().filter(is_wanted) {
                    if bytes >= CARRIED_BYTES {
                        break 'guilds;
                    }
                    bytes += entry.spot.bytes();
                    carried.push((guild, Carry::Entry(*entry, row.epoch)));
                }
            }
        }
        for (guild, carry) in carried {
            if !self.carry_one(guild, carry)? {
                break;
            }
        }
        Ok(())
    }

    fn carry_one(&mut self, guild: GuildId, carry: Carry) -> Result<bool, LogError> {
        match carry {
            Carry::Claim { before, epoch, grant } => {
                let head = Head { kind: CLAIM, guild: guild.get(), epoch: epoch.0, seq: grant.0 };
                let is_pushed = self.push(&[(head, &[])])?.is_ok();
                if is_pushed {
                    let at = Spot::of(self.places[0]);
                    self.pending.push(Pending::CarriedClaim { guild, before, at });
                }
                Ok(is_pushed)
            }
            Carry::Entry(before, epoch) => {
                let (head, bytes) = match self.shared.readers.record(before.spot) {
                    Ok(read) => read,
                    Err(error) => {
                        self.shared.counters.unreadable.add(1);
                        if !self.suspects.is_lost(before.spot, &error) {
                            return Ok(true);
                        }
                        tracing::error!(%guild, %error, "records of a guild are lost");
                        self.shared.counters.lost.add(1);
                        let head = Head { kind: LOST_RECORD, guild: guild.get(), epoch: epoch.0, seq: before.last };
                        (head, self.shared.readers.records.read_unchecked(before.spot.place()))
                    }
                };
                let is_pushed = self.push(&[(head, &bytes)])?.is_ok();
                if is_pushed {
                    let at = Spot::of(self.places[0]);
                    self.pending.push(Pending::Carried { guild, before, at });
                }
                Ok(is_pushed)
            }
        }
    }

    /// Gives back the segments before the first one in which something is live.
    fn give_back(&mut self) -> Result<(), LogError> {
        let active = self.log.active_segment();
        let oldest = self.shared.rows().records.oldest().map_or(active, u64::from);
        #[cfg(feature = "defects")]
        let oldest = oldest + u64::from(guildhall_proto::Defect::LiveGivenBack.is_on());
        let dead = self.log.segments().take_while(|(number, _)| *number < oldest).count();
        if dead == 0 {
            return Ok(());
        }
        match self.log.truncate_before(oldest) {
            Ok(()) => self.shared.counters.segments_freed.add(dead as u64),
            // There is not even room to write that down: another time.
            Err(LogError::Full) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The disk has failed: everybody is told, and nothing is written any more.
    fn give_up(&mut self, failure: &StoreFailure) {
        self.shared.fail(&failure.to_string());
        let error = StoreError::Unavailable { reason: failure.to_string() };
        self.unsettled(&error);
        loop {
            for work in take(&mut self.taken) {
                if let Work::Append { batch, stored } = work {
                    self.refuse(batch.guild, batch.epoch, &error);
                    stored(Err(error.clone()));
                }
            }
            if self.shared.work.try_take(&mut self.taken) != Taken::Group {
                break;
            }
        }
    }
}

impl Drop for RecordWriter {
    /// Without its writer the store can only be read.
    fn drop(&mut self) {
        if self.shared.work.try_take(&mut self.taken) == Taken::Closed {
            // Its work is done.
            return;
        }
        self.give_up(&StoreFailure::ended("the writer of records"));
    }
}

#[derive(Debug, Clone, Copy)]
enum Carry {
    Claim {
        before: u32,
        epoch: Epoch,
        grant: Grant,
    },
    /// With the guild's epoch.
    Entry(Entry, Epoch),
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Claim { guild, epoch, .. } => write!(f, "Claim({guild:?}, {epoch:?})"),
            Self::Append { batch, .. } => write!(f, "Append({batch:?})"),
            Self::Look => f.write_str("Look"),
        }
    }
}

/// Records of the log: a claim, whose number is its grant, without a body.
pub(crate) const CLAIM: Kind = Kind::new(1).expect("it is not 0");
/// Records of the log: a chunk of a batch, whose number is that of the last record in it.
pub(crate) const RECORD: Kind = Kind::new(2).expect("it is not 0");
/// Records of the log: what stands for a chunk that could not be read when it was carried, with its bytes as they were.
pub(crate) const LOST_RECORD: Kind = Kind::new(3).expect("it is not 0");
/// Carried with one group at most: more would delay whoever waits for the group, less would not keep up with what is appended.
const CARRIED_BYTES: u64 = 1024 * 1024;
