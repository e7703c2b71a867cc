//! What is said between a relay, its sessions and the shell: keys, deliveries, answers, refusals.

use std::sync::Arc;

use guildhall_proto::{Ephemeral, Epoch, Event, Level, Position, RoleId, Seq, SessionId, Status, Unread, UserId};

/// A session's handle at one relay. Once the session has ended, the handle names nothing, not even when its index is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub(crate) idx: u32,
    pub(crate) generation: u32,
}

impl SessionKey {
    /// A number below the largest count of sessions the relay has had at once, shared by no two sessions attached at a time.
    pub fn index(self) -> usize {
        self.idx as usize
    }

    /// How often the index was given out before.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

/// A session to be attached, as the guild's owner accepted it.
#[derive(Debug, Clone, Copy)]
pub struct Attach<'a> {
    /// The session, at most once attached to one relay at a time.
    pub session: SessionId,
    /// Where the owner accepted it: the session hears what comes after.
    pub accepted: Position,
    /// Whose session it is.
    pub user: UserId,
    /// The roles that the member holds as of `accepted`, ascending, without everyone.
    pub roles: &'a [RoleId],
    /// Whether the session wants other members' changes too.
    pub members: bool,
    /// How closely it listens.
    pub level: Level,
    /// Whether the user is there: `here` calls a session unless it is offline.
    pub status: Status,
}

/// A session that comes back, as the guild's owner accepted it.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    /// The session, as for an attach: `accepted` and `roles` are of now.
    pub attach: Attach<'a>,
    /// The last position that it knows: it hears what comes after.
    pub known: Position,
    /// Deleted roles that the member's record still names as of `attach.accepted`.
    pub deleted_roles: &'a [RoleId],
    /// Of roles deleted up to here that may not be so: who held them is unknown.
    pub deletions_unknown_to: Seq,
}

/// What a session hears next.
#[derive(Debug, Clone, Copy)]
pub enum Delivery<'a> {
    /// An event that is for the session.
    Event(&'a Arc<Event>),
    /// The session has lost events: it starts again from a view at or after `through`, and hears on from there.
    Gap(Gap),
    /// Passive: in which channels there is news.
    Unread(&'a Unread),
    /// Active: somebody types, or is there or not. Told when the session has heard all events up to its position.
    Ephemeral(Ephemeral),
    /// The session has ended here; nothing follows.
    Detached(DetachReason),
}

/// What a session is told that has lost events: those for it after one position, up to and including another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last position the session knows: of its last delivery, or of its attach.
    pub after: Position,
    /// The last position that may be missing; deliveries go on after it.
    pub through: Position,
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachReason {
    /// It was detached.
    Requested,
    /// Its member left or was removed.
    MemberLeft,
    /// The guild was deleted.
    GuildDeleted,
    /// It has come back elsewhere, and goes on there.
    Superseded,
}

/// What a read of a stream came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The bound was reached and there is more: read again.
    More,
    /// There is nothing more to be had without the relay: call [`Relay::wait`](crate::Relay::wait).
    Idle,
    /// The session is waiting and was not woken: nothing is for it, beyond a gap that it has been told just now.
    Waiting,
    /// The session has ended; every later read says so again.
    Ended,
}

/// What it came to that a session wanted to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The session waits: the first event for it wakes it.
    Waiting,
    /// There is something for it already: read again.
    Ready,
    /// It has fallen out of the ring and waits from here on: read again to be told the gap.
    Gap,
}

/// Why an event was not applied. The relay is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The event was applied before, or comes from an owner of the past: drop it.
    #[error("event {got} is not newer than {at}")]
    Stale {
        /// The event's position.
        got: Position,
        /// The last position applied.
        at: Position,
    },
    /// Events are missing before it, or its epoch was not opened: resync from a view.
    #[error("event {got} does not follow {at}")]
    Jump {
        /// The event's position.
        got: Position,
        /// The last position applied.
        at: Position,
    },
}

/// Why something was not told. The relay is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// It was accepted behind events that the relay has not applied: apply them first, so that nothing overtakes a change of rights.
    #[error("told at {got}, but the relay is at {at}")]
    Ahead {
        /// Where it was accepted.
        got: Position,
        /// The last position applied.
        at: Position,
    },
    /// It comes from an owner of the past: drop it.
    #[error("told at {got}, an epoch that is over at {at}")]
    Stale {
        /// Where it was accepted.
        got: Position,
        /// The last position applied.
        at: Position,
    },
}

/// The view is older than what the relay has applied: take a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a view at {got} is older than {at}")]
pub struct StaleResync {
    /// The view's position.
    pub got: Position,
    /// The last position applied.
    pub at: Position,
}

/// The epoch is not above the relay's: whoever announced it is an owner of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("epoch {got:?} is not above {current:?}")]
pub struct StaleEpoch {
    /// The epoch announced.
    pub got: Epoch,
    /// The relay's epoch.
    pub current: Epoch,
}

/// Why a session was not attached. The relay is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The relay has all the sessions it may have: refuse the session.
    #[error("the relay has {max} sessions already")]
    Full {
        /// The bound.
        max: usize,
    },
    /// Too many attaches and changes wait for the relay to reach their position: retry after events have been applied.
    #[error("{max} attaches and changes are ahead of the relay already")]
    PendingFull {
        /// The bound.
        max: usize,
    },
    /// The batch consumer has not taken over the sessions attached before: retry after the next fill.
    #[error("the batch consumer has {ops} sessions to take over")]
    BatchStalled {
        /// Attaches and detaches it has not taken over.
        ops: usize,
    },
    /// The relay no longer has all events since then: let the owner accept the session anew.
    #[error("accepted at {accepted}, but the relay reaches back only to its run of events up to {at}")]
    TooOld {
        /// Where the session was accepted.
        accepted: Position,
        /// The last position applied.
        at: Position,
    },
    /// A session of this id is attached: detach it first.
    #[error("{session:?} is attached already")]
    AlreadyAttached {
        /// The session.
        session: SessionId,
    },
}

/// Why a session does not come back. The relay is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// No session can know that yet: refuse it.
    #[error("{known} is ahead of the guild, which is at {accepted}")]
    Ahead {
        /// What the session says it knows.
        known: Position,
        /// Where the owner accepted it.
        accepted: Position,
    },
    /// The relay has to take the session's roles back by events that it does not know yet: retry when it has applied them.
    #[error("accepted at {accepted}, but the relay has come to {at} alone")]
    Behind {
        /// Where the owner accepted the session.
        accepted: Position,
        /// The last position applied.
        at: Position,
    },
    /// It cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Why a session's change of level or status was not taken. The relay is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// The session has ended, or is another relay's.
    #[error(transparent)]
    Unknown(#[from] UnknownSession),
    /// The relay no longer has all events since then: let the owner accept the change anew.
    #[error("accepted at {accepted}, but the relay does not reach back to that from {at}")]
    TooOld {
        /// Where the change was accepted.
        accepted: Position,
        /// The last position applied.
        at: Position,
    },
    /// The session has not yet come to its changes before: retry when it has read.
    #[error("the session has {switches} changes before it already")]
    Switching {
        /// Changes that the session has not come to.
        switches: usize,
    },
    /// Too many attaches and changes wait for the relay to reach their position: retry after events have been applied.
    #[error("{max} attaches and changes are ahead of the relay already")]
    PendingFull {
        /// The bound.
        max: usize,
    },
}

/// The key or stream names no session of this relay; it has ended, or never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no session of this relay has the key {key:?}")]
pub struct UnknownSession {
    /// The key given.
    pub key: SessionKey,
}
