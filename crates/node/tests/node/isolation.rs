//! What one guild, session or relay does or does not do costs the others nothing.

use std::sync::{Arc, Weak, mpsc};

use guildhall_node::{Counter, Delivery};
use guildhall_proto::{CallError, Event, GuildId, Level};
use guildhall_ring::RingConfig;
use parking_lot::Mutex;

use crate::world::{ADA, World, add_member, attach, attachment, message, number_in, poll_once, settle, soon, until};

/// Publishes a message and reads it, and tells what is left of it once nobody holds it.
async fn published(
    world: &World,
    guild: GuildId,
    reader: &mut guildhall_node::SessionStream,
    number: u64,
) -> Weak<Event> {
    soon(world.ask(guild, message(number))).await.unwrap();
    match soon(reader.next()).await {
        Some(Delivery::Event(event)) => Arc::downgrade(&event),
        other => panic!("not a message: {other:?}"),
    }
}

#[tokio::test]
async fn sessions_that_never_read_hold_no_event_and_hold_up_nobody() {
    const KEPT: usize = 64;
    let world = World::with(|config| {
        config.ring = RingConfig { entries_max: KEPT, bytes_max: 1 << 20 };
        config.relay.ring = config.ring;
        config.relay.slow_ring = config.ring;
    });
    let guild = world.found(1, 10).await;
    let (backend, deaf) = (world.backend(), world.backend());
    let mut reader = attach(&backend, guild, 1, ADA).await;
    // One beside it, and a backend of which nobody reads at all: neither stream nor batch.
    let mut beside = attach(&backend, guild, 2, 2).await;
    let mut stream = attach(&deaf, guild, 3, 3).await;
    let mut passive = attachment(4, 4);
    passive.level = Level::Passive;
    let _passive = deaf.attach(guild, passive).await.unwrap();
    let mut batches = deaf.batches(guild).await.unwrap().unwrap();
    let _batch = deaf.attach_batch(guild, attachment(5, 5), 5).await.unwrap();

    let first = published(&world, guild, &mut reader, 0).await;
    let mut published_since = Vec::new();
    for number in 1..=20 * KEPT as u64 {
        published_since.push(published(&world, guild, &mut reader, number).await);
    }
    settle().await;
    assert!(first.upgrade().is_none());
    let held = published_since.iter().filter(|event| event.strong_count() > 0).count();
    assert!(held <= 2 * KEPT, "{held} events are held");

    // What they lost, they are told, and they hear on.
    for lagging in [&mut beside, &mut stream] {
        assert!(matches!(soon(lagging.next()).await, Some(Delivery::Gap(_))));
    }
    let mut gaps = 0;
    soon(batches.read(1, |item| gaps += usize::from(matches!(item, guildhall_node::BatchItem::Gap { .. })))).await;
    assert_eq!(gaps, 1);
}

#[tokio::test]
async fn the_scans_of_one_guild_leave_room_for_anothers() {
    let world = World::with(|config| {
        config.offload.scans_max = 4;
        config.offload.guild_scans_max = 2;
    });
    let (hot, calm) = (world.found(1, 3).await, world.found(2, 3).await);
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let mut scans: Vec<_> = (0..2)
        .map(|_| {
            let held = Arc::clone(&held);
            Box::pin(world.filter(hot, move |_, _| held.lock().recv().is_ok()))
        })
        .collect();
    for scan in &mut scans {
        assert!(poll_once(scan).await.is_pending());
    }
    for _ in 0..10 {
        let refused = world.everybody(hot).await;
        assert!(matches!(refused, Err(CallError::Overloaded { retry_after }) if !retry_after.is_zero()), "{refused:?}");
    }
    assert_eq!(world.count(Counter::RefusedScan), 10);
    let mut other = Box::pin(world.everybody(calm));
    assert!(poll_once(&mut other).await.is_pending());
    soon(world.ask(calm, add_member(50))).await.unwrap();

    // One whose caller goes before it begins gives its place back, and so do those that are done.
    drop(release);
    for scan in scans {
        drop(soon(scan).await.unwrap());
    }
    assert_eq!(soon(other).await.unwrap().len(), 3);
    assert_eq!(soon(world.everybody(hot)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_guild_that_retires_again_and_again_disturbs_no_other() {
    let world = World::new();
    let (hit, spared) = (world.found(1, 3).await, world.found(2, 3).await);
    let backend = world.backend();
    let mut session = attach(&backend, spared, 1, ADA).await;
    for number in 0..5 {
        let panicked = world.filter(hit, |_, _| panic!("the job of this test panics")).await;
        assert!(panicked.is_err());
        assert_eq!(soon(world.ask(spared, message(number))).await.unwrap().at().epoch.0, 1);
        assert_eq!(number_in(soon(session.next()).await), number);
        until(|| world.count(Counter::RetiredByJob) == number + 1).await;
        settle().await;
        assert_eq!(soon(world.current_view(hit)).await.unwrap().len(), 3);
    }
}
