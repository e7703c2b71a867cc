//! What a session may want of a guild, and what an accepted call comes to.

use crate::codec::{Decode, Encode};
use crate::{Generation, Level, Member, Outcome, Position, RoleId, Seq, Status, UserId};

/// What a session may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum SessionRequest {
    /// To hear of the guild, from the position of the answer on. A session of this id is taken over from whoever held it.
    Attach {
        /// Whose session it is; must be a member.
        user: UserId,
        /// Whether the user is there.
        status: Status,
    },
    /// To come back, and hear what came after a position. Taken once: the session is then another generation's.
    Resume {
        /// Whose session it is; must be a member. Another user's is refused.
        user: UserId,
        /// Whether the user is there.
        status: Status,
        /// As which the session was held; refused if that is not the latest, or not by this owner.
        generation: Generation,
        /// The last position that the session knows; refused if the guild has not come to it.
        known: Position,
    },
    /// To be known to a new owner, or to one that has released it because the links of its backend were away for too long, or to show a status that may not
    /// have come through. An owner that is told so of a session that it does not know lets nobody [resume](Self::Resume) it until it is attached anew: it
    /// cannot know whether it was resumed before. One that knows it as this generation knows it as before.
    Reattach {
        /// Whose session it is; must be a member.
        user: UserId,
        /// Whether the user is there.
        status: Status,
        /// As which the session is held; refused if it was taken over since.
        generation: Generation,
    },
    /// To show another status.
    SetStatus {
        /// Whose session it is; another user's is refused.
        user: UserId,
        /// Whether the user is there.
        status: Status,
        /// As which the session is held; refused if it was taken over since.
        generation: Generation,
    },
    /// To listen at another level, from the position of the answer on. The guild only says from where: whoever fans out to the
    /// session keeps its level.
    SetLevel {
        /// Whose session it is; another user's is refused.
        user: UserId,
        /// How closely it listens.
        level: Level,
        /// As which the session is held; refused if it was taken over since.
        generation: Generation,
    },
    /// To hear no more, from the position of the answer on.
    Detach {
        /// Whose session it is; another user's is refused.
        user: UserId,
    },
    /// The same, for a holder that may not know that the session was taken over.
    Release {
        /// Whose session it is; another user's is refused.
        user: UserId,
        /// As which the session was held; refused if it was taken over since.
        generation: Generation,
    },
}

/// What an accepted call came to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// A command was applied.
    Outcome(Outcome),
    /// A session is attached. In a box, for most answers are short, and each is moved from its guild to its caller.
    Attached(Box<Attached>),
    /// A session's status or level was taken, the session was detached, or somebody's typing was taken, as of this position.
    Accepted(Position),
}

/// From where on a session hears of the guild, and who its member was there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attached {
    /// The session hears every event after this, if its member may see it.
    pub at: Position,
    /// The session's member as of `at`.
    pub member: Member,
    /// As which the session is held from now on.
    pub generation: Generation,
    /// Deleted roles that the member's record still names as of `at`, ascending.
    pub deleted_roles: Vec<RoleId>,
    /// Roles deleted up to here may have been cleaned out of records.
    pub deletions_unknown_to: Seq,
}

impl SessionRequest {
    /// Whose session it is said to be.
    pub const fn user(self) -> UserId {
        match self {
            Self::Attach { user, .. }
            | Self::Resume { user, .. }
            | Self::Reattach { user, .. }
            | Self::SetStatus { user, .. }
            | Self::SetLevel { user, .. }
            | Self::Detach { user }
            | Self::Release { user, .. } => user,
        }
    }
}
