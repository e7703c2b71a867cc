//! A directory that nobody writes, looked at without changing a byte of it.

use std::io;
use std::sync::Arc;

use guildhall_log::{Found, LogReader, Verified, scan, verify};
use guildhall_proto::{Epoch, Grant, GuildId, Millis, Record};

use super::backup::{self, BackupError, BackupReport};
use super::config::EmbeddedConfig;
use super::directory::{CHECKPOINTS, Directory, RECORDS};
use super::identity::Identity;
use super::loading;
use super::recovery::Recovery;
use super::rows::{Row, Rows};
use super::shared::Shared;
use super::workers::Workers;
use super::{OpenError, OpenReport, in_log};
use crate::{StoreError, StoredCheckpoint};

/// A store opened to be read. What a crash has left undone is left as it is; what was not whole is not shown.
#[derive(Debug)]
pub struct Inspection {
    shared: Shared,
    report: OpenReport,
}

/// All that is stored of a guild.
#[derive(Debug)]
pub struct StoredGuild {
    /// The epoch of its last owner.
    pub epoch: Epoch,
    /// The latest grant that was seen.
    pub grant: Grant,
    /// Its last checkpoint.
    pub checkpoint: Option<StoredCheckpoint>,
    /// The records since, in order.
    pub tail: Vec<Record>,
}

/// What a directory was found to be when every byte of it that matters was read.
#[derive(Debug)]
pub struct Verification {
    /// The log of records.
    pub records: Verified,
    /// The log of checkpoints.
    pub checkpoints: Verified,
    /// The guilds that were read whole. None if one of the logs is damaged.
    pub guilds: Vec<GuildId>,
    /// Those that cannot be read, and why.
    pub damaged: Vec<(GuildId, StoreError)>,
}

impl Inspection {
    /// Reads the heads of all records. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: Directory, workers: Arc<dyn Workers>) -> Result<Self, OpenError> {
        let identity = directory.identity()?;
        let (rows, report) = rows(&directory, &identity)?;
        let readers = loading::Readers {
            records: LogReader::new(Arc::clone(&directory.records), identity.records),
            checkpoints: LogReader::new(Arc::clone(&directory.checkpoints), identity.checkpoints),
            seed: identity.seed,
        };
        let shared = Shared::new(EmbeddedConfig::default(), directory, identity, readers, rows, workers);
        Ok(Self { shared, report })
    }

    /// Reads and checks every byte of a directory that matters. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be read at all; damage is in the answer.
    pub fn verify(directory: Directory, workers: Arc<dyn Workers>) -> Result<Verification, OpenError> {
        let identity = directory.identity()?;
        let records = verify(&*directory.records, identity.records).map_err(in_log(RECORDS))?;
        let checkpoints = verify(&*directory.checkpoints, identity.checkpoints).map_err(in_log(CHECKPOINTS))?;
        let mut verification = Verification { records, checkpoints, guilds: Vec::new(), damaged: Vec::new() };
        if verification.records.bad.is_some() || verification.checkpoints.bad.is_some() {
            return Ok(verification);
        }
        let inspection = Self::open(directory, workers)?;
        for guild in inspection.guilds() {
            match inspection.read(guild) {
                Ok(_) => verification.guilds.push(guild),
                Err(error) => verification.damaged.push((guild, error)),
            }
        }
        Ok(verification)
    }

    /// Whose directory it is.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// What was found in it.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// The guilds of which anything is stored, ascending.
    pub fn guilds(&self) -> Vec<GuildId> {
        self.shared.rows().stored().collect()
    }

    /// Reads a guild. `None` if nothing is stored of it. Waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub fn read(&self, guild: GuildId) -> Result<Option<StoredGuild>, StoreError> {
        StoredGuild::read(&self.shared, guild)
    }

    /// Writes all guilds into an archive. Waits for the disk.
    ///
    /// # Errors
    /// [`BackupError`]: what was written is no archive.
    pub fn backup(&self, archive: &mut dyn io::Write, made_at: Millis) -> Result<BackupReport, BackupError> {
        backup::write(&self.shared, archive, made_at)
    }
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.records.bad.is_none() && self.checkpoints.bad.is_none() && self.damaged.is_empty()
    }

    /// What was gone through, both logs together: records, and bytes.
    pub fn read(&self) -> (u64, u64) {
        let found: [&Found; 2] = [&self.records.found, &self.checkpoints.found];
        (found.iter().map(|found| found.records).sum(), found.iter().map(|found| found.bytes).sum())
    }
}

impl StoredGuild {
    /// Reads a guild as it is stored now.
    pub(crate) fn read(shared: &Shared, guild: GuildId) -> Result<Option<Self>, StoreError> {
        let found = shared.load(guild, None)?;
        let rows = shared.rows();
        let Some(row) = rows.guilds.get(&guild).filter(|row| row.is_stored()) else {
            return Ok(None);
        };
        let Row { epoch, grant, .. } = row;
        let (grant, checkpoint) = match found.checkpoint {
            Some((title, checkpoint)) => (title.grant.max(*grant), Some(checkpoint)),
            None => (*grant, None),
        };
        Ok(Some(Self { epoch: *epoch, grant, checkpoint, tail: found.tail }))
    }
}

/// The rows, from the heads of all records.
pub(crate) fn rows(directory: &Directory, identity: &Identity) -> Result<(Rows, OpenReport), OpenError> {
    let mut recovery = Recovery::default();
    let checkpoints = scan(&*directory.checkpoints, identity.checkpoints, Recovery::wants, |place, head, bytes| {
        recovery.checkpoint(place, head, bytes);
    })
    .map_err(in_log(CHECKPOINTS))?;
    let records = scan(&*directory.records, identity.records, |_| false, |place, head, _| recovery.record(place, head))
        .map_err(in_log(RECORDS))?;
    let rows = recovery.finish(&identity.reached)?;
    let report = OpenReport { guilds: rows.stored().count(), records, checkpoints };
    Ok((rows, report))
}
