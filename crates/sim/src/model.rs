//! The naive guild: plain ordered maps, and the documented rules written out. Nothing is shared with the product but `proto`'s types.
//!
//! It is changed by events alone; `rules` says which events a command makes, if it is accepted. The maps are persistent,
//! so that the guild as of every event can be kept.

mod rules;
mod whole;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{
    Channel, ChannelId, EventKind, GuildId, GuildSettings, Member, Millis, Overwrite, OverwriteTarget, Permissions,
    Reason, Role, RoleId, UserId,
};
use im::{OrdMap, OrdSet};

pub(crate) use rules::Verdict;
pub(crate) use whole::may_be_batch;

/// Whether a guild exists.
#[derive(Debug, Clone)]
pub enum Life {
    /// Not yet.
    Uncreated,
    /// It does.
    Alive(Community),
    /// Not any more.
    Deleted,
}

/// A guild as anyone would write it down.
#[derive(Debug, Clone)]
pub struct Community {
    /// Its id.
    pub guild: GuildId,
    /// Its settings.
    pub settings: GuildSettings,
    /// All roles, the everyone role among them.
    pub roles: OrdMap<RoleId, Role>,
    /// All channels, with their overwrites.
    pub channels: OrdMap<ChannelId, Arc<Room>>,
    /// All members.
    pub members: OrdMap<UserId, Arc<Member>>,
    /// Who is kept out, and why.
    pub bans: OrdMap<UserId, Option<Reason>>,
    /// Roles that were deleted: their ids may or may not be free yet.
    pub deleted_roles: OrdSet<RoleId>,
    /// The latest joining of anyone who has left.
    pub departed: Millis,
}

/// A channel and its overwrites.
#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    /// The channel.
    pub channel: Channel,
    /// What it makes an exception of, for whom.
    pub overwrites: BTreeMap<OverwriteTarget, Overwrite>,
}

/// A place in the hierarchy; greater is higher. The owner's and the system's are above every role's.
pub(crate) type Place = (u32, Reverse<u64>);

impl Life {
    /// The guild, if it exists.
    pub fn community(&self) -> Option<&Community> {
        match self {
            Self::Alive(community) => Some(community),
            Self::Uncreated | Self::Deleted => None,
        }
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted)
    }

    pub(crate) fn apply(&mut self, guild: GuildId, event: &EventKind) {
        if let EventKind::GuildCreated { settings, everyone, owner } = event {
            *self = Self::Alive(Community {
                guild,
                settings: settings.clone(),
                roles: OrdMap::unit(everyone.id, everyone.clone()),
                channels: OrdMap::new(),
                members: OrdMap::unit(owner.user, Arc::new(owner.clone())),
                bans: OrdMap::new(),
                deleted_roles: OrdSet::new(),
                departed: Millis::default(),
            });
        } else if matches!(event, EventKind::GuildDeleted) {
            *self = Self::Deleted;
        } else if let Self::Alive(community) = self {
            community.apply(event);
        }
    }
}

impl Community {
    fn depart(&mut self, user: UserId) {
        let joined_at = self.members.remove(&user).map_or(Millis::default(), |member| member.joined_at);
        self.departed = self.departed.max(joined_at);
    }

    fn apply(&mut self, event: &EventKind) {
        match event {
            EventKind::GuildCreated { .. } | EventKind::GuildDeleted | EventKind::MessagePublished(_) => {}
            EventKind::GuildUpdated { after, .. } => self.settings = after.clone(),
            EventKind::RoleCreated { role } => {
                self.deleted_roles.remove(&role.id);
                self.roles.insert(role.id, role.clone());
            }
            EventKind::RoleUpdated { after, .. } => drop(self.roles.insert(after.id, after.clone())),
            EventKind::RoleDeleted { role, .. } => self.delete_role(role.id),
            EventKind::RolesReordered { after, .. } => {
                for (role, position) in after {
                    if let Some(role) = self.roles.get_mut(role) {
                        role.position = *position;
                    }
                }
            }
            EventKind::ChannelCreated { channel, overwrites } => {
                let overwrites = overwrites.iter().map(|one| (one.target, *one)).collect();
                self.channels.insert(channel.id, Arc::new(Room { channel: channel.clone(), overwrites }));
            }
            EventKind::ChannelUpdated { after, .. } => {
                self.change_room(after.id, |room| room.channel = after.clone());
            }
            EventKind::ChannelDeleted { channel, children, .. } => {
                self.channels.remove(&channel.id);
                for child in children {
                    self.change_room(*child, |room| room.channel.parent = None);
                }
            }
            EventKind::ChannelsReordered { after, .. } => {
                for (channel, position) in after {
                    self.change_room(*channel, |room| room.channel.position = *position);
                }
            }
            EventKind::OverwriteChanged { channel, before, after } => self.change_room(*channel, |room| {
                if let Some(before) = before {
                    room.overwrites.remove(&before.target);
                }
                room.overwrites.extend(after.map(|after| (after.target, after)));
            }),
            EventKind::MemberJoined { member } | EventKind::MemberUpdated { after: member, .. } => {
                self.members.insert(member.user, Arc::new(member.clone()));
            }
            EventKind::MembersJoined { members } => {
                for member in members {
                    self.members.insert(member.user, Arc::new(member.clone()));
                }
            }
            EventKind::MemberLeft { member } => self.depart(member.user),
            EventKind::MembersLeft { users } => {
                for user in users {
                    self.depart(*user);
                }
            }
            EventKind::UserBanned { user, reason } => drop(self.bans.insert(*user, reason.clone())),
            EventKind::UserUnbanned { user } => drop(self.bans.remove(user)),
        }
    }

    fn delete_role(&mut self, role: RoleId) {
        self.roles.remove(&role);
        self.deleted_roles.insert(role);
        let holders = self.members.values().filter(|member| member.roles.contains(&role));
        let holders: Vec<Arc<Member>> = holders.map(Arc::clone).collect();
        for member in holders {
            let mut member = (*member).clone();
            member.roles.retain(|held| *held != role);
            self.members.insert(member.user, Arc::new(member));
        }
        let target = OverwriteTarget::Role(role);
        let rooms = self.channels.iter().filter(|(_, room)| room.overwrites.contains_key(&target));
        let rooms: Vec<ChannelId> = rooms.map(|(channel, _)| *channel).collect();
        for channel in rooms {
            self.change_room(channel, |room| {
                room.overwrites.remove(&target);
            });
        }
    }

    fn change_room(&mut self, channel: ChannelId, change: impl FnOnce(&mut Room)) {
        if let Some(room) = self.channels.get_mut(&channel) {
            change(Arc::make_mut(room));
        }
    }

    /// The everyone role's id.
    pub fn everyone(&self) -> RoleId {
        RoleId::everyone(self.guild)
    }

    /// The owner.
    pub fn owner(&self) -> UserId {
        self.settings.owner
    }

    /// The roles of a user that count: of one who is no member, none.
    fn roles_of(&self, user: UserId) -> impl Iterator<Item = &Role> {
        let held = self.members.get(&user).map_or(&[][..], |member| &member.roles[..]);
        held.iter().filter_map(|role| self.roles.get(role))
    }

    /// What a member may do in the guild as a whole.
    pub fn base(&self, user: UserId) -> Permissions {
        if user == self.owner() {
            return Permissions::ALL;
        }
        let mut permissions = self.roles.get(&self.everyone()).map_or(Permissions::NONE, |role| role.permissions);
        for role in self.roles_of(user) {
            permissions |= role.permissions;
        }
        if permissions.contains(Permissions::ADMINISTRATOR) { Permissions::ALL } else { permissions }
    }

    /// What a member may do in a channel: the documented algorithm, step by step. Nothing in one that is not there.
    pub fn within(&self, user: UserId, channel: ChannelId) -> Permissions {
        let Some(room) = self.channels.get(&channel) else {
            return Permissions::NONE;
        };
        let mut permissions = self.base(user);
        if permissions.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        if let Some(all) = room.overwrites.get(&OverwriteTarget::Role(self.everyone())) {
            permissions = permissions - all.deny;
            permissions |= all.allow;
        }
        let (mut allows, mut denies) = (Permissions::NONE, Permissions::NONE);
        for role in self.roles_of(user) {
            if let Some(one) = room.overwrites.get(&OverwriteTarget::Role(role.id)) {
                allows |= one.allow;
                denies |= one.deny;
            }
        }
        permissions = permissions - denies;
        permissions |= allows;
        if let Some(own) = room.overwrites.get(&OverwriteTarget::User(user)) {
            permissions = permissions - own.deny;
            permissions |= own.allow;
        }
        permissions
    }

    /// Whether a user is a member who sees a channel that is there.
    pub fn sees(&self, user: UserId, channel: ChannelId) -> bool {
        self.members.contains_key(&user) && self.within(user, channel).contains(Permissions::VIEW_CHANNEL)
    }

    /// Where a user stands; one who is no member stands lowest.
    pub(crate) fn place(&self, user: UserId) -> Place {
        if user == self.owner() {
            return (u32::MAX - 1, Reverse(0));
        }
        self.roles_of(user).map(place_of).fold((0, Reverse(self.guild.get())), Place::max)
    }
}

/// Where a role stands.
pub(crate) fn place_of(role: &Role) -> Place {
    (u32::from(role.position), Reverse(role.id.get()))
}
