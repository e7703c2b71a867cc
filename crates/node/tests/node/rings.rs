//! The budget of all rings of a node: never exceeded, shared by those that are busy, given back by those that are not.

use guildhall_node::{Counter, Delivery};
use guildhall_proto::{Command, GuildId, Mentions, Payload, Publish};

use crate::world::{ADA, CHANNEL, World, attach, channel_id, soon, until};

const BUDGET: usize = 512 * 1024;

async fn talk(world: &World, guild: GuildId, messages: usize) {
    let payload = Payload::new(vec![7; 1_000]).unwrap();
    for _ in 0..messages {
        let (channel, mentions, payload) = (channel_id(CHANNEL), Mentions::default(), payload.clone());
        let publish = Publish { channel, payload, mentions, session: None, echo: false };
        world.ask(guild, Command::Publish(publish)).await.unwrap();
        assert!(world.ring_bytes() <= BUDGET);
    }
}

#[tokio::test]
async fn rings_share_the_nodes_budget_and_an_idle_guild_gives_back_what_a_busy_one_needs() {
    let world = World::with(|config| config.rings_bytes_max = BUDGET);
    let (idle, busy) = (world.found(1, 2).await, world.found(2, 2).await);
    let backend = world.backend();
    let mut lagging = attach(&backend, idle, 1, ADA).await;
    talk(&world, idle, 2_000).await;
    assert!(world.ring_bytes() > BUDGET / 2);
    // What has left the ring is told as a gap, and the rest heard.
    let Some(Delivery::Gap(gap)) = soon(lagging.next()).await else { panic!("2,000 messages fit in no ring here") };
    assert!(gap.through > gap.after);

    assert_eq!(world.count(Counter::RingsCutBack), 0, "nobody else wanted any");
    let mut listener = attach(&backend, busy, 2, ADA).await;
    talk(&world, busy, 200).await;
    until(|| world.count(Counter::RingsCutBack) > 0).await;
    talk(&world, busy, 400).await;
    // Now the busy guild's rings hold far more than the little that is free: 20 messages wait for whoever comes late.
    let missed = soon(listener.next()).await;
    assert!(matches!(missed, Some(Delivery::Gap(_))), "{missed:?}");
    talk(&world, busy, 20).await;
    for _ in 0..20 {
        let heard = soon(listener.next()).await;
        assert!(matches!(heard, Some(Delivery::Event(_))), "{heard:?}");
    }
    assert!(world.ring_bytes() <= BUDGET);
    world.stop().await;
}

#[tokio::test]
async fn quiet_guilds_lease_nothing() {
    let world = World::new();
    for number in 1..=20 {
        world.found(number, 3).await;
    }
    assert_eq!(world.ring_bytes(), 0);
}
