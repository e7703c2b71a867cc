//! An owner without a task: what is left of it while its guild is idle.
//!
//! A task, and what turns keep for the next one, take more than a small guild itself. So an owner that expects nothing leaves its
//! mailbox, which keeps what it was made from; whoever posts next has a task made of that again. A guild that was just loaded begins
//! so, for many are loaded to be read.
//!
//! Invariant: who is parked has nothing under way, so nothing of it is lost but room.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use guildhall_guild::Guild;
use guildhall_proto::{Ephemeral, Event, Subject};
use guildhall_ring::{LatestWriter, Writer};

use super::{Driven, Owner, Surroundings};
use crate::counters::Counter;
use crate::live::Live;
use crate::mailbox::Away;

/// What an owner is made from. Not to be dropped, but [parked](Self::park).
pub(crate) struct Parked {
    pub(super) guild: Guild,
    pub(super) live: Arc<Live>,
    pub(super) ring: Writer<Arc<Event>>,
    pub(super) told: LatestWriter<Subject, Ephemeral>,
    /// Whether the ring is known to hold a lease.
    pub(super) listed: bool,
    pub(super) around: Arc<Surroundings>,
}

impl Parked {
    pub(crate) fn new(
        guild: Guild,
        live: Arc<Live>,
        ring: Writer<Arc<Event>>,
        told: LatestWriter<Subject, Ephemeral>,
        around: Arc<Surroundings>,
    ) -> Box<Self> {
        Box::new(Self { guild, live, ring, told, listed: false, around })
    }

    /// The guild as everyone but its owner sees it.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Begins to own a guild that was just loaded.
    pub(crate) fn begin(self: Box<Self>) {
        self.look_at_clock();
        if self.guild.is_fold_due() || !self.guild.exists() {
            // Recovery has left much to fold, and to save; or there will soon be nothing to own.
            self.start();
        } else {
            self.park();
        }
    }

    /// Leaves the owner to whoever posts next.
    fn park(self: Box<Self>) {
        let (live, places) = (Arc::clone(&self.live), Arc::clone(&self.around.places));
        live.mailbox.leave(self);
        if places.is_stopping() {
            // Those who have left may all have been called back just before: this one would stay for ever, and hold what it holds.
            live.mailbox.call_back();
        }
    }

    /// In a box: a task keeps what it is started with twice.
    fn start(self) {
        let around = Arc::clone(&self.around);
        let driven = Driven(Some(Box::new(Owner::new(self))));
        around.runtime.spawn(driven.run());
    }

    /// Says if a guild has been told a time that is far ahead of the node's: then some clock is or was wrong, and until the node's has caught
    /// up, each durable operation is `Expired`, for by the guild's time it was issued long ago.
    fn look_at_clock(&self) {
        let (guild, stored, now) = (self.live.guild, self.guild.clock(), self.around.clock.now());
        let ahead = Duration::from_millis(stored.0.saturating_sub(now.0));
        if ahead > CLOCK_AHEAD {
            self.around.counters.bump(Counter::LoadsAhead);
            tracing::warn!(
                %guild,
                guild_ms = stored.0,
                node_ms = now.0,
                ?ahead,
                "the guild's time is ahead of the node's: its durable operations are refused until that has caught up"
            );
        }
    }
}

impl Away for Parked {
    fn come_back(self: Box<Self>) {
        self.start();
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("guild", &self.live.guild).finish_non_exhaustive()
    }
}

impl Owner {
    /// Whether nothing is under way: neither at the store nor at a worker, nor towards the owner's end.
    pub(super) fn may_be_parked(&self) -> bool {
        self.effects.is_empty()
            && self.is_settled()
            && self.drowsy.is_none()
            && !self.is_stopping()
            && !self.guild.is_at_work()
            && self.guild.exists()
    }

    /// Gives its task up.
    pub(super) fn park(self: Box<Self>) {
        let Self { guild, live, ring, told, listed, around, .. } = *self;
        Box::new(Parked { guild, live, ring, told, listed, around }).park();
    }
}

/// Clocks that were set go back by seconds, and nothing follows from that; by this much, somebody is to look.
const CLOCK_AHEAD: Duration = Duration::from_secs(60 * 60);
