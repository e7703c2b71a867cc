//! Sessions coming and going: asked of the owner, told to the relay at once or late.

use guildhall_guild::SessionRequest;
use guildhall_proto::{Level, Status, UserId};
use guildhall_relay::{Attach, AttachError, DetachReason};

use super::{History, pick};
use crate::backend::between;
use crate::listener::{Listener, Stage, ends};
use crate::model::Ear;
use crate::steps::{Way, session_id};

impl History {
    pub(super) fn ask_attach(&mut self, user: UserId, status: Status, relay: usize, way: Way, members: bool) {
        if self.listeners.iter().filter(|listener| listener.stage != Stage::Over).count() >= LISTENERS_MAX {
            return;
        }
        let session = session_id(self.listeners.len());
        self.ask(Ear { session, user, members }, status, relay % self.relays.len(), way);
    }

    fn ask(&mut self, ear: Ear, status: Status, relay: usize, way: Way) {
        let call = self.owner.session(ear.session, SessionRequest::Attach { user: ear.user, status });
        if !self.owner.model.alive || !self.owner.model.members.contains_key(&ear.user) {
            return;
        }
        let accepted = self.owner.model.seq;
        self.asked.insert(call, self.listeners.len());
        self.listeners.push(Listener {
            ear,
            relay,
            way,
            member: None,
            accepted,
            stage: Stage::Asked,
            expected: Vec::new(),
            next: 0,
            known: accepted,
            stream: None,
            key: None,
            waits: false,
            loose_at: None,
            detach: None,
            pending_detach: None,
            handed_over: 0,
            end: None,
        });
    }

    pub(super) fn set_status(&mut self, nth: usize, status: Status) {
        let attached = self.owner.model.sessions.iter().map(|(session, (user, _))| (*session, *user));
        if let Some((session, user)) = pick(attached, nth) {
            self.owner.session(session, SessionRequest::SetStatus { user, status });
        }
    }

    pub(super) fn ask_detach(&mut self, nth: usize) {
        let attached = self.owner.model.sessions.iter().map(|(session, (user, _))| (*session, *user));
        let Some((session, user)) = pick(attached, nth) else {
            return;
        };
        let call = self.owner.session(session, SessionRequest::Detach { user });
        if let Some(at) = self.listener_of(session) {
            self.asked.insert(call, at);
        }
    }

    /// Detaches a session that is not there, and one that is another user's.
    pub(super) fn detach_unknown(&mut self) {
        self.owner.session(session_id(9_999_999), SessionRequest::Detach { user: UserId::MIN });
        if let Some(session) = self.owner.model.sessions.keys().next().copied() {
            self.owner.session(session, SessionRequest::Detach { user: UserId::MIN });
        }
    }

    /// Tells a relay of one attach or detach that the owner has accepted. Whether there was one that it could be told of.
    pub(super) fn deliver(&mut self, nth: usize) -> bool {
        let is_due = |at: &usize| {
            let listener = &self.listeners[*at];
            listener.stage == Stage::Accepted || listener.stage == Stage::Served && listener.detach.is_some()
        };
        let due: Vec<usize> = (0..self.listeners.len()).filter(is_due).collect();
        let Some(at) = pick(due.into_iter(), nth) else {
            return false;
        };
        if self.listeners[at].stage == Stage::Accepted { self.deliver_attach(at) } else { self.deliver_detach(at) }
    }

    fn deliver_attach(&mut self, at: usize) -> bool {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let (accepted, position) = (listener.accepted, backend.places.position);
        let roles = &listener.member.as_ref().expect("the owner's answer has left").roles;
        let Ear { session, user, members } = listener.ear;
        let accepted_at = self.owner.at(accepted);
        let (level, status) = (Level::Active, Status::Online);
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
                let is_pending = |other: &&Listener| {
                    other.stage == Stage::Served && other.accepted > position && other.relay == self.listeners[at].relay
                };
                let pending = self.listeners.iter().filter(is_pending).count();
                assert!(accepted > position && pending >= backend.places.pending_max);
                self.seen.attached_pending_full += 1;
                false
            }
            Err(AttachError::TooOld { .. }) => {
                assert!(accepted <= position && !backend.places.reaches_back_to(accepted));
                self.seen.attached_too_late += 1;
                let listener = &mut self.listeners[at];
                listener.stage = Stage::Over;
                let (ear, relay, way) = (listener.ear, listener.relay, listener.way);
                // It asks again, unless it has detached meanwhile.
                if self.owner.model.sessions.contains_key(&ear.session) {
                    self.ask(ear, Status::Online, relay, way);
                }
                true
            }
            Err(other) => panic!("{other} for {:?}", self.listeners[at]),
        }
    }

    fn attached(&mut self, at: usize, position: u64) {
        let listener = &mut self.listeners[at];
        listener.stage = Stage::Served;
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
        let has_something = listener.expected.first().is_some_and(|seq| *seq <= position);
        listener.waits = listener.way == Way::Stream && listener.end.is_none() && !has_something;
    }

    fn deliver_detach(&mut self, at: usize) -> bool {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let accepted = listener.detach.take().expect("a detach is due");
        let (key, mut woken) = (listener.key.expect("it was attached"), Vec::new());
        let outcome = backend.relay.detach(key, self.owner.at(accepted), &mut woken);
        assert_eq!(outcome.is_err(), listener.end.is_some(), "{listener:?}");
        if outcome.is_err() {
            return true;
        }
        if accepted > backend.places.position {
            assert!(woken.is_empty());
            // Kept until the relay has come so far.
            listener.pending_detach = Some(accepted);
            return true;
        }
        // Of an earlier run only the hole behind it has a known place.
        listener.ends(accepted.max(backend.places.run_position()), DetachReason::Requested);
        if listener.way == Way::Batch {
            listener.handed_over = backend.places.handed_over();
        }
        assert_eq!(woken.contains(&key), listener.waits, "{listener:?}");
        listener.waits = false;
        true
    }
}

/// Sessions that listen at a time.
const LISTENERS_MAX: usize = 16;
