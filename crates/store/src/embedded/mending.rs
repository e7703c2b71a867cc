//! The two logs of a directory that nobody has open, as logs: checked, cut off where they are damaged, and shown record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_log::{
    Found, Head, LogConfig, LogError, Place, Repaired, Verified, foresee, heads, repair, scan, verify,
};
use guildhall_proto::{Epoch, GuildId, Millis};

use super::checkpoint_writer::{MANIFEST, PART, WHOLE};
use super::config::EmbeddedConfig;
use super::directory::{CHECKPOINTS, Directory, RECORDS};
use super::identity::Identity;
use super::inspection::rows;
use super::record_writer::{CLAIM, RECORD};
use super::{OpenError, in_log};

/// The logs of one directory, locked.
#[derive(Debug, Clone)]
pub struct Logs(Directory);

/// One thing of each log.
#[derive(Debug)]
pub struct OfEach<T> {
    /// Of the log of records.
    pub records: T,
    /// Of the log of checkpoints.
    pub checkpoints: T,
}

/// A record of one of the logs, without what it says.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The log's folder.
    pub log: &'static str,
    /// What it is: `claim`, `records`, `part`, `manifest`, `checkpoint`, or `unknown`.
    pub kind: &'static str,
    /// Where it lies.
    pub place: Place,
    /// Whose it is, and under which numbers.
    pub head: Head,
}

impl Logs {
    /// The logs of a directory.
    pub fn of(directory: Directory) -> Self {
        Self(directory)
    }

    /// Reads and checks every record. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`] if a log cannot be read; damage is in the answer.
    pub fn verify(&self) -> Result<OfEach<Verified>, OpenError> {
        let identity = self.0.identity()?;
        Ok(OfEach {
            records: verify(&*self.0.records, identity.records).map_err(in_log(RECORDS))?,
            checkpoints: verify(&*self.0.checkpoints, identity.checkpoints).map_err(in_log(CHECKPOINTS))?,
        })
    }

    /// Tells what [`repair`](Self::repair) would lose, and changes nothing. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`] if a log cannot be read.
    pub fn foresee(&self) -> Result<OfEach<Repaired>, OpenError> {
        let identity = self.0.identity()?;
        Ok(OfEach {
            records: foresee(&*self.0.records, identity.records).map_err(in_log(RECORDS))?,
            checkpoints: foresee(&*self.0.checkpoints, identity.checkpoints).map_err(in_log(CHECKPOINTS))?,
        })
    }

    /// Cuts each log that is damaged off at its first bad record; where one is, every claim from then on gives an epoch above all that were
    /// given before: above those that are left, and above the time `now`, in seconds since 1970, moved left by 32 bits. A guild that has
    /// fewer records afterwards than any whole head of a record says that it had stays away until it is [accepted](Self::accept); of what
    /// has no whole head that cannot be told. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`]: broken off, it can be begun again.
    pub fn repair(&self, config: &EmbeddedConfig, now: Millis) -> Result<OfEach<Repaired>, OpenError> {
        let identity = self.0.identity()?;
        let logs = self.foresee()?;
        if logs.records.bad.is_some() || logs.checkpoints.bad.is_some() {
            // First, so that no epoch is ever given twice and no guild forgotten, wherever this is broken off. What is lost was given after
            // what is left.
            let (mut highest, mut reached) = (identity.epochs_from.0, identity.reached.clone());
            let mut see = |head: Head, number: u64| {
                highest = highest.max(head.epoch);
                if let Ok(guild) = GuildId::new(head.guild) {
                    let before = reached.entry(guild).or_default();
                    *before = number.max(*before);
                }
            };
            // The number of a claim is its grant.
            let number = |head: Head| if head.kind == CLAIM { 0 } else { head.seq };
            heads(&*self.0.records, identity.records, |head| see(head, number(head))).map_err(in_log(RECORDS))?;
            // That of a part too is of a record that was stored before.
            heads(&*self.0.checkpoints, identity.checkpoints, |head| see(head, head.seq))
                .map_err(in_log(CHECKPOINTS))?;
            reached.retain(|_, number| *number > 0);
            let above = highest.saturating_add(1 << 32).max((now.0 / 1_000) << 32);
            let raised = Identity { epochs_from: Epoch(above), reached, ..identity.clone() };
            raised.write(&*self.0.root)?;
        }
        let log = LogConfig { segment_bytes: config.segment_bytes };
        let records = repair(Arc::clone(&self.0.records), identity.records, log).map_err(in_log(RECORDS))?;
        let checkpoints = repair(Arc::clone(&self.0.checkpoints), identity.checkpoints, log);
        let repaired = OfEach { records, checkpoints: checkpoints.map_err(in_log(CHECKPOINTS))? };
        // Most guilds lack nothing.
        let identity = self.0.identity()?;
        let (rows, _) = rows(&self.0, &identity)?;
        if rows.cut != identity.reached {
            Identity { reached: rows.cut, ..identity }.write(&*self.0.root)?;
        }
        Ok(repaired)
    }

    /// Has the guilds that a repair has cut come back as it left them: what they had stored since is given up, and will be applied anew if it
    /// is asked for again. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError::Identity`].
    pub fn accept(&self) -> Result<(), OpenError> {
        let identity = self.0.identity()?;
        if !identity.reached.is_empty() {
            Identity { reached: BTreeMap::new(), ..identity }.write(&*self.0.root)?;
        }
        Ok(())
    }

    /// Shows every record, those of the log of records first, each log in its order. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`] at the first record that is bad.
    pub fn read(&self, mut visit: impl FnMut(Seen)) -> Result<OfEach<Found>, OpenError> {
        let identity = self.0.identity()?;
        let mut read = |log, files, id| -> Result<Found, LogError> {
            scan(files, id, |_| true, |place, head, _| visit(Seen { log, kind: kind(log, head), place, head }))
        };
        let records = read(RECORDS, &*self.0.records, identity.records);
        // Both, whatever is wrong with the one.
        let checkpoints = read(CHECKPOINTS, &*self.0.checkpoints, identity.checkpoints);
        Ok(OfEach {
            records: records.map_err(in_log(RECORDS))?,
            checkpoints: checkpoints.map_err(in_log(CHECKPOINTS))?,
        })
    }
}

fn kind(log: &str, head: Head) -> &'static str {
    match head.kind {
        CLAIM if log == RECORDS => "claim",
        RECORD if log == RECORDS => "records",
        PART if log == CHECKPOINTS => "part",
        MANIFEST if log == CHECKPOINTS => "manifest",
        WHOLE if log == CHECKPOINTS => "checkpoint",
        _ => "unknown",
    }
}
