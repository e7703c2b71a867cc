//! One session at its end: what it must hear, and the check of what it does hear.

use std::sync::Arc;

use guildhall_proto::{Event, EventKind, Member, Position, UserId};
use guildhall_relay::{DetachReason, Gap, SessionKey, Stream};

use crate::backend::Places;
use crate::model::Ear;
use crate::seen::Seen;
use crate::steps::Way;

/// A session from its accepted attach on. Every event for it is in `expected`, in order; `next` is the first that it has neither heard
/// nor been told a gap about.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) ear: Ear,
    pub(crate) relay: usize,
    pub(crate) way: Way,
    /// Its member, as the owner's answer says.
    pub(crate) member: Option<Member>,
    pub(crate) accepted: u64,
    pub(crate) stage: Stage,
    pub(crate) expected: Vec<u64>,
    pub(crate) next: usize,
    /// The last position it knows.
    pub(crate) known: u64,
    pub(crate) stream: Option<Stream>,
    pub(crate) key: Option<SessionKey>,
    /// The relay has it among the waiting.
    pub(crate) waits: bool,
    /// Where it stood when it had read everything but did not wait: from there it may lose what is not for it.
    pub(crate) loose_at: Option<usize>,
    /// Where its detach was accepted, until the relay is told.
    pub(crate) detach: Option<u64>,
    /// Where its detach was accepted, told to a relay that has not come so far.
    pub(crate) pending_detach: Option<u64>,
    /// What had been handed over to the batch consumer when it was detached: that it may still hear.
    pub(crate) handed_over: u64,
    /// Where and why it ends, once its relay knows.
    pub(crate) end: Option<(u64, DetachReason)>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The owner's answer is held.
    Asked,
    /// The owner has answered; the relay does not know yet.
    Accepted,
    /// The relay serves it.
    Served,
    /// It hears nothing more.
    Over,
}

impl Listener {
    pub(crate) fn hear(&mut self, event: &Arc<Event>, made: &[Arc<Event>], seen: &mut Seen) {
        let seq = event.position.seq.0;
        assert!(Arc::ptr_eq(event, &made[seq as usize - 1]), "event {seq} is not the one that was made");
        let expected = self.expected.get(self.next);
        assert_eq!(Some(&seq), expected, "heard {:?}\nby {self:?}", event.kind);
        let is_behind = self.end.is_some_and(|(end, _)| seq > end.max(self.handed_over));
        assert!(!is_behind, "{seq} was heard behind the end of {self:?}");
        self.next += 1;
        self.known = seq;
        seen.delivered += 1;
        seen.delivered_in_batches += u64::from(self.way == Way::Batch);
    }

    pub(crate) fn lose(&mut self, gap: Gap, places: &Places, seen: &mut Seen) {
        let (after, through) = (number(gap.after), number(gap.through));
        assert!(through > after, "{gap:?} for {self:?}");
        // A batch's gap begins where its consumer was, before or behind what this session knows.
        assert!(self.way == Way::Batch || after == self.known, "{gap:?} for {self:?}");
        let next = self.expected.get(self.next).copied().unwrap_or(u64::MAX);
        assert!(next > after, "{next} is before {gap:?} for {self:?}");
        if places.is_hole(through, next) {
            seen.gaps_of_holes += 1;
        } else {
            let lost = places.first_for(next, self.known).is_some_and(|at| !places.is_kept(at));
            let loose = self.loose_at.is_some_and(|at| !places.is_kept(at));
            let fell = self.way == Way::Batch && places.batch_fell == Some(through);
            assert!(lost || loose || fell, "{gap:?} without a loss for {self:?}\nwith {places:?}");
            seen.gaps_of_streams += u64::from(self.way == Way::Stream);
            seen.gaps_of_batches += u64::from(self.way == Way::Batch);
        }
        while self.expected.get(self.next).is_some_and(|seq| *seq <= through) {
            self.next += 1;
        }
        self.known = through;
        self.loose_at = None;
    }

    pub(crate) fn detached(&mut self, reason: DetachReason, seen: &mut Seen) {
        let (end, why) = self.end.unwrap_or_else(|| panic!("detached for {reason:?} without an end: {self:?}"));
        assert_eq!(reason, why, "{self:?}");
        self.must_have_heard(end);
        self.stage = Stage::Over;
        self.stream = None;
        seen.detached += u64::from(reason == DetachReason::Requested);
        seen.member_left += u64::from(reason == DetachReason::MemberLeft);
    }

    /// Nothing up to `position` may be outstanding.
    pub(crate) fn must_have_heard(&self, position: u64) {
        let next = self.expected.get(self.next);
        assert!(next.is_none_or(|seq| *seq > position), "{next:?} was not heard up to {position} by {self:?}");
    }

    /// Whether a relay serves it, and knows no end of it.
    pub(crate) fn is_alive_at(&self, relay: usize) -> bool {
        self.relay == relay && self.stage == Stage::Served && self.end.is_none()
    }

    /// Whether its relay has reached its attach.
    pub(crate) fn has_joined(&self, position: u64) -> bool {
        self.stage == Stage::Served && self.accepted <= position
    }

    /// Notes what the relay knows of its end; the first counts.
    pub(crate) fn ends(&mut self, end: u64, reason: DetachReason) {
        self.end.get_or_insert((end, reason));
    }
}

/// Why an event ends the sessions of a user, if it does.
pub(crate) fn ends(event: &EventKind, user: UserId) -> Option<DetachReason> {
    if matches!(event, EventKind::GuildDeleted) {
        return Some(DetachReason::GuildDeleted);
    }
    let is_left = matches!(event, EventKind::MemberLeft { member } if member.user == user)
        || matches!(event, EventKind::MembersLeft { users } if users.contains(&user));
    is_left.then_some(DetachReason::MemberLeft)
}

fn number(position: Position) -> u64 {
    position.seq.0
}
