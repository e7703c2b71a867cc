//! Durable state of guilds, behind one trait.
//!
//! A [`Store`] keeps, for each guild, a *fence* (the epoch under which writes are accepted), a checkpoint, and the records since.
//! Who would write must first [claim](Store::claim) the guild: that raises the epoch and shuts every earlier owner out, so that at
//! most one node ever acknowledges durable operations of a guild under one epoch.
//!
//! [`EmbeddedStore`] keeps all that in one [directory](Directory) of a disk, for one process. [`MemoryStore`] keeps it in memory: a
//! guild that retires comes back from it, a process that ends takes it along.
//!
//! ```
//! use guildhall_proto::{Grant, GuildId};
//! use guildhall_store::{Batch, MemoryStore, Store};
//!
//! let store = MemoryStore::default();
//! let guild = GuildId::new(1)?;
//! let first = store.claim(guild, Grant(1))?;
//! let second = store.claim(guild, Grant(1))?;
//! assert!(second.epoch > first.epoch);
//!
//! // The first owner is fenced out.
//! let (told, outcome) = std::sync::mpsc::channel();
//! store.append(Batch { guild, epoch: first.epoch, records: vec![] }, Box::new(move |stored| drop(told.send(stored))));
//! assert!(outcome.recv()?.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On a disk
//!
//! A directory is [made](Directory::make) and [becomes a store](EmbeddedStore::create) once; it is [opened](EmbeddedStore::open) by one process
//! at a time. The store starts no thread: who opens it runs the two writers that it returns, and awaits their ends, for an error there means
//! that the disk failed and the process should stop. A directory that nobody writes is looked at with an [`Inspection`].
//!
//! ```
//! use std::sync::Arc;
//! use std::thread;
//!
//! use guildhall_proto::{Grant, GuildId, NodeId};
//! use guildhall_store::{Alone, Directory, EmbeddedConfig, EmbeddedStore, Identity, Store};
//!
//! # let temp = tempfile::tempdir()?;
//! # let (path, cluster, random) = (temp.path(), 7, [1; 40]);
//! let config = EmbeddedConfig::default();
//! let directory = Directory::make(path)?;
//! EmbeddedStore::create(&directory, &Identity::new(cluster, NodeId::new(1)?, random), &config)?;
//!
//! let (store, records, checkpoints, report) = EmbeddedStore::open(directory, config, Arc::new(Alone))?;
//! assert_eq!(report.guilds, 0);
//! let writers = [thread::spawn(|| records.run()), thread::spawn(|| checkpoints.run())];
//! let claim = store.claim(GuildId::new(1)?, Grant(1))?;
//! assert!(claim.checkpoint.is_none() && claim.tail.is_empty());
//!
//! drop(store);
//! for writer in writers {
//!     writer.join().expect("a writer does not panic")?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Several nodes of one process
//!
//! Who may claim which guild is said by an [`EmbeddedCoordinator`], which lives as long as the process. That of a directory gives grants above all that
//! this has seen, so that no claim is refused for what an earlier process was granted.
//!
//! ```
//! use guildhall_cluster::{Coordinator, Peer};
//! use guildhall_proto::{GuildId, Instance, Millis, NodeId};
//! use guildhall_store::{EmbeddedCoordinator, MemoryStore, Store};
//!
//! // Over a directory it is `store.coordinator(now)`.
//! let (store, coordinator) = (MemoryStore::default(), EmbeddedCoordinator::new(Millis(1_700_000_000_000)));
//! let (guild, node, instance) = (GuildId::new(1)?, NodeId::new(1)?, Instance(10));
//! coordinator.join(node, Peer { instance, addresses: Vec::new() });
//!
//! let grant = coordinator.placement().grant(guild, node, instance).expect("no other node is there");
//! assert!(store.claim(guild, grant).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coordinator;
mod embedded;
mod memory;
pub mod structure;

use std::io;

use guildhall_members::Base;
use guildhall_proto::{Epoch, EventKind, Grant, GuildId, Millis, Record, Standing, Structure};

pub use coordinator::EmbeddedCoordinator;
pub use embedded::{
    Alone, ArchiveError, BackupError, BackupReport, CheckpointWriter, Directory, DirectoryError, EmbeddedConfig,
    EmbeddedCounts, EmbeddedStore, FORMAT, Identity, IdentityError, Inspection, Logs, OfEach, OpenError, OpenReport,
    PendingClaim, RecordWriter, RestoreError, Seen, StoreFailure, StoredGuild, Verification, Workers, prove, restore,
};
pub use memory::MemoryStore;

/// What a store knows of a guild without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing was ever stored of it.
    Nothing,
    /// Something is; it may be deleted all the same, which shows when it is claimed.
    Something,
    /// It was deleted: a claim is worth its room for who may have to be told an outcome from before.
    Deleted,
}

/// Keeps guilds' durable state.
pub trait Store: Send + Sync + 'static {
    /// What is stored of a guild, as far as that is known without waiting: it is asked on callers' threads.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that cannot be told.
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError>;

    /// The guilds of which something is stored, those known to be deleted left out: ascending, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that cannot be told.
    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError>;

    /// Tells `confirmed`, from whatever thread, whether an epoch is in force at some moment after the call: then nobody has claimed the
    /// guild since. Never waits. Other than an empty batch that is refused, this leaves what follows as it is.
    ///
    /// If it is not, [`StoreError::Fenced`]; [`StoreError::Unavailable`] if that cannot be told.
    fn confirm(&self, guild: GuildId, epoch: Epoch, confirmed: Stored);

    /// Takes a guild over: raises its epoch, and returns all that is stored of it. May wait for the disk; call it on a thread that
    /// may wait too.
    ///
    /// # Errors
    /// [`StoreError::StaleGrant`] if a later grant has been seen; [`StoreError::Corrupt`]; [`StoreError::Full`];
    /// [`StoreError::Busy`]; [`StoreError::Unavailable`]. The epoch may be raised nevertheless.
    fn claim(&self, guild: GuildId, grant: Grant) -> Result<Claim, StoreError>;

    /// Stores records, all or none, and then tells `stored`, from whatever thread. Never waits. Batches of one guild are stored in
    /// the order of the calls; once one is refused, all later ones of its epoch are refused too, so that no hole is left behind it.
    fn append(&self, batch: Batch, stored: Stored);

    /// Replaces a guild's checkpoint and drops the records that it covers, and then tells `stored`, from whatever thread. Writes the
    /// guild out where it is called, so call it on a worker; does not wait for the disk. An older checkpoint than the one that is there
    /// changes nothing and counts as stored.
    ///
    /// If it is not stored, nothing is replaced: [`StoreError::Fenced`] if the guild has been claimed since.
    fn checkpoint(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint, stored: Stored);

    /// Whether there is room for records. Never waits: it is asked in every turn. While there is none, an owner refuses durable
    /// commands before it applies them, and puts no guild to sleep; claims go on, and checkpoints while there is room for them.
    fn has_room(&self) -> bool;

    /// Writes all guilds into an archive, each as it is stored when its turn comes, while owners go on: [`restore`] makes a store of it, and [`prove`] says
    /// whether it came through whole. Waits for the disk, and for whoever takes the archive.
    ///
    /// # Errors
    /// [`BackupError`]: what was written is no archive. A store that keeps nothing for longer than a process has none to give.
    fn backup(&self, _archive: &mut dyn io::Write, _made_at: Millis) -> Result<BackupReport, BackupError> {
        Err(BackupError::NothingLasts)
    }
}

/// Told once, when a batch or a checkpoint is stored, or an epoch confirmed, or that is known not to be. Dropped untold, the outcome is unknown.
pub type Stored = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Records of one guild, under one epoch.
#[derive(Debug)]
pub struct Batch {
    /// Whose.
    pub guild: GuildId,
    /// The epoch under which the writer claimed the guild.
    pub epoch: Epoch,
    /// In the order in which they were made.
    pub records: Vec<Record>,
}

/// A guild as it is taken over.
#[derive(Debug)]
pub struct Claim {
    /// The epoch to write under: higher than any before.
    pub epoch: Epoch,
    /// The last checkpoint, if there was one.
    pub checkpoint: Option<StoredCheckpoint>,
    /// The records since, in order.
    pub tail: Vec<Record>,
}

impl Claim {
    /// Whether the guild was deleted: that is the last thing that ever happens to one.
    fn is_deleted(&self) -> bool {
        match self.tail.iter().rev().find_map(|record| record.event.as_ref()) {
            Some(event) => matches!(event.kind, EventKind::GuildDeleted),
            None => self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_deleted()),
        }
    }
}

/// A guild's durable state at the position of its structure.
#[derive(Debug, Clone)]
pub struct StoredCheckpoint {
    /// All but the members.
    pub structure: Structure,
    /// The members.
    pub base: Base,
}

impl StoredCheckpoint {
    fn is_deleted(&self) -> bool {
        matches!(self.structure.standing, Standing::Deleted)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The guild has been claimed by a later owner; the caller is to stop being its owner.
    #[error("epoch {got:?} is fenced out by {current:?}")]
    Fenced {
        /// The writer's epoch.
        got: Epoch,
        /// The epoch in force.
        current: Epoch,
    },
    /// A later grant has been seen; the caller's leave to claim is out of date.
    #[error("grant {got:?} is older than {seen:?}")]
    StaleGrant {
        /// The caller's.
        got: Grant,
        /// The latest seen.
        seen: Grant,
    },
    /// There is no room on the disk; nothing of what was asked happened.
    #[error("the store has no room")]
    Full,
    /// Too much waits for the disk; nothing of what was asked happened, and a later attempt may succeed.
    #[error("too much waits for the store")]
    Busy,
    /// What is stored of the guild is damaged. Nothing is guessed: the guild stays away until an operator decides.
    #[error("what is stored of the guild is damaged: {what}")]
    Corrupt {
        /// What is wrong, and where: the file, and the place in it.
        what: String,
    },
    /// The store cannot be reached, or failed; what was asked may or may not have happened.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What failed.
        reason: String,
    },
}
