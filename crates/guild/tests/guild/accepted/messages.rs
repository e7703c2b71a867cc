//! Messages published.

use guildhall_proto::{Actor, Command, EventKind, Mentions, Message, Permissions, Publish, RoleEdit, Status};

use crate::world::*;

#[test]
fn a_message_is_told_and_not_recorded() {
    let mut world = World::new();
    world.attach(PLAIN, 9, Status::Online);
    let publish = Publish { session: Some(session_id(9)), echo: true, ..message(GENERAL) };
    let event = world.applies(by(PLAIN), Command::Publish(publish.clone()));
    let Publish { channel, payload, mentions, session, echo } = publish;
    let author = Some(user_id(PLAIN));
    assert_eq!(event, EventKind::MessagePublished(Message { channel, author, session, echo, mentions, payload }));
}

#[test]
fn the_chat_backend_publishes_without_an_author() {
    let event = World::new().applies(Actor::System, Command::Publish(message(STAFF)));
    assert!(matches!(event, EventKind::MessagePublished(message) if message.author.is_none()));
}

#[test]
fn mentions_are_told_in_order() {
    let mut world = World::new();
    let users = vec![user_id(PLAIN), user_id(OWNER)];
    let mentions = Mentions { users, roles: vec![role_id(MODS), role_id(CHIEFS)], everyone: true, here: true };
    let event = world.applies(by(OWNER), mentioning(GENERAL, mentions));
    let EventKind::MessagePublished(message) = event else { panic!("a message") };
    assert_eq!(message.mentions.users, [user_id(OWNER), user_id(PLAIN)]);
    assert_eq!(message.mentions.roles, [role_id(CHIEFS), role_id(MODS)]);
    assert!(message.mentions.everyone && message.mentions.here);
}

#[test]
fn anyone_mentions_members_and_mentionable_roles() {
    let mut world = World::new();
    let edit = RoleEdit { mentionable: Some(true), ..RoleEdit::default() };
    world.system(Command::UpdateRole { role: role_id(MODS), edit });
    let mentions = Mentions { users: vec![user_id(MOD)], roles: vec![role_id(MODS)], ..Mentions::default() };
    world.applies(by(PLAIN), mentioning(GENERAL, mentions));
}

#[test]
fn a_user_overwrite_opens_a_hidden_channel() {
    let mut world = World::new();
    assert!(world.by(PLAIN, Command::Publish(message(STAFF))).is_err());
    world.system(set_overwrite(STAFF, overwrite(for_user(PLAIN), Permissions::VIEW_CHANNEL, Permissions::NONE)));
    world.applies(by(PLAIN), Command::Publish(message(STAFF)));
}
