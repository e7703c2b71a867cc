//! Who owns which guild on this node, now.
//!
//! A guild that is awake or being loaded has a place here; one that sleeps has none. The map is cut into shards, so that neither a
//! load nor a sweep holds up the look-ups of more than a few.
//!
//! Invariants:
//! - `taken` is the number of places in all shards, and at most `max`;
//! - a place that is `Awake` names an owner that has not told its end yet: it gives its place back before;
//! - once `stopping` is set, and a shard's lock was held after that, the shard gets no new place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use guildhall_proto::{CallError, GuildId};
use parking_lot::RwLock;
use tokio::sync::{Notify, SetOnce};

use super::Purpose;
use crate::live::Live;

/// All places of a node.
#[derive(Debug)]
pub(crate) struct Places {
    shards: Box<[RwLock<HashMap<GuildId, Place>>]>,
    taken: AtomicUsize,
    max: usize,
    stopping: AtomicBool,
    /// The number of the sweep that comes next: what is asked for now is marked with it.
    round: AtomicU32,
    /// Told when somebody was refused for want of a place.
    pub(super) pressed: Notify,
}

#[derive(Debug)]
enum Place {
    Loading(Arc<Load>),
    Awake(Arc<Live>),
}

/// A load that is queued or under way.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) purpose: Purpose,
    loaded: SetOnce<Result<Arc<Live>, CallError>>,
    callers: AtomicUsize,
}

/// One caller's part in a load: as long as there is one, the load is not given up.
#[derive(Debug)]
pub(super) struct Waiting {
    load: Arc<Load>,
    /// How many waited when this one came, itself among them.
    pub(super) callers: usize,
}

/// A guild that has a place.
pub(super) enum Found {
    Awake(Arc<Live>),
    Loading(Waiting),
}

/// What came of the wish to load a guild.
pub(super) enum Begun {
    /// Somebody was faster.
    Found(Found),
    /// The caller sees to the load.
    Load(Arc<Load>, Waiting),
    /// All places are taken.
    Full,
    Stopping,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            taken: AtomicUsize::new(0),
            max,
            stopping: AtomicBool::new(false),
            round: AtomicU32::new(0),
            pressed: Notify::new(),
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// From now on nothing is loaded.
    pub(super) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.pressed.notify_one();
    }

    /// The guild's place, if it has one. Counts as a use of the guild.
    pub(super) fn find(&self, guild: GuildId) -> Option<Found> {
        Some(self.found(self.shard(guild).read().get(&guild)?))
    }

    /// Takes a place for a guild to be loaded.
    pub(super) fn begin(&self, guild: GuildId, purpose: Purpose) -> Begun {
        let mut shard = self.shard(guild).write();
        if self.is_stopping() {
            return Begun::Stopping;
        }
        let place = match shard.entry(guild) {
            Entry::Occupied(place) => return Begun::Found(self.found(place.get())),
            Entry::Vacant(place) => place,
        };
        let one_more = |taken| (taken < self.max).then_some(taken + 1);
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Begun::Full;
        }
        let load = Arc::new(Load { purpose, loaded: SetOnce::new(), callers: AtomicUsize::new(0) });
        place.insert(Place::Loading(Arc::clone(&load)));
        let waiting = Waiting::of(&load);
        Begun::Load(load, waiting)
    }

    /// Gives the place of a load back, if nobody waits for it any more. Whether it did.
    pub(super) fn give_up(&self, guild: GuildId, load: &Load) -> bool {
        let mut shard = self.shard(guild).write();
        // Callers come under the lock alone.
        let unwanted = load.callers.load(Ordering::Acquire) == 0;
        if unwanted {
            self.remove(&mut shard, guild);
        }
        unwanted
    }

    /// Makes the place of a load that of the guild's owner, who is yet to be started.
    pub(super) fn settle(&self, guild: GuildId, live: &Arc<Live>) {
        live.touch(self.round());
        let replaced = self.shard(guild).write().insert(guild, Place::Awake(Arc::clone(live)));
        debug_assert!(matches!(replaced, Some(Place::Loading(_))), "a load keeps its place until it is settled");
    }

    /// Gives the place of a load back that came to nothing.
    pub(super) fn abandon(&self, guild: GuildId) {
        self.remove(&mut self.shard(guild).write(), guild);
    }

    /// Gives an owner's place back.
    pub(crate) fn vacate(&self, guild: GuildId, live: &Arc<Live>) {
        let mut shard = self.shard(guild).write();
        if matches!(shard.get(&guild), Some(Place::Awake(of)) if Arc::ptr_eq(of, live)) {
            self.remove(&mut shard, guild);
        }
    }

    pub(super) fn all(&self) -> Vec<Found> {
        let found = |shard: &RwLock<HashMap<_, _>>| -> Vec<Found> {
            shard.read().values().map(|place| self.found(place)).collect()
        };
        self.shards.iter().flat_map(found).collect()
    }

    /// Shows `visit` each guild that is awake, shard by shard: `visit` is called without a lock.
    pub(super) fn awake_by_shard(&self) -> impl Iterator<Item = Vec<Arc<Live>>> {
        self.shards.iter().map(|shard| {
            let awake = |place: &Place| match place {
                Place::Awake(live) => Some(Arc::clone(live)),
                Place::Loading(_) => None,
            };
            shard.read().values().filter_map(awake).collect()
        })
    }

    pub(super) fn round(&self) -> u32 {
        self.round.load(Ordering::Relaxed)
    }

    /// Begins the next round and tells its number.
    pub(super) fn next_round(&self) -> u32 {
        self.round.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn found(&self, place: &Place) -> Found {
        match place {
            Place::Awake(live) => {
                live.touch(self.round());
                Found::Awake(Arc::clone(live))
            }
            Place::Loading(load) => Found::Loading(Waiting::of(load)),
        }
    }

    fn remove(&self, shard: &mut HashMap<GuildId, Place>, guild: GuildId) {
        if shard.remove(&guild).is_some() {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        // After a storm the table is not kept at its largest.
        if shard.capacity() > SHARD_KEPT && shard.len() < shard.capacity() / 8 {
            shard.shrink_to(shard.len() * 2);
        }
    }

    fn shard(&self, guild: GuildId) -> &RwLock<HashMap<GuildId, Place>> {
        // Ids are made of a time and a counter: a multiplication spreads both over the upper bits (Fibonacci hashing, Knuth).
        let hash = guild.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl Load {
    /// What came of it, once it is done.
    pub(super) async fn done(&self) -> Result<Arc<Live>, CallError> {
        self.loaded.wait().await.clone()
    }

    /// Tells everyone who waits what came of it.
    pub(super) fn tell(&self, loaded: Result<Arc<Live>, CallError>) {
        let told = self.loaded.set(loaded);
        debug_assert!(told.is_ok(), "a load comes to one end");
    }
}

impl Waiting {
    fn of(load: &Arc<Load>) -> Self {
        let callers = 1 + load.callers.fetch_add(1, Ordering::AcqRel);
        Self { load: Arc::clone(load), callers }
    }
}

impl Deref for Waiting {
    type Target = Load;

    fn deref(&self) -> &Load {
        &self.load
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.load.callers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Far more than the threads that look up at once; a sweep holds one of them for a sixty-fourth of all guilds, well below a
/// millisecond.
const SHARDS: usize = 64;
/// Places that a shard keeps room for, whatever it holds.
const SHARD_KEPT: usize = 64;
