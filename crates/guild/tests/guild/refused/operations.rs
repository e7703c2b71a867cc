//! Operation ids that may not be applied (any more, yet, or with this body).

use guildhall_proto::limits::{ISSUE_AHEAD_MAX, OUTCOME_KEPT};
use guildhall_proto::{Actor, ClientId, Command, CommandError, Limited, Millis, OpId};

use crate::world::*;

fn hello() -> Command {
    Command::Publish(message(GENERAL))
}

#[test]
fn an_operation_id_with_another_body_is_refused() {
    let mut world = World::new();
    let op = world.op();
    assert!(world.call(op, Actor::System, rename(PLAIN, "Bob")).0.is_ok());
    let reused = CommandError::OpReused { op };
    assert_eq!(world.refuses_op(op, Actor::System, rename(PLAIN, "Eve")), reused);
    // Who asks is a part of what is asked.
    assert_eq!(world.refuses_op(op, by(OWNER), rename(PLAIN, "Bob")), reused);
    let later = OpId { issued_at: Millis(op.issued_at.0 + 1), ..op };
    assert_eq!(world.refuses_op(later, Actor::System, rename(PLAIN, "Bob")), CommandError::OpReused { op: later });
}

#[test]
fn an_operation_that_is_too_old_is_refused() {
    let mut world = World::new();
    let issued_at = world.now.minus(OUTCOME_KEPT);
    let op = OpId { issued_at, ..world.op() };
    assert_eq!(world.refuses_op(op, Actor::System, hello()), CommandError::Expired { op });
    let op = OpId { issued_at: Millis(issued_at.0 + 1), ..world.op() };
    assert!(world.call(op, Actor::System, hello()).0.is_ok());
}

#[test]
fn an_applied_operation_expires_and_is_not_applied_again() {
    let mut world = World::new();
    let op = world.op();
    assert!(world.call(op, Actor::System, rename(PLAIN, "Bob")).0.is_ok());
    world.system(rename(PLAIN, "Eve"));
    world.now = world.now.plus(OUTCOME_KEPT);
    assert_eq!(world.refuses_op(op, Actor::System, rename(PLAIN, "Bob")), CommandError::Expired { op });
    assert_eq!(world.member(PLAIN).unwrap().nick, nick("Eve"));
}

#[test]
fn an_operation_from_the_future_is_refused() {
    let mut world = World::new();
    let edge = world.now.plus(ISSUE_AHEAD_MAX);
    let op = OpId { issued_at: Millis(edge.0 + 1), ..world.op() };
    let refused = world.refuses_op(op, Actor::System, hello());
    assert_eq!(refused, CommandError::IssuedAhead { op, now: world.now });
    let op = OpId { issued_at: edge, ..world.op() };
    assert!(world.call(op, Actor::System, hello()).0.is_ok());
}

#[test]
fn a_clock_that_falls_does_not_bring_back_what_has_expired() {
    let mut world = World::new();
    let op = world.op();
    let start = world.now;
    world.now = world.now.plus(OUTCOME_KEPT);
    world.system(hello());
    world.now = start;
    assert_eq!(world.refuses_op(op, Actor::System, hello()), CommandError::Expired { op });
}

#[test]
fn a_refusal_is_kept_too() {
    let mut world = World::new();
    let op = world.op();
    let unknown = CommandError::UnknownMember { user: user_id(STRANGER) };
    assert_eq!(world.refuses_op(op, Actor::System, rename(STRANGER, "Eve")), unknown);
    world.system(Command::AddMember(new_member(STRANGER, &[])));
    assert_eq!(world.refuses_op(op, Actor::System, rename(STRANGER, "Eve")), unknown);
}

#[test]
fn an_operation_pushed_out_by_1_024_newer_ones_is_expired_not_applied_again() {
    let mut world = World::new();
    let op = world.op();
    assert!(world.call(op, Actor::System, hello()).0.is_ok());
    for _ in 0..1_024 {
        world.system(hello());
    }
    assert_eq!(world.refuses_op(op, Actor::System, hello()), CommandError::Expired { op });
}

#[test]
fn the_4_097th_client_is_refused_until_others_are_forgotten() {
    let mut world = World::new();
    // The one who built the world is the first.
    for client in 2..=4_096 {
        let op = OpId { client: ClientId::new(client).unwrap(), ..world.op() };
        assert!(world.call(op, Actor::System, hello()).0.is_ok());
    }
    let newcomer = |issued_at| OpId { client: ClientId::new(5_000).unwrap(), counter: 1, issued_at };
    let refused = world.refuses_op(newcomer(world.now), Actor::System, hello());
    assert_eq!(refused, CommandError::LimitExceeded { what: Limited::Clients, got: 4_097 });
    assert_eq!(refused.to_string(), "4097 clients of the guild; at most 4096 are allowed");
    world.now = world.now.plus(OUTCOME_KEPT);
    assert!(world.call(newcomer(world.now), Actor::System, hello()).0.is_ok());
}
