//! Who may do what, naively: the events that a command makes, or that it is refused.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use guildhall_proto::limits::{
    BANS_MAX, BULK_MEMBERS_MAX, CHANNELS_MAX, MEMBER_ROLES_MAX, MENTION_ROLES_MAX, MENTION_USERS_MAX, OVERWRITES_MAX,
    ROLES_MAX,
};
use guildhall_proto::{
    Actor, Channel, ChannelId, ChannelKind, Command, EventKind, GuildSettings, Member, MemberEdit, Message, Millis,
    NewMember, Overwrite, OverwriteTarget, Permissions, PruneBy, Publish, Role, RoleId, UserId,
};

use super::{Community, Life, Place, Room, place_of};

/// What becomes of a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Refused,
    /// It makes these events, at once.
    Makes(Vec<EventKind>),
    /// The same, or it is refused: that hangs on what cannot be known from outside.
    Perhaps(Vec<EventKind>),
    /// It is carried out by and by.
    Later,
}

/// Stops at the first rule that is broken.
fn must(holds: bool) -> Option<()> {
    holds.then_some(())
}

fn distinct<T: Ord>(list: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    list.into_iter().all(|item| seen.insert(item))
}

impl Life {
    /// What becomes of a command on this guild at a time.
    pub(crate) fn decide(&self, now: Millis, actor: Actor, command: &Command, guild: RoleId) -> Verdict {
        match self {
            Self::Alive(community) => community.decide(now, actor, command),
            Self::Uncreated => {
                create(now, actor, command, guild).map_or(Verdict::Refused, |made| Verdict::Makes(vec![made]))
            }
            Self::Deleted => Verdict::Refused,
        }
    }
}

fn create(now: Millis, actor: Actor, command: &Command, everyone: RoleId) -> Option<EventKind> {
    let Command::CreateGuild { name, everyone: permissions, owner } = command else { return None };
    must(actor == Actor::System && owner.roles.is_empty())?;
    let settings = GuildSettings { name: name.clone(), owner: owner.user };
    let everyone = Role {
        id: everyone,
        name: guildhall_proto::Name::parse("@everyone").expect("it is short and not empty"),
        position: 0,
        permissions: *permissions,
        hoist: false,
        mentionable: false,
    };
    let owner =
        Member { user: owner.user, nick: owner.nick.clone(), roles: Vec::new(), joined_at: now, flags: owner.flags };
    Some(EventKind::GuildCreated { settings, everyone, owner })
}

/// Who asks.
pub(super) struct Asker {
    user: Option<UserId>,
    base: Permissions,
    pub(super) place: Place,
}

impl Asker {
    fn is_system(&self) -> bool {
        self.user.is_none()
    }

    fn has(&self, needed: Permissions) -> Option<()> {
        must(self.base.contains(needed))
    }
}

impl Community {
    fn decide(&self, now: Millis, actor: Actor, command: &Command) -> Verdict {
        let Some(asker) = self.asker(actor) else { return Verdict::Refused };
        if let Command::PruneMembers(by) = command {
            let accepted = self.may_prune(&asker, by);
            return accepted.map_or(Verdict::Refused, |()| Verdict::Later);
        }
        if let Command::ImportMembers(lines) = command {
            let accepted = asker.is_system() && lines.len() <= BULK_MEMBERS_MAX;
            return if accepted { Verdict::Later } else { Verdict::Refused };
        }
        let made = match self.changes(now, &asker, command) {
            Some(made) => made,
            None => return Verdict::Refused,
        };
        // A deleted role's id stays taken until no record names it.
        let is_unknown = matches!(command, Command::CreateRole(role) if self.deleted_roles.contains(&role.id));
        if is_unknown { Verdict::Perhaps(made) } else { Verdict::Makes(made) }
    }

    /// Who asks; `None` if that is no member.
    pub(super) fn asker(&self, actor: Actor) -> Option<Asker> {
        match actor {
            Actor::System => Some(Asker { user: None, base: Permissions::ALL, place: (u32::MAX, Reverse(0)) }),
            Actor::User(user) => self.members.contains_key(&user).then(|| {
                let (base, place) = (self.base(user), self.place(user));
                Asker { user: Some(user), base, place }
            }),
        }
    }

    /// Whether a user may say something in a channel, or be told of as typing there.
    pub(crate) fn may_say(&self, user: UserId, channel: ChannelId) -> bool {
        let needed = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let room = self.asker(Actor::User(user)).and_then(|asker| self.manageable(&asker, channel, needed));
        room.is_some_and(|room| room.channel.kind == ChannelKind::Text)
    }

    /// The events of a command; `None` if it is refused.
    fn changes(&self, now: Millis, asker: &Asker, command: &Command) -> Option<Vec<EventKind>> {
        let made = match command {
            Command::CreateGuild { .. } | Command::PruneMembers(_) | Command::ImportMembers(_) => return None,
            Command::UpdateGuild(edit) => {
                asker.has(Permissions::MANAGE_GUILD)?;
                let name = edit.name.clone().unwrap_or_else(|| self.settings.name.clone());
                self.resettled(GuildSettings { name, owner: self.owner() })
            }
            Command::DeleteGuild => {
                must(asker.is_system() || asker.user == Some(self.owner()))?;
                Some(EventKind::GuildDeleted)
            }
            Command::TransferOwnership { to } => {
                must(asker.is_system() || asker.user == Some(self.owner()))?;
                must(self.members.contains_key(to))?;
                self.resettled(GuildSettings { name: self.settings.name.clone(), owner: *to })
            }
            Command::CreateRole(role) => {
                asker.has(Permissions::MANAGE_ROLES)?;
                must(!self.roles.contains_key(&role.id) && role.position > 0 && self.roles.len() < ROLES_MAX)?;
                must(asker.place > place_of(role) && asker.base.contains(role.permissions))?;
                Some(EventKind::RoleCreated { role: role.clone() })
            }
            Command::UpdateRole { role, edit } => {
                asker.has(Permissions::MANAGE_ROLES)?;
                let before = self.roles.get(role)?;
                must(asker.place > place_of(before))?;
                let is_bare = edit.name.is_none() && edit.hoist.is_none() && edit.mentionable.is_none();
                must(*role != self.everyone() || is_bare)?;
                let after = Role {
                    name: edit.name.clone().unwrap_or_else(|| before.name.clone()),
                    permissions: edit.permissions.unwrap_or(before.permissions),
                    hoist: edit.hoist.unwrap_or(before.hoist),
                    mentionable: edit.mentionable.unwrap_or(before.mentionable),
                    ..before.clone()
                };
                must(asker.base.contains(after.permissions - before.permissions))?;
                (*before != after).then(|| EventKind::RoleUpdated { before: before.clone(), after })
            }
            Command::DeleteRole { role } => {
                asker.has(Permissions::MANAGE_ROLES)?;
                let found = self.roles.get(role)?;
                must(*role != self.everyone() && asker.place > place_of(found))?;
                let target = OverwriteTarget::Role(*role);
                let overwrites = self.channels.iter();
                let overwrites =
                    overwrites.filter_map(|(channel, room)| Some((*channel, *room.overwrites.get(&target)?)));
                Some(EventKind::RoleDeleted { role: found.clone(), overwrites: overwrites.collect() })
            }
            Command::ReorderRoles { positions } => self.reorder_roles(asker, positions)?,
            Command::CreateChannel { channel, overwrites } => {
                asker.has(Permissions::MANAGE_CHANNELS)?;
                must(!self.channels.contains_key(&channel.id) && self.channels.len() < CHANNELS_MAX)?;
                must(self.parent_fits(channel) && overwrites.len() <= OVERWRITES_MAX)?;
                must(distinct(overwrites.iter().map(|one| one.target)))?;
                if !overwrites.is_empty() {
                    asker.has(Permissions::MANAGE_ROLES)?;
                }
                for Overwrite { target, allow, deny } in overwrites {
                    must(self.has_target(asker, *target) && asker.place > self.place_of_target(*target))?;
                    asker.has(*allow | *deny)?;
                }
                let mut overwrites = overwrites.clone();
                overwrites.sort_by_key(|one| one.target);
                Some(EventKind::ChannelCreated { channel: channel.clone(), overwrites })
            }
            Command::UpdateChannel { channel, edit } => {
                let before = &self.manageable(asker, *channel, Permissions::MANAGE_CHANNELS)?.channel;
                let after = Channel {
                    name: edit.name.clone().unwrap_or_else(|| before.name.clone()),
                    parent: edit.parent.unwrap_or(before.parent),
                    ..before.clone()
                };
                must(self.parent_fits(&after))?;
                (*before != after).then(|| EventKind::ChannelUpdated { before: before.clone(), after })
            }
            Command::DeleteChannel { channel } => {
                let room = self.manageable(asker, *channel, Permissions::MANAGE_CHANNELS)?;
                let children = self.channels.iter().filter(|(_, room)| room.channel.parent == Some(*channel));
                Some(EventKind::ChannelDeleted {
                    channel: room.channel.clone(),
                    overwrites: room.overwrites.values().copied().collect(),
                    children: children.map(|(child, _)| *child).collect(),
                })
            }
            Command::ReorderChannels { positions } => {
                asker.has(Permissions::MANAGE_CHANNELS)?;
                must(distinct(positions.iter().map(|(channel, _)| channel)))?;
                let mut moved = Vec::new();
                for (channel, position) in positions {
                    let before = self.manageable(asker, *channel, Permissions::MANAGE_CHANNELS)?.channel.position;
                    if before != *position {
                        moved.push((*channel, before, *position));
                    }
                }
                moved.sort_by_key(|(channel, ..)| *channel);
                (!moved.is_empty()).then(|| EventKind::ChannelsReordered {
                    before: moved.iter().map(|(channel, before, _)| (*channel, *before)).collect(),
                    after: moved.iter().map(|(channel, _, after)| (*channel, *after)).collect(),
                })
            }
            Command::SetOverwrite { channel, overwrite } => {
                let room = self.manageable(asker, *channel, Permissions::MANAGE_ROLES)?;
                must(self.has_target(asker, overwrite.target) && asker.place > self.place_of_target(overwrite.target))?;
                let before = room.overwrites.get(&overwrite.target).copied();
                must(before.is_some() || room.overwrites.len() < OVERWRITES_MAX)?;
                must(self.own_within(asker, room).contains(changed_bits(before.as_ref(), Some(overwrite))))?;
                let after = Some(*overwrite);
                (before != after).then_some(EventKind::OverwriteChanged { channel: *channel, before, after })
            }
            Command::RemoveOverwrite { channel, target } => {
                let room = self.manageable(asker, *channel, Permissions::MANAGE_ROLES)?;
                let before = *room.overwrites.get(target)?;
                must(asker.place > self.place_of_target(*target))?;
                must(self.own_within(asker, room).contains(changed_bits(Some(&before), None)))?;
                Some(EventKind::OverwriteChanged { channel: *channel, before: Some(before), after: None })
            }
            Command::AddMember(new) => {
                must(asker.is_system() && !self.members.contains_key(&new.user) && !self.bans.contains_key(&new.user))?;
                Some(EventKind::MemberJoined { member: self.joins(now, new)? })
            }
            Command::UpdateMember { user, edit } => {
                let before = self.members.get(user)?;
                let after = self.edited(before, edit, asker)?;
                (**before != after).then(|| EventKind::MemberUpdated { before: (**before).clone(), after })
            }
            Command::RemoveMember { user } => {
                let member = self.members.get(user)?;
                must(*user != self.owner())?;
                if asker.user != Some(*user) {
                    asker.has(Permissions::KICK_MEMBERS)?;
                    must(asker.place > self.place(*user))?;
                }
                Some(EventKind::MemberLeft { member: (**member).clone() })
            }
            Command::Ban { user, reason } => {
                asker.has(Permissions::BAN_MEMBERS)?;
                must(*user != self.owner())?;
                let member = self.members.get(user);
                must(member.is_none() || asker.place > self.place(*user))?;
                let before = self.bans.get(user);
                must(before.is_some() || self.bans.len() < BANS_MAX)?;
                let left = member.map(|member| EventKind::MemberLeft { member: (**member).clone() });
                let banned = EventKind::UserBanned { user: *user, reason: reason.clone() };
                let banned = (before != Some(reason)).then_some(banned);
                return Some(left.into_iter().chain(banned).collect());
            }
            Command::Unban { user } => {
                asker.has(Permissions::BAN_MEMBERS)?;
                must(self.bans.contains_key(user))?;
                Some(EventKind::UserUnbanned { user: *user })
            }
            Command::Publish(publish) => Some(EventKind::MessagePublished(self.publishes(asker, publish)?)),
        };
        Some(made.into_iter().collect())
    }

    fn resettled(&self, after: GuildSettings) -> Option<EventKind> {
        (self.settings != after).then(|| EventKind::GuildUpdated { before: self.settings.clone(), after })
    }

    /// `None` if it is refused; otherwise the event, if anything moves.
    fn reorder_roles(&self, asker: &Asker, positions: &[(RoleId, u16)]) -> Option<Option<EventKind>> {
        asker.has(Permissions::MANAGE_ROLES)?;
        must(distinct(positions.iter().map(|(role, _)| role)))?;
        let mut moved = Vec::new();
        for (id, position) in positions {
            let role = self.roles.get(id)?;
            must(*id != self.everyone() && *position > 0)?;
            if role.position != *position {
                let after = Role { position: *position, ..role.clone() };
                must(asker.place > place_of(role) && asker.place > place_of(&after))?;
                moved.push((*id, role.position, *position));
            }
        }
        moved.sort_by_key(|(role, ..)| *role);
        let event = (!moved.is_empty()).then(|| EventKind::RolesReordered {
            before: moved.iter().map(|(role, before, _)| (*role, *before)).collect(),
            after: moved.iter().map(|(role, _, after)| (*role, *after)).collect(),
        });
        Some(event)
    }

    pub(super) fn may_prune(&self, asker: &Asker, by: &PruneBy) -> Option<()> {
        asker.has(Permissions::KICK_MEMBERS | Permissions::MANAGE_GUILD)?;
        match by {
            PruneBy::Role(role) => must(*role != self.everyone() && self.roles.contains_key(role)),
            PruneBy::Idle { .. } => Some(()),
            PruneBy::Absent(users) => must(users.len() <= BULK_MEMBERS_MAX && distinct(users)),
        }
    }

    fn publishes(&self, asker: &Asker, publish: &Publish) -> Option<Message> {
        let needed = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let room = self.manageable(asker, publish.channel, needed)?;
        must(room.channel.kind == ChannelKind::Text)?;
        must(publish.session.is_none() || asker.user.is_some())?;
        let mut mentions = publish.mentions.clone();
        must(mentions.users.len() <= MENTION_USERS_MAX && mentions.roles.len() <= MENTION_ROLES_MAX)?;
        must(distinct(&mentions.users) && distinct(&mentions.roles))?;
        must(mentions.users.iter().all(|user| self.members.contains_key(user)))?;
        let mut privileged = mentions.everyone || mentions.here;
        for role in &mentions.roles {
            must(*role != self.everyone())?;
            privileged |= !self.roles.get(role)?.mentionable;
        }
        must(!privileged || self.own_within(asker, room).contains(Permissions::MENTION_EVERYONE))?;
        mentions.users.sort();
        mentions.roles.sort();
        Some(Message {
            channel: publish.channel,
            author: asker.user,
            session: publish.session,
            echo: publish.echo,
            mentions,
            payload: publish.payload.clone(),
        })
    }

    fn edited(&self, before: &Member, edit: &MemberEdit, asker: &Asker) -> Option<Member> {
        let mut after = before.clone();
        if let Some(nick) = &edit.nick {
            if asker.user == Some(before.user) {
                asker.has(Permissions::CHANGE_NICKNAME)?;
            } else {
                asker.has(Permissions::MANAGE_NICKNAMES)?;
                must(asker.place > self.place(before.user))?;
            }
            after.nick = nick.clone();
        }
        if let Some(roles) = &edit.roles {
            asker.has(Permissions::MANAGE_ROLES)?;
            let roles = self.holdable(roles)?;
            for role in self.roles.values() {
                let moves = before.roles.contains(&role.id) != roles.contains(&role.id);
                must(!moves || asker.place > place_of(role))?;
            }
            after.roles = roles;
        }
        if let Some(flags) = edit.flags {
            must(asker.is_system())?;
            after.flags = flags;
        }
        Some(after)
    }

    pub(super) fn joins(&self, now: Millis, new: &NewMember) -> Option<Member> {
        let NewMember { user, nick, roles, flags } = new;
        let joined_at = now.max(Millis(self.departed.0 + 1));
        Some(Member { user: *user, nick: nick.clone(), roles: self.holdable(roles)?, joined_at, flags: *flags })
    }

    fn holdable(&self, roles: &[RoleId]) -> Option<Vec<RoleId>> {
        must(roles.len() <= MEMBER_ROLES_MAX && distinct(roles))?;
        must(roles.iter().all(|role| self.roles.contains_key(role) && *role != self.everyone()))?;
        let mut roles = roles.to_vec();
        roles.sort();
        Some(roles)
    }

    /// A channel that the asker sees, and has these permissions in.
    fn manageable(&self, asker: &Asker, channel: ChannelId, needed: Permissions) -> Option<&Room> {
        let room = self.channels.get(&channel)?;
        must(self.own_within(asker, room).contains(Permissions::VIEW_CHANNEL | needed))?;
        Some(room)
    }

    fn own_within(&self, asker: &Asker, room: &Room) -> Permissions {
        asker.user.map_or(Permissions::ALL, |user| self.within(user, room.channel.id))
    }

    fn parent_fits(&self, channel: &Channel) -> bool {
        channel.parent.is_none_or(|parent| {
            let parent = self.channels.get(&parent);
            channel.kind == ChannelKind::Text
                && parent.is_some_and(|parent| parent.channel.kind == ChannelKind::Category)
        })
    }

    /// Whether an overwrite may be for it; for the system any user's may.
    fn has_target(&self, asker: &Asker, target: OverwriteTarget) -> bool {
        match target {
            OverwriteTarget::Role(role) => self.roles.contains_key(&role),
            OverwriteTarget::User(user) => asker.is_system() || self.members.contains_key(&user),
        }
    }

    fn place_of_target(&self, target: OverwriteTarget) -> Place {
        match target {
            OverwriteTarget::Role(role) => self.roles.get(&role).map_or((0, Reverse(self.guild.get())), place_of),
            OverwriteTarget::User(user) => self.place(user),
        }
    }
}

/// The permissions of which an overwrite says something else after than before.
fn changed_bits(before: Option<&Overwrite>, after: Option<&Overwrite>) -> Permissions {
    let sides = |side: Option<&Overwrite>| side.map_or_else(Default::default, |side| (side.allow, side.deny));
    let (before, after): ((Permissions, Permissions), (Permissions, Permissions)) = (sides(before), sides(after));
    let mut changed = Permissions::NONE;
    for (_, bit) in Permissions::NAMED {
        if before.0.contains(*bit) != after.0.contains(*bit) || before.1.contains(*bit) != after.1.contains(*bit) {
            changed |= *bit;
        }
    }
    changed
}
