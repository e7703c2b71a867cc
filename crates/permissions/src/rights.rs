//! A guild's permission state, and how events change it.
//!
//! Invariants:
//! - the everyone role is always there, at position 0;
//! - every overwrite for a role names a role that is there;
//! - `overwritten` names, for every user, exactly the channels that hold an overwrite for that user.

mod past;

use std::sync::Arc;

use guildhall_proto::{
    Channel, ChannelId, EventKind, GuildId, GuildSettings, Name, Overwrite, OverwriteTarget, Permissions, Role, RoleId,
    UserId,
};
use im::{OrdMap, OrdSet};

use crate::authority::Rank;
use crate::overwrites::Overwrites;
use crate::rule::ChannelRule;

pub use past::NoPast;

/// The roles, channels, overwrites and owner of one guild. A clone is O(1), and stays as it is while the original changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Rights {
    guild: GuildId,
    settings: Arc<GuildSettings>,
    roles: OrdMap<RoleId, Arc<Role>>,
    channels: OrdMap<ChannelId, Arc<Entry>>,
    overwritten: OrdMap<UserId, OrdSet<ChannelId>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    channel: Channel,
    overwrites: Overwrites,
}

impl Rights {
    /// The rights of a guild at its creation: one role, no channel.
    pub fn new(guild: GuildId, settings: GuildSettings, everyone: Role) -> Self {
        debug_assert!(everyone.id == RoleId::everyone(guild) && everyone.position == 0);
        Self {
            guild,
            settings: Arc::new(settings),
            roles: OrdMap::unit(everyone.id, Arc::new(everyone)),
            channels: OrdMap::new(),
            overwritten: OrdMap::new(),
        }
    }

    /// The everyone role that a new guild begins with.
    pub fn everyone_role(guild: GuildId, permissions: Permissions) -> Role {
        let name = Name::parse("@everyone").expect("the literal is a well-formed name");
        Role { id: RoleId::everyone(guild), name, position: 0, permissions, hoist: false, mentionable: false }
    }

    /// Whose rights these are.
    pub fn guild(&self) -> GuildId {
        self.guild
    }

    /// The guild's own record.
    pub fn settings(&self) -> &GuildSettings {
        &self.settings
    }

    /// The member who may do everything.
    pub fn owner(&self) -> UserId {
        self.settings.owner
    }

    /// The role of this id, if the guild has it. O(log n).
    pub fn role(&self, role: RoleId) -> Option<&Role> {
        self.roles.get(&role).map(|role| &**role)
    }

    /// The role that every member has without holding it.
    pub fn everyone(&self) -> &Role {
        self.role(RoleId::everyone(self.guild)).expect("the everyone role is never deleted")
    }

    /// All roles, everyone among them, ascending by id.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &Role> {
        self.roles.values().map(|role| &**role)
    }

    /// The channel of this id, if the guild has it. O(log n).
    pub fn channel(&self, channel: ChannelId) -> Option<&Channel> {
        self.channels.get(&channel).map(|entry| &entry.channel)
    }

    /// All channels, ascending by id.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &Channel> {
        self.channels.values().map(|entry| &entry.channel)
    }

    /// The overwrites of a channel, if the guild has it. O(log n).
    pub fn overwrites(&self, channel: ChannelId) -> Option<&Overwrites> {
        self.channels.get(&channel).map(|entry| &entry.overwrites)
    }

    /// The overwrites of their own that `user` has, by channel, ascending. O(their number).
    pub fn user_overwrites(&self, user: UserId) -> impl Iterator<Item = (ChannelId, Overwrite)> + '_ {
        self.overwritten.get(&user).into_iter().flatten().map(move |channel| {
            let overwrites =
                &self.channels.get(channel).expect("`overwritten` names channels that are there").overwrites;
            let own =
                overwrites.find(OverwriteTarget::User(user)).expect("`overwritten` names overwrites that are there");
            (*channel, *own)
        })
    }

    /// The overwrites of a role, by channel, ascending. O(channels).
    pub fn role_overwrites(&self, role: RoleId) -> impl Iterator<Item = (ChannelId, Overwrite)> + '_ {
        let target = OverwriteTarget::Role(role);
        self.channels.iter().filter_map(move |(channel, entry)| Some((*channel, *entry.overwrites.find(target)?)))
    }

    /// The channels under a category, ascending. O(channels).
    pub fn children(&self, category: ChannelId) -> impl Iterator<Item = ChannelId> + '_ {
        self.channels().filter(move |child| child.parent == Some(category)).map(|child| child.id)
    }

    /// What `user`, who holds `roles` (without everyone), may do in the guild as a whole. O(roles held).
    pub fn base(&self, user: UserId, roles: &[RoleId]) -> Permissions {
        if user == self.owner() {
            return Permissions::ALL;
        }
        let held = roles.iter().filter_map(|role| self.role(*role));
        let base = held.fold(self.everyone().permissions, |base, role| base | role.permissions);
        if base.contains(Permissions::ADMINISTRATOR) { Permissions::ALL } else { base }
    }

    /// What `user`, who holds `roles` (without everyone), may do in a channel; `None` if there is no such channel.
    pub fn in_channel(&self, user: UserId, roles: &[RoleId], channel: ChannelId) -> Option<Permissions> {
        Some(self.rule(channel)?.permissions(user, roles))
    }

    /// The rule of a channel, to be asked for many role sets; `None` if there is no such channel.
    pub fn rule(&self, channel: ChannelId) -> Option<ChannelRule<'_>> {
        Some(ChannelRule::new(self, self.overwrites(channel)?))
    }

    /// Where `user`, who holds `roles` (without everyone), stands in the hierarchy.
    pub fn rank(&self, user: UserId, roles: &[RoleId]) -> Rank {
        if user == self.owner() {
            return Rank::Owner;
        }
        let everyone = Rank::of(self.everyone());
        roles.iter().filter_map(|role| self.role(*role)).map(Rank::of).fold(everyone, Rank::max)
    }

    /// Brings the rights from just before an event to just after it. Events that touch no right change nothing.
    ///
    /// O(log n), but for the deletion of a role or a category, which looks at every channel (at most 1,000).
    pub fn apply(&mut self, event: &EventKind) {
        match event {
            EventKind::GuildCreated { settings, everyone, .. } => {
                *self = Self::new(self.guild, settings.clone(), everyone.clone());
            }
            EventKind::GuildUpdated { after, .. } => self.settings = Arc::new(after.clone()),
            EventKind::RoleCreated { role } | EventKind::RoleUpdated { after: role, .. } => {
                self.roles.insert(role.id, Arc::new(role.clone()));
            }
            EventKind::RoleDeleted { role, .. } => self.delete_role(role.id),
            EventKind::RolesReordered { after, .. } => self.reorder_roles(after),
            EventKind::ChannelCreated { channel, overwrites } => self.create_channel(channel, overwrites),
            EventKind::ChannelUpdated { after, .. } => self.edit(after.id, |entry| entry.channel = after.clone()),
            EventKind::ChannelDeleted { channel, .. } => self.delete_channel(channel.id),
            EventKind::ChannelsReordered { after, .. } => self.reorder_channels(after),
            EventKind::OverwriteChanged { channel, before, after } => self.overwrite(*channel, *before, *after),
            EventKind::GuildDeleted
            | EventKind::MemberJoined { .. }
            | EventKind::MembersJoined { .. }
            | EventKind::MemberUpdated { .. }
            | EventKind::MemberLeft { .. }
            | EventKind::MessagePublished(_)
            | EventKind::MembersLeft { .. }
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. } => {}
        }
    }

    /// Replaces one overwrite of a channel: one side at least is `Some`, both are for one target.
    fn overwrite(&mut self, channel: ChannelId, before: Option<Overwrite>, after: Option<Overwrite>) {
        let target = before.or(after).expect("an overwrite changes on at least one side").target;
        self.edit(channel, |entry| entry.overwrites = entry.overwrites.with(target, after));
        if let OverwriteTarget::User(user) = target {
            match after {
                Some(_) => self.note_overwritten(user, channel),
                None => self.forget_overwritten(user, channel),
            }
        }
    }

    fn reorder_roles(&mut self, positions: &[(RoleId, u16)]) {
        for (role, position) in positions {
            let role = self.roles.get_mut(role).expect("an order names roles that are there");
            Arc::make_mut(role).position = *position;
        }
    }

    fn reorder_channels(&mut self, positions: &[(ChannelId, u16)]) {
        for (channel, position) in positions {
            self.edit(*channel, |entry| entry.channel.position = *position);
        }
    }

    fn edit(&mut self, channel: ChannelId, edit: impl FnOnce(&mut Entry)) {
        let entry = self.channels.get_mut(&channel).expect("events name channels that are there");
        edit(Arc::make_mut(entry));
    }

    fn create_channel(&mut self, channel: &Channel, overwrites: &[Overwrite]) {
        let entry = Entry { channel: channel.clone(), overwrites: Overwrites::new(overwrites.to_vec()) };
        for user in entry.overwrites.users() {
            self.note_overwritten(user, channel.id);
        }
        self.channels.insert(channel.id, Arc::new(entry));
    }

    fn delete_channel(&mut self, channel: ChannelId) {
        let entry = self.channels.remove(&channel).expect("events name channels that are there");
        for user in entry.overwrites.users() {
            self.forget_overwritten(user, channel);
        }
        let children: Vec<ChannelId> = self.children(channel).collect();
        for child in children {
            self.edit(child, |entry| entry.channel.parent = None);
        }
    }

    fn delete_role(&mut self, role: RoleId) {
        self.roles.remove(&role);
        let without: Vec<(ChannelId, Overwrites)> = self
            .channels
            .values()
            .filter_map(|entry| Some((entry.channel.id, entry.overwrites.without_role(role)?)))
            .collect();
        for (channel, overwrites) in without {
            self.edit(channel, |entry| entry.overwrites = overwrites);
        }
    }

    fn note_overwritten(&mut self, user: UserId, channel: ChannelId) {
        self.overwritten.entry(user).or_default().insert(channel);
    }

    fn forget_overwritten(&mut self, user: UserId, channel: ChannelId) {
        let channels = self.overwritten.get_mut(&user).expect("`overwritten` names every user with an overwrite");
        channels.remove(&channel);
        if channels.is_empty() {
            self.overwritten.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests;
