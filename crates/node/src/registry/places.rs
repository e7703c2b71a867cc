//! Who owns which guild on this node, now.
//!
//! A guild that is awake or being loaded has a place here, and one whose owner ended before its time, until it is back or nobody asks
//! for it any more; one that sleeps has none. The map is cut into shards, so that neither a
//! load nor a sweep holds up the look-ups of more than a few.
//!
//! Invariants:
//! - `taken` is the number of places in all shards, and at most `max`; `retired` is that of the retired ones;
//! - a place that is `Awake` names an owner that has not told its end yet: it gives its place back before;
//! - once `stopping` is set, and a shard's lock was held after that, the shard gets no new place.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use guildhall_guild::Purpose;
use guildhall_proto::{CallError, GuildId};
use parking_lot::RwLock;
use tokio::sync::{Notify, SetOnce};
use tokio::time::Instant;

use crate::last::Last;
use crate::live::Live;

/// All places of a node.
#[derive(Debug)]
pub(crate) struct Places {
    shards: Box<[RwLock<HashMap<GuildId, Place>>]>,
    taken: AtomicUsize,
    retired: AtomicUsize,
    max: usize,
    stopping: AtomicBool,
    /// The number of the sweep that comes next: what is asked for now is marked with it.
    round: AtomicU32,
    /// Told when somebody was refused for want of a place.
    pub(super) pressed: Notify,
}

#[derive(Debug)]
enum Place {
    /// With what was left to read, if its owner ended before its time.
    Loading(Arc<Load>, Option<Arc<Last>>),
    Awake(Arc<Live>),
    /// Its owner ended before its time, and nobody has had it loaded since; or that failed, and readers are not to try again before
    /// a moment.
    Retired(Arc<Last>, Instant),
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

/// What there is to read of a guild at once.
pub(super) enum Glance {
    Awake(Arc<Live>),
    /// Its owner ended before its time.
    Last {
        last: Arc<Last>,
        /// Whether it is time to have it loaded.
        due: bool,
    },
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
            retired: AtomicUsize::new(0),
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

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// From now on nothing is loaded.
    pub(super) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.pressed.notify_one();
    }

    /// The guild's place, if it has one. Counts as a use of the guild.
    pub(super) fn find(&self, guild: GuildId) -> Option<Found> {
        self.found(self.shard(guild).read().get(&guild)?)
    }

    /// What may be read of a guild without waiting. Counts as a use of the guild.
    pub(super) fn glance(&self, guild: GuildId) -> Option<Glance> {
        let (last, due) = match self.shard(guild).read().get(&guild)? {
            Place::Awake(live) => {
                live.touch(self.round());
                return Some(Glance::Awake(Arc::clone(live)));
            }
            Place::Loading(_, last) => (Arc::clone(last.as_ref()?), false),
            Place::Retired(last, not_before) => (Arc::clone(last), Instant::now() >= *not_before),
        };
        last.touch(self.round());
        Some(Glance::Last { last, due })
    }

    /// Takes a place for a guild to be loaded.
    pub(super) fn begin(&self, guild: GuildId, purpose: Purpose) -> Begun {
        let mut shard = self.shard(guild).write();
        if self.is_stopping() {
            return Begun::Stopping;
        }
        if let Some(found) = shard.get(&guild).and_then(|place| self.found(place)) {
            return Begun::Found(found);
        }
        let last = match shard.get(&guild) {
            Some(Place::Retired(last, _)) => Some(Arc::clone(last)),
            Some(Place::Loading(..) | Place::Awake(_)) | None => None,
        };
        let one_more = |taken| (taken < self.max).then_some(taken + 1);
        if last.is_none() && self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Begun::Full;
        }
        let load = Arc::new(Load { purpose, loaded: SetOnce::new(), callers: AtomicUsize::new(0) });
        self.retired.fetch_sub(usize::from(last.is_some()), Ordering::Relaxed);
        shard.insert(guild, Place::Loading(Arc::clone(&load), last));
        let waiting = Waiting::of(&load);
        Begun::Load(load, waiting)
    }

    /// Gives the place of a load back, if nobody waits for it any more. Whether it did.
    pub(super) fn give_up(&self, guild: GuildId, load: &Load) -> bool {
        let mut shard = self.shard(guild).write();
        // Callers come under the lock alone.
        let unwanted = load.callers.load(Ordering::Acquire) == 0;
        if unwanted {
            self.unload(&mut shard, guild, Some(Instant::now()));
        }
        unwanted
    }

    /// Makes the place of a load that of the guild's owner, who is yet to be started.
    pub(super) fn settle(&self, guild: GuildId, live: &Arc<Live>) {
        live.touch(self.round());
        let replaced = self.shard(guild).write().insert(guild, Place::Awake(Arc::clone(live)));
        debug_assert!(matches!(replaced, Some(Place::Loading(..))), "a load keeps its place until it is settled");
    }

    /// Ends a load that came to nothing. What is left to read of the guild stays if the guild `may_come_back`, and readers have it
    /// loaded again after a pause. Otherwise the place is given back.
    pub(super) fn abandon(&self, guild: GuildId, may_come_back: bool) {
        let not_before = may_come_back.then(|| Instant::now() + RELOAD_PAUSE);
        self.unload(&mut self.shard(guild).write(), guild, not_before);
    }

    /// Gives an owner's place back, or leaves its last view there.
    pub(crate) fn vacate(&self, guild: GuildId, live: &Arc<Live>, last: Option<Last>) {
        let mut shard = self.shard(guild).write();
        if !matches!(shard.get(&guild), Some(Place::Awake(of)) if Arc::ptr_eq(of, live)) {
            return;
        }
        match last.filter(|_| !self.is_stopping()) {
            Some(last) => {
                last.touch(self.round());
                self.retire(&mut shard, guild, Arc::new(last), Instant::now());
            }
            None => self.remove(&mut shard, guild),
        }
    }

    /// Forgets what is left to read of a guild that is neither awake nor being loaded. Whether there was something.
    pub(super) fn forget_last(&self, guild: GuildId) -> bool {
        let mut shard = self.shard(guild).write();
        let is_retired = matches!(shard.get(&guild), Some(Place::Retired(..)));
        if is_retired {
            self.remove(&mut shard, guild);
        }
        is_retired
    }

    /// Forgets what is left to read of guilds that nobody has read in more than `rounds`; with `None`, of all. How many they were.
    pub(super) fn forget_lasts(&self, round: u32, rounds: Option<u32>) -> usize {
        let mut forgotten = 0;
        if self.retired.load(Ordering::Relaxed) == 0 {
            return forgotten;
        }
        for shard in &self.shards {
            let is_over = |place: &Place| match place {
                Place::Retired(last, _) => rounds.is_none_or(|rounds| last.idle_rounds(round) > rounds),
                Place::Loading(..) | Place::Awake(_) => false,
            };
            let over: Vec<GuildId> =
                shard.read().iter().filter(|(_, place)| is_over(place)).map(|(guild, _)| *guild).collect();
            forgotten += over.into_iter().filter(|guild| self.forget_last(*guild)).count();
        }
        forgotten
    }

    pub(super) fn all(&self) -> Vec<Found> {
        let found = |shard: &RwLock<HashMap<_, _>>| -> Vec<Found> {
            shard.read().values().filter_map(|place| self.found(place)).collect()
        };
        self.shards.iter().flat_map(found).collect()
    }

    /// Shows `visit` each guild that is awake, shard by shard: `visit` is called without a lock.
    pub(crate) fn awake_by_shard(&self) -> impl Iterator<Item = Vec<Arc<Live>>> {
        self.shards.iter().map(|shard| {
            let awake = |place: &Place| match place {
                Place::Awake(live) => Some(Arc::clone(live)),
                Place::Loading(..) | Place::Retired(..) => None,
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

    fn found(&self, place: &Place) -> Option<Found> {
        match place {
            Place::Awake(live) => {
                live.touch(self.round());
                Some(Found::Awake(Arc::clone(live)))
            }
            Place::Loading(load, _) => Some(Found::Loading(Waiting::of(load))),
            Place::Retired(..) => None,
        }
    }

    /// Ends the place of a load: what is left to read of the guild stays, if readers may have it loaded again at some time.
    fn unload(&self, shard: &mut HashMap<GuildId, Place>, guild: GuildId, not_before: Option<Instant>) {
        let place = shard.get_mut(&guild);
        if let (Some(Place::Loading(_, last)), Some(not_before)) = (place, not_before.filter(|_| !self.is_stopping()))
            && let Some(last) = last.take()
        {
            self.retire(shard, guild, last, not_before);
        } else {
            self.remove(shard, guild);
        }
    }

    fn retire(&self, shard: &mut HashMap<GuildId, Place>, guild: GuildId, last: Arc<Last>, not_before: Instant) {
        self.retired.fetch_add(1, Ordering::Relaxed);
        shard.insert(guild, Place::Retired(last, not_before));
    }

    fn remove(&self, shard: &mut HashMap<GuildId, Place>, guild: GuildId) {
        let removed = shard.remove(&guild);
        self.taken.fetch_sub(usize::from(removed.is_some()), Ordering::Relaxed);
        self.retired.fetch_sub(usize::from(matches!(removed, Some(Place::Retired(..)))), Ordering::Relaxed);
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
/// A guild that could not be loaded is not loaded again for readers before this: each attempt may claim it.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);
/// Places that a shard keeps room for, whatever it holds.
const SHARD_KEPT: usize = 64;
