//! An owner and its store: records out, word of them back, checkpoints aside.
//!
//! Records are handed over turn by turn, as many as the gate may hold. Of checkpoints one is written at a time, encoded on a worker,
//! and the latest waits; one that is overtaken there is dropped, for the later one covers all that it covers.
//!
//! Invariant: for each turn and each checkpoint handed over the owner is told an outcome, whatever the store does.

use std::mem::take;
use std::sync::Arc;

use guildhall_guild::{Checkpoint, TurnId};
use guildhall_proto::Record;
use guildhall_store::{Batch, StoreError, StoredCheckpoint};

use super::{Owner, SleepError};
use crate::counters::{Counter, Counters};
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

/// What the store owes for one thing handed over: an outcome. Dropped without one, it tells the owner that.
struct Receipt {
    live: Arc<Live>,
    counters: Arc<Counters>,
    of: Handed,
    told: bool,
}

/// What was handed over.
#[derive(Debug, Clone, Copy)]
enum Handed {
    Turn(TurnId),
    Checkpoint,
}

impl Owner {
    pub(super) fn store(&self, turn: TurnId, records: Vec<Record>) {
        self.around.counters.add(Counter::Records, records.len() as u64);
        let receipt = self.receipt(Handed::Turn(turn));
        let batch = Batch { guild: self.live.guild, epoch: self.live.feed.epoch, records };
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
        let (store, live, receipt) =
            (Arc::clone(&self.around.store), Arc::clone(&self.live), self.receipt(Handed::Checkpoint));
        let (guild, epoch) = (self.live.guild, self.live.feed.epoch);
        self.around.offload.run(
            move || {
                let Checkpoint { structure, base } = checkpoint;
                let checkpoint = StoredCheckpoint { structure: structure.structure(), base };
                store.checkpoint(guild, epoch, checkpoint, Box::new(move |outcome| receipt.tell(outcome)));
            },
            move |written| {
                if let Err(panic) = written {
                    live.mailbox.post_control(Control::JobPanicked(panic));
                }
            },
        );
    }

    fn receipt(&self, of: Handed) -> Receipt {
        Receipt { live: Arc::clone(&self.live), counters: Arc::clone(&self.around.counters), of, told: false }
    }
}

impl Receipt {
    fn tell(mut self, outcome: Result<(), StoreError>) {
        self.told = true;
        self.post(outcome);
    }

    fn post(&self, outcome: Result<(), StoreError>) {
        self.live.mailbox.post_control(match self.of {
            Handed::Turn(turn) => Control::Settled(turn, outcome),
            Handed::Checkpoint => {
                if let Err(error) = &outcome {
                    // The records stay, so nothing is lost; the next checkpoint covers them.
                    self.counters.bump(Counter::CheckpointsFailed);
                    tracing::warn!(guild = %self.live.guild, epoch = self.live.feed.epoch.0, %error, "checkpoint not stored");
                }
                Control::CheckpointDone { stored: outcome.is_ok() }
            }
        });
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.told {
            let reason = String::from("the store dropped what it was to keep without a word");
            self.post(Err(StoreError::Unavailable { reason }));
        }
    }
}
