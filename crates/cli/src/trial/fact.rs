//! What happened in the guild, one entry for each of its numbers, as far as it decides who hears what.

use std::hash::Hasher;

use guildhall_proto::{
    ChannelId, EventKind, Mentions, Overwrite, OverwriteTarget, Permissions, RoleId, SessionId, UserId,
};
use xxhash_rust::xxh3::Xxh3Default;

use super::bell::Bell;
use crate::checks::{Number, Spoken};

/// One thing that happened: known from the command that was carried out, not from what sessions hear.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// A message was published; `except` is the session that published it and asked for no echo.
    Message {
        channel: ChannelId,
        number: Number,
        except: Option<SessionId>,
        call: Option<Box<Mentions>>,
    },
    /// A role was added, or its permissions changed.
    RoleSet {
        role: RoleId,
        permissions: Permissions,
    },
    RoleDeleted {
        role: RoleId,
    },
    ChannelCreated {
        channel: ChannelId,
        overwrites: std::sync::Arc<[Overwrite]>,
    },
    ChannelUpdated {
        channel: ChannelId,
    },
    ChannelDeleted {
        channel: ChannelId,
    },
    OverwriteChanged {
        channel: ChannelId,
        target: OverwriteTarget,
        after: Option<Overwrite>,
    },
    Joined {
        user: UserId,
        roles: Box<[RoleId]>,
    },
    /// A member's nick or roles changed.
    Changed {
        user: UserId,
        roles: Box<[RoleId]>,
    },
    Left {
        user: UserId,
    },
    /// Many were removed at once; ascending.
    Pruned {
        users: Box<[UserId]>,
    },
    /// The guild's name changed: heard by all, whatever their rights and levels.
    Bell {
        bell: Bell,
    },
    /// Something that no session hears.
    Unheard,
}

impl Fact {
    /// A mark of what happened, to be compared with that of the event that was heard.
    pub(crate) fn mark(&self) -> u64 {
        match self {
            Self::Message { channel, number, .. } => mark(1, channel.get(), *number),
            Self::RoleSet { role, permissions } => mark(2, role.get(), permissions.bits()),
            Self::RoleDeleted { role } => mark(3, role.get(), 0),
            Self::ChannelCreated { channel, overwrites } => mark(4, channel.get(), overwrites.len() as u64),
            Self::ChannelUpdated { channel } => mark(5, channel.get(), 0),
            Self::ChannelDeleted { channel } => mark(6, channel.get(), 0),
            Self::OverwriteChanged { channel, target, after } => mark_overwrite(*channel, *target, *after),
            Self::Joined { user, roles } => mark(8, user.get(), roles.len() as u64),
            Self::Changed { user, roles } => mark(9, user.get(), roles.len() as u64),
            Self::Left { user } => mark(10, user.get(), 0),
            Self::Pruned { users } => mark_users(users),
            Self::Bell { bell } => mark(12, bell.number() as u64, 0),
            Self::Unheard => UNHEARD,
        }
    }
}

/// The mark of an event; `None` if it is not as anything that the demo has made. O(length of a message).
pub(crate) fn mark_of(event: &EventKind) -> Option<u64> {
    Some(match event {
        EventKind::MessagePublished(message) => {
            let spoken = Spoken::read(message.payload.bytes())?;
            if message.author != Some(spoken.author) {
                return None;
            }
            mark(1, message.channel.get(), spoken.number)
        }
        EventKind::RoleCreated { role } | EventKind::RoleUpdated { after: role, .. } => {
            mark(2, role.id.get(), role.permissions.bits())
        }
        EventKind::RoleDeleted { role, .. } => mark(3, role.id.get(), 0),
        EventKind::ChannelCreated { channel, overwrites } => mark(4, channel.id.get(), overwrites.len() as u64),
        EventKind::ChannelUpdated { after, .. } => mark(5, after.id.get(), 0),
        EventKind::ChannelDeleted { channel, .. } => mark(6, channel.id.get(), 0),
        EventKind::OverwriteChanged { channel, before, after } => {
            mark_overwrite(*channel, before.or(*after)?.target, *after)
        }
        EventKind::MemberJoined { member } => mark(8, member.user.get(), member.roles.len() as u64),
        EventKind::MemberUpdated { after, .. } => mark(9, after.user.get(), after.roles.len() as u64),
        EventKind::MemberLeft { member } => mark(10, member.user.get(), 0),
        EventKind::MembersLeft { users } => mark_users(users),
        EventKind::GuildUpdated { after, .. } => mark(12, Bell::read(&after.name)?.number() as u64, 0),
        EventKind::GuildCreated { .. }
        | EventKind::GuildDeleted
        | EventKind::RolesReordered { .. }
        | EventKind::ChannelsReordered { .. }
        | EventKind::MembersJoined { .. }
        | EventKind::UserBanned { .. }
        | EventKind::UserUnbanned { .. } => return None,
    })
}

fn mark(kind: u64, subject: u64, rest: u64) -> u64 {
    let mut mixed = kind.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ subject;
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ rest;
    (mixed ^ (mixed >> 29)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The mark of what stands at a number: contents of two numbers that were exchanged are noticed in a sum of these.
pub(crate) fn mark_at(number: Number, of_kind: u64) -> u64 {
    mark(13, number, of_kind)
}

fn mark_overwrite(channel: ChannelId, target: OverwriteTarget, after: Option<Overwrite>) -> u64 {
    let (target, is_user) = match target {
        OverwriteTarget::Role(role) => (role.get(), 0),
        OverwriteTarget::User(user) => (user.get(), 1),
    };
    let (allow, deny) = after.map_or((0, 1 << 63), |after| (after.allow.bits(), after.deny.bits()));
    mark(7, channel.get(), mark(is_user, target, mark(0, allow, deny)))
}

fn mark_users(users: &[UserId]) -> u64 {
    let mut hasher = Xxh3Default::new();
    users.iter().for_each(|user| hasher.write_u64(user.get()));
    mark(11, users.len() as u64, hasher.finish())
}

/// Of what no session hears: an event with this mark is none of the demo's.
const UNHEARD: u64 = 0;
