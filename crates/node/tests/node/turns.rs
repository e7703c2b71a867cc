//! Turns of different guilds take turns.

use std::sync::mpsc;

use guildhall_node::Counter;
use guildhall_proto::{CallError, Command};
use parking_lot::Mutex;

use crate::world::{World, add_member, message, new_member, poll_once, soon, until_async};

#[tokio::test]
async fn a_hot_guild_does_not_starve_another_on_one_thread() {
    const INPUTS: u64 = 100;
    let world = World::with(|config| {
        config.turn.inputs_max = INPUTS as usize;
        config.turn.micros_max = u64::MAX;
    });
    let (hot, calm) = (world.found(1, 3).await, world.found(2, 3).await);
    let mut hot_calls = Vec::new();
    let mut number = 0;
    loop {
        match world.post(hot, message(number)) {
            Ok(pending) => hot_calls.push(pending),
            Err(CallError::Overloaded { .. }) => break,
            Err(error) => panic!("{error}"),
        }
        number += 1;
    }
    assert!(hot_calls.len() as u64 > 50 * INPUTS);

    for round in 0..10 {
        let before = world.count(Counter::Inputs);
        soon(world.ask(calm, message(round))).await.unwrap();
        // While this call went there and back, the hot guild had a turn or two, not its whole queue.
        let meanwhile = world.count(Counter::Inputs) - before - 1;
        assert!(meanwhile <= 3 * INPUTS, "{meanwhile} inputs of the hot guild came first");
    }
    for pending in hot_calls {
        soon(pending.answer()).await.unwrap();
    }
}

#[tokio::test]
async fn a_turn_without_time_takes_one_chunk_and_goes_on() {
    let world = World::with(|config| config.turn.micros_max = 0);
    let guild = world.found(1, 1).await;
    let turns = world.count(Counter::Turns);
    let pending: Vec<_> = (10..330).map(|number| world.post(guild, add_member(number)).unwrap()).collect();
    for pending in pending {
        soon(pending.answer()).await.unwrap();
    }
    assert!(world.count(Counter::Turns) - turns >= 10);
    assert_eq!(world.view(guild).await.unwrap().len(), 321);
}

#[tokio::test]
async fn changes_that_came_during_a_fold_are_folded_though_nothing_else_comes() {
    let world = World::with(|config| config.offload.threads = 1);
    let (other, guild) = (world.found(1, 1).await, world.found(2, 1).await);
    // The only worker is away while all members come.
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let mut scan = Box::pin(world.filter(other, move |_, _| held.lock().recv().is_ok()));
    assert!(poll_once(&mut scan).await.is_pending());
    for first in [2, 3_002] {
        let more = (first..first + 3_000).map(new_member).collect();
        soon(world.ask(guild, Command::ImportMembers(more))).await.unwrap();
    }
    let pages = async || world.view(guild).await.unwrap().memory().pages;
    assert!(pages().await < 3_000 * LEAST_BYTES);

    drop(release);
    drop(soon(scan).await.unwrap());
    until_async(async || pages().await > 5_500 * LEAST_BYTES).await;
}

/// Less than what a member takes in a page.
const LEAST_BYTES: usize = 30;
