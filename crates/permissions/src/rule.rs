//! The rule for one channel, cut so that many members can share most of it.
//!
//! What a set of roles does in a channel is the union of what each role does ([`RoleEffect`]), so it is decided once per distinct
//! role set and not once per member; users with an overwrite of their own, and the guild's owner, are the few exceptions.

use std::ops::{BitOr, BitOrAssign};

use guildhall_proto::{OverwriteTarget, Permissions, RoleId, UserId};

use crate::overwrites::Overwrites;
use crate::rights::Rights;

/// What one role, or a set of roles together, does in a channel. The effects of roles are united by `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleEffect {
    /// What the roles allow in the whole guild.
    pub base: Permissions,
    /// What their overwrites add in the channel.
    pub allow: Permissions,
    /// What their overwrites take away in the channel.
    pub deny: Permissions,
}

impl BitOr for RoleEffect {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self { base: self.base | other.base, allow: self.allow | other.allow, deny: self.deny | other.deny }
    }
}

impl BitOrAssign for RoleEffect {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// The rule of who may do what in one channel, as of one version of a guild's rights.
#[derive(Debug, Clone, Copy)]
pub struct ChannelRule<'a> {
    rights: &'a Rights,
    overwrites: &'a Overwrites,
    everyone: RoleEffect,
}

impl<'a> ChannelRule<'a> {
    pub(crate) fn new(rights: &'a Rights, overwrites: &'a Overwrites) -> Self {
        let mut rule = Self { rights, overwrites, everyone: RoleEffect::default() };
        rule.everyone = rule.effect(RoleId::everyone(rights.guild()));
        rule
    }

    /// What `role` does here; nothing if the guild has no such role (any more). O(log n) in roles and overwrites.
    pub fn effect(&self, role: RoleId) -> RoleEffect {
        let Some(role) = self.rights.role(role) else {
            return RoleEffect::default();
        };
        let (allow, deny) = match self.overwrites.find(OverwriteTarget::Role(role.id)) {
            Some(overwrite) => (overwrite.allow, overwrite.deny),
            None => (Permissions::NONE, Permissions::NONE),
        };
        RoleEffect { base: role.permissions, allow, deny }
    }

    /// What members may do here whose own roles together have the effect `own`, apart from what is theirs as users: an overwrite
    /// of their own, or owning the guild. O(1).
    pub fn resolve(&self, own: RoleEffect) -> Permissions {
        let base = self.everyone.base | own.base;
        if base.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        let after_everyone = (base - self.everyone.deny) | self.everyone.allow;
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::DenyWins.is_on() {
            return (after_everyone | own.allow) - own.deny;
        }
        (after_everyone - own.deny) | own.allow
    }

    /// What `user`, who holds `roles` (without everyone), may do here.
    pub fn permissions(&self, user: UserId, roles: &[RoleId]) -> Permissions {
        if user == self.rights.owner() {
            return Permissions::ALL;
        }
        let own = roles.iter().fold(RoleEffect::default(), |all, role| all | self.effect(*role));
        if (self.everyone.base | own.base).contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        let by_roles = self.resolve(own);
        match self.overwrites.find(OverwriteTarget::User(user)) {
            Some(overwrite) => (by_roles - overwrite.deny) | overwrite.allow,
            None => by_roles,
        }
    }

    /// The users with an overwrite of their own here, ascending: for them [`resolve`](Self::resolve) is not all.
    pub fn users(&self) -> impl Iterator<Item = UserId> + 'a {
        self.overwrites.users()
    }
}
