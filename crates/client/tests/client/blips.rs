//! Links that end while both of their ends live, and backends that do not come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guildhall_client::{Attach, Client, ClientConfig, Delivery, LinkCounter, Resume};
use guildhall_node::{Counter, NodeConfig};
use guildhall_proto::{Actor, EphemeralKind, SessionId, Status};
use guildhall_transport::TransportConfig;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Metadata, Subscriber};

use crate::sessions::{attach, heard, number_of};
use crate::wire::Wire;
use crate::world::{GUILD, World, found, message, soon, user};

/// A client that is soon aware of a link over which nothing comes.
async fn client_over(world: &World, wire: &Wire) -> Client {
    let transport = TransportConfig {
        idle: Duration::from_millis(1_500),
        keep_alive: Duration::from_millis(300),
        ..TransportConfig::default()
    };
    let config = ClientConfig { nodes: vec![wire.address], transport, ..world.config(1) };
    soon(Client::connect(config)).await.unwrap()
}

async fn until_online(world: &World, online: usize) {
    let comes = async {
        while world.node.view(GUILD).await.unwrap().online() != online {
            tokio::task::yield_now().await;
        }
    };
    soon(comes).await;
}

/// Waits until the node has given up so many links over which nothing came.
async fn until_silent(operator: &Client, links: u64) {
    let name = "links_ended_total{reason=\"silent\"}";
    let comes = async {
        loop {
            let stats = operator.stats().await.unwrap();
            if stats.iter().any(|(of, count)| of.as_str() == name && *count >= links) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(comes).await;
}

/// Waits until a client has a link again: over the one that the node has given up nothing is answered.
async fn until_linked(client: &Client) {
    let comes = async { while client.ping().await.is_err() {} };
    soon(comes).await;
}

#[tokio::test]
async fn sessions_go_on_and_come_back_whose_link_was_away_for_a_while() {
    let world = World::new().await;
    let wire = Wire::to(world.address).await;
    let (near, far) = (client_over(&world, &wire).await, world.client(2).await);
    let operator = soon(Client::connect(world.operator())).await.unwrap();
    found(&far, 10).await;
    let backend = near.backend().unwrap();
    let mut stays = soon(backend.attach(GUILD, attach(2))).await.unwrap();
    let (here, there) =
        (soon(backend.attach(GUILD, attach(3))).await.unwrap(), soon(backend.attach(GUILD, attach(4))).await.unwrap());
    let [here, there] = [(3, here), (4, there)].map(|(number, session)| {
        // Dropped without a detach, it may come back.
        Resume { attach: attach(number), secret: session.secret(), known: session.known() }
    });
    wire.cut();
    until_silent(&operator, 1).await;
    wire.mend();
    until_linked(&near).await;
    let resumed = soon(backend.resume(GUILD, here)).await.unwrap();
    let elsewhere = soon(far.backend().unwrap().resume(GUILD, there)).await.unwrap();
    soon(far.guild(GUILD).call(Actor::User(user(1)), message(7))).await.unwrap();
    let [mut here, mut there] = [resumed, elsewhere].map(|resumed| resumed.session);
    for session in [&mut stays, &mut here, &mut there] {
        assert_eq!(number_of(heard(session).await), 7);
    }
    assert_eq!(world.node.view(GUILD).await.unwrap().online(), 3);
    // As it was attached before the link was away.
    soon(stays.set_status(Status::Idle)).await.unwrap();
    let again = Resume { attach: attach(2), secret: stays.secret(), known: stays.known() };
    drop(stays);
    soon(far.backend().unwrap().resume(GUILD, again)).await.unwrap();
    assert_eq!(world.node.counts().of(Counter::SessionsForsaken), 0);
    near.close().await;
    far.close().await;
    operator.close().await;
    world.stop().await;
}

#[tokio::test]
async fn who_has_gone_while_a_link_was_away_is_told_when_it_is_back() {
    let world = World::new().await;
    let wire = Wire::to(world.address).await;
    let (near, far) = (client_over(&world, &wire).await, world.client(2).await);
    let operator = soon(Client::connect(world.operator())).await.unwrap();
    found(&far, 10).await;
    let listens = Attach { members: true, ..attach(2) };
    let mut listens = soon(near.backend().unwrap().attach(GUILD, listens)).await.unwrap();
    let mut goes = soon(far.backend().unwrap().attach(GUILD, attach(3))).await.unwrap();
    let mut until_shown = async |status| loop {
        match soon(listens.next()).await {
            Some(Delivery::Ephemeral(told)) if told.kind == EphemeralKind::Presence { user: user(3), status } => return,
            Some(Delivery::Ephemeral(_)) => {}
            // Then it would read the guild anew.
            other => panic!("{other:?}"),
        }
    };
    until_shown(Status::Online).await;
    wire.cut();
    until_silent(&operator, 1).await;
    soon(goes.detach()).await.unwrap();
    wire.mend();
    until_shown(Status::Offline).await;
    near.close().await;
    far.close().await;
    operator.close().await;
    world.stop().await;
}

/// Panics where the first link is told of, in the task that tells.
struct Panics(AtomicBool);

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "guildhall_client::links" && *metadata.level() == tracing::Level::INFO
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Values<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {
        assert!(self.0.swap(true, Ordering::Relaxed), "the first link is told of");
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test]
async fn a_link_whose_keeper_panics_ends_and_is_dialed_again() {
    let world = World::new().await;
    // Who listens later hears of a place that is known already; of one that another thread makes known meanwhile it might not.
    world.client(2).await.close().await;
    // Whatever is wrong in a task that keeps a link; this is how a test comes to be within it.
    let panics = tracing::subscriber::set_default(Panics(AtomicBool::new(false)));
    let client = world.client(1).await;
    drop(panics);
    assert_eq!(client.link_counters().of(LinkCounter::LinksDialed), 2);
    found(&client, 10).await;
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn sessions_of_a_link_that_was_away_for_too_long_are_released_and_told_of_again_when_it_is_back() {
    let world = World::serving(NodeConfig::default(), |serve| serve.sessions_kept = Duration::from_millis(50));
    let wire = Wire::to(world.address).await;
    let (near, far) = (client_over(&world, &wire).await, world.client(2).await);
    found(&far, 10).await;
    let backend = near.backend().unwrap();
    let mut sessions = Vec::new();
    for number in 2..=6 {
        sessions.push(soon(backend.attach(GUILD, attach(number))).await.unwrap());
    }
    let other = soon(far.backend().unwrap().attach(GUILD, attach(7))).await.unwrap();
    until_online(&world, 6).await;
    wire.cut();
    until_online(&world, 1).await;
    assert!(world.node.counts().of(Counter::SessionsForsaken) >= 5);
    wire.mend();
    until_online(&world, 6).await;
    soon(far.guild(GUILD).call(Actor::User(user(1)), message(7))).await.unwrap();
    for session in &mut sessions {
        let told = async {
            loop {
                match session.next().await {
                    Some(Delivery::Event(_)) => return,
                    Some(Delivery::Ephemeral(_) | Delivery::Gap(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        soon(told).await;
    }
    // What it shows is taken, for the owner knows it again.
    soon(sessions[0].set_status(Status::Idle)).await.unwrap();
    drop((sessions, other));
    near.close().await;
    far.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_backend_that_ends_without_a_word_to_its_sessions_leaves_nobody_online() {
    let world = World::serving(NodeConfig::default(), |serve| serve.sessions_kept = Duration::from_millis(50));
    let (gone, stays) = (world.client(1).await, world.client(2).await);
    found(&stays, 10).await;
    let backend = gone.backend().unwrap();
    let mut sessions = Vec::new();
    for number in 2..=6 {
        sessions.push(soon(backend.attach(GUILD, attach(number))).await.unwrap());
    }
    // One has come back at the other backend before.
    let resume = Resume { attach: attach(2), secret: sessions[0].secret(), known: sessions[0].known() };
    let mut resumed = soon(stays.backend().unwrap().resume(GUILD, resume)).await.unwrap();
    gone.close().await;
    drop((sessions, backend, gone));
    until_online(&world, 1).await;
    assert_eq!(world.node.counts().of(Counter::SessionsForsaken), 4);
    soon(resumed.session.detach()).await.unwrap();
    until_online(&world, 0).await;
    // A session of that number is nobody's any more.
    let number = SessionId::new(1_003).unwrap();
    let anew = soon(stays.backend().unwrap().attach(GUILD, attach(3))).await.unwrap();
    assert_eq!(anew.session(), number);
    drop(anew);
    stays.close().await;
    world.stop().await;
}
