//! One member's eye on its guild: whom each event is for, by the guild just before and just after it.
//!
//! Written from the table on the page of `guildhall-relay`, one row an arm, and from the naive guild's answer to who sees a channel.

use std::collections::BTreeMap;

use guildhall_proto::{ChannelId, Event, EventKind, Mentions, Message, Position, RoleId, UserId};
use guildhall_relay::DetachReason;

use super::Begin;
use crate::check::Annals;
use crate::model::Community;

#[derive(Debug)]
pub(super) struct Eye {
    user: UserId,
    /// It has looked at everything up to here.
    at: Position,
    /// Which channels the member sees there, as far as that was asked since it changed.
    seen: BTreeMap<ChannelId, bool>,
}

/// Whom of a member's sessions an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) active: bool,
    pub(super) passive: bool,
    /// Whether the member may see it; whether a session is to hear it is another question.
    pub(super) is_seen: bool,
}

impl Eye {
    /// An eye that has looked at everything up to `at`.
    pub(super) fn new(user: UserId, at: Position) -> Self {
        Self { user, at, seen: BTreeMap::new() }
    }

    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// Goes to a place with nothing before it that matters.
    pub(super) fn pass(&mut self, at: Position) {
        self.at = self.at.max(at);
    }

    pub(super) fn is_member(&self, annals: &Annals) -> bool {
        self.guild(annals).is_some_and(|guild| guild.members.contains_key(&self.user))
    }

    pub(super) fn sees(&mut self, annals: &Annals, channel: ChannelId) -> bool {
        let Self { user, at, seen } = self;
        let sees = || annals.as_of(*at).community().is_some_and(|guild| guild.sees(*user, channel));
        *seen.entry(channel).or_insert_with(sees)
    }

    /// Goes from just before an event to just after it, and says for whom of the member's sessions it is that are like `begin`.
    pub(super) fn look(&mut self, annals: &Annals, event: &Event, begin: &Begin, is_online: bool) -> Reach {
        let before = match shown_before(&event.kind) {
            Some(channel) => self.sees(annals, channel),
            None => false,
        };
        self.at = event.position;
        if concerns(&event.kind, self.user) {
            self.seen.clear();
        }
        let all = |is_for: bool| Reach { active: is_for, passive: is_for, is_seen: is_for };
        match &event.kind {
            EventKind::MessagePublished(message) => {
                let is_seen = self.sees(annals, message.channel);
                let active = is_seen && (message.echo || message.session != Some(begin.session));
                let passive = active && self.is_called(annals, &message.mentions, is_online);
                Reach { active, passive, is_seen }
            }
            EventKind::ChannelCreated { channel, .. } | EventKind::ChannelUpdated { after: channel, .. } => {
                all(self.sees(annals, channel.id))
            }
            EventKind::ChannelDeleted { .. } => all(before),
            EventKind::OverwriteChanged { channel, .. } => all(before || self.sees(annals, *channel)),
            EventKind::ChannelsReordered { after, .. } => {
                all(after.iter().any(|(channel, _)| self.sees(annals, *channel)))
            }
            EventKind::MemberJoined { member }
            | EventKind::MemberUpdated { after: member, .. }
            | EventKind::MemberLeft { member } => {
                let is_own = member.user == self.user;
                Reach { active: is_own || begin.members, passive: is_own, is_seen: true }
            }
            EventKind::MembersJoined { .. } | EventKind::MembersLeft { .. } => {
                Reach { is_seen: true, ..all(begin.members) }
            }
            EventKind::UserBanned { .. } | EventKind::UserUnbanned { .. } => all(false),
            EventKind::GuildCreated { .. }
            | EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::RolesReordered { .. } => all(true),
        }
    }

    fn is_called(&self, annals: &Annals, mentions: &Mentions, is_online: bool) -> bool {
        let holds = |role: &RoleId| {
            let member = self.guild(annals).and_then(|guild| guild.members.get(&self.user));
            member.is_some_and(|member| member.roles.contains(role))
        };
        mentions.everyone
            || mentions.here && is_online
            || mentions.users.contains(&self.user)
            || mentions.roles.iter().any(holds)
    }

    fn guild<'a>(&self, annals: &'a Annals) -> Option<&'a Community> {
        annals.as_of(self.at).community()
    }
}

/// The channel of an event that is for those too who saw that channel just before it.
fn shown_before(event: &EventKind) -> Option<ChannelId> {
    if let EventKind::OverwriteChanged { channel, .. } = event {
        Some(*channel)
    } else if let EventKind::ChannelDeleted { channel, .. } = event {
        Some(channel.id)
    } else {
        None
    }
}

/// Whether what a user may see can be another after an event.
fn concerns(event: &EventKind, user: UserId) -> bool {
    match event {
        EventKind::MessagePublished(_)
        | EventKind::RolesReordered { .. }
        | EventKind::ChannelUpdated { .. }
        | EventKind::ChannelsReordered { .. }
        | EventKind::UserBanned { .. }
        | EventKind::UserUnbanned { .. } => false,
        EventKind::MemberJoined { member }
        | EventKind::MemberUpdated { after: member, .. }
        | EventKind::MemberLeft { member } => member.user == user,
        EventKind::MembersJoined { members } => members.binary_search_by_key(&user, |member| member.user).is_ok(),
        EventKind::MembersLeft { users } => users.binary_search(&user).is_ok(),
        EventKind::GuildCreated { .. }
        | EventKind::GuildUpdated { .. }
        | EventKind::GuildDeleted
        | EventKind::RoleCreated { .. }
        | EventKind::RoleUpdated { .. }
        | EventKind::RoleDeleted { .. }
        | EventKind::ChannelCreated { .. }
        | EventKind::ChannelDeleted { .. }
        | EventKind::OverwriteChanged { .. } => true,
    }
}

/// The channel that an event is about; who sees that decides who may see it.
pub(super) fn channel_of(event: &EventKind) -> Option<ChannelId> {
    if let EventKind::MessagePublished(Message { channel, .. }) = event {
        Some(*channel)
    } else if let EventKind::ChannelCreated { channel, .. } | EventKind::ChannelUpdated { after: channel, .. } = event {
        Some(channel.id)
    } else {
        shown_before(event)
    }
}

/// Why an event ends the sessions of a user, if it does.
pub(super) fn ends(event: &EventKind, user: UserId) -> Option<DetachReason> {
    if matches!(event, EventKind::GuildDeleted) {
        return Some(DetachReason::GuildDeleted);
    }
    let is_gone = matches!(event, EventKind::MemberLeft { member } if member.user == user)
        || matches!(event, EventKind::MembersLeft { users } if users.binary_search(&user).is_ok());
    is_gone.then_some(DetachReason::MemberLeft)
}

/// Whether an event makes a user a member.
pub(super) fn begins(event: &EventKind, user: UserId) -> bool {
    if let EventKind::MemberJoined { member } | EventKind::GuildCreated { owner: member, .. } = event {
        member.user == user
    } else if let EventKind::MembersJoined { members } = event {
        members.binary_search_by_key(&user, |member| member.user).is_ok()
    } else {
        false
    }
}

/// Bytes that an event may take in a ring at most, of so many sessions.
pub(super) fn weight(event: &EventKind, sessions: usize) -> usize {
    let own = if let EventKind::MessagePublished(message) = event {
        return ENTRY_BYTES
            + message.payload.bytes().len()
            + 16 * (message.mentions.users.len() + message.mentions.roles.len());
    } else if let EventKind::MembersJoined { members } = event {
        members.len() * ENTRY_BYTES
    } else if let EventKind::MembersLeft { users } = event {
        users.len() * 16
    } else if let EventKind::ChannelCreated { overwrites, .. } | EventKind::ChannelDeleted { overwrites, .. } = event {
        overwrites.len() * 64
    } else {
        0
    };
    ENTRY_BYTES + own + sessions * MOVE_BYTES
}

/// An entry with an audience of its own.
const ENTRY_BYTES: usize = 4 * 1024;
/// A session's change of rights.
const MOVE_BYTES: usize = 256;

/// An event as sessions are told it: not in which channels a deleted role had overwrites, nor what stood under a deleted category. `None`
/// where that is all of it.
pub(super) fn stripped(event: &Event) -> Option<Event> {
    let kind = if let EventKind::RoleDeleted { role, overwrites } = &event.kind
        && !overwrites.is_empty()
    {
        EventKind::RoleDeleted { role: role.clone(), overwrites: Vec::new() }
    } else if let EventKind::ChannelDeleted { channel, overwrites, children } = &event.kind
        && !children.is_empty()
    {
        EventKind::ChannelDeleted { channel: channel.clone(), overwrites: overwrites.clone(), children: Vec::new() }
    } else {
        return None;
    };
    Some(Event { kind, ..*event })
}
