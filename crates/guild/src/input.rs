//! All that a guild may be told.

use guildhall_members::Folded;
use guildhall_proto::{Actor, ChannelId, Command, Generation, Level, OpId, Position, SessionId, Status, UserId};

use crate::scan::Scanned;

/// One thing that a guild is told.
#[derive(Debug)]
pub enum Input {
    /// A command, to be answered.
    Command(Call),
    /// Something about a session, to be answered.
    Session(SessionCall),
    /// That a member types, to be answered.
    Typing(TypingCall),
    /// The fold that the guild asked for is done.
    FoldDone(Folded),
    /// A search that the guild asked for is done.
    ScanDone(Scanned),
}

/// Names one call, so that its answer finds the caller. Chosen by the shell; means nothing to the guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A command with all that decides about it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whom to answer.
    pub id: CallId,
    /// The operation's name, the same in a retry.
    pub op: OpId,
    /// On whose behalf.
    pub actor: Actor,
    /// What to do.
    pub command: Command,
}

/// That a member types in a channel: told to those who may hear it, neither stored nor numbered, so that it needs no operation id.
#[derive(Debug, Clone, Copy)]
pub struct TypingCall {
    /// Whom to answer.
    pub id: CallId,
    /// Who types; must be a member who may publish there.
    pub user: UserId,
    /// Where.
    pub channel: ChannelId,
}

/// A session's request.
#[derive(Debug, Clone, Copy)]
pub struct SessionCall {
    /// Whom to answer.
    pub id: CallId,
    /// Which session.
    pub session: SessionId,
    /// What it wants. None needs an operation id: asked again, it comes to the same, or is refused.
    pub request: SessionRequest,
}

/// What a session may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// To be known to a new owner, or to show a status that may not have come through. An owner that is told so of a session lets
    /// nobody [resume](Self::Resume) it until it is attached anew: it cannot know whether it was resumed at the owner before.
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

impl SessionRequest {
    /// Whose session it is said to be.
    pub(crate) const fn user(self) -> UserId {
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
