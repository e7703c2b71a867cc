//! Unread summaries: when they are made, and how they go out.

use std::sync::Arc;

use guildhall_proto::Millis;

use super::Relay;
use crate::batch::Op;
use crate::entry::{Entry, Fact, Scope};
use crate::session::SessionKey;

impl Relay {
    /// Makes an unread summary if one is due at `now`, and appends to `woken` the passive sessions that have something in it.
    ///
    /// It names to each the channels whose latest message since the summary before is one that an active session in its place would
    /// have heard. O(sessions that wait as passive × channels with news).
    pub fn tick(&mut self, now: Millis, woken: &mut Vec<SessionKey>) {
        if self.unread_due().is_none_or(|due| now < due) {
            return;
        }
        let (at, summary) = (self.position, Arc::new(self.news.summarize(now)));
        if self.batch_sessions > 0 {
            // Of those it has not taken over, it can be past no more than the ring has passed.
            let tail = self.ring.tail();
            self.ops.retain(|op| !matches!(op, Op::Unread { place, .. } if *place < tail));
            self.ops.push(Op::Unread { place: self.ring.head(), at, summary: Arc::clone(&summary) });
        }
        let entry =
            Entry { fact: Fact::Unread { at, summary }, scope: Scope::Unread, moves: Arc::default(), made_bytes: 0 };
        self.wake_for(&entry, woken);
        self.slow.append(entry);
    }

    /// From when on a [`tick`](Self::tick) makes a summary; `None` while there is no news, or nobody to tell.
    pub fn unread_due(&self) -> Option<Millis> {
        self.news.due(self.config.unread_every).filter(|_| self.slots.passive() > 0)
    }
}
