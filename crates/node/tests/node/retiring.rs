//! Guilds whose store, job or owner fails: each retires alone, and comes back as the store has it.

use std::sync::Arc;

use guildhall_node::{Counter, Delivery, SessionStream};
use guildhall_proto::{CallError, Command, CommandError, Epoch, GuildId};

use crate::store::Mode;
use crate::world::{ADA, World, add_member, attach, message, number_in, poll_once, settle, soon, until};

async fn epoch(world: &World, guild: GuildId) -> Epoch {
    world.view(guild).await.unwrap().position().epoch
}

pub(crate) async fn panicking_job(world: &World, guild: GuildId) {
    let panicked = world.filter(guild, |_, _| panic!("the job of this test panics")).await;
    assert!(matches!(panicked, Err(CallError::Unavailable { .. })), "{panicked:?}");
}

/// Hears gaps, and beside them presence, up to the owner that there is now.
async fn hear_of_new_owners(world: &World, guild: GuildId, session: &mut SessionStream) {
    let now = epoch(world, guild).await;
    loop {
        match soon(session.next()).await {
            Some(Delivery::Gap(gap)) if gap.through.epoch < now => {}
            Some(Delivery::Gap(_)) => return,
            Some(Delivery::Ephemeral(_)) => {}
            other => panic!("not a gap: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_that_panics_retires_its_guild_alone() {
    let world = World::new();
    let (hit, spared) = (world.found(1, 5_000).await, world.found(2, 3).await);
    let backend = world.backend();
    let mut session = attach(&backend, hit, 1, ADA).await;
    let mut other = attach(&backend, spared, 2, ADA).await;

    panicking_job(&world, hit).await;
    let at = soon(world.ask(spared, message(1))).await.unwrap().at();
    assert_eq!(at.epoch, Epoch(1));
    assert_eq!(number_in(soon(other.next()).await), 1);

    // The guild comes back by itself, for its session: told of the gap, online again, and hearing.
    let Some(Delivery::Gap(gap)) = soon(session.next()).await else { panic!("a gap is announced") };
    assert_eq!(gap.through.epoch, Epoch(2));
    world.until_online(hit, 1).await;
    assert_eq!(world.view(hit).await.unwrap().len(), 5_000);
    soon(world.ask(hit, message(2))).await.unwrap();
    assert_eq!(number_in(soon(session.next()).await), 2);
    assert_eq!(epoch(&world, spared).await, Epoch(1));
    assert_eq!((world.count(Counter::RetiredByJob), world.count(Counter::GuildsLoaded)), (1, 3));
}

#[tokio::test]
async fn a_durable_call_in_flight_at_a_retirement_is_applied_once() {
    for mode in [Mode::HoldBefore, Mode::HoldAfter] {
        let world = Arc::new(World::new());
        let guild = world.found(1, 3).await;
        world.store.set(mode);
        let call = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.ask(guild, add_member(50)).await }
        });
        until(|| world.store.held() == 1).await;
        world.store.set(Mode::Take);
        let before = world.store.records(guild);
        panicking_job(&world, guild).await;

        let at = soon(call).await.unwrap().unwrap().at();
        assert!(world.is_member(guild, 50).await);
        assert_eq!(world.store.records(guild) - before, usize::from(mode == Mode::HoldBefore), "{mode:?}");
        // What the first owner had stored counts under its epoch; what is let out too late is fenced off.
        assert_eq!(at.epoch, if mode == Mode::HoldAfter { Epoch(1) } else { Epoch(2) });
        world.store.release();
        settle().await;
        assert_eq!(world.view(guild).await.unwrap().len(), 4);
        assert_eq!(epoch(&world, guild).await, Epoch(2));
    }
}

#[tokio::test]
async fn a_panicking_job_is_heard_of_though_its_caller_has_gone() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let (enter, entered) = std::sync::mpsc::channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = parking_lot::Mutex::new(held);
    let job = world.filter(guild, move |_, _| {
        enter.send(()).unwrap();
        held.lock().recv().unwrap();
        panic!("the job of this test panics");
    });
    let mut job = Box::pin(job);
    assert!(poll_once(&mut job).await.is_pending());
    entered.recv().unwrap();
    drop(job);
    release.send(()).unwrap();
    until(|| world.count(Counter::RetiredByJob) == 1).await;
}

#[tokio::test]
async fn a_checkpoint_that_panics_retires_its_guild_and_nothing_is_lost() {
    let world = World::with(|config| config.guild.checkpoints.changes_min = 3);
    let guild = world.found(1, 1).await;
    world.store.set(Mode::PanicAtCheckpoints);
    for number in 10..14 {
        soon(world.ask(guild, add_member(number))).await.unwrap();
    }
    until(|| world.count(Counter::RetiredByJob) >= 1).await;
    world.store.set(Mode::Take);
    assert_eq!(world.current_view(guild).await.unwrap().len(), 5);
    assert!(epoch(&world, guild).await > Epoch(1));
}

#[tokio::test]
async fn what_the_store_does_not_take_nobody_ever_sees() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut curious = crate::world::attachment(1, ADA);
    curious.members = true;
    let mut session = backend.attach(guild, curious).await.unwrap();

    // Each owner that the call tries is refused.
    world.store.set(Mode::Refuse(3));
    let call = soon(world.ask(guild, add_member(50))).await;
    assert_eq!(call, Err(CallError::OutcomeUnknown));
    assert!(!world.is_member(guild, 50).await);
    assert_eq!(world.count(Counter::RetiredByStore), 3);

    // The session hears of owners that came and went, and of no change.
    hear_of_new_owners(&world, guild, &mut session).await;
    soon(world.ask(guild, message(1))).await.unwrap();
    let mut next = soon(session.next()).await;
    while matches!(next, Some(Delivery::Ephemeral(_))) {
        next = soon(session.next()).await;
    }
    assert_eq!(number_in(next), 1);
    soon(world.ask(guild, add_member(50))).await.unwrap();
    assert!(world.is_member(guild, 50).await);
}

#[tokio::test]
async fn nothing_goes_to_the_store_behind_records_that_it_did_not_take() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    world.store.set(Mode::HoldBefore);
    let lost = world.post(guild, add_member(50)).unwrap();
    until(|| world.store.held() == 1).await;
    let records = world.store.records(guild);
    // The owner finds both at once: the word of the store, and one more command.
    world.store.refuse_held();
    let behind = world.post(guild, add_member(51)).unwrap();
    assert_eq!(soon(lost.answer()).await, Err(CallError::OutcomeUnknown));
    assert!(matches!(soon(behind.answer()).await, Err(CallError::Unavailable { .. })));
    assert_eq!(world.store.records(guild), records);
    assert_eq!(world.view(guild).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_durable_call_outlives_a_store_that_fails_panics_or_forgets_once() {
    let failures = [
        (Mode::Refuse(1), Counter::RetiredByStore),
        (Mode::Panic, Counter::RetiredByOwner),
        (Mode::Forget, Counter::RetiredByStore),
    ];
    for (mode, counter) in failures {
        let world = World::new();
        let guild = world.found(1, 3).await;
        world.store.set(mode);
        let at = soon(world.ask(guild, add_member(50))).await.unwrap().at();
        assert_eq!(at.epoch, Epoch(2), "{mode:?}");
        assert_eq!(world.view(guild).await.unwrap().len(), 4);
        assert_eq!(world.count(counter), 1, "{mode:?}");
    }
}

#[tokio::test]
async fn an_owner_that_panics_leaves_a_message_unknown_and_a_durable_call_to_the_next_owner() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    world.store.turns_panic(true);
    assert_eq!(soon(world.ask(guild, message(1))).await, Err(CallError::OutcomeUnknown));
    world.store.turns_panic(false);
    assert_eq!(soon(world.ask(guild, message(2))).await.unwrap().at().epoch, Epoch(2));

    world.store.turns_panic(true);
    let pending = world.post(guild, add_member(50)).unwrap();
    let call = world.operation(add_member(51));
    let calling = tokio::spawn({
        let (world, call) = (Arc::clone(&world), call.clone());
        async move { world.call(guild, call).await }
    });
    until(|| world.count(Counter::RetiredByOwner) >= 2).await;
    world.store.turns_panic(false);
    assert_eq!(soon(pending.answer()).await, Err(CallError::OutcomeUnknown));
    // It may have met more than one owner that panicked; called again under its name it is applied at most once.
    let _tried = soon(calling).await.unwrap();
    let first = soon(world.call(guild, call.clone())).await.unwrap();
    assert_eq!(soon(world.call(guild, call)).await.unwrap(), first);
    assert_eq!(world.view(guild).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_command_that_no_owner_survives_is_given_up_and_the_guild_comes_back() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut session = attach(&backend, guild, 1, ADA).await;
    world.store.turns_panic(true);
    assert_eq!(soon(world.ask(guild, add_member(50))).await, Err(CallError::OutcomeUnknown));
    // The relay tells each new owner of its session, and so ends it.
    until(|| world.count(Counter::RetiredByOwner) >= 5).await;

    world.store.turns_panic(false);
    world.until_online(guild, 1).await;
    hear_of_new_owners(&world, guild, &mut session).await;
    soon(world.ask(guild, message(1))).await.unwrap();
    assert_eq!(number_in(soon(session.next()).await), 1);
}

#[tokio::test]
async fn a_retry_is_answered_as_before_though_the_guild_was_deleted_since() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let (added, deleted) = (world.operation(add_member(50)), world.operation(Command::DeleteGuild));
    let first = soon(world.call(guild, added.clone())).await.unwrap();
    let last = soon(world.call(guild, deleted.clone())).await.unwrap();

    for _ in 0..3 {
        assert_eq!(soon(world.call(guild, added.clone())).await, Ok(first));
        assert_eq!(soon(world.call(guild, deleted.clone())).await, Ok(last));
        let unknown = Err(CallError::Refused(CommandError::UnknownGuild));
        assert_eq!(soon(world.ask(guild, add_member(51))).await, unknown);
        assert_eq!(soon(world.ask(guild, message(1))).await, unknown);
        // Its owner has left again.
        until(|| world.awake() == 0).await;
    }
}

#[tokio::test]
async fn a_storm_of_retries_to_a_deleted_guild_is_answered() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    let deleted = world.operation(Command::DeleteGuild);
    let first = soon(world.call(guild, deleted.clone())).await.unwrap();
    let retries: Vec<_> = (0..200)
        .map(|_| {
            let (world, deleted) = (Arc::clone(&world), deleted.clone());
            tokio::spawn(async move { world.call(guild, deleted).await })
        })
        .collect();
    for retry in retries {
        assert_eq!(soon(retry).await.unwrap(), Ok(first));
    }
}
