//! The sessions of one relay whose connection broke, in the order in which they are given up.
//!
//! A backend that loses its network has all of its sessions cut at once, and then all come back: what each takes is to be little, some 80 bytes beside
//! its seat, and what is done at once under the relay's lock too, O(log sessions) for each.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use guildhall_proto::SessionId;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// All of them, by session and by time.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    until: BTreeMap<SessionId, Instant>,
    in_order: BTreeSet<(Instant, SessionId)>,
    /// While there are any. Its end tells who waits for theirs that there is nothing to wait for.
    any: Option<oneshot::Sender<Infallible>>,
}

impl Cuts {
    /// Adds one that may come back until then. If nobody waits for the end of their times, with it comes what ends when none is left.
    pub(crate) fn enter(&mut self, session: SessionId, until: Instant) -> Option<oneshot::Receiver<Infallible>> {
        debug_assert!(!self.until.contains_key(&session), "who is cut again has come back between");
        self.until.insert(session, until);
        self.in_order.insert((until, session));
        if self.any.as_ref().is_some_and(|any| !any.is_closed()) {
            return None;
        }
        let (any, none_left) = oneshot::channel();
        self.any = Some(any);
        Some(none_left)
    }

    /// One of them has come back, or is gone.
    pub(crate) fn leave(&mut self, session: SessionId) {
        if let Some(until) = self.until.remove(&session) {
            self.in_order.remove(&(until, session));
        }
        if self.in_order.is_empty() {
            self.any = None;
        }
    }

    /// The one whose time is over first, and when that is.
    pub(crate) fn first(&self) -> Option<(Instant, SessionId)> {
        self.in_order.first().copied()
    }
}
