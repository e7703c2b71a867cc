//! Messages that may not be published, or not with these mentions.

use guildhall_proto::{Actor, Command, CommandError, Mentions, Permissions};

use crate::world::*;

fn missing(missing: Permissions) -> CommandError {
    CommandError::MissingPermissions { missing }
}

#[test]
fn who_may_not_publish_in_a_channel_does_not() {
    let mut world = World::new();
    world.system(set_overwrite(GENERAL, overwrite(for_user(PLAIN), Permissions::NONE, Permissions::SEND_MESSAGES)));
    assert_eq!(world.refuses(by(PLAIN), Command::Publish(message(GENERAL))), missing(Permissions::SEND_MESSAGES));
}

#[test]
fn who_does_not_see_a_channel_does_not_publish_there() {
    let refused = World::new().refuses(by(PLAIN), Command::Publish(message(STAFF)));
    assert_eq!(refused, missing(Permissions::VIEW_CHANNEL));
    assert_eq!(refused.to_string(), "needs VIEW_CHANNEL");
}

#[test]
fn nobody_publishes_in_a_category() {
    let mut world = World::new();
    for actor in [Actor::System, by(OWNER), by(PLAIN)] {
        let refused = world.refuses(actor, Command::Publish(message(TOPICS)));
        assert_eq!(refused, CommandError::NotText { channel: channel_id(TOPICS) });
    }
}

#[test]
fn a_mention_that_the_author_may_not_make_is_refused_not_stripped() {
    let mut world = World::new();
    for mentions in [
        Mentions { everyone: true, ..Mentions::default() },
        Mentions { here: true, ..Mentions::default() },
        Mentions { roles: vec![role_id(MODS)], ..Mentions::default() },
    ] {
        let command = mentioning(GENERAL, mentions);
        assert_eq!(world.refuses(by(PLAIN), command.clone()), missing(Permissions::MENTION_EVERYONE));
        world.applies(by(OWNER), command);
    }
}

#[test]
fn a_right_to_mention_counts_where_the_message_is() {
    let mut world = World::new();
    let mention = |channel| mentioning(channel, Mentions { here: true, ..Mentions::default() });
    world.system(Command::CreateChannel { channel: text(80), overwrites: vec![] });
    world.system(set_overwrite(80, overwrite(for_user(PLAIN), Permissions::MENTION_EVERYONE, Permissions::NONE)));
    world.applies(by(PLAIN), mention(80));
    assert_eq!(world.refuses(by(PLAIN), mention(GENERAL)), missing(Permissions::MENTION_EVERYONE));
}
