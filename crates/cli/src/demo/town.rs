//! The cluster of a demo, in one process: guild nodes over one store, and backend nodes that reach them over links of loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use guildhall_client::{Backend, Client, ClientConfig, Guild};
use guildhall_node::{
    Coordinator, Counter, Membership, Node, NodeConfig, Peer, SecretKey, SecretKeys, ServeConfig, Serving,
};
use guildhall_proto::{GuildId, Hello, Instance, Millis, NodeId, Versions};
use guildhall_store::EmbeddedStore;
use guildhall_transport::pki::{Authority, Validity};
use guildhall_transport::{Credentials, Endpoint, TransportConfig};

use super::seat::RELAYS;
use crate::data;
use crate::operations::now;

/// Guild nodes and backend nodes.
pub(super) struct Town {
    coordinator: Arc<dyn Coordinator>,
    halls: Vec<Hall>,
    clients: Vec<Client>,
}

/// One guild node.
struct Hall {
    id: NodeId,
    instance: Instance,
    node: Node,
    serving: Serving,
    endpoint: Endpoint,
}

impl Town {
    /// Starts the guild nodes, and links the backend nodes to all of them. Must be called within a runtime.
    pub(super) async fn open(store: Arc<EmbeddedStore>) -> anyhow::Result<Self> {
        let now = now()?;
        let validity = Validity { from: Millis(now.0 - HOUR.as_millis() as u64), lifetime: 24 * HOUR };
        let (authority, _) = Authority::create("demo".parse()?, validity)?;
        let [key @ .., _, _, _, _, _, _, _, _] = data::random()?;
        let keys = SecretKeys::new(SecretKey { number: 1, key });
        let coordinator: Arc<dyn Coordinator> = {
            let store = Arc::clone(&store);
            Arc::new(tokio::task::spawn_blocking(move || store.coordinator(now)).await??)
        };
        let mut halls = Vec::new();
        for number in 1..=NODES {
            let who = credentials(&authority, validity, &format!("guild-node/{number}"))?;
            halls.push(Hall::open(number, &who, keys.clone(), &store, &coordinator)?);
        }
        let addresses: Vec<SocketAddr> = halls.iter().map(|hall| hall.endpoint.address()).collect::<Result<_, _>>()?;
        let mut clients = Vec::new();
        for number in 0..RELAYS {
            let who = credentials(&authority, validity, &format!("backend/{number}"))?;
            let mut config = ClientConfig { bind: LOOPBACK, ..ClientConfig::new(addresses.clone(), who) };
            // Imports and prunes of a large guild take their time.
            config.deadline = PATIENCE;
            config.relay.ring.entries_max = RELAY_EVENTS;
            config.relay.ring.bytes_max = RELAY_BYTES;
            clients.push(Client::connect(config).await.context("a backend node does not reach the guild nodes")?);
        }
        Ok(Self { coordinator, halls, clients })
    }

    /// A guild as one of the backend nodes calls it.
    pub(super) fn guild(&self, backend: usize, guild: GuildId) -> Guild {
        self.clients[backend % self.clients.len()].guild(guild)
    }

    /// That of each backend node.
    pub(super) fn backends(&self) -> anyhow::Result<Arc<[Backend]>> {
        let backend = |client: &Client| client.backend().context("a backend that is linked has no keys of sessions");
        self.clients.iter().map(backend).collect()
    }

    /// The node that a guild is placed with.
    pub(super) fn node_of(&self, guild: GuildId) -> anyhow::Result<&Node> {
        Ok(&self.halls[self.place(guild)?].node)
    }

    /// Places a guild with the next node.
    pub(super) fn move_on(&self, guild: GuildId) -> anyhow::Result<()> {
        let next = (self.place(guild)? + 1) % self.halls.len();
        self.coordinator.pin(guild, self.halls[next].id)?;
        Ok(())
    }

    /// How often each node has loaded a guild that the store had.
    pub(super) fn woken(&self) -> Vec<u64> {
        self.halls.iter().map(|hall| hall.node.counts().of(Counter::GuildsWoken)).collect()
    }

    /// Which of the nodes a guild is placed with.
    pub(super) fn place(&self, guild: GuildId) -> anyhow::Result<usize> {
        let place = self.coordinator.placement().find(guild);
        let idx = place.and_then(|place| self.halls.iter().position(|hall| hall.id == place.node));
        idx.with_context(|| format!("the guild {guild} is placed nowhere"))
    }

    pub(super) const fn nodes(&self) -> usize {
        self.halls.len()
    }

    /// Guilds awake at all nodes.
    pub(super) fn awake(&self) -> usize {
        self.halls.iter().map(|hall| hall.node.awake()).sum()
    }

    /// Operations that nodes have refused for want of room, or that have come to a node that does not have their guild.
    pub(super) fn sent_again(&self) -> (u64, u64) {
        let of = |counter| self.halls.iter().map(|hall| hall.node.counts().of(counter)).sum();
        (of(Counter::CallsFailedOverloaded), of(Counter::CallsFailedMoved))
    }

    /// Closes the backend nodes: whoever listens there hears the end.
    pub(super) async fn close_backends(&self) {
        for client in &self.clients {
            client.close().await;
        }
    }

    pub(super) async fn stop(self) {
        for Hall { id, instance, node, serving, endpoint } in self.halls {
            node.stop().await;
            self.coordinator.leave(id, instance);
            serving.stop().await;
            endpoint.close().await;
        }
    }
}

impl Hall {
    fn open(
        number: u64,
        who: &Credentials,
        keys: SecretKeys,
        store: &Arc<EmbeddedStore>,
        coordinator: &Arc<dyn Coordinator>,
    ) -> anyhow::Result<Self> {
        let (id, instance) = (NodeId::new(number)?, Instance(1));
        let mut config = NodeConfig::default();
        config.ring.entries_max = GUILD_EVENTS;
        config.resume.keys = Some(keys);
        let membership = Membership { node: id, instance, coordinator: Arc::clone(coordinator) };
        let node = Node::start_as(config, Arc::clone(store) as Arc<_>, membership).context("a node does not start")?;
        let hello = Hello { versions: Versions::SUPPORTED, node: id, instance };
        let (endpoint, acceptor) = Endpoint::listening(LOOPBACK, who, hello, TransportConfig::default())?;
        let serving = node.serve(acceptor, ServeConfig::new(id, instance));
        coordinator.join(id, Peer { instance, addresses: vec![endpoint.address()?] });
        Ok(Self { id, instance, node, serving, endpoint })
    }
}

fn credentials(authority: &Authority, validity: Validity, who: &str) -> anyhow::Result<Credentials> {
    let issued = authority.issue(format!("spiffe://demo/{who}").parse()?, validity)?;
    let (certificate, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
    Ok(Credentials::from_pem(certificate, key, authority.certificate().as_bytes())?)
}

/// Events that each relay's ring holds. The reader that stopped has to be passed by as many.
pub(super) const RELAY_EVENTS: usize = 4_096;
/// Bytes that each relay's ring holds: no bound beside its events.
const RELAY_BYTES: usize = 16 * 1024 * 1024;
/// Events that the guild's ring holds: those of some seconds.
const GUILD_EVENTS: usize = 16_384;
/// Guild nodes.
const NODES: u64 = 3;
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
