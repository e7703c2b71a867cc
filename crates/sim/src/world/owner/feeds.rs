//! What an owner sends to relays: for each backend a cursor on its ring, one message under way at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_members::View;
use guildhall_proto::{Event, Position};
use guildhall_ring::{Cursor, ReadError, Version};

use super::{Around, Owner};
use crate::world::message::{At, Body, Feed};
use crate::world::wire::{Host, Lane, Wire};

/// One relay's place.
#[derive(Debug)]
pub(super) struct Feeding {
    at: At,
    events: Cursor,
    told: Version,
    /// Whether it has not taken what it was sent last.
    is_busy: bool,
}

impl Owner {
    /// A relay wants to be fed; what comes after `from`, if it has come so far.
    pub(crate) fn listen(&mut self, at: At, from: Option<Position>, around: &mut Around<'_>) {
        self.used = around.wire.now;
        let told = self.told.head();
        let Some(view) = &self.view else {
            return send(around.wire, self.owned.node, at, Feed::NoGuild);
        };
        let from = from.filter(|from| {
            let next = Cursor::after(from.seq);
            from.epoch == self.owned.epoch && next >= self.events.tail() && next <= self.events.head()
        });
        let (cursor, feed) = match from {
            Some(from) => (Cursor::after(from.seq), Feed::Continued),
            None => {
                let past = self.past_of(view);
                (Cursor::after(view.position().seq), Feed::Opened { view: view.clone(), past })
            }
        };
        self.feeds.insert(at.backend, Feeding { at, events: cursor, told, is_busy: true });
        send(around.wire, self.owned.node, at, feed);
    }

    /// The events up to a view, oldest first, as far back as the ring reaches.
    fn past_of(&self, view: &View) -> Vec<Arc<Event>> {
        let head = Cursor::after(view.position().seq);
        let mut past = Vec::new();
        let mut cursor = self.events.tail();
        // Beginning at the tail of a ring that nobody else writes, it meets no gap.
        let _ = self.events.read(&mut cursor, |at, event| {
            if at >= head {
                return ControlFlow::Break(());
            }
            past.push(Arc::clone(event));
            ControlFlow::Continue(())
        });
        past
    }

    /// A relay is there no more, or its link is broken.
    pub(crate) fn unlisten(&mut self, backend: usize, at: Option<At>) {
        if at.is_none_or(|at| self.feeds.get(&backend).is_some_and(|feeding| feeding.at == at)) {
            self.feeds.remove(&backend);
        }
    }

    /// A relay has taken what it was sent last.
    pub(crate) fn taken(&mut self, at: At, around: &mut Around<'_>) {
        if let Some(feeding) = self.feeds.get_mut(&at.backend).filter(|feeding| feeding.at == at) {
            feeding.is_busy = false;
            self.feed(at.backend, around);
        }
    }

    pub(super) fn feed_all(&mut self, around: &mut Around<'_>) {
        let backends: Vec<usize> = self.feeds.keys().copied().collect();
        for backend in backends {
            self.feed(backend, around);
        }
    }

    /// Sends a relay what comes next, if it waits for that.
    fn feed(&mut self, backend: usize, around: &mut Around<'_>) {
        let Some(feeding) = self.feeds.get_mut(&backend).filter(|feeding| !feeding.is_busy) else { return };
        let mut events = Vec::new();
        let read = self.events.read(&mut feeding.events, |_, event| {
            if events.len() == FEED_EVENTS {
                return ControlFlow::Break(());
            }
            events.push(Arc::clone(event));
            ControlFlow::Continue(())
        });
        let feed = match read {
            Ok(_) => {
                let mut told = Vec::new();
                self.told.read(&mut feeding.told, |_, ephemeral| {
                    told.push(*ephemeral);
                    ControlFlow::Continue(())
                });
                if events.is_empty() && told.is_empty() {
                    return;
                }
                Feed::Events(events, told)
            }
            Err(ReadError::Gap(_)) => {
                around.watch.seen.fallen_out += 1;
                let Some(view) = &self.view else { return };
                feeding.events = Cursor::after(view.position().seq);
                Feed::Fallen { view: view.clone() }
            }
            Err(ReadError::Ahead { .. }) => return,
        };
        feeding.is_busy = true;
        send(around.wire, self.owned.node, feeding.at, feed);
    }

    /// Whether every relay has taken all there is.
    pub(super) fn is_fed(&self) -> bool {
        let head = self.events.head();
        self.feeds.values().all(|feeding| !feeding.is_busy && feeding.events == head)
    }

    /// Sends what is left in the ring, and that the owner is gone.
    pub(super) fn end_feeds(&mut self, is_deleted: bool, wire: &mut Wire) {
        for (_, feeding) in std::mem::take(&mut self.feeds) {
            let mut events = Vec::new();
            let mut cursor = feeding.events;
            let read = self.events.read(&mut cursor, |_, event| {
                events.push(Arc::clone(event));
                ControlFlow::Continue(())
            });
            if read.is_ok() && !events.is_empty() {
                send(wire, self.owned.node, feeding.at, Feed::Events(events, Vec::new()));
            }
            let end = if is_deleted { Feed::NoGuild } else { Feed::Ended };
            send(wire, self.owned.node, feeding.at, end);
        }
    }
}

pub(crate) fn send(wire: &mut Wire, node: usize, at: At, feed: Feed) {
    wire.send(Host::Node(node), Host::Backend(at.backend), Lane::Ordered, Body::Feed { at, feed });
}

/// Events of one message.
const FEED_EVENTS: usize = 64;
