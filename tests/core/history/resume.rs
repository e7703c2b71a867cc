//! Sessions that are cut off, and come back to the same relay or another.

use guildhall_guild::SessionRequest;
use guildhall_proto::{EventKind, Position};
use guildhall_relay::{Attach, AttachError, Gap, Resume, ResumeError};

use super::{History, pick};
use crate::backend::between;
use crate::listener::{Back, Due, Listener, Stage, ends};
use crate::model::{Ear, Hearing};
use crate::steps::Way;

impl History {
    /// A session's connection breaks; the owner still knows it.
    pub(super) fn cut(&mut self, nth: usize) {
        let served: Vec<usize> = (0..self.listeners.len()).filter(|at| self.may_be_cut(*at)).collect();
        let Some(at) = pick(served.into_iter(), nth) else {
            return;
        };
        self.keep_cut(at);
        let position = self.relays[self.listeners[at].relay].places.position;
        self.deliver_detach(at, position);
        let listener = &mut self.listeners[at];
        if listener.way == Way::Stream {
            listener.stage = Stage::Over;
            listener.stream = None;
        }
    }

    /// Whether a session is served, and nothing else is to become of it.
    pub(super) fn may_be_cut(&self, at: usize) -> bool {
        let listener = &self.listeners[at];
        let is_leaving = listener.pending_detach.is_some() || listener.due.iter().any(|(_, due)| *due == Due::Detach);
        let is_served = listener.stage == Stage::Served && listener.end.is_none() && !is_leaving;
        is_served && listener.has_joined(self.relays[listener.relay].places.position)
    }

    /// Remembers what a session knows that is cut off now.
    pub(super) fn keep_cut(&mut self, at: usize) {
        let cut = |listener: &Listener| listener.stage == Stage::Cut;
        if self.listeners.iter().filter(|listener| cut(listener)).count() >= CUT_MAX
            && let Some(oldest) = self.listeners.iter_mut().find(|listener| cut(listener))
        {
            oldest.stage = Stage::Over;
        }
        let listener = &self.listeners[at];
        let known = listener.known;
        let mut kept = Listener::new(listener.ear, listener.hearing(), listener.relay, listener.way, known);
        kept.chances = listener.chances.iter().filter(|(seq, _)| *seq > known).copied().collect();
        kept.stage = Stage::Cut;
        kept.generation = listener.generation;
        kept.lost_roles = listener.lost_roles.iter().filter(|seq| **seq > known).copied().collect();
        kept.back = Some(Back { known, ..Back::default() });
        self.listeners.push(kept);
        self.seen.cut += 1;
    }

    /// A session that was cut off asks the owner to come back.
    pub(super) fn ask_resume(&mut self, nth: usize, hearing: Hearing, relay: usize, way: Way, twice: bool) {
        let cut = (0..self.listeners.len()).filter(|at| self.listeners[*at].stage == Stage::Cut);
        let Some(at) = pick(cut.collect::<Vec<_>>().into_iter(), nth) else {
            return;
        };
        let listener = &mut self.listeners[at];
        let Ear { session, user, .. } = listener.ear;
        let (generation, back) = (listener.generation, listener.back.as_mut().expect("it was cut off"));
        let known = self.owner.at(back.known);
        let is_held = self.owner.generations.get(&session) == Some(&generation);
        let is_there = self.owner.model.sessions.get(&session).is_some_and(|(of, _)| *of == user) && is_held;
        let request = SessionRequest::Resume { user, status: hearing.status, generation, known };
        let call = self.owner.session(session, request);
        if !is_there {
            self.seen.resumes_of_the_past += 1;
            listener.stage = Stage::Over;
            return;
        }
        if twice {
            // Refused: the session is held anew.
            self.owner.session(session, request);
        }
        let (model, events) = (&self.owner.model, &self.owner.events);
        let is_hidden = |seq: u64| {
            let event = &events[seq as usize - 1].kind;
            matches!(event, EventKind::MessagePublished(message) if !model.sees(user, message.channel))
        };
        let missed = listener.chances.iter().filter(|(_, reach)| reach.active).map(|(seq, _)| *seq);
        back.hidden = missed.filter(|seq| is_hidden(*seq)).collect();
        back.same = listener.relay == relay;
        (listener.relay, listener.way, listener.stage) = (relay, way, Stage::Asked);
        listener.accepted = model.seq;
        listener.turns = vec![(back.known, hearing)];
        self.asked.insert(call, (at, None));
    }

    /// Tells a relay of a session that comes back. Whether it could be told.
    pub(super) fn deliver_resume(&mut self, at: usize) -> bool {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let (accepted, position) = (listener.accepted, backend.places.position);
        let back = listener.back.as_ref().expect("it comes back");
        let roles = &listener.member.as_ref().expect("the owner's answer has left").roles;
        let Ear { session, user, members } = listener.ear;
        let Hearing { level, status } = listener.hearing();
        let resume = Resume {
            attach: Attach { session, accepted: self.owner.at(accepted), user, roles, members, level, status },
            known: self.owner.at(back.known),
            deleted_roles: &back.deleted_roles,
            deletions_unknown_to: back.deletions_unknown_to,
        };
        let outcome = match listener.way {
            Way::Stream => backend.relay.resume_stream(resume).map(|(stream, gap)| {
                listener.key = Some(stream.key());
                listener.stream = Some(stream);
                gap
            }),
            Way::Batch => backend.relay.resume_batch(resume, at as u64).map(|(key, gap)| {
                listener.key = Some(key);
                gap
            }),
        };
        match outcome {
            Ok(gap) => {
                assert!(accepted <= position);
                self.resumed(at, gap);
                true
            }
            Err(ResumeError::Behind { .. }) => {
                assert!(accepted > position);
                self.seen.resumes_ahead_of_the_relay += 1;
                false
            }
            Err(ResumeError::Attach(AttachError::TooOld { .. })) => {
                assert!(!backend.places.reaches_back_to(accepted));
                self.ask_anew(at);
                true
            }
            Err(other) => panic!("{other} for {listener:?}"),
        }
    }

    /// A relay serves a session again, from where it was or from the end of a gap.
    fn resumed(&mut self, at: usize, gap: Option<Gap>) {
        let listener = &mut self.listeners[at];
        let places = &self.relays[listener.relay].places;
        let (accepted, position) = (listener.accepted, places.position);
        let back = listener.back.as_mut().expect("it comes back");
        let from = gap.map_or(back.known, |gap| number(gap.through));
        if let Some(gap) = gap {
            assert_eq!(number(gap.after), back.known);
        }
        // What a gap is for: the ring does not reach back, or it cannot be known who held a deleted role.
        let reached = back.known.max(places.reach());
        let is_deletion = || matches!(self.owner.events[from as usize - 1].kind, EventKind::RoleDeleted { .. });
        assert!(from == reached || from > reached && from <= accepted && is_deletion(), "{gap:?}, from {reached} on");
        back.until = Some(accepted);
        let is_heard = |seq: &u64| *seq > from && *seq <= accepted;
        let hidden: Vec<u64> = back.hidden.iter().copied().filter(is_heard).collect();
        let lost_role = listener.lost_roles.iter().copied().filter(is_heard).max();
        let seen = &mut self.seen;
        seen.resumed_with_a_gap += u64::from(gap.is_some());
        seen.resumed_on_the_same_relay += u64::from(back.same);
        seen.resumed_on_another_relay += u64::from(!back.same);

        (listener.accepted, listener.known) = (from, back.known);
        listener.turns[0].0 = from;
        (listener.stage, listener.joined) = (Stage::Served, position);
        listener.told_from = self.relays[listener.relay].told_count;
        listener.lost_through = gap.map(|gap| number(gap.through));
        let expected: Vec<u64> = listener.outstanding().filter(|seq| *seq > from).collect();
        seen.replays_over_a_revoke += u64::from(hidden.iter().any(|seq| expected.contains(seq)));
        let is_before = |role| expected.first().is_some_and(|first| *first < role);
        seen.replays_over_a_role_deletion += u64::from(lost_role.is_some_and(is_before));
        for event in between(&self.owner.events, from, position) {
            if let Some(reason) = ends(&event.kind, listener.ear.user) {
                listener.ends(number(event.position), reason);
            }
        }
        listener.note_missed(between(&self.owner.events, from, position), &mut self.seen);
        listener.waits = listener.way == Way::Stream && listener.end.is_none() && !listener.has_something(position);
    }
}

fn number(position: Position) -> u64 {
    position.seq.0
}

/// Sessions that are cut off at a time; of more, the oldest do not come back.
const CUT_MAX: usize = 4;
