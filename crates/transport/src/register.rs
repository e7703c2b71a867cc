//! The links that were dialed to an endpoint: how many there may be, of whom, and one for each node.
//!
//! Invariants:
//! - there are at most `links_max`, and of one identity at most `peer_links_max`;
//! - of one node under one identity there is one: a newer takes the place of the older, for its dialer knows best that the older is gone;
//! - a link that has no place any more is marked so, before a newer one of its node has one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guildhall_proto::NodeId;
use parking_lot::Mutex;

use crate::counters::{Counter, Counters};
use crate::{CloseReason, Identity, TransportConfig};

#[derive(Debug)]
pub(crate) struct Register {
    links_max: usize,
    peer_links_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Numbers dealt out.
    dealt: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    identity: Identity,
    node: NodeId,
    connection: quinn::Connection,
    standing: Standing,
}

/// One link's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    register: Arc<Register>,
    standing: Standing,
}

/// Whether an accepted link stands, for whoever goes on with what came over it. To look costs no lock.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    has_ended: Arc<AtomicBool>,
}

impl Register {
    pub(crate) fn new(config: &TransportConfig) -> Arc<Self> {
        let (links_max, peer_links_max) = (config.links_max, config.peer_links_max);
        Arc::new(Self { links_max, peer_links_max, taken: Mutex::default() })
    }

    /// A place for a link of that node, or why there is none.
    pub(crate) fn take(
        self: &Arc<Self>,
        identity: &Identity,
        node: NodeId,
        connection: &quinn::Connection,
        counters: &Counters,
    ) -> Result<Seat, CloseReason> {
        let mut taken = self.taken.lock();
        // Who holds a link that has ended may not have noticed yet.
        taken.entries.retain(|entry| {
            let stands = entry.connection.close_reason().is_none();
            if !stands {
                entry.standing.end();
            }
            stands
        });
        if let Some(at) = taken.entries.iter().position(|entry| entry.node == node && entry.identity == *identity) {
            let older = taken.entries.swap_remove(at);
            older.standing.end();
            older.connection.close(CloseReason::Replaced.code(), CloseReason::Replaced.name().as_bytes());
            counters.bump(Counter::LinksReplaced);
        }
        if taken.entries.len() >= self.links_max {
            counters.bump(Counter::HandshakeFull);
            return Err(CloseReason::Full);
        }
        if taken.entries.iter().filter(|entry| entry.identity == *identity).count() >= self.peer_links_max {
            counters.bump(Counter::HandshakePeerFull);
            return Err(CloseReason::PeerFull);
        }
        taken.dealt += 1;
        let (number, standing) = (taken.dealt, Standing::default());
        taken.entries.push(Entry {
            number,
            identity: identity.clone(),
            node,
            connection: connection.clone(),
            standing: standing.clone(),
        });
        Ok(Seat { number, register: Arc::clone(self), standing })
    }
}

impl Seat {
    pub(crate) fn standing(&self) -> Standing {
        self.standing.clone()
    }
}

impl Standing {
    /// Whether the link is known here to have ended. Before a newer link of the same node is taken on, it is.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.standing.end();
        let mut taken = self.register.taken.lock();
        // Another link may have taken the place before.
        if let Some(at) = taken.entries.iter().position(|entry| entry.number == self.number) {
            taken.entries.swap_remove(at);
        }
    }
}
