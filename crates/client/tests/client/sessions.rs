//! Sessions beside a relay of the client's.

use std::time::Duration;

use guildhall_client::{Attach, Client, Delivery, Resume, SessionStream};
use guildhall_node::{NodeConfig, RingConfig};
use guildhall_proto::{Actor, EphemeralKind, EventKind, Level, Position, SessionId, Status};

use crate::world::{GUILD, World, channel, found, message, soon, user};

fn attach(number: u64) -> Attach {
    let (session, user) = (SessionId::new(1_000 + number).unwrap(), user(number));
    Attach { session, user, status: Status::Online, members: false, level: Level::Active }
}

/// The next message that a session hears, with its number; a gap is told as none.
async fn heard(session: &mut SessionStream) -> Option<(Position, u64)> {
    loop {
        match soon(session.next()).await.expect("the session goes on") {
            Delivery::Event(event) => match &event.kind {
                EventKind::MessagePublished(message) => {
                    let number = u64::from_le_bytes(message.payload.bytes().try_into().unwrap());
                    return Some((event.position, number));
                }
                other => panic!("{other:?}"),
            },
            Delivery::Gap(_) => return None,
            Delivery::Ephemeral(_) | Delivery::Unread(_) => {}
            Delivery::Detached(reason) => panic!("{reason:?}"),
        }
    }
}

#[tokio::test]
async fn sessions_hear_in_order_and_once_what_is_published_from_anywhere() {
    let world = World::new().await;
    let (near, far) = (world.client(1).await, world.client(2).await);
    found(&near, 10).await;
    let backend = near.backend().unwrap();
    let mut sessions = Vec::new();
    for number in 2..=6 {
        sessions.push(soon(backend.attach(GUILD, attach(number))).await.unwrap());
    }
    assert_eq!(backend.relays(), 1);
    let guild = far.guild(GUILD);
    let mut positions = Vec::new();
    for number in 0..500 {
        positions.push(soon(guild.call(Actor::User(user(1)), message(number))).await.unwrap().at());
    }
    for session in &mut sessions {
        for (number, position) in positions.iter().enumerate() {
            assert_eq!(heard(session).await, Some((*position, number as u64)));
        }
    }
    soon(guild.typing(user(2), channel())).await.unwrap();
    let told = loop {
        if let Delivery::Ephemeral(told) = soon(sessions[1].next()).await.unwrap() {
            break told;
        }
    };
    assert!(matches!(told.kind, EphemeralKind::Typing { .. }), "{told:?}");
    drop(sessions);
    near.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_resumes_at_another_backend_node_where_it_was() {
    let world = World::new().await;
    let (first, second) = (world.client(1).await, world.client(2).await);
    found(&first, 10).await;
    let mut session = soon(first.backend().unwrap().attach(GUILD, attach(2))).await.unwrap();
    let guild = second.guild(GUILD);
    for number in 0..10 {
        soon(guild.call(Actor::User(user(1)), message(number))).await.unwrap();
    }
    for number in 0..5 {
        assert_eq!(heard(&mut session).await.unwrap().1, number);
    }
    let resume = Resume { attach: attach(2), secret: session.secret(), known: session.known() };
    // Its backend node is gone.
    first.close().await;
    drop(session);
    let resumed = soon(second.backend().unwrap().resume(GUILD, resume)).await.unwrap();
    assert_eq!(resumed.gap, None);
    let mut session = resumed.session;
    for number in 5..10 {
        assert_eq!(heard(&mut session).await.unwrap().1, number);
    }
    drop(session);
    second.close().await;
    world.stop().await;
}

#[tokio::test]
async fn sessions_go_on_at_a_node_that_was_started_anew_and_a_hole_is_told() {
    let mut world = World::new().await;
    let client = world.client(1).await;
    found(&client, 10).await;
    let mut session = soon(client.backend().unwrap().attach(GUILD, attach(2))).await.unwrap();
    let guild = client.guild(GUILD).within(Duration::from_secs(20));
    soon(guild.call(Actor::User(user(1)), message(1))).await.unwrap();
    assert_eq!(heard(&mut session).await.unwrap().1, 1);
    world.restart(NodeConfig::default()).await;
    // The relay begins again at the new owner's view: what lies between is told as a gap.
    let mut number = 2;
    loop {
        soon(guild.call(Actor::User(user(1)), message(number))).await.unwrap();
        if let Some((_, told)) = heard(&mut session).await {
            assert!(told <= number);
            break;
        }
        number += 1;
    }
    drop(session);
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_backend_node_that_falls_out_of_the_ring_goes_on_behind_a_gap() {
    let ring = RingConfig { entries_max: 64, bytes_max: 64 * 1024 };
    let world = World::with(NodeConfig { ring, ..NodeConfig::default() });
    let mut config = world.config(1);
    (config.relay.ring, config.feed) = (ring, ring);
    let near = soon(Client::connect(config)).await.unwrap();
    let far = world.client(2).await;
    found(&near, 10).await;
    let mut session = soon(near.backend().unwrap().attach(GUILD, attach(2))).await.unwrap();
    // Without a look at the session, and far more than all rings hold together: what was lost is told.
    let guild = far.guild(GUILD);
    for number in 0..2_000 {
        soon(guild.call(Actor::User(user(1)), message(number))).await.unwrap();
    }
    let (mut next, mut gaps) = (0, 0);
    while next < 2_000 {
        match heard(&mut session).await {
            Some((_, number)) => {
                assert!(number == next || gaps > 0 && number > next, "{number} behind {next}");
                next = number + 1;
            }
            None => gaps += 1,
        }
    }
    assert!(gaps > 0);
    drop(session);
    near.close().await;
    world.stop().await;
}
