//! Who may not do what to whom: permissions, rank, ownership, and what is the system's alone.

use guildhall_proto::{
    Actor, ChannelEdit, Command, CommandError, GuildEdit, MemberEdit, MemberFlags, Permissions, RoleEdit,
};

use crate::world::*;

const NONE: Permissions = Permissions::NONE;
/// Neither mods nor everyone have it.
const FOREIGN: Permissions = Permissions::BAN_MEMBERS;

fn missing(missing: Permissions) -> CommandError {
    CommandError::MissingPermissions { missing }
}

fn excess(excess: Permissions) -> CommandError {
    CommandError::ExcessPermissions { excess }
}

fn permit(role: u64, permissions: Permissions) -> Command {
    let edit = RoleEdit { permissions: Some(permissions), ..RoleEdit::default() };
    Command::UpdateRole { role: role_id(role), edit }
}

#[test]
fn what_is_the_systems_is_refused_to_the_owner_too() {
    let mut world = World::new();
    let flags = MemberEdit { flags: Some(MemberFlags(1)), ..MemberEdit::default() };
    for command in [
        Command::AddMember(new_member(98, &[])),
        Command::ImportMembers(vec![new_member(98, &[])]),
        Command::UpdateMember { user: user_id(OWNER), edit: flags },
    ] {
        assert_eq!(world.refuses(by(OWNER), command), CommandError::SystemOnly);
    }
    let create = Command::CreateGuild { name: name("Eve's"), everyone: NONE, owner: new_member(PLAIN, &[]) };
    assert_eq!(World::uncreated().refuses(by(PLAIN), create), CommandError::SystemOnly);
}

#[test]
fn what_is_the_owners_is_refused_to_administrators() {
    let mut world = World::new();
    for command in [Command::DeleteGuild, Command::TransferOwnership { to: user_id(CHIEF) }] {
        assert_eq!(world.refuses(by(CHIEF), command), CommandError::OwnerOnly);
    }
}

#[test]
fn each_kind_of_change_needs_its_permission() {
    let mut world = World::new();
    let (role_, channel) = (role_id(HELPERS), channel_id(GENERAL));
    let position = vec![(role_, 3)];
    for (command, needed) in [
        (Command::UpdateGuild(GuildEdit::default()), Permissions::MANAGE_GUILD),
        (Command::CreateRole(role(60, 1, NONE)), Permissions::MANAGE_ROLES),
        (permit(HELPERS, NONE), Permissions::MANAGE_ROLES),
        (Command::DeleteRole { role: role_ }, Permissions::MANAGE_ROLES),
        (Command::ReorderRoles { positions: position }, Permissions::MANAGE_ROLES),
        (Command::CreateChannel { channel: text(80), overwrites: vec![] }, Permissions::MANAGE_CHANNELS),
        (Command::UpdateChannel { channel, edit: ChannelEdit::default() }, Permissions::MANAGE_CHANNELS),
        (Command::DeleteChannel { channel }, Permissions::MANAGE_CHANNELS),
        (Command::ReorderChannels { positions: vec![(channel, 1)] }, Permissions::MANAGE_CHANNELS),
        (set_overwrite(GENERAL, overwrite(for_role(HELPERS), NONE, NONE)), Permissions::MANAGE_ROLES),
        (Command::RemoveOverwrite { channel, target: for_role(HELPERS) }, Permissions::MANAGE_ROLES),
        (rename(HELPER, "Eve"), Permissions::MANAGE_NICKNAMES),
        (grant(HELPER, &[]), Permissions::MANAGE_ROLES),
        (Command::RemoveMember { user: user_id(HELPER) }, Permissions::KICK_MEMBERS),
    ] {
        assert_eq!(world.refuses(by(PLAIN), command), missing(needed));
    }
    world.system(permit(GUILD, Permissions::VIEW_CHANNEL));
    assert_eq!(world.refuses(by(PLAIN), rename(PLAIN, "Eve")), missing(Permissions::CHANGE_NICKNAME));
}

#[test]
fn a_channel_that_is_hidden_is_not_managed() {
    let mut world = World::new();
    world.system(set_overwrite(STAFF, overwrite(for_role(MODS), NONE, Permissions::VIEW_CHANNEL)));
    let hidden = missing(Permissions::VIEW_CHANNEL);
    let channel = channel_id(STAFF);
    assert_eq!(world.refuses(by(MOD), Command::DeleteChannel { channel }), hidden);
    assert_eq!(world.refuses(by(MOD), set_overwrite(STAFF, overwrite(for_role(MODS), NONE, NONE))), hidden);
}

#[test]
fn a_channel_with_overwrites_needs_the_right_to_make_these() {
    let mut world = World::new();
    world.system(permit(HELPERS, Permissions::MANAGE_CHANNELS));
    let create = |overwrites| Command::CreateChannel { channel: text(80), overwrites };
    let overwrites = vec![overwrite(for_user(PLAIN), NONE, NONE)];
    assert_eq!(world.refuses(by(HELPER), create(overwrites)), missing(Permissions::MANAGE_ROLES));
    world.applies(by(HELPER), create(vec![]));
}

#[test]
fn roles_at_or_above_the_own_are_out_of_reach() {
    let mut world = World::new();
    for role_ in [MODS, CHIEFS] {
        let id = role_id(role_);
        for command in [
            permit(role_, NONE),
            Command::DeleteRole { role: id },
            Command::ReorderRoles { positions: vec![(id, 1)] },
            grant(PLAIN, &[role_]),
            set_overwrite(GENERAL, overwrite(for_role(role_), NONE, NONE)),
        ] {
            assert_eq!(world.refuses(by(MOD), command), CommandError::Outranked);
        }
    }
    // Taken from somebody, they are out of reach too.
    assert_eq!(world.refuses(by(MOD), grant(PEER, &[])), CommandError::Outranked);
    assert_eq!(world.refuses(by(MOD), grant(MOD, &[HELPERS])), CommandError::Outranked);
}

#[test]
fn no_role_is_made_or_moved_to_where_the_actor_stands() {
    let mut world = World::new();
    // Of equal positions the lower id stands higher: 40 would outrank the mods' 51, 60 would not.
    for (id, position) in [(40, 5), (60, 6)] {
        let create = Command::CreateRole(role(id, position, NONE));
        assert_eq!(world.refuses(by(MOD), create), CommandError::Outranked);
    }
    let reorder = |position| Command::ReorderRoles { positions: vec![(role_id(HELPERS), position)] };
    assert_eq!(world.refuses(by(MOD), reorder(6)), CommandError::Outranked);
    world.applies(by(MOD), reorder(5));
}

#[test]
fn a_reorder_is_refused_whole() {
    let mut world = World::new();
    let positions = vec![(role_id(HELPERS), 3), (role_id(CHIEFS), 9)];
    assert_eq!(world.refuses(by(MOD), Command::ReorderRoles { positions }), CommandError::Outranked);
}

#[test]
fn members_at_or_above_the_own_rank_are_out_of_reach() {
    let mut world = World::new();
    for user in [PEER, CHIEF, OWNER] {
        assert_eq!(world.refuses(by(MOD), rename(user, "Eve")), CommandError::Outranked);
        let command = set_overwrite(GENERAL, overwrite(for_user(user), NONE, NONE));
        assert_eq!(world.refuses(by(MOD), command), CommandError::Outranked);
    }
    for user in [PEER, CHIEF] {
        let kick = Command::RemoveMember { user: user_id(user) };
        assert_eq!(world.refuses(by(MOD), kick), CommandError::Outranked);
    }
    // Not even oneself: else an overwrite would undo any other.
    let own = set_overwrite(GENERAL, overwrite(for_user(MOD), NONE, NONE));
    assert_eq!(world.refuses(by(MOD), own), CommandError::Outranked);
}

#[test]
fn nobody_hands_out_what_they_have_not() {
    let mut world = World::new();
    let allow = overwrite(for_user(PLAIN), FOREIGN, NONE);
    let deny = overwrite(for_user(PLAIN), NONE, FOREIGN);
    for command in [
        Command::CreateRole(role(60, 1, FOREIGN)),
        permit(HELPERS, FOREIGN),
        permit(GUILD, FOREIGN),
        set_overwrite(GENERAL, allow),
        set_overwrite(GENERAL, deny),
        Command::CreateChannel { channel: text(80), overwrites: vec![allow] },
    ] {
        assert_eq!(world.refuses(by(MOD), command), excess(FOREIGN));
    }
    assert_eq!(excess(FOREIGN).to_string(), "may not hand out BAN_MEMBERS without having it");
}

#[test]
fn an_overwrite_of_what_the_actor_has_not_is_neither_taken_away_nor_written_over() {
    let mut world = World::new();
    let (channel, target) = (channel_id(GENERAL), for_user(PLAIN));
    world.system(set_overwrite(GENERAL, overwrite(target, NONE, FOREIGN)));
    assert_eq!(world.refuses(by(MOD), Command::RemoveOverwrite { channel, target }), excess(FOREIGN));
    assert_eq!(world.refuses(by(MOD), set_overwrite(GENERAL, overwrite(target, NONE, NONE))), excess(FOREIGN));
    // What stays as it is, nobody hands out.
    world.applies(by(MOD), set_overwrite(GENERAL, overwrite(target, NONE, FOREIGN | Permissions::SEND_MESSAGES)));
}

#[test]
fn rights_within_a_channel_count_there_alone() {
    let mut world = World::new();
    world.system(set_overwrite(
        STAFF,
        overwrite(for_role(MODS), Permissions::VIEW_CHANNEL, Permissions::MANAGE_CHANNELS),
    ));
    let delete = |channel| Command::DeleteChannel { channel: channel_id(channel) };
    assert_eq!(world.refuses(by(MOD), delete(STAFF)), missing(Permissions::MANAGE_CHANNELS));
    world.applies(by(MOD), delete(GENERAL));
}

#[test]
fn the_system_is_bound_by_neither_rank_nor_permission() {
    let mut world = World::new();
    world.applies(Actor::System, permit(CHIEFS, NONE));
    world.applies(Actor::System, rename(OWNER, "Eve"));
    world.applies(Actor::System, Command::RemoveMember { user: user_id(CHIEF) });
}
