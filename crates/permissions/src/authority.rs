//! Who may do something to whom: permissions, and the role hierarchy.

use std::cmp::Reverse;

use guildhall_proto::{ChannelId, Permissions, Role, RoleId, UserId};

use crate::rights::Rights;

/// A place in the hierarchy of a guild. Greater outranks smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A role's place; of equal positions the lower id stands higher. A member has the place of its highest role.
    Role(u16, Reverse<RoleId>),
    /// Above every role.
    Owner,
    /// The chat backend itself, above all.
    System,
}

impl Rank {
    /// The place of a role.
    pub fn of(role: &Role) -> Self {
        Self::at(role.id, role.position)
    }

    /// The place that a role would have at `position`.
    pub fn at(role: RoleId, position: u16) -> Self {
        Self::Role(position, Reverse(role))
    }
}

/// Why an actor may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The actor lacks permissions.
    #[error("needs {missing:?}")]
    Missing {
        /// Those that are missing.
        missing: Permissions,
    },
    /// The actor may not give or take what it does not have.
    #[error("may not hand out {excess:?} without having it")]
    Excess {
        /// What the actor does not have.
        excess: Permissions,
    },
    /// The target stands at or above the actor.
    #[error("the target ranks at or above the actor")]
    Outranked,
}

/// What one actor may do, as of one version of a guild's rights.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    rights: &'a Rights,
    who: Option<(UserId, &'a [RoleId])>,
}

impl<'a> Authority<'a> {
    /// The chat backend's own: everything.
    pub fn system(rights: &'a Rights) -> Self {
        Self { rights, who: None }
    }

    /// A member's, who holds `roles` (without everyone).
    pub fn member(rights: &'a Rights, user: UserId, roles: &'a [RoleId]) -> Self {
        Self { rights, who: Some((user, roles)) }
    }

    /// Whether this is the chat backend itself.
    pub fn is_system(&self) -> bool {
        self.who.is_none()
    }

    /// The member, if it is one.
    pub fn user(&self) -> Option<UserId> {
        self.who.map(|(user, _)| user)
    }

    /// Where the actor stands.
    pub fn rank(&self) -> Rank {
        match self.who {
            None => Rank::System,
            Some((user, roles)) => self.rights.rank(user, roles),
        }
    }

    /// What the actor may do in the guild as a whole.
    pub fn base(&self) -> Permissions {
        match self.who {
            None => Permissions::ALL,
            Some((user, roles)) => self.rights.base(user, roles),
        }
    }

    /// What the actor may do in a channel; nothing if there is no such channel.
    pub fn within(&self, channel: ChannelId) -> Permissions {
        match self.who {
            None => Permissions::ALL,
            Some((user, roles)) => self.rights.in_channel(user, roles, channel).unwrap_or(Permissions::NONE),
        }
    }

    /// Asks for all of `needed` in the guild as a whole.
    ///
    /// # Errors
    /// [`Denied::Missing`] names what is missing.
    pub fn require(&self, needed: Permissions) -> Result<(), Denied> {
        missing(needed, self.base())
    }

    /// Asks for all of `needed` in a channel.
    ///
    /// # Errors
    /// [`Denied::Missing`] names what is missing.
    pub fn require_within(&self, channel: ChannelId, needed: Permissions) -> Result<(), Denied> {
        missing(needed, self.within(channel))
    }

    /// Asks to stand above `rank`.
    ///
    /// # Errors
    /// [`Denied::Outranked`] if the actor does not.
    pub fn require_above(&self, rank: Rank) -> Result<(), Denied> {
        if self.rank() > rank { Ok(()) } else { Err(Denied::Outranked) }
    }

    /// Asks to stand above a member with these roles. Of the chat backend itself nothing is looked up.
    ///
    /// # Errors
    /// [`Denied::Outranked`].
    pub fn require_above_member(&self, user: UserId, roles: &[RoleId]) -> Result<(), Denied> {
        if self.is_system() { Ok(()) } else { self.require_above(self.rights.rank(user, roles)) }
    }

    /// Asks to hand out or take away `permissions`, having `own` there.
    ///
    /// # Errors
    /// [`Denied::Excess`] names what the actor does not have itself.
    pub fn require_own(own: Permissions, permissions: Permissions) -> Result<(), Denied> {
        let excess = permissions - own;
        if excess.is_empty() { Ok(()) } else { Err(Denied::Excess { excess }) }
    }
}

fn missing(needed: Permissions, own: Permissions) -> Result<(), Denied> {
    let missing = needed - own;
    if missing.is_empty() { Ok(()) } else { Err(Denied::Missing { missing }) }
}
