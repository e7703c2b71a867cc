//! Members of elsewhere added, over turns.

use guildhall_proto::call::EncodedEvent;
use guildhall_proto::limits::{LONG_OPERATIONS_BYTES_MAX, MEMBER_ROLES_MAX, NICK_CHARS_MAX};
use guildhall_proto::{
    Actor, ClientId, Command, CommandError, EventKind, Limited, LineFault, MemberFlags, Name, NewMember, Nick, OpId,
    Outcome, Permissions, Role, Stage, codec,
};

use crate::world::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    lines: u32,
    added: u32,
    existing: u32,
    banned: u32,
    stopped: Option<LineFault>,
}

fn taken(outcome: Outcome) -> Taken {
    match outcome {
        Outcome::MembersImported { at: _, lines, added, existing, banned, stopped } => {
            Taken { lines, added, existing, banned, stopped }
        }
        other @ (Outcome::Applied { .. } | Outcome::MembersPruned { .. }) => {
            panic!("an import counts its lines, and does not come to {other:?}")
        }
    }
}

fn all(added: u32, existing: u32) -> Taken {
    Taken { lines: added + existing, added, existing, banned: 0, stopped: None }
}

/// Lines in an order that is not that of their users.
fn lines(users: std::ops::Range<u64>) -> Vec<NewMember> {
    users.rev().map(|user| new_member(user, &[GUESTS])).collect()
}

fn import(lines: Vec<NewMember>) -> Command {
    Command::ImportMembers(lines)
}

#[test]
fn an_import_adds_a_batch_a_turn_and_answers_with_the_last() {
    let mut world = World::new();
    world.add(1_000..1_001, &[]);
    let op = world.op();
    let call = world.send(op, Actor::System, import(lines(1_000..1_600)));
    let mut batches = in_batches(600);
    // Who is there already has the last line.
    *batches.last_mut().unwrap() -= 1;
    for batch in batches {
        assert!(world.answers.is_empty());
        world.turn();
        let Some(EventKind::MembersJoined { members }) = world.kinds().pop() else { panic!("{:?}", world.kinds()) };
        assert_eq!(members.len(), batch);
        assert!(members.is_sorted_by_key(|member| member.user));
    }
    let outcome = outcome(world.answer(call).unwrap());
    assert_eq!((taken(outcome), outcome.at()), (all(599, 1), world.guild.position()));
    assert_eq!(world.guild.view().unwrap().member(user_id(1_000)).unwrap().roles, [], "who was there stays as is");
    assert_eq!(taken(world.system(import(vec![]))), all(0, 0));
}

#[test]
fn an_import_is_the_systems_and_bounded() {
    let mut world = World::new();
    assert_eq!(world.refuses(by(OWNER), import(lines(1..2))), CommandError::SystemOnly);
    let over = CommandError::LimitExceeded { what: Limited::BulkMembers, got: 10_001 };
    assert_eq!(world.refuses(Actor::System, import(lines(1_000..11_001))), over);
}

#[test]
fn imports_under_way_are_bounded_in_bytes() {
    let mut world = World::new();
    let roles: Vec<u64> = (1_000..1_000 + MEMBER_ROLES_MAX as u64).collect();
    let lines: Vec<NewMember> = (1..10_001).map(|user| new_member(user, &roles)).collect();
    let bytes = import(lines.clone()).weight_bytes();
    let fit = LONG_OPERATIONS_BYTES_MAX / bytes;
    assert!((2..4).contains(&fit), "{bytes} bytes each");
    for _ in 0..fit {
        let op = world.op();
        world.send(op, Actor::System, import(lines.clone()));
    }
    let op = world.op();
    let over = world.send(op, Actor::System, import(lines.clone()));
    let got = u32::try_from(bytes * (fit + 1)).unwrap();
    assert_eq!(world.answer(over), Err(CommandError::LimitExceeded { what: Limited::LongOperationsBytes, got }));
    world.settle();
    let call = world.send(op, Actor::System, import(lines));
    world.settle();
    assert!(taken(outcome(world.answer(call).unwrap())).stopped.is_some(), "it had room, and none of these roles");
}

#[test]
fn an_import_stops_before_a_bad_line_and_goes_on_when_that_is_mended() {
    let too_many: Vec<u64> = (1_000..=1_000 + MEMBER_ROLES_MAX as u64).collect();
    let faults = [
        (new_member(STRANGER, &[59]), LineFault::UnknownRole { role: role_id(59) }),
        (new_member(STRANGER, &[1]), LineFault::EveryoneRole),
        (new_member(STRANGER, &[MODS, GUESTS, MODS]), LineFault::RoleTwice { role: role_id(MODS) }),
        (new_member(STRANGER, &too_many), LineFault::TooManyRoles { got: 251 }),
        (new_member(1_000, &[]), LineFault::UserTwice),
    ];
    for (bad, fault) in faults {
        for at in [0, BATCH - 1, BATCH, 300, 599] {
            // The user that stands twice does so before the bad line, whatever that is.
            let mut all_lines: Vec<NewMember> = (1_000..1_600).map(|user| new_member(user, &[])).collect();
            if fault == LineFault::UserTwice && at == 0 {
                continue;
            }
            all_lines.insert(at, bad.clone());
            let mut world = World::new();
            let stopped = taken(world.system(import(all_lines.clone())));
            let lines = u32::try_from(at).unwrap();
            assert_eq!(stopped, Taken { stopped: Some(fault), ..all(lines, 0) });
            assert_eq!(world.members().len(), 4 + at, "what stands before line {at} stays, what is behind it waits");

            all_lines.remove(at);
            assert_eq!(taken(world.system(import(all_lines))), all(600 - lines, lines));
        }
    }
}

#[test]
fn a_user_who_stands_in_two_calls_is_counted_as_existing_and_a_banned_one_is_left_out() {
    let mut world = World::new();
    world.system(Command::Ban { user: user_id(1_005), reason: None });
    let first = taken(world.system(import(lines(1_000..1_010))));
    assert_eq!(first, Taken { lines: 10, banned: 1, ..all(9, 0) });
    assert_eq!(taken(world.system(import(lines(1_009..1_020)))), all(10, 1));
    assert!(!world.is_member(1_005));
}

#[test]
fn a_crash_at_any_batch_is_made_good_by_the_retry() {
    for turns in 0..=1_000_usize.div_ceil(BATCH) {
        let mut world = World::new();
        world.add(1_100..1_200, &[]);
        let op = world.op();
        world.send(op, Actor::System, import(lines(1_000..2_000)));
        world.turns(turns);
        let before = world.members().len();
        world.crash();
        assert_eq!(world.members().len(), before, "after {turns} batches");

        let call = world.send(op, Actor::System, import(lines(1_000..2_000)));
        world.settle();
        assert_eq!(taken(outcome(world.answer(call).unwrap())), all(900, 100), "cut after {turns} batches");
        assert_eq!(world.members().len(), 1_004);
        assert_eq!(world.records.last().unwrap().op.stage, Stage::Finished);
    }
}

#[test]
fn an_import_that_stops_in_the_middle_is_taken_up_by_another_client() {
    let mut world = World::new();
    assert_eq!(taken(world.system(import(lines(1_000..1_600)))), all(600, 0));
    let op = world.op();
    world.send(op, Actor::System, import(lines(1_600..2_600)));
    world.turn();
    world.turn();
    world.crash();
    // Who goes on knows neither the operations of before nor how far they came.
    let other = OpId { client: ClientId::new(2).unwrap(), counter: 1, issued_at: world.now };
    let call = world.send(other, Actor::System, import(lines(1_000..2_600)));
    world.settle();
    assert_eq!(taken(outcome(world.answer(call).unwrap())), all(1_000 - 2 * BATCH as u32, 600 + 2 * BATCH as u32));
    assert_eq!(world.members().len(), 1_604);
}

#[test]
fn members_of_many_roles_come_in_smaller_batches() {
    let mut world = World::new();
    let roles: Vec<u64> = (1_000..1_200).collect();
    for role in &roles {
        let (name, permissions) = (Name::parse("role").unwrap(), Permissions::NONE);
        let (id, position) = (role_id(*role), 1);
        world.system(Command::CreateRole(Role { id, name, position, permissions, hoist: false, mentionable: false }));
    }
    let op = world.op();
    let lines = (2_000..2_030).map(|user| new_member(user, &roles)).collect();
    world.send(op, Actor::System, import(lines));
    for batch in [4, 4, 4, 4, 4, 4, 4, 2] {
        world.turn();
        let Some(EventKind::MembersJoined { members }) = world.kinds().pop() else { panic!("{:?}", world.kinds()) };
        assert_eq!(members.len(), batch, "a batch ends with the member whose roles pass 768");
    }
}

#[test]
fn a_batch_of_the_greatest_members_fits_into_a_frame_of_a_feed() {
    let mut world = World::new();
    let greatest = |nth: u64| u64::MAX - 1 - nth;
    let roles: Vec<u64> = (0..250).map(greatest).collect();
    for role in &roles {
        let (name, permissions) = (Name::parse("role").unwrap(), Permissions::NONE);
        let (id, position) = (role_id(*role), 1);
        world.system(Command::CreateRole(Role { id, name, position, permissions, hoist: false, mentionable: false }));
    }
    // As many roles as let the batch go on to its last member, which has as many as one may have.
    let last = BATCH as u64 - 1;
    let held = |nth: u64| if nth < last { &roles[..8] } else { &roles[..] };
    let line = |nth| NewMember {
        nick: Nick::parse(&"\u{1f3db}".repeat(NICK_CHARS_MAX)).unwrap(),
        flags: MemberFlags(u16::MAX),
        ..new_member(greatest(nth), held(nth))
    };
    let op = world.op();
    world.send(op, Actor::System, import((0..=last).map(line).collect()));
    world.turn();
    let Some(EventKind::MembersJoined { members }) = world.kinds().pop() else { panic!("{:?}", world.kinds()) };
    let roles: usize = members.iter().map(|member| member.roles.len()).sum();
    assert_eq!((members.len(), roles), (BATCH, (BATCH - 1) * 8 + 250), "all of them came in one batch");
    let event = codec::encode(&**world.events.last().unwrap()).unwrap();
    assert!(event.len() <= EncodedEvent::BYTES_MAX, "{} bytes", event.len());
}

#[test]
fn a_role_that_is_deleted_on_the_way_stops_the_import_where_it_is() {
    let mut world = World::new();
    let op = world.op();
    let call = world.send(op, Actor::System, import(lines(1_000..1_600)));
    world.turn();
    world.system(Command::DeleteRole { role: role_id(GUESTS) });
    world.settle();
    let fault = LineFault::UnknownRole { role: role_id(GUESTS) };
    assert_eq!(taken(outcome(world.answer(call).unwrap())), Taken { stopped: Some(fault), ..all(BATCH as u32, 0) });
}

#[test]
fn an_import_pauses_while_the_store_has_no_room_and_then_goes_on() {
    let mut world = World::new();
    let op = world.op();
    let call = world.send(op, Actor::System, import(lines(1_000..1_600)));
    world.turn();
    assert!(!world.guild.waits_for_room());
    world.guild.set_room(false);
    assert!(!world.turn() && world.guild.waits_for_room());
    // A shell that lets it proceed all the same gets nothing out of it.
    let mut effects = Vec::new();
    world.guild.proceed(world.now, &mut effects);
    assert!(effects.is_empty());
    world.guild.set_room(true);
    world.settle();
    let outcome = outcome(world.answer(call).unwrap());
    assert_eq!(taken(outcome), all(600, 0));
}
