//! The client: its links, and the clock, routes and budget that all its calls share.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use guildhall_cluster::{Micros, RetryBudget, Routes};
use guildhall_proto::call::{Answer, Request};
use guildhall_proto::{ClientId, Hello, Instance, Millis, NodeId, SessionId, Versions, mix};
use guildhall_relay::SecretKeys;
use guildhall_sessions::{Backend, Rings};
use guildhall_transport::{Counters as LinkCounters, Endpoint, Role};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::counters::Counters;
use crate::error::{ClientError, ConnectError};
use crate::links::{self, Linked, Links};
use crate::operations::Operations;
use crate::remote::Remote;

/// A chat backend's, or an operator's, way to the guilds. Clones share it, and so do its guilds, backend and sessions; with the last of all these its
/// links close.
#[derive(Clone)]
pub struct Client {
    pub(crate) held: Held,
    /// The one that there is: a link has one feed of a guild.
    backend: Arc<OnceLock<Backend<Remote>>>,
}

/// What all calls share, and with it the links.
#[derive(Clone)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    /// The tasks that keep the links end with the last clone.
    _keepers: Arc<Mutex<JoinSet<()>>>,
}

/// What all calls share.
pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) role: Role,
    pub(crate) links: Links,
    pub(crate) routes: Mutex<Routes>,
    pub(crate) budget: Mutex<RetryBudget>,
    pub(crate) rings: Arc<Rings>,
    /// Since the first link of a backend stands.
    pub(crate) keys: OnceLock<ArcSwap<SecretKeys>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) closed: watch::Sender<bool>,
    began: Instant,
    /// What jitter is drawn from, counted up with each call.
    seed: AtomicU64,
    /// Those that calls are.
    pub(crate) operations: Operations,
}

impl Client {
    /// Dials the nodes, and waits until one of them is linked, at most as long as a call may take. Links that end are dialed anew, for
    /// as long as the client is there. Needs a tokio runtime.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::served(async |address, credentials| {
    /// use std::time::Duration;
    ///
    /// use guildhall_client::{Client, ClientConfig};
    ///
    /// // `Credentials::read` finds these in the directory that `guildhall pki issue backend NAME` has made.
    /// let mut config = ClientConfig::new(vec![address], credentials);
    /// config.deadline = Duration::from_secs(5);
    /// let client = Client::connect(config).await?;
    /// # client.close().await;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        if config.nodes.is_empty() {
            return Err(ConnectError::NoNodes);
        }
        // Drawn anew in each run: what one has asked under its name, the next cannot take for its own.
        let [seed, instance, node, client] = [random()?, random()?, random()?, random()?];
        let (node, client) = (NodeId::new(node).unwrap_or(NodeId::MIN), ClientId::new(client).unwrap_or(ClientId::MIN));
        let hello = Hello { versions: Versions::SUPPORTED, node, instance: Instance(instance) };
        let endpoint = Endpoint::dialing(config.bind, &config.credentials, hello, config.transport)?;
        // Of two links of one client a node keeps the newer: an address that is named twice would be dialed for ever.
        let (nodes, deadline) = (BTreeSet::from_iter(config.nodes.iter().copied()), config.deadline);
        let shared = Arc::new(Shared {
            role: config.credentials.identity().role,
            endpoint,
            links: Links::default(),
            routes: Mutex::new(Routes::new(config.routes)),
            budget: Mutex::new(RetryBudget::new(config.budget, Micros(0))),
            rings: Arc::new(Rings::new(config.rings_bytes_max, || ())),
            keys: OnceLock::new(),
            counters: Arc::default(),
            closed: watch::Sender::new(false),
            began: Instant::now(),
            seed: AtomicU64::new(seed),
            operations: Operations::new(client),
            config,
        });
        let mut keepers = JoinSet::new();
        for address in nodes {
            keepers.spawn(links::keep(Arc::clone(&shared), address, shared.next_seed()));
        }
        let held = Held { shared, _keepers: Arc::new(Mutex::new(keepers)) };
        let client = Self { held, backend: Arc::default() };
        match client.held.linked(Instant::now() + deadline).await {
            Some(_) => Ok(client),
            None => Err(ConnectError::Unreachable { within: deadline, why: client.held.links.failure() }),
        }
    }

    /// Sessions of this backend node, always the same: one feed for each guild that some attach to, with its relay here. `None` if this is no
    /// backend, by its certificate.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{GuildId, UserId};
    /// use guildhall_client::Attach;
    ///
    /// let backend = client.backend().expect("the certificate is a backend's");
    /// let attach = Attach::new(client.new_session(), UserId::new(3)?);
    /// let session = backend.attach(GuildId::new(1)?, attach).await?;
    /// assert_eq!((backend.relays(), session.session()), (1, attach.session));
    /// # Ok(()) }) }
    /// ```
    pub fn backend(&self) -> Option<Backend<Remote>> {
        self.held.keys.get()?;
        let backend = || Backend::new(Remote::new(self.held.clone()), self.held.config.relay);
        Some(self.backend.get_or_init(backend).clone())
    }

    /// An id for a new session, which no other has, of this client or any: but for a chance of one in some 10^18 for each two.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// assert_ne!(client.new_session(), client.new_session());
    /// # Ok(()) }) }
    /// ```
    pub fn new_session(&self) -> SessionId {
        let drawn = mix(self.held.next_seed());
        SessionId::new(drawn >> 1 | 1 << 62).expect("it is above 0 and far from the end")
    }

    /// What the client counts.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::Counter;
    ///
    /// assert_eq!(client.counters().of(Counter::SessionsCut), 0);
    /// for counter in Counter::ALL {
    ///     println!("{} {}", counter.name(), client.counters().of(*counter));
    /// }
    /// # Ok(()) }) }
    /// ```
    pub fn counters(&self) -> &Counters {
        &self.held.counters
    }

    /// What its links count: dials that failed, links that ended, and lanes that were refused, each by the reason.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::LinkCounter;
    ///
    /// assert_eq!(client.link_counters().of(LinkCounter::LinksDialed), 1);
    /// assert_eq!(client.link_counters().of(LinkCounter::LaneHalf), 0);
    /// # Ok(()) }) }
    /// ```
    pub fn link_counters(&self) -> &LinkCounters {
        self.held.endpoint.counters()
    }

    /// Closes all links, and tells the nodes. Sessions are cut. A call that is under way, and may have been carried out, ends with
    /// [`ClientError::OutcomeUnknown`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{GuildId, UserId};
    /// use guildhall_client::ClientError;
    ///
    /// client.close().await;
    /// let asked = client.guild(GuildId::new(1)?).member(UserId::new(1)?).await;
    /// assert_eq!(asked.unwrap_err(), ClientError::Closed);
    /// # Ok(()) }) }
    /// ```
    pub async fn close(&self) {
        self.held.closed.send_replace(true);
        self.held.endpoint.close().await;
    }
}

impl Shared {
    /// The clock of calls.
    pub(crate) fn now(&self) -> Micros {
        Micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When that is, by the runtime's clock.
    pub(crate) fn instant(&self, at: Micros) -> Instant {
        self.began + Duration::from_micros(at.0)
    }

    pub(crate) fn next_seed(&self) -> u64 {
        self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Any link, when there is one; `None` at the deadline, or once the client is closed.
    pub(crate) async fn linked(&self, deadline: Instant) -> Option<Arc<Linked>> {
        let mut closed = self.closed.subscribe();
        loop {
            let mut news = std::pin::pin!(self.links.news.notified());
            // Listening begins before the look, so that no link is missed.
            news.as_mut().enable();
            if *closed.borrow_and_update() {
                return None;
            }
            if let Some(linked) = self.links.any() {
                return Some(linked);
            }
            tokio::select! {
                () = news => {}
                _ = closed.changed() => {}
                () = tokio::time::sleep_until(deadline) => return None,
            }
        }
    }

    /// Asks a node for the keys of sessions' secrets, if this is a backend.
    pub(crate) async fn fetch_keys(&self, linked: &Linked) -> Result<(), ClientError> {
        if self.role != Role::Backend {
            return Ok(());
        }
        let answered = linked.ask(self.config.deadline, Request::SecretKeys).await;
        match answered {
            Ok(Answer::SecretKeys { current, previous }) => {
                let keys = Arc::new(SecretKeys::with_previous(current, previous));
                self.keys.get_or_init(|| ArcSwap::new(Arc::clone(&keys))).store(keys);
                Ok(())
            }
            Ok(other) => Err(ClientError::Answer(format!("{other:?} in place of keys"))),
            Err(failed) => Err(failed.into()),
        }
    }
}

impl Deref for Held {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.held.config.nodes).finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("links", &self.links).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("links", &self.links).finish_non_exhaustive()
    }
}

/// The time of day.
pub(crate) fn wall_clock() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn random() -> Result<u64, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
