//! What is told of now: kept only as the latest of its subject, without a number of its own, and allowed to be lost.

use crate::codec::{Decode, Encode};
use crate::{ChannelId, Millis, Position, Status, UserId};

/// Something that holds now and is told to those who may hear it. Of each [subject](Self::subject) only the latest counts: a reader
/// may miss any before it, and never hears an older one after a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Ephemeral {
    /// The last event before it: nobody is told of it before that event.
    pub at: Position,
    /// What is told.
    pub kind: EphemeralKind,
}

/// What is told of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum EphemeralKind {
    /// A member types in a channel. Nothing tells the end of it: a client shows it for
    /// [`TYPING_SHOWN`](crate::limits::TYPING_SHOWN), or until a message of that member comes there.
    Typing {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
        /// When, by the owner's clock.
        since: Millis,
    },
    /// A member is there, or is not: what all its sessions say together has changed.
    Presence {
        /// Who.
        user: UserId,
        /// What they say.
        status: Status,
    },
}

/// What an [`Ephemeral`] is about. Those of one user stand together in the order, from [`of_user`](Self::of_user) on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Who.
    pub user: UserId,
    /// Where the user types; `None` for the user's presence.
    pub channel: Option<ChannelId>,
}

impl Ephemeral {
    /// What it is about.
    pub const fn subject(&self) -> Subject {
        match self.kind {
            EphemeralKind::Typing { channel, user, .. } => Subject { user, channel: Some(channel) },
            EphemeralKind::Presence { user, .. } => Subject { user, channel: None },
        }
    }
}

impl Subject {
    /// The first subject of a user in their order: its presence.
    pub const fn of_user(user: UserId) -> Self {
        Self { user, channel: None }
    }
}
