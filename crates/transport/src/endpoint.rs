//! An endpoint: the socket from which a node dials others and, if it is a guild node, where it is dialed.
//!
//! A link comes to be in two steps under one deadline: the handshake, in which both show certificates of the cluster's authority; then, once each has seen
//! whose the other's is, hello. Nothing of an endpoint runs by itself but the library's driver: who listens polls [`Acceptor::accept`], and
//! handshakes go on in tasks that end with it.

mod acceptor;
mod gathering;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use guildhall_proto::frame::{Kind, Lane, Side};
use guildhall_proto::{Hello, HelloAnswer, Version, Versions, codec};
use tokio::time::{Instant, timeout_at};

use crate::counters::{Counter, Counters};
use crate::credentials::{Credentials, CredentialsError, peer_identity};
use crate::lane::{LaneReceiver, LaneSender};
use crate::link::{Dialed, Link, Peer};
use crate::register::Register;
use crate::{CloseReason, Closed, ConfigError, Identity, IdentityError, LaneError, Role, TransportConfig};

pub use acceptor::Acceptor;

/// Dials links. Cheap to clone; the socket closes with the last handle, [`Acceptor`] and link.
#[derive(Debug, Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

/// Why an endpoint cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its limits do not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its credentials are of no use.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Only a guild node is dialed.
    #[error("{identity} is not a guild node, and nobody dials another")]
    NotGuildNode {
        /// Who it is.
        identity: Identity,
    },
    /// The address is taken, or not this machine's.
    #[error(transparent)]
    Address(#[from] io::Error),
}

/// Why a link did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is of no use.
    #[error("the address cannot be dialed: {0}")]
    Address(String),
    /// Handshake and hello took too long.
    #[error("nobody answered in time")]
    Late,
    /// Who answered is not a guild node of this cluster.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The other end speaks other versions.
    #[error("the other end speaks versions {supported}, and this one {asked}")]
    Version {
        /// What this end can speak.
        asked: Versions,
        /// What the other can.
        supported: Versions,
    },
    /// What was answered to hello is no answer.
    #[error("no answer to hello: {0}")]
    Hello(LaneError),
    /// The link ended before it stood: who was dialed refused it, perhaps, and [`Closed`] says why.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// What dialing and accepting have in common.
#[derive(Debug)]
struct Shared {
    quic: quinn::Endpoint,
    dialing: quinn::ClientConfig,
    identity: Identity,
    /// What is said first: which node this is.
    hello: Hello,
    config: TransportConfig,
    counters: Arc<Counters>,
    register: Arc<Register>,
}

impl Endpoint {
    /// One that only dials. Binds a port of `address`, which may have port 0 for any; needs a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn dialing(
        address: SocketAddr,
        credentials: &Credentials,
        hello: Hello,
        config: TransportConfig,
    ) -> Result<Self, BindError> {
        config.check()?;
        let socket = socket::dialing(address)?;
        let quic = quinn::Endpoint::new(credentials.endpoint(), None, socket, Arc::new(gathering::Gathering))?;
        Self::new(quic, credentials, hello, config)
    }

    /// One that also listens at `address`, for a guild node.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn listening(
        address: SocketAddr,
        credentials: &Credentials,
        hello: Hello,
        config: TransportConfig,
    ) -> Result<(Self, Acceptor), BindError> {
        config.check()?;
        let identity = credentials.identity();
        if identity.role != Role::GuildNode {
            return Err(BindError::NotGuildNode { identity: identity.clone() });
        }
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(credentials.server()?));
        server
            // The lane of hello ends before there are calls, and its place is theirs.
            .transport_config(Arc::new(config.quic(config.calls_max, 0)))
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_TOTAL_BYTES_MAX);
        let socket = socket::listening(address)?;
        let quic = quinn::Endpoint::new(credentials.endpoint(), Some(server), socket, Arc::new(gathering::Gathering))?;
        let endpoint = Self::new(quic, credentials, hello, config)?;
        let acceptor = Acceptor::new(Arc::clone(&endpoint.shared));
        Ok((endpoint, acceptor))
    }

    fn new(
        quic: quinn::Endpoint,
        credentials: &Credentials,
        hello: Hello,
        config: TransportConfig,
    ) -> Result<Self, BindError> {
        let mut dialing = quinn::ClientConfig::new(Arc::new(credentials.client()?));
        dialing.transport_config(Arc::new(config.quic(0, PUSH_LANES_MAX)));
        let identity = credentials.identity().clone();
        let (counters, register) = (Arc::new(Counters::default()), Register::new(&config));
        Ok(Self { shared: Arc::new(Shared { quic, dialing, identity, hello, config, counters, register }) })
    }

    /// The address with the port that was bound.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.shared.quic.local_addr()
    }

    /// What this endpoint counts.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Closes all links, and listens no more. Waits until the other ends were told, but no longer than they may take to hear.
    pub async fn close(&self) {
        self.shared.quic.close(CloseReason::Done.code(), CloseReason::Done.name().as_bytes());
        self.shared.quic.wait_idle().await;
    }

    /// Dials the guild node at `address`, once. May be dropped while it waits.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: SocketAddr) -> Result<Dialed, DialError> {
        let dialed = self.shared.dial(address).await;
        self.shared.counters.bump(dialed.as_ref().map_or_else(Counter::from, |_| Counter::LinksDialed));
        dialed
    }
}

impl Shared {
    async fn dial(&self, address: SocketAddr) -> Result<Dialed, DialError> {
        let deadline = Instant::now() + self.config.handshake;
        let connecting = self.quic.connect_with(self.dialing.clone(), address, SERVER_NAME);
        let connecting = connecting.map_err(|error| DialError::Address(error.to_string()))?;
        let connection = timeout_at(deadline, connecting).await.map_err(|_| DialError::Late)?.map_err(Closed::from)?;
        let greeted = match timeout_at(deadline, self.greet(&connection)).await {
            Ok(greeted) => greeted,
            Err(_) => Err((CloseReason::Late, DialError::Late)),
        };
        match greeted {
            Ok((peer, version)) => Ok(Dialed::new(self.link(connection, peer, version, None))),
            Err((reason, error)) => {
                connection.close(reason.code(), error.to_string().as_bytes());
                Err(error)
            }
        }
    }

    /// Says hello to who was dialed. Fails with what that is to be told.
    async fn greet(&self, connection: &quinn::Connection) -> Result<(Peer, Version), (CloseReason, DialError)> {
        let identity = self.welcome(connection, Some(Role::GuildNode));
        let identity = identity.map_err(|error| (CloseReason::Identity, error.into()))?;
        let wrong = |error| {
            if let LaneError::Closed(closed) = error {
                return (CloseReason::Done, DialError::Closed(closed));
            }
            (CloseReason::Hello, DialError::Hello(error))
        };
        let streams = connection.open_bi().await.map_err(|error| wrong(LaneError::Closed(error.into())))?;
        let (mut sender, mut receiver) = self.hello_lane(streams, Side::Opener);
        sender.append_value(Kind::Hello, &self.hello).map_err(wrong)?;
        sender.finish().await.map_err(wrong)?;
        let frame = receiver.only().await.map_err(wrong)?;
        match codec::decode(&frame.body).map_err(|error| wrong(error.into()))? {
            HelloAnswer::Accepted { version, node, instance } if self.hello.versions.contains(version) => {
                Ok((Peer { identity, node, instance }, version))
            }
            HelloAnswer::Accepted { version, .. } => {
                let supported = Versions::new(version, version).expect("a version is a range of one");
                Err((CloseReason::Version, DialError::Version { asked: self.hello.versions, supported }))
            }
            HelloAnswer::NoCommonVersion { supported, .. } => {
                Err((CloseReason::Version, DialError::Version { asked: self.hello.versions, supported }))
            }
        }
    }

    /// Who is at the other end, if it is somebody of this cluster and has that role.
    fn welcome(&self, connection: &quinn::Connection, role: Option<Role>) -> Result<Identity, IdentityError> {
        let identity = peer_identity(connection).and_then(|identity| identity.expect(&self.identity.cluster, role));
        identity.inspect_err(|error| self.counters.bump(error.into()))
    }

    /// The first lane, from the end that is `here`. Its times are bounded by the deadline of the whole.
    fn hello_lane(
        &self,
        (send, receive): (quinn::SendStream, quinn::RecvStream),
        here: Side,
    ) -> (LaneSender, LaneReceiver) {
        let there = match here {
            Side::Opener => Side::Acceptor,
            Side::Acceptor => Side::Opener,
        };
        let any = self.hello.versions.least();
        let counters = Arc::clone(&self.counters);
        let receiver = LaneReceiver::new(receive, Lane::Hello(there), any, None, &self.config, counters);
        (LaneSender::new(send, Lane::Hello(here), any), receiver)
    }

    fn link(
        &self,
        connection: quinn::Connection,
        peer: Peer,
        version: Version,
        seat: Option<crate::register::Seat>,
    ) -> Link {
        Link::new(connection, peer, version, self.config, Arc::clone(&self.counters), seat)
    }
}

/// TLS wants a name of whom it dials. It is neither sent nor compared: see [`crate::Identity`].
const SERVER_NAME: &str = "guildhall";

/// Lanes that who was dialed may open: one for feeds, one for what is told of now.
const PUSH_LANES_MAX: u32 = 2;

/// Handshakes that wait to be looked at, which is a matter of microseconds each; beyond these, the library passes over a first packet, and who
/// means it sends it again. Many more than may be under way, so that honest ones are still among them when a flood comes; each is one packet.
const INCOMING_MAX: usize = 4_096;

/// What is kept of packets that one of these sends meanwhile: a few.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// The same of all of them.
const INCOMING_TOTAL_BYTES_MAX: u64 = 4 * 1024 * 1024;
