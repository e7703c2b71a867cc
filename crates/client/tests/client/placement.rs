//! Guilds at several nodes: found where they are, and followed where they are placed next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guildhall_client::{Attach, Client, ClientConfig, ClientError, Delivery, Freshness, SessionStream};
use guildhall_cluster::{Coordinator, Peer};
use guildhall_node::{Counter, Membership, Node, NodeConfig, SecretKey, SecretKeys, Serving};
use guildhall_proto::{
    Actor, Command, EventKind, GuildId, Instance, Level, Millis, NodeId, Position, SessionId, Status,
};
use guildhall_store::{EmbeddedCoordinator, MemoryStore, Store};
use guildhall_transport::Endpoint;
use guildhall_transport::pki::Authority;

use crate::world::{GUILD, LOOPBACK, credentials, found, found_as, ids, message, new_member, serve, soon, today, user};

/// Some nodes over one store.
struct Cluster {
    authority: Authority,
    coordinator: Arc<EmbeddedCoordinator>,
    nodes: Vec<Member>,
}

struct Member {
    id: NodeId,
    instance: Instance,
    node: Node,
    serving: Serving,
    endpoint: Endpoint,
}

impl Cluster {
    fn of(nodes: u64) -> Self {
        let (authority, _) = Authority::create("main".parse().unwrap(), today()).unwrap();
        let coordinator = Arc::new(EmbeddedCoordinator::new(Millis(1)));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let start = |number| Member::start(number, &authority, &coordinator, Arc::clone(&store));
        let nodes = (1..=nodes).map(start).collect();
        Self { authority, coordinator, nodes }
    }

    async fn client(&self, number: u64) -> Client {
        let credentials = credentials(&self.authority, &format!("spiffe://main/backend/chat-{number}"));
        let addresses = self.nodes.iter().map(|member| member.endpoint.address().unwrap()).collect();
        let config = ClientConfig { bind: LOOPBACK, ..ClientConfig::new(addresses, credentials) };
        soon(Client::connect(config)).await.unwrap()
    }

    /// Which of the nodes a guild is placed with.
    fn place(&self, guild: GuildId) -> usize {
        let place = self.coordinator.placement().find(guild).unwrap();
        self.nodes.iter().position(|member| member.id == place.node).unwrap()
    }

    fn count(&self, counter: Counter) -> u64 {
        self.nodes.iter().map(|member| member.node.counts().of(counter)).sum()
    }

    async fn stop(self) {
        for member in self.nodes {
            member.stop(&self.coordinator).await;
        }
    }
}

impl Member {
    fn start(
        number: u64,
        authority: &Authority,
        coordinator: &Arc<EmbeddedCoordinator>,
        store: Arc<dyn Store>,
    ) -> Self {
        let (id, instance) = ids(number, 1);
        let membership = Membership { node: id, instance, coordinator: Arc::clone(coordinator) as Arc<_> };
        let mut config = NodeConfig::default();
        config.resume.keys = Some(SecretKeys::new(SecretKey { number: 1, key: [7; 32] }));
        let node = Node::start_as(config, store, membership).unwrap();
        let (serving, endpoint) = serve(&node, authority, LOOPBACK, (id, instance), |_| {});
        coordinator.join(id, Peer { instance, addresses: vec![endpoint.address().unwrap()] });
        Self { id, instance, node, serving, endpoint }
    }

    async fn stop(self, coordinator: &EmbeddedCoordinator) {
        self.node.stop().await;
        coordinator.leave(self.id, self.instance);
        self.serving.stop().await;
        self.endpoint.close().await;
    }
}

#[tokio::test]
async fn guilds_are_found_wherever_they_are_placed_and_found_again_where_their_node_has_gone() {
    let mut cluster = Cluster::of(3);
    let (first, second) = (cluster.client(1).await, cluster.client(2).await);
    let guilds: Vec<GuildId> = (1..=24).map(|number| GuildId::new(number).unwrap()).collect();
    for guild in &guilds {
        found_as(&first, *guild, 3).await;
    }
    let awake: Vec<usize> = cluster.nodes.iter().map(|member| member.node.awake()).collect();
    let placed: Vec<usize> =
        (0..3).map(|node| guilds.iter().filter(|guild| cluster.place(**guild) == node).count()).collect();
    assert_eq!(awake, placed);
    assert!(placed.iter().all(|guilds| *guilds > 0), "{placed:?}");
    for guild in &guilds {
        soon(second.guild(*guild).fresh(Freshness::Strong).member(user(3))).await.unwrap();
    }
    // A way that is known is gone again without a question.
    let before = cluster.count(Counter::CallsFailedMoved);
    for guild in &guilds {
        soon(second.guild(*guild).member(user(3))).await.unwrap();
    }
    assert_eq!(cluster.count(Counter::CallsFailedMoved), before);

    let gone = cluster.nodes.remove(1);
    gone.stop(&cluster.coordinator).await;
    for (guild, client) in guilds.iter().zip([&first, &second].into_iter().cycle()) {
        soon(client.guild(*guild).call(Actor::System, Command::AddMember(new_member(4)))).await.unwrap();
        soon(client.guild(*guild).fresh(Freshness::Strong).member(user(4))).await.unwrap();
    }
    assert_eq!(cluster.nodes.iter().map(|member| member.node.awake()).sum::<usize>(), guilds.len());
    first.close().await;
    second.close().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_feed_whose_guild_is_placed_elsewhere_says_where_and_is_opened_there() {
    let cluster = Cluster::of(2);
    let client = cluster.client(1).await;
    found(&client, 10).await;
    let attach = Attach::new(SessionId::new(2).unwrap(), user(2));
    let mut session = soon(client.backend().unwrap().attach(GUILD, attach)).await.unwrap();
    let elsewhere = &cluster.nodes[1 - cluster.place(GUILD)];
    // What was asked while nobody knew the way.
    let before = cluster.count(Counter::CallsFailedMoved);
    cluster.coordinator.pin(GUILD, elsewhere.id).unwrap();
    let opened = async {
        while elsewhere.node.counts().of(Counter::FeedsOpened) == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(opened).await;
    assert_eq!(cluster.count(Counter::FeedsEndedMoved), 1);
    let published = soon(client.guild(GUILD).call(Actor::User(user(1)), message(7))).await.unwrap().at();
    loop {
        match soon(session.next()).await.expect("the session goes on") {
            Delivery::Event(event) if event.position == published => break,
            Delivery::Event(_) | Delivery::Ephemeral(_) | Delivery::Gap(_) | Delivery::Unread(_) => {}
            Delivery::Detached(reason) => panic!("{reason:?}"),
        }
    }
    assert_eq!(cluster.count(Counter::CallsFailedMoved), before, "nobody had to ask where it is");
    client.close().await;
    cluster.stop().await;
}

/// What one session hears until it is told that there is no more, with what it missed.
async fn hear(mut session: SessionStream, last: Arc<tokio::sync::OnceCell<Position>>) -> Heard {
    let mut heard = Heard::default();
    let mut at = Position::default();
    while last.get().is_none_or(|last| at < *last) {
        match soon(session.next()).await.expect("the session goes on") {
            Delivery::Event(event) => {
                assert!(event.position > at, "{} came after {at}", event.position);
                at = event.position;
                if matches!(event.kind, EventKind::MessagePublished(_)) {
                    heard.messages.push(at);
                }
            }
            Delivery::Gap(gap) => {
                assert!(gap.through >= at, "a gap up to {} came after {at}", gap.through);
                at = gap.through;
                heard.gaps.push((gap.after, gap.through));
            }
            Delivery::Ephemeral(_) | Delivery::Unread(_) => {}
            Delivery::Detached(reason) => panic!("{reason:?}"),
        }
    }
    heard
}

#[derive(Default)]
struct Heard {
    messages: Vec<Position>,
    gaps: Vec<(Position, Position)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guild_that_is_placed_elsewhere_goes_on_there_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::of(2);
    let (near, far) = (cluster.client(1).await, cluster.client(2).await);
    found(&near, 10).await;
    let attach = |number| Attach {
        session: SessionId::new(number).unwrap(),
        user: user(number),
        status: Status::Online,
        members: false,
        level: Level::Active,
    };
    let last = Arc::new(tokio::sync::OnceCell::new());
    let mut hearing = Vec::new();
    for number in 2..=5 {
        let session = soon(near.backend().unwrap().attach(GUILD, attach(number))).await.unwrap();
        hearing.push(tokio::spawn(hear(session, Arc::clone(&last))));
    }
    let over = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (far, over) = (far.clone(), Arc::clone(&over));
        async move {
            let (mut published, mut number) = (Vec::new(), 0);
            while !over.load(Ordering::Acquire) {
                number += 1;
                match soon(far.guild(GUILD).call(Actor::User(user(1)), message(number))).await {
                    Ok(outcome) => published.push(outcome.at()),
                    // Its owner ended with it in its hands.
                    Err(ClientError::OutcomeUnknown) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            published
        }
    });
    let adding = tokio::spawn({
        let (far, over) = (far.clone(), Arc::clone(&over));
        async move {
            let mut number = 1_000;
            while !over.load(Ordering::Acquire) {
                number += 1;
                soon(far.guild(GUILD).call(Actor::System, Command::AddMember(new_member(number)))).await.unwrap();
            }
            number
        }
    });
    let mut epoch = soon(near.guild(GUILD).member(user(1))).await.unwrap().0.at.epoch;
    for _ in 0..10 {
        let elsewhere = &cluster.nodes[1 - cluster.place(GUILD)];
        let place = cluster.coordinator.pin(GUILD, elsewhere.id).unwrap();
        assert_eq!(place.node, elsewhere.id);
        // Whoever asks is led to the next owner.
        loop {
            let (as_of, _) = soon(near.guild(GUILD).member(user(1))).await.unwrap();
            if as_of.at.epoch > epoch {
                epoch = as_of.at.epoch;
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(soon(elsewhere.node.view(GUILD)).await.unwrap().position().epoch, epoch);
    }
    over.store(true, Ordering::Release);
    let (published, added) = (soon(publishing).await.unwrap(), soon(adding).await.unwrap());
    let (_, member) = soon(near.guild(GUILD).fresh(Freshness::Strong).member(user(added))).await.unwrap();
    assert_eq!(member.user, user(added));
    // All that were acknowledged are there, once.
    let view = soon(cluster.nodes[cluster.place(GUILD)].node.view(GUILD)).await.unwrap();
    assert_eq!(view.len() as u64, 10 + (added - 1_000));
    let end = soon(far.guild(GUILD).call(Actor::User(user(1)), message(0))).await.unwrap().at();
    last.set(end).unwrap();
    // Who has heard that before it was said to be the last waits for one more.
    soon(far.guild(GUILD).call(Actor::User(user(1)), message(0))).await.unwrap();
    for hearing in hearing {
        let heard = soon(hearing).await.unwrap();
        for at in &published {
            let missed = heard.gaps.iter().any(|(after, through)| after < at && at <= through);
            assert!(missed || heard.messages.binary_search(at).is_ok(), "{at} is neither heard nor under a gap");
        }
    }
    near.close().await;
    far.close().await;
    cluster.stop().await;
}
