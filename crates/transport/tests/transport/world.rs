//! A cluster's authority, and endpoints with credentials of it, in one line each.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guildhall_proto::frame::Kind;
use guildhall_proto::{Hello, Instance, Millis, NodeId, Versions};
use guildhall_transport::pki::{Authority, Issued, Validity};
use guildhall_transport::{
    Accepted, Acceptor, Counter, Credentials, Dialed, Endpoint, LaneReceiver, LaneSender, TransportConfig,
};

pub(crate) fn now() -> Millis {
    Millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

/// From an hour ago, for two hours.
pub(crate) fn today() -> Validity {
    Validity { from: Millis(now().0 - 3_600_000), lifetime: Duration::from_secs(7_200) }
}

pub(crate) fn authority(cluster: &str) -> Authority {
    Authority::create(cluster.parse().unwrap(), today()).unwrap().0
}

/// Credentials that `authority` has issued, and which judge others by it.
pub(crate) fn credentials(authority: &Authority, uri: &str) -> Credentials {
    let issued = authority.issue(uri.parse().unwrap(), today()).unwrap();
    held(&issued, authority)
}

pub(crate) fn held(Issued { certificate, key }: &Issued, authority: &Authority) -> Credentials {
    Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.certificate().as_bytes()).unwrap()
}

pub(crate) fn hello(node: u64) -> Hello {
    Hello { versions: Versions::SUPPORTED, node: NodeId::new(node).unwrap(), instance: Instance(node * 100) }
}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A guild node that listens, with one address.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) acceptor: Acceptor,
    pub(crate) address: SocketAddr,
}

pub(crate) fn node(authority: &Authority, config: TransportConfig) -> Node {
    node_with(&credentials(authority, "spiffe://main/guild-node/a"), config)
}

pub(crate) fn node_with(credentials: &Credentials, config: TransportConfig) -> Node {
    let (endpoint, acceptor) = Endpoint::listening(any(), credentials, hello(1), config).unwrap();
    let address = endpoint.address().unwrap();
    Node { endpoint, acceptor, address }
}

pub(crate) fn backend(authority: &Authority, node: u64) -> Endpoint {
    backend_with(authority, node, TransportConfig::default())
}

pub(crate) fn backend_with(authority: &Authority, node: u64, config: TransportConfig) -> Endpoint {
    let credentials = credentials(authority, "spiffe://main/backend/chat");
    Endpoint::dialing(any(), &credentials, hello(node), config).unwrap()
}

/// Both ends of a link.
pub(crate) struct Pair {
    pub(crate) node: Node,
    pub(crate) backend: Endpoint,
    pub(crate) dialed: Dialed,
    pub(crate) accepted: Accepted,
}

pub(crate) async fn pair(config: TransportConfig) -> Pair {
    let authority = authority("main");
    let (mut node, backend) = (node(&authority, config), backend(&authority, 2));
    let (dialed, accepted) = tokio::join!(backend.dial(node.address), node.acceptor.accept());
    Pair { backend, dialed: dialed.unwrap(), accepted: accepted.unwrap(), node }
}

/// One call from both ends: (sender, receiver) of who asks, then of who answers. The request is one byte.
pub(crate) struct CallLanes {
    pub(crate) asker: (LaneSender, LaneReceiver),
    pub(crate) answerer: (LaneSender, LaneReceiver),
}

pub(crate) async fn call(pair: &Pair) -> CallLanes {
    let mut asker = pair.dialed.call().await.unwrap();
    asker.0.append(Kind::Request, b"?").unwrap();
    asker.0.flush().await.unwrap();
    let mut answerer = pair.accepted.next_call().await.unwrap();
    assert_eq!(answerer.1.next().await.unwrap().unwrap().kind, Kind::Request);
    CallLanes { asker, answerer }
}

pub(crate) fn counted(endpoint: &Endpoint, counter: Counter) -> u64 {
    endpoint.counters().of(counter)
}

/// The counters that are not 0, by name.
pub(crate) fn all_counted(endpoint: &Endpoint) -> Vec<(&'static str, u64)> {
    endpoint.counters().pull().into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Waits until that was counted so often: what a task counts behind the scenes has no other sign.
pub(crate) async fn until_counted(endpoint: &Endpoint, counter: Counter, count: u64) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while counted(endpoint, counter) < count {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{counter:?} is {} and not {count}", counted(endpoint, counter));
}

/// How long a test waits for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
