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
use crate::sorted::{Keyed, Sorted};

pub use past::NoPast;

/// The roles, channels, overwrites and owner of one guild. A clone is O(1), and stays as it is while the original changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Rights(Arc<Contents>);

#[derive(Debug, Clone, PartialEq)]
struct Contents {
    guild: GuildId,
    settings: GuildSettings,
    roles: Sorted<Role>,
    channels: Sorted<Entry>,
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
        Self::restore(guild, settings, vec![everyone], Vec::new())
    }

    /// The rights of a guild that has these roles and these channels with their overwrites, in any order. An everyone role that is
    /// not among them allows nothing.
    pub fn restore(
        guild: GuildId,
        settings: GuildSettings,
        mut roles: Vec<Role>,
        channels: Vec<(Channel, Vec<Overwrite>)>,
    ) -> Self {
        if !roles.iter().any(|role| role.id == RoleId::everyone(guild)) {
            roles.push(Self::everyone_role(guild, Permissions::NONE));
        }
        let entry = |(channel, overwrites)| Entry { channel, overwrites: Overwrites::new(overwrites) };
        let (roles, channels) = (Sorted::new(roles), Sorted::new(channels.into_iter().map(entry).collect()));
        let mut contents = Contents { guild, settings, roles, channels: Sorted::default(), overwritten: OrdMap::new() };
        for entry in channels.iter() {
            for user in entry.overwrites.users() {
                contents.note_overwritten(user, entry.channel.id);
            }
        }
        contents.channels = channels;
        Self(Arc::new(contents))
    }

    /// The everyone role that a new guild begins with.
    pub fn everyone_role(guild: GuildId, permissions: Permissions) -> Role {
        let name = Name::parse("@everyone").expect("the literal is a well-formed name");
        Role { id: RoleId::everyone(guild), name, position: 0, permissions, hoist: false, mentionable: false }
    }

    /// Whose rights these are.
    pub fn guild(&self) -> GuildId {
        self.0.guild
    }

    /// The guild's own record.
    pub fn settings(&self) -> &GuildSettings {
        &self.0.settings
    }

    /// The member who may do everything.
    pub fn owner(&self) -> UserId {
        self.0.settings.owner
    }

    /// The role of this id, if the guild has it. O(log n).
    pub fn role(&self, role: RoleId) -> Option<&Role> {
        self.0.roles.find(role)
    }

    /// The role that every member has without holding it.
    pub fn everyone(&self) -> &Role {
        self.role(RoleId::everyone(self.guild())).expect("the everyone role is never deleted")
    }

    /// All roles, everyone among them, ascending by id.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &Role> {
        self.0.roles.iter()
    }

    /// The channel of this id, if the guild has it. O(log n).
    pub fn channel(&self, channel: ChannelId) -> Option<&Channel> {
        self.0.channels.find(channel).map(|entry| &entry.channel)
    }

    /// All channels, ascending by id.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &Channel> {
        self.0.channels.iter().map(|entry| &entry.channel)
    }

    /// The overwrites of a channel, if the guild has it. O(log n).
    pub fn overwrites(&self, channel: ChannelId) -> Option<&Overwrites> {
        self.0.channels.find(channel).map(|entry| &entry.overwrites)
    }

    /// The overwrites of their own that `user` has, by channel, ascending. O(their number).
    pub fn user_overwrites(&self, user: UserId) -> impl Iterator<Item = (ChannelId, Overwrite)> + '_ {
        self.0.overwritten.get(&user).into_iter().flatten().map(move |channel| {
            let overwrites = self.overwrites(*channel).expect("`overwritten` names channels that are there");
            let own =
                overwrites.find(OverwriteTarget::User(user)).expect("`overwritten` names overwrites that are there");
            (*channel, *own)
        })
    }

    /// The overwrites of a role, by channel, ascending. O(channels).
    pub fn role_overwrites(&self, role: RoleId) -> impl Iterator<Item = (ChannelId, Overwrite)> + '_ {
        let target = OverwriteTarget::Role(role);
        self.0.channels.iter().filter_map(move |entry| Some((entry.channel.id, *entry.overwrites.find(target)?)))
    }

    /// The channels under a category, ascending. O(channels).
    pub fn children(&self, category: ChannelId) -> impl Iterator<Item = ChannelId> + '_ {
        children(&self.0.channels, category)
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
    /// O(roles) or O(channels) for those that change one: at most 512, or 1,000.
    pub fn apply(&mut self, event: &EventKind) {
        match event {
            EventKind::GuildCreated { settings, everyone, .. } => {
                *self = Self::new(self.guild(), settings.clone(), everyone.clone());
            }
            EventKind::GuildUpdated { after, .. } => self.contents().settings = after.clone(),
            EventKind::RoleCreated { role } | EventKind::RoleUpdated { after: role, .. } => {
                self.contents().roles.put(role.clone());
            }
            EventKind::RoleDeleted { role, .. } => self.contents().delete_role(role.id),
            EventKind::RolesReordered { after, .. } => self.contents().reorder_roles(after),
            EventKind::ChannelCreated { channel, overwrites } => self.contents().create_channel(channel, overwrites),
            EventKind::ChannelUpdated { after, .. } => self.contents().channel(after.id).channel = after.clone(),
            EventKind::ChannelDeleted { channel, .. } => self.contents().delete_channel(channel.id),
            EventKind::ChannelsReordered { after, .. } => self.contents().reorder_channels(after),
            EventKind::OverwriteChanged { channel, before, after } => {
                self.contents().overwrite(*channel, *before, *after);
            }
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

    /// To be changed: copied, but for the lists in it, if somebody else holds it.
    fn contents(&mut self) -> &mut Contents {
        Arc::make_mut(&mut self.0)
    }
}

impl Contents {
    /// Replaces one overwrite of a channel: one side at least is `Some`, both are for one target.
    fn overwrite(&mut self, channel: ChannelId, before: Option<Overwrite>, after: Option<Overwrite>) {
        let target = before.or(after).expect("an overwrite changes on at least one side").target;
        let entry = self.channel(channel);
        entry.overwrites = entry.overwrites.with(target, after);
        if let OverwriteTarget::User(user) = target {
            match after {
                Some(_) => self.note_overwritten(user, channel),
                None => self.forget_overwritten(user, channel),
            }
        }
    }

    fn reorder_roles(&mut self, positions: &[(RoleId, u16)]) {
        for (role, position) in positions {
            self.roles.find_mut(*role).expect("an order names roles that are there").position = *position;
        }
    }

    fn reorder_channels(&mut self, positions: &[(ChannelId, u16)]) {
        for (channel, position) in positions {
            self.channel(*channel).channel.position = *position;
        }
    }

    fn channel(&mut self, channel: ChannelId) -> &mut Entry {
        self.channels.find_mut(channel).expect("events name channels that are there")
    }

    fn create_channel(&mut self, channel: &Channel, overwrites: &[Overwrite]) {
        let entry = Entry { channel: channel.clone(), overwrites: Overwrites::new(overwrites.to_vec()) };
        for user in entry.overwrites.users() {
            self.note_overwritten(user, channel.id);
        }
        self.channels.put(entry);
    }

    fn delete_channel(&mut self, channel: ChannelId) {
        let entry = self.channels.remove(channel).expect("events name channels that are there");
        for user in entry.overwrites.users() {
            self.forget_overwritten(user, channel);
        }
        let children: Vec<ChannelId> = children(&self.channels, channel).collect();
        for child in children {
            self.channel(child).channel.parent = None;
        }
    }

    fn delete_role(&mut self, role: RoleId) {
        self.roles.remove(role);
        let without: Vec<(ChannelId, Overwrites)> = self
            .channels
            .iter()
            .filter_map(|entry| Some((entry.channel.id, entry.overwrites.without_role(role)?)))
            .collect();
        for (channel, overwrites) in without {
            self.channel(channel).overwrites = overwrites;
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

impl Keyed for Role {
    type Key = RoleId;

    fn key(&self) -> RoleId {
        self.id
    }
}

impl Keyed for Entry {
    type Key = ChannelId;

    fn key(&self) -> ChannelId {
        self.channel.id
    }
}

/// The channels under a category, ascending.
fn children(channels: &Sorted<Entry>, category: ChannelId) -> impl Iterator<Item = ChannelId> + '_ {
    channels
        .iter()
        .map(|entry| &entry.channel)
        .filter(move |child| child.parent == Some(category))
        .map(|child| child.id)
}

#[cfg(test)]
mod tests;
