//! Events on their way: from the owner's ring into the relays, from these to the sessions.

use std::mem::take;
use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_proto::{Event, UserId};
use guildhall_relay::{BatchItem, BatchRead, Delivery, DetachReason, Read, SessionKey, Wait};
use guildhall_ring::ReadError;

use super::told::hear_told;
use super::{History, pick};
use crate::listener::{Listener, Stage, ends};
use crate::places::may_be_for_passive;
use crate::steps::Way;

impl History {
    /// A relay takes up to so many events out of the owner's ring; if they are gone, it starts again from the published view.
    pub(super) fn apply(&mut self, relay: usize, events: usize) {
        let mut taken: Vec<Arc<Event>> = Vec::new();
        let backend = &mut self.relays[relay];
        let at = backend.cursor.0;
        let read = self.feed.read(&mut backend.cursor, |_, event| {
            if taken.len() == events {
                return ControlFlow::Break(());
            }
            taken.push(Arc::clone(event));
            ControlFlow::Continue(())
        });
        match read {
            Ok(_) => {}
            Err(ReadError::Gap(_)) => {
                let next = at as usize - 1;
                assert!(!self.owner.kept.is_kept(next), "a relay was told of a gap at {at} without a loss");
                self.seen.fallen_out_of_the_owners_ring += 1;
                self.seen.fallen_under_pressure += u64::from(self.owner.kept.is_squeezed_out(next));
                self.resync(relay);
            }
            Err(ReadError::Ahead { .. }) => panic!("a relay is ahead of its owner"),
        }
        for event in taken {
            self.apply_one(relay, &event);
        }
    }

    fn apply_one(&mut self, relay: usize, event: &Arc<Event>) {
        let backend = &mut self.relays[relay];
        if backend.is_lost {
            return;
        }
        let (seq, mut woken) = (event.position.seq.0, Vec::new());
        backend.relay.apply(Arc::clone(event), &mut woken).expect("the ring is dense");
        let position = backend.places.position;
        let own = served(&mut self.listeners, relay).filter(|listener| listener.end.is_none());
        let users: Vec<UserId> = own.filter(|own| own.accepted <= position).map(|own| own.ear.user).collect();
        backend.places.append(seq, may_be_for_passive(&event.kind, &users));
        backend.places.note(&event.kind);
        backend.forget(|subject| ends(&event.kind, subject.user) == Some(DetachReason::MemberLeft));
        assert_eq!(backend.relay.position(), event.position);
        let mut expected = Vec::new();
        for listener in served(&mut self.listeners, relay) {
            let mut wakes = listener.waits && listener.hears(seq) && listener.end.is_none();
            if let Some(reason) = ends(&event.kind, listener.ear.user).filter(|_| listener.accepted < seq) {
                // Pruned among others it does not hear of them, yet is told its end.
                wakes |= listener.waits && listener.end.is_none();
                listener.ends(seq, reason);
            }
            wakes |= end_detached(listener, seq);
            if wakes {
                expected.push(listener.key.expect("it is served"));
                listener.waits = false;
            }
        }
        self.seen.woken += woken.len() as u64;
        same_keys(woken, expected);
    }

    /// A relay starts again from the published view: every session is told, whether or not it has lost anything.
    pub(super) fn resync(&mut self, relay: usize) {
        let Some((Some(view), _)) = &self.owner.published else {
            self.lose_relay(relay);
            return;
        };
        let backend = &mut self.relays[relay];
        let (at, mut woken) = (view.position(), Vec::new());
        if at.seq.0 == backend.places.position {
            // A shell starts a relay again only if it has missed something.
            return;
        }
        let rights = view.rights().clone();
        backend
            .relay
            .resync(at, rights, |user| view.member(user), &[], &mut woken)
            .expect("the view is ahead of the relay");
        backend.places.append_hole(at.seq.0);
        backend.forget(|_| true);
        backend.cursor = guildhall_ring::Cursor::after(at.seq);
        self.seen.resyncs += 1;
        let (seq, mut expected) = (at.seq.0, Vec::new());
        for listener in served(&mut self.listeners, relay) {
            // Accepted at the view itself, it has lost nothing.
            let mut wakes = listener.accepted < seq && listener.waits;
            if listener.accepted < seq && view.member(listener.ear.user).is_none() {
                listener.ends(seq, DetachReason::MemberLeft);
            }
            wakes |= end_detached(listener, seq);
            if wakes {
                expected.push(listener.key.expect("it is served"));
                listener.waits = false;
            }
        }
        same_keys(woken, expected);
    }

    /// A relay is gone, and its sessions with it; another starts from the published view.
    pub(super) fn replace(&mut self, relay: usize) {
        if let Some(backend) = self.new_backend(relay) {
            self.lose_relay(relay);
            self.relays[relay] = backend;
        }
    }

    fn lose_relay(&mut self, relay: usize) {
        self.relays[relay].is_lost = true;
        for at in 0..self.listeners.len() {
            if self.may_be_cut(at) && self.listeners[at].relay == relay {
                self.keep_cut(at);
            }
        }
        for listener in self.listeners.iter_mut().filter(|listener| listener.relay == relay) {
            listener.stage = Stage::Over;
            listener.stream = None;
            // What replaces it never knew of this session.
            listener.relay = usize::MAX;
        }
    }

    pub(super) fn read_nth(&mut self, nth: usize, max: usize, waits: bool) {
        let streams = self.listeners.iter().enumerate().filter(|(_, listener)| listener.stream.is_some());
        let streams: Vec<usize> = streams.map(|(at, _)| at).collect();
        if let Some(at) = pick(streams.into_iter(), nth) {
            self.read(at, max, waits);
        }
    }

    /// A stream session reads, and waits if there is nothing more. Whether there may be more.
    pub(super) fn read(&mut self, at: usize, max: usize, waits: bool) -> bool {
        let listener = &mut self.listeners[at];
        let Some(mut stream) = listener.stream.take() else {
            return false;
        };
        let backend = &mut self.relays[listener.relay];
        let (events, places, seen) = (&self.owner.events, &backend.places, &mut self.seen);
        let (told, models) = (&backend.told[..], (&self.models[..], &self.owner.model));
        listener.is_called = false;
        let mut delivered = 0;
        let read = stream.read(max, |delivery| {
            delivered += 1;
            match delivery {
                Delivery::Event(event) => listener.hear(event, events, seen),
                Delivery::Gap(gap) => listener.lose(gap, places, seen),
                Delivery::Unread(unread) => listener.hear_unread(unread, seen),
                Delivery::Ephemeral(ephemeral) => hear_told(listener, &ephemeral, told, models, seen),
                Delivery::Detached(reason) => listener.detached(reason, seen),
            }
        });
        assert!(delivered <= max, "{delivered} at once to {listener:?}");
        match read {
            Read::Ended => {
                assert_eq!(listener.stage, Stage::Over);
                return false;
            }
            Read::More if listener.waits => {}
            Read::More if listener.has_something(places.position) || listener.end.is_some() => listener.loose_at = None,
            // It has read all events, but not all that was told.
            Read::More => {
                listener.loose_at.get_or_insert((places.whole.len(), places.slow.len()));
            }
            Read::Waiting => assert!(listener.waits, "{listener:?}"),
            Read::Idle if !waits => {
                listener.loose_at.get_or_insert((places.whole.len(), places.slow.len()));
            }
            Read::Idle => match backend.relay.wait(&mut stream).expect("the relay serves it") {
                // If there is nothing for it but what was told, it waits all the same.
                Wait::Ready => listener.waits = listener.end.is_none() && !listener.has_something(places.position),
                Wait::Waiting => {
                    assert!(listener.end.is_none(), "{listener:?}");
                    listener.must_have_heard(places.position);
                    listener.loose_at = None;
                    listener.waits = true;
                    seen.waited += 1;
                }
                // It waits, and reads once more to be told.
                Wait::Gap => {
                    listener.lost(places, seen);
                    listener.told_from = backend.told_count;
                }
            },
        }
        listener.stream = Some(stream);
        match read {
            Read::More | Read::Idle => true,
            Read::Waiting => {
                self.must_have_been_told(at);
                false
            }
            Read::Ended => false,
        }
    }

    pub(super) fn read_batch(&mut self, relay: usize, fills: bool, max: usize) {
        if fills && max == 1 {
            self.drain_batch(relay);
            return;
        }
        if fills {
            self.relays[relay].fill();
        }
        self.read_batch_once(relay, max);
    }

    /// Reads until the batch's sessions have heard everything.
    pub(super) fn drain_batch(&mut self, relay: usize) {
        self.relays[relay].fill();
        while self.read_batch_once(relay, 3) == BatchRead::More {}
        let position = self.relays[relay].places.position;
        let served = served(&mut self.listeners, relay).filter(|listener| listener.way == Way::Batch);
        for listener in served.filter(|listener| listener.has_joined(position)) {
            assert!(listener.end.is_none(), "{listener:?} was not told its end");
            listener.must_have_heard(position);
        }
    }

    fn read_batch_once(&mut self, relay: usize, max: usize) -> BatchRead {
        let backend = &mut self.relays[relay];
        let (listeners, events, seen) = (&mut self.listeners, &self.owner.events, &mut self.seen);
        let places = &backend.places;
        let (told, models) = (&backend.told[..], (&self.models[..], &self.owner.model));
        let read = backend.batch.read(max, |item| match item {
            BatchItem::Event { event, tokens } => {
                assert!(!tokens.is_empty());
                tokens.iter().for_each(|token| listeners[*token as usize].hear(event, events, seen));
            }
            BatchItem::Gap { gap, tokens } => {
                tokens.iter().for_each(|token| listeners[*token as usize].lose(gap, places, seen));
            }
            BatchItem::Unread { unread, tokens } => {
                tokens.iter().for_each(|token| listeners[*token as usize].hear_unread(unread, seen));
            }
            BatchItem::Ephemeral { ephemeral, tokens } => {
                tokens
                    .iter()
                    .for_each(|token| hear_told(&mut listeners[*token as usize], ephemeral, told, models, seen));
            }
            BatchItem::Detached { reason, token } => listeners[token as usize].detached(reason, seen),
        });
        backend.places.batch_fell = None;
        backend.places.pass(max);
        read
    }
}

pub(super) fn served(listeners: &mut [Listener], relay: usize) -> impl Iterator<Item = &mut Listener> {
    listeners.iter_mut().filter(move |listener| listener.relay == relay && listener.stage == Stage::Served)
}

/// Ends a session whose detach the relay has just come to. Whether it was waiting, and so is woken to hear of it.
fn end_detached(listener: &mut Listener, position: u64) -> bool {
    let is_due = listener.pending_detach.is_some_and(|accepted| accepted <= position);
    if !is_due || listener.end.is_some() {
        return false;
    }
    take(&mut listener.pending_detach);
    listener.ends(position, DetachReason::Requested);
    listener.waits
}

pub(super) fn same_keys(mut woken: Vec<SessionKey>, mut expected: Vec<SessionKey>) {
    woken.sort();
    expected.sort();
    assert_eq!(woken, expected, "woken on the left, to be woken on the right");
}
