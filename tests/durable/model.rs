//! The naive guild: plain ordered maps, and what the system's commands do to them. Nothing is shared with the product but
//! `proto`'s types.
//!
//! Imports and prunes are carried out batch by batch, at moments that the guild chooses; so the model is told of each batch, and
//! says whether it may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{
    Channel, ChannelId, ChannelKind, Command, Member, Millis, Name, NewMember, OverwriteTarget, Permissions, PruneBy,
    Reason, Role, RoleId, UserId,
};

/// A guild as anyone would write it down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    pub(crate) life: Life,
    /// By each import and prune, how many members it has added or removed so far.
    pub(crate) spread: BTreeMap<usize, u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Life {
    Uncreated,
    Alive(Community),
    Deleted,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Community {
    pub(crate) name: Name,
    pub(crate) everyone: RoleId,
    pub(crate) owner: UserId,
    pub(crate) roles: BTreeMap<RoleId, Role>,
    pub(crate) channels: BTreeMap<ChannelId, Room>,
    pub(crate) members: BTreeMap<UserId, Member>,
    pub(crate) bans: BTreeMap<UserId, Option<Reason>>,
    /// The latest joining of anyone who has left.
    pub(crate) departed: Millis,
}

/// A channel with its overwrites: what each allows and denies.
pub(crate) type Room = (Channel, BTreeMap<OverwriteTarget, (Permissions, Permissions)>);

/// One thing that happened to a guild.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A command was carried out at once.
    Command {
        at: Millis,
        command: Arc<Command>,
    },
    /// A batch of the `nth` operation of the guild.
    Added {
        nth: usize,
        members: Vec<Member>,
    },
    Removed {
        nth: usize,
        users: Vec<UserId>,
    },
}

/// Stops at the first rule that is broken.
fn must(holds: bool) -> Option<()> {
    holds.then_some(())
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { life: Life::Uncreated, spread: BTreeMap::new() }
    }

    pub(crate) fn community(&self) -> Option<&Community> {
        match &self.life {
            Life::Alive(community) => Some(community),
            Life::Uncreated | Life::Deleted => None,
        }
    }

    /// Carries a change out; whether that is possible. If it is not, nothing is changed.
    pub(crate) fn apply(&mut self, everyone: RoleId, change: &Change) -> bool {
        match (&mut self.life, change) {
            (Life::Uncreated, Change::Command { at, command }) => {
                let Command::CreateGuild { name, everyone: permissions, owner } = &**command else { return false };
                self.life = Life::Alive(Community::new(name, everyone, *permissions, owner, *at));
                true
            }
            (Life::Alive(_), Change::Command { command, .. }) if **command == Command::DeleteGuild => {
                self.life = Life::Deleted;
                true
            }
            (Life::Alive(community), Change::Command { at, command }) => community.command(*at, command).is_some(),
            (Life::Alive(community), Change::Added { nth, members }) => {
                let new = members.iter().all(|member| !community.members.contains_key(&member.user));
                community.members.extend(members.iter().map(|member| (member.user, member.clone())));
                *self.spread.entry(*nth).or_default() += u32::try_from(members.len()).unwrap();
                new
            }
            (Life::Alive(community), Change::Removed { nth, users }) => {
                *self.spread.entry(*nth).or_default() += u32::try_from(users.len()).unwrap();
                users.iter().all(|user| community.depart(*user).is_some())
            }
            (Life::Uncreated | Life::Deleted, _) => false,
        }
    }

    /// Whether an import or a prune would be accepted, to be carried out by and by.
    pub(crate) fn accepts(&self, command: &Command) -> bool {
        let Some(community) = self.community() else { return false };
        let Command::PruneMembers(PruneBy::Role(role)) = command else { return true };
        *role != community.everyone && community.roles.contains_key(role)
    }

    /// Whether a batch of an import or a prune may add or remove these now.
    pub(crate) fn may_be_batch(&self, command: &Command, at: Millis, change: &Change) -> bool {
        let Some(community) = self.community() else { return false };
        match (command, change) {
            (Command::ImportMembers(lines), Change::Added { members, .. }) => members.iter().all(|member| {
                let line = lines.iter().find(|line| line.user == member.user);
                line.is_some_and(|line| community.joins(at, line).as_ref() == Some(member))
            }),
            (Command::PruneMembers(by), Change::Removed { users, .. }) => users.iter().all(|user| {
                let matches = |member: &Member| match by {
                    PruneBy::Role(role) => member.roles.contains(role),
                    PruneBy::Idle { joined_before } => member.roles.is_empty() && member.joined_at < *joined_before,
                    PruneBy::Absent(absent) => absent.contains(user),
                };
                *user != community.owner && community.members.get(user).is_some_and(matches)
            }),
            _ => false,
        }
    }
}

impl Community {
    fn new(name: &Name, everyone: RoleId, permissions: Permissions, owner: &NewMember, at: Millis) -> Self {
        let role = Role {
            id: everyone,
            name: Name::parse("@everyone").unwrap(),
            position: 0,
            permissions,
            hoist: false,
            mentionable: false,
        };
        Self {
            name: name.clone(),
            everyone,
            owner: owner.user,
            roles: [(everyone, role)].into(),
            channels: BTreeMap::new(),
            members: [(owner.user, member(at, owner))].into(),
            bans: BTreeMap::new(),
            departed: Millis::default(),
        }
    }

    /// Carries out a command of the system, or refuses it and changes nothing.
    fn command(&mut self, at: Millis, command: &Command) -> Option<()> {
        match command {
            Command::UpdateGuild(edit) => self.name = edit.name.clone().unwrap_or(self.name.clone()),
            Command::TransferOwnership { to } => {
                must(self.members.contains_key(to))?;
                self.owner = *to;
            }
            Command::CreateRole(role) => {
                must(!self.roles.contains_key(&role.id) && role.position > 0)?;
                self.roles.insert(role.id, role.clone());
            }
            Command::UpdateRole { role, edit } => {
                let role = self.roles.get_mut(role)?;
                role.permissions = edit.permissions.unwrap_or(role.permissions);
            }
            Command::DeleteRole { role } => {
                must(*role != self.everyone)?;
                self.roles.remove(role)?;
                self.members.values_mut().for_each(|member| member.roles.retain(|held| held != role));
                for (_, overwrites) in self.channels.values_mut() {
                    overwrites.remove(&OverwriteTarget::Role(*role));
                }
            }
            Command::CreateChannel { channel, overwrites } => {
                must(!self.channels.contains_key(&channel.id) && overwrites.is_empty())?;
                self.channels.insert(channel.id, (channel.clone(), BTreeMap::new()));
            }
            Command::DeleteChannel { channel } => drop(self.channels.remove(channel)?),
            Command::SetOverwrite { channel, overwrite } => {
                let has_target = match overwrite.target {
                    OverwriteTarget::Role(role) => self.roles.contains_key(&role),
                    // All commands here are the system's, which may make one for anybody.
                    OverwriteTarget::User(_) => true,
                };
                let (_, overwrites) = self.channels.get_mut(channel)?;
                must(has_target)?;
                overwrites.insert(overwrite.target, (overwrite.allow, overwrite.deny));
            }
            Command::AddMember(new) => {
                let member = self.joins(at, new)?;
                self.members.insert(new.user, member);
            }
            Command::UpdateMember { user, edit } => {
                must(edit.roles.as_ref().is_none_or(|roles| self.are_holdable(roles)))?;
                let member = self.members.get_mut(user)?;
                member.nick = edit.nick.clone().unwrap_or(member.nick.clone());
                if let Some(roles) = &edit.roles {
                    member.roles = roles.clone();
                    member.roles.sort();
                }
            }
            Command::RemoveMember { user } => {
                must(*user != self.owner)?;
                self.depart(*user)?;
            }
            Command::Ban { user, reason } => {
                must(*user != self.owner)?;
                let _ = self.depart(*user);
                self.bans.insert(*user, reason.clone());
            }
            Command::Unban { user } => drop(self.bans.remove(user)?),
            Command::Publish(publish) => must(self.channels.get(&publish.channel)?.0.kind == ChannelKind::Text)?,
            Command::CreateGuild { .. } => return None,
            Command::DeleteGuild
            | Command::UpdateChannel { .. }
            | Command::ReorderRoles { .. }
            | Command::ReorderChannels { .. }
            | Command::RemoveOverwrite { .. }
            | Command::PruneMembers(_)
            | Command::ImportMembers(_) => unreachable!("{command:?} is not asked here"),
        }
        Some(())
    }

    /// The member that a line makes; `None` if the user is one, is banned, or is to hold what nobody can.
    fn joins(&self, at: Millis, new: &NewMember) -> Option<Member> {
        must(!self.members.contains_key(&new.user) && !self.bans.contains_key(&new.user))?;
        must(self.are_holdable(&new.roles))?;
        Some(member(at.max(Millis(self.departed.0 + 1)), new))
    }

    /// Ends a membership; `None` if there is none.
    fn depart(&mut self, user: UserId) -> Option<()> {
        let member = self.members.remove(&user)?;
        self.departed = self.departed.max(member.joined_at);
        Some(())
    }

    fn are_holdable(&self, roles: &[RoleId]) -> bool {
        roles.iter().all(|role| *role != self.everyone && self.roles.contains_key(role))
    }
}

fn member(at: Millis, new: &NewMember) -> Member {
    let NewMember { user, nick, roles, flags } = new.clone();
    let mut member = Member { user, nick, roles, joined_at: at, flags };
    member.roles.sort();
    member
}
