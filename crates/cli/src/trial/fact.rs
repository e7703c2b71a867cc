//! What happened in the guild, one entry for each of its numbers, as far as it decides who hears what.

use std::hash::Hasher;

use guildhall_proto::{
    ChannelId, EventKind, Mentions, Name, Nick, Overwrite, OverwriteTarget, Permissions, RoleId, SessionId, UserId,
};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

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
        /// Whom it calls, ascending, if anybody.
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
    /// A channel's name changed.
    ChannelUpdated {
        channel: ChannelId,
        name: Name,
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
        nick: Nick,
        /// Ascending.
        roles: Box<[RoleId]>,
    },
    /// A member's nick or roles changed.
    Changed {
        user: UserId,
        nick: Nick,
        /// Ascending.
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
            Self::Message { channel, number, call, except: _ } => mark_message(*channel, *number, call.as_deref()),
            Self::RoleSet { role, permissions } => mark(2, role.get(), permissions.bits()),
            Self::RoleDeleted { role } => mark(3, role.get(), 0),
            Self::ChannelCreated { channel, overwrites } => mark_overwrites(*channel, overwrites),
            Self::ChannelUpdated { channel, name } => mark(5, channel.get(), xxh3_64(name.as_str().as_bytes())),
            Self::ChannelDeleted { channel } => mark(6, channel.get(), 0),
            Self::OverwriteChanged { channel, target, after } => mark_overwrite(*channel, *target, *after),
            Self::Joined { user, nick, roles } => mark_member(8, *user, nick, roles),
            Self::Changed { user, nick, roles } => mark_member(9, *user, nick, roles),
            Self::Left { user } => mark(10, user.get(), 0),
            Self::Pruned { users } => mark_users(users),
            Self::Bell { bell } => mark(12, bell.number() as u64, 0),
            Self::Unheard => UNHEARD,
        }
    }
}

/// The mark of an event: of a message its channel, its author, every byte and whom it calls; of a member who joined or changed the nick and the roles; of a role
/// its permissions; of a channel its name as it changed, or the overwrites that it began with; of an overwrite all; of the guild its name; of who left who it is.
/// `None` if it is not as anything that a trial has made. O(length of a message), O(mentions), O(roles).
pub(crate) fn mark_of(event: &EventKind) -> Option<u64> {
    Some(match event {
        EventKind::MessagePublished(message) => {
            let spoken = Spoken::read(message.payload.bytes())?;
            if message.author != Some(spoken.author) {
                return None;
            }
            mark_message(message.channel, spoken.number, Some(&message.mentions))
        }
        EventKind::RoleCreated { role } | EventKind::RoleUpdated { after: role, .. } => {
            mark(2, role.id.get(), role.permissions.bits())
        }
        EventKind::RoleDeleted { role, .. } => mark(3, role.id.get(), 0),
        EventKind::ChannelCreated { channel, overwrites } => mark_overwrites(channel.id, overwrites),
        EventKind::ChannelUpdated { after, .. } => mark(5, after.id.get(), xxh3_64(after.name.as_str().as_bytes())),
        EventKind::ChannelDeleted { channel, .. } => mark(6, channel.id.get(), 0),
        EventKind::OverwriteChanged { channel, before, after } => {
            mark_overwrite(*channel, before.or(*after)?.target, *after)
        }
        EventKind::MemberJoined { member } => mark_member(8, member.user, &member.nick, &member.roles),
        EventKind::MemberUpdated { after, .. } => mark_member(9, after.user, &after.nick, &after.roles),
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

fn mark_message(channel: ChannelId, number: Number, call: Option<&Mentions>) -> u64 {
    let of_call = call.filter(|call| !call.is_empty()).map_or(0, |call| {
        let Mentions { users, roles, everyone, here } = call;
        let mut hasher = Xxh3Default::new();
        hasher.write_u64(users.len() as u64);
        users.iter().for_each(|user| hasher.write_u64(user.get()));
        roles.iter().for_each(|role| hasher.write_u64(role.get()));
        hasher.write_u64(u64::from(*everyone) << 1 | u64::from(*here));
        hasher.finish()
    });
    mark(1, channel.get(), mark(0, number, of_call))
}

fn mark_member(kind: u64, user: UserId, nick: &Nick, roles: &[RoleId]) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.write_u64(roles.len() as u64);
    roles.iter().for_each(|role| hasher.write_u64(role.get()));
    hasher.write(nick.as_str().as_bytes());
    mark(kind, user.get(), hasher.finish())
}

fn mark_overwrites(channel: ChannelId, overwrites: &[Overwrite]) -> u64 {
    let mut hasher = Xxh3Default::new();
    overwrites.iter().for_each(|each| hasher.write_u64(mark_overwrite(channel, each.target, Some(*each))));
    mark(4, channel.get(), hasher.finish())
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

#[cfg(test)]
mod tests {
    use guildhall_proto::{Channel, ChannelKind, Member, MemberFlags, Message, Millis, Payload};

    use super::*;

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    fn role(number: u64) -> RoleId {
        RoleId::new(number).unwrap()
    }

    #[test]
    fn a_change_of_a_member_is_known_by_its_nick_and_its_roles() {
        let nick = |text| Nick::parse(text).unwrap();
        let member = |text, roles: &[u64]| {
            let roles = roles.iter().copied().map(role).collect();
            Member { user: user(7), nick: nick(text), roles, joined_at: Millis(1), flags: MemberFlags::NONE }
        };
        let before = member("before", &[]);
        let changed = |after| mark_of(&EventKind::MemberUpdated { before: before.clone(), after }).unwrap();
        let roles: Box<[RoleId]> = [role(3), role(4)].into();
        let mark = Fact::Changed { user: user(7), nick: nick("n1"), roles: roles.clone() }.mark();
        assert_eq!(changed(member("n1", &[3, 4])), mark);
        for other in [
            // Another of as many roles, one less, and another nick.
            member("n1", &[3, 5]),
            member("n1", &[3]),
            member("n2", &[3, 4]),
            member("n1", &[]),
            Member { user: user(8), ..member("n1", &[3, 4]) },
        ] {
            assert_ne!(changed(other.clone()), mark, "{other:?}");
        }
        let joined = |member| mark_of(&EventKind::MemberJoined { member }).unwrap();
        let mark = Fact::Joined { user: user(7), nick: nick("n1"), roles }.mark();
        assert_eq!(joined(member("n1", &[3, 4])), mark);
        assert!(joined(member("n1", &[3, 5])) != mark && joined(member("n2", &[3, 4])) != mark);
    }

    #[test]
    fn a_message_is_known_by_whom_it_calls() {
        let (channel, author) = (ChannelId::new(2).unwrap(), user(7));
        let said = |mentions| {
            let payload = Payload::new(Spoken { number: 5, author }.write("text")).unwrap();
            let message = Message { channel, author: Some(author), session: None, echo: false, mentions, payload };
            mark_of(&EventKind::MessagePublished(message)).unwrap()
        };
        let fact = |call: Option<Mentions>| {
            Fact::Message { channel, number: 5, except: None, call: call.map(Box::new) }.mark()
        };
        let calls = [
            Mentions { users: vec![user(1), user(2)], ..Mentions::default() },
            Mentions { users: vec![user(1), user(3)], ..Mentions::default() },
            Mentions { users: vec![user(1)], roles: vec![role(2)], ..Mentions::default() },
            Mentions { roles: vec![role(1)], ..Mentions::default() },
            Mentions { everyone: true, ..Mentions::default() },
            Mentions { here: true, ..Mentions::default() },
            Mentions { everyone: true, here: true, ..Mentions::default() },
            Mentions::default(),
        ];
        for (idx, call) in calls.iter().enumerate() {
            let mark = said(call.clone());
            assert_eq!(mark, fact((!call.is_empty()).then(|| call.clone())));
            assert!(calls[..idx].iter().all(|other| said(other.clone()) != mark), "{call:?}");
        }
    }

    #[test]
    fn a_channel_is_known_by_its_name_and_its_overwrites() {
        let id = ChannelId::new(2).unwrap();
        let name = |text| Name::parse(text).unwrap();
        let channel = |text| Channel { id, name: name(text), kind: ChannelKind::Text, parent: None, position: 0 };
        let renamed =
            |text| mark_of(&EventKind::ChannelUpdated { before: channel("a"), after: channel(text) }).unwrap();
        let mark = Fact::ChannelUpdated { channel: id, name: name("b") }.mark();
        assert!(renamed("b") == mark && renamed("c") != mark);
        let overwrite = |deny| Overwrite { target: OverwriteTarget::Role(role(1)), allow: Permissions::NONE, deny };
        let made = |deny| {
            mark_of(&EventKind::ChannelCreated { channel: channel("a"), overwrites: vec![overwrite(deny)] }).unwrap()
        };
        let mark =
            Fact::ChannelCreated { channel: id, overwrites: [overwrite(Permissions::VIEW_CHANNEL)].into() }.mark();
        assert!(made(Permissions::VIEW_CHANNEL) == mark && made(Permissions::NONE) != mark);
    }
}
