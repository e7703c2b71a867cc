//! The store of one machine: guilds' records and checkpoints in two logs of one directory.
//!
//! ```text
//! guildhall      whose directory it is, in which format           (identity)
//! records/       a log: claims and batches of records, of all guilds, in the order in which they were stored
//! checkpoints/   a log: parts and manifests
//! ```
//!
//! **A claim** is a record like any other, in the same queue. So when it is settled, whatever was appended under earlier epochs is
//! settled too, and nothing more can come: its tail is complete. The epoch is raised in memory when the claim is queued; from then on
//! earlier owners are refused.
//!
//! **A batch** is fenced when it is queued, under the lock under which claims are: the order of the calls is the order in the log. One
//! group of batches and claims, of many guilds, is one write and one sync.
//!
//! **A checkpoint** is written out on its caller's thread, and written to the log by another writer. Its parts are named by their
//! content, so a part that did not change is not written again. Once its manifest is synced it is in force, and the records that it covers are
//! dead.
//!
//! **What is dead is given back** in whole segments from the old end. What is still live in the oldest segment is written again at
//! the new end, when the log is more than twice as long as what is live in it and [`EmbeddedConfig::slack_bytes`]. So what is read when
//! the store is opened is bounded by what is live.
//!
//! **Of each guild** there is a row in memory: its epoch, and where its checkpoint and its records lie; some 50 bytes for one
//! that sleeps.
//!
//! **The disk is full:** as long as the next segment of `records` cannot be had, [`has_room`](Store::has_room) is false and no batch
//! is taken beyond what is left, of which a quarter of a segment is kept for claims. The writer tries again when
//! somebody asks, at most once in [`EmbeddedConfig::room_pause`].
//!
//! **The disk fails:** after a write or sync that failed for another reason nothing is known, so nothing more is written: everybody is
//! told [`StoreError::Unavailable`], the writers end with a [`StoreFailure`], and the process should end. The next open reads what there is.

mod archive;
mod backup;
mod batch;
mod bytes;
mod checkpoint_writer;
mod claiming;
mod config;
mod counters;
#[cfg(feature = "defects")]
mod defects;
mod directory;
mod identity;
mod inspection;
mod loading;
mod manifest;
mod mending;
mod record_writer;
mod recovery;
mod restore;
mod rows;
mod shared;
mod suspects;
mod workers;

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use guildhall_log::{Found, Log, LogConfig, LogError, Refused, discard, vacant};
use guildhall_proto::{Epoch, Grant, GuildId, Millis};

pub use archive::ArchiveError;
pub use backup::{BackupError, BackupReport};
pub use checkpoint_writer::CheckpointWriter;
pub use claiming::PendingClaim;
pub use config::EmbeddedConfig;
pub use counters::EmbeddedCounts;
pub use directory::{Directory, DirectoryError};
pub(crate) use identity::beyond;
pub use identity::{FORMAT, Identity, IdentityError};
pub use inspection::{Inspection, StoredGuild, Verification};
pub use mending::{Logs, OfEach, Seen};
pub use record_writer::RecordWriter;
pub use restore::{RestoreError, prove, restore};
pub use workers::{Alone, Workers};

use checkpoint_writer::{Job, WrittenOut};
use directory::{CHECKPOINTS, RECORDS};
use loading::Readers;
use manifest::{Listed, Manifest};
use record_writer::Work;
use recovery::{Fault, Recovery};
use rows::Spot;
use shared::Shared;

use crate::{Batch, Claim, EmbeddedCoordinator, Known, Store, StoreError, Stored, StoredCheckpoint};

/// Guilds' durable state on one machine. The handle for owners; the two writers that come with it need a thread each.
///
/// Dropped, it closes: the writers write what waits, and end.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

/// What was found in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Guilds of which anything is stored.
    pub guilds: usize,
    /// The log of records; what of its end was torn, nobody had been told of.
    pub records: Found,
    /// The log of checkpoints.
    pub checkpoints: Found,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is a store already where one was to be made.
    #[error("there is data of Guildhall already")]
    Exists,
    /// One of the two logs.
    #[error("{log}/{error}")]
    Log {
        /// Which: its folder's name.
        log: &'static str,
        /// What is wrong with it.
        error: LogError,
    },
    /// A record is whole, and is not what a store writes.
    #[error(
        "{log}/{segment:012}.log: the record at offset {offset}, of guild {guild}, is not what it should be: {what}"
    )]
    Content {
        /// Which log: its folder's name.
        log: &'static str,
        /// The number of the segment.
        segment: u64,
        /// Where the record begins.
        offset: u64,
        /// Whose it is.
        guild: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The disk failed under a writer: the process should end, with this message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreFailure(String);

impl StoreFailure {
    fn new(log: &str, error: &LogError) -> Self {
        Self(format!("the store has failed, and can say no more of what it stored: {log}/{error}"))
    }

    fn ended(who: &str) -> Self {
        Self(format!("the store cannot be written: {who} has ended"))
    }
}

impl EmbeddedStore {
    /// Makes a store in a directory without one. It is not open yet. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError::Exists`]; [`OpenError::Log`], also if there is no room.
    pub fn create(directory: &Directory, identity: &Identity, config: &EmbeddedConfig) -> Result<(), OpenError> {
        drop(Self::begin(directory, identity, config)?);
        Identity { is_ready: true, ..identity.clone() }.write(&*directory.root)?;
        Ok(())
    }

    /// Makes the logs of records and of checkpoints, in a directory that is not one of a store until its identity is said to be ready. What
    /// an earlier attempt has left is removed.
    fn begin(directory: &Directory, identity: &Identity, config: &EmbeddedConfig) -> Result<(Log, Log), OpenError> {
        let logs = [(RECORDS, &directory.records), (CHECKPOINTS, &directory.checkpoints)];
        match Identity::read(&*directory.root) {
            Ok(before) if before.is_ready => return Err(OpenError::Exists),
            // Begun, and never finished: nobody was told that anything is stored.
            Ok(before) => {
                for ((name, files), id) in logs.into_iter().zip([before.records, before.checkpoints]) {
                    discard(&**files, id).map_err(in_log(name))?;
                }
            }
            // Before another identity is in the place of one that was lost.
            Err(IdentityError::Missing) => {
                logs.into_iter().try_for_each(|(name, files)| vacant(&**files).map_err(in_log(name)))?;
            }
            Err(error) => return Err(error.into()),
        }
        Identity { is_ready: false, ..identity.clone() }.write(&*directory.root)?;
        let log = LogConfig { segment_bytes: config.segment_bytes };
        let records = Log::create(Arc::clone(&directory.records), identity.records, log).map_err(in_log(RECORDS))?;
        let checkpoints = Log::create(Arc::clone(&directory.checkpoints), identity.checkpoints, log);
        Ok((records, checkpoints.map_err(in_log(CHECKPOINTS))?))
    }

    /// Opens a store: reads the heads of all records. Waits for the disk.
    ///
    /// The writers are to be [run](RecordWriter::run), each on a thread; a store of which nothing is to be written is opened by dropping
    /// them.
    ///
    /// # Errors
    /// [`OpenError`]: nothing that is stored was changed. What a crash had left undone may be finished in the one log, though the other
    /// cannot be opened.
    pub fn open(
        directory: Directory,
        config: EmbeddedConfig,
        workers: Arc<dyn Workers>,
    ) -> Result<(Self, RecordWriter, CheckpointWriter, OpenReport), OpenError> {
        #[cfg(feature = "defects")]
        let directory = defects::careless(directory);
        let identity = directory.identity()?;
        let log = LogConfig { segment_bytes: config.segment_bytes };
        let mut recovery = Recovery::default();
        let (checkpoint_log, checkpoints_found) = Log::open(
            Arc::clone(&directory.checkpoints),
            identity.checkpoints,
            log,
            Recovery::wants,
            |place, head, bytes| recovery.checkpoint(place, head, bytes),
        )
        .map_err(in_log(CHECKPOINTS))?;
        let (record_log, records_found) = Log::open(
            Arc::clone(&directory.records),
            identity.records,
            log,
            |_| false,
            |place, head, _| recovery.record(place, head),
        )
        .map_err(in_log(RECORDS))?;
        let rows = recovery.finish(&identity.reached)?;
        let readers =
            Readers { records: record_log.reader(), checkpoints: checkpoint_log.reader(), seed: identity.seed };
        let report =
            OpenReport { guilds: rows.stored().count(), records: records_found, checkpoints: checkpoints_found };
        let shared = Arc::new(Shared::new(config, directory, identity, readers, rows, workers));
        let record_writer = RecordWriter::new(Arc::clone(&shared), record_log);
        let checkpoint_writer = CheckpointWriter::new(Arc::clone(&shared), checkpoint_log);
        Ok((Self { shared }, record_writer, checkpoint_writer, report))
    }

    /// Whose directory it is.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// A coordinator for the nodes of this process, all of whose grants are above any that the store has seen, whatever the clock says. To be had once
    /// in a run: the store refuses what an earlier one gives, once a later one's grant was claimed by. Waits for the disk.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; nothing is given.
    pub fn coordinator(&self, now: Millis) -> Result<EmbeddedCoordinator, IdentityError> {
        Ok(EmbeddedCoordinator::above(self.shared.raise_grants(now)?))
    }

    /// Begins a claim, for callers that drive the writers themselves. May wait for the disk to read, not for a writer.
    ///
    /// # Errors
    /// [`StoreError::StaleGrant`], [`StoreError::Busy`], [`StoreError::Unavailable`]; [`StoreError::Corrupt`] if the latest grant cannot
    /// be read, or a repair has cut off some of the guild.
    pub fn begin_claim(&self, guild: GuildId, grant: Grant) -> Result<PendingClaim, StoreError> {
        PendingClaim::begin(&self.shared, guild, grant)
    }

    /// The guilds of which anything is stored, ascending.
    pub fn guilds(&self) -> Vec<GuildId> {
        self.shared.rows().stored().collect()
    }

    /// Reads a guild as it is stored now, without claiming it. `None` if nothing is stored of it. May wait for the disk.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub fn read(&self, guild: GuildId) -> Result<Option<StoredGuild>, StoreError> {
        StoredGuild::read(&self.shared, guild)
    }

    /// What it has done so far.
    pub fn counts(&self) -> EmbeddedCounts {
        self.shared.counters.counts()
    }

    /// What is live in each log, in bytes: what [`slack_bytes`](EmbeddedConfig::slack_bytes) is measured from.
    pub fn live_bytes(&self) -> OfEach<u64> {
        let rows = self.shared.rows();
        OfEach { records: rows.records.bytes(), checkpoints: rows.checkpoints.bytes() }
    }

    /// Takes no more claims, batches and checkpoints. The writers write what waits, and end.
    pub fn close(&self) {
        self.shared.work.close();
        self.shared.jobs.close();
    }

    /// The parts of the checkpoint in force that are records of their own. None if it cannot be read: then all are written.
    fn known(&self, spot: Spot) -> BTreeMap<u128, Spot> {
        let bytes = self.shared.readers.manifest(spot).unwrap_or_default();
        let manifest = Manifest::decode(&bytes);
        manifest.map_or_else(|_| BTreeMap::new(), |manifest| manifest.parts.iter().filter_map(Listed::there).collect())
    }

    fn write_out(&self, guild: GuildId, epoch: Epoch, checkpoint: &StoredCheckpoint) -> Result<WrittenOut, StoreError> {
        let before = {
            let rows = self.shared.rows();
            rows.fence(guild, epoch)?;
            rows.guilds.get(&guild).and_then(|row| row.checkpoint)
        };
        let known = before.map(|spot| self.known(spot)).unwrap_or_default();
        WrittenOut::of(&self.shared, guild, epoch, checkpoint, &known)
    }
}

impl Store for EmbeddedStore {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        Ok(self.shared.rows().known(guild))
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        let (mut after, mut listed) = (after, Vec::new());
        loop {
            // A few at a time: every claim and batch of the node waits for the rows.
            let rows = self.shared.rows();
            let behind = rows.guilds.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
            let mut looks = 0;
            for (guild, _) in behind.take(LIST_LOOKS) {
                if listed.len() == limit {
                    return Ok(listed);
                }
                looks += 1;
                after = Some(*guild);
                listed.extend((rows.known(*guild) == Known::Something).then_some(*guild));
            }
            if looks < LIST_LOOKS {
                return Ok(listed);
            }
        }
    }

    /// One process has the directory, so what it remembers is what the disk would say.
    fn confirm(&self, guild: GuildId, epoch: Epoch, confirmed: Stored) {
        let outcome = self.shared.rows().fence(guild, epoch);
        confirmed(outcome);
    }

    fn claim(&self, guild: GuildId, grant: Grant) -> Result<Claim, StoreError> {
        self.begin_claim(guild, grant)?.finish()
    }

    fn append(&self, batch: Batch, stored: Stored) {
        #[cfg(feature = "defects")]
        let stored = defects::told(stored);
        let (guild, epoch) = (batch.guild, batch.epoch);
        let bytes = batch.records.iter().map(record_bytes).sum();
        let refused = {
            let mut rows = self.shared.rows();
            match rows.fence(guild, epoch) {
                Err(error) => Some((error, stored)),
                Ok(()) if rows.guilds.get(&guild).is_some_and(|row| row.is_refused()) => {
                    Some((StoreError::Busy, stored))
                }
                // Under the rows' lock, so that the order of claims and batches in the queue is that of their fences.
                Ok(()) => match self.shared.work.push(Work::Append { batch, stored }, bytes) {
                    Ok(()) => None,
                    Err(refused) => {
                        rows.refuse(guild, epoch);
                        match refused_by(refused) {
                            (error, Work::Append { stored, .. }) => Some((error, stored)),
                            (_, Work::Claim { .. } | Work::Look) => None,
                        }
                    }
                },
            }
        };
        // Told without the lock: whoever hears it may come back at once.
        if let Some((error, stored)) = refused {
            stored(Err(error));
        }
    }

    fn checkpoint(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint, stored: Stored) {
        #[cfg(feature = "defects")]
        let checkpoint = defects::covering(checkpoint);
        match self.write_out(guild, epoch, &checkpoint) {
            Ok(WrittenOut { title, parts, is_small, bytes }) => {
                if checkpoint.is_deleted() {
                    // The records that say so are stored.
                    self.shared.rows().deleted.insert(guild);
                }
                // One that is larger than the whole queue waits alone.
                let bytes = bytes.min(self.shared.config.checkpoints.bytes_max);
                if let Err(refused) = self.shared.jobs.push(Job { title, parts, is_small, stored }, bytes) {
                    let (error, job) = refused_by(refused);
                    (job.stored)(Err(error));
                }
            }
            Err(error) => stored(Err(error)),
        }
    }

    fn backup(&self, archive: &mut dyn io::Write, made_at: Millis) -> Result<BackupReport, BackupError> {
        backup::write(&self.shared, archive, made_at)
    }

    fn has_room(&self) -> bool {
        let has_room = self.shared.has_room();
        if !has_room {
            self.shared.ask_for_room();
        }
        has_room
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        let Fault { log, place, guild, what } = fault;
        Self::Content { log, segment: place.segment, offset: place.offset, guild, what }
    }
}

fn in_log(log: &'static str) -> impl FnOnce(LogError) -> OpenError {
    move |error| OpenError::Log { log, error }
}

/// Why a queue has not taken something, and that.
fn refused_by<T>(refused: Refused<T>) -> (StoreError, T) {
    match refused {
        Refused::Full(item) => (StoreError::Busy, item),
        Refused::Closed(item) => (StoreError::Unavailable { reason: "the store is closed".to_owned() }, item),
    }
}

/// About what a record takes in memory and in the log.
fn record_bytes(record: &guildhall_proto::Record) -> usize {
    size_of_val(record) + record.event.as_ref().map_or(0, |event| event.weight_bytes())
}

/// Guilds looked at under one hold of the rows' lock, to list them: some 50 µs.
const LIST_LOOKS: usize = 256;
