//! Sessions, and the presence they make.

use guildhall_guild::{Attached, Effect, Reply, SessionRequest, Tell};
use guildhall_proto::{
    Actor, Command, CommandError, Ephemeral, EphemeralKind, Generation, Level, Position, Seq, Status,
};

use crate::world::*;

#[test]
fn an_attach_tells_from_where_on_and_who() {
    let mut world = World::new();
    let (at, member) = (world.guild.position(), world.member(MOD).unwrap());
    let request = SessionRequest::Attach { user: member.user, status: Status::Online };
    let (answer, others) = world.session(9, request);
    let Ok(Reply::Attached(attached)) = answer else { panic!("{answer:?}") };
    assert_eq!((attached.at, attached.member, attached.deleted_roles), (at, member, Vec::new()));
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
    let generation = attached(&mut world, PLAIN, 3).generation;
    let show = |status| SessionRequest::SetStatus { user: user_id(PLAIN), status, generation };
    assert!(world.session(3, show(Status::Offline)).0.is_ok());
    assert_eq!(world.status(PLAIN), Some(Status::DoNotDisturb));
    world.attach(MOD, 4, Status::Online);
    assert_eq!(world.guild.view().unwrap().online(), 2);

    assert!(world.session(2, SessionRequest::Detach { user: user_id(PLAIN) }).0.is_ok());
    assert_eq!(world.status(PLAIN), Some(Status::Idle));
    assert!(world.session(3, show(Status::Online)).0.is_ok());
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

#[test]
fn a_session_comes_back_once_as_each_generation() {
    let mut world = World::new();
    let first = attached(&mut world, PLAIN, 1).generation;
    let known = world.guild.position();
    let resume = |generation, status| SessionRequest::Resume { user: user_id(PLAIN), status, generation, known };
    let (answer, _) = world.session(1, resume(first, Status::Idle));
    let Ok(Reply::Attached(again)) = answer else { panic!("{answer:?}") };
    let Attached { at, generation: second, .. } = *again;
    assert!(second > first && at == known);
    assert_eq!((world.status(PLAIN), world.guild.sessions()), (Some(Status::Idle), 1));

    let superseded = CommandError::SessionSuperseded { session: session_id(1) };
    assert_eq!(world.refuses_session(1, resume(first, Status::Online)), superseded);
    let release = |generation| SessionRequest::Release { user: user_id(PLAIN), generation };
    assert_eq!(world.refuses_session(1, release(first)), superseded);
    let late = SessionRequest::Reattach { user: user_id(PLAIN), status: Status::Online, generation: first };
    assert_eq!(world.refuses_session(1, late), superseded);
    let user = user_id(PLAIN);
    let show = |generation| SessionRequest::SetStatus { user, status: Status::Online, generation };
    assert_eq!(world.refuses_session(1, show(first)), superseded);
    let listen = |generation| SessionRequest::SetLevel { user, level: Level::Passive, generation };
    assert_eq!(world.refuses_session(1, listen(first)), superseded);
    assert!(world.session(1, listen(second)).0.is_ok());
    assert_eq!(world.status(PLAIN), Some(Status::Idle));

    // Who attaches it anew holds it from then on.
    let third = attached(&mut world, PLAIN, 1).generation;
    assert!(third > second);
    assert_eq!(world.refuses_session(1, resume(second, Status::Online)), superseded);
    assert!(world.session(1, release(third)).0.is_ok());
    assert_eq!(world.guild.sessions(), 0);
    let over = CommandError::UnknownSession { session: session_id(1) };
    assert_eq!(world.refuses_session(1, resume(third, Status::Online)), over);
}

#[test]
fn a_session_does_not_come_back_from_the_future_or_as_another_users() {
    let mut world = World::new();
    let generation = attached(&mut world, PLAIN, 1).generation;
    let at = world.guild.position();
    let status = Status::Online;
    let ahead = Position { seq: Seq(at.seq.0 + 1), ..at };
    let future = SessionRequest::Resume { user: user_id(PLAIN), status, generation, known: ahead };
    assert_eq!(world.refuses_session(1, future), CommandError::PositionAhead { got: ahead, at });
    let foreign = SessionRequest::Resume { user: user_id(MOD), status, generation, known: at };
    assert_eq!(world.refuses_session(1, foreign), CommandError::ForeignSession { session: session_id(1) });
    let gone = SessionRequest::Resume { user: user_id(STRANGER), status, generation, known: at };
    assert_eq!(world.refuses_session(1, gone), CommandError::UnknownMember { user: user_id(STRANGER) });
    // Nothing of that has used it up.
    let resume = SessionRequest::Resume { user: user_id(PLAIN), status, generation, known: at };
    assert!(world.session(1, resume).0.is_ok());
}

#[test]
fn a_new_owner_is_told_of_a_session_as_it_is_held() {
    let mut world = World::new();
    let reattach = SessionRequest::Reattach { user: user_id(PLAIN), status: Status::Idle, generation: Generation(5) };
    assert_eq!(world.session(1, reattach).0, Ok(Reply::Accepted(world.guild.position())));
    assert_eq!(world.status(PLAIN), Some(Status::Idle));
    assert!(attached(&mut world, PLAIN, 1).generation > Generation(5));
}

#[test]
fn a_generation_that_no_owner_can_have_given_is_refused_and_forgotten() {
    let mut world = World::new();
    let generation = Generation(u64::MAX);
    let reattach = SessionRequest::Reattach { user: user_id(PLAIN), status: Status::Idle, generation };
    assert_eq!(world.refuses_session(1, reattach), CommandError::UnknownSession { session: session_id(1) });
    let first = attached(&mut world, PLAIN, 1).generation;
    assert!(attached(&mut world, PLAIN, 1).generation > first);
}

#[test]
fn a_session_that_an_owner_was_only_told_of_comes_back_once_it_is_attached_anew() {
    let mut world = World::new();
    let (user, known) = (user_id(PLAIN), world.guild.position());
    let resume = |generation| SessionRequest::Resume { user, status: Status::Online, generation, known };
    let reattach = |generation, status| SessionRequest::Reattach { user, status, generation };
    let unknown = CommandError::UnknownSession { session: session_id(1) };
    // Told twice, and of a later holder: it may still have come back before, and gone.
    for (generation, status) in [(5, Status::Idle), (5, Status::Online), (6, Status::Online)] {
        assert!(world.session(1, reattach(Generation(generation), status)).0.is_ok());
        assert_eq!(world.refuses_session(1, resume(Generation(generation))), unknown);
    }
    // What the owner has given out itself it is told again in vain.
    let own = attached(&mut world, PLAIN, 1).generation;
    assert!(world.session(1, reattach(own, Status::Idle)).0.is_ok());
    assert!(world.session(1, resume(own)).0.is_ok());
}

#[test]
fn an_attach_tells_which_deleted_roles_are_still_in_the_record() {
    let mut world = World::new();
    world.system(Command::DeleteRole { role: role_id(HELPERS) });
    let deleted_at = world.guild.position().seq;
    let told = attached(&mut world, HELPER, 1);
    assert_eq!((told.member.roles, told.deleted_roles), (vec![], vec![role_id(HELPERS)]));
    assert!(told.deletions_unknown_to < deleted_at);
    // Enough changes for a fold, which cleans it out.
    for user in 1_000..1_100 {
        world.system(Command::AddMember(new_member(user, &[])));
    }
    let told = attached(&mut world, HELPER, 1);
    assert_eq!(told.deleted_roles, []);
    assert!(told.deletions_unknown_to >= deleted_at);
}

fn attached(world: &mut World, user: u64, session: u64) -> Attached {
    let request = SessionRequest::Attach { user: user_id(user), status: Status::Online };
    match world.session(session, request).0 {
        Ok(Reply::Attached(attached)) => *attached,
        other => panic!("{other:?}"),
    }
}
