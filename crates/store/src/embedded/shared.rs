//! What the store's handle, its two writers and the claims under way have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use guildhall_log::Queue;
use guildhall_proto::{Epoch, Grant, GuildId, Millis};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::EmbeddedConfig;
use super::checkpoint_writer::Job;
use super::counters::Counters;
use super::directory::Directory;
use super::identity::{Identity, IdentityError};
use super::loading::{Found, Readers};
use super::manifest::Manifest;
use super::record_writer::Work;
use super::rows::{Entry, Row, Rows, Spot};
use super::workers::Workers;
use crate::StoreError;

/// Locks are taken in this order: the rows, then a queue's own.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: EmbeddedConfig,
    /// Locked until the writers have ended too.
    directory: Directory,
    /// As it was opened.
    pub(crate) identity: Identity,
    /// The grants that the last coordinator began with.
    grants_from: Mutex<Grant>,
    pub(crate) readers: Readers,
    pub(crate) workers: Arc<dyn Workers>,
    pub(crate) counters: Counters,
    /// For the writer of records.
    pub(crate) work: Queue<Work>,
    /// For the writer of checkpoints.
    pub(crate) jobs: Queue<Job>,
    rows: Mutex<Rows>,
    /// Told when a claim is settled, a checkpoint has been replaced, or the store has failed.
    changed: Condvar,
    has_room: AtomicBool,
    /// Whether the writer of records has been asked to look at what it need not keep any more.
    is_nudged: AtomicBool,
    /// When somebody last asked for room, and the disk was to be tried.
    asked: Mutex<Option<Instant>>,
}

impl Shared {
    pub(crate) fn new(
        config: EmbeddedConfig,
        directory: Directory,
        identity: Identity,
        readers: Readers,
        rows: Rows,
        workers: Arc<dyn Workers>,
    ) -> Self {
        Self {
            work: Queue::new(config.records),
            jobs: Queue::new(config.checkpoints),
            config,
            directory,
            grants_from: Mutex::new(identity.grants_from),
            identity,
            readers,
            workers,
            counters: Counters::default(),
            rows: Mutex::new(rows),
            changed: Condvar::new(),
            has_room: AtomicBool::new(true),
            is_nudged: AtomicBool::new(false),
            asked: Mutex::new(None),
        }
    }

    /// Has a coordinator begin above all grants that any before it gave, and returns where. Waits for the disk.
    pub(crate) fn raise_grants(&self, now: Millis) -> Result<Grant, IdentityError> {
        let mut grants_from = self.grants_from.lock();
        let mut raised = Identity { grants_from: *grants_from, ..self.identity.clone() };
        raised.raise_grants(now);
        raised.write(&*self.directory.root)?;
        *grants_from = raised.grants_from;
        Ok(*grants_from)
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock()
    }

    /// Tells all who wait for the rows to change.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for the rows to change.
    pub(crate) fn wait(&self, rows: &mut MutexGuard<'_, Rows>) {
        self.changed.wait(rows);
    }

    /// From here on nothing is written any more; the other writer ends too.
    pub(crate) fn fail(&self, reason: &str) {
        self.rows().failed.get_or_insert_with(|| reason.to_owned());
        self.notify();
        self.work.close();
        self.jobs.close();
    }

    pub(crate) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Acquire)
    }

    pub(crate) fn set_room(&self, has_room: bool) {
        self.has_room.store(has_room, Ordering::Release);
    }

    /// Has the writer of records look, soon, for room and for what it need not keep any more. Asked again before it has looked, that is
    /// once.
    pub(crate) fn nudge(&self) {
        if !self.is_nudged.swap(true, Ordering::AcqRel) && self.work.push(Work::Look, 0).is_err() {
            // It has much to do, and looks behind each group.
            self.looked();
        }
    }

    /// As [`nudge`](Self::nudge), for who has found that there is no room: not more often than that is worth.
    pub(crate) fn ask_for_room(&self) {
        let pause = self.config.room_pause;
        if !pause.is_zero() {
            let mut asked = self.asked.lock();
            if asked.is_some_and(|at| at.elapsed() < pause) {
                return;
            }
            *asked = Some(Instant::now());
        }
        self.nudge();
    }

    pub(crate) fn looked(&self) {
        self.is_nudged.store(false, Ordering::Release);
    }

    /// Reads all that is stored of a guild, of which `owner` is the owner if that matters. May wait for the disk.
    pub(crate) fn load(&self, guild: GuildId, owner: Option<Epoch>) -> Result<Found, StoreError> {
        self.read(guild, owner, |checkpoint, entries| self.readers.load(guild, checkpoint, entries, &*self.workers))
    }

    /// Reads what lies in the logs of a guild.
    ///
    /// That may be moved meanwhile, and is then read where it is: a guild in which nothing happens is moved once or twice.
    pub(crate) fn read<T>(
        &self,
        guild: GuildId,
        owner: Option<Epoch>,
        read: impl Fn(Option<Spot>, &[Entry]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            let (checkpoint, entries) = {
                let rows = self.rows();
                rows.whole(guild)?;
                if let Some(owner) = owner {
                    rows.fence(guild, owner)?;
                }
                rows.guilds.get(&guild).map_or((None, Vec::new()), |row| (row.checkpoint, row.entries().to_vec()))
            };
            match read(checkpoint, &entries) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    let rows = self.rows();
                    let is_moved = |row: &Row| row.checkpoint != checkpoint || row.entries() != entries;
                    if !rows.guilds.get(&guild).is_some_and(is_moved) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The latest grant seen of a guild: since the store was opened, or in its checkpoint. May wait for the disk.
    pub(crate) fn grant(&self, guild: GuildId) -> Result<Grant, StoreError> {
        loop {
            let spot = match self.rows().guilds.get(&guild) {
                Some(Row { grant: Grant(0), checkpoint: Some(spot), .. }) => *spot,
                Some(row) => return Ok(row.grant),
                None => return Ok(Grant(0)),
            };
            let read = self.readers.manifest(spot).and_then(|bytes| {
                let manifest = Manifest::decode(&bytes).map_err(|error| super::loading::damaged(guild, error))?;
                Ok(manifest.title.grant)
            });
            match read {
                Ok(grant) => return Ok(grant),
                Err(error) => {
                    if self.rows().guilds.get(&guild).and_then(|row| row.checkpoint) == Some(spot) {
                        return Err(error);
                    }
                }
            }
        }
    }
}
