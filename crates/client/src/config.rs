//! How a client is set up.

use std::net::SocketAddr;
use std::time::Duration;

use guildhall_cluster::{BudgetConfig, RetryConfig, RoutesConfig};
use guildhall_ring::{LatestConfig, RingConfig};
use guildhall_sessions::Returning;
use guildhall_transport::{BackoffConfig, Credentials, TransportConfig};

pub use guildhall_relay::RelayConfig;

/// How a client is set up.
#[derive(Debug)]
pub struct ClientConfig {
    /// Where the guild nodes are, one address of each (of two links of one client a node keeps the newer): any of them says which of the others has a guild, but not where that is.
    pub nodes: Vec<SocketAddr>,
    /// Who this is.
    pub credentials: Credentials,
    /// From where it dials. Default: any port of all addresses, of IPv6 if one of the nodes' is.
    pub bind: SocketAddr,
    /// How long a call may take that says nothing of it. Default 10 s. Shorter, and calls fail that a node in trouble would have
    /// answered; longer, and callers wait for what will not come. At most 10 minutes, for as long an operation is known by its id.
    pub deadline: Duration,
    /// How calls are repeated.
    pub retry: RetryConfig,
    /// How much may be repeated.
    pub budget: BudgetConfig,
    /// How many guilds' places are kept in mind.
    pub routes: RoutesConfig,
    /// How soon a node is dialed again whose link has ended.
    pub redial: BackoffConfig,
    /// The bounds of links.
    pub transport: TransportConfig,
    /// The bounds of relays.
    pub relay: RelayConfig,
    /// The bounds of what a link has brought of one guild and its relay has not read. Default 4,096 events, 8 MiB. Less, and a relay that is
    /// held up loses events of a burst, which its sessions are told as a gap; more is memory in a busy guild.
    pub feed: RingConfig,
    /// The same of typing and presence.
    pub told: LatestConfig,
    /// Bytes of all rings together. Default 1 GiB. Less, and busy guilds' sessions are told gaps sooner.
    pub rings_bytes_max: usize,
    /// How sessions come back.
    pub returning: Returning,
}

impl ClientConfig {
    /// The defaults for a backend node.
    pub fn new(nodes: Vec<SocketAddr>, credentials: Credentials) -> Self {
        let bind = match nodes.iter().any(SocketAddr::is_ipv6) {
            true => SocketAddr::from(([0_u16; 8], 0)),
            false => SocketAddr::from(([0; 4], 0)),
        };
        Self {
            nodes,
            credentials,
            bind,
            deadline: Duration::from_secs(10),
            retry: RetryConfig::default(),
            budget: BudgetConfig::default(),
            routes: RoutesConfig::default(),
            redial: BackoffConfig::default(),
            transport: TransportConfig::default(),
            relay: RelayConfig::default(),
            feed: RingConfig { entries_max: 4_096, bytes_max: 8 * 1024 * 1024 },
            told: LatestConfig::default(),
            rings_bytes_max: 1024 * 1024 * 1024,
            returning: Returning {
                within: Duration::from_secs(60),
                secret_lifetime: Duration::from_secs(24 * 60 * 60),
            },
        }
    }
}
