//! Channels and their overwrites made, changed, moved, deleted.

use guildhall_proto::{Actor, Channel, ChannelEdit, Command, CommandError, EventKind, Permissions};

use crate::world::*;

const NONE: Permissions = Permissions::NONE;

#[test]
fn a_channel_is_made_with_its_overwrites_in_order() {
    let mut world = World::new();
    let mut channel = text(80);
    channel.parent = Some(channel_id(TOPICS));
    let for_plain = overwrite(for_user(PLAIN), NONE, Permissions::SEND_MESSAGES);
    let for_helpers = overwrite(for_role(HELPERS), Permissions::SEND_MESSAGES, NONE);
    let create = Command::CreateChannel { channel: channel.clone(), overwrites: vec![for_plain, for_helpers] };
    let overwrites = vec![for_helpers, for_plain];
    assert_eq!(world.applies(by(MOD), create), EventKind::ChannelCreated { channel: channel.clone(), overwrites });
    assert_eq!(world.rights().channel(channel.id), Some(&channel));
}

#[test]
fn a_channel_is_renamed_and_moved_in_and_out_of_a_category() {
    let mut world = World::new();
    let update = |edit| Command::UpdateChannel { channel: channel_id(GENERAL), edit };
    let before = text(GENERAL);
    let within = Channel { name: name("lobby"), parent: Some(channel_id(TOPICS)), ..before.clone() };
    let edit = ChannelEdit { name: Some(name("lobby")), parent: Some(Some(channel_id(TOPICS))) };
    let event = world.applies(by(MOD), update(edit.clone()));
    assert_eq!(event, EventKind::ChannelUpdated { before, after: within.clone() });
    world.changes_nothing(by(MOD), update(edit));
    let out = update(ChannelEdit { parent: Some(None), ..ChannelEdit::default() });
    let after = Channel { parent: None, ..within.clone() };
    assert_eq!(world.applies(by(MOD), out), EventKind::ChannelUpdated { before: within, after });
}

#[test]
fn channels_get_an_order() {
    let mut world = World::new();
    let positions = vec![(channel_id(TOPICS), 2), (channel_id(STAFF), 0), (channel_id(GENERAL), 1)];
    let reorder = Command::ReorderChannels { positions };
    let before = vec![(channel_id(GENERAL), 0), (channel_id(TOPICS), 0)];
    let after = vec![(channel_id(GENERAL), 1), (channel_id(TOPICS), 2)];
    assert_eq!(world.applies(by(MOD), reorder.clone()), EventKind::ChannelsReordered { before, after });
    world.changes_nothing(by(MOD), reorder);
}

#[test]
fn a_deleted_category_leaves_its_channels_without_a_parent() {
    let mut world = World::new();
    let edit = ChannelEdit { parent: Some(Some(channel_id(TOPICS))), ..ChannelEdit::default() };
    world.system(Command::UpdateChannel { channel: channel_id(GENERAL), edit });
    let event = world.applies(by(MOD), Command::DeleteChannel { channel: channel_id(TOPICS) });
    assert_eq!(
        event,
        EventKind::ChannelDeleted {
            channel: category(TOPICS),
            overwrites: vec![],
            children: vec![channel_id(GENERAL)]
        }
    );
    assert_eq!(world.rights().channel(channel_id(GENERAL)), Some(&text(GENERAL)));
}

#[test]
fn a_deleted_channel_is_told_with_its_overwrites() {
    let mut world = World::new();
    let event = world.applies(by(MOD), Command::DeleteChannel { channel: channel_id(STAFF) });
    let hidden = overwrite(for_role(GUILD), NONE, Permissions::VIEW_CHANNEL);
    let shown = overwrite(for_role(MODS), Permissions::VIEW_CHANNEL, NONE);
    assert_eq!(
        event,
        EventKind::ChannelDeleted { channel: text(STAFF), overwrites: vec![hidden, shown], children: vec![] }
    );
}

#[test]
fn an_overwrite_comes_changes_and_goes() {
    let mut world = World::new();
    let (channel, target) = (channel_id(GENERAL), for_user(PLAIN));
    let first = overwrite(target, NONE, Permissions::SEND_MESSAGES);
    let second = overwrite(target, Permissions::SEND_MESSAGES, NONE);
    for (command, before, after) in [
        (set_overwrite(GENERAL, first), None, Some(first)),
        (set_overwrite(GENERAL, second), Some(first), Some(second)),
        (Command::RemoveOverwrite { channel, target }, Some(second), None),
    ] {
        let event = world.applies(by(MOD), command.clone());
        assert_eq!(event, EventKind::OverwriteChanged { channel, before, after });
        if after.is_some() {
            world.changes_nothing(by(MOD), command);
        }
    }
}

#[test]
fn an_overwrite_outlives_its_member_and_can_still_be_taken_away() {
    let mut world = World::new();
    world.system(set_overwrite(GENERAL, overwrite(for_user(PLAIN), NONE, Permissions::SPEAK)));
    world.system(Command::RemoveMember { user: user_id(PLAIN) });
    let remove = Command::RemoveOverwrite { channel: channel_id(GENERAL), target: for_user(PLAIN) };
    world.applies(Actor::System, remove);
}

#[test]
fn an_overwrite_by_the_system_may_come_before_its_member_and_then_holds() {
    let mut world = World::new();
    world.system(set_overwrite(GENERAL, overwrite(for_user(STRANGER), NONE, Permissions::SEND_MESSAGES)));
    world.system(Command::AddMember(new_member(STRANGER, &[])));
    let refused = world.refuses(by(STRANGER), Command::Publish(message(GENERAL)));
    let missing = CommandError::MissingPermissions { missing: Permissions::SEND_MESSAGES };
    assert_eq!(refused, missing);
}
