//! Guilds are loaded once, when they are needed, and only if they are there.

use std::sync::Arc;

use guildhall_node::{AttachError, Clock, Counter, Question};
use guildhall_proto::{CallError, CommandError, GuildId, Millis};
use guildhall_store::{Known, Store};

use crate::world::{ADA, World, add_member, attachment, message, poll_once, settle, soon, until, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_first_calls_load_a_guild_once() {
    let founder = World::new();
    let guild = founder.found(1, 100).await;
    founder.stop().await;

    let world = Arc::new(World::over(Arc::clone(&founder.store), |_| {}));
    let claims = world.store.claims();
    let calls: Vec<_> = (0..100u64)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                match number % 3 {
                    0 => drop(world.view(guild).await.unwrap()),
                    1 => drop(world.ask(guild, add_member(1_000 + number)).await.unwrap()),
                    _ => drop(world.ask(guild, message(number)).await.unwrap()),
                }
            })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap();
    }
    assert_eq!((world.count(Counter::GuildsLoaded), world.store.claims() - claims), (1, 1));
    assert_eq!(world.view(guild).await.unwrap().len(), 133);
}

#[tokio::test]
async fn a_guild_whose_time_is_far_ahead_of_the_nodes_is_counted_and_its_operations_are_expired() {
    let founder = World::new();
    let guild = founder.found(1, 100).await;
    founder.ask(guild, add_member(900)).await.unwrap();
    founder.stop().await;

    // A moment behind, which is nothing; then days: the founder's clock was wrong, or this one is.
    for (behind_ms, ahead) in [(60_000, 0), (3 * 24 * 60 * 60 * 1_000, 1)] {
        let world = World::over(Arc::clone(&founder.store), |config| {
            let now = Millis(config.clock.now().0 - behind_ms);
            config.clock = Clock::from_fn(move || now);
        });
        world.view(guild).await.unwrap();
        assert_eq!(world.count(Counter::LoadsAhead), ahead);
        let mut late = world.operation(add_member(901 + behind_ms));
        late.op.issued_at = Millis(late.op.issued_at.0 - behind_ms);
        let answer = world.call(guild, late).await;
        match ahead {
            0 => drop(answer.unwrap()),
            _ => assert!(matches!(answer, Err(CallError::Refused(CommandError::Expired { .. }))), "{answer:?}"),
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_guild_that_is_not_there_is_neither_loaded_nor_kept() {
    let world = World::with(|config| config.guilds_max = 1);
    let unknown = Err(CallError::Refused(CommandError::UnknownGuild));
    let backend = world.backend();
    for number in 1..=10 {
        let guild = GuildId::new(number).unwrap();
        assert_eq!(world.ask(guild, add_member(5)).await, unknown);
        assert_eq!(world.ask(guild, message(5)).await, unknown);
        assert_eq!(world.view(guild).await.map(|_| ()).unwrap_err(), CommandError::UnknownGuild.into());
        assert_eq!(world.member(guild, user(1)).await.unwrap_err(), CommandError::UnknownGuild.into());
        assert_eq!(world.can(guild, user(1), None).await.unwrap_err(), CommandError::UnknownGuild.into());
        let everyone = Question::All;
        assert_eq!(world.recipients(guild, everyone).await.unwrap_err(), CommandError::UnknownGuild.into());
        let refused = backend.attach(guild, attachment(1, ADA)).await.unwrap_err();
        assert_eq!(refused, AttachError::Call(CommandError::UnknownGuild.into()));
        assert!(backend.batches(guild).await.is_err());
        assert!(world.post(guild, message(5)).is_err());
        assert_eq!(world.store.knows(guild), Ok(Known::Nothing));
    }
    assert_eq!((world.count(Counter::GuildsLoaded), world.store.claims(), backend.relays()), (0, 0, 0));
    // No place was taken by any of them.
    world.found(11, 1).await;
}

#[tokio::test]
async fn a_load_whose_caller_goes_away_serves_the_next() {
    let founder = World::new();
    let guild = founder.found(1, 3).await;
    founder.stop().await;

    let world = World::over(Arc::clone(&founder.store), |_| {});
    let claims = world.store.claims();
    let release = world.store.hold_claim();
    let mut first = Box::pin(world.view(guild));
    assert!(poll_once(&mut first).await.is_pending());
    until(|| world.store.claims() == claims + 1).await;
    drop(first);
    let mut second = Box::pin(world.ask(guild, add_member(50)));
    assert!(poll_once(&mut second).await.is_pending());
    settle().await;
    release.send(()).unwrap();
    soon(second).await.unwrap();
    assert_eq!((world.store.claims() - claims, world.count(Counter::GuildsLoaded)), (1, 1));
}
