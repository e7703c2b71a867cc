//! How an idle guild falls asleep: what only memory holds goes to the store, then the owner ends and all is freed.
//!
//! Told to sleep, the owner goes on as before and looks at the end of each turn whether it may end: nobody listens, nothing is under
//! way, and the last checkpoint has everything. Whatever comes in between has been taken, so it is carried out, and the guild stays
//! awake. The mailbox closes only when it is empty: no request is ever turned away because of sleep.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{End, Owner};

/// Why a guild stays awake that was asked to sleep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SleepError {
    /// Sessions are attached, or a relay listens.
    #[error("the guild has {sessions} sessions, or a relay that listens")]
    Heard {
        /// How many sessions there are.
        sessions: usize,
    },
    /// Requests came meanwhile, or an operation is under way that is spread over turns.
    #[error("the guild is in use")]
    InUse,
    /// So many wait already for the guild to fall asleep, and it may do so at once.
    #[error("{max} others have asked the guild to sleep, and wait for it")]
    Asked {
        /// How many may wait.
        max: usize,
    },
    /// The store did not take the guild's checkpoint. The records are stored, so nothing is lost.
    #[error("the store did not take the guild's checkpoint")]
    NotStored,
    /// The store has no room: what it keeps for claims is to wake those who sleep already.
    #[error("the store has no room")]
    NoRoom,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Who has a guild fall asleep.
#[derive(Debug)]
pub(crate) enum Bedtime {
    /// It was idle for long. The permit is one of few, so that not all of a node's guilds go to the store at once.
    Idle { _pace: OwnedSemaphorePermit },
    /// Somebody asks for it, and is told what stands against it, as are those who ask too. Dropped without a word, the owner has ended.
    Asked(Vec<oneshot::Sender<Result<(), SleepError>>>),
}

impl Bedtime {
    /// Answers whoever has asked.
    pub(super) fn tell(self, outcome: Result<(), SleepError>) {
        match self {
            Self::Idle { .. } => {}
            Self::Asked(all) => all.into_iter().for_each(|tell| {
                // Who went away needs no answer.
                drop(tell.send(outcome.clone()));
            }),
        }
    }
}

impl Owner {
    /// Has the guild fall asleep as soon as it may.
    pub(super) fn become_drowsy(&mut self, bedtime: Bedtime) {
        match (&mut self.drowsy, bedtime) {
            // Somebody waits for an answer: the node's own request may come again.
            (Some(_), Bedtime::Idle { .. }) => {}
            (Some(Bedtime::Asked(before)), Bedtime::Asked(more)) => {
                for tell in more {
                    if before.len() < ASKERS_MAX {
                        before.push(tell);
                    } else {
                        // Who went away needs no answer.
                        drop(tell.send(Err(SleepError::Asked { max: ASKERS_MAX })));
                    }
                }
            }
            (_, bedtime) => self.drowsy = Some(bedtime),
        }
    }

    /// Goes on as if the guild had never been asked to sleep.
    pub(super) fn stay_awake(&mut self, because: SleepError) {
        if let Some(bedtime) = self.drowsy.take() {
            bedtime.tell(Err(because));
        }
    }

    /// Falls asleep, or does the next thing towards it, if the guild is to. To be called at the end of a turn.
    pub(super) fn fall_asleep(&mut self, inputs: usize) {
        if self.drowsy.is_none() || self.ended.is_some() {
            return;
        }
        if let Some(obstacle) = self.obstacle(inputs) {
            return self.stay_awake(obstacle);
        }
        if !self.is_settled() {
            // What it waits for comes as control, and with it the next turn.
            return;
        }
        if !self.guild.is_checkpointed() {
            self.guild.checkpoint(&mut self.effects);
            self.admit();
            self.release();
            return;
        }
        if self.live.mailbox.close_if_empty() {
            self.live.set_handled_all();
            self.end(End::Asleep);
        } else {
            self.stay_awake(SleepError::InUse);
        }
    }

    fn obstacle(&self, inputs: usize) -> Option<SleepError> {
        let sessions = self.guild.sessions();
        if self.is_stopping() {
            Some(SleepError::Stopping)
        } else if sessions > 0 || self.live.is_heard() {
            Some(SleepError::Heard { sessions })
        } else if inputs > 0 || self.guild.is_at_work() {
            Some(SleepError::InUse)
        } else if !self.guild.has_room() {
            Some(SleepError::NoRoom)
        } else {
            None
        }
    }

    /// Whether nothing is on its way to the store or a worker.
    pub(super) fn is_settled(&self) -> bool {
        self.gate.is_empty() && self.checkpoints.are_done() && !self.guild.is_folding()
    }
}

/// How many may wait for one guild to fall asleep; one more is told that it is in use.
const ASKERS_MAX: usize = 64;
