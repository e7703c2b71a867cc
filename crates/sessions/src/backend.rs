//! One backend node's relays: each comes with its guild's first session and goes with its last.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use guildhall_proto::{CallError, Ephemeral, GuildId, Level, SessionId, Status, Unread, UserId};
use guildhall_relay::{DetachReason, Gap, RelayConfig};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::batch::{BatchSession, Batches};
use crate::guilds::Guilds;
use crate::local::LocalRelay;
use crate::stream::SessionStream;

/// One backend node's relays. Clones share them.
pub struct Backend<G: Guilds> {
    pub(crate) shared: Arc<Shared<G>>,
}

pub(crate) struct Shared<G: Guilds> {
    pub(crate) guilds: G,
    config: RelayConfig,
    relays: Mutex<HashMap<GuildId, Arc<Slot<G>>>>,
}

/// A guild's relay and how many leases keep it; counted under the lock of the map.
pub(crate) struct Slot<G: Guilds> {
    shared: Arc<Shared<G>>,
    guild: GuildId,
    leases: AtomicUsize,
    pub(crate) relay: OnceLock<Arc<LocalRelay<G>>>,
    /// What all who came since it was begun wait for, while it is being opened.
    opening: Mutex<Option<Opening<G>>>,
}

/// Tells what became of the opening of a relay.
type Opening<G> = watch::Receiver<Option<Result<Arc<LocalRelay<G>>, CallError>>>;

/// Keeps a guild's relay: the last one to go closes it. One pointer, for each session has one.
pub(crate) struct Lease<G: Guilds>(pub(crate) Arc<Slot<G>>);

/// A session to be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attach {
    /// The session's id, of its own in the whole cluster.
    pub session: SessionId,
    /// Whose session it is; must be a member.
    pub user: UserId,
    /// Whether the user is there.
    pub status: Status,
    /// Whether the session wants to hear of other members' changes and presence too.
    pub members: bool,
    /// How closely the session listens.
    pub level: Level,
}

impl Attach {
    /// A session of a user who is there and looks at the guild, and does not want to hear of other members' changes.
    pub const fn new(session: SessionId, user: UserId) -> Self {
        Self { session, user, status: Status::Online, members: false, level: Level::Active }
    }
}

/// What a session hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// An event that is for the session.
    Event(Arc<guildhall_proto::Event>),
    /// The session has lost events: it reads the guild anew, as of the gap's end or later, and hears on from there.
    Gap(Gap),
    /// To a passive session: in which channels there is news.
    Unread(Unread),
    /// To an active session: somebody types, or is there or not. It comes after all events up to its position.
    Ephemeral(Ephemeral),
    /// The session has ended; nothing follows.
    Detached(DetachReason),
}

/// Why a session was not attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The guild did not take it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A session of this id is attached here already.
    #[error("{session:?} is attached here already")]
    AlreadyAttached {
        /// Which.
        session: SessionId,
    },
    /// The relay has all the sessions it may have.
    #[error("the relay has {max} sessions already")]
    Full {
        /// How many it may have.
        max: usize,
    },
}

impl<G: Guilds> Backend<G> {
    /// Without relays yet.
    pub fn new(guilds: G, config: RelayConfig) -> Self {
        Self { shared: Arc::new(Shared { guilds, config, relays: Mutex::default() }) }
    }

    /// Attaches a session that reads for itself: it hears every event after its attach that its member may see.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub async fn attach(&self, guild: GuildId, attach: Attach) -> Result<SessionStream<G>, AttachError> {
        let (relay, lease) = self.relay(guild).await?;
        SessionStream::attach(relay, lease, attach).await
    }

    /// Attaches a session that is served by this backend's [`batches`](Self::batches) of the guild, under a `token` of the caller's.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub async fn attach_batch(
        &self,
        guild: GuildId,
        attach: Attach,
        token: u64,
    ) -> Result<BatchSession<G>, AttachError> {
        let (relay, lease) = self.relay(guild).await?;
        BatchSession::attach(relay, lease, attach, token).await
    }

    /// What all batch sessions of a guild here hear, for one consumer; `None` if there is one already.
    ///
    /// # Errors
    /// `UnknownGuild`, `Unavailable` or `Stopping`.
    pub async fn batches(&self, guild: GuildId) -> Result<Option<Batches<G>>, CallError> {
        let (relay, lease) = self.relay(guild).await?;
        Ok(Batches::take(relay, lease))
    }

    /// Relays that there are.
    pub fn relays(&self) -> usize {
        self.shared.relays.lock().len()
    }

    /// About how much memory the relays take, in bytes, without what streams and batch consumers hold. O(cohorts of all relays).
    pub fn memory_bytes(&self) -> usize {
        // Not under the lock of the map: each relay has its own.
        let slots: Vec<Arc<Slot<G>>> = self.shared.relays.lock().values().cloned().collect();
        slots.iter().filter_map(|slot| slot.relay.get()).map(|relay| relay.core.lock().relay.memory_bytes()).sum()
    }

    pub(crate) async fn relay(&self, guild: GuildId) -> Result<(Arc<LocalRelay<G>>, Lease<G>), CallError> {
        loop {
            let lease = self.lease(guild);
            let relay = lease.opened().await?;
            if !relay.is_closed() {
                return Ok((relay, lease));
            }
            // Its feed has ended for good: those who still hold it let it go in their time, and the next one begins anew.
            lease.forget();
        }
    }

    fn lease(&self, guild: GuildId) -> Lease<G> {
        let mut relays = self.shared.relays.lock();
        let slot = relays.entry(guild).or_insert_with(|| Slot::of(&self.shared, guild));
        slot.leases.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(slot))
    }
}

impl<G: Guilds> Slot<G> {
    /// One that is in the map as long as somebody has a lease of it, and no longer: so it does not keep the backend by itself.
    fn of(shared: &Arc<Shared<G>>, guild: GuildId) -> Arc<Self> {
        let (shared, leases, relay) = (Arc::clone(shared), AtomicUsize::new(0), OnceLock::new());
        Arc::new(Self { shared, guild, leases, relay, opening: Mutex::default() })
    }
}

impl<G: Guilds> Lease<G> {
    /// The relay, once it is opened. One opening is for all who wait meanwhile, also if it comes to nothing: who comes then begins the next.
    async fn opened(&self) -> Result<Arc<LocalRelay<G>>, CallError> {
        let mut opening = {
            let mut opening = self.0.opening.lock();
            if let Some(relay) = self.0.relay.get() {
                return Ok(Arc::clone(relay));
            }
            match opening.as_ref().filter(|under_way| under_way.has_changed().is_ok()) {
                Some(under_way) => under_way.clone(),
                None => opening.insert(self.open()).clone(),
            }
        };
        match opening.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone().expect("it is waited for"),
            Err(_) => {
                Err(CallError::Unavailable { reason: String::from("the opening of the guild's relay broke off") })
            }
        }
    }

    /// Opens the relay in a task of its own, which keeps it until then: whoever came first may go away meanwhile.
    fn open(&self) -> Opening<G> {
        let (tell, opening) = watch::channel(None);
        let lease = self.clone();
        tokio::spawn(async move {
            let Slot { shared, guild, .. } = &*lease.0;
            let opened = LocalRelay::open(shared.guilds.clone(), *guild, shared.config).await;
            {
                let mut opening = lease.0.opening.lock();
                *opening = None;
                if let Ok(relay) = &opened {
                    lease.0.relay.get_or_init(|| Arc::clone(relay));
                }
            }
            tell.send_replace(Some(opened));
        });
        opening
    }

    fn forget(&self) {
        self.take_out(&mut self.0.shared.relays.lock());
    }

    fn take_out(&self, relays: &mut HashMap<GuildId, Arc<Slot<G>>>) {
        if relays.get(&self.0.guild).is_some_and(|slot| Arc::ptr_eq(slot, &self.0)) {
            relays.remove(&self.0.guild);
        }
    }
}

impl<G: Guilds> Clone for Lease<G> {
    fn clone(&self) -> Self {
        // Without the lock of the map: while there is this one, the last does not go.
        self.0.leases.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<G: Guilds> Drop for Lease<G> {
    fn drop(&mut self) {
        let mut relays = self.0.shared.relays.lock();
        if self.0.leases.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.take_out(&mut relays);
            drop(relays);
            if let Some(relay) = self.0.relay.get() {
                relay.close();
            }
        }
    }
}

impl<G: Guilds> Clone for Backend<G> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<G: Guilds> fmt::Debug for Backend<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("relays", &self.relays()).finish_non_exhaustive()
    }
}
