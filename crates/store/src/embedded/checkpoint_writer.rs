//! The writer of checkpoints: writes the parts that the checkpoint before did not have, then the manifest, and puts that in force.
//!
//! It is alone with the log of checkpoints, and so looks after it too: see [`compaction`].
//!
//! Invariants:
//! - a checkpoint is in force once its manifest is synced, and with that all its parts;
//! - one that was begun under an epoch in force is put in force; who claims the guild meanwhile waits for that, and goes on from it.

mod compaction;

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use guildhall_log::{Head, Kind, Log, LogError, Place, Taken};
use guildhall_members::Part;
use guildhall_proto::{Epoch, Grant, GuildId};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::StoreFailure;
use super::directory::CHECKPOINTS;
use super::loading::damaged;
use super::manifest::{Content, Listed, Manifest, Of, Title};
use super::rows::{Kept, Spot};
use super::shared::Shared;
use super::suspects::Suspects;
use crate::{StoreError, Stored, StoredCheckpoint, structure};

/// A checkpoint on its way to the disk, written out.
pub(crate) struct Job {
    pub(crate) title: Title,
    pub(crate) parts: Vec<JobPart>,
    /// Whether the parts lie in the manifest.
    pub(crate) is_small: bool,
    pub(crate) stored: Stored,
}

/// One part of a checkpoint.
#[derive(Debug)]
pub(crate) struct JobPart {
    of: Of,
    hash: u128,
    /// `None` if the checkpoint before has it.
    bytes: Option<Vec<u8>>,
}

/// A checkpoint written out, and how much there is to write.
pub(crate) struct WrittenOut {
    pub(crate) title: Title,
    pub(crate) parts: Vec<JobPart>,
    pub(crate) is_small: bool,
    pub(crate) bytes: usize,
}

impl WrittenOut {
    /// Encodes a checkpoint, but for the parts that `known` has. Costs what copying the members' columns costs.
    pub(crate) fn of(
        shared: &Shared,
        guild: GuildId,
        epoch: Epoch,
        checkpoint: &StoredCheckpoint,
        known: &BTreeMap<u128, Spot>,
    ) -> Result<Self, StoreError> {
        let StoredCheckpoint { structure, base } = checkpoint;
        let title = Title {
            guild,
            epoch,
            grant: Grant::default(),
            position: structure.position,
            records: structure.records,
            clock: structure.clock,
            members: base.len() as u64,
        };
        let mut written = Self { title, parts: Vec::new(), is_small: true, bytes: 0 };
        let small_max = shared.config.small_bytes;
        for part in structure::parts(structure) {
            let mut bytes = Vec::new();
            part.encode_into(&mut bytes).map_err(|error| StoreError::Unavailable { reason: error.to_string() })?;
            written.add(Of::Structure, bytes, shared.readers.seed, small_max, known);
        }
        for part in base.parts() {
            let mut bytes = Vec::new();
            Part::encode_into(&part, &mut bytes);
            written.add(Of::Members(part.kind()), bytes, shared.readers.seed, small_max, known);
        }
        Ok(written)
    }

    fn add(&mut self, of: Of, bytes: Vec<u8>, seed: u64, small_max: usize, known: &BTreeMap<u128, Spot>) {
        self.bytes += bytes.len();
        self.parts.push(JobPart { of, hash: xxh3_128_with_seed(&bytes, seed), bytes: Some(bytes) });
        if self.is_small && self.bytes <= small_max {
            return;
        }
        // What turned out not to be small keeps nothing that need not be written, its first parts included.
        let unseen = if take(&mut self.is_small) { 0 } else { self.parts.len() - 1 };
        for part in &mut self.parts[unseen..] {
            if known.contains_key(&part.hash) {
                self.bytes -= take(&mut part.bytes).map_or(0, |bytes| bytes.len());
            }
        }
    }
}

/// Writes checkpoints; the store's caller gives it a thread, or [steps](Self::step) it.
#[derive(Debug)]
pub struct CheckpointWriter {
    shared: Arc<Shared>,
    log: Log,
    /// Pushed, not yet in force.
    pending: Vec<Pending>,
    /// Bytes pushed since the last sync.
    pushed_bytes: usize,
    /// Bytes pushed for the checkpoints of this group.
    group_bytes: usize,
    /// Manifests that are to be written again, and cannot be read, or a part of theirs.
    suspects: Suspects,
    taken: Vec<Job>,
    places: Vec<Place>,
}

/// A checkpoint whose manifest has been pushed.
struct Pending {
    title: Title,
    spot: Spot,
    shares: Vec<(u32, u64)>,
    /// `None` if the one before cannot be read.
    shares_before: Option<Vec<(u32, u64)>>,
    /// `None` of one that was only written again.
    stored: Option<Stored>,
}

/// Where a manifest was pushed, and where the checkpoint is live once that is in force, and the one before now.
struct Pushed {
    spot: Spot,
    shares: Vec<(u32, u64)>,
    shares_before: Option<Vec<(u32, u64)>>,
}

/// Of the checkpoint in force: how far it reaches, the parts that are records of their own, and where it is live.
#[derive(Default)]
struct InForce {
    records: u64,
    parts: BTreeMap<u128, Spot>,
    /// `None` if it cannot be read.
    shares: Option<Vec<(u32, u64)>>,
}

impl CheckpointWriter {
    pub(crate) fn new(shared: Arc<Shared>, log: Log) -> Self {
        let suspects = Suspects::new(shared.config.lost_after);
        Self {
            shared,
            log,
            pending: Vec::new(),
            pushed_bytes: 0,
            group_bytes: 0,
            suspects,
            taken: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Writes until the store is closed and nothing waits. Blocks its thread.
    ///
    /// # Errors
    /// [`StoreFailure`] if the disk failed: nothing is known of what it has, so the store does nothing any more, and the process should
    /// end.
    pub fn run(mut self) -> Result<(), StoreFailure> {
        let shared = Arc::clone(&self.shared);
        while shared.jobs.take(&mut self.taken) == Taken::Group {
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
        if shared.jobs.try_take(&mut self.taken) != Taken::Group {
            return Ok(false);
        }
        self.group()?;
        Ok(true)
    }

    fn group(&mut self) -> Result<(), StoreFailure> {
        if let Err(error) = self.write() {
            let failure = StoreFailure::new(CHECKPOINTS, &error);
            self.give_up(&failure);
            return Err(failure);
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), LogError> {
        let mut taken = take(&mut self.taken).into_iter();
        self.group_bytes = 0;
        while let Some(job) = taken.next() {
            if let Err(error) = self.job(job) {
                self.taken = taken.collect();
                return Err(error);
            }
        }
        self.settle()?;
        let (own, mut compacted) = (self.group_bytes, 0);
        loop {
            // A group that is longer than a segment has used it up.
            self.log.ensure_spare()?;
            let bytes = self.compact()?;
            self.settle()?;
            let has_freed = self.give_back()?;
            compacted += bytes;
            if compacted >= own || bytes == 0 && !has_freed {
                break;
            }
        }
        self.log.ensure_spare()?;
        Ok(())
    }

    /// Writes one checkpoint into the log's group.
    fn job(&mut self, job: Job) -> Result<(), LogError> {
        let Job { mut title, parts, is_small, stored } = job;
        let guild = title.guild;
        let pushed = match self.begin(&mut title) {
            Ok(Ok(before)) => self.push_checkpoint(title, &parts, is_small, before),
            Ok(Err(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        };
        match pushed {
            Ok(Ok(Some(Pushed { spot, shares, shares_before }))) => {
                self.pending.push(Pending { title, spot, shares, shares_before, stored: Some(stored) });
            }
            // A later one is in force.
            Ok(Ok(None)) => self.abandon(guild, stored, Ok(())),
            Ok(Err(error)) => self.abandon(guild, stored, Err(error)),
            Err(error) => {
                let reason = StoreFailure::new(CHECKPOINTS, &error).to_string();
                self.abandon(guild, stored, Err(StoreError::Unavailable { reason }));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has whoever claims the guild wait until its checkpoint is in force or comes to nothing. Completes the title, and returns where
    /// the checkpoint lies that is in force. The inner error is the fence's.
    fn begin(&mut self, title: &mut Title) -> Result<Result<Option<Spot>, StoreError>, LogError> {
        if self.pending.iter().any(|pending| pending.title.guild == title.guild) {
            self.settle()?;
        }
        let mut rows = self.shared.rows();
        Ok(rows.fence(title.guild, title.epoch).map(|()| {
            rows.replacing.insert(title.guild);
            let row = rows.guilds.get(&title.guild);
            title.grant = row.map_or(Grant::default(), |row| row.grant);
            row.and_then(|row| row.checkpoint)
        }))
    }

    /// Pushes what is new of a checkpoint, and its manifest. `None` if a later one is in force. The inner error leaves that in force
    /// which is.
    fn push_checkpoint(
        &mut self,
        title: Title,
        parts: &[JobPart],
        is_small: bool,
        before: Option<Spot>,
    ) -> Result<Result<Option<Pushed>, StoreError>, LogError> {
        let InForce { records, parts: mut known, shares: shares_before } = match before {
            None => InForce { shares: Some(Vec::new()), ..InForce::default() },
            Some(spot) => match self.in_force(title.guild, spot) {
                Ok(in_force) => in_force,
                // The new one makes good what is lost of it, for it keeps nothing of it.
                Err(StoreError::Corrupt { .. }) => InForce::default(),
                Err(error) => return Ok(Err(error)),
            },
        };
        if records > title.records {
            return Ok(Ok(None));
        }
        let mut listed = Vec::new();
        for JobPart { of, hash, bytes } in parts {
            let content = match (known.get(hash), bytes) {
                (_, Some(bytes)) if is_small => Content::Here(bytes),
                (Some(spot), _) => {
                    self.shared.counters.parts_kept.add(1);
                    Content::There { hash: *hash, spot: *spot }
                }
                (None, Some(bytes)) => match self.push_record(PART, &title, bytes)? {
                    Ok(spot) => {
                        self.shared.counters.parts_written.add(1);
                        known.insert(*hash, spot);
                        Content::There { hash: *hash, spot }
                    }
                    Err(error) => return Ok(Err(error)),
                },
                // The checkpoint that had it has been replaced.
                (None, None) => return Ok(Err(StoreError::Busy)),
            };
            listed.push(Listed { of: *of, content });
        }
        let manifest = Manifest { title, parts: listed };
        let kind = if is_small { WHOLE } else { MANIFEST };
        let pushed = self.push_record(kind, &title, &manifest.encode())?;
        Ok(pushed.map(|spot| Some(Pushed { spot, shares: manifest.shares(spot), shares_before })))
    }

    fn in_force(&self, guild: GuildId, spot: Spot) -> Result<InForce, StoreError> {
        let bytes = self.shared.readers.manifest(spot)?;
        let manifest = Manifest::decode(&bytes).map_err(|error| damaged(guild, error))?;
        let parts = manifest.parts.iter().filter_map(Listed::there).collect();
        Ok(InForce { records: manifest.title.records, parts, shares: Some(manifest.shares(spot)) })
    }

    /// Pushes one record, syncing what has been pushed if that has become much or if it begins a new segment. The inner error leaves the
    /// log as it is.
    fn push_record(&mut self, kind: Kind, title: &Title, bytes: &[u8]) -> Result<Result<Spot, StoreError>, LogError> {
        if self.pushed_bytes >= GROUP_BYTES && !self.settle()? {
            return Ok(Err(StoreError::Full));
        }
        let head = Head { kind, guild: title.guild.get(), epoch: title.epoch.0, seq: title.records };
        self.places.clear();
        let mut pushed = self.log.push(&[(head, bytes)], &mut self.places);
        if matches!(pushed, Err(LogError::CommitFirst | LogError::Full)) {
            if !self.settle()? {
                // With what was pushed for other checkpoints that of this one is gone.
                return Ok(Err(StoreError::Full));
            }
            self.log.ensure_spare()?;
            self.places.clear();
            pushed = self.log.push(&[(head, bytes)], &mut self.places);
        }
        match pushed {
            Ok(()) => {
                self.pushed_bytes += bytes.len();
                self.group_bytes += bytes.len();
                Ok(Ok(Spot::of(self.places[0])))
            }
            Err(LogError::Full) => Ok(Err(StoreError::Full)),
            Err(error @ LogError::TooLarge { .. }) => Ok(Err(StoreError::Unavailable { reason: error.to_string() })),
            Err(error) => Err(error),
        }
    }

    /// Makes durable what has been pushed, puts the checkpoints among it in force, and tells. False if there was no room: then nothing
    /// that was pushed is in the log.
    fn settle(&mut self) -> Result<bool, LogError> {
        self.pushed_bytes = 0;
        match self.log.commit() {
            Ok(()) => {
                self.settled();
                Ok(true)
            }
            Err(LogError::Full) => {
                for Pending { title, stored, .. } in take(&mut self.pending) {
                    if let Some(stored) = stored {
                        self.abandon(title.guild, stored, Err(StoreError::Full));
                    }
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn settled(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut told = Vec::new();
        let mut rows = self.shared.rows();
        for Pending { title, spot, shares, shares_before, stored } in self.pending.drain(..) {
            let kept = Kept { spot, epoch: title.epoch, records: title.records, shares: &shares };
            rows.covered(title.guild, kept, shares_before.as_deref());
            if let Some(stored) = stored {
                rows.replacing.remove(&title.guild);
                self.shared.counters.checkpoints.add(1);
                told.push(stored);
            }
        }
        drop(rows);
        self.shared.notify();
        for stored in told {
            stored(Ok(()));
        }
        self.shared.nudge();
    }

    /// A checkpoint comes to nothing.
    fn abandon(&self, guild: GuildId, stored: Stored, outcome: Result<(), StoreError>) {
        self.shared.rows().replacing.remove(&guild);
        self.shared.notify();
        if outcome == Err(StoreError::Full) {
            self.shared.counters.refused_full.add(1);
        }
        stored(outcome);
    }

    /// The disk has failed: everybody is told, and nothing is written any more.
    fn give_up(&mut self, failure: &StoreFailure) {
        self.shared.fail(&failure.to_string());
        let error = StoreError::Unavailable { reason: failure.to_string() };
        for Pending { title, stored, .. } in take(&mut self.pending) {
            if let Some(stored) = stored {
                self.abandon(title.guild, stored, Err(error.clone()));
            }
        }
        loop {
            for job in take(&mut self.taken) {
                (job.stored)(Err(error.clone()));
            }
            if self.shared.jobs.try_take(&mut self.taken) != Taken::Group {
                break;
            }
        }
    }
}

impl Drop for CheckpointWriter {
    /// Without its writer the store can only be read.
    fn drop(&mut self) {
        if self.shared.jobs.try_take(&mut self.taken) == Taken::Closed {
            // Its work is done.
            return;
        }
        self.give_up(&StoreFailure::ended("the writer of checkpoints"));
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job({:?})", self.title)
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending({:?})", self.title)
    }
}

/// Records of the log: a part of a checkpoint.
pub(crate) const PART: Kind = Kind::new(1).expect("it is not 0");
/// Records of the log: a manifest whose parts are records of their own. Its number is that of the last record that it covers.
pub(crate) const MANIFEST: Kind = Kind::new(2).expect("it is not 0");
/// Records of the log: a manifest with its parts in it, numbered in the same way. Nobody need read it when the store is opened.
pub(crate) const WHOLE: Kind = Kind::new(3).expect("it is not 0");
/// Records of the log: what stands for a manifest that could not be read when it was to be written again, with its bytes as they were.
pub(crate) const LOST_CHECKPOINT: Kind = Kind::new(4).expect("it is not 0");
/// Bytes that are written before they are synced. The sync of a record that somebody waits for stands behind them at the disk: half as many spared
/// it nothing that could be measured, and took a checkpoint twice as long. What is written again to make room goes in such steps too.
const GROUP_BYTES: usize = 512 * 1024;
