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
use guildhall_proto::{CallError, CommandError, Grant, GuildId, Position};
use guildhall_ring::{Cursor, ring};
use guildhall_store::{Claim, StoreError};
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::config::NodeConfig;
use crate::counters::Counter;
use crate::live::{Control, Live};
use crate::mailbox::Mailbox;
use crate::owner::{Owner, Surroundings};

pub(crate) struct Registry {
    config: NodeConfig,
    around: Surroundings,
    slots: RwLock<HashMap<GuildId, Arc<Slot>>>,
    stopping: AtomicBool,
}

/// A guild's place: who owns it now, if anyone.
#[derive(Debug, Default)]
struct Slot {
    live: ArcSwapOption<Live>,
    /// Held by whoever loads the guild.
    loading: Mutex<()>,
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
        Self { config, around, slots: RwLock::default(), stopping: AtomicBool::new(false) }
    }

    /// The guild as it is loaded now, if it is.
    pub(crate) fn loaded(&self, guild: GuildId) -> Option<Arc<Live>> {
        let live = self.slots.read().get(&guild)?.live.load_full()?;
        (!live.has_ended()).then_some(live)
    }

    /// The guild, loaded if it was not.
    ///
    /// # Errors
    /// `UnknownGuild` if it is only to be used and the store does not know it; `Stopping`; `Unavailable` if there is no room or the
    /// store fails.
    pub(crate) async fn load(&self, guild: GuildId, purpose: Purpose) -> Result<Arc<Live>, CallError> {
        if let Some(live) = self.loaded(guild) {
            return Ok(live);
        }
        if purpose == Purpose::Use && !self.around.store.knows(guild).map_err(unavailable)? {
            return Err(CallError::Refused(CommandError::UnknownGuild));
        }
        let slot = self.slot(guild)?;
        let _loading = slot.loading.lock().await;
        match slot.live.load_full() {
            Some(live) if !live.has_ended() => Ok(live),
            Some(_) | None => {
                let live = self.start(guild).await?;
                slot.live.store(Some(Arc::clone(&live)));
                // A stop that came between the check and the store would have missed this owner.
                if self.stopping.load(Ordering::SeqCst) {
                    stop(&live).await;
                    return Err(CallError::Stopping);
                }
                Ok(live)
            }
        }
    }

    /// Stops every owner, after what each has accepted has been let out.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let slots: Vec<Arc<Slot>> = self.slots.read().values().cloned().collect();
        for slot in slots {
            if let Some(live) = slot.live.load_full() {
                stop(&live).await;
            }
        }
    }

    fn slot(&self, guild: GuildId) -> Result<Arc<Slot>, CallError> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(CallError::Stopping);
        }
        let mut slots = self.slots.write();
        if let Some(slot) = slots.get(&guild) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.config.guilds_max {
            // A slot that somebody holds is being loaded.
            slots.retain(|_, slot| {
                let alive = slot.live.load().as_ref().is_some_and(|live| !live.has_ended());
                alive || Arc::strong_count(slot) > 1
            });
        }
        if slots.len() >= self.config.guilds_max {
            let reason = format!("{} guilds are loaded, as many as are allowed", slots.len());
            return Err(CallError::Unavailable { reason });
        }
        Ok(Arc::clone(slots.entry(guild).or_default()))
    }

    /// Claims the guild, brings it back from the store, and starts its owner.
    async fn start(&self, guild: GuildId) -> Result<Arc<Live>, CallError> {
        let (store, config) = (Arc::clone(&self.around.store), self.config.guild.clone());
        let recover = move || recover(guild, config, store.claim(guild, Grant::default())?);
        let recovered = self.around.offload.call(recover).await;
        let mut state = match recovered {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => return Err(unavailable(error)),
            Err(panic) => return Err(CallError::Unavailable { reason: panic.to_string() }),
        };
        let Position { epoch, seq } = state.position();
        let (writer, events) = ring(self.config.ring, Cursor::after(seq));
        let mailbox = Mailbox::new(self.config.mailbox.clone());
        let live = Arc::new(Live::new(guild, epoch, mailbox, state.view(), events));
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
        None => Guild::new(config, guild, claim.epoch),
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
