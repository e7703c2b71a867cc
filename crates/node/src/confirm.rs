//! Asks the store whether owners are the owners still, for reads that must not be of an owner that was taken over.
//!
//! A reader needs an answer to a question that was asked after it came, so it cannot join one that is under way. While that is, all who come wait
//! for the next: of each guild at most one question is under way, however many read it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem::take;
use std::sync::Arc;

use guildhall_proto::{CallError, Epoch, GuildId};
use guildhall_store::{Store, StoreError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::counters::{Counter, Counters};
use crate::last::Readable;
use crate::live::Control;
use crate::node::Node;

/// The questions of one node.
pub(crate) struct Confirmations {
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    /// What is being asked.
    under_way: Mutex<HashMap<Owner, UnderWay>>,
}

/// A question that the store has not answered.
#[derive(Debug)]
struct UnderWay {
    /// Those who came since it was asked.
    waiting: Vec<Waiting>,
    stage: Stage,
}

/// How far a question is. A store may answer while it is asked: then whoever asks it asks the next one behind that, not within it, however many
/// come one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is being handed to the store.
    Asking,
    /// It has been answered meanwhile.
    Answered,
    /// The store has it.
    Asked,
}

/// Whom a question is about.
type Owner = (GuildId, Epoch);
type Waiting = oneshot::Sender<Result<(), StoreError>>;

/// One question, which the store owes an answer. Dropped without one, it tells that.
struct Question {
    confirmations: Arc<Confirmations>,
    owner: Owner,
    askers: Vec<Waiting>,
}

impl Confirmations {
    pub(crate) fn new(store: Arc<dyn Store>, counters: Arc<Counters>) -> Self {
        Self { store, counters, under_way: Mutex::default() }
    }

    /// Waits until the store has said, to a question from after this call, whether the epoch is in force.
    async fn confirm(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        let (asker, answer) = oneshot::channel();
        let first = match self.under_way.lock().entry(owner) {
            Entry::Vacant(place) => {
                place.insert(UnderWay { waiting: Vec::new(), stage: Stage::Asking });
                Some(asker)
            }
            Entry::Occupied(mut place) => {
                let waiting = &mut place.get_mut().waiting;
                if waiting.len() == waiting.capacity() {
                    // Who went away meanwhile takes no room, however long the store takes.
                    waiting.retain(|asker| !asker.is_closed());
                }
                waiting.push(asker);
                None
            }
        };
        if let Some(asker) = first {
            self.ask(owner, vec![asker]);
        }
        answer.await.unwrap_or_else(|_| Err(untold()))
    }

    /// Asks, and asks again for those who have come meanwhile, until the store takes its time or nobody has come.
    fn ask(self: &Arc<Self>, owner: Owner, askers: Vec<Waiting>) {
        let (guild, epoch) = owner;
        let mut next = Some(askers);
        while let Some(askers) = next {
            self.counters.bump(Counter::Confirmations);
            let question = Question { confirmations: Arc::clone(self), owner, askers };
            self.store.confirm(guild, epoch, Box::new(move |answer| question.answer(answer)));
            next = self.asked(owner);
        }
    }

    /// The store has been handed a question. Those for whom the next one is asked at once, for it is answered already.
    fn asked(&self, owner: Owner) -> Option<Vec<Waiting>> {
        let mut under_way = self.under_way.lock();
        let question = under_way.get_mut(&owner)?;
        match question.stage {
            Stage::Asking => {
                question.stage = Stage::Asked;
                None
            }
            Stage::Answered | Stage::Asked => Self::next(&mut under_way, owner),
        }
    }

    /// A question is answered. Those for whom the next one is to be asked, unless whoever asked this one sees to that.
    fn answered(&self, owner: Owner) -> Option<Vec<Waiting>> {
        let mut under_way = self.under_way.lock();
        let question = under_way.get_mut(&owner)?;
        match question.stage {
            Stage::Asking => {
                question.stage = Stage::Answered;
                None
            }
            Stage::Answered | Stage::Asked => Self::next(&mut under_way, owner),
        }
    }

    /// Those who came while the last question was under way; if there are none, nothing is asked any more.
    fn next(under_way: &mut HashMap<Owner, UnderWay>, owner: Owner) -> Option<Vec<Waiting>> {
        let question = under_way.get_mut(&owner)?;
        if question.waiting.is_empty() {
            under_way.remove(&owner);
            return None;
        }
        question.stage = Stage::Asking;
        Some(take(&mut question.waiting))
    }
}

impl Question {
    fn answer(mut self, answer: Result<(), StoreError>) {
        self.tell(&answer);
    }

    fn tell(&mut self, answer: &Result<(), StoreError>) {
        for asker in take(&mut self.askers) {
            // Who went away needs no answer.
            drop(asker.send(answer.clone()));
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.tell(&Err(untold()));
        if let Some(next) = self.confirmations.answered(self.owner) {
            self.confirmations.ask(self.owner, next);
        }
    }
}

impl Node {
    /// The guild's owner, of which the store has said after this call that it is the owner still: any view of it from then on has all that was
    /// ever acknowledged before this call.
    ///
    /// # Errors
    /// As the guild is loaded; `Unavailable` if the store says otherwise, or nothing. An owner of which it does is retired.
    pub(crate) async fn confirmed(&self, guild: GuildId) -> Result<Readable, CallError> {
        loop {
            let live = self.live(guild).await?;
            let unavailable = |error: &StoreError| CallError::Unavailable { reason: error.to_string() };
            match self.confirmations().confirm((guild, live.feed.epoch)).await {
                Ok(()) => return Ok(Readable::Live(live)),
                // It has made way for the next one, here.
                Err(StoreError::Fenced { .. }) if live.feed.has_ended() => {}
                Err(error) => {
                    let told = unavailable(&error);
                    if let StoreError::Fenced { .. } = error {
                        live.mailbox.post_control(Control::Fenced(error));
                    }
                    return Err(told);
                }
            }
        }
    }
}

fn untold() -> StoreError {
    StoreError::Unavailable { reason: String::from("the store did not say whose the guild is") }
}

#[cfg(test)]
mod tests;
