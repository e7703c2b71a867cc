//! Typing that is not told: who may not publish in a channel does not type there.

use guildhall_proto::{Command, CommandError, Permissions};

use crate::world::*;

/// Expects a refusal that tells nothing.
fn refused(world: &mut World, user: u64, channel: u64) -> CommandError {
    let (answer, others) = world.typing(user, channel);
    assert!(others.is_empty(), "a refusal lets out {others:?}");
    answer.expect_err("typing is refused")
}

#[test]
fn who_may_not_publish_in_a_channel_does_not_type_there() {
    let mut world = World::new();
    let missing = |missing| CommandError::MissingPermissions { missing };
    assert_eq!(refused(&mut world, PLAIN, STAFF), missing(Permissions::VIEW_CHANNEL));
    world.system(set_overwrite(GENERAL, overwrite(for_user(PLAIN), Permissions::NONE, Permissions::SEND_MESSAGES)));
    assert_eq!(refused(&mut world, PLAIN, GENERAL), missing(Permissions::SEND_MESSAGES));
}

#[test]
fn nobody_types_in_a_category_or_where_there_is_no_channel() {
    let mut world = World::new();
    assert_eq!(refused(&mut world, OWNER, TOPICS), CommandError::NotText { channel: channel_id(TOPICS) });
    assert_eq!(refused(&mut world, OWNER, 999), CommandError::UnknownChannel { channel: channel_id(999) });
}

#[test]
fn who_is_no_member_does_not_type() {
    let mut world = World::new();
    assert_eq!(refused(&mut world, 999, GENERAL), CommandError::UnknownMember { user: user_id(999) });
    world.system(Command::RemoveMember { user: user_id(PLAIN) });
    assert_eq!(refused(&mut world, PLAIN, GENERAL), CommandError::UnknownMember { user: user_id(PLAIN) });
    world.system(Command::DeleteGuild);
    assert_eq!(refused(&mut world, OWNER, GENERAL), CommandError::UnknownGuild);
}
