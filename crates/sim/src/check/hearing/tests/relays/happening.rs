//! What happens in the guild of a random history: mostly messages, and changes of whatever decides who hears them.

use guildhall_proto::{GuildSettings, Overwrite, OverwriteTarget, Permissions, Role};

use super::*;

impl History {
    /// Something happens in the guild.
    pub(super) fn happen(&mut self) {
        let community = self.community().clone();
        let members: Vec<UserId> = community.members.keys().copied().collect();
        let roles: Vec<RoleId> = community.roles.keys().copied().filter(|role| *role != community.everyone()).collect();
        let channels: Vec<ChannelId> = community.channels.keys().copied().collect();
        let member = *self.dice.one_of(&members).unwrap();
        let (role_at, channel_at) = (self.dice.one_of(&roles).copied(), self.dice.one_of(&channels).copied());
        let kind = match (self.below(20), channel_at, role_at) {
            (0..=9, Some(channel), _) => {
                let mut mentions = Mentions::default();
                match self.below(8) {
                    0 => mentions.users = vec![member],
                    1 => mentions.roles = role_at.into_iter().collect(),
                    2 => mentions.everyone = true,
                    3 => mentions.here = true,
                    _ => {}
                }
                let sessions: Vec<SessionId> = self.sessions.iter().map(|session| session.begin.session).collect();
                let session = self.dice.one_of(&sessions).copied();
                let echo = self.dice.one_in(2);
                EventKind::MessagePublished(Message { channel, session, echo, mentions, ..message(OPEN) })
            }
            (10..=11, Some(channel), role) => {
                let target = match role {
                    Some(role) if self.dice.one_in(2) => OverwriteTarget::Role(role),
                    _ if self.dice.one_in(3) => OverwriteTarget::Role(community.everyone()),
                    _ => OverwriteTarget::User(member),
                };
                let before = community.channels[&channel].overwrites.get(&target).copied();
                let (view, none) = (Permissions::VIEW_CHANNEL, Permissions::NONE);
                let (allow, deny) = if self.dice.one_in(2) { (view, none) } else { (none, view) };
                let after = Some(Overwrite { target, allow, deny }).filter(|after| before != Some(*after));
                EventKind::OverwriteChanged { channel, before, after }
            }
            (12..=13, _, _) => {
                let before = (*community.members[&member]).clone();
                let held = roles.iter().copied().filter(|_| self.dice.one_in(2)).collect();
                let after = Member { roles: held, ..before.clone() };
                EventKind::MemberUpdated { before, after }
            }
            (14, _, Some(role)) if self.dice.one_in(2) => {
                let before = community.roles[&role].clone();
                let permissions = if self.dice.one_in(2) { Permissions::VIEW_CHANNEL } else { Permissions::NONE };
                EventKind::RoleUpdated { after: Role { permissions, ..before.clone() }, before }
            }
            (14, _, Some(id)) => {
                let target = OverwriteTarget::Role(id);
                let rooms = community.channels.iter();
                let overwrites = rooms.filter_map(|(room, of)| Some((*room, *of.overwrites.get(&target)?))).collect();
                EventKind::RoleDeleted { role: community.roles[&id].clone(), overwrites }
            }
            (15, _, _) if roles.len() < 3 => {
                let id = [STAFF, GUESTS, 102].into_iter().find(|id| !roles.contains(&role(*id).id)).unwrap();
                EventKind::RoleCreated { role: role(id) }
            }
            (15..=16, _, _) if channels.len() < 3 => {
                let id = (20..).find(|id| !channels.contains(&channel(*id))).unwrap();
                let target = OverwriteTarget::User(member);
                let overwrite = Overwrite { target, ..everyone_denied() };
                EventKind::ChannelCreated { channel: room(id), overwrites: vec![overwrite] }
            }
            (16, Some(channel), _) => {
                let room = &community.channels[&channel];
                let overwrites = room.overwrites.values().copied().collect();
                EventKind::ChannelDeleted { channel: room.channel.clone(), overwrites, children: Vec::new() }
            }
            (17, _, _) if members.len() > 3 && member != community.owner() => {
                let member = (*community.members[&member]).clone();
                if self.dice.one_in(2) {
                    EventKind::MemberLeft { member }
                } else {
                    EventKind::MembersLeft { users: vec![member.user] }
                }
            }
            (17..=18, _, _) => {
                let id = (2..).find(|id| !members.contains(&user(*id))).unwrap();
                if self.dice.one_in(2) {
                    EventKind::MemberJoined { member: super::scene::member(id, &[]) }
                } else {
                    EventKind::MembersJoined { members: vec![super::scene::member(id, &[])] }
                }
            }
            (19, _, _) if member != community.owner() => {
                let before = community.settings.clone();
                EventKind::GuildUpdated { after: GuildSettings { owner: member, ..before.clone() }, before }
            }
            _ => EventKind::UserBanned { user: user(99), reason: None },
        };
        self.make(kind);
    }
}
