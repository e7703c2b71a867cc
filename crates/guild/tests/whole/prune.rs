//! Many members removed, over turns.

use std::time::Duration;

use guildhall_proto::limits::{BULK_MEMBERS_MAX, LONG_OPERATIONS_MAX, OPERATION_CALLS_MAX};
use guildhall_proto::{
    Actor, Command, CommandError, EventKind, Limited, ListedThing, MemberEdit, Outcome, Permissions, PruneBy, Status,
};

use crate::world::*;

fn holders(role: u64) -> Command {
    Command::PruneMembers(PruneBy::Role(role_id(role)))
}

fn absent(users: impl IntoIterator<Item = u64>) -> Command {
    Command::PruneMembers(PruneBy::Absent(users.into_iter().map(user_id).collect()))
}

fn removed(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::MembersPruned { removed, .. } => removed,
        other @ (Outcome::Applied { .. } | Outcome::MembersImported { .. }) => {
            panic!("a prune comes to a number of removed members, not to {other:?}")
        }
    }
}

/// Members of each event, in order; every event is a batch of a prune.
fn batches(world: &World) -> Vec<usize> {
    let left = |kind: EventKind| {
        let EventKind::MembersLeft { users } = kind else { panic!("{kind:?} is no batch of a prune") };
        users.len()
    };
    world.kinds().into_iter().map(left).collect()
}

fn grant(user: u64, roles: &[u64]) -> Command {
    let roles = Some(roles.iter().copied().map(role_id).collect());
    Command::UpdateMember { user: user_id(user), edit: MemberEdit { roles, ..MemberEdit::default() } }
}

#[test]
fn a_prune_by_role_takes_a_batch_a_turn_and_answers_with_the_last() {
    let mut world = World::new();
    world.add(1_000..1_700, &[GUESTS]);
    world.add(2_000..2_010, &[]);
    world.attach(1_000, 1, Status::Online).unwrap();
    let op = world.op();
    let call = world.send(op, by(MOD), holders(GUESTS));
    assert!(!world.guild.has_work(), "the candidates are not known yet");
    world.work();
    for batch in in_batches(700) {
        assert!(world.answers.is_empty());
        world.turn();
        assert_eq!(batches(&world).pop(), Some(batch));
    }
    let outcome = outcome(world.answer(call).unwrap());
    assert_eq!((removed(outcome), outcome.at()), (700, world.guild.position()));
    assert_eq!((world.members().len(), world.guild.sessions()), (14, 0));
    assert!(!world.guild.has_work());
}

#[test]
fn the_idle_are_those_without_role_or_session_who_joined_before() {
    let mut world = World::new();
    let joined_before = world.now.plus(Duration::from_secs(10));
    world.add(1_000..1_010, &[]);
    world.add(1_010..1_020, &[GUESTS]);
    world.now = joined_before;
    world.add(1_020..1_030, &[]);
    world.attach(1_000, 1, Status::Online).unwrap();
    world.attach(1_001, 2, Status::Offline).unwrap();

    let outcome = world.by(by(MOD), Command::PruneMembers(PruneBy::Idle { joined_before })).unwrap();
    assert_eq!(removed(outcome), 8);
    let left: Vec<u64> = (1_002..1_010).collect();
    assert_eq!(world.kinds(), [EventKind::MembersLeft { users: left.into_iter().map(user_id).collect() }]);
    assert!(world.is_member(OWNER), "the owner has no role either, and stays");
}

#[test]
fn of_the_absent_those_who_are_there_stay_and_strangers_are_passed_over() {
    let mut world = World::new();
    world.add(1_000..1_003, &[GUESTS]);
    world.attach(1_001, 1, Status::Offline).unwrap();
    let outcome = world.by(by(MOD), absent([1_002, 1_001, STRANGER, OWNER, 1_000])).unwrap();
    assert_eq!(removed(outcome), 2);
    assert_eq!(world.kinds(), [EventKind::MembersLeft { users: vec![user_id(1_000), user_id(1_002)] }]);
    assert_eq!(removed(world.by(by(MOD), absent([])).unwrap()), 0);
}

#[test]
fn nobody_is_pruned_who_does_not_rank_below_the_actor() {
    let mut world = World::new();
    assert_eq!(removed(world.by(by(MOD), absent([MOD, PEER, CHIEF, OWNER])).unwrap()), 0);
    assert_eq!(removed(world.by(by(MOD), holders(MODS)).unwrap()), 0);
    assert_eq!(world.kinds(), []);
    assert_eq!(removed(world.by(by(CHIEF), holders(MODS)).unwrap()), 2);
    assert_eq!(removed(world.system(holders(CHIEFS))), 1);
    assert_eq!(world.members(), [OWNER]);
}

#[test]
fn a_prune_is_refused_without_permissions_or_a_role_that_can_be_held() {
    let mut world = World::new();
    world.add(100..101, &[]);
    let missing = Permissions::KICK_MEMBERS | Permissions::MANAGE_GUILD;
    assert_eq!(world.refuses(by(100), holders(GUESTS)), CommandError::MissingPermissions { missing });
    assert_eq!(world.refuses(by(MOD), holders(59)), CommandError::UnknownRole { role: role_id(59) });
    assert_eq!(world.refuses(by(MOD), holders(1)), CommandError::EveryoneRole);
    let got = BULK_MEMBERS_MAX as u64 + 1;
    let over = CommandError::LimitExceeded { what: Limited::BulkMembers, got: 10_001 };
    assert_eq!(world.refuses(by(MOD), absent(1..=got)), over);
    let twice = CommandError::Duplicate { what: ListedThing::User, id: 7 };
    assert_eq!(world.refuses(by(MOD), absent([7, 8, 7])), twice);
}

#[test]
fn who_changes_while_the_prune_is_under_way_is_judged_as_he_then_is() {
    let mut world = World::new();
    world.add(1_000..1_600, &[GUESTS]);
    let op = world.op();
    let call = world.send(op, by(MOD), holders(GUESTS));
    world.work();
    world.turn();
    // The last candidates: one gives the role back, one rises above the actor, one leaves, one becomes the owner.
    world.system(grant(1_599, &[]));
    world.system(grant(1_598, &[CHIEFS, GUESTS]));
    world.system(Command::RemoveMember { user: user_id(1_597) });
    world.system(Command::TransferOwnership { to: user_id(1_596) });
    world.settle();
    assert_eq!(removed(outcome(world.answer(call).unwrap())), 596);
    assert_eq!(world.members(), [OWNER, CHIEF, MOD, PEER, 1_596, 1_598, 1_599]);
}

#[test]
fn the_rest_stays_when_the_actor_loses_what_it_needs() {
    for loss in [grant(MOD, &[]), Command::RemoveMember { user: user_id(MOD) }] {
        let mut world = World::new();
        world.add(1_000..1_600, &[GUESTS]);
        let op = world.op();
        let call = world.send(op, by(MOD), holders(GUESTS));
        world.work();
        world.turn();
        world.system(loss);
        world.settle();
        assert_eq!(removed(outcome(world.answer(call).unwrap())), BATCH as u32);
    }
}

#[test]
fn a_crash_at_any_batch_is_made_good_by_the_retry() {
    for turns in 0..=1_000_usize.div_ceil(BATCH) {
        let mut world = World::new();
        world.add(1_000..2_000, &[GUESTS]);
        let op = world.op();
        world.send(op, by(MOD), holders(GUESTS));
        world.work();
        world.turns(turns);
        let before = world.members().len();
        world.crash();
        assert_eq!(world.members().len(), before, "after {turns} batches");
        assert!(!world.guild.has_work(), "nobody asks for it any more");

        let call = world.send(op, by(MOD), holders(GUESTS));
        world.settle();
        assert_eq!(removed(outcome(world.answer(call).unwrap())), 1_000, "cut after {turns} batches");
        assert_eq!(world.members(), [OWNER, CHIEF, MOD, PEER]);
        world.crash();
        let again = world.send(op, by(MOD), holders(GUESTS));
        assert_eq!(removed(outcome(world.answer(again).unwrap())), 1_000, "told again, not done again");
    }
}

#[test]
fn a_retry_that_is_refused_takes_nothing_back_and_may_come_again() {
    let mut world = World::new();
    world.add(1_000..1_600, &[GUESTS]);
    let op = world.op();
    world.send(op, by(MOD), holders(GUESTS));
    world.work();
    world.turn();
    world.system(grant(MOD, &[]));
    world.crash();
    let call = world.send(op, by(MOD), holders(GUESTS));
    assert!(matches!(world.answer(call), Err(CommandError::MissingPermissions { .. })));
    world.system(grant(MOD, &[MODS]));
    let call = world.send(op, by(MOD), holders(GUESTS));
    world.settle();
    assert_eq!(removed(outcome(world.answer(call).unwrap())), 600);
}

#[test]
fn a_retry_while_it_is_under_way_waits_for_the_same_end() {
    let mut world = World::new();
    world.add(1_000..1_600, &[GUESTS]);
    let op = world.op();
    let mut calls = vec![world.send(op, by(MOD), holders(GUESTS))];
    world.work();
    world.turn();
    calls.extend((1..OPERATION_CALLS_MAX).map(|_| world.send(op, by(MOD), holders(GUESTS))));
    let over = world.send(op, by(MOD), holders(GUESTS));
    let refusal = CommandError::LimitExceeded { what: Limited::OperationCalls, got: 65 };
    assert_eq!(world.answer(over), Err(refusal));
    let other = world.send(op, by(MOD), holders(MODS));
    assert_eq!(world.answer(other), Err(CommandError::OpReused { op }));
    world.settle();
    for call in calls {
        assert_eq!(removed(outcome(world.answer(call).unwrap())), 600);
    }
    assert_eq!(batches(&world), in_batches(600));
}

#[test]
fn the_17th_operation_under_way_is_refused_and_may_come_again() {
    let mut world = World::new();
    let calls: Vec<_> = (0..LONG_OPERATIONS_MAX)
        .map(|_| {
            let op = world.op();
            world.send(op, by(MOD), holders(GUESTS))
        })
        .collect();
    let op = world.op();
    let over = world.send(op, by(MOD), holders(GUESTS));
    assert_eq!(world.answer(over), Err(CommandError::LimitExceeded { what: Limited::LongOperations, got: 17 }));
    world.settle();
    assert!(calls.into_iter().all(|call| world.answer(call).is_ok()));
    let call = world.send(op, by(MOD), holders(GUESTS));
    world.settle();
    assert_eq!(removed(outcome(world.answer(call).unwrap())), 0);
}

#[test]
fn the_end_of_the_guild_ends_what_is_under_way() {
    let mut world = World::new();
    world.add(1_000..1_600, &[GUESTS]);
    let (op, other) = (world.op(), world.op());
    let call = world.send(op, by(MOD), holders(GUESTS));
    let seeking = world.send(other, by(MOD), holders(MODS));
    let late = world.scans.pop().unwrap();
    world.work();
    world.turn();
    world.system(Command::DeleteGuild);
    for call in [call, seeking] {
        assert_eq!(world.answer(call), Err(CommandError::UnknownGuild));
    }
    assert!(!world.guild.has_work());
    world.scans.push(late);
    world.settle();
    let again = world.send(op, by(MOD), holders(GUESTS));
    assert_eq!(world.answer(again), Err(CommandError::UnknownGuild));
}

/// Work is counted, not time: so many candidates of a batch, and each looked at once.
#[test]
fn a_hundred_thousand_of_a_million_are_pruned_in_bounded_turns_between_other_commands() {
    let mut world = World::new();
    world.add(1_000_000..1_900_000, &[]);
    world.add(1_900_000..2_000_000, &[GUESTS]);
    let op = world.op();
    let call = world.send(op, by(MOD), holders(GUESTS));
    let (mut turns, mut commands, before) = (0, 0, world.events.len());
    loop {
        turns += u32::from(world.turn());
        if !world.guild.has_work() && !world.work() {
            break;
        }
        if turns % 16 == 0 {
            // Answered at once, whatever is under way.
            world.now.0 += 1;
            let user = 1_000_000 + u64::from(turns) * 100;
            let other = world.op();
            let call = world.send(other, Actor::System, Command::RemoveMember { user: user_id(user) });
            commands += u32::from(world.answer(call).is_ok());
        }
    }
    assert_eq!(removed(outcome(world.answer(call).unwrap())), 100_000);
    assert!(commands > 10, "{commands} commands came between");
    let (batches, others): (Vec<_>, Vec<_>) =
        world.kinds().into_iter().partition(|kind| matches!(kind, EventKind::MembersLeft { .. }));
    assert_eq!(others.len(), commands as usize);
    assert!(batches.iter().all(|kind| matches!(kind, EventKind::MembersLeft { users } if users.len() <= BATCH)));
    // They push no reader out of a ring of the usual size.
    let bytes: usize = world.events[before..].iter().map(|event| event.weight_bytes()).sum();
    assert!(bytes <= 1024 * 1024, "{bytes} bytes");
    // Two searches, each of which may leave its last batch short.
    assert_eq!(batches.len(), (64 * 1024_usize).div_ceil(BATCH) + (100_000 - 64 * 1024_usize).div_ceil(BATCH));
    assert_eq!(world.guild.view().unwrap().len(), 900_004 - commands as usize);
}
