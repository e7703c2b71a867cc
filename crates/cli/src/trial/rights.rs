//! Who may see what, worked out from the published rule in the plainest way, and from nothing of Guildhall's own.
//!
//! The rule (Discord's public documentation, "Permissions"): a guild's owner and administrators see everything; the rights of
//! everyone and of all roles held are united; then, in a channel, what is denied and allowed to everyone, to the roles held
//! together, and to the user.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{ChannelId, GuildId, Overwrite, OverwriteTarget, Permissions, RoleId, UserId};

use super::fact::Fact;

/// Roles, channels and overwrites at one moment. Versions share what they have in common.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    guild: GuildId,
    owner: UserId,
    /// The everyone role among them.
    roles: Arc<BTreeMap<RoleId, Permissions>>,
    channels: Arc<BTreeMap<ChannelId, Arc<[Overwrite]>>>,
}

/// What an event changes of who sees what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Nothing,
    Channel(ChannelId),
    Everything,
}

impl Rights {
    /// Of a guild with these roles, everyone's among them, and these channels.
    pub(crate) fn new(
        guild: GuildId,
        owner: UserId,
        roles: impl IntoIterator<Item = (RoleId, Permissions)>,
        channels: impl IntoIterator<Item = (ChannelId, Arc<[Overwrite]>)>,
    ) -> Self {
        let (roles, channels) = (roles.into_iter().collect(), channels.into_iter().collect());
        Self { guild, owner, roles: Arc::new(roles), channels: Arc::new(channels) }
    }

    pub(crate) fn owner(&self) -> UserId {
        self.owner
    }

    /// The overwrites of a channel, if there is such a channel.
    pub(crate) fn overwrites(&self, channel: ChannelId) -> Option<&[Overwrite]> {
        self.channels.get(&channel).map(|overwrites| &**overwrites)
    }

    pub(crate) fn has_role(&self, role: RoleId) -> bool {
        self.roles.contains_key(&role)
    }

    pub(crate) fn permissions_of(&self, role: RoleId) -> Option<Permissions> {
        self.roles.get(&role).copied()
    }

    /// Whether a member with these roles sees a channel.
    pub(crate) fn sees(&self, user: UserId, roles: &[RoleId], channel: ChannelId) -> bool {
        self.can(user, roles, channel).contains(Permissions::VIEW_CHANNEL)
    }

    /// What a member with these roles may do in a channel; nothing in one that there is not.
    pub(crate) fn can(&self, user: UserId, roles: &[RoleId], channel: ChannelId) -> Permissions {
        let Some(overwrites) = self.overwrites(channel) else {
            return Permissions::NONE;
        };
        if user == self.owner {
            return Permissions::ALL;
        }
        let everyone = RoleId::everyone(self.guild);
        let held = || roles.iter().filter_map(|role| Some((*role, *self.roles.get(role)?)));
        let begin = self.roles.get(&everyone).copied().unwrap_or(Permissions::NONE);
        let mut can = held().fold(begin, |can, (_, permissions)| can | permissions);
        if can.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        let find = |target| overwrites.iter().find(|overwrite| overwrite.target == target);
        if let Some(everyone) = find(OverwriteTarget::Role(everyone)) {
            can = (can - everyone.deny) | everyone.allow;
        }
        let (mut deny, mut allow) = (Permissions::NONE, Permissions::NONE);
        for overwrite in held().filter_map(|(role, _)| find(OverwriteTarget::Role(role))) {
            deny |= overwrite.deny;
            allow |= overwrite.allow;
        }
        can = (can - deny) | allow;
        if let Some(own) = find(OverwriteTarget::User(user)) {
            can = (can - own.deny) | own.allow;
        }
        can
    }

    /// Brings the rights from just before a fact to just after it.
    pub(crate) fn apply(&mut self, fact: &Fact) -> Touched {
        match fact {
            Fact::RoleSet { role, permissions } => {
                Arc::make_mut(&mut self.roles).insert(*role, *permissions);
                Touched::Everything
            }
            Fact::RoleDeleted { role } => {
                Arc::make_mut(&mut self.roles).remove(role);
                let target = OverwriteTarget::Role(*role);
                for overwrites in Arc::make_mut(&mut self.channels).values_mut() {
                    *overwrites = overwrites.iter().filter(|overwrite| overwrite.target != target).copied().collect();
                }
                Touched::Everything
            }
            Fact::ChannelCreated { channel, overwrites } => {
                Arc::make_mut(&mut self.channels).insert(*channel, overwrites.clone());
                Touched::Channel(*channel)
            }
            Fact::ChannelDeleted { channel } => {
                Arc::make_mut(&mut self.channels).remove(channel);
                Touched::Channel(*channel)
            }
            Fact::OverwriteChanged { channel, target, after } => {
                let overwrites = Arc::make_mut(&mut self.channels).entry(*channel).or_default();
                let others = overwrites.iter().filter(|overwrite| overwrite.target != *target).copied();
                *overwrites = others.chain(*after).collect();
                Touched::Channel(*channel)
            }
            Fact::Message { .. }
            | Fact::ChannelUpdated { .. }
            | Fact::Joined { .. }
            | Fact::Changed { .. }
            | Fact::Left { .. }
            | Fact::Pruned { .. }
            | Fact::Bell { .. }
            | Fact::Unheard => Touched::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::{POPULAR, Shape};
    use super::*;

    #[test]
    fn the_rule_is_the_published_one() {
        let mut rights = Shape { guild: GuildId::MIN, members: 10, seed: 1 }.rights();
        let (user, owner) = (Shape::user(7), Shape::owner());
        let (open, hidden) = (Shape::channel(0), Shape::channel(11));
        assert!(rights.sees(user, &[], open) && !rights.sees(user, &[], hidden) && rights.sees(owner, &[], hidden));
        let shown = Shape::role(11);
        assert!(rights.sees(user, &[shown], hidden));

        // A role's denial yields to another role's allowance, and both to the user's own.
        let denied = Shape::role(100);
        let set = |target, overwrite| Fact::OverwriteChanged { channel: hidden, target, after: Some(overwrite) };
        let role = OverwriteTarget::Role(denied);
        assert_eq!(rights.apply(&set(role, Shape::deny(role))), Touched::Channel(hidden));
        assert!(rights.sees(user, &[shown, denied], hidden) && !rights.sees(user, &[denied], hidden));
        let own = OverwriteTarget::User(user);
        rights.apply(&set(own, Shape::deny(own)));
        assert!(!rights.sees(user, &[shown], hidden));

        rights.apply(&Fact::RoleSet { role: denied, permissions: Permissions::ADMINISTRATOR });
        assert!(rights.sees(user, &[denied], hidden));
        rights.apply(&Fact::RoleDeleted { role: denied });
        assert!(!rights.sees(user, &[denied], hidden) && rights.overwrites(hidden).unwrap().len() == 6);

        rights.apply(&Fact::ChannelDeleted { channel: open });
        assert!(!rights.sees(owner, &[], open) && rights.has_role(Shape::role(POPULAR)));
    }
}
