//! Commands about members.

use guildhall_permissions::{Authority, Rank};
use guildhall_proto::limits::MEMBER_ROLES_MAX;
use guildhall_proto::{
    CommandError, EventKind, Limited, ListedThing, Member, MemberEdit, NewMember, Nick, Permissions, RoleId, UserId,
};

use super::{Decision, Scene, denied, system_only, within};

impl Scene<'_> {
    pub(super) fn add_member(&self, authority: &Authority<'_>, new: NewMember) -> Result<Decision, CommandError> {
        system_only(authority)?;
        if self.members.contains(new.user) {
            return Err(CommandError::MemberExists { user: new.user });
        }
        self.require_welcome(new.user)?;
        within(Limited::Members, self.members.len() + 1)?;
        Ok(Decision::change(EventKind::MemberJoined { member: self.member(new)? }))
    }

    pub(super) fn update_member(
        &self,
        authority: &Authority<'_>,
        user: UserId,
        edit: MemberEdit,
    ) -> Result<Decision, CommandError> {
        let before = self.members.member(user).ok_or(CommandError::UnknownMember { user })?;
        let mut after = before.clone();
        let MemberEdit { nick, roles, flags } = edit;
        if let Some(nick) = nick {
            after.nick = self.renamed(authority, &before, nick)?;
        }
        if let Some(roles) = roles {
            after.roles = self.regranted(authority, &before, roles)?;
        }
        if let Some(flags) = flags {
            system_only(authority)?;
            after.flags = flags;
        }
        Ok(Decision::change_if(before != after, || EventKind::MemberUpdated { before, after }))
    }

    pub(super) fn remove_member(&self, authority: &Authority<'_>, user: UserId) -> Result<Decision, CommandError> {
        let member = self.members.member(user).ok_or(CommandError::UnknownMember { user })?;
        if user == self.rights.owner() {
            return Err(CommandError::OwnerStays);
        }
        if authority.user() != Some(user) {
            authority.require(Permissions::KICK_MEMBERS).map_err(denied)?;
            authority.require_above_member(user, &member.roles).map_err(denied)?;
        }
        Ok(Decision::change(EventKind::MemberLeft { member }))
    }

    fn renamed(&self, authority: &Authority<'_>, member: &Member, nick: Nick) -> Result<Nick, CommandError> {
        if authority.user() == Some(member.user) {
            authority.require(Permissions::CHANGE_NICKNAME).map_err(denied)?;
        } else {
            authority.require(Permissions::MANAGE_NICKNAMES).map_err(denied)?;
            authority.require_above_member(member.user, &member.roles).map_err(denied)?;
        }
        Ok(nick)
    }

    /// The roles asked for, if each that is given or taken stands below the actor.
    fn regranted(
        &self,
        authority: &Authority<'_>,
        member: &Member,
        roles: Vec<RoleId>,
    ) -> Result<Vec<RoleId>, CommandError> {
        authority.require(Permissions::MANAGE_ROLES).map_err(denied)?;
        let roles = self.held(roles)?;
        let given = roles.iter().filter(|role| member.roles.binary_search(role).is_err());
        let taken = member.roles.iter().filter(|role| roles.binary_search(role).is_err());
        for role in given.chain(taken) {
            let role = self.rights.role(*role).ok_or(CommandError::UnknownRole { role: *role })?;
            authority.require_above(Rank::of(role)).map_err(denied)?;
        }
        Ok(roles)
    }

    pub(super) fn member(&self, new: NewMember) -> Result<Member, Unheld> {
        let NewMember { user, nick, roles, flags } = new;
        Ok(Member { user, nick, roles: self.held(roles)?, joined_at: self.joins_at, flags })
    }

    /// Roles that a member may hold: known, distinct, ascending, without everyone.
    fn held(&self, mut roles: Vec<RoleId>) -> Result<Vec<RoleId>, Unheld> {
        if roles.len() > MEMBER_ROLES_MAX {
            return Err(Unheld::TooMany { got: u32::try_from(roles.len()).unwrap_or(u32::MAX) });
        }
        roles.sort_unstable();
        if let Some(pair) = roles.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Unheld::Twice { role: pair[0] });
        }
        for role in &roles {
            if self.is_everyone(*role) {
                return Err(Unheld::Everyone);
            }
            if self.rights.role(*role).is_none() {
                return Err(Unheld::Unknown { role: *role });
            }
        }
        Ok(roles)
    }
}

/// Why roles cannot be held.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unheld {
    TooMany { got: u32 },
    Twice { role: RoleId },
    Everyone,
    Unknown { role: RoleId },
}

impl From<Unheld> for CommandError {
    fn from(unheld: Unheld) -> Self {
        match unheld {
            Unheld::TooMany { got } => Self::LimitExceeded { what: Limited::MemberRoles, got },
            Unheld::Twice { role } => Self::Duplicate { what: ListedThing::Role, id: role.get() },
            Unheld::Everyone => Self::EveryoneRole,
            Unheld::Unknown { role } => Self::UnknownRole { role },
        }
    }
}
