//! Sessions coming and going: asked of the owner, told to the relay at once or late.

use guildhall_guild::{CallId, SessionRequest};
use guildhall_proto::{SessionId, UserId};
use guildhall_relay::{Attach, AttachError, DetachReason};

use super::{History, pick};
use crate::backend::between;
use crate::listener::{Due, Listener, Stage, ends};
use crate::model::{Ear, Hearing};
use crate::steps::{Way, session_id};

impl History {
    pub(super) fn ask_attach(&mut self, user: UserId, hearing: Hearing, relay: usize, way: Way, members: bool) {
        if self.listeners.iter().filter(|listener| listener.stage != Stage::Over).count() >= LISTENERS_MAX {
            return;
        }
        let session = session_id(self.listeners.len());
        self.ask(Ear { session, user, members }, hearing, relay % self.relays.len(), way);
    }

    fn ask(&mut self, ear: Ear, hearing: Hearing, relay: usize, way: Way) {
        let Hearing { status, .. } = hearing;
        let call = self.owner.session(ear.session, SessionRequest::Attach { user: ear.user, status });
        if !self.owner.model.alive || !self.owner.model.members.contains_key(&ear.user) {
            return;
        }
        self.asked.insert(call, (self.listeners.len(), None));
        self.listeners.push(Listener::new(ear, hearing, relay, way, self.owner.model.seq));
    }

    /// Keeps in mind what a session has asked for that its relay is to be told.
    pub(super) fn ask_of(&mut self, session: SessionId, call: CallId, due: Due) {
        if let Some(at) = self.listener_of(session) {
            self.asked.insert(call, (at, Some(due)));
        }
    }

    pub(super) fn ask_detach(&mut self, nth: usize) {
        let attached = self.owner.model.sessions.iter().map(|(session, (user, _))| (*session, *user));
        let Some((session, user)) = pick(attached, nth) else {
            return;
        };
        let call = self.owner.session(session, SessionRequest::Detach { user });
        self.ask_of(session, call, Due::Detach);
    }

    /// Detaches a session that is not there, and one that is another user's.
    pub(super) fn detach_unknown(&mut self) {
        self.owner.session(session_id(9_999_999), SessionRequest::Detach { user: UserId::MIN });
        if let Some(session) = self.owner.model.sessions.keys().next().copied() {
            self.owner.session(session, SessionRequest::Detach { user: UserId::MIN });
        }
    }

    /// Tells a relay of one attach, turn or detach that the owner has accepted. Whether there was one that it could be told of.
    pub(super) fn deliver(&mut self, nth: usize) -> bool {
        let is_due = |at: &usize| {
            let listener = &self.listeners[*at];
            listener.stage == Stage::Accepted || listener.stage == Stage::Served && !listener.due.is_empty()
        };
        let due: Vec<usize> = (0..self.listeners.len()).filter(is_due).collect();
        let Some(at) = pick(due.into_iter(), nth) else {
            return false;
        };
        if self.listeners[at].stage == Stage::Accepted {
            return self.deliver_attach(at);
        }
        match self.listeners[at].due.pop_front() {
            Some((accepted, Due::Level(level))) => self.deliver_level(at, accepted, level),
            Some((accepted, Due::Status(status))) => self.deliver_status(at, accepted, status),
            Some((accepted, Due::Detach)) => self.deliver_detach(at, accepted),
            None => unreachable!("something of it is due"),
        }
        true
    }

    fn deliver_attach(&mut self, at: usize) -> bool {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let (accepted, position) = (listener.accepted, backend.places.position);
        let roles = &listener.member.as_ref().expect("the owner's answer has left").roles;
        let Ear { session, user, members } = listener.ear;
        let accepted_at = self.owner.at(accepted);
        let Hearing { level, status } = listener.hearing();
        let attach = Attach { session, accepted: accepted_at, user, roles, members, level, status };
        let outcome = match listener.way {
            Way::Stream => backend.relay.attach_stream(attach).map(|stream| {
                listener.key = Some(stream.key());
                listener.stream = Some(stream);
            }),
            Way::Batch => backend.relay.attach_batch(attach, at as u64).map(|key| listener.key = Some(key)),
        };
        match outcome {
            Ok(()) => {
                assert!(accepted > position || backend.places.reaches_back_to(accepted));
                self.attached(at, position);
                true
            }
            Err(AttachError::PendingFull { .. }) => {
                let pending_max = backend.pending_max;
                assert!(accepted > position && self.pending(self.listeners[at].relay) >= pending_max);
                self.seen.attached_pending_full += 1;
                false
            }
            Err(AttachError::TooOld { .. }) => {
                assert!(accepted <= position && !backend.places.reaches_back_to(accepted));
                self.seen.attached_too_late += 1;
                let listener = &mut self.listeners[at];
                listener.stage = Stage::Over;
                let (ear, hearing, relay, way) = (listener.ear, listener.hearing(), listener.relay, listener.way);
                // It asks again, unless it has detached meanwhile.
                if self.owner.model.sessions.contains_key(&ear.session) {
                    self.ask(ear, hearing, relay, way);
                }
                true
            }
            Err(other) => panic!("{other} for {:?}", self.listeners[at]),
        }
    }

    fn attached(&mut self, at: usize, position: u64) {
        let listener = &mut self.listeners[at];
        listener.stage = Stage::Served;
        listener.joined = position;
        listener.told_from = self.relays[listener.relay].told_count;
        if listener.accepted > position {
            self.seen.attached_ahead += 1;
            listener.waits = listener.way == Way::Stream;
            return;
        }
        for event in between(&self.owner.events, listener.accepted, position) {
            if let Some(reason) = ends(&event.kind, listener.ear.user) {
                listener.ends(event.position.seq.0, reason);
            }
        }
        self.seen.attached_at_the_head += u64::from(listener.accepted == position);
        self.seen.attached_in_the_past += u64::from(listener.accepted < position);
        // With nothing to hear yet it waits from the beginning.
        listener.waits = listener.way == Way::Stream && listener.end.is_none() && !listener.has_something(position);
    }

    fn deliver_detach(&mut self, at: usize, accepted: u64) {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let (key, mut woken) = (listener.key.expect("it was attached"), Vec::new());
        let outcome = backend.relay.detach(key, self.owner.at(accepted), &mut woken);
        assert_eq!(outcome.is_err(), listener.end.is_some(), "{listener:?}");
        if outcome.is_err() {
            return;
        }
        if accepted > backend.places.position {
            assert!(woken.is_empty());
            // Kept until the relay has come so far.
            listener.pending_detach = Some(accepted);
            return;
        }
        // Of an earlier run only the hole behind it has a known place.
        listener.ends(accepted.max(backend.places.run_position()), DetachReason::Requested);
        if listener.way == Way::Batch {
            listener.handed_over = backend.places.handed_over();
        }
        assert_eq!(woken.contains(&key), listener.waits, "{listener:?}");
        listener.waits = false;
    }
}

/// Sessions that listen at a time.
const LISTENERS_MAX: usize = 16;
