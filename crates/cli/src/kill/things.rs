//! What one client has made in guilds, as plain maps: what must be found there after any crash.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_node::View;
use guildhall_proto::{ChannelId, Command, GuildId, NewMember, PruneBy, RoleId, UserId};

/// The guilds that a client knows, with what it has made in each; `None` where the guild was deleted.
pub(super) type Places = BTreeMap<GuildId, Option<Things>>;

/// What a client has made in a guild.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Things {
    /// Each with its nick and roles.
    pub(super) members: BTreeMap<UserId, (String, BTreeSet<RoleId>)>,
    pub(super) bans: BTreeSet<UserId>,
    /// Names.
    pub(super) roles: BTreeMap<RoleId, String>,
    pub(super) channels: BTreeMap<ChannelId, String>,
}

/// What was found in the place of what a client had made, where its last operation may or may not have been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// As it was before the operation.
    Before,
    /// As it was after.
    After,
    /// A part of the operation.
    Part,
    /// Something else.
    Wrong,
}

/// Carries out a command that the guild accepts, of those that the child makes.
pub(super) fn apply(places: &mut Places, guild: GuildId, command: &Command) {
    if let Command::CreateGuild { owner, .. } = command {
        let mut things = Things::default();
        things.join(owner);
        places.insert(guild, Some(things));
        return;
    }
    if matches!(command, Command::DeleteGuild) {
        places.insert(guild, None);
        return;
    }
    let things = places.get_mut(&guild).and_then(Option::as_mut).expect("the child acts in guilds that live");
    things.apply(command);
}

impl Things {
    fn apply(&mut self, command: &Command) {
        match command {
            Command::AddMember(member) => self.join(member),
            Command::ImportMembers(members) => members.iter().for_each(|member| self.join(member)),
            Command::UpdateMember { user, edit } => {
                let (nick, roles) = self.members.get_mut(user).expect("the child changes members that are there");
                if let Some(new) = &edit.nick {
                    *nick = new.to_string();
                }
                if let Some(new) = &edit.roles {
                    *roles = new.iter().copied().collect();
                }
            }
            Command::RemoveMember { user } => drop(self.members.remove(user)),
            Command::PruneMembers(PruneBy::Absent(users)) => {
                users.iter().for_each(|user| drop(self.members.remove(user)))
            }
            Command::Ban { user, .. } => {
                self.members.remove(user);
                self.bans.insert(*user);
            }
            Command::Unban { user } => self.bans.retain(|banned| banned != user),
            Command::CreateRole(role) => drop(self.roles.insert(role.id, role.name.to_string())),
            Command::UpdateRole { role, edit } => {
                let name = edit.name.as_ref().expect("the child renames roles");
                self.roles.insert(*role, name.to_string());
            }
            Command::DeleteRole { role } => {
                self.roles.remove(role);
                self.members.values_mut().for_each(|(_, roles)| roles.retain(|held| held != role));
            }
            Command::CreateChannel { channel, .. } => drop(self.channels.insert(channel.id, channel.name.to_string())),
            Command::DeleteChannel { channel } => drop(self.channels.remove(channel)),
            Command::CreateGuild { .. }
            | Command::DeleteGuild
            | Command::UpdateGuild(_)
            | Command::TransferOwnership { .. }
            | Command::ReorderRoles { .. }
            | Command::UpdateChannel { .. }
            | Command::ReorderChannels { .. }
            | Command::SetOverwrite { .. }
            | Command::RemoveOverwrite { .. }
            | Command::Publish(_)
            | Command::PruneMembers(PruneBy::Role(_) | PruneBy::Idle { .. }) => {
                unreachable!("the child makes no such command within a guild: {command:?}")
            }
        }
    }

    fn join(&mut self, member: &NewMember) {
        self.members.insert(member.user, (member.nick.to_string(), member.roles.iter().copied().collect()));
    }

    /// What a view has of all that may be there: what stands in one of these.
    fn read(view: &View, either: [&Self; 2]) -> Self {
        let mut found = Self::default();
        for things in either {
            for user in things.members.keys().chain(&things.bans) {
                if let Some(member) = view.member(*user) {
                    found.members.insert(*user, (member.nick.to_string(), member.roles.into_iter().collect()));
                }
                if view.bans().contains(*user) {
                    found.bans.insert(*user);
                }
            }
            for role in things.roles.keys().filter_map(|role| view.rights().role(*role)) {
                found.roles.insert(role.id, role.name.to_string());
            }
            for channel in things.channels.keys().filter_map(|channel| view.rights().channel(*channel)) {
                found.channels.insert(channel.id, channel.name.to_string());
            }
        }
        found
    }

    /// Compares a view with what must be there: all of `before` or, if an operation was under way, all of `after`.
    pub(super) fn find(view: &View, before: &Self, after: &Self) -> Found {
        let found = Self::read(view, [before, after]);
        if found == *before {
            return Found::Before;
        }
        if found == *after {
            return Found::After;
        }
        let is_part = is_mixed(&found.members, &before.members, &after.members)
            && found.bans.iter().all(|user| before.bans.contains(user) || after.bans.contains(user))
            && before.bans.intersection(&after.bans).all(|user| found.bans.contains(user))
            && is_mixed(&found.roles, &before.roles, &after.roles)
            && is_mixed(&found.channels, &before.channels, &after.channels);
        if is_part { Found::Part } else { Found::Wrong }
    }
}

/// Whether each thing is as it was before, or as it was after.
fn is_mixed<K: Ord, V: PartialEq>(found: &BTreeMap<K, V>, before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> bool {
    before.keys().chain(after.keys()).all(|key| {
        let found = found.get(key);
        found == before.get(key) || found == after.get(key)
    })
}
