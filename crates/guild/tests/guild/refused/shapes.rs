//! Commands that contradict themselves or the kind of thing they name.

use guildhall_proto::{Actor, ChannelEdit, Command, CommandError, ListedThing, Mentions, Permissions, RoleEdit};

use crate::world::*;

fn twice(what: ListedThing, id: u64) -> CommandError {
    CommandError::Duplicate { what, id }
}

#[test]
fn what_one_list_names_twice_is_refused() {
    let mut world = World::new();
    let (user, role, channel) = (user_id(PLAIN), role_id(MODS), channel_id(GENERAL));
    let none = |target| overwrite(target, Permissions::NONE, Permissions::NONE);
    for (command, error) in [
        (Command::AddMember(new_member(98, &[MODS, MODS])), twice(ListedThing::Role, MODS)),
        (grant(PLAIN, &[MODS, HELPERS, MODS]), twice(ListedThing::Role, MODS)),
        (Command::ReorderRoles { positions: vec![(role, 1), (role, 2)] }, twice(ListedThing::Role, MODS)),
        (
            Command::ReorderChannels { positions: vec![(channel, 1), (channel, 1)] },
            twice(ListedThing::Channel, GENERAL),
        ),
        (
            Command::CreateChannel { channel: text(80), overwrites: vec![none(for_user(PLAIN)); 2] },
            twice(ListedThing::User, PLAIN),
        ),
        (
            Command::CreateChannel { channel: text(80), overwrites: vec![none(for_role(MODS)); 2] },
            twice(ListedThing::Role, MODS),
        ),
        (
            mentioning(GENERAL, Mentions { users: vec![user; 2], ..Mentions::default() }),
            twice(ListedThing::User, PLAIN),
        ),
        (mentioning(GENERAL, Mentions { roles: vec![role; 2], ..Mentions::default() }), twice(ListedThing::Role, MODS)),
    ] {
        assert_eq!(world.refuses(Actor::System, command), error);
    }
    assert_eq!(twice(ListedThing::User, 98).to_string(), "user 98 is named twice");
}

#[test]
fn the_everyone_role_is_not_deleted_moved_renamed_held_created_or_mentioned() {
    let mut world = World::new();
    let everyone = role_id(GUILD);
    let edits = [
        RoleEdit { name: Some(name("all")), ..RoleEdit::default() },
        RoleEdit { hoist: Some(true), ..RoleEdit::default() },
        RoleEdit { mentionable: Some(true), ..RoleEdit::default() },
    ];
    let commands = [
        Command::DeleteRole { role: everyone },
        Command::ReorderRoles { positions: vec![(everyone, 3)] },
        Command::CreateRole(role(GUILD, 3, Permissions::NONE)),
        Command::AddMember(new_member(98, &[GUILD])),
        grant(PLAIN, &[GUILD]),
        mentioning(GENERAL, Mentions { roles: vec![everyone], ..Mentions::default() }),
    ];
    let edits = edits.map(|edit| Command::UpdateRole { role: everyone, edit });
    for command in commands.into_iter().chain(edits) {
        assert_eq!(world.refuses(Actor::System, command), CommandError::EveryoneRole);
    }
}

#[test]
fn position_0_is_the_everyone_roles_alone() {
    let mut world = World::new();
    let create = Command::CreateRole(role(60, 0, Permissions::NONE));
    assert_eq!(world.refuses(Actor::System, create), CommandError::PositionReserved);
    let reorder = Command::ReorderRoles { positions: vec![(role_id(HELPERS), 0)] };
    assert_eq!(world.refuses(Actor::System, reorder), CommandError::PositionReserved);
}

#[test]
fn only_a_category_has_channels_and_it_has_no_parent() {
    let mut world = World::new();
    let under = |mut channel: guildhall_proto::Channel, parent| {
        channel.parent = Some(channel_id(parent));
        Command::CreateChannel { channel, overwrites: vec![] }
    };
    let refused = CommandError::NotCategory { channel: channel_id(80) };
    assert_eq!(world.refuses(Actor::System, under(text(80), GENERAL)), refused);
    assert_eq!(world.refuses(Actor::System, under(category(80), TOPICS)), refused);
    let edit = ChannelEdit { parent: Some(Some(channel_id(GENERAL))), ..ChannelEdit::default() };
    let update = |channel| Command::UpdateChannel { channel: channel_id(channel), edit: edit.clone() };
    assert_eq!(
        world.refuses(Actor::System, update(GENERAL)),
        CommandError::NotCategory { channel: channel_id(GENERAL) }
    );
    assert_eq!(world.refuses(Actor::System, update(TOPICS)), CommandError::NotCategory { channel: channel_id(TOPICS) });
}

#[test]
fn the_guilds_owner_cannot_be_removed_not_even_alone() {
    let mut world = World::new();
    for actor in [Actor::System, by(CHIEF), by(OWNER)] {
        assert_eq!(world.refuses(actor, Command::RemoveMember { user: user_id(OWNER) }), CommandError::OwnerStays);
    }
}
