//! A node that stops: what it has accepted leaves, the rest is told, and nothing is left.

use std::sync::Arc;

use guildhall_node::{AttachError, Counter, Delivery};
use guildhall_proto::{CallError, Command};

use crate::store::Mode;
use crate::world::{
    ADA, World, add_member, attach, attachment, message, new_member, number_in, poll_once, settle, soon, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_stops_under_load_answers_every_call_and_ends_every_stream() {
    let world = Arc::new(World::new());
    let backend = world.backend();
    let mut guilds = Vec::new();
    let mut listeners = Vec::new();
    for number in 1..=4 {
        let guild = world.found(number, 100).await;
        guilds.push(guild);
        for session in 1..=5 {
            let mut stream = attach(&backend, guild, session, session).await;
            listeners.push(tokio::spawn(async move {
                let mut heard = Vec::new();
                while let Some(delivery) = stream.next().await {
                    if let Delivery::Event(event) = delivery {
                        heard.push(event.position);
                    }
                }
                (guild, heard)
            }));
        }
    }
    let callers: Vec<_> = (0..16u64)
        .map(|caller| {
            let (world, guild) = (Arc::clone(&world), guilds[caller as usize % 4]);
            tokio::spawn(async move {
                let mut published = Vec::new();
                for number in 0.. {
                    let durable = number % 5 == 0;
                    let command =
                        if durable { add_member(1_000_000 + caller * 10_000 + number) } else { message(number) };
                    match world.ask(guild, command).await {
                        Ok(outcome) if !durable => published.push(outcome.at()),
                        Ok(_) => {}
                        Err(CallError::Stopping) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                (guild, published)
            })
        })
        .collect();
    let published_enough = || world.count(Counter::Events) > 2_000;
    until(published_enough).await;
    soon(world.stop()).await;

    let mut published = Vec::new();
    for caller in callers {
        let (guild, at) = soon(caller).await.unwrap();
        published.extend(at.into_iter().map(|at| (guild, at)));
    }
    for listener in listeners {
        let (guild, heard) = soon(listener).await.unwrap();
        assert!(heard.is_sorted_by(|one, next| one < next));
        for (of, at) in &published {
            assert!(*of != guild || heard.binary_search(at).is_ok(), "{at} was acknowledged and not heard");
        }
    }
    until(|| backend.relays() == 0).await;
}

#[tokio::test]
async fn what_waits_for_the_store_is_let_out_and_what_was_not_begun_is_told() {
    let world = Arc::new(World::with(|config| config.turn.unsettled_max = 1));
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut session = attach(&backend, guild, 1, ADA).await;
    world.store.set(Mode::HoldAfter);
    let accepted = world.post(guild, add_member(50)).unwrap();
    until(|| world.store.held() == 1).await;
    let queued = world.post(guild, message(1)).unwrap();

    let stop = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.stop().await }
    });
    assert_eq!(soon(queued.answer()).await, Err(CallError::Stopping));
    assert_eq!(world.post(guild, message(2)).unwrap_err(), CallError::Stopping);
    settle().await;
    assert!(!stop.is_finished());
    let mut late = Box::pin(world.ask(guild, message(3)));
    assert!(poll_once(&mut late).await.is_pending());

    world.store.release();
    soon(accepted.answer()).await.unwrap();
    soon(stop).await.unwrap();
    assert_eq!(soon(late).await, Err(CallError::Stopping));
    assert_eq!(soon(session.next()).await, None);
    assert_eq!(soon(session.next()).await, None);
    let refused = backend.attach(guild, attachment(2, 2)).await.unwrap_err();
    assert_eq!(refused, AttachError::Call(CallError::Stopping));
    assert!(matches!(world.view(guild).await, Err(CallError::Stopping)));
    assert!(matches!(session.detach().await, Err(CallError::Stopping)));
    drop(session);
    until(|| backend.relays() == 0).await;
}

#[tokio::test]
async fn a_stop_waits_for_a_load_under_way_and_ends_it() {
    let founder = World::new();
    let guild = founder.found(1, 3).await;
    founder.stop().await;
    let world = Arc::new(World::over(Arc::clone(&founder.store), |_| {}));
    let claims = world.store.claims();
    let release = world.store.hold_claim();
    let load = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.ask(guild, add_member(50)).await }
    });
    until(|| world.store.claims() == claims + 1).await;
    let mut stop = Box::pin(world.stop());
    assert!(poll_once(&mut stop).await.is_pending());
    release.send(()).unwrap();
    soon(stop).await;
    assert_eq!(soon(load).await.unwrap(), Err(CallError::Stopping));
}

#[tokio::test]
async fn batches_show_all_that_was_let_out_and_then_end() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut batches = backend.batches(guild).await.unwrap().unwrap();
    let _session = backend.attach_batch(guild, attachment(1, ADA), 7).await.unwrap();
    let mut stream = attach(&backend, guild, 2, 2).await;
    world.ask(guild, message(1)).await.unwrap();
    soon(world.stop()).await;
    let mut shown = 0;
    while soon(batches.read(100, |_| shown += 1)).await {}
    assert_eq!(shown, 1);
    assert_eq!(number_in(soon(stream.next()).await), 1);
    assert_eq!(soon(stream.next()).await, None);
}

#[tokio::test]
async fn a_node_that_stops_leaves_nothing_to_replay_and_the_next_goes_on_where_it_was() {
    let world = World::new();
    let guild = world.found(1, 2_000).await;
    let deleted = world.found(2, 1).await;
    soon(world.ask(deleted, Command::DeleteGuild)).await.unwrap();
    // A fold is under way, perhaps; a message is in no record.
    soon(world.ask(guild, Command::ImportMembers((3_000..6_000).map(new_member).collect()))).await.unwrap();
    let last = soon(world.ask(guild, message(1))).await.unwrap().at();
    soon(world.stop()).await;
    assert_eq!((world.store.records(guild), world.store.records(deleted)), (0, 0));

    let next = World::over(Arc::clone(&world.store), |_| {});
    let view = soon(next.view(guild)).await.unwrap();
    assert_eq!((view.position().seq, view.len()), (last.seq, 5_000));
    // Nothing has happened: there is nothing to save.
    soon(next.stop()).await;
    assert_eq!(next.count(Counter::Checkpoints), 0);
}

#[tokio::test]
async fn a_node_stops_though_the_store_takes_no_checkpoint() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    world.store.set(Mode::RefuseCheckpoints);
    soon(world.stop()).await;
    assert_eq!(world.count(Counter::CheckpointsFailed), 1);
    let next = World::over(Arc::clone(&world.store), |_| {});
    assert_eq!(soon(next.view(guild)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn guilds_that_stop_hand_over_their_last_checkpoints_a_few_at_a_time() {
    let world = Arc::new(World::new());
    for number in 1..=100 {
        world.found(number, 1).await;
    }
    world.store.hold_checkpoints(true);
    let stop = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.stop().await }
    });
    until(|| world.count(Counter::Checkpoints) == 64).await;
    settle().await;
    assert_eq!(world.count(Counter::Checkpoints), 64);
    world.store.hold_checkpoints(false);
    soon(stop).await.unwrap();
    assert_eq!(world.count(Counter::Checkpoints), 100);
}

#[tokio::test]
async fn an_owner_that_is_woken_while_its_last_checkpoint_is_folded_does_not_end_without_it() {
    let world = Arc::new(World::with(|config| {
        config.offload.threads = 1;
        config.guild.members.inline_fold_members = 0;
    }));
    let (guild, other) = (world.found(1, 3).await, world.found(2, 3).await);
    soon(world.ask(guild, add_member(50))).await.unwrap();
    let (enter, entered) = std::sync::mpsc::channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = parking_lot::Mutex::new(held);
    // The one worker is busy, so the fold waits for it.
    let job = world.filter(other, move |_, _| {
        enter.send(()).unwrap_or_default();
        held.lock().recv().is_err()
    });
    let mut job = Box::pin(job);
    assert!(poll_once(&mut job).await.is_pending());
    entered.recv().unwrap();

    let folds = world.count(Counter::Folds);
    let stop = || {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.stop().await })
    };
    let first = stop();
    until(|| world.count(Counter::Folds) > folds).await;
    let turns = world.count(Counter::Turns);
    let second = stop();
    until(|| world.count(Counter::Turns) > turns + 1).await;
    settle().await;
    drop(release);
    soon(first).await.unwrap();
    soon(second).await.unwrap();
    drop(job);
    assert_eq!(world.store.records(guild), 0, "the checkpoint covers them");
}
