//! Roles made, changed, moved, deleted.

use guildhall_proto::{Actor, Command, CommandError, EventKind, Permissions, Role, RoleEdit};

use crate::world::*;

#[test]
fn a_role_is_made() {
    let mut world = World::new();
    let role = role(60, 4, Permissions::MANAGE_CHANNELS);
    assert_eq!(
        world.applies(by(MOD), Command::CreateRole(role.clone())),
        EventKind::RoleCreated { role: role.clone() }
    );
    assert_eq!(world.rights().role(role.id), Some(&role));
}

#[test]
fn a_role_is_changed_in_all_but_its_place() {
    let mut world = World::new();
    let before = role(HELPERS, 2, Permissions::NONE);
    let after = Role {
        name: name("Friends"),
        permissions: Permissions::KICK_MEMBERS,
        hoist: true,
        mentionable: true,
        ..before.clone()
    };
    let edit = RoleEdit {
        name: Some(after.name.clone()),
        permissions: Some(after.permissions),
        hoist: Some(true),
        mentionable: Some(true),
    };
    let update = Command::UpdateRole { role: before.id, edit };
    assert_eq!(world.applies(by(MOD), update.clone()), EventKind::RoleUpdated { before, after });
    world.changes_nothing(by(MOD), update);
}

#[test]
fn the_everyone_role_gets_other_permissions() {
    let mut world = World::new();
    let edit = RoleEdit { permissions: Some(Permissions::VIEW_CHANNEL), ..RoleEdit::default() };
    let event = world.applies(by(MOD), Command::UpdateRole { role: role_id(GUILD), edit });
    assert!(matches!(event, EventKind::RoleUpdated { after, .. } if after.permissions == Permissions::VIEW_CHANNEL));
}

#[test]
fn an_order_names_those_alone_that_move() {
    let mut world = World::new();
    world.system(Command::CreateRole(role(60, 1, Permissions::NONE)));
    // The mods stand above the actor's reach, but stay where they are.
    let positions = vec![(role_id(60), 3), (role_id(MODS), 5), (role_id(HELPERS), 1)];
    let event = world.applies(by(MOD), Command::ReorderRoles { positions: positions.clone() });
    let before = vec![(role_id(HELPERS), 2), (role_id(60), 1)];
    let after = vec![(role_id(HELPERS), 1), (role_id(60), 3)];
    assert_eq!(event, EventKind::RolesReordered { before, after });
    world.changes_nothing(by(MOD), Command::ReorderRoles { positions });
}

#[test]
fn a_deleted_role_is_gone_from_members_and_channels() {
    let mut world = World::new();
    let muted = overwrite(for_role(HELPERS), Permissions::NONE, Permissions::SPEAK);
    world.system(set_overwrite(GENERAL, muted));
    let role = role(HELPERS, 2, Permissions::NONE);
    let event = world.applies(by(MOD), Command::DeleteRole { role: role.id });
    assert_eq!(event, EventKind::RoleDeleted { role, overwrites: vec![(channel_id(GENERAL), muted)] });
    assert_eq!(world.member(HELPER).unwrap().roles, []);
    assert_eq!(world.rights().overwrites(channel_id(GENERAL)).unwrap().as_slice(), []);
}

#[test]
fn a_deleted_roles_id_is_taken_until_no_member_has_it_any_more() {
    let mut world = World::new();
    let helpers = role(HELPERS, 2, Permissions::NONE);
    world.system(Command::DeleteRole { role: helpers.id });
    let refused = world.refuses(Actor::System, Command::CreateRole(helpers.clone()));
    assert_eq!(refused, CommandError::RoleExists { role: helpers.id });
    // Enough changes for a fold, which cleans it out.
    for user in 1_000..1_100 {
        world.system(Command::AddMember(new_member(user, &[])));
    }
    world.applies(Actor::System, Command::CreateRole(helpers));
    assert_eq!(world.member(HELPER).unwrap().roles, []);
}
