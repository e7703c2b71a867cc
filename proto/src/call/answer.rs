//! What a call came to: the body of an `Answer` frame, which may be the head of a run of chunks.

use super::chunk::AnswerChunks;
use crate::codec::{Decode, Encode};
use crate::{AsOf, GuildId, Instance, Member, Millis, Name, NodeId, Permissions, Position, Reply, SecretKey, Sponsor};

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// The node is there.
    Pong {
        /// Which it is.
        node: NodeId,
        /// Which run of it.
        instance: Instance,
        /// Since when it runs, by its clock.
        started: Millis,
        /// What its clock shows.
        now: Millis,
    },
    /// Its counters, by name.
    Stats(Vec<(Name, u64)>),
    /// Some of its guilds.
    Guilds {
        /// Those behind the one that was asked for, ascending.
        guilds: Vec<GuildId>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// What a guild answered: to a command, an import, typing, or a session's request.
    Reply(Reply),
    /// The keys with which sessions' secrets are signed.
    SecretKeys {
        /// The one that signs.
        current: SecretKey,
        /// The one before, which is still taken; or, for some minutes, the one that signs next, which is taken already.
        previous: Option<SecretKey>,
    },
    /// A member.
    Member {
        /// When that is true.
        as_of: AsOf,
        /// The member.
        member: Member,
    },
    /// What a member may do.
    Can {
        /// When that is true.
        as_of: AsOf,
        /// What it may do.
        permissions: Permissions,
    },
    /// The pieces follow, in chunks, of what was asked for of a guild.
    Pieces {
        /// When they are true.
        as_of: AsOf,
        /// How many members the guild has.
        members: u32,
        /// How many of these are online.
        online: u32,
        /// How many users are banned from it.
        bans: u32,
    },
    /// The users follow, in chunks, whom a ping reaches, ascending.
    Recipients(AsOf),
    /// The feed is open. What its relay begins with follows, in chunks of pieces; every event after `at` comes as the feed's news.
    Fed {
        /// As of when the pieces are true: the position of the last of the past events, where there are any.
        at: Position,
        /// On whose word the guild's owner knows what this link tells of sessions from now on. Another than at the feed before, under the same epoch, says
        /// that the sessions told before may have been released meanwhile: all are to be told again.
        sponsor: Sponsor,
    },
    /// There is no such feed any more.
    FeedClosed,
    /// The bytes of an archive follow, in chunks.
    Archive,
}

impl Answer {
    /// What the chunks hold that follow; `None` if none do.
    pub const fn chunks(&self) -> Option<AnswerChunks> {
        match self {
            Self::Pieces { .. } | Self::Fed { .. } => Some(AnswerChunks::Pieces),
            Self::Recipients(_) => Some(AnswerChunks::Users),
            Self::Archive => Some(AnswerChunks::Bytes),
            Self::Pong { .. }
            | Self::Stats(_)
            | Self::Guilds { .. }
            | Self::Reply(_)
            | Self::SecretKeys { .. }
            | Self::Member { .. }
            | Self::Can { .. }
            | Self::FeedClosed => None,
        }
    }
}
