//! An owner's checkpoints, and its falling asleep.

use std::mem::take;

use guildhall_guild::Checkpoint;
use guildhall_proto::limits::{CLIENT_OUTCOMES_MAX, GUILD_CLIENTS_MAX};
use guildhall_store::{Store, StoredCheckpoint};

#[cfg(feature = "defects")]
use super::reply;
use super::{Around, End, Owner, Posted};
use crate::check::{Breach, Promise};
use crate::world::message::{Ask, Happening, Job, NoAnswer};
use crate::world::wire::Wire;

/// The checkpoints on their way to the store: one, and the latest waits.
#[derive(Debug, Default)]
pub(super) struct Saving {
    is_under_way: bool,
    next: Option<Box<Checkpoint>>,
}

impl Saving {
    pub(super) fn is_done(&self) -> bool {
        !self.is_under_way && self.next.is_none()
    }
}

/// How an owner ends whose guild is to be elsewhere.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// What whoever asks is told; `None` if the guild is to be claimed anew by the same node.
    why: Option<NoAnswer>,
    /// What waits for the next owner.
    next: Vec<Posted>,
    /// Whether a checkpoint was tried: what cannot be stored does not keep it.
    has_saved: bool,
}

impl Owner {
    /// The guild is to be elsewhere, or by another grant, or its node stops: takes nothing more, lets out what it has taken, saves that, and ends.
    pub(crate) fn leave(&mut self, why: Option<NoAnswer>, around: &mut Around<'_>) {
        if self.leaving.is_some() {
            return;
        }
        #[cfg(feature = "defects")]
        if let Some(why) = why.filter(|_| guildhall_proto::Defect::MovedAfterApplied.is_on()) {
            take(&mut self.calls).into_values().for_each(|calling| reply(around.wire, calling, Err(why)));
        }
        let next = match why {
            Some(why) => {
                self.turn_away_all(why, around.wire);
                Vec::new()
            }
            None => {
                let parked = take(&mut self.parked).into_iter();
                let reads =
                    parked.map(|(calling, user, at_least)| Posted { ask: Ask::Read { user, at_least }, calling });
                self.mailbox.drain(..).chain(reads).collect()
            }
        };
        self.leaving = Some(Leaving { why, next, has_saved: false });
        self.guild.tidy(self.clock);
        self.gate.tidy();
        self.call(around.wire);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// What waits for the next owner, so that more may.
    pub(crate) fn next(&mut self) -> &mut Vec<Posted> {
        &mut self.leaving.get_or_insert_default().next
    }

    /// A checkpoint was let out. One that is overtaken while it waits is covered by the later one.
    pub(super) fn save(&mut self, checkpoint: Checkpoint, wire: &mut Wire) {
        if self.saving.is_under_way {
            self.saving.next = Some(Box::new(checkpoint));
        } else {
            self.saving.is_under_way = true;
            self.give(Job::Checkpoint(checkpoint), wire);
        }
    }

    /// A worker has written it out.
    pub(super) fn write(&mut self, checkpoint: Checkpoint, around: &mut Around<'_>) -> Result<(), Breach> {
        let Some(store) = around.machine.store() else { return Ok(()) };
        let checkpoint = StoredCheckpoint { structure: checkpoint.structure.structure(), base: checkpoint.base };
        self.keeps_no_more(&checkpoint)?;
        let stored = around.machine.receipt(self.owned, None);
        store.checkpoint(self.owned.guild, self.owned.epoch, checkpoint, stored);
        around.machine.attend(around.wire);
        Ok(())
    }

    /// Promise 7: the outcomes that are kept are bounded.
    fn keeps_no_more(&self, checkpoint: &StoredCheckpoint) -> Result<(), Breach> {
        let clients = &checkpoint.structure.operations;
        let most = clients.iter().map(|client| client.operations.len()).max().unwrap_or(0);
        let is_bounded = clients.len() <= GUILD_CLIENTS_MAX && most <= CLIENT_OUTCOMES_MAX;
        Promise::Bounds.require(is_bounded, || {
            format!("guild {}: outcomes of {} clients are kept, of one {most}", self.owned.guild, clients.len())
        })
    }

    /// The store has a checkpoint, or has not taken it.
    pub(super) fn saved(&mut self, is_stored: bool, around: &mut Around<'_>) {
        self.saving.is_under_way = false;
        if is_stored {
            around.watch.seen.checkpoints += 1;
        } else {
            self.guild.checkpoint_refused();
            self.is_drowsy = false;
        }
        if let Some(next) = take(&mut self.saving.next) {
            self.save(*next, around.wire);
        }
    }

    /// Looks whether the guild has been idle for long enough to sleep.
    pub(crate) fn doze(&mut self, around: &mut Around<'_>) {
        let idle = around.wire.now.0.saturating_sub(self.used.0);
        if idle >= self.config.sleep_after.0 && self.may_sleep() {
            self.is_drowsy = true;
            self.guild.tidy(self.clock);
            self.gate.tidy();
            self.call(around.wire);
        }
        around.wire.later(self.config.sleep_after, Happening::Doze(self.owned));
    }

    fn may_sleep(&self) -> bool {
        self.guild.sessions() == 0 && self.feeds.is_empty() && self.parked.is_empty() && !self.guild.is_at_work()
    }

    /// At the end of a turn: why the owner is to end now, if it is.
    pub(super) fn rest(&mut self, inputs: usize, around: &mut Around<'_>) -> Result<Option<End>, Breach> {
        let is_settled = self.gate.is_empty() && self.saving.is_done() && !self.guild.is_folding() && self.jobs == 0;
        if is_settled && self.effects.is_empty() && !self.guild.exists() {
            return Ok(Some(End::NoGuild));
        }
        if let Some(leaving) = &mut self.leaving {
            let why = leaving.why;
            if !is_settled {
                return Ok(None);
            }
            if std::mem::replace(&mut leaving.has_saved, true) || self.guild.is_checkpointed() {
                if self.guild.is_checkpointed() {
                    around.watch.ledger.fell_asleep(self.id(), self.owned.epoch);
                }
                return Ok(Some(End::Gone(why)));
            }
            self.guild.checkpoint(&mut self.effects);
            self.admit(around);
            self.release(around)?;
            return Ok(None);
        }
        if !self.is_drowsy {
            return Ok(None);
        }
        if inputs > 0 || !self.mailbox.is_empty() || !self.may_sleep() {
            self.is_drowsy = false;
        } else if is_settled && !self.guild.is_checkpointed() {
            self.guild.checkpoint(&mut self.effects);
            self.admit(around);
            self.release(around)?;
        } else if is_settled {
            around.watch.seen.fell_asleep += 1;
            around.watch.ledger.fell_asleep(self.id(), self.owned.epoch);
            return Ok(Some(End::Asleep));
        }
        Ok(None)
    }
}
