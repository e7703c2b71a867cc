//! Who may do what, naively: one command at a time, refused or carried out.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use guildhall_proto::{
    Actor, Channel, ChannelKind, Command, Member, MemberEdit, Mentions, Millis, NewMember, Overwrite, OverwriteTarget,
    Permissions, PruneBy, Publish, Role, RoleId, Status, UserId,
};

use super::{Model, Place, Room, Scope, role_place};

/// What becomes of a command.
#[derive(Debug)]
pub(crate) enum Verdict {
    Refused,
    Accepted(Accepted),
    /// The role's id was deleted: whether it is free again is for the guild to say.
    Either(Accepted),
}

/// An accepted command: the guild after it, and whom its event is for, if it makes one.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) after: Model,
    pub(crate) scope: Option<Scope>,
}

/// Stops at the first rule that is broken.
fn must(holds: bool) -> Option<()> {
    holds.then_some(())
}

fn distinct<T: Ord>(list: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    list.into_iter().all(|item| seen.insert(item))
}

impl Model {
    /// Decides a command on a guild that exists.
    pub(crate) fn decide(&self, now: Millis, actor: Actor, command: &Command) -> Verdict {
        let mut after = self.clone();
        let Some(scope) = after.carry_out(now, actor, command) else {
            return Verdict::Refused;
        };
        if scope.is_some() {
            after.seq += 1;
        }
        after.departed = after.departed_since(self);
        let accepted = Accepted { after, scope };
        let comes_back = matches!(command, Command::CreateRole(role) if self.deleted_roles.contains(&role.id));
        if comes_back { Verdict::Either(accepted) } else { Verdict::Accepted(accepted) }
    }

    /// Changes the guild as the command asks. `None`: refused; `Some(None)`: nothing to change.
    fn carry_out(&mut self, now: Millis, actor: Actor, command: &Command) -> Option<Option<Scope>> {
        must(self.alive)?;
        let system = actor == Actor::System;
        let (user, own, place) = match actor {
            Actor::System => (None, Permissions::ALL, (u32::MAX, Reverse(0))),
            Actor::User(user) => {
                must(self.members.contains_key(&user))?;
                (Some(user), self.base(user), self.place(user))
            }
        };
        let before = self.clone();
        let has = |needed: Permissions| must(own.contains(needed));
        let has_within = |channel, needed| {
            must(before.channels.contains_key(&channel))?;
            must(user.is_none_or(|user| before.within(user, channel).contains(needed)))
        };
        let own_within = |channel| user.map_or(Permissions::ALL, |user| before.within(user, channel));
        let everyone = RoleId::everyone(self.guild);
        match command {
            Command::CreateGuild { .. } => None,
            Command::UpdateGuild(edit) => {
                has(Permissions::MANAGE_GUILD)?;
                if let Some(name) = &edit.name {
                    self.name = name.clone();
                }
                Some((self.name != before.name).then_some(Scope::Everyone))
            }
            Command::DeleteGuild => {
                must(system || user == Some(self.owner))?;
                self.alive = false;
                self.sessions.clear();
                Some(Some(Scope::Everyone))
            }
            Command::TransferOwnership { to } => {
                must(system || user == Some(self.owner))?;
                must(self.members.contains_key(to))?;
                self.owner = *to;
                Some((self.owner != before.owner).then_some(Scope::Everyone))
            }
            Command::CreateRole(role) => {
                has(Permissions::MANAGE_ROLES)?;
                must(!self.roles.contains_key(&role.id) && role.position > 0 && self.roles.len() < 512)?;
                must(place > role_place(role) && own.contains(role.permissions))?;
                self.roles.insert(role.id, role.clone());
                Some(Some(Scope::Everyone))
            }
            Command::UpdateRole { role: id, edit } => {
                has(Permissions::MANAGE_ROLES)?;
                let role = self.roles.get_mut(id)?;
                must(place > role_place(role))?;
                must(*id != everyone || edit.name.is_none() && edit.hoist.is_none() && edit.mentionable.is_none())?;
                let old = role.permissions;
                *role = Role {
                    name: edit.name.clone().unwrap_or(role.name.clone()),
                    permissions: edit.permissions.unwrap_or(old),
                    hoist: edit.hoist.unwrap_or(role.hoist),
                    mentionable: edit.mentionable.unwrap_or(role.mentionable),
                    ..role.clone()
                };
                must(own.contains(role.permissions - old))?;
                Some((self.roles != before.roles).then_some(Scope::Everyone))
            }
            Command::DeleteRole { role } => {
                has(Permissions::MANAGE_ROLES)?;
                must(*role != everyone && place > role_place(self.roles.get(role)?))?;
                self.roles.remove(role);
                self.deleted_roles.insert(*role);
                self.members.values_mut().for_each(|member| member.roles.retain(|held| held != role));
                for room in self.channels.values_mut() {
                    room.overwrites.remove(&OverwriteTarget::Role(*role));
                }
                Some(Some(Scope::Everyone))
            }
            Command::ReorderRoles { positions } => {
                has(Permissions::MANAGE_ROLES)?;
                must(distinct(positions.iter().map(|(role, _)| role)))?;
                for (id, position) in positions {
                    let role = self.roles.get_mut(id)?;
                    must(*id != everyone && *position > 0)?;
                    let old = role_place(role);
                    role.position = *position;
                    must(old == role_place(role) || place > old && place > role_place(role))?;
                }
                Some((self.roles != before.roles).then_some(Scope::Everyone))
            }
            Command::CreateChannel { channel, overwrites } => {
                has(Permissions::MANAGE_CHANNELS)?;
                must(!self.channels.contains_key(&channel.id) && self.channels.len() < 1_000)?;
                must(self.parent_fits(channel) && distinct(overwrites.iter().map(|one| one.target)))?;
                if !overwrites.is_empty() {
                    has(Permissions::MANAGE_ROLES)?;
                }
                let mut room = Room { channel: channel.clone(), overwrites: Default::default() };
                for Overwrite { target, allow, deny } in overwrites {
                    must(
                        self.has_target(*target, system)
                            && place > self.place_of(*target)
                            && own.contains(*allow | *deny),
                    )?;
                    room.overwrites.insert(*target, (*allow, *deny));
                }
                self.channels.insert(channel.id, room);
                Some(Some(Scope::Seeing(vec![channel.id])))
            }
            Command::UpdateChannel { channel, edit } => {
                has_within(*channel, Permissions::VIEW_CHANNEL | Permissions::MANAGE_CHANNELS)?;
                let mut changed = self.channels[channel].channel.clone();
                changed.name = edit.name.clone().unwrap_or(changed.name);
                changed.parent = edit.parent.unwrap_or(changed.parent);
                must(self.parent_fits(&changed))?;
                self.channels.get_mut(channel)?.channel = changed;
                Some((self.channels != before.channels).then_some(Scope::Seeing(vec![*channel])))
            }
            Command::DeleteChannel { channel } => {
                has_within(*channel, Permissions::VIEW_CHANNEL | Permissions::MANAGE_CHANNELS)?;
                self.channels.remove(channel);
                for room in self.channels.values_mut().filter(|room| room.channel.parent == Some(*channel)) {
                    room.channel.parent = None;
                }
                Some(Some(Scope::Seeing(vec![*channel])))
            }
            Command::ReorderChannels { positions } => {
                has(Permissions::MANAGE_CHANNELS)?;
                must(distinct(positions.iter().map(|(channel, _)| channel)))?;
                for (id, _) in positions {
                    has_within(*id, Permissions::VIEW_CHANNEL | Permissions::MANAGE_CHANNELS)?;
                }
                let mut moved = Vec::new();
                for (id, position) in positions {
                    let channel = &mut self.channels.get_mut(id)?.channel;
                    if channel.position != *position {
                        channel.position = *position;
                        moved.push(*id);
                    }
                }
                Some((!moved.is_empty()).then_some(Scope::Seeing(moved)))
            }
            Command::SetOverwrite { channel, overwrite: Overwrite { target, allow, deny } } => {
                has_within(*channel, Permissions::VIEW_CHANNEL | Permissions::MANAGE_ROLES)?;
                must(self.has_target(*target, system) && place > self.place_of(*target))?;
                let overwrites = &mut self.channels.get_mut(channel)?.overwrites;
                let old = overwrites.insert(*target, (*allow, *deny));
                must(overwrites.len() <= 512)?;
                must(own_within(*channel).contains(changed_bits(old.unwrap_or_default(), (*allow, *deny))))?;
                Some((old != Some((*allow, *deny))).then_some(Scope::Seeing(vec![*channel])))
            }
            Command::RemoveOverwrite { channel, target } => {
                has_within(*channel, Permissions::VIEW_CHANNEL | Permissions::MANAGE_ROLES)?;
                let old = self.channels.get_mut(channel)?.overwrites.remove(target)?;
                must(place > before.place_of(*target))?;
                must(own_within(*channel).contains(changed_bits(old, Default::default())))?;
                Some(Some(Scope::Seeing(vec![*channel])))
            }
            Command::AddMember(new) => {
                must(!self.bans.contains_key(&new.user))?;
                must(system && !self.members.contains_key(&new.user))?;
                self.members.insert(new.user, self.new_member(now, new)?);
                Some(Some(Scope::Member(new.user)))
            }
            Command::UpdateMember { user: target, edit } => {
                let after = self.edited(before.members.get(target)?, edit, actor, own, place)?;
                let changes = before.members[target] != after;
                self.members.insert(*target, after);
                Some(changes.then_some(Scope::Member(*target)))
            }
            Command::RemoveMember { user: target } => {
                must(self.members.contains_key(target) && *target != self.owner)?;
                if user != Some(*target) {
                    has(Permissions::KICK_MEMBERS)?;
                    must(place > self.place(*target))?;
                }
                self.members.remove(target);
                self.sessions.retain(|_, (of, _)| of != target);
                Some(Some(Scope::Member(*target)))
            }
            Command::Ban { user: target, reason } => {
                has(Permissions::BAN_MEMBERS)?;
                must(*target != self.owner)?;
                let leaves = before.members.contains_key(target);
                must(!leaves || place > self.place(*target))?;
                self.members.remove(target);
                self.sessions.retain(|_, (of, _)| of != target);
                let changes = self.bans.insert(*target, reason.clone()) != Some(reason.clone());
                // The departure comes first; of the ban itself nobody hears.
                self.seq += u64::from(leaves && changes);
                match (leaves, changes) {
                    (true, _) => Some(Some(Scope::Member(*target))),
                    (false, true) => Some(Some(Scope::Seeing(vec![]))),
                    (false, false) => Some(None),
                }
            }
            Command::Unban { user: target } => {
                has(Permissions::BAN_MEMBERS)?;
                self.bans.remove(target)?;
                Some(Some(Scope::Seeing(vec![])))
            }
            Command::PruneMembers(by) => {
                has(Permissions::KICK_MEMBERS | Permissions::MANAGE_GUILD)?;
                match by {
                    PruneBy::Role(role) => must(*role != everyone && self.roles.contains_key(role))?,
                    PruneBy::Idle { .. } => {}
                    PruneBy::Absent(users) => must(distinct(users))?,
                }
                self.members.retain(|user, member| {
                    !before.matches(by, member) || *user == before.owner || place <= before.place(*user)
                });
                let members = &self.members;
                self.sessions.retain(|_, (of, _)| members.contains_key(of));
                Some((self.members.len() < before.members.len()).then_some(Scope::Members))
            }
            Command::ImportMembers(lines) => {
                must(system)?;
                for line in lines {
                    let is_welcome = !self.bans.contains_key(&line.user) && !self.members.contains_key(&line.user);
                    // Every line here is good but for its role, which may be gone.
                    let Some(member) = self.new_member(now, line) else { break };
                    if is_welcome {
                        self.members.insert(line.user, member);
                    }
                }
                Some((self.members.len() > before.members.len()).then_some(Scope::Members))
            }
            Command::Publish(publish) => {
                has_within(publish.channel, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES)?;
                self.publishes(publish, user, own_within(publish.channel))
            }
        }
    }

    /// Whether a prune is for a member.
    fn matches(&self, by: &PruneBy, member: &Member) -> bool {
        let there = self.sessions.values().any(|(of, _)| *of == member.user);
        match by {
            PruneBy::Role(role) => member.roles.contains(role),
            PruneBy::Idle { joined_before } => member.roles.is_empty() && member.joined_at < *joined_before && !there,
            PruneBy::Absent(users) => users.contains(&member.user) && !there,
        }
    }

    /// Whom a prune may be for that is begun now: those listed, or those whom a worker finds by record and status.
    pub(crate) fn candidates(&self, by: &PruneBy) -> Vec<UserId> {
        match by {
            PruneBy::Role(role) => self.users(|member| member.roles.contains(role)),
            PruneBy::Idle { joined_before } => self.users(|member| {
                let is_offline = self.status(member.user) == Status::Offline;
                is_offline && member.roles.is_empty() && member.joined_at < *joined_before
            }),
            PruneBy::Absent(users) => users.clone(),
        }
    }

    /// A prune that began earlier comes to its candidates: those go who match by now, if its actor may still have them go.
    pub(crate) fn prune(&self, now: Millis, actor: Actor, by: &PruneBy, candidates: &[UserId]) -> Accepted {
        let command = Command::PruneMembers(by.clone());
        let (Verdict::Accepted(mut accepted) | Verdict::Either(mut accepted)) = self.decide(now, actor, &command)
        else {
            return Accepted { after: self.clone(), scope: None };
        };
        let after = &mut accepted.after;
        for (user, member) in self.members.iter().filter(|(user, _)| !candidates.contains(user)) {
            after.members.entry(*user).or_insert_with(|| member.clone());
        }
        after.departed = after.departed_since(self);
        let back = self.sessions.iter().filter(|(_, (user, _))| after.members.contains_key(user));
        after.sessions = back.map(|(session, of)| (*session, *of)).collect();
        if after.members.len() == self.members.len() {
            (after.seq, accepted.scope) = (self.seq, None);
        }
        accepted
    }

    fn publishes(&self, publish: &Publish, author: Option<UserId>, own: Permissions) -> Option<Option<Scope>> {
        must(self.channels[&publish.channel].channel.kind == ChannelKind::Text)?;
        if let Some(session) = publish.session {
            must(author.is_some() && self.sessions.get(&session).map(|(of, _)| *of) == author)?;
        }
        let Mentions { users, roles, everyone, here } = &publish.mentions;
        must(users.len() <= 100 && roles.len() <= 100 && distinct(users) && distinct(roles))?;
        must(users.iter().all(|user| self.members.contains_key(user)))?;
        let mut privileged = *everyone || *here;
        for role in roles {
            must(*role != RoleId::everyone(self.guild))?;
            privileged |= !self.roles.get(role)?.mentionable;
        }
        must(!privileged || own.contains(Permissions::MENTION_EVERYONE))?;
        let except = if publish.echo { None } else { publish.session };
        Some(Some(Scope::Message { channel: publish.channel, except, mentions: publish.mentions.clone() }))
    }

    fn edited(
        &self,
        before: &Member,
        edit: &MemberEdit,
        actor: Actor,
        own: Permissions,
        place: Place,
    ) -> Option<Member> {
        let mut after = before.clone();
        if let Some(nick) = &edit.nick {
            if actor == Actor::User(before.user) {
                must(own.contains(Permissions::CHANGE_NICKNAME))?;
            } else {
                must(own.contains(Permissions::MANAGE_NICKNAMES) && place > self.place(before.user))?;
            }
            after.nick = nick.clone();
        }
        if let Some(roles) = &edit.roles {
            must(own.contains(Permissions::MANAGE_ROLES))?;
            let roles = self.holdable(roles)?;
            for role in self.roles.values() {
                let moves = before.roles.contains(&role.id) != roles.contains(&role.id);
                must(!moves || place > role_place(role))?;
            }
            after.roles = roles;
        }
        if let Some(flags) = edit.flags {
            must(actor == Actor::System)?;
            after.flags = flags;
        }
        Some(after)
    }

    /// The latest joining of anyone who has left, up to `before` or since.
    fn departed_since(&self, before: &Self) -> Millis {
        let left = before.members.values().filter(|member| !self.members.contains_key(&member.user));
        left.map(|member| member.joined_at).fold(before.departed, Millis::max)
    }

    fn new_member(&self, now: Millis, new: &NewMember) -> Option<Member> {
        let NewMember { user, nick, roles, flags } = new;
        let joined_at = now.max(Millis(self.departed.0 + 1));
        Some(Member { user: *user, nick: nick.clone(), roles: self.holdable(roles)?, joined_at, flags: *flags })
    }

    fn holdable(&self, roles: &[RoleId]) -> Option<Vec<RoleId>> {
        must(roles.len() <= 250 && distinct(roles))?;
        must(roles.iter().all(|role| self.roles.contains_key(role) && *role != RoleId::everyone(self.guild)))?;
        let mut roles = roles.to_vec();
        roles.sort();
        Some(roles)
    }

    fn parent_fits(&self, channel: &Channel) -> bool {
        channel.parent.is_none_or(|parent| {
            channel.kind == ChannelKind::Text
                && self.channels.get(&parent).is_some_and(|parent| parent.channel.kind == ChannelKind::Category)
        })
    }

    /// Whether an overwrite may be for it; for the system any user's may.
    fn has_target(&self, target: OverwriteTarget, system: bool) -> bool {
        match target {
            OverwriteTarget::Role(role) => self.roles.contains_key(&role),
            OverwriteTarget::User(user) => system || self.members.contains_key(&user),
        }
    }

    fn place_of(&self, target: OverwriteTarget) -> Place {
        match target {
            OverwriteTarget::Role(role) => role_place(&self.roles[&role]),
            OverwriteTarget::User(user) => self.place(user),
        }
    }
}

/// The permissions of which an overwrite says something else after than before.
fn changed_bits(before: (Permissions, Permissions), after: (Permissions, Permissions)) -> Permissions {
    let mut changed = Permissions::NONE;
    for (_, bit) in Permissions::NAMED {
        if before.0.contains(*bit) != after.0.contains(*bit) || before.1.contains(*bit) != after.1.contains(*bit) {
            changed |= *bit;
        }
    }
    changed
}
