//! What a guild answers.

use std::time::Duration;

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, decode_text, impl_borrow_decode};
use crate::limits::{
    BANS_MAX, BULK_MEMBERS_MAX, CHANNELS_MAX, CLIENT_OUTCOMES_MAX, GUILD_CLIENTS_MAX, GUILD_SESSIONS_MAX,
    LONG_OPERATIONS_BYTES_MAX, LONG_OPERATIONS_MAX, MEMBER_ROLES_MAX, MEMBERS_MAX, MENTION_ROLES_MAX,
    MENTION_USERS_MAX, OPERATION_CALLS_MAX, OVERWRITES_MAX, ROLES_MAX, USER_SESSIONS_MAX,
};
use crate::position::{from_wire_millis, wire_millis};
use crate::{
    ChannelId, Grant, Millis, NodeId, OpId, OverwriteTarget, Permissions, Position, RoleId, SessionId, UserId,
};

/// How an accepted command turned out. `at` is the position of its event, or, where nothing had to change, of the last event
/// before it: a read at `at` or later sees the command's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// The guild is as the command asked.
    Applied {
        /// From where on.
        at: Position,
    },
    /// The prune is done.
    MembersPruned {
        /// From where on.
        at: Position,
        /// How many were removed.
        removed: u32,
    },
    /// The import is done, or has come to a bad line.
    MembersImported {
        /// From where on.
        at: Position,
        /// Lines taken, from the first: those added, existing and banned together.
        lines: u32,
        /// How many became members.
        added: u32,
        /// How many were members already and stayed as they were.
        existing: u32,
        /// How many are banned and were left out.
        banned: u32,
        /// What is wrong with line `lines`, counted from 0, before which the import stopped; `None` if all lines were taken.
        stopped: Option<LineFault>,
    },
}

/// What is wrong with a line of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum LineFault {
    /// An earlier line of the same call names the user.
    #[error("the user stands in an earlier line")]
    UserTwice,
    /// The member would have more roles than one may hold.
    #[error("{got} roles; at most {max} are allowed", max = MEMBER_ROLES_MAX)]
    TooManyRoles {
        /// How many there are.
        got: u32,
    },
    /// A role stands in the line twice.
    #[error("{role:?} stands in the line twice")]
    RoleTwice {
        /// Which.
        role: RoleId,
    },
    /// Nobody holds the everyone role: all have it.
    #[error("the everyone role cannot be held")]
    EveryoneRole,
    /// The guild has no such role, or has none any more.
    #[error("{role:?} is not a role of the guild")]
    UnknownRole {
        /// Which.
        role: RoleId,
    },
    /// The guild has as many members as it may have.
    #[error("the guild has {max} members already", max = MEMBERS_MAX)]
    GuildFull,
}

impl Outcome {
    /// From which position on the command's effect can be read.
    pub const fn at(self) -> Position {
        match self {
            Self::Applied { at } | Self::MembersPruned { at, .. } | Self::MembersImported { at, .. } => at,
        }
    }
}

/// Why a guild refused a command. In every case the guild is unchanged by it. Where that is a retry which was to finish an
/// operation that a crash had cut, what was done before the crash stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum CommandError {
    /// No such guild was created, or it was deleted.
    #[error("the guild does not exist")]
    UnknownGuild,
    /// The guild was created before.
    #[error("the guild exists already")]
    GuildExists,
    /// The acting user is not a member.
    #[error("{actor:?} acts, but is not a member")]
    UnknownActor {
        /// Who acted.
        actor: UserId,
    },
    /// No such member.
    #[error("{user:?} is not a member")]
    UnknownMember {
        /// Who was named.
        user: UserId,
    },
    /// No such role.
    #[error("{role:?} is not a role of the guild")]
    UnknownRole {
        /// Which was named.
        role: RoleId,
    },
    /// No such channel.
    #[error("{channel:?} is not a channel of the guild")]
    UnknownChannel {
        /// Which was named.
        channel: ChannelId,
    },
    /// The channel has no overwrite for that target.
    #[error("{channel:?} has no overwrite for {target:?}")]
    UnknownOverwrite {
        /// Where.
        channel: ChannelId,
        /// For whom.
        target: OverwriteTarget,
    },
    /// No such session is attached.
    #[error("{session:?} is not attached")]
    UnknownSession {
        /// Which was named.
        session: SessionId,
    },
    /// The session is another user's.
    #[error("{session:?} belongs to another user")]
    ForeignSession {
        /// Which was named.
        session: SessionId,
    },
    /// The user is a member already.
    #[error("{user:?} is a member already")]
    MemberExists {
        /// Who was named.
        user: UserId,
    },
    /// The role id is taken, or was until lately and is still being cleaned out of members.
    #[error("{role:?} is taken, or was until lately")]
    RoleExists {
        /// Which was named.
        role: RoleId,
    },
    /// The channel id is taken.
    #[error("{channel:?} is taken")]
    ChannelExists {
        /// Which was named.
        channel: ChannelId,
    },
    /// One list names the same thing twice.
    #[error("{what} {id} is named twice")]
    Duplicate {
        /// What kind of thing.
        what: ListedThing,
        /// Its number.
        id: u64,
    },
    /// Something is at its limit.
    #[error("{got} {what}; at most {max} are allowed", max = what.max())]
    LimitExceeded {
        /// What there would be too many of.
        what: Limited,
        /// How many there would be.
        got: u32,
    },
    /// The actor lacks permissions.
    #[error("needs {missing:?}")]
    MissingPermissions {
        /// Those that are missing.
        missing: Permissions,
    },
    /// The actor may not give or take what it does not have.
    #[error("may not hand out {excess:?} without having it")]
    ExcessPermissions {
        /// What the actor does not have.
        excess: Permissions,
    },
    /// The target stands at or above the actor in the hierarchy.
    #[error("the target ranks at or above the actor")]
    Outranked,
    /// Only the guild's owner or the system may do that.
    #[error("only the guild's owner or the system may do that")]
    OwnerOnly,
    /// Only the system may do that.
    #[error("only the system may do that")]
    SystemOnly,
    /// The guild's owner cannot be removed.
    #[error("the guild's owner cannot be removed")]
    OwnerStays,
    /// The everyone role cannot be deleted, moved, renamed, held or created.
    #[error("not possible with the everyone role")]
    EveryoneRole,
    /// Messages are published in text channels only.
    #[error("{channel:?} is a category")]
    NotText {
        /// Which was named.
        channel: ChannelId,
    },
    /// The parent is no category, or a category was given a parent.
    #[error("{channel:?} cannot have that parent")]
    NotCategory {
        /// The child.
        channel: ChannelId,
    },
    /// A role other than everyone cannot stand at position 0.
    #[error("position 0 is the everyone role's")]
    PositionReserved,
    /// The operation id may have been forgotten; it was not applied now. The caller cannot know whether it was before.
    #[error("operation {op:?} is at or under what may be forgotten")]
    Expired {
        /// Which.
        op: OpId,
    },
    /// The operation id was used for another body.
    #[error("operation {op:?} was used for another body")]
    OpReused {
        /// Which.
        op: OpId,
    },
    /// The operation was issued later than the owner's clock allows.
    #[error("operation {op:?} was issued ahead of the guild's clock ({now:?})")]
    IssuedAhead {
        /// Which.
        op: OpId,
        /// The owner's clock.
        now: Millis,
    },
    /// The command is larger than anything that may be encoded.
    #[error("the command is too large to be encoded")]
    TooLarge,
    /// The user is kept out of the guild.
    #[error("{user:?} is banned")]
    UserBanned {
        /// Who was named.
        user: UserId,
    },
    /// There is no such ban.
    #[error("{user:?} is not banned")]
    UnknownBan {
        /// Who was named.
        user: UserId,
    },
    /// The session has come back elsewhere since: whoever asks does not hold it any more.
    #[error("{session:?} has come back elsewhere since")]
    SessionSuperseded {
        /// Which was named.
        session: SessionId,
    },
    /// The guild has not come to that position.
    #[error("{got} is ahead of the guild, which is at {at}")]
    PositionAhead {
        /// Which was named.
        got: Position,
        /// The guild's last.
        at: Position,
    },
    /// The store has no room for what the command would change. Nothing is kept of the attempt: it may be made again.
    #[error("the store has no room")]
    StoreFull,
}

/// Why no answer of the guild came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The guild refused; it is unchanged.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// There is no room for the request; nothing happened.
    #[error("overloaded; retry after {retry_after:?}")]
    Overloaded {
        /// When there should be room, measured from the queue.
        retry_after: Duration,
    },
    /// The owner ended before it answered: the operation may have happened. A message is not retried; a durable operation may be,
    /// under the same id.
    #[error("the outcome is unknown: the owner ended before it answered")]
    OutcomeUnknown,
    /// The node is stopping; nothing happened.
    #[error("the node is stopping")]
    Stopping,
    /// The guild could not be loaded, or kept failing; nothing happened.
    #[error("the guild is not available: {reason}")]
    Unavailable {
        /// What failed.
        reason: String,
    },
    /// The guild is another node's; nothing happened. To be asked there.
    #[error("the guild is at {node:?}, by grant {}", grant.0)]
    Moved {
        /// Whose.
        node: NodeId,
        /// By which leave; a lower one than the caller knows is old news.
        grant: Grant,
    },
    /// Whoever asks may not, or is not understood, and will not be however often it asks; nothing happened.
    #[error("asked in vain: {reason}")]
    Denied {
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// The most bytes of a reason that cross the wire.
    pub const REASON_BYTES_MAX: usize = 512;
}

/// Pauses cross as whole milliseconds, rounded up; what is longer of a reason than [`CallError::REASON_BYTES_MAX`] is left out.
impl Encode for CallError {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::Refused(refusal) => {
                0_u32.encode(encoder)?;
                refusal.encode(encoder)
            }
            Self::Overloaded { retry_after } => {
                1_u32.encode(encoder)?;
                wire_millis(*retry_after).encode(encoder)
            }
            Self::OutcomeUnknown => 2_u32.encode(encoder),
            Self::Stopping => 3_u32.encode(encoder),
            Self::Unavailable { reason } => {
                4_u32.encode(encoder)?;
                reason[..reason.floor_char_boundary(Self::REASON_BYTES_MAX)].encode(encoder)
            }
            Self::Moved { node, grant } => {
                5_u32.encode(encoder)?;
                node.encode(encoder)?;
                grant.encode(encoder)
            }
            Self::Denied { reason } => {
                6_u32.encode(encoder)?;
                reason[..reason.floor_char_boundary(Self::REASON_BYTES_MAX)].encode(encoder)
            }
        }
    }
}

impl<Context> Decode<Context> for CallError {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let reason = |decoder: &mut D| decode_text(decoder, Self::REASON_BYTES_MAX);
        match u32::decode(decoder)? {
            0 => Ok(Self::Refused(CommandError::decode(decoder)?)),
            1 => Ok(Self::Overloaded { retry_after: from_wire_millis(u32::decode(decoder)?) }),
            2 => Ok(Self::OutcomeUnknown),
            3 => Ok(Self::Stopping),
            4 => Ok(Self::Unavailable { reason: reason(decoder)? }),
            5 => Ok(Self::Moved { node: NodeId::decode(decoder)?, grant: Grant::decode(decoder)? }),
            6 => Ok(Self::Denied { reason: reason(decoder)? }),
            7.. => Err(DecodeError::Other("no such error of a call")),
        }
    }
}

impl_borrow_decode!(CallError);

/// What a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ListedThing {
    /// A user.
    User,
    /// A role.
    Role,
    /// A channel.
    Channel,
}

impl std::fmt::Display for ListedThing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Role => "role",
            Self::Channel => "channel",
        })
    }
}

macro_rules! limited {
    ($($(#[$doc:meta])* $name:ident: $words:literal, $max:ident;)*) => {
        /// What a guild bounds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
        pub enum Limited {
            $($(#[$doc])* $name,)*
        }

        impl Limited {
            /// How many are allowed.
            pub const fn max(self) -> usize {
                match self {
                    $(Self::$name => $max,)*
                }
            }
        }

        impl std::fmt::Display for Limited {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $words,)*
                })
            }
        }
    };
}

limited! {
    /// Roles of the guild.
    Roles: "roles of the guild", ROLES_MAX;
    /// Channels of the guild.
    Channels: "channels of the guild", CHANNELS_MAX;
    /// Overwrites of one channel.
    Overwrites: "overwrites of the channel", OVERWRITES_MAX;
    /// Roles of one member.
    MemberRoles: "roles of the member", MEMBER_ROLES_MAX;
    /// Members of the guild.
    Members: "members of the guild", MEMBERS_MAX;
    /// Members of one import.
    BulkMembers: "members in one call", BULK_MEMBERS_MAX;
    /// Users mentioned by a message.
    MentionUsers: "mentioned users", MENTION_USERS_MAX;
    /// Roles mentioned by a message.
    MentionRoles: "mentioned roles", MENTION_ROLES_MAX;
    /// Sessions of one user.
    UserSessions: "sessions of the user", USER_SESSIONS_MAX;
    /// Sessions of the guild.
    GuildSessions: "sessions of the guild", GUILD_SESSIONS_MAX;
    /// Clients whose outcomes are kept.
    Clients: "clients of the guild", GUILD_CLIENTS_MAX;
    /// Outcomes of one client.
    ClientOutcomes: "operations of the client", CLIENT_OUTCOMES_MAX;
    /// Bans of the guild.
    Bans: "bans of the guild", BANS_MAX;
    /// Prunes and imports under way; the caller may retry after a pause.
    LongOperations: "prunes and imports under way", LONG_OPERATIONS_MAX;
    /// Calls that wait for one of these.
    OperationCalls: "calls waiting for the operation", OPERATION_CALLS_MAX;
    /// Bytes of prunes and imports under way; the caller may retry after a pause.
    LongOperationsBytes: "bytes of prunes and imports under way", LONG_OPERATIONS_BYTES_MAX;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn crossed(error: &CallError) -> CallError {
        codec::decode(&codec::encode(error).unwrap()).unwrap()
    }

    #[test]
    fn a_pause_crosses_no_shorter_than_it_is_and_as_long_as_can_be_added_to_any_time() {
        let crossed = |pause| {
            let crossed = crossed(&CallError::Overloaded { retry_after: pause });
            let CallError::Overloaded { retry_after } = crossed else { panic!("{crossed:?}") };
            retry_after
        };
        assert_eq!(crossed(Duration::ZERO), Duration::ZERO);
        assert_eq!(crossed(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(crossed(Duration::from_micros(250_001)), Duration::from_millis(251));
        assert_eq!(crossed(Duration::MAX), Duration::from_millis(u32::MAX.into()));
    }

    #[test]
    fn a_long_reason_crosses_up_to_a_whole_character() {
        let reason = format!("a{}", "\u{1f3db}".repeat(1_000));
        let cut = String::from(&reason[..509]);
        assert_eq!(crossed(&CallError::Unavailable { reason }), CallError::Unavailable { reason: cut });
    }
}
