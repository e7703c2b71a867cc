//! The guilds awake on a node, each with one owner.
//!
//! A guild is loaded by the first call that needs it, once however many need it at that moment, and again after its owner ended.
//! A guild of which the store knows nothing is loaded only to be created, so that asking for guilds that are not there costs nothing.
//! While one whose owner ended before its time is brought back, its last view is there to be read.
//! One that nobody asks for falls asleep and leaves nothing behind here: the next call loads it again.
//!
//! Bounds: [`guilds_max`](crate::NodeConfig::guilds_max) guilds awake or being loaded; of loads see [`LoadConfig`](crate::LoadConfig). Past each a
//! caller is refused.

mod loading;
mod places;
mod queue;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use guildhall_guild::Purpose;
use guildhall_proto::{CallError, CommandError, Grant, GuildId, NodeId};
use guildhall_store::{Known, Store};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Call;
use crate::config::NodeConfig;
use crate::counters::Counter;
use crate::last::Readable;
use crate::live::{Control, Live, NoReply};
use crate::membership::{Watching, Whereabouts};
use crate::owner::{Bedtime, SleepError, Surroundings};
use crate::pace::spread;
use loading::Loader;
pub(crate) use places::Places;
use places::{Begun, Found, Glance};

pub(crate) struct Registry {
    places: Arc<Places>,
    loader: Arc<Loader>,
    store: Arc<dyn Store>,
    whereabouts: Whereabouts,
    callers_max: usize,
    /// How long it takes until the next look for guilds that may sleep, if one is asked for.
    look_pause: Duration,
    /// Its drop tells the sweeper that nobody holds the node any more.
    _held: sweep::Held,
    _watching: Watching,
}

impl Registry {
    pub(crate) fn new(config: NodeConfig, around: Surroundings) -> Self {
        let (places, store) = (Arc::clone(&around.places), Arc::clone(&around.store));
        let (callers_max, look_pause) = (config.loads.callers_max, sweep::look_pause(config.sleep_after));
        let _held = sweep::start(&config, Arc::clone(&places));
        let _watching = around.whereabouts.watch(Arc::clone(&places));
        let whereabouts = around.whereabouts.clone();
        let loader = Arc::new(Loader::new(config, around));
        Self { places, loader, store, whereabouts, callers_max, look_pause, _held, _watching }
    }

    /// The guild as it is awake now, if it is.
    pub(crate) fn awake(&self, guild: GuildId) -> Option<Arc<Live>> {
        match self.places.find(guild)? {
            Found::Awake(live) => Some(live),
            Found::Loading(_) => None,
        }
    }

    /// Which other node a guild is placed with, and by which leave, if it is.
    pub(crate) fn elsewhere(&self, guild: GuildId) -> Option<(NodeId, Grant)> {
        match self.whereabouts.grant(guild) {
            Err(CallError::Moved { node, grant }) => Some((node, grant)),
            Ok(_) | Err(_) => None,
        }
    }

    /// How many guilds are awake or being loaded.
    pub(crate) fn awake_or_loading(&self) -> usize {
        self.places.taken()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.places.is_stopping()
    }

    /// The guild, loaded if it was not. If this is dropped while it waits, a load that has begun goes on; one whose turn has not come
    /// is given up, unless somebody else waits for it.
    ///
    /// # Errors
    /// `UnknownGuild` if it is not to be created and the store does not know it; `StoreFull` if it is to be created and the store has no
    /// room; `Overloaded` if there is no room here; `Stopping`; `Moved` if it is to be elsewhere; `Unavailable` if the store fails.
    pub(crate) async fn load(&self, guild: GuildId, purpose: Purpose) -> Result<Arc<Live>, CallError> {
        loop {
            let load = match self.find_or_begin(guild, purpose)? {
                Found::Awake(live) => return Ok(live),
                Found::Loading(load) => load,
            };
            if load.callers > self.callers_max {
                self.loader.counters().bump(Counter::RefusedLoadCaller);
                return Err(CallError::Overloaded { retry_after: self.loader.retry_after() });
            }
            match load.done().await {
                // It was begun by somebody who would not have had it created.
                Err(CallError::Refused(CommandError::UnknownGuild)) if purpose != load.purpose => {}
                loaded => return loaded,
            }
        }
    }

    /// Where the guild can be read, loaded if need be. One whose owner ended before its time is read as it was, and loaded meanwhile.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) async fn readable(&self, guild: GuildId) -> Result<Readable, CallError> {
        match self.places.glance(guild) {
            Some(Glance::Awake(live)) => Ok(Readable::Live(live)),
            Some(Glance::Last { .. }) if self.is_stopping() => Err(CallError::Stopping),
            Some(Glance::Last { last, due }) => {
                if let Err(elsewhere) = self.whereabouts.grant(guild) {
                    self.places.forget_last(guild);
                    return Err(elsewhere);
                }
                if due {
                    self.load_aside(guild);
                }
                Ok(Readable::Last(last))
            }
            None => self.load(guild, Purpose::Use).await.map(Readable::Live),
        }
    }

    /// Has a guild loaded for whoever comes next. What stands against it is told to who needs the guild.
    fn load_aside(&self, guild: GuildId) {
        if let Ok(Found::Loading(load)) = self.find_or_begin(guild, Purpose::Use) {
            // It waits, so that the load is not given up.
            tokio::spawn(async move { drop(load.done().await) });
        }
    }

    /// Has a guild fall asleep that is awake.
    pub(crate) async fn sleep(&self, guild: GuildId) -> Result<(), SleepError> {
        loop {
            if self.is_stopping() {
                return Err(SleepError::Stopping);
            }
            let live = match self.places.find(guild) {
                None => {
                    self.places.forget_last(guild);
                    return Ok(());
                }
                Some(Found::Awake(live)) => live,
                Some(Found::Loading(load)) => {
                    // Awake or not there: looked for again.
                    drop(load.done().await);
                    continue;
                }
            };
            let (tell, told) = oneshot::channel();
            live.mailbox.post_control(Control::Sleep(Bedtime::Asked(vec![tell])));
            match told.await {
                Ok(answer) => return answer,
                // Its owner ended otherwise.
                Err(_) => live.ended().await,
            }
        }
    }

    /// Stops every owner, after what each has accepted has been let out, and loads no more. Nothing is left when it returns. Dropped
    /// while it waits, it leaves owners that take no requests; the next stop has them end.
    pub(crate) async fn stop(&self) {
        self.places.set_stopping();
        self.loader.stop();
        let places = self.places.all();
        for place in &places {
            if let Found::Awake(live) = place {
                live.mailbox.post_control(Control::Stop(NoReply::Stopping));
            }
        }
        let mut leaving = JoinSet::new();
        for place in places {
            match place {
                Found::Awake(live) => {
                    if leaving.len() >= LEAVING_MAX {
                        leaving.join_next().await;
                    }
                    leaving.spawn(live.leave());
                }
                // It stops what it has loaded before it says that it is done.
                Found::Loading(load) => drop(load.done().await),
            }
        }
        leaving.join_all().await;
        self.places.forget_lasts(self.places.round(), None);
    }

    /// Where guilds are stored.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The guilds that the store has, awake or not: a page of them, and whether there are more.
    pub(crate) fn stored(&self, after: Option<GuildId>, limit: usize) -> Result<(Vec<GuildId>, bool), CallError> {
        let mut guilds = self.store.list(after, limit + 1).map_err(unavailable)?;
        let more = guilds.len() > limit;
        guilds.truncate(limit);
        Ok((guilds, more))
    }

    /// Refuses what would be claimed in vain: each claim takes room in the store.
    fn require_worth(&self, guild: GuildId, purpose: Purpose) -> Result<(), CallError> {
        let known = self.store.knows(guild).map_err(unavailable)?;
        match (known, purpose) {
            (Known::Something, _) => Ok(()),
            (Known::Nothing, Purpose::Change | Purpose::Use) | (Known::Deleted, Purpose::Use) => {
                Err(CallError::Refused(CommandError::UnknownGuild))
            }
            (Known::Nothing, Purpose::Create) | (Known::Deleted, Purpose::Create | Purpose::Change) => {
                if self.store.has_room() {
                    return Ok(());
                }
                self.loader.counters().bump(Counter::RefusedStoreFull);
                match purpose {
                    Purpose::Create if known == Known::Nothing => Err(CallError::Refused(CommandError::StoreFull)),
                    // It may be the retry of what was applied before the guild was deleted, and is not to hear that nothing happened.
                    Purpose::Create | Purpose::Change | Purpose::Use => {
                        Err(CallError::Overloaded { retry_after: spread(self.look_pause) })
                    }
                }
            }
        }
    }

    /// What stands against a creation that no claim is worth: of a guild that nobody knows all is known without one.
    ///
    /// # Errors
    /// As the guild itself would refuse it; `Moved`; `Unavailable`.
    pub(crate) fn rehearse_creation(&self, guild: GuildId, call: &Call) -> Result<(), CallError> {
        self.whereabouts.grant(guild)?;
        if self.awake(guild).is_some() || self.store.knows(guild).map_err(unavailable)? != Known::Nothing {
            return Ok(());
        }
        self.loader.rehearse(guild, call).map_err(CallError::Refused)
    }

    fn find_or_begin(&self, guild: GuildId, purpose: Purpose) -> Result<Found, CallError> {
        if let Some(found) = self.places.find(guild) {
            return Ok(found);
        }
        if self.is_stopping() {
            return Err(CallError::Stopping);
        }
        self.whereabouts.grant(guild)?;
        self.require_worth(guild, purpose)?;
        let ticket = self.loader.queue()?;
        let mut begun = self.places.begin(guild, purpose);
        if matches!(begun, Begun::Full) && self.places.forget_lasts(self.places.round(), None) > 0 {
            // What is only read as it was makes room for who is needed.
            begun = self.places.begin(guild, purpose);
        }
        match begun {
            Begun::Found(found) => Ok(found),
            Begun::Load(load, waiting) => {
                // A task of its own: a claim that a caller leaves halfway would fence out the owner that the next caller starts.
                tokio::spawn(Arc::clone(&self.loader).run(guild, load, ticket));
                Ok(Found::Loading(waiting))
            }
            Begun::Stopping => Err(CallError::Stopping),
            Begun::Full => {
                self.loader.counters().bump(Counter::RefusedGuild);
                self.places.pressed.notify_one();
                Err(CallError::Overloaded { retry_after: spread(self.look_pause) })
            }
        }
    }
}

/// Guilds that hand the store their last checkpoints at a time: enough to keep it busy, few enough for its queue.
pub(crate) const LEAVING_MAX: usize = 64;

fn unavailable(error: impl std::fmt::Display) -> CallError {
    CallError::Unavailable { reason: error.to_string() }
}
