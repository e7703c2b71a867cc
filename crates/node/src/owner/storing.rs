//! An owner and its store: records out, word of them back, checkpoints aside.
//!
//! Records are handed over turn by turn, as many as the gate may hold. Of checkpoints one is written at a time, on a worker, and the
//! latest waits; one that is overtaken there is dropped, for the later one covers all that it covers.
//!
//! Invariant: for each turn handed over the owner is told an outcome, whatever the store does.

use std::mem::take;
use std::sync::Arc;

use guildhall_guild::{Checkpoint, TurnId};
use guildhall_proto::Record;
use guildhall_store::{Batch, StoreError, StoredCheckpoint};

use super::{Owner, SleepError};
use crate::counters::Counter;
use crate::live::{Control, Live};

/// The checkpoints of one guild that are on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    under_way: bool,
    next: Option<Box<Checkpoint>>,
}

impl Checkpoints {
    /// Whether none is under way or waits.
    pub(super) fn are_done(&self) -> bool {
        !self.under_way && self.next.is_none()
    }
}

/// What the store owes for one turn: an outcome. Dropped without one, it tells the owner that.
struct Receipt {
    live: Arc<Live>,
    turn: TurnId,
    told: bool,
}

impl Owner {
    pub(super) fn store(&self, turn: TurnId, records: Vec<Record>) {
        self.around.counters.add(Counter::Records, records.len() as u64);
        let receipt = Receipt { live: Arc::clone(&self.live), turn, told: false };
        let batch = Batch { guild: self.live.guild, epoch: self.live.epoch, records };
        self.around.store.append(batch, Box::new(move |outcome| receipt.tell(outcome)));
    }

    pub(super) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        if !self.checkpoints.under_way {
            self.write(checkpoint);
        } else if let Some(overtaken) = self.checkpoints.next.replace(Box::new(checkpoint)) {
            self.around.offload.discard(overtaken);
        }
    }

    pub(super) fn checkpoint_done(&mut self, stored: bool) {
        self.checkpoints.under_way = false;
        if !stored {
            self.guild.checkpoint_refused();
            self.stay_awake(SleepError::NotStored);
        }
        if let Some(next) = take(&mut self.checkpoints.next) {
            self.write(*next);
        }
    }

    fn write(&mut self, checkpoint: Checkpoint) {
        self.checkpoints.under_way = true;
        self.around.counters.bump(Counter::Checkpoints);
        let (store, counters, live) =
            (Arc::clone(&self.around.store), Arc::clone(&self.around.counters), Arc::clone(&self.live));
        let (guild, epoch) = (self.live.guild, self.live.epoch);
        self.around.offload.run(
            move || {
                let Checkpoint { structure, base } = checkpoint;
                store.checkpoint(guild, epoch, StoredCheckpoint { structure: structure.structure(), base })
            },
            move |written| {
                live.mailbox.post_control(match written {
                    Ok(Ok(())) => Control::CheckpointDone { stored: true },
                    Ok(Err(error)) => {
                        // The records stay, so nothing is lost; the next checkpoint covers them.
                        counters.bump(Counter::CheckpointsFailed);
                        tracing::warn!(%guild, epoch = epoch.0, %error, "checkpoint not stored");
                        Control::CheckpointDone { stored: false }
                    }
                    Err(panic) => {
                        counters.bump(Counter::CheckpointsFailed);
                        Control::JobPanicked(panic)
                    }
                });
            },
        );
    }
}

impl Receipt {
    fn tell(mut self, outcome: Result<(), StoreError>) {
        self.told = true;
        self.live.mailbox.post_control(Control::Settled(self.turn, outcome));
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.told {
            let reason = String::from("the store dropped the records without a word");
            self.live.mailbox.post_control(Control::Settled(self.turn, Err(StoreError::Unavailable { reason })));
        }
    }
}
