//! Commands about channels and their overwrites.

use guildhall_permissions::{Authority, Rank};
use guildhall_proto::{
    Channel, ChannelEdit, ChannelId, ChannelKind, CommandError, EventKind, Limited, ListedThing, Overwrite,
    OverwriteTarget, Permissions,
};

use super::{Decision, Scene, denied, sort_distinct, within};

impl Scene<'_> {
    pub(super) fn create_channel(
        &self,
        authority: &Authority<'_>,
        channel: Channel,
        mut overwrites: Vec<Overwrite>,
    ) -> Result<Decision, CommandError> {
        authority.require(Permissions::MANAGE_CHANNELS).map_err(denied)?;
        if self.rights.channel(channel.id).is_some() {
            return Err(CommandError::ChannelExists { channel: channel.id });
        }
        within(Limited::Channels, self.rights.channels().len() + 1)?;
        self.require_parent(&channel)?;
        within(Limited::Overwrites, overwrites.len())?;
        sort_overwrites(&mut overwrites)?;
        if !overwrites.is_empty() {
            authority.require(Permissions::MANAGE_ROLES).map_err(denied)?;
        }
        for overwrite in &overwrites {
            self.require_overwritable(authority, overwrite.target)?;
            require_changeable(authority.base(), None, Some(overwrite))?;
        }
        Ok(Decision::change(EventKind::ChannelCreated { channel, overwrites }))
    }

    pub(super) fn update_channel(
        &self,
        authority: &Authority<'_>,
        channel: ChannelId,
        edit: ChannelEdit,
    ) -> Result<Decision, CommandError> {
        let before = self.manageable_channel(authority, channel, Permissions::MANAGE_CHANNELS)?.clone();
        let after = Channel {
            name: edit.name.unwrap_or_else(|| before.name.clone()),
            parent: edit.parent.unwrap_or(before.parent),
            ..before
        };
        self.require_parent(&after)?;
        Ok(Decision::change_if(before != after, || EventKind::ChannelUpdated { before, after }))
    }

    pub(super) fn delete_channel(
        &self,
        authority: &Authority<'_>,
        channel: ChannelId,
    ) -> Result<Decision, CommandError> {
        let channel = self.manageable_channel(authority, channel, Permissions::MANAGE_CHANNELS)?.clone();
        let overwrites = self.rights.overwrites(channel.id).map_or_else(Vec::new, |all| all.as_slice().to_vec());
        let children = self.rights.children(channel.id).collect();
        Ok(Decision::change(EventKind::ChannelDeleted { channel, overwrites, children }))
    }

    pub(super) fn reorder_channels(
        &self,
        authority: &Authority<'_>,
        mut positions: Vec<(ChannelId, u16)>,
    ) -> Result<Decision, CommandError> {
        authority.require(Permissions::MANAGE_CHANNELS).map_err(denied)?;
        sort_distinct(&mut positions, ListedThing::Channel, |(channel, _)| *channel, ChannelId::get)?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (channel, position) in positions {
            let current = self.manageable_channel(authority, channel, Permissions::MANAGE_CHANNELS)?.position;
            if current != position {
                before.push((channel, current));
                after.push((channel, position));
            }
        }
        Ok(Decision::change_if(!before.is_empty(), || EventKind::ChannelsReordered { before, after }))
    }

    pub(super) fn set_overwrite(
        &self,
        authority: &Authority<'_>,
        channel: ChannelId,
        overwrite: Overwrite,
    ) -> Result<Decision, CommandError> {
        self.manageable_channel(authority, channel, Permissions::MANAGE_ROLES)?;
        self.require_overwritable(authority, overwrite.target)?;
        let overwrites = self.rights.overwrites(channel).ok_or(CommandError::UnknownChannel { channel })?;
        let before = overwrites.find(overwrite.target).copied();
        require_changeable(authority.within(channel), before.as_ref(), Some(&overwrite))?;
        if before.is_none() {
            within(Limited::Overwrites, overwrites.as_slice().len() + 1)?;
        }
        let after = Some(overwrite);
        Ok(Decision::change_if(before != after, || EventKind::OverwriteChanged { channel, before, after }))
    }

    pub(super) fn remove_overwrite(
        &self,
        authority: &Authority<'_>,
        channel: ChannelId,
        target: OverwriteTarget,
    ) -> Result<Decision, CommandError> {
        self.manageable_channel(authority, channel, Permissions::MANAGE_ROLES)?;
        let found = self.rights.overwrites(channel).and_then(|all| all.find(target)).copied();
        let before = found.ok_or(CommandError::UnknownOverwrite { channel, target })?;
        authority.require_above(self.rank_of(target)).map_err(denied)?;
        require_changeable(authority.within(channel), Some(&before), None)?;
        Ok(Decision::change(EventKind::OverwriteChanged { channel, before: Some(before), after: None }))
    }

    /// The channel, if the actor sees it and has `needed` in it.
    fn manageable_channel(
        &self,
        authority: &Authority<'_>,
        channel: ChannelId,
        needed: Permissions,
    ) -> Result<&Channel, CommandError> {
        let found = self.rights.channel(channel).ok_or(CommandError::UnknownChannel { channel })?;
        authority.require_within(channel, Permissions::VIEW_CHANNEL | needed).map_err(denied)?;
        Ok(found)
    }

    /// A channel's parent must be a category, and a category has none.
    fn require_parent(&self, channel: &Channel) -> Result<(), CommandError> {
        let Some(parent) = channel.parent else {
            return Ok(());
        };
        let parent = self.rights.channel(parent).ok_or(CommandError::UnknownChannel { channel: parent })?;
        match (channel.kind, parent.kind) {
            (ChannelKind::Text, ChannelKind::Category) => Ok(()),
            (ChannelKind::Text | ChannelKind::Category, _) => Err(CommandError::NotCategory { channel: channel.id }),
        }
    }

    /// The target must be there and stand below the actor. For the system a user need not be a member: an overwrite outlives its user's membership, so a guild
    /// is not made again without that.
    fn require_overwritable(&self, authority: &Authority<'_>, target: OverwriteTarget) -> Result<(), CommandError> {
        match target {
            OverwriteTarget::Role(role) => self.require_role(role)?,
            OverwriteTarget::User(_) if authority.is_system() => {}
            OverwriteTarget::User(user) => self.require_member(user)?,
        }
        authority.require_above(self.rank_of(target)).map_err(denied)
    }

    /// Where a target stands. One who has left, or a role that is gone, stands lowest.
    fn rank_of(&self, target: OverwriteTarget) -> Rank {
        match target {
            OverwriteTarget::Role(role) => Rank::of(self.rights.role(role).unwrap_or_else(|| self.rights.everyone())),
            OverwriteTarget::User(user) => self.rights.rank(user, &self.members.roles(user).unwrap_or_default()),
        }
    }
}

/// The actor must have every permission that the change gives or takes: what stays as it is, nobody hands out.
fn require_changeable(
    own: Permissions,
    before: Option<&Overwrite>,
    after: Option<&Overwrite>,
) -> Result<(), CommandError> {
    let sides = |side: Option<&Overwrite>| side.map_or_else(Default::default, |side| (side.allow, side.deny));
    let ((allowed, denied_before), (allows, denies)) = (sides(before), sides(after));
    let changed = (allowed - allows) | (allows - allowed) | (denied_before - denies) | (denies - denied_before);
    Authority::require_own(own, changed).map_err(denied)
}

fn sort_overwrites(overwrites: &mut [Overwrite]) -> Result<(), CommandError> {
    overwrites.sort_unstable_by_key(|overwrite| overwrite.target);
    let twice = overwrites.windows(2).find(|pair| pair[0].target == pair[1].target);
    match twice.map(|pair| pair[0].target) {
        None => Ok(()),
        Some(OverwriteTarget::Role(role)) => Err(CommandError::Duplicate { what: ListedThing::Role, id: role.get() }),
        Some(OverwriteTarget::User(user)) => Err(CommandError::Duplicate { what: ListedThing::User, id: user.get() }),
    }
}
