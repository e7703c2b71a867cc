//! What has happened in a guild: numbered facts, in one order.

use std::mem::size_of;

use crate::codec::{Decode, Encode};
use crate::{
    Channel, ChannelId, GuildSettings, Member, Mentions, Millis, Overwrite, Payload, Position, Reason, Role, RoleId,
    SessionId, UserId,
};

/// One numbered fact of a guild.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// Its name for ever, together with the guild.
    pub position: Position,
    /// When the owner made it, by the owner's clock; never falls within an epoch.
    pub at: Millis,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Events that change rights carry before and after, so that a replay can filter the past by past rights.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum EventKind {
    /// The guild came to life.
    GuildCreated {
        /// Its settings.
        settings: GuildSettings,
        /// Its everyone role.
        everyone: Role,
        /// Its first member.
        owner: Member,
    },
    /// The guild's settings or its owner changed.
    GuildUpdated {
        /// As they were.
        before: GuildSettings,
        /// As they are.
        after: GuildSettings,
    },
    /// The guild has ended; nothing follows.
    GuildDeleted,
    /// A role was added.
    RoleCreated {
        /// The role.
        role: Role,
    },
    /// A role changed.
    RoleUpdated {
        /// As it was.
        before: Role,
        /// As it is.
        after: Role,
    },
    /// A role was deleted: nobody holds it any more, and its overwrites are gone from every channel.
    RoleDeleted {
        /// As it was.
        role: Role,
        /// Its overwrites, ascending by channel. Sessions are told of none: they may not see all of these channels.
        overwrites: Vec<(ChannelId, Overwrite)>,
    },
    /// Roles changed places.
    RolesReordered {
        /// The positions that changed, as they were, ascending by role.
        before: Vec<(RoleId, u16)>,
        /// The same roles' positions as they are.
        after: Vec<(RoleId, u16)>,
    },
    /// A channel was added.
    ChannelCreated {
        /// The channel.
        channel: Channel,
        /// Its overwrites, ascending by target.
        overwrites: Vec<Overwrite>,
    },
    /// A channel changed, apart from its overwrites.
    ChannelUpdated {
        /// As it was.
        before: Channel,
        /// As it is.
        after: Channel,
    },
    /// A channel was deleted; channels of which it was the parent have none now.
    ChannelDeleted {
        /// As it was.
        channel: Channel,
        /// Its overwrites, ascending by target.
        overwrites: Vec<Overwrite>,
        /// The channels of which it was the parent, ascending. Sessions are told of none: they may not see all of these.
        children: Vec<ChannelId>,
    },
    /// Channels changed places.
    ChannelsReordered {
        /// The positions that changed, as they were, ascending by channel.
        before: Vec<(ChannelId, u16)>,
        /// The same channels' positions as they are.
        after: Vec<(ChannelId, u16)>,
    },
    /// A channel's overwrite for one target was added, changed or taken away. At least one side is `Some`, both for one target.
    OverwriteChanged {
        /// Where.
        channel: ChannelId,
        /// As it was; `None` if it is new.
        before: Option<Overwrite>,
        /// As it is; `None` if it is gone.
        after: Option<Overwrite>,
    },
    /// One member joined.
    MemberJoined {
        /// The member.
        member: Member,
    },
    /// Many members joined at once.
    MembersJoined {
        /// The members, ascending by user, at least one.
        members: Vec<Member>,
    },
    /// A member's record changed.
    MemberUpdated {
        /// As it was.
        before: Member,
        /// As it is.
        after: Member,
    },
    /// A member left or was removed; its sessions hear this last.
    MemberLeft {
        /// As it was.
        member: Member,
    },
    /// A message was published.
    MessagePublished(Message),
    /// Many members were removed at once. A session of one of them does not hear of the others: it ends here.
    MembersLeft {
        /// Who, ascending, at least one.
        users: Vec<UserId>,
    },
    /// A user, who is no member, is kept out from now on, or for another reason. For no session: the reason is the moderators'.
    /// The departure of a member who is banned is an event of its own, ahead of this.
    UserBanned {
        /// Who.
        user: UserId,
        /// Why, if that was said.
        reason: Option<Reason>,
    },
    /// A user may be added again. For no session.
    UserUnbanned {
        /// Who.
        user: UserId,
    },
}

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// Where.
    pub channel: ChannelId,
    /// Who wrote it; `None` for the chat backend itself.
    pub author: Option<UserId>,
    /// The session that published it, if one did.
    pub session: Option<SessionId>,
    /// Whether that session hears it too.
    pub echo: bool,
    /// Whom it calls.
    pub mentions: Mentions,
    /// The content.
    pub payload: Payload,
}

impl Event {
    /// About how much memory the event takes, in bytes: what bounds of rings and queues count. O(members) for a bulk event.
    pub fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.kind.heap_bytes()
    }

    /// Whether the event is part of the guild's durable state. All but messages are.
    pub fn is_durable(&self) -> bool {
        !matches!(self.kind, EventKind::MessagePublished(_))
    }
}

impl EventKind {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::GuildCreated { settings, everyone, owner } => {
                settings.name.heap_bytes() + everyone.name.heap_bytes() + member_bytes(owner)
            }
            Self::GuildUpdated { before, after } => before.name.heap_bytes() + after.name.heap_bytes(),
            Self::GuildDeleted => 0,
            Self::RoleCreated { role } => role.name.heap_bytes(),
            Self::RoleDeleted { role, overwrites } => role.name.heap_bytes() + size_of_val(&overwrites[..]),
            Self::RoleUpdated { before, after } => before.name.heap_bytes() + after.name.heap_bytes(),
            Self::RolesReordered { before, after } => size_of_val(&before[..]) + size_of_val(&after[..]),
            Self::ChannelCreated { channel, overwrites } => channel.name.heap_bytes() + size_of_val(&overwrites[..]),
            Self::ChannelDeleted { channel, overwrites, children } => {
                channel.name.heap_bytes() + size_of_val(&overwrites[..]) + size_of_val(&children[..])
            }
            Self::ChannelUpdated { before, after } => before.name.heap_bytes() + after.name.heap_bytes(),
            Self::ChannelsReordered { before, after } => size_of_val(&before[..]) + size_of_val(&after[..]),
            Self::OverwriteChanged { .. } => 0,
            Self::MemberJoined { member } | Self::MemberLeft { member } => member_bytes(member),
            Self::MembersJoined { members } => {
                members.iter().map(|member| size_of::<Member>() + member_bytes(member)).sum()
            }
            Self::MemberUpdated { before, after } => member_bytes(before) + member_bytes(after),
            Self::MessagePublished(message) => {
                message.payload.bytes().len()
                    + size_of_val(&message.mentions.users[..])
                    + size_of_val(&message.mentions.roles[..])
            }
            Self::MembersLeft { users } => size_of_val(&users[..]),
            Self::UserBanned { reason, .. } => reason.as_ref().map_or(0, |reason| reason.heap_bytes()),
            Self::UserUnbanned { .. } => 0,
        }
    }
}

/// The heap part of a member: nick and roles.
fn member_bytes(member: &Member) -> usize {
    member.nick.heap_bytes() + size_of_val(&member.roles[..])
}
