//! The guilds loaded on a node, each by one owner.
//!
//! A guild is loaded by the first call that needs it, once however many need it at that moment, and again after its owner ended.
//! A guild of which the store knows nothing is loaded only to be created, so that asking for guilds that are not there costs nothing.
//!
//! Bound: [`guilds_max`](crate::NodeConfig::guilds_max) guilds; past it a guild that is not loaded is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use guildhall_guild::{Guild, GuildConfig};
use guildhall_proto::{CallError, CommandError, Epoch, Grant, GuildId, Position};
use guildhall_ring::{Cursor, ring_within};
use guildhall_store::{Claim, StoreError};
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::config::NodeConfig;
use crate::counters::Counter;
use crate::live::{Control, Live};
use crate::mailbox::Mailbox;
use crate::owner::{Owner, Surroundings};

pub(crate) struct Registry {
    guilds_max: usize,
    slots: RwLock<HashMap<GuildId, Arc<Slot>>>,
    loader: Arc<Loader>,
}

/// What it takes to load a guild, shared with the tasks that do.
struct Loader {
    config: NodeConfig,
    around: Surroundings,
    stopping: AtomicBool,
}

/// A guild's place: who owns it now, if anyone.
#[derive(Debug, Default)]
struct Slot {
    live: ArcSwapOption<Live>,
    /// Held by whoever loads the guild.
    loading: Arc<Mutex<()>>,
}

/// What a caller wants of a guild that is not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To create it, if it is not there.
    Create,
    /// To use it; it must be there.
    Use,
}

impl Registry {
    pub(crate) fn new(config: NodeConfig, around: Surroundings) -> Self {
        let guilds_max = config.guilds_max;
        let loader = Arc::new(Loader { config, around, stopping: AtomicBool::new(false) });
        Self { guilds_max, slots: RwLock::default(), loader }
    }

    /// The guild as it is loaded now, if it is.
    pub(crate) fn loaded(&self, guild: GuildId) -> Option<Arc<Live>> {
        self.slots.read().get(&guild)?.live()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.loader.is_stopping()
    }

    /// The guild, loaded if it was not. If this is dropped while it waits, a load that has begun goes on.
    ///
    /// # Errors
    /// `UnknownGuild` if it is only to be used and the store does not know it; `Stopping`; `Unavailable` if there is no room or the
    /// store fails.
    pub(crate) async fn load(&self, guild: GuildId, purpose: Purpose) -> Result<Arc<Live>, CallError> {
        if let Some(live) = self.loaded(guild) {
            return Ok(live);
        }
        if self.is_stopping() {
            return Err(CallError::Stopping);
        }
        if purpose == Purpose::Use && !self.loader.around.store.knows(guild).map_err(unavailable)? {
            return Err(CallError::Refused(CommandError::UnknownGuild));
        }
        let slot = self.slot(guild)?;
        let loading = Arc::clone(&slot.loading).lock_owned().await;
        if let Some(live) = slot.live() {
            return Ok(live);
        }
        // A task of its own: a claim that a caller leaves halfway would fence out the owner that the next caller starts.
        let loader = Arc::clone(&self.loader);
        let load = tokio::spawn(async move {
            let loaded = loader.load_into(&slot, guild, purpose).await;
            drop(loading);
            loaded
        });
        load.await.unwrap_or_else(|_| Err(CallError::Stopping))
    }

    /// Stops every owner, after what each has accepted has been let out, and loads no more. Nothing is left when it returns.
    pub(crate) async fn stop(&self) {
        self.loader.stopping.store(true, Ordering::SeqCst);
        // Whoever makes a slot after this look sees the flag: both are under the lock.
        let slots: Vec<Arc<Slot>> = self.slots.read().values().cloned().collect();
        for live in slots.iter().filter_map(|slot| slot.live()) {
            live.mailbox.post_control(Control::Stop);
        }
        for slot in slots {
            // A load that is under way stops what it has loaded before it lets go.
            let _loading = slot.loading.lock().await;
            if let Some(live) = slot.live() {
                stop(&live).await;
            }
        }
    }

    fn slot(&self, guild: GuildId) -> Result<Arc<Slot>, CallError> {
        let mut slots = self.slots.write();
        if self.is_stopping() {
            return Err(CallError::Stopping);
        }
        if let Some(slot) = slots.get(&guild) {
            return Ok(Arc::clone(slot));
        }
        // Only if something has ended since the last look: a node that is full refuses at once, however many guilds it has.
        if slots.len() >= self.guilds_max && self.loader.around.places_freed.swap(false, Ordering::SeqCst) {
            slots.retain(|_, slot| {
                let alive = slot.live().is_some();
                // A slot that somebody holds is being loaded, or is about to be free.
                let held = Arc::strong_count(slot) > 1;
                if !alive && held {
                    self.loader.around.places_freed.store(true, Ordering::SeqCst);
                }
                alive || held
            });
        }
        if slots.len() >= self.guilds_max {
            let reason = format!("{} guilds are loaded, as many as are allowed", slots.len());
            return Err(CallError::Unavailable { reason });
        }
        // The load may fail, or its caller go: then this place is free again.
        self.loader.around.places_freed.store(true, Ordering::SeqCst);
        Ok(Arc::clone(slots.entry(guild).or_default()))
    }
}

impl Slot {
    fn live(&self) -> Option<Arc<Live>> {
        self.live.load_full().filter(|live| !live.has_ended())
    }
}

impl Loader {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    async fn load_into(&self, slot: &Slot, guild: GuildId, purpose: Purpose) -> Result<Arc<Live>, CallError> {
        let live = self.start(guild, purpose).await?;
        slot.live.store(Some(Arc::clone(&live)));
        // A stop that came between the check and the store has missed this owner.
        if self.is_stopping() {
            stop(&live).await;
            return Err(CallError::Stopping);
        }
        Ok(live)
    }

    /// Claims the guild, brings it back from the store, and starts its owner, if there is something to own.
    async fn start(&self, guild: GuildId, purpose: Purpose) -> Result<Arc<Live>, CallError> {
        let (store, config) = (Arc::clone(&self.around.store), self.config.guild.clone());
        let recover = move || recover(guild, config, store.claim(guild, Grant::default())?);
        let recovered = self.around.offload.call(recover).await;
        let mut state = match recovered {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => return Err(unavailable(error)),
            Err(panic) => return Err(CallError::Unavailable { reason: panic.to_string() }),
        };
        let none = match purpose {
            _ if state.exists() => None,
            Purpose::Create => state.was_deleted().then_some(CommandError::GuildExists),
            Purpose::Use => Some(CommandError::UnknownGuild),
        };
        if let Some(refusal) = none {
            self.around.places_freed.store(true, Ordering::SeqCst);
            return Err(CallError::Refused(refusal));
        }
        let Position { epoch, seq } = state.position();
        let (writer, events) = ring_within(self.around.rings.budget(), self.config.ring, Cursor::after(seq));
        let mailbox = Mailbox::new(self.config.mailbox.clone());
        let live = Live::new(guild, epoch, mailbox, state.view(), events, self.around.offload.clone());
        let live = Arc::new(live);
        self.around.counters.bump(Counter::GuildsLoaded);
        tracing::info!(%guild, epoch = epoch.0, seq = seq.0, "guild loaded");
        tokio::spawn(Owner::new(state, Arc::clone(&live), writer, self.around.clone()).run());
        Ok(live)
    }
}

/// Why a guild did not come back.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Recover(#[from] guildhall_guild::RecoverError),
}

fn recover(guild: GuildId, config: GuildConfig, claim: Claim) -> Result<Guild, LoadError> {
    let mut state = match claim.checkpoint {
        Some(checkpoint) => Guild::restore(config, guild, checkpoint.structure, checkpoint.base),
        None => Guild::new(config, guild, Epoch::default()),
    };
    for record in &claim.tail {
        state.replay(record)?;
    }
    state.open(claim.epoch);
    Ok(state)
}

async fn stop(live: &Live) {
    live.mailbox.post_control(Control::Stop);
    live.ended().await;
}

fn unavailable(error: impl std::fmt::Display) -> CallError {
    CallError::Unavailable { reason: error.to_string() }
}
