//! A cluster of one guild node, and clients of it, in one line each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guildhall_client::{Client, ClientConfig};
use guildhall_node::{Node, NodeConfig, ServeConfig, Serving};
use guildhall_proto::{
    Actor, Channel, ChannelId, ChannelKind, Command, GuildId, Hello, Instance, MemberFlags, Mentions, Millis, Name,
    NewMember, Nick, NodeId, Outcome, Payload, Permissions, Publish, UserId, Versions,
};
use guildhall_store::{MemoryStore, Store};
use guildhall_transport::pki::{Authority, Issued, Validity};
use guildhall_transport::{Credentials, Endpoint, TransportConfig};
use tokio::time::timeout;

/// One guild node that is served, over a store that outlives it.
pub(crate) struct World {
    authority: Authority,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: Node,
    /// Gone while it is between two runs.
    served: Option<(Serving, Endpoint)>,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(NodeConfig::default())
    }

    pub(crate) fn with(config: NodeConfig) -> Self {
        Self::serving(config, |_| {})
    }

    pub(crate) fn serving(config: NodeConfig, change: impl FnOnce(&mut ServeConfig)) -> Self {
        let (authority, _) = Authority::create("main".parse().unwrap(), today()).unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let node = Node::start(config, Arc::clone(&store)).unwrap();
        let (serving, endpoint) = serve(&node, &authority, LOOPBACK, ids(1, 1), change);
        let address = endpoint.address().unwrap();
        Self { authority, store, node, served: Some((serving, endpoint)), address }
    }

    /// The node stops, and another run of it comes, at the same address, over the same store.
    pub(crate) async fn restart(&mut self, config: NodeConfig) {
        self.end().await;
        self.node = Node::start(config, Arc::clone(&self.store)).unwrap();
        self.served = Some(serve(&self.node, &self.authority, self.address, ids(1, 2), |_| {}));
    }

    pub(crate) fn config(&self, number: u64) -> ClientConfig {
        let credentials = credentials(&self.authority, &format!("spiffe://main/backend/chat-{number}"));
        self.config_of(credentials)
    }

    pub(crate) fn operator(&self) -> ClientConfig {
        self.config_of(credentials(&self.authority, "spiffe://main/operator/ada"))
    }

    fn config_of(&self, credentials: Credentials) -> ClientConfig {
        ClientConfig { bind: LOOPBACK, ..ClientConfig::new(vec![self.address], credentials) }
    }

    pub(crate) async fn client(&self, number: u64) -> Client {
        soon(Client::connect(self.config(number))).await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        if let Some((serving, endpoint)) = self.served.take() {
            serving.stop().await;
            endpoint.close().await;
        }
        self.node.stop().await;
    }
}

pub(crate) fn any() -> SocketAddr {
    LOOPBACK
}

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Which node, and which run of it.
pub(crate) fn ids(node: u64, instance: u64) -> (NodeId, Instance) {
    (NodeId::new(node).unwrap(), Instance(instance))
}

pub(crate) fn serve(
    node: &Node,
    authority: &Authority,
    address: SocketAddr,
    (id, instance): (NodeId, Instance),
    change: impl FnOnce(&mut ServeConfig),
) -> (Serving, Endpoint) {
    let hello = Hello { versions: Versions::SUPPORTED, node: id, instance };
    let credentials = credentials(authority, &format!("spiffe://main/guild-node/{id}"));
    let (endpoint, acceptor) = Endpoint::listening(address, &credentials, hello, TransportConfig::default()).unwrap();
    let mut config = ServeConfig::new(id, instance);
    change(&mut config);
    (node.serve(acceptor, config), endpoint)
}

pub(crate) fn today() -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    Validity { from: Millis(now - 3_600_000), lifetime: Duration::from_secs(7_200) }
}

pub(crate) fn credentials(authority: &Authority, uri: &str) -> Credentials {
    let Issued { certificate, key } = authority.issue(uri.parse().unwrap(), today()).unwrap();
    Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.certificate().as_bytes()).unwrap()
}

pub(crate) const GUILD: GuildId = GuildId::MIN;

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn channel() -> ChannelId {
    ChannelId::new(50).unwrap()
}

pub(crate) fn new_member(number: u64) -> NewMember {
    let nick = Nick::parse(&format!("user {number}")).unwrap();
    NewMember { user: user(number), nick, roles: Vec::new(), flags: MemberFlags::NONE }
}

pub(crate) fn message(number: u64) -> Command {
    let payload = Payload::new(number.to_le_bytes().to_vec()).unwrap();
    Command::Publish(Publish { channel: channel(), payload, mentions: Mentions::default(), session: None, echo: false })
}

/// A guild of which the users from 1 on are members, with a channel that all see and write in.
pub(crate) async fn found(client: &Client, members: u64) -> Outcome {
    found_as(client, GUILD, members).await
}

pub(crate) async fn found_as(client: &Client, guild: GuildId, members: u64) -> Outcome {
    let guild = client.guild(guild);
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    let create = Command::CreateGuild { name: Name::parse("one").unwrap(), everyone, owner: new_member(1) };
    soon(guild.call(Actor::System, create)).await.unwrap();
    let text = Channel {
        id: channel(),
        name: Name::parse("hall").unwrap(),
        kind: ChannelKind::Text,
        parent: None,
        position: 0,
    };
    let create = Command::CreateChannel { channel: text, overwrites: Vec::new() };
    soon(guild.call(Actor::System, create)).await.unwrap();
    let lines = (2..=members).map(new_member).collect();
    soon(guild.call(Actor::System, Command::ImportMembers(lines))).await.unwrap()
}

/// What has to come, and comes at once where nothing is wrong.
pub(crate) async fn soon<T>(coming: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), coming).await.expect("it comes soon")
}
