//! A store without room: what would have to be stored is refused, all else goes on.

use guildhall_guild::SessionRequest;
use guildhall_proto::{Actor, Command, CommandError, Status};

use crate::world::*;

#[test]
fn without_room_durable_commands_are_refused_and_all_else_goes_on() {
    let mut world = World::new();
    let applied = world.op();
    let add = || Command::AddMember(new_member(STRANGER, &[]));
    let (outcome, _) = world.call(applied, Actor::System, add());

    world.guild.set_room(false);
    assert_eq!(world.refuses(Actor::System, rename(PLAIN, "Eve")), CommandError::StoreFull);
    assert_eq!(world.refuses(Actor::System, Command::DeleteGuild), CommandError::StoreFull);
    world.applies(by(PLAIN), Command::Publish(message(GENERAL)));
    let attach = SessionRequest::Attach { user: user_id(PLAIN), status: Status::Online };
    assert!(world.session(1, attach).0.is_ok());
    assert_eq!(world.call(applied, Actor::System, add()).0, outcome, "what was applied is answered as before");
}

#[test]
fn what_was_refused_for_want_of_room_may_be_tried_again() {
    let mut world = World::new();
    let op = world.op();
    let add = || Command::AddMember(new_member(STRANGER, &[]));
    world.guild.set_room(false);
    assert_eq!(world.call(op, Actor::System, add()).0, Err(CommandError::StoreFull));
    world.guild.set_room(true);
    assert!(world.call(op, Actor::System, add()).0.is_ok());
}
