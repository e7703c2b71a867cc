//! Guilds that fall asleep and wake: nothing is lost, nobody notices, and both happen at a pace.

use std::sync::Arc;
use std::time::Duration;

use guildhall_node::{Counter, Delivery, NodeConfig, SleepError};
use guildhall_proto::{CallError, Command, CommandError, Epoch, GuildId, Outcome, PruneBy};

use crate::store::Mode;
use crate::world::{
    ADA, World, add_member, attach, attachment, message, new_member, number_in, poll_once, settle, soon, until, user,
};

async fn epoch(world: &World, guild: GuildId) -> Epoch {
    world.view(guild).await.unwrap().position().epoch
}

fn is_overloaded(error: &CallError) -> bool {
    matches!(error, CallError::Overloaded { retry_after } if !retry_after.is_zero())
}

/// A node whose guilds sleep after eight rounds without use.
fn drowsy(change: impl FnOnce(&mut NodeConfig)) -> World {
    World::with(|config| {
        config.sleep_after = 8 * ROUND;
        change(config);
    })
}

/// Lets rounds pass in which `use_it` is all that happens. Only then does time stand still between two of them: it would run on
/// while a worker works.
async fn pass_rounds(rounds: usize, use_it: impl AsyncFn()) {
    tokio::time::pause();
    for _ in 0..rounds {
        use_it().await;
        // A timer may be a moment late.
        tokio::time::advance(ROUND + Duration::from_millis(10)).await;
        settle().await;
    }
    tokio::time::resume();
}

/// Longer than any test.
const ROUND: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_guild_that_slept_is_as_it_was_under_the_next_epoch() {
    let world = World::new();
    let guild = world.found(1, 2_000).await;
    for number in 0..5 {
        soon(world.ask(guild, message(number))).await.unwrap();
    }
    let before = world.view(guild).await.unwrap();
    soon(world.sleep(guild)).await.unwrap();
    assert_eq!((world.awake(), world.count(Counter::GuildsAsleep), world.store.records(guild)), (0, 1, 0));
    // Nothing is asked of the store for it again.
    soon(world.sleep(guild)).await.unwrap();

    let claims = world.store.claims();
    let after = soon(world.view(guild)).await.unwrap();
    assert_eq!((world.awake(), world.count(Counter::GuildsWoken), world.store.claims()), (1, 1, claims + 1));
    assert_eq!(after.position().epoch, Epoch(2));
    assert_eq!(after.position().seq, before.position().seq, "messages are counted on, though no record holds them");
    assert_eq!(after.range(None, usize::MAX), before.range(None, usize::MAX));
}

#[tokio::test]
async fn each_way_to_ask_wakes_a_guild() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut epochs = Vec::new();
    for way in 0..7 {
        soon(world.sleep(guild)).await.unwrap();
        match way {
            0 => drop(soon(world.ask(guild, add_member(10))).await.unwrap()),
            1 => drop(soon(world.ask(guild, message(1))).await.unwrap()),
            2 => drop(soon(world.view(guild)).await.unwrap()),
            3 => assert_eq!(soon(world.everybody(guild)).await.unwrap().len(), 4),
            4 => drop(soon(world.member(guild, user(2))).await.unwrap()),
            5 => assert_eq!(soon(world.members_by_prefix(guild, "user", 9)).await.unwrap().1.len(), 4),
            _ => drop(soon(backend.attach(guild, attachment(1, ADA))).await.unwrap()),
        }
        epochs.push(epoch(&world, guild).await.0);
    }
    assert_eq!(epochs, [2, 3, 4, 5, 6, 7, 8]);
    // A command that is not waited for is not worth a load: nothing has happened.
    world.until_online(guild, 0).await;
    until(|| backend.relays() == 0).await;
    settle().await;
    soon(world.sleep(guild)).await.unwrap();
    assert!(matches!(world.post(guild, message(1)), Err(CallError::Unavailable { .. })));
}

#[tokio::test]
async fn a_retry_after_sleep_is_answered_as_before() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let calls = [add_member(50), message(1), Command::ImportMembers(vec![new_member(60), new_member(2)])]
        .map(|command| world.operation(command));
    let mut outcomes = Vec::new();
    for call in &calls {
        outcomes.push(soon(world.call(guild, call.clone())).await.unwrap());
    }
    assert!(matches!(outcomes[2], Outcome::MembersImported { added: 1, existing: 1, .. }), "{outcomes:?}");
    for _ in 0..2 {
        soon(world.sleep(guild)).await.unwrap();
        for (call, outcome) in calls.iter().zip(&outcomes) {
            assert_eq!(soon(world.call(guild, call.clone())).await.unwrap(), *outcome);
        }
    }
    let mut other = calls[0].clone();
    other.command = add_member(51);
    let refused = soon(world.call(guild, other)).await;
    assert!(matches!(refused, Err(CallError::Refused(CommandError::OpReused { .. }))), "{refused:?}");
}

#[tokio::test]
async fn what_only_a_floor_remembers_is_expired_after_sleep_too() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let mut first = world.operation(message(0));
    first.op.client = guildhall_proto::ClientId::new(1 << 40).unwrap();
    first.op.counter = 1;
    for counter in 1..=guildhall_proto::limits::CLIENT_OUTCOMES_MAX as u64 + 1 {
        let mut call = first.clone();
        call.op.counter = counter;
        soon(world.call(guild, call)).await.unwrap();
    }
    soon(world.sleep(guild)).await.unwrap();
    let refused = soon(world.call(guild, first)).await;
    assert!(matches!(refused, Err(CallError::Refused(CommandError::Expired { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_guild_with_sessions_or_a_relay_or_work_stays_awake() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut session = attach(&backend, guild, 1, ADA).await;
    assert_eq!(soon(world.sleep(guild)).await, Err(SleepError::Heard { sessions: 1 }));
    soon(world.ask(guild, message(1))).await.unwrap();
    assert_eq!(number_in(soon(session.next()).await), 1);
    drop(session);
    world.until_online(guild, 0).await;
    until(|| backend.relays() == 0).await;

    let batches = soon(backend.batches(guild)).await.unwrap().unwrap();
    settle().await;
    assert_eq!(soon(world.sleep(guild)).await, Err(SleepError::Heard { sessions: 0 }));
    drop(batches);
    until(|| backend.relays() == 0).await;
    settle().await;

    // A prune whose first batch waits for the store.
    world.store.set(Mode::HoldBefore);
    let prune = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.ask(guild, Command::PruneMembers(PruneBy::Absent(vec![user(2), user(3)]))).await }
    });
    until(|| world.store.held() == 1).await;
    let mut sleep = Box::pin(world.sleep(guild));
    assert!(poll_once(&mut sleep).await.is_pending());
    settle().await;
    assert!(poll_once(&mut sleep).await.is_pending(), "its records are not stored yet");
    world.store.release();
    soon(prune).await.unwrap().unwrap();
    soon(sleep).await.unwrap();
    assert_eq!(soon(world.view(guild)).await.unwrap().len(), 1);
    assert_eq!(world.count(Counter::GuildsAsleep), 1);
}

#[tokio::test]
async fn a_call_that_comes_while_a_guild_falls_asleep_is_served_and_keeps_it_awake() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    world.store.set(Mode::HoldBefore);
    let first = world.post(guild, add_member(50)).unwrap();
    until(|| world.store.held() == 1).await;
    let mut sleep = Box::pin(world.sleep(guild));
    assert!(poll_once(&mut sleep).await.is_pending());
    settle().await;
    let second = world.post(guild, message(1)).unwrap();
    assert_eq!(soon(sleep).await, Err(SleepError::InUse));
    world.store.release();
    soon(first.answer()).await.unwrap();
    soon(second.answer()).await.unwrap();
    assert_eq!((epoch(&world, guild).await, world.count(Counter::GuildsAsleep)), (Epoch(1), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_ever_notices_that_a_guild_falls_asleep_under_it() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    let callers: Vec<_> = (0..4_u64)
        .map(|caller| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let backend = world.backend();
                for number in 0..24 {
                    let slept = world.count(Counter::GuildsAsleep);
                    match number % 4 {
                        0 => drop(world.ask(guild, add_member(1_000 + caller * 1_000 + number)).await.unwrap()),
                        1 => drop(world.ask(guild, message(number)).await.unwrap()),
                        2 => drop(world.view(guild).await.unwrap()),
                        _ => {
                            let mut session = attach(&backend, guild, 1 + caller, ADA).await;
                            session.detach().await.unwrap();
                        }
                    }
                    // All come back at once, in whatever moment of its falling asleep or waking.
                    while world.count(Counter::GuildsAsleep) == slept {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    while !callers.iter().all(tokio::task::JoinHandle::is_finished) {
        match world.sleep(guild).await {
            Ok(()) | Err(SleepError::InUse | SleepError::Heard { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    for caller in callers {
        soon(caller).await.unwrap();
    }
    assert_eq!(world.view(guild).await.unwrap().len(), 3 + 4 * 6);
}

#[tokio::test]
async fn a_guild_that_nobody_asks_for_falls_asleep_and_one_that_is_read_or_heard_does_not() {
    let world = drowsy(|_| {});
    let (idle, read, heard) = (world.found(1, 3).await, world.found(2, 3).await, world.found(3, 3).await);
    let backend = world.backend();
    let mut session = attach(&backend, heard, 1, ADA).await;
    pass_rounds(7, async || assert_eq!(epoch(&world, read).await, Epoch(1))).await;
    assert_eq!(world.awake(), 3);
    pass_rounds(10, async || assert_eq!(epoch(&world, read).await, Epoch(1))).await;
    until(|| world.count(Counter::GuildsAsleep) == 1).await;
    assert_eq!((world.awake(), world.count(Counter::GuildsLoaded)), (2, 3));
    soon(world.ask(heard, message(1))).await.unwrap();
    assert_eq!(number_in(soon(session.next()).await), 1);
    assert_eq!(epoch(&world, idle).await, Epoch(2));

    // Once its session has gone, that one sleeps too.
    drop(session);
    until(|| backend.relays() == 0).await;
    pass_rounds(12, async || {}).await;
    until(|| world.awake() == 0).await;
    assert_eq!(world.count(Counter::GuildsAsleep), 4);
}

#[tokio::test]
async fn a_guild_that_was_tidied_goes_on_as_if_it_had_not_been() {
    let world = drowsy(|_| {});
    let guild = world.found(1, 20).await;
    let backend = world.backend();
    let mut session = attach(&backend, guild, 1, ADA).await;
    let call = world.operation(add_member(50));
    let outcome = soon(world.call(guild, call.clone())).await.unwrap();
    let turns = world.count(Counter::Turns);
    pass_rounds(5, async || {}).await;
    assert_eq!(world.count(Counter::Turns) - turns, 1, "it is told once");

    assert_eq!(soon(world.call(guild, call)).await.unwrap(), outcome);
    soon(world.ask(guild, message(1))).await.unwrap();
    assert_eq!(number_in(soon(session.next()).await), 1);
    for number in 100..200 {
        soon(world.ask(guild, add_member(number))).await.unwrap();
    }
    assert_eq!((epoch(&world, guild).await, world.view(guild).await.unwrap().len()), (Epoch(1), 121));
}

#[tokio::test]
async fn a_node_with_all_its_guilds_awake_puts_those_to_sleep_that_nobody_asked_for_lately() {
    let world = drowsy(|config| config.guilds_max = 2);
    world.found(1, 2).await;
    let used = world.found(2, 2).await;
    let third = GuildId::new(3).unwrap();
    let create = Command::CreateGuild {
        name: crate::world::name("third"),
        everyone: guildhall_proto::Permissions::NONE,
        owner: new_member(ADA),
    };
    // Both were asked for a moment ago: neither gives way.
    assert!(is_overloaded(&world.ask(third, create.clone()).await.unwrap_err()));
    settle().await;
    assert_eq!((world.awake(), world.count(Counter::GuildsAsleep)), (2, 0));

    pass_rounds(3, async || drop(world.view(used).await.unwrap())).await;
    assert!(is_overloaded(&world.ask(third, create.clone()).await.unwrap_err()));
    until(|| world.count(Counter::GuildsAsleep) == 1).await;
    soon(world.ask(third, create)).await.unwrap();
    assert_eq!((world.awake(), epoch(&world, used).await), (2, Epoch(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_calls_wake_a_guild_once() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 100).await;
    soon(world.sleep(guild)).await.unwrap();
    let claims = world.store.claims();
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.ask(guild, add_member(1_000 + number)).await })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    assert_eq!(world.store.claims() - claims, 1);
    assert_eq!(world.view(guild).await.unwrap().len(), 200);
}

#[tokio::test]
async fn loads_wait_for_their_turn_in_order_and_one_too_many_is_refused() {
    let world = World::with(|config| {
        config.loads.at_once = 1;
        config.loads.waiting_max = 2;
    });
    let mut guilds = Vec::new();
    for number in 1..=4 {
        guilds.push(world.found(number, 2).await);
        soon(world.sleep(guilds[number as usize - 1])).await.unwrap();
    }
    let claims = world.store.claims();
    let release = world.store.hold_claim();
    let mut views: Vec<_> = guilds[..3].iter().map(|guild| Box::pin(world.view(*guild))).collect();
    for view in &mut views {
        assert!(poll_once(view).await.is_pending());
    }
    settle().await;
    until(|| world.store.claims() == claims + 1).await;
    assert_eq!((world.count(Counter::LoadsWaited), world.awake()), (2, 3));
    for _ in 0..2 {
        assert!(is_overloaded(&world.view(guilds[3]).await.unwrap_err()));
    }
    assert_eq!((world.count(Counter::RefusedLoad), world.awake()), (2, 3));
    // Who wants one that is queued already joins its load.
    let mut second = Box::pin(world.view(guilds[2]));
    assert!(poll_once(&mut second).await.is_pending());

    // One whose callers have gone is not loaded at all.
    drop(views.remove(1));
    release.send(()).unwrap();
    for view in views {
        soon(view).await.unwrap();
    }
    soon(second).await.unwrap();
    assert_eq!((world.store.claims() - claims, world.count(Counter::LoadsGivenUp), world.awake()), (2, 1, 2));
    soon(world.view(guilds[3])).await.unwrap();
}

#[tokio::test]
async fn one_caller_too_many_for_the_same_load_is_refused() {
    let world = World::with(|config| config.loads.callers_max = 2);
    let guild = world.found(1, 2).await;
    soon(world.sleep(guild)).await.unwrap();
    let release = world.store.hold_claim();
    let mut views = [Box::pin(world.view(guild)), Box::pin(world.view(guild))];
    for view in &mut views {
        assert!(poll_once(view).await.is_pending());
    }
    assert!(is_overloaded(&world.view(guild).await.unwrap_err()));
    assert_eq!(world.count(Counter::RefusedLoadCaller), 1);
    release.send(()).unwrap();
    for view in views {
        soon(view).await.unwrap();
    }
}

#[tokio::test]
async fn a_guild_whose_checkpoint_is_not_taken_stays_awake() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let published = world.operation(message(1));
    let first = soon(world.call(guild, published.clone())).await.unwrap();
    world.store.set(Mode::RefuseCheckpoints);
    for refused in 1..=3 {
        assert_eq!(soon(world.sleep(guild)).await, Err(SleepError::NotStored));
        assert_eq!((world.awake(), world.count(Counter::CheckpointsFailed)), (1, refused));
    }
    world.store.set(Mode::Take);
    soon(world.sleep(guild)).await.unwrap();
    // No record knows of the message: had the guild slept without a checkpoint, it would be published twice.
    assert_eq!(soon(world.call(guild, published)).await.unwrap(), first);
    assert_eq!(world.view(guild).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_node_that_stops_lets_nobody_sleep_or_wake() {
    let world = World::new();
    let (awake, asleep) = (world.found(1, 3).await, world.found(2, 3).await);
    soon(world.sleep(asleep)).await.unwrap();
    world.stop().await;
    assert_eq!(world.sleep(awake).await, Err(SleepError::Stopping));
    assert!(matches!(world.view(asleep).await, Err(CallError::Stopping)));
    assert_eq!(world.awake(), 0);
}

#[tokio::test]
async fn a_session_that_attaches_to_a_sleeping_guild_hears_all_from_then_on() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    for round in 0..3 {
        soon(world.sleep(guild)).await.unwrap();
        let mut session = soon(backend.attach(guild, attachment(1, ADA))).await.unwrap();
        soon(world.ask(guild, message(round))).await.unwrap();
        match soon(session.next()).await {
            Some(Delivery::Event(event)) => assert_eq!(crate::world::number_of(&event), Some(round)),
            other => panic!("{other:?}"),
        }
        drop(session);
        world.until_online(guild, 0).await;
        until(|| backend.relays() == 0).await;
        settle().await;
    }
}

#[tokio::test]
async fn all_who_ask_a_guild_to_sleep_at_once_are_answered() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let session = attach(&backend, guild, 1, ADA).await;
    let heard = Err(SleepError::Heard { sessions: 1 });
    assert_eq!(soon(async { tokio::join!(world.sleep(guild), world.sleep(guild)) }).await, (heard.clone(), heard));
    drop(session);
    drop(backend);
    world.store.set(Mode::RefuseCheckpoints);
    soon(world.ask(guild, message(1))).await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let world = Arc::clone(&world);
        asked.spawn(async move { world.sleep(guild).await });
    }
    let answers = soon(asked.join_all()).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
}
