//! Checkpoints that the store is slow to take: how many wait, and that nobody else does.

use std::sync::Arc;
use std::time::Duration;

use guildhall_node::Counter;
use guildhall_proto::GuildId;

use crate::store::Mode;
use crate::world::{World, add_member, message, settle, soon, until};

#[tokio::test]
async fn of_the_checkpoints_that_wait_for_a_slow_store_a_guild_keeps_the_latest() {
    let world = World::with(|config| config.guild.checkpoints.changes_min = 4);
    let guild = world.found(1, 2).await;
    until(|| world.store.records(guild) < 4).await;
    let before = world.count(Counter::Checkpoints);
    world.store.hold_checkpoints(true);
    // Ten checkpoints come due; calls go on.
    for number in 100..140 {
        soon(world.ask(guild, add_member(number))).await.unwrap();
    }
    settle().await;
    assert_eq!(world.count(Counter::Checkpoints) - before, 1, "one is under way");
    assert!(world.store.records(guild) >= 40);
    world.store.hold_checkpoints(false);
    // The one that waited covers all that came meanwhile.
    until(|| world.store.records(guild) < 4).await;
    assert_eq!(world.count(Counter::Checkpoints) - before, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_slow_store_lets_few_guilds_fall_asleep_at_a_time_and_keeps_nobody_waiting() {
    const GUILDS: u64 = 50;
    let world = World::with(|config| config.sleep_after = 8 * ROUND);
    for number in 1..=GUILDS {
        world.found(number, 1).await;
    }
    world.store.hold_checkpoints(true);
    tokio::time::pause();
    for _ in 0..12 {
        tokio::time::advance(ROUND + Duration::from_millis(10)).await;
        settle().await;
    }
    tokio::time::resume();
    // The sweep waits; the guilds that wait for the store are awake, and whoever is asked for answers.
    assert_eq!((world.count(Counter::Checkpoints), world.awake()), (32, GUILDS as usize));
    let guild = GuildId::new(1).unwrap();
    soon(world.ask(guild, message(1))).await.unwrap();
    world.store.hold_checkpoints(false);
    until(|| world.awake() < 32).await;
    world.stop().await;
}

#[tokio::test]
async fn a_guild_that_had_much_to_replay_is_saved_before_anyone_changes_it() {
    let world = World::new();
    let guild = world.found(1, 2).await;
    for number in 10..40 {
        soon(world.ask(guild, add_member(number))).await.unwrap();
    }
    // This one ends without a word, and the next makes checkpoints sooner.
    world.store.set(Mode::RefuseCheckpoints);
    soon(world.stop()).await;
    world.store.set(Mode::Take);
    let next = World::over(Arc::clone(&world.store), |config| config.guild.checkpoints.changes_min = 20);
    assert_eq!(soon(next.view(guild)).await.unwrap().len(), 32);
    until(|| next.store.records(guild) == 0).await;
    soon(next.stop()).await;
}

/// Longer than any test.
const ROUND: Duration = Duration::from_secs(600);
