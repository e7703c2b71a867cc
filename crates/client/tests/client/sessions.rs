//! Sessions beside a relay of the client's.

use std::time::Duration;

use guildhall_client::{Attach, Client, Delivery, Resume, SessionStream};
use guildhall_node::{NodeConfig, RingConfig};
use guildhall_proto::{Actor, EphemeralKind, EventKind, Level, Position, SessionId, Status};

use crate::world::{GUILD, World, channel, found, message, soon, user};

pub(crate) fn attach(number: u64) -> Attach {
    let (session, user) = (SessionId::new(1_000 + number).unwrap(), user(number));
    Attach { session, user, status: Status::Online, members: false, level: Level::Active }
}

/// What a session hears next, but for what is told of now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message, with its number.
    Message(Position, u64),
    /// A gap up to there.
    Gap(Position),
}

pub(crate) async fn heard(session: &mut SessionStream) -> Heard {
    loop {
        match soon(session.next()).await.expect("the session goes on") {
            Delivery::Event(event) => {
                let EventKind::MessagePublished(message) = &event.kind else { panic!("{event:?}") };
                let number = u64::from_le_bytes(message.payload.bytes()[..].try_into().unwrap());
                return Heard::Message(event.position, number);
            }
            Delivery::Gap(gap) => return Heard::Gap(gap.through),
            Delivery::Ephemeral(_) | Delivery::Unread(_) => {}
            Delivery::Detached(reason) => panic!("{reason:?}"),
        }
    }
}

pub(crate) fn number_of(heard: Heard) -> u64 {
    match heard {
        Heard::Message(_, number) => number,
        Heard::Gap(through) => panic!("a gap up to {through:?}"),
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
            assert_eq!(heard(session).await, Heard::Message(*position, number as u64));
        }
    }
    let at = soon(guild.typing(user(2), channel())).await.unwrap();
    let told = loop {
        if let Delivery::Ephemeral(told) = soon(sessions[1].next()).await.unwrap() {
            break told;
        }
    };
    assert!(matches!(told.kind, EphemeralKind::Typing { .. }) && told.at == at, "{told:?}");
    // What is not told again is as of what was.
    soon(guild.call(Actor::User(user(1)), message(500))).await.unwrap();
    assert_eq!(soon(guild.typing(user(2), channel())).await, Ok(at));
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
        assert_eq!(number_of(heard(&mut session).await), number);
    }
    let resume = Resume { attach: attach(2), secret: session.secret(), known: session.known() };
    // Its backend node is gone.
    first.close().await;
    drop(session);
    let resumed = soon(second.backend().unwrap().resume(GUILD, resume)).await.unwrap();
    assert_eq!(resumed.gap, None);
    let mut session = resumed.session;
    for number in 5..10 {
        assert_eq!(number_of(heard(&mut session).await), number);
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
    assert_eq!(number_of(heard(&mut session).await), 1);
    world.restart(NodeConfig::default()).await;
    // The relay begins again at the new owner's view: what lies between is told as a gap.
    let mut number = 2;
    loop {
        soon(guild.call(Actor::User(user(1)), message(number))).await.unwrap();
        match heard(&mut session).await {
            Heard::Message(_, told) => {
                assert!((2..=number).contains(&told), "{told} of {number}");
                break;
            }
            Heard::Gap(_) => number += 1,
        }
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
    let mut last = Position::default();
    for number in 0..2_000 {
        last = soon(guild.call(Actor::User(user(1)), message(number))).await.unwrap().at();
    }
    let (mut at, mut gaps) = (Position::default(), 0);
    while at < last {
        let next = match heard(&mut session).await {
            Heard::Message(position, _) => {
                assert!(at == Position::default() || position.seq.0 == at.seq.0 + 1, "{position:?} behind {at:?}");
                position
            }
            Heard::Gap(through) => {
                gaps += 1;
                through
            }
        };
        assert!(next > at);
        at = next;
    }
    assert!(gaps > 0);
    drop(session);
    near.close().await;
    world.stop().await;
}
