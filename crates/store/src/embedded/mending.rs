//! The two logs of a directory that nobody has open, as logs: checked, cut off where they are damaged, and shown record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_log::{
    Found, Head, LogConfig, LogError, Place, Repaired, Verified, foresee, heads, repair, scan, verify,
};
use guildhall_proto::{Epoch, GuildId, Millis};

use super::checkpoint_writer::{LOST_CHECKPOINT, MANIFEST, PART, WHOLE};
use super::config::EmbeddedConfig;
use super::directory::{CHECKPOINTS, Directory, RECORDS};
use super::identity::Identity;
use super::inspection::rows;
use super::record_writer::{CLAIM, LOST_RECORD, RECORD};
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
    /// What it is: `claim`, `records`, `part`, `manifest`, `checkpoint`, `lost` (what could not be read when it was moved), or `unknown`.
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
    /// given before, if the clock, which says `now`, rises. A guild that has
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
            // Behind the end of a log that is not damaged lies what a crash cut short, of which nobody was told.
            let (files, id) = (&*self.0.records, identity.records);
            let seen = match logs.records.bad {
                Some(_) => heads(files, id, |head| see(head, number(head))),
                None => scan(files, id, |_| false, |_, head, _| see(head, number(head))).map(drop),
            };
            seen.map_err(in_log(RECORDS))?;
            // That of a part too is of a record that was stored before.
            let (files, id) = (&*self.0.checkpoints, identity.checkpoints);
            let seen = match logs.checkpoints.bad {
                Some(_) => heads(files, id, |head| see(head, head.seq)),
                None => scan(files, id, |_| false, |_, head, _| see(head, head.seq)).map(drop),
            };
            seen.map_err(in_log(CHECKPOINTS))?;
            reached.retain(|_, number| *number > 0);
            let mut raised = Identity { reached, ..identity.clone() };
            raised.raise(Epoch(highest), now);
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
    /// is asked for again. Returns them, with the number of the last record that each had. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError::Identity`].
    pub fn accept(&self) -> Result<BTreeMap<GuildId, u64>, OpenError> {
        let mut identity = self.0.identity()?;
        let accepted = std::mem::take(&mut identity.reached);
        if !accepted.is_empty() {
            identity.write(&*self.0.root)?;
        }
        Ok(accepted)
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
        LOST_RECORD if log == RECORDS => "lost",
        LOST_CHECKPOINT if log == CHECKPOINTS => "lost",
        _ => "unknown",
    }
}
