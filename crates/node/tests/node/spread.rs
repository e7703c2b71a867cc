//! Changes of the whole guild, spread over the owner's turns.

use std::time::Duration;

use guildhall_node::{Attach, Delivery, SessionStream};
use guildhall_proto::{
    CallError, Command, CommandError, EventKind, MemberEdit, Millis, Outcome, Permissions, PruneBy, Reason, Role,
    RoleId,
};
use guildhall_relay::DetachReason;
use tokio::time::{Instant, sleep};

use crate::store::Mode;
use crate::world::{
    ADA, NOW, World, add_member, attach, attachment, message, name, new_member, number_of, poll_once, settle, soon,
    until, user,
};

fn prune_all() -> Command {
    Command::PruneMembers(PruneBy::Idle { joined_before: Millis(NOW.0 + 1) })
}

fn role_id(number: u64) -> RoleId {
    RoleId::new(number).unwrap()
}

fn create_role(id: RoleId) -> Command {
    let (name, permissions) = (name("role"), Permissions::NONE);
    Command::CreateRole(Role { id, name, position: 1, permissions, hoist: false, mentionable: false })
}

/// All that a session hears until its end.
async fn all(mut session: SessionStream) -> Vec<Delivery> {
    let mut heard = Vec::new();
    while let Some(delivery) = soon(session.next()).await {
        heard.push(delivery);
    }
    heard
}

fn removed(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::MembersPruned { removed, .. } => removed,
        other @ (Outcome::Applied { .. } | Outcome::MembersImported { .. }) => {
            panic!("not a prune's: {other:?}")
        }
    }
}

/// Calls beside an import that takes a fraction of a second: no machine has so many meanwhile.
const HANG: u64 = 1_000_000;

#[tokio::test]
async fn an_idle_owner_carries_a_prune_to_its_end() {
    let world = World::new();
    let guild = world.found(1, 5_000).await;
    let _there = attach(&world.backend(), guild, 1, 7).await;
    assert_eq!(removed(soon(world.ask(guild, prune_all())).await.unwrap()), 4_998);
    let view = world.view(guild).await.unwrap();
    assert_eq!((view.len(), view.online()), (2, 1));
}

#[tokio::test]
async fn other_calls_are_answered_while_an_import_is_under_way() {
    let world = World::new();
    let guild = world.found(1, 2).await;
    let lines = (10..10_010).map(new_member).collect();
    let mut import = Box::pin(world.post(guild, Command::ImportMembers(lines)).unwrap().answer());
    let mut between = 0;
    while poll_once(&mut import).await.is_pending() {
        soon(world.ask(guild, message(between))).await.unwrap();
        between += 1;
        assert!(between < HANG, "the import goes on beside other calls");
    }
    assert!(between > 2, "{between} calls came between");
    assert_eq!(world.view(guild).await.unwrap().len(), 10_002);
}

#[tokio::test(start_paused = true)]
async fn each_batch_is_followed_by_a_millisecond_of_rest_if_somebody_calls_and_only_then() {
    let world = World::new();
    let guild = world.found(1, 2).await;
    let lines = |from: u64| Command::ImportMembers((from..from + 2_880).map(new_member).collect());
    let begin = Instant::now();
    world.ask(guild, lines(10)).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);

    let mut import = Box::pin(world.post(guild, lines(10_000)).unwrap().answer());
    // Handled together with the import, and so no call beside it.
    world.ask(guild, message(0)).await.unwrap();
    let mut calls = 1;
    while poll_once(&mut import).await.is_pending() {
        world.ask(guild, message(calls)).await.unwrap();
        calls += 1;
        sleep(Duration::from_millis(1)).await;
    }
    let took = begin.elapsed();
    assert!((25..=35).contains(&took.as_millis()), "{took:?} for thirty batches, {calls} calls");
}

#[tokio::test]
async fn the_answer_waits_until_the_last_batch_is_stored_and_batches_do_not_crowd_before_the_store() {
    let world = World::new();
    let guild = world.found(1, 2_000).await;
    world.store.set(Mode::HoldAfter);
    let mut prune = Box::pin(world.post(guild, prune_all()).unwrap().answer());
    // Twelve turns with twenty-one batches to do: the rest would have others wait. The turn that installs a fold stores nothing, and may
    // be one of them.
    until(|| world.store.held() >= 11).await;
    settle().await;
    assert!(world.store.held() <= 12, "{} are held", world.store.held());
    assert!(poll_once(&mut prune).await.is_pending());
    assert_eq!(world.view(guild).await.unwrap().len(), 2_000);
    world.store.release();
    assert_eq!(removed(soon(prune).await.unwrap()), 1_999);
    assert_eq!(world.view(guild).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_prune_cut_by_a_failing_store_is_finished_by_the_next_owner() {
    let world = World::new();
    let guild = world.found(1, 2_000).await;
    world.store.set(Mode::HoldBefore);
    let call = world.operation(prune_all());
    let prune = tokio::spawn({
        let prune = world.begin(guild, call.clone()).unwrap();
        prune.answer()
    });
    until(|| world.store.held() >= 3).await;
    world.store.refuse_held();
    world.store.set(Mode::Take);
    // The first answer may come from either owner: a durable call is sent again.
    let first = soon(prune).await.unwrap();
    assert!(matches!(first, Ok(_) | Err(CallError::Unavailable { .. } | CallError::OutcomeUnknown)), "{first:?}");
    assert_eq!(removed(soon(world.call(guild, call)).await.unwrap()), 1_999);
    assert_eq!(world.view(guild).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_stops_though_a_prune_is_under_way() {
    let world = World::new();
    let guild = world.found(1, 5_000).await;
    world.store.set(Mode::HoldBefore);
    let prune = Box::pin(world.post(guild, prune_all()).unwrap().answer());
    until(|| world.store.held() >= 2).await;
    let stop = world.stop();
    world.store.set(Mode::Take);
    world.store.release();
    soon(stop).await;
    assert!(soon(prune).await.is_err());
}

#[tokio::test]
async fn a_pruned_members_sessions_end_and_do_not_hear_of_the_others() {
    let world = World::new();
    let guild = world.found(1, 100).await;
    let backend = world.backend();
    let pruned = attach(&backend, guild, 1, 50).await;
    let curious = Attach { members: true, ..attachment(2, 51) };
    let curious = backend.attach(guild, curious).await.unwrap();
    let mut ada = attach(&backend, guild, 3, ADA).await;
    let absent = (40..60).map(user).collect();
    assert_eq!(removed(world.ask(guild, Command::PruneMembers(PruneBy::Absent(absent))).await.unwrap()), 18);
    let role = role_id(9);
    world.ask(guild, create_role(role)).await.unwrap();
    for number in [50, 51] {
        let edit = MemberEdit { roles: Some(vec![role]), ..MemberEdit::default() };
        world.ask(guild, Command::UpdateMember { user: user(number), edit }).await.unwrap();
    }
    world.ask(guild, Command::PruneMembers(PruneBy::Role(role))).await.unwrap();

    let ends = |delivery: &Delivery| matches!(delivery, Delivery::Detached(DetachReason::MemberLeft));
    let left = |delivery: &Delivery| matches!(delivery, Delivery::Event(event) if matches!(event.kind, EventKind::MembersLeft { .. }));
    let heard = all(pruned).await;
    assert!(heard.last().is_some_and(ends) && !heard.iter().any(left), "{heard:?}");
    let heard = all(curious).await;
    assert!(heard.last().is_some_and(ends) && heard.iter().filter(|delivery| left(delivery)).count() == 2, "{heard:?}");
    world.ask(guild, message(1)).await.unwrap();
    loop {
        let delivery = soon(ada.next()).await.unwrap();
        assert!(!left(&delivery) && !ends(&delivery));
        if matches!(&delivery, Delivery::Event(event) if number_of(event) == Some(1)) {
            break;
        }
    }
}

#[tokio::test]
async fn a_banned_users_sessions_hear_of_a_departure_and_nobody_of_the_ban() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut bob = attach(&backend, guild, 1, 2).await;
    let curious = Attach { members: true, ..attachment(2, ADA) };
    let mut ada = backend.attach(guild, curious).await.unwrap();
    let reason = Some(Reason::parse("spam").unwrap());
    world.ask(guild, Command::Ban { user: user(2), reason }).await.unwrap();
    let refused = world.ask(guild, add_member(2)).await;
    assert_eq!(refused, Err(CallError::Refused(CommandError::UserBanned { user: user(2) })));
    world.ask(guild, message(1)).await.unwrap();

    let heard = [soon(bob.next()).await, soon(bob.next()).await, soon(bob.next()).await];
    assert!(matches!(&heard[0], Some(Delivery::Event(event)) if matches!(event.kind, EventKind::MemberLeft { .. })));
    assert!(matches!(heard[1], Some(Delivery::Detached(DetachReason::MemberLeft))) && heard[2].is_none(), "{heard:?}");
    let heard = [soon(ada.next()).await, soon(ada.next()).await];
    let kinds = heard.map(|delivery| match delivery {
        Some(Delivery::Event(event)) => event.kind.clone(),
        other => panic!("{other:?}"),
    });
    assert!(matches!(kinds[0], EventKind::MemberLeft { .. }) && matches!(kinds[1], EventKind::MessagePublished(_)));
}
