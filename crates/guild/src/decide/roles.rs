//! Commands about roles: the hierarchy bounds them on both sides, what is changed and what it becomes.

use guildhall_permissions::{Authority, Rank};
use guildhall_proto::{CommandError, EventKind, Limited, ListedThing, Permissions, Role, RoleEdit, RoleId};

use super::{Decision, Scene, denied, sort_distinct, within};

impl Scene<'_> {
    pub(super) fn create_role(&self, authority: &Authority<'_>, role: Role) -> Result<Decision, CommandError> {
        authority.require(Permissions::MANAGE_ROLES).map_err(denied)?;
        if self.is_everyone(role.id) {
            return Err(CommandError::EveryoneRole);
        }
        // A deleted role's id stays taken until no member's record names it: the new role would be theirs at once.
        if self.rights.role(role.id).is_some() || self.members.is_masked(role.id) {
            return Err(CommandError::RoleExists { role: role.id });
        }
        if role.position == 0 {
            return Err(CommandError::PositionReserved);
        }
        within(Limited::Roles, self.rights.roles().len() + 1)?;
        authority.require_above(Rank::of(&role)).map_err(denied)?;
        Authority::require_own(authority.base(), role.permissions).map_err(denied)?;
        Ok(Decision::change(EventKind::RoleCreated { role }))
    }

    pub(super) fn update_role(
        &self,
        authority: &Authority<'_>,
        role: RoleId,
        edit: RoleEdit,
    ) -> Result<Decision, CommandError> {
        let before = self.rights.role(role).ok_or(CommandError::UnknownRole { role })?.clone();
        authority.require(Permissions::MANAGE_ROLES).map_err(denied)?;
        authority.require_above(Rank::of(&before)).map_err(denied)?;
        let RoleEdit { name, permissions, hoist, mentionable } = edit;
        if self.is_everyone(role) && (name.is_some() || hoist.is_some() || mentionable.is_some()) {
            return Err(CommandError::EveryoneRole);
        }
        let after = Role {
            id: role,
            name: name.unwrap_or_else(|| before.name.clone()),
            position: before.position,
            permissions: permissions.unwrap_or(before.permissions),
            hoist: hoist.unwrap_or(before.hoist),
            mentionable: mentionable.unwrap_or(before.mentionable),
        };
        Authority::require_own(authority.base(), after.permissions - before.permissions).map_err(denied)?;
        Ok(Decision::change_if(before != after, || EventKind::RoleUpdated { before, after }))
    }

    pub(super) fn delete_role(&self, authority: &Authority<'_>, role: RoleId) -> Result<Decision, CommandError> {
        if self.is_everyone(role) {
            return Err(CommandError::EveryoneRole);
        }
        let role = self.rights.role(role).ok_or(CommandError::UnknownRole { role })?.clone();
        authority.require(Permissions::MANAGE_ROLES).map_err(denied)?;
        authority.require_above(Rank::of(&role)).map_err(denied)?;
        let overwrites = self.rights.role_overwrites(role.id).collect();
        Ok(Decision::change(EventKind::RoleDeleted { role, overwrites }))
    }

    pub(super) fn reorder_roles(
        &self,
        authority: &Authority<'_>,
        mut positions: Vec<(RoleId, u16)>,
    ) -> Result<Decision, CommandError> {
        authority.require(Permissions::MANAGE_ROLES).map_err(denied)?;
        sort_distinct(&mut positions, ListedThing::Role, |(role, _)| *role, RoleId::get)?;
        let mut before = Vec::new();
        for (role, position) in &positions {
            if self.is_everyone(*role) {
                return Err(CommandError::EveryoneRole);
            }
            if *position == 0 {
                return Err(CommandError::PositionReserved);
            }
            let current = self.rights.role(*role).ok_or(CommandError::UnknownRole { role: *role })?;
            if current.position == *position {
                continue;
            }
            authority.require_above(Rank::of(current)).map_err(denied)?;
            authority.require_above(Rank::at(*role, *position)).map_err(denied)?;
            before.push((*role, current.position));
        }
        let moved = |role: &RoleId| before.binary_search_by_key(role, |(role, _)| *role).is_ok();
        let after: Vec<(RoleId, u16)> = positions.iter().filter(|(role, _)| moved(role)).copied().collect();
        Ok(Decision::change_if(!before.is_empty(), || EventKind::RolesReordered { before, after }))
    }
}
