//! Commands about members.

use guildhall_permissions::{Authority, Rank};
use guildhall_proto::{
    CommandError, EventKind, Limited, ListedThing, Member, MemberEdit, NewMember, Nick, Permissions, RoleId, UserId,
};

use super::{Decision, Scene, Tally, denied, sort_distinct, system_only, within};

impl Scene<'_> {
    pub(super) fn add_member(&self, authority: &Authority<'_>, new: NewMember) -> Result<Decision, CommandError> {
        system_only(authority)?;
        if self.members.contains(new.user) {
            return Err(CommandError::MemberExists { user: new.user });
        }
        within(Limited::Members, self.members.len() + 1)?;
        Ok(Decision::change(EventKind::MemberJoined { member: self.member(new)? }))
    }

    pub(super) fn add_members(
        &self,
        authority: &Authority<'_>,
        mut new: Vec<NewMember>,
    ) -> Result<Decision, CommandError> {
        system_only(authority)?;
        within(Limited::BulkMembers, new.len())?;
        sort_distinct(&mut new, ListedThing::User, |new| new.user, UserId::get)?;
        let asked = new.len();
        let mut members = Vec::with_capacity(asked);
        for new in new {
            // Checked even for those who stay as they are: a call is well-formed or refused, whoever is there.
            let member = self.member(new)?;
            if !self.members.contains(member.user) {
                members.push(member);
            }
        }
        within(Limited::Members, self.members.len() + members.len())?;
        let count = |members: usize| u32::try_from(members).expect("a bulk add has at most 10,000 members");
        let tally = Tally { added: count(members.len()), existing: count(asked - members.len()) };
        let change = (!members.is_empty()).then_some(EventKind::MembersJoined { members });
        Ok(Decision { change, tally: Some(tally) })
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
            authority.require_above(self.rights.rank(user, &member.roles)).map_err(denied)?;
        }
        Ok(Decision::change(EventKind::MemberLeft { member }))
    }

    fn renamed(&self, authority: &Authority<'_>, member: &Member, nick: Nick) -> Result<Nick, CommandError> {
        if authority.user() == Some(member.user) {
            authority.require(Permissions::CHANGE_NICKNAME).map_err(denied)?;
        } else {
            authority.require(Permissions::MANAGE_NICKNAMES).map_err(denied)?;
            authority.require_above(self.rights.rank(member.user, &member.roles)).map_err(denied)?;
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

    fn member(&self, new: NewMember) -> Result<Member, CommandError> {
        let NewMember { user, nick, roles, flags } = new;
        Ok(Member { user, nick, roles: self.held(roles)?, joined_at: self.now, flags })
    }

    /// Roles that a member may hold: known, distinct, ascending, without everyone.
    fn held(&self, mut roles: Vec<RoleId>) -> Result<Vec<RoleId>, CommandError> {
        within(Limited::MemberRoles, roles.len())?;
        sort_distinct(&mut roles, ListedThing::Role, |role| *role, RoleId::get)?;
        for role in &roles {
            if self.is_everyone(*role) {
                return Err(CommandError::EveryoneRole);
            }
            self.require_role(*role)?;
        }
        Ok(roles)
    }
}
