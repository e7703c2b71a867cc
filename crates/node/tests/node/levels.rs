//! Sessions of both levels: who hears of a message itself, and who of its channel.

use guildhall_node::{Attach, BatchItem, Clock, Delivery};
use guildhall_proto::{Command, GuildId, Level, Mentions, Payload, Position, Publish, Status, Unread};
use tokio::time::Instant;

use crate::world::{ADA, CHANNEL, NOW, World, attach, attachment, channel_id, position_of, soon, user};

#[tokio::test(start_paused = true)]
async fn a_passive_session_is_told_of_news_and_of_what_calls_it() {
    let begun = Instant::now();
    let (world, guild) = timed(begun).await;
    let backend = world.backend();
    let mut active = attach(&backend, guild, 1, ADA).await;
    let mut passive = backend.attach(guild, passive(2)).await.unwrap();

    let first = publish(&world, guild, Mentions::default()).await;
    let second = publish(&world, guild, Mentions::default()).await;
    assert_eq!(position_of(&soon(active.next()).await), Some(first));
    let unread = |at| Some(Delivery::Unread(Unread { at, channels: vec![channel_id(CHANNEL)] }));
    // The first news may be told at once, and the rest together after that.
    let told = soon(passive.next()).await;
    if told == unread(first) {
        assert_eq!(soon(passive.next()).await, unread(second));
    } else {
        assert_eq!(told, unread(second));
    }
    assert!(begun.elapsed() <= guildhall_node::RelayConfig::default().unread_every);

    let called = publish(&world, guild, Mentions { users: vec![user(ADA)], ..Mentions::default() }).await;
    assert_eq!(position_of(&soon(passive.next()).await), Some(called));
}

#[tokio::test(start_paused = true)]
async fn a_level_holds_from_the_position_that_is_returned() {
    let (world, guild) = timed(Instant::now()).await;
    let backend = world.backend();
    let mut session = backend.attach(guild, passive(1)).await.unwrap();
    let mut batches = backend.batches(guild).await.unwrap().unwrap();
    let mut served = backend.attach_batch(guild, passive(2), 7).await.unwrap();
    let before = publish(&world, guild, Mentions::default()).await;

    assert_eq!(soon(session.set_level(Level::Active)).await, Ok(before));
    assert!(soon(served.set_level(Level::Active)).await.unwrap() >= before);
    let heard = publish(&world, guild, Mentions::default()).await;

    // A summary may come first, of what came while they were passive.
    let next = soon(session.next()).await;
    let next = if matches!(next, Some(Delivery::Unread(_))) { soon(session.next()).await } else { next };
    assert_eq!(position_of(&next), Some(heard));
    let mut shown = Vec::new();
    while shown.is_empty() {
        let note = |item: BatchItem<'_>| {
            if let BatchItem::Event { event, tokens } = item {
                assert_eq!(tokens, [7]);
                shown.push(event.position);
            }
        };
        soon(batches.read(64, note)).await;
    }
    assert_eq!(shown, [heard]);
}

#[tokio::test(start_paused = true)]
async fn a_status_decides_whether_here_calls_a_session() {
    let (world, guild) = timed(Instant::now()).await;
    let mut session = world.backend().attach(guild, passive(1)).await.unwrap();
    let here = || Mentions { here: true, ..Mentions::default() };
    session.set_status(Status::Offline).await.unwrap();
    publish(&world, guild, here()).await;
    session.set_status(Status::Idle).await.unwrap();
    let called = publish(&world, guild, here()).await;

    let mut next = soon(session.next()).await;
    while matches!(next, Some(Delivery::Unread(_))) {
        next = soon(session.next()).await;
    }
    assert_eq!(position_of(&next), Some(called));
}

#[tokio::test]
async fn a_level_of_a_session_that_has_ended_is_refused() {
    let (world, guild) = timed(Instant::now()).await;
    let mut session = world.backend().attach(guild, passive(1)).await.unwrap();
    session.detach().await.unwrap();
    assert!(soon(session.set_level(Level::Active)).await.is_err());
}

/// A world whose clock shows the time of the runtime, with a guild.
async fn timed(begun: Instant) -> (World, GuildId) {
    let since = move || std::time::Duration::from_millis(u64::try_from(begun.elapsed().as_millis()).unwrap());
    let world = World::with(|config| config.clock = Clock::from_fn(move || NOW.plus(since())));
    let guild = world.found(1, 1).await;
    (world, guild)
}

fn passive(session: u64) -> Attach {
    Attach { level: Level::Passive, ..attachment(session, ADA) }
}

async fn publish(world: &World, guild: GuildId, mentions: Mentions) -> Position {
    let (channel, payload) = (channel_id(CHANNEL), Payload::new("hello").unwrap());
    let publish = Publish { channel, payload, mentions, session: None, echo: false };
    world.ask(guild, Command::Publish(publish)).await.unwrap().at()
}
