//! A node: the handle through which everything is asked of the guilds it owns.

use std::fmt;
use std::sync::{Arc, Weak};

use guildhall_guild::{Purpose, Reply, SessionRequest};
use guildhall_proto::limits::TYPING_EVERY;
use guildhall_proto::{
    Actor, CallError, ChannelId, Command, CommandError, Ephemeral, EphemeralKind, Grant, GuildId, Millis, NodeId, OpId,
    Outcome, SessionId, Sponsor, Subject, UserId,
};
use guildhall_relay::SecretKeys;
use guildhall_sessions::{Arrivals, Rings};
use guildhall_store::Store;
use guildhall_transport::Standing;
use tokio::runtime::Handle;

use crate::beside::Backend;
use crate::config::{NodeConfig, ResumeConfig};
use crate::confirm::Confirmations;
use crate::counters::{Counter, Counters, Counts};
use crate::keys::{Keys, NoRandomness};
use crate::last::Readable;
use crate::live::{self, Live, NoReply, Request};
use crate::membership::{Membership, Whereabouts};
use crate::offload::Offload;
use crate::owner::{SleepError, Surroundings};
use crate::registry::{Places, Registry};
use crate::sponsors::{Sponsoring, Sponsors};

/// A running node. Clones share it. Lives until [`stop`](Self::stop); dropping every handle leaves its guilds running until they sleep.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    config: NodeConfig,
    registry: Registry,
    offload: Offload,
    counters: Arc<Counters>,
    rings: Arc<Rings>,
    arrivals: Arrivals,
    keys: Keys,
    confirmations: Arc<Confirmations>,
    sponsors: Sponsors,
}

/// A node, if there is somebody who holds it.
pub(crate) struct WeakNode(Weak<Shared>);

/// A command with all that decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation's name; a retry bears the same.
    pub op: OpId,
    /// On whose behalf.
    pub actor: Actor,
    /// What to do.
    pub command: Command,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The offload workers could not be started.
    #[error("the offload workers do not start: {0}")]
    Offload(#[from] rayon::ThreadPoolBuildError),
    /// There are no keys for sessions' secrets.
    #[error(transparent)]
    Keys(#[from] NoRandomness),
}

/// A command that is on its way: its place in the guild's order is taken.
#[derive(Debug)]
pub struct Pending(live::Answer);

impl Node {
    /// Starts a node that has `store`, and all its guilds, for itself. Must be called within a tokio runtime, on which its owners will run.
    ///
    /// # Errors
    /// [`StartError`] if the workers do not start.
    pub fn start(config: NodeConfig, store: Arc<dyn Store>) -> Result<Self, StartError> {
        Self::start_with(config, store, Whereabouts::Here)
    }

    /// Starts a node of several over one `store`: it owns the guilds that are placed with it, from when it has joined, which is left to the caller,
    /// for who is told of it is told its addresses too. After a [`stop`](Self::stop) it is to leave. Its sessions come back at other nodes if all
    /// are given the same keys. Must be called within a tokio runtime, on which its owners will run.
    ///
    /// # Errors
    /// [`StartError`] if the workers do not start.
    pub fn start_as(config: NodeConfig, store: Arc<dyn Store>, membership: Membership) -> Result<Self, StartError> {
        Self::start_with(config, store, Whereabouts::Placed(membership))
    }

    fn start_with(config: NodeConfig, store: Arc<dyn Store>, whereabouts: Whereabouts) -> Result<Self, StartError> {
        let keys = Keys::new(config.resume.keys.clone())?;
        let counters = Arc::new(Counters::default());
        let offload = Offload::start(config.offload.clone(), Arc::clone(&counters))?;
        let counted = Arc::clone(&counters);
        let rings = Arc::new(Rings::new(config.rings_bytes_max, move || counted.bump(Counter::RingsCutBack)));
        let counted = Arc::clone(&counters);
        let runtime = Handle::current();
        let arrivals = Arrivals::new(runtime.metrics().num_workers(), move || counted.of(Counter::Calls));
        let confirmations = Arc::new(Confirmations::new(Arc::clone(&store), Arc::clone(&counters)));
        let around = Surroundings {
            runtime,
            clock: config.clock.clone(),
            turn: config.turn.clone(),
            store,
            offload: offload.clone(),
            counters: Arc::clone(&counters),
            places: Arc::new(Places::new(config.guilds_max)),
            rings: Arc::clone(&rings),
            whereabouts,
        };
        let registry = Registry::new(config.clone(), around);
        let sponsors = Sponsors::default();
        let shared = Shared { config, registry, offload, counters, rings, arrivals, keys, confirmations, sponsors };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Carries a command out and waits for its outcome. If the guild's owner ends meanwhile, a durable command is retried under the
    /// same operation id, which applies it at most once.
    ///
    /// Dropped while it waits, it leaves the command on its way: a durable one may be called again under the same operation id.
    ///
    /// # Errors
    /// [`CallError`]: `Refused` by the guild, or as too large; `Overloaded`, `Stopping`, `Moved` or `Unavailable` if nothing happened; `OutcomeUnknown` if an
    /// owner ended with the command and it was a message, or could not be retried.
    pub async fn call(&self, guild: GuildId, call: Call) -> Result<Outcome, CallError> {
        let durable = call.command.is_durable();
        let creates = matches!(call.command, Command::CreateGuild { .. });
        if creates && call.actor != Actor::System {
            // Before a guild is loaded for it: it would take a place to be refused there.
            return Err(CallError::Refused(CommandError::SystemOnly));
        }
        let purpose = match creates {
            true => Purpose::Create,
            false if durable => Purpose::Change,
            false => Purpose::Use,
        };
        if creates {
            self.shared.registry.rehearse_creation(guild, &call)?;
        }
        let Call { op, actor, command } = call;
        let mut lost = false;
        let mut tried = 0;
        while tried < OWNERS_TRIED_MAX {
            let live = match self.shared.registry.load(guild, purpose).await {
                Ok(live) => live,
                Err(error) => return Err(after(lost, error)),
            };
            match live.post_command(op, actor, command.clone(), self.counters()) {
                Ok(None) => {}
                Err(error) => return Err(after(lost, error)),
                Ok(Some(answer)) => match answer.await {
                    Ok(Err(NoReply::Unhandled)) => {}
                    Ok(answer) => return outcome(answer).map_err(|error| after(lost, error)),
                    Err(_) if durable => lost = true,
                    Err(_) => return Err(CallError::OutcomeUnknown),
                },
            }
            tried += usize::from(ended_early(&live).await);
        }
        Err(after(lost, ended_too_often()))
    }

    /// Posts a command to a guild that is awake, without waiting: commands begun one after the other are handled in that order.
    /// Nothing is retried, and a guild that sleeps is not woken, for that takes time: [`view`](Self::view) wakes it.
    ///
    /// # Errors
    /// `Refused` if it is too large; `Overloaded`, `Stopping`, or `Unavailable` if the guild is not awake. Nothing has happened then.
    pub fn begin(&self, guild: GuildId, call: Call) -> Result<Pending, CallError> {
        let live = self.shared.registry.awake(guild).ok_or_else(|| self.not_loaded())?;
        let Call { op, actor, command } = call;
        let answer = live.post_command(op, actor, command, self.counters())?.ok_or_else(|| self.not_loaded())?;
        Ok(Pending(answer))
    }

    /// Tells that a member types in a channel, to the active sessions that see it. Told again within [`TYPING_EVERY`] it is accepted,
    /// and nobody hears of it. It may be lost, and is over by itself after [`TYPING_SHOWN`](guildhall_proto::limits::TYPING_SHOWN).
    ///
    /// # Errors
    /// [`CallError`]: `Refused` by the guild, `Overloaded`, `Stopping` or `Unavailable`. Nothing was told then.
    pub async fn typing(&self, guild: GuildId, user: UserId, channel: ChannelId) -> Result<(), CallError> {
        self.tell_typing(guild, user, channel).await.map(|_| ())
    }

    /// The same, with what the guild answers.
    pub(crate) async fn tell_typing(
        &self,
        guild: GuildId,
        user: UserId,
        channel: ChannelId,
    ) -> Result<Reply, CallError> {
        let live = self.live(guild).await?;
        // Before the mailbox, so that who holds down a key costs the owner nothing.
        if let Some(Ephemeral { kind: EphemeralKind::Typing { since, .. }, at }) =
            live.feed.told.get(&Subject { user, channel: Some(channel) })
            && self.time().since(since) < TYPING_EVERY
        {
            self.counters().bump(Counter::TypingRepeated);
            return Ok(Reply::Accepted(at));
        }
        self.retried(guild, |live| live.post(Request::Typing { user, channel }, self.counters())).await
    }

    /// A new backend node's part, with relays of its own.
    pub fn backend(&self) -> Backend {
        Backend::new(self.clone(), self.shared.config.relay)
    }

    /// Signs the secrets of sessions by these keys from now on, takes what is signed with either of them, and gives them to backends, which ask
    /// for them again each minute. All nodes of a cluster are to have the same: whoever starts them makes the keys, and gives them to all.
    ///
    /// A key has to be the other one for some minutes before it signs, as [`SecretKeys::announcing`] has it: else what one backend signs with it
    /// is refused by those that have not asked yet. Then it signs ([`SecretKeys::rotated`]), and the one before stays the other one for as long
    /// as what it has signed is good.
    pub fn rotate_session_keys(&self, keys: SecretKeys) {
        self.shared.keys.replace(keys);
    }

    /// Has a guild fall asleep now: all that only memory holds goes to the store, and its memory is freed. Its next call, read or
    /// attach wakes it. A guild that is not awake sleeps already, also one that does not exist.
    ///
    /// # Errors
    /// [`SleepError`]; the guild is then awake as before, but for [`SleepError::Asked`].
    pub async fn sleep(&self, guild: GuildId) -> Result<(), SleepError> {
        self.shared.registry.sleep(guild).await
    }

    /// How many guilds are awake, those being loaded among them.
    pub fn awake(&self) -> usize {
        self.shared.registry.awake_or_loading()
    }

    /// The node's counters, pulled.
    pub fn counts(&self) -> Counts {
        self.counters().pull()
    }

    /// Stops the node: every owner lets out what it has accepted, and refuses the rest. Sessions hear what was let out, and then
    /// their end. Waits for the store to take what was accepted; a store that never answers keeps it waiting.
    pub async fn stop(&self) {
        self.shared.registry.stop().await;
    }

    /// What all rings of the node have leased of [`NodeConfig::rings_bytes_max`], in bytes.
    pub fn ring_bytes(&self) -> usize {
        self.all_rings().budget().leased()
    }

    pub(crate) fn all_arrivals(&self) -> &Arrivals {
        &self.shared.arrivals
    }

    pub(crate) fn all_rings(&self) -> &Arc<Rings> {
        &self.shared.rings
    }

    pub(crate) fn session_keys(&self) -> Arc<SecretKeys> {
        self.shared.keys.load()
    }

    pub(crate) fn resume_config(&self) -> &ResumeConfig {
        &self.shared.config.resume
    }

    /// The time by the node's clock.
    pub(crate) fn time(&self) -> Millis {
        self.shared.config.clock.now()
    }

    /// Carries a session's request out. Being idempotent, it is retried if the guild's owner ends meanwhile.
    pub(crate) async fn ask_of_session(
        &self,
        guild: GuildId,
        session: SessionId,
        request: SessionRequest,
    ) -> Result<Reply, CallError> {
        let request = || Request::Session { session, sponsor: Sponsor::HERE, request };
        self.retried(guild, |live| live.post(request(), self.counters())).await
    }

    /// The same on the word of whoever is at the other end of a link, as long as that stands: who has come back over another link has asked again by then,
    /// and is not to find that done anew which it thinks lost.
    pub(crate) async fn ask_on_word_of(
        &self,
        (sponsoring, standing): (&Sponsoring, &Standing),
        guild: GuildId,
        session: SessionId,
        request: SessionRequest,
    ) -> Result<Reply, CallError> {
        let post = |live: &Live| {
            let posted = sponsoring.speak(self, guild, standing, |sponsor| {
                live.post(Request::Session { session, sponsor, request }, self.counters())
            });
            posted.unwrap_or_else(|| Err(CallError::Unavailable { reason: String::from("its link has ended") }))
        };
        self.retried(guild, post).await
    }

    /// Carries out a request that may be made twice, and is posted so.
    async fn retried(
        &self,
        guild: GuildId,
        post: impl Fn(&Live) -> Result<Option<live::Answer>, CallError>,
    ) -> Result<Reply, CallError> {
        let mut tried = 0;
        while tried < OWNERS_TRIED_MAX {
            let live = self.live(guild).await?;
            if let Some(answer) = post(&live)? {
                match answer.await {
                    Ok(Err(NoReply::Unhandled)) | Err(_) => {}
                    Ok(Err(no_reply)) => return Err(no_reply.into()),
                    Ok(Ok(reply)) => return Ok(reply),
                }
            }
            tried += usize::from(ended_early(&live).await);
        }
        Err(ended_too_often())
    }

    fn not_loaded(&self) -> CallError {
        if self.shared.registry.is_stopping() {
            return CallError::Stopping;
        }
        CallError::Unavailable { reason: String::from("the guild is not awake") }
    }

    /// The guild as it is awake now, if it is.
    pub(crate) fn find_awake(&self, guild: GuildId) -> Option<Arc<Live>> {
        self.shared.registry.awake(guild)
    }

    /// Which other node a guild is placed with, and by which leave, if it is.
    pub(crate) fn elsewhere(&self, guild: GuildId) -> Option<(NodeId, Grant)> {
        self.shared.registry.elsewhere(guild)
    }

    pub(crate) fn sponsors(&self) -> &Sponsors {
        &self.shared.sponsors
    }

    /// The node, for whoever waits and is not to keep it meanwhile.
    pub(crate) fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.shared))
    }

    pub(crate) async fn live(&self, guild: GuildId) -> Result<Arc<Live>, CallError> {
        self.shared.registry.load(guild, Purpose::Use).await
    }

    pub(crate) async fn readable(&self, guild: GuildId) -> Result<Readable, CallError> {
        self.shared.registry.readable(guild).await
    }

    pub(crate) fn offload(&self) -> &Offload {
        &self.shared.offload
    }

    /// What the store has of guilds: a page of them, ascending, and whether there are more.
    pub(crate) fn stored_guilds(
        &self,
        after: Option<GuildId>,
        limit: usize,
    ) -> Result<(Vec<GuildId>, bool), CallError> {
        self.shared.registry.stored(after, limit)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.shared.registry.store()
    }

    pub(crate) fn confirmations(&self) -> &Arc<Confirmations> {
        &self.shared.confirmations
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl WeakNode {
    pub(crate) fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(|shared| Node { shared })
    }
}

impl Pending {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// `Refused`; `OutcomeUnknown` if the owner ended before it answered; `Stopping` or `Unavailable` if it never came to it.
    pub async fn answer(self) -> Result<Outcome, CallError> {
        match self.0.await {
            Ok(answer) => outcome(answer),
            Err(_) => Err(CallError::OutcomeUnknown),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl From<NoReply> for CallError {
    fn from(no_reply: NoReply) -> Self {
        match no_reply {
            NoReply::Refused(refusal) => Self::Refused(refusal),
            NoReply::Stopping => Self::Stopping,
            NoReply::Unhandled => {
                Self::Unavailable { reason: String::from("the owner ended before it came to the request") }
            }
        }
    }
}

fn outcome(answer: Result<Reply, NoReply>) -> Result<Outcome, CallError> {
    match answer? {
        Reply::Outcome(outcome) => Ok(outcome),
        reply @ (Reply::Attached(_) | Reply::Accepted(_)) => {
            unreachable!("a command is answered by its outcome, not {reply:?}")
        }
    }
}

/// What a caller is told that gives up with `error`, where an owner may have ended with the command in its hands.
fn after(lost: bool, error: CallError) -> CallError {
    match error {
        CallError::Overloaded { .. }
        | CallError::Stopping
        | CallError::Unavailable { .. }
        | CallError::Moved { .. }
            if lost =>
        {
            CallError::OutcomeUnknown
        }
        CallError::Overloaded { .. }
        | CallError::Stopping
        | CallError::Unavailable { .. }
        | CallError::Moved { .. }
        | CallError::OutcomeUnknown
        | CallError::Denied { .. }
        | CallError::Refused(_) => error,
    }
}

/// Waits for the end of an owner; whether it may have left something undone. Of another end, as by sleep, nobody is to notice anything.
async fn ended_early(live: &Live) -> bool {
    live.ended().await;
    !live.handled_all()
}

fn ended_too_often() -> CallError {
    CallError::Unavailable { reason: format!("{OWNERS_TRIED_MAX} owners ended without an answer") }
}

/// Owners that may end under one call before it gives up: one whose command makes every owner end must not run for ever.
const OWNERS_TRIED_MAX: usize = 3;
