//! A claim under way: its record is on its way to the disk, and everything stored before it is read when it has arrived.

use std::sync::Arc;

use guildhall_proto::{Epoch, Grant, GuildId};

use super::record_writer::Work;
use super::refused_by;
use super::rows::{CLAIM_BYTES, Rows};
use super::shared::Shared;
use crate::{Claim, StoreError};

/// A claim that has raised the epoch: earlier owners are shut out already. Dropped, it leaves the epoch raised.
#[derive(Debug)]
pub struct PendingClaim {
    shared: Arc<Shared>,
    guild: GuildId,
    epoch: Epoch,
}

impl PendingClaim {
    pub(crate) fn begin(shared: &Arc<Shared>, guild: GuildId, grant: Grant) -> Result<Self, StoreError> {
        let seen = shared.grant(guild)?;
        let mut rows = shared.rows();
        rows.working()?;
        rows.whole(guild)?;
        let (before, seen) = rows.guilds.get(&guild).map_or((Epoch(0), seen), |row| (row.epoch, row.grant.max(seen)));
        #[cfg(feature = "defects")]
        let seen = if guildhall_proto::Defect::GrantMayFall.is_on() { grant } else { seen };
        if grant < seen {
            return Err(StoreError::StaleGrant { got: grant, seen });
        }
        let Some(epoch) = before.max(shared.identity.epochs_from).0.checked_add(1).map(Epoch) else {
            return Err(StoreError::Unavailable { reason: format!("guild {guild} has no epochs left") });
        };
        #[cfg(feature = "defects")]
        let epoch = if guildhall_proto::Defect::EpochNotRaised.is_on() && before > Epoch(0) { before } else { epoch };
        // Under the rows' lock, so that no batch of an earlier epoch comes behind it.
        let bytes = usize::try_from(CLAIM_BYTES).expect("a head has some dozens of bytes");
        shared.work.push(Work::Claim { guild, epoch, grant }, bytes).map_err(|refused| refused_by(refused).0)?;
        let row = rows.guilds.entry(guild).or_default();
        row.epoch = epoch;
        row.grant = grant;
        row.forgive();
        rows.claims.insert((guild, epoch), None);
        drop(rows);
        Ok(Self { shared: Arc::clone(shared), guild, epoch })
    }

    /// The epoch that it gives, once it is settled.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether [`finish`](Self::finish) would not wait for a writer any more.
    pub fn is_settled(&self) -> bool {
        self.outcome(&self.shared.rows()).is_some()
    }

    /// Waits until the claim is on the disk, and reads all that is stored of the guild.
    ///
    /// # Errors
    /// [`StoreError::Full`] if there was no room for it; [`StoreError::Fenced`] if a later claim overtook it;
    /// [`StoreError::Corrupt`]; [`StoreError::Unavailable`].
    pub fn finish(self) -> Result<Claim, StoreError> {
        let mut rows = self.shared.rows();
        let outcome = loop {
            match self.outcome(&rows) {
                Some(outcome) => break outcome,
                None => self.shared.wait(&mut rows),
            }
        };
        drop(rows);
        outcome?;
        let found = self.shared.load(self.guild, Some(self.epoch))?;
        let checkpoint = found.checkpoint.map(|(_, checkpoint)| checkpoint);
        let claim = Claim { epoch: self.epoch, checkpoint, tail: found.tail };
        if claim.is_deleted() {
            self.shared.rows().deleted.insert(self.guild);
        }
        Ok(claim)
    }

    /// How it turned out. `None` also while a checkpoint of the owner before is put in place: it was begun before the claim, and is the
    /// one to go on from.
    fn outcome(&self, rows: &Rows) -> Option<Result<(), StoreError>> {
        let settled = rows.claims.get(&(self.guild, self.epoch)).and_then(Clone::clone);
        match settled {
            Some(_) if rows.replacing.contains(&self.guild) && rows.failed.is_none() => None,
            Some(outcome) => Some(outcome),
            None => rows.working().err().map(Err),
        }
    }
}

impl Drop for PendingClaim {
    fn drop(&mut self) {
        self.shared.rows().claims.remove(&(self.guild, self.epoch));
    }
}
