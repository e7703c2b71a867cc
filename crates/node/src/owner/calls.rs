//! The callers that wait for an owner's answers, by the ids under which the guild knows them.
//!
//! Invariant: a slot is either free and listed so, or holds the one caller to whom its answer goes.

use guildhall_guild::{CallId, Reply};
use tokio::sync::oneshot;

use crate::live::NoReply;

/// The callers of a guild. As many as there are calls under way.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: Vec<Option<oneshot::Sender<Result<Reply, NoReply>>>>,
    free: Vec<usize>,
}

impl Calls {
    pub(super) fn open(&mut self, reply: oneshot::Sender<Result<Reply, NoReply>>) -> CallId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        });
        self.waiting[slot] = Some(reply);
        CallId(slot as u64)
    }

    /// Frees the room of those that were answered, if none waits.
    pub(super) fn tidy(&mut self) {
        if self.free.len() == self.waiting.len() {
            *self = Self::default();
        }
    }

    pub(super) fn answer(&mut self, call: CallId, answer: Result<Reply, NoReply>) {
        let slot = usize::try_from(call.0).expect("a call's id is its slot");
        let reply = self.waiting[slot].take().expect("a call is answered once");
        self.free.push(slot);
        // A caller that went away needs no answer.
        drop(reply.send(answer));
    }
}
