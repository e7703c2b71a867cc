//! Nodes of several, each of which owns what is placed with it.

use std::sync::Arc;

use guildhall_cluster::{Coordinator, Peer};
use guildhall_node::{Call, Membership, Node, NodeConfig};
use guildhall_proto::{Actor, CallError, ClientId, Command, GuildId, Instance, Millis, NodeId, OpId, Permissions};
use guildhall_store::{EmbeddedCoordinator, Store};

use crate::store::TestStore;
use crate::world::{ADA, NOW, add_member, attach, name, new_member, soon, until, user};

/// Nodes over one store, none of which has joined yet.
struct Cluster {
    store: Arc<TestStore>,
    coordinator: Arc<EmbeddedCoordinator>,
    nodes: Vec<Node>,
}

const GUILD: GuildId = GuildId::MIN;

fn id(index: usize) -> NodeId {
    NodeId::new(1 + index as u64).unwrap()
}

fn call(counter: u64, command: Command) -> Call {
    let op = OpId { client: ClientId::MIN, counter, issued_at: NOW };
    Call { op, actor: Actor::System, command }
}

fn create() -> Call {
    let everyone = Permissions::VIEW_CHANNEL;
    call(1, Command::CreateGuild { name: name("guild"), everyone, owner: new_member(ADA) })
}

impl Cluster {
    fn of(nodes: usize) -> Self {
        let coordinator = Arc::new(EmbeddedCoordinator::new(Millis(0)));
        let store = Arc::<TestStore>::default();
        let start = |index| {
            let coordinator = Arc::clone(&coordinator) as Arc<dyn Coordinator>;
            let membership = Membership { node: id(index), instance: Instance(1), coordinator };
            let clock = guildhall_node::Clock::from_fn(|| NOW);
            let config = NodeConfig { clock, ..NodeConfig::default() };
            Node::start_as(config, Arc::clone(&store) as Arc<_>, membership).unwrap()
        };
        let nodes = (0..nodes).map(start).collect();
        Self { store, coordinator, nodes }
    }

    fn join(&self, index: usize) {
        self.coordinator.join(id(index), Peer { instance: Instance(1), addresses: Vec::new() });
    }

    /// Two nodes that have joined, the guild at the first.
    async fn of_two() -> Self {
        let cluster = Self::of(2);
        cluster.join(0);
        cluster.join(1);
        cluster.place(0);
        soon(cluster.nodes[0].call(GUILD, create())).await.unwrap();
        cluster
    }

    fn place(&self, index: usize) {
        self.coordinator.pin(GUILD, id(index)).unwrap();
    }

    /// That of the node at this index.
    fn moved(&self, index: usize) -> CallError {
        let place = self.coordinator.placement().find(GUILD).unwrap();
        assert_eq!(place.node, id(index));
        CallError::Moved { node: place.node, grant: place.grant }
    }

    async fn stop(self) {
        for node in self.nodes {
            soon(node.stop()).await;
        }
    }
}

#[tokio::test]
async fn a_node_owns_nothing_before_it_has_joined_nor_after_it_is_said_to_have_left() {
    let cluster = Cluster::of(1);
    let node = &cluster.nodes[0];
    let early = soon(node.call(GUILD, create())).await.unwrap_err();
    assert!(matches!(early, CallError::Unavailable { .. }), "{early}");
    assert_eq!(cluster.store.claims(), 0);
    cluster.join(0);
    soon(node.call(GUILD, create())).await.unwrap();
    cluster.coordinator.leave(id(0), Instance(1));
    until(|| node.awake() == 0).await;
    assert!(matches!(soon(node.member(GUILD, user(ADA))).await, Err(CallError::Unavailable { .. })));
    // Another run of the same node is not this one.
    cluster.coordinator.join(id(0), Peer { instance: Instance(2), addresses: Vec::new() });
    assert!(matches!(soon(node.member(GUILD, user(ADA))).await, Err(CallError::Unavailable { .. })));
    cluster.stop().await;
}

#[tokio::test]
async fn who_asks_a_node_that_a_guild_is_not_placed_with_is_told_where_it_is_and_nothing_is_claimed() {
    let cluster = Cluster::of(2);
    cluster.join(0);
    cluster.join(1);
    cluster.place(1);
    let elsewhere = Err(cluster.moved(1));
    assert_eq!(soon(cluster.nodes[0].call(GUILD, create())).await, elsewhere);
    assert_eq!(soon(cluster.nodes[0].member(GUILD, user(ADA))).await.map(|_| ()), elsewhere.map(|_| ()));
    assert_eq!((cluster.store.claims(), cluster.nodes[0].awake()), (0, 0));
    soon(cluster.nodes[1].call(GUILD, create())).await.unwrap();
    assert_eq!((cluster.store.claims(), cluster.nodes[1].awake()), (1, 1));
    cluster.stop().await;
}

#[tokio::test]
async fn a_guild_that_is_placed_elsewhere_ends_here_with_all_that_it_has_accepted_and_goes_on_there() {
    let cluster = Cluster::of_two().await;
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let backend = first.backend();
    let mut session = attach(&backend, GUILD, 1, ADA).await;
    let accepted: Vec<_> =
        (2..50).map(|number| first.begin(GUILD, call(number, add_member(number))).unwrap()).collect();
    cluster.place(1);
    until(|| first.awake() == 0).await;
    // Each was carried out, or was told that the guild is gone before it was.
    let mut added = 1;
    for pending in accepted {
        match soon(pending.answer()).await {
            Ok(_) => added += 1,
            Err(CallError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(soon(first.call(GUILD, call(60, add_member(60)))).await, Err(cluster.moved(1)));
    // A session beside the node that had it hears the end, and may come back elsewhere.
    while soon(session.next()).await.is_some() {}
    let view = soon(second.view(GUILD)).await.unwrap();
    assert_eq!((view.len(), view.position().epoch.0), (added, 2));
    cluster.stop().await;
}

#[tokio::test]
async fn an_owner_whose_guild_was_placed_elsewhere_and_back_ends_for_it_may_have_been_claimed_there() {
    let cluster = Cluster::of_two().await;
    let first = &cluster.nodes[0];
    // Nobody here has heard of the first change when the second is made; and the other node has claimed the guild between.
    cluster.place(1);
    let between = cluster.coordinator.placement().find(GUILD).unwrap().grant;
    cluster.place(0);
    cluster.store.claim(GUILD, between).unwrap();
    until(|| first.awake() == 0).await;
    // The next owner here shuts out whoever claims by what was given between.
    let view = soon(first.view(GUILD)).await.unwrap();
    assert_eq!(view.position().epoch.0, 3);
    assert!(cluster.store.claim(GUILD, between).is_err());
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_guild_that_was_fenced_off_is_not_read_where_it_is_not_any_more() {
    let cluster = Cluster::of_two().await;
    let first = &cluster.nodes[0];
    // Another claims it before the placement says so: the owner here retires at its next record.
    let grant = cluster.coordinator.placement().find(GUILD).unwrap().grant;
    cluster.store.claim(GUILD, grant).unwrap();
    let lost = soon(first.begin(GUILD, call(2, add_member(2))).unwrap().answer()).await;
    assert!(lost.is_err(), "{lost:?}");
    cluster.place(1);
    let read = soon(first.member(GUILD, user(ADA))).await.map(|_| ());
    assert_eq!(read, Err(cluster.moved(1)));
    assert_eq!(first.awake(), 0);
    cluster.stop().await;
}
