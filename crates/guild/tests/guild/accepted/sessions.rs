//! Sessions, and the presence they make.

use guildhall_guild::{Attached, Effect, Reply, SessionRequest, Tell};
use guildhall_proto::{Actor, Command, Ephemeral, EphemeralKind, Status};

use crate::world::*;

#[test]
fn an_attach_tells_from_where_on_and_who() {
    let mut world = World::new();
    let (at, member) = (world.guild.position(), world.member(MOD).unwrap());
    let request = SessionRequest::Attach { user: member.user, status: Status::Online };
    let (answer, others) = world.session(9, request);
    assert_eq!(answer, Ok(Reply::Attached(Attached { at, member })));
    let presence = EphemeralKind::Presence { user: user_id(MOD), status: Status::Online };
    assert!(matches!(&others[..], [Effect::Tell(Tell::Latest(told))] if *told == Ephemeral { at, kind: presence }));
    assert_eq!(world.guild.position(), at);
}

#[test]
fn of_several_sessions_the_most_present_counts() {
    let mut world = World::new();
    assert_eq!(world.status(PLAIN), Some(Status::Offline));
    world.attach(PLAIN, 1, Status::Idle);
    world.attach(PLAIN, 2, Status::DoNotDisturb);
    world.attach(PLAIN, 3, Status::Offline);
    assert_eq!(world.status(PLAIN), Some(Status::DoNotDisturb));
    world.attach(MOD, 4, Status::Online);
    assert_eq!(world.guild.view().unwrap().online(), 2);

    assert!(world.session(2, SessionRequest::Detach { user: user_id(PLAIN) }).0.is_ok());
    assert_eq!(world.status(PLAIN), Some(Status::Idle));
    assert!(world.session(3, SessionRequest::SetStatus { user: user_id(PLAIN), status: Status::Online }).0.is_ok());
    assert_eq!(world.status(PLAIN), Some(Status::Online));
    for session in [1, 3] {
        assert!(world.session(session, SessionRequest::Detach { user: user_id(PLAIN) }).0.is_ok());
    }
    assert_eq!(world.status(PLAIN), Some(Status::Offline));
    assert_eq!((world.guild.view().unwrap().online(), world.guild.sessions()), (1, 1));
}

#[test]
fn a_session_whose_status_is_offline_does_not_count_as_online() {
    let mut world = World::new();
    world.attach(PLAIN, 1, Status::Offline);
    assert_eq!((world.guild.view().unwrap().online(), world.guild.sessions()), (0, 1));
}

#[test]
fn attaching_again_changes_the_status_and_adds_no_session() {
    let mut world = World::new();
    world.attach(PLAIN, 1, Status::Online);
    world.attach(PLAIN, 1, Status::Idle);
    assert_eq!((world.status(PLAIN), world.guild.sessions()), (Some(Status::Idle), 1));
}

#[test]
fn the_sessions_of_a_removed_member_are_detached() {
    let mut world = World::new();
    world.attach(PLAIN, 1, Status::Online);
    world.attach(PLAIN, 2, Status::Online);
    world.attach(MOD, 3, Status::Online);
    world.applies(Actor::System, Command::RemoveMember { user: user_id(PLAIN) });
    assert_eq!((world.guild.view().unwrap().online(), world.guild.sessions()), (1, 1));
    let refused = world.refuses_session(1, SessionRequest::Detach { user: user_id(PLAIN) });
    assert_eq!(refused, guildhall_proto::CommandError::UnknownSession { session: session_id(1) });

    // Who comes back is offline until a session says otherwise, and the session ids are free.
    world.system(Command::AddMember(new_member(PLAIN, &[])));
    assert_eq!(world.status(PLAIN), Some(Status::Offline));
    world.attach(MOD, 1, Status::Idle);
}

#[test]
fn a_members_change_leaves_its_status() {
    let mut world = World::new();
    world.attach(PLAIN, 1, Status::Idle);
    world.applies(by(PLAIN), rename(PLAIN, "Bob"));
    assert_eq!(world.status(PLAIN), Some(Status::Idle));
}
