//! How a guild comes back from the store: claimed, recovered, and given an owner.

use std::sync::Arc;
use std::time::Duration;

use guildhall_guild::{CallId, Effect, Guild, GuildConfig, Input, Operation, Purpose};
use guildhall_proto::{CallError, CommandError, Epoch, Grant, GuildId, Millis, Position};
use guildhall_ring::{Cursor, latest, ring_within};
use guildhall_store::{Claim, StoreError};

use super::places::{Load, Places};
use super::queue::{Queue, Ticket};
use super::unavailable;
use crate::Call;
use crate::config::{MailboxConfig, NodeConfig};
use crate::counters::{Counter, Counters};
use crate::live::{Live, NoReply};
use crate::mailbox::Mailbox;
use crate::offload::JobPanicked;
use crate::owner::{Parked, Surroundings};
use crate::pace::spread;

/// What it takes to load a guild, shared with the tasks that do.
pub(super) struct Loader {
    config: NodeConfig,
    mailbox: Arc<MailboxConfig>,
    around: Arc<Surroundings>,
    queue: Arc<Queue>,
}

/// A load that has not told its end yet. Dropped so, its runtime shuts down: it tells that.
struct UnderWay {
    places: Arc<Places>,
    guild: GuildId,
    load: Arc<Load>,
    told: bool,
}

impl Loader {
    pub(super) fn new(config: NodeConfig, around: Surroundings) -> Self {
        let queue = Arc::new(Queue::new(&config.loads, Arc::clone(&around.counters)));
        let mailbox = Arc::new(config.mailbox.clone());
        Self { config, mailbox, around: Arc::new(around), queue }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.around.counters
    }

    /// Takes a place in the queue of loads.
    pub(super) fn queue(&self) -> Result<Ticket, CallError> {
        self.queue.enter()
    }

    /// When all loads that are queued now should be done.
    pub(super) fn retry_after(&self) -> Duration {
        self.queue.retry_after()
    }

    /// Lets none of those begin that wait.
    pub(super) fn stop(&self) {
        self.queue.close();
    }

    /// Loads a guild when its turn comes, if somebody still waits for it then.
    pub(super) async fn run(self: Arc<Self>, guild: GuildId, load: Arc<Load>, mut ticket: Ticket) {
        let places = &self.around.places;
        let under_way = UnderWay { places: Arc::clone(places), guild, load, told: false };
        if !ticket.turn().await {
            return;
        }
        if places.give_up(guild, &under_way.load) {
            self.counters().bump(Counter::LoadsGivenUp);
            return under_way.leave_untold();
        }
        match self.bring_back(guild, under_way.load.purpose).await.map_err(|error| self.failed(guild, error)) {
            Ok(owner) => {
                let live = Arc::clone(owner.live());
                places.settle(guild, &live);
                owner.begin();
                // A stop that looked before the place was settled has missed this owner.
                if places.is_stopping() {
                    live.stop(NoReply::Stopping).await;
                    return under_way.tell(Err(CallError::Stopping));
                }
                // So has who looked when the placement changed.
                if let Err(moved) = self.around.whereabouts.require(&live) {
                    live.stop(NoReply::Unhandled).await;
                    return under_way.tell(Err(moved));
                }
                under_way.tell(Ok(live));
            }
            Err(error) => {
                // One that is refused is gone for good.
                places.abandon(guild, !matches!(error, CallError::Refused(_)));
                under_way.tell(Err(error));
            }
        }
    }

    /// What a guild that is not there yet says to a call.
    pub(super) fn rehearse(&self, guild: GuildId, call: &Call) -> Result<(), CommandError> {
        let Call { op, actor, command } = call.clone();
        let call = guildhall_guild::Call { id: CallId(0), operation: Operation::new(op, actor, command)? };
        let mut effects = Vec::new();
        let mut unborn = Guild::new(self.config.guild.clone(), guild, Epoch::default());
        unborn.handle(self.around.clock.now(), Input::Command(call), &mut effects);
        effects.into_iter().try_for_each(|effect| match effect {
            Effect::Answer(_, answer) => answer.map(drop),
            Effect::Fold(_)
            | Effect::Scan(_)
            | Effect::Discard(_)
            | Effect::Record(_)
            | Effect::Append(_)
            | Effect::Tell(_)
            | Effect::Checkpoint(_) => Ok(()),
        })
    }

    /// Claims a guild, recovers it, and makes what its owner begins with. The claim waits for the disk: on a thread that may wait, for
    /// workers may not. There are no more of these threads than loads at a time. A guild that takes long to recover goes to a worker for
    /// that; the others would wait longer for one, where cores are busy, than their recovery takes.
    ///
    /// All that stays of a guild is made here, apart from what tasks take for a moment: that would leave holes between guilds which
    /// no guild fits into, in a half of the memory measured.
    async fn bring_back(self: &Arc<Self>, guild: GuildId, purpose: Purpose) -> Result<Box<Parked>, LoadError> {
        let (loader, now) = (Arc::clone(self), self.around.clock.now());
        let claimed = tokio::task::spawn_blocking(move || -> Result<_, LoadError> {
            // Asked again, now that its turn has come.
            let grant = loader.around.whereabouts.grant(guild).map_err(LoadError::Elsewhere)?;
            let claim = loader.around.store.claim(guild, grant)?;
            let own = move |claim| {
                let state = recover(guild, loader.config.guild.clone(), claim, now)?;
                loader.own(guild, purpose, grant, state)
            };
            Ok(if is_small(&claim) { Claimed::Owned(own(claim)?) } else { Claimed::Large(Box::new((claim, own))) })
        });
        match claimed.await?? {
            Claimed::Owned(owner) => Ok(owner),
            Claimed::Large(large) => {
                let (claim, own) = *large;
                self.around.offload.call(move || own(claim)).await?
            }
        }
    }

    /// What callers are told of a load that failed.
    fn failed(&self, guild: GuildId, error: LoadError) -> CallError {
        match error {
            LoadError::NotThere => return CallError::Refused(CommandError::UnknownGuild),
            LoadError::Elsewhere(elsewhere) => return elsewhere,
            // It was placed anew since it was asked for.
            LoadError::Store(StoreError::StaleGrant { .. }) => {
                return self.around.whereabouts.grant(guild).err().unwrap_or_else(|| unavailable(error));
            }
            LoadError::Store(_) | LoadError::Recover(_) | LoadError::Panicked(_) | LoadError::Claim(_) => {}
        }
        if let LoadError::Store(StoreError::Busy | StoreError::Full) = error {
            self.counters().bump(Counter::RefusedLoadByStore);
            return CallError::Overloaded { retry_after: self.retry_after().max(spread(STORE_PAUSE)) };
        }
        self.counters().bump(Counter::LoadsFailed);
        tracing::error!(%guild, %error, "guild not loaded");
        unavailable(error)
    }

    /// Makes what the owner of a guild begins with, if there is something to own.
    fn own(&self, guild: GuildId, purpose: Purpose, grant: Grant, mut state: Guild) -> Result<Box<Parked>, LoadError> {
        if !state.is_worth_owning(purpose) {
            return Err(LoadError::NotThere);
        }
        let Position { epoch, seq } = state.position();
        let (writer, events) = ring_within(self.around.rings.budget(), self.config.ring, Cursor::after(seq));
        let (telling, told) = latest(self.config.told);
        let mailbox = Mailbox::new(Arc::clone(&self.mailbox));
        let offload = self.around.offload.clone();
        let live = Live::new(guild, (grant, epoch), mailbox, state.view(), events, told, offload);
        self.counters().bump(Counter::GuildsLoaded);
        if state.exists() {
            self.counters().bump(Counter::GuildsWoken);
        }
        tracing::info!(%guild, epoch = epoch.0, seq = seq.0, "guild loaded");
        Ok(Parked::new(state, Arc::new(live), writer, telling, Arc::clone(&self.around)))
    }
}

impl UnderWay {
    fn tell(mut self, loaded: Result<Arc<Live>, CallError>) {
        self.told = true;
        self.load.tell(loaded);
    }

    /// Nobody waits.
    fn leave_untold(mut self) {
        self.told = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.told {
            self.places.abandon(self.guild, false);
            self.load.tell(Err(CallError::Stopping));
        }
    }
}

/// Why a guild did not come back.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("there is nothing to own")]
    NotThere,
    #[error(transparent)]
    Elsewhere(CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Recover(#[from] guildhall_guild::RecoverError),
    #[error(transparent)]
    Panicked(#[from] JobPanicked),
    #[error("the claim came to no end: {0}")]
    Claim(#[from] tokio::task::JoinError),
}

/// A guild that was claimed.
enum Claimed<F> {
    Owned(Box<Parked>),
    /// With what recovers it.
    Large(Box<(Claim, F)>),
}

/// Whether a guild is recovered in some tens of microseconds.
fn is_small(claim: &Claim) -> bool {
    let members = claim.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.base.len());
    members <= SMALL_MEMBERS && claim.tail.len() <= SMALL_TAIL
}

fn recover(guild: GuildId, config: GuildConfig, claim: Claim, now: Millis) -> Result<Guild, LoadError> {
    let mut state = match claim.checkpoint {
        Some(checkpoint) => Guild::restore(config, guild, checkpoint.structure, checkpoint.base),
        None => Guild::new(config, guild, Epoch::default()),
    };
    for record in &claim.tail {
        state.replay(record)?;
    }
    state.open(claim.epoch);
    // Most have slept for longer than outcomes are kept.
    state.tidy(now);
    Ok(state)
}

/// Of a guild that is small: a page or two, and a few hundred records to replay.
const SMALL_MEMBERS: usize = 4_096;
const SMALL_TAIL: usize = 256;
/// The pause for who finds that the store has no room for a claim, or too much to do.
const STORE_PAUSE: Duration = Duration::from_secs(1);
