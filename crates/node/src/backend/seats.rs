//! The sessions of one relay as they are to be at the guild's owner, whoever that is.
//!
//! An owner forgets its sessions when it ends; what is kept here is told to the next one. One errand at a time tells an owner of a
//! session, and goes on until it has told what is kept: so a detach or a change of status that meets a change of owners is not undone
//! by it.
//!
//! Invariants:
//! - a session's id names at most one seat, from before its attach is asked for until its detach is known to have come last;
//! - a seat that an errand is telling of stays until that errand is done.

use std::collections::BTreeMap;

use guildhall_guild::SessionRequest;
use guildhall_proto::{Millis, SessionId, Status, UserId};
use guildhall_relay::SessionKey;

#[derive(Debug, Default)]
pub(super) struct Seats(BTreeMap<SessionId, Seat>);

#[derive(Debug)]
struct Seat {
    user: UserId,
    status: Status,
    /// `None` until the relay has it.
    key: Option<SessionKey>,
    /// When its member had joined, as of its attach.
    joined_at: Millis,
    stage: Stage,
    /// Whether an errand tells the owner of it.
    telling: bool,
    /// Whether there is another owner to be told since that errand began.
    again: bool,
    /// Whether an owner has been told of it beside its own requests: one may know it then that has not ended it.
    retold: bool,
    /// Whether an owner was told that it leaves, by an errand.
    told_leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Attached,
    /// A detach was asked for.
    Leaving,
    /// The detach is done: only an errand that may have told the owner otherwise keeps the seat.
    Left,
}

impl Seats {
    /// Takes the seat of a session, if it is free.
    pub(super) fn reserve(&mut self, session: SessionId, user: UserId, status: Status) -> bool {
        if self.0.contains_key(&session) {
            return false;
        }
        let seat = Seat {
            user,
            status,
            key: None,
            joined_at: Millis::default(),
            stage: Stage::Attached,
            telling: false,
            again: false,
            retold: false,
            told_leaving: false,
        };
        self.0.insert(session, seat);
        true
    }

    /// Notes under which key the relay has a session, and when its member had joined.
    pub(super) fn place(&mut self, session: SessionId, key: SessionKey, joined_at: Millis) {
        if let Some(seat) = self.0.get_mut(&session) {
            seat.key = Some(key);
            seat.joined_at = joined_at;
        }
    }

    /// Under which key the relay has a session, if it has.
    pub(super) fn key(&self, session: SessionId) -> Option<SessionKey> {
        self.0.get(&session)?.key
    }

    /// When the members of the sessions that the relay has had joined, as of the latest attach of each. O(sessions).
    pub(super) fn joined(&self) -> BTreeMap<UserId, Millis> {
        let mut joined = BTreeMap::new();
        for seat in self.0.values().filter(|seat| seat.key.is_some()) {
            let latest = joined.entry(seat.user).or_insert(seat.joined_at);
            *latest = seat.joined_at.max(*latest);
        }
        joined
    }

    /// Notes what a session shows from now on, and tells what it showed before.
    pub(super) fn set_status(&mut self, session: SessionId, status: Status) -> Option<Status> {
        self.0.get_mut(&session).map(|seat| std::mem::replace(&mut seat.status, status))
    }

    /// Notes that a detach is asked for, before it is.
    pub(super) fn leave(&mut self, session: SessionId) {
        if let Some(seat) = self.0.get_mut(&session) {
            seat.stage = Stage::Leaving;
        }
    }

    /// Notes that a detach was refused. Whether an owner has been told otherwise meanwhile, and has to be told again.
    pub(super) fn stay(&mut self, session: SessionId) -> bool {
        self.0.get_mut(&session).is_some_and(|seat| {
            seat.stage = Stage::Attached;
            std::mem::take(&mut seat.told_leaving)
        })
    }

    /// Gives a seat back: its session is detached at the owner, or was never known there. Tells its key, if the relay has it.
    pub(super) fn left(&mut self, session: SessionId) -> Option<SessionKey> {
        let seat = self.0.get_mut(&session)?;
        seat.stage = Stage::Left;
        let key = seat.key.take();
        if !seat.telling {
            self.0.remove(&session);
        }
        key
    }

    /// Whether an owner may know a session that the relay has ended by itself.
    pub(super) fn was_retold(&self, session: SessionId) -> bool {
        self.0.get(&session).is_some_and(|seat| seat.retold)
    }

    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.0.keys().copied().collect()
    }

    /// What a new owner is to be told of a session, if there is anything, and if no errand is telling it that already.
    pub(super) fn begin_telling(&mut self, session: SessionId) -> Option<SessionRequest> {
        let seat = self.0.get_mut(&session)?;
        if seat.telling {
            seat.again = true;
            return None;
        }
        seat.telling = true;
        Some(seat.request())
    }

    /// Notes what an owner was told, and says what it is to be told next; `None` ends the errand.
    pub(super) fn told(&mut self, session: SessionId, told: SessionRequest) -> Option<SessionRequest> {
        let seat = self.0.get_mut(&session)?;
        let wanted = seat.request();
        if wanted != told || std::mem::take(&mut seat.again) {
            return Some(wanted);
        }
        seat.telling = false;
        seat.told_leaving = seat.stage == Stage::Leaving;
        if seat.stage == Stage::Left {
            self.0.remove(&session);
        }
        None
    }
}

impl Seat {
    fn request(&mut self) -> SessionRequest {
        match self.stage {
            Stage::Attached => {
                self.retold = true;
                SessionRequest::Attach { user: self.user, status: self.status }
            }
            Stage::Leaving | Stage::Left => SessionRequest::Detach { user: self.user },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionId {
        SessionId::new(1).unwrap()
    }

    fn seats() -> Seats {
        let mut seats = Seats::default();
        assert!(seats.reserve(session(), UserId::MIN, Status::Online));
        seats
    }

    const ATTACH: SessionRequest = SessionRequest::Attach { user: UserId::MIN, status: Status::Online };

    const DETACH: SessionRequest = SessionRequest::Detach { user: UserId::MIN };

    #[test]
    fn a_session_that_leaves_while_a_new_owner_is_told_of_it_is_detached_there_last() {
        let mut seats = seats();
        assert_eq!(seats.begin_telling(session()), Some(ATTACH));
        seats.leave(session());
        seats.left(session());
        // Its own detach may have come before the attach: the errand tells the end of it, and keeps the id until then.
        assert!(!seats.reserve(session(), UserId::MIN, Status::Idle));
        assert_eq!(seats.told(session(), ATTACH), Some(DETACH));
        assert_eq!(seats.told(session(), DETACH), None);
        assert!(seats.reserve(session(), UserId::MIN, Status::Idle));
    }

    #[test]
    fn a_session_that_stays_after_an_owner_was_told_otherwise_is_told_again() {
        let mut seats = seats();
        assert!(!seats.stay(session()));
        seats.leave(session());
        assert_eq!(seats.begin_telling(session()), Some(DETACH));
        assert_eq!(seats.told(session(), DETACH), None);
        assert!(seats.stay(session()));
        assert_eq!(seats.begin_telling(session()), Some(ATTACH));
    }

    #[test]
    fn a_status_that_changes_while_an_owner_is_told_the_old_one_is_told_too() {
        let mut seats = seats();
        assert_eq!(seats.begin_telling(session()), Some(ATTACH));
        assert_eq!(seats.set_status(session(), Status::Idle), Some(Status::Online));
        let idle = SessionRequest::Attach { user: UserId::MIN, status: Status::Idle };
        assert_eq!(seats.told(session(), ATTACH), Some(idle));
        assert_eq!(seats.told(session(), idle), None);
    }

    #[test]
    fn the_owner_after_the_next_is_told_too_by_the_same_errand() {
        let mut seats = seats();
        assert_eq!(seats.begin_telling(session()), Some(ATTACH));
        assert_eq!(seats.begin_telling(session()), None);
        assert_eq!(seats.told(session(), ATTACH), Some(ATTACH));
        assert_eq!(seats.told(session(), ATTACH), None);
        assert_eq!(seats.begin_telling(session()), Some(ATTACH));
    }
}
