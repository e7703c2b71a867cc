//! What is told beside the events: typing, and the presence that a user's sessions make together.

use guildhall_guild::{Call, CallId, Effect, Input, Operation, Reply, SessionRequest, Tell};
use guildhall_proto::{Actor, Command, Ephemeral, EphemeralKind, Generation, PruneBy, Status};

use crate::world::*;

fn tells(effects: Vec<Effect>) -> Vec<Tell> {
    let tell = |effect| if let Effect::Tell(tell) = effect { Some(tell) } else { None };
    effects.into_iter().filter_map(tell).collect()
}

/// What a session's request tells of presence.
fn told(world: &mut World, session: u64, request: SessionRequest) -> Option<Status> {
    let (answer, others) = world.session(session, request);
    assert!(answer.is_ok(), "{answer:?}");
    match tells(others)[..] {
        [] => None,
        [Tell::Latest(Ephemeral { kind: EphemeralKind::Presence { user, status }, at })] => {
            assert_eq!((user, at), (user_id(PLAIN), world.guild.position()));
            Some(status)
        }
        ref other => panic!("one change of presence, not {other:?}"),
    }
}

#[test]
fn typing_is_told_with_its_position_and_time_and_makes_no_event() {
    let mut world = World::new();
    let at = world.guild.position();
    let (answer, others) = world.typing(PLAIN, GENERAL);
    assert_eq!(answer, Ok(Reply::Accepted(at)));
    let kind = EphemeralKind::Typing { channel: channel_id(GENERAL), user: user_id(PLAIN), since: world.now };
    assert!(matches!(&others[..], [Effect::Tell(Tell::Latest(told))] if *told == Ephemeral { at, kind }));
    assert_eq!(world.guild.position(), at);
}

#[test]
fn only_a_change_of_what_all_sessions_say_together_is_told() {
    let mut world = World::new();
    let user = user_id(PLAIN);
    let attach = |status| SessionRequest::Attach { user, status };
    // Not below any that was given out.
    let generation = Generation(u64::MAX);
    let set = |status| SessionRequest::SetStatus { user, status, generation };
    let detach = SessionRequest::Detach { user };
    assert_eq!(told(&mut world, 1, attach(Status::Offline)), None);
    assert_eq!(told(&mut world, 2, attach(Status::Idle)), Some(Status::Idle));
    assert_eq!(told(&mut world, 3, attach(Status::Online)), Some(Status::Online));
    assert_eq!(told(&mut world, 2, set(Status::DoNotDisturb)), None);
    assert_eq!(told(&mut world, 3, attach(Status::Online)), None);
    assert_eq!(told(&mut world, 3, detach), Some(Status::DoNotDisturb));
    assert_eq!(told(&mut world, 1, detach), None);
    assert_eq!(told(&mut world, 2, detach), Some(Status::Offline));
}

#[test]
fn what_was_told_of_a_member_is_forgotten_when_it_leaves() {
    let mut world = World::new();
    world.attach(PLAIN, 1, Status::Online);
    let op = world.op();
    let (_, others) = world.call(op, Actor::System, Command::RemoveMember { user: user_id(PLAIN) });
    assert_eq!(tells(others), [Tell::Forget(user_id(PLAIN))]);
    let command = Command::PruneMembers(PruneBy::Absent(vec![user_id(HELPER)]));
    let operation = Operation::new(world.op(), Actor::System, command).unwrap();
    let call = Call { id: CallId(0), operation };
    let mut others = Vec::new();
    world.guild.handle(world.now, Input::Command(call), &mut others);
    while world.guild.has_work() {
        world.guild.proceed(world.now, &mut others);
    }
    assert_eq!(tells(others), [Tell::Forget(user_id(HELPER))]);
}
