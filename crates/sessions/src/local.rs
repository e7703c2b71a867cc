//! One relay beside its sessions, and the task that feeds it.
//!
//! The task holds the relay's lock for a bounded run of events at a time; sessions read without it, and take it only to fall asleep.
//! Who has to be woken is woken after the lock is released.

use std::mem::{replace, take};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use guildhall_proto::{CallError, GuildId, Position, Sponsor};
use guildhall_relay::{ApplyError, Batch, Relay, RelayConfig, SessionKey, TellError};
use guildhall_ring::{Cursor, ReadError, Version};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::feed::Feed;
use crate::guilds::{Counted, Guilds, Members, Opening};
use crate::rings::Holder;
use crate::seats::Seats;
use crate::turns::Turns;

pub(crate) struct LocalRelay<G: Guilds> {
    pub(crate) guilds: G,
    pub(crate) guild: GuildId,
    pub(crate) sessions_max: usize,
    pub(crate) turns: Arc<Turns<G>>,
    pub(crate) core: Mutex<Core>,
    /// Where errands run, also those of sessions that are dropped elsewhere.
    pub(crate) runtime: Handle,
    /// Told when the relay is closed.
    over: Notify,
    /// Told when the relay has come to a new position.
    progress: Notify,
    /// Told when the batch consumer may find something.
    pub(crate) batch_news: Notify,
    closed: AtomicBool,
    /// Whether the task has panicked: what the lock guards may be half changed then. Set under the lock, if the task held it.
    broken: AtomicBool,
}

/// What the lock guards.
pub(crate) struct Core {
    pub(crate) relay: Relay,
    /// By the index of a session's key: whom to wake.
    wakers: Vec<Option<Waker>>,
    pub(crate) seats: Seats,
    pub(crate) batch: Option<Batch>,
    /// Reused between runs of events.
    pub(crate) woken: Vec<SessionKey>,
    /// Whether the relay is about to begin again, with the members of the sessions that it has now: none is placed meanwhile.
    pub(crate) is_opening: bool,
}

/// The task's place in what its guild lets out.
#[derive(Debug, Clone, Copy)]
struct Place {
    events: Cursor,
    told: Version,
    /// On whose word the owner knows the sessions.
    sponsor: Sponsor,
}

/// What the task does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Look at the feed again.
    Listen,
    /// Begin again: events are missing.
    BeginAgain,
    /// Go on under the next owner: this one is gone.
    FollowOn,
}

/// Why the task ends.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// The guild is deleted.
    GuildIsGone,
    /// The guilds are to be had no more, or the relay is closed.
    Stopping,
}

/// Where the task stands after a look at the feed.
#[derive(Debug, PartialEq, Eq)]
enum Fed {
    /// There may be more.
    More,
    /// All that there was has been applied.
    AtHead,
    /// Events are missing: begin again from a view.
    Missing,
}

impl<G: Guilds> Holder for LocalRelay<G> {
    fn leased(&self) -> usize {
        self.core.lock().relay.leased()
    }

    fn give_back(&self) {
        let evicted = self.core.lock().relay.give_back();
        self.guilds.discard(evicted);
    }
}

impl<G: Guilds> LocalRelay<G> {
    /// Opens a relay of the guild as it is now, with as much of its past as there is, and starts its task.
    pub(crate) async fn open(guilds: G, guild: GuildId, config: RelayConfig) -> Result<Arc<Self>, CallError> {
        let opening = guilds.open(guild, config.ring.entries_max, Vec::new(), None).await?;
        let Opening { listening, at, rights, past, members: _, events, told, sponsor } = opening;
        let (relay, batch) = Relay::with_past(guilds.rings().budget(), config, rights, at, &past);
        let core = Core {
            relay,
            wakers: Vec::new(),
            seats: Seats::default(),
            batch: Some(batch),
            woken: Vec::new(),
            is_opening: false,
        };
        let local = Arc::new(Self {
            turns: Turns::new(guilds.clone(), config.sessions_max),
            guilds,
            guild,
            sessions_max: config.sessions_max,
            core: Mutex::new(core),
            runtime: Handle::current(),
            over: Notify::new(),
            progress: Notify::new(),
            batch_news: Notify::new(),
            closed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        });
        tokio::spawn(Arc::clone(&local).run(listening, Place { events, told, sponsor }));
        Ok(local)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the relay closed because its task panicked. Its guild may well be there.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// What is told to who comes to a relay that is closed.
    pub(crate) fn gone(&self) -> CallError {
        if self.is_broken() {
            CallError::Unavailable { reason: String::from("the relay has panicked") }
        } else {
            CallError::Stopping
        }
    }

    /// Ends the task. Sessions that are still there hear no more, and see the end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.over.notify_one();
        self.batch_news.notify_one();
        self.progress.notify_waiters();
        let wakers = take(&mut self.core.lock().wakers);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Waits until the relay has come to a position that the owner has told, or is closed.
    pub(crate) async fn reached(&self, at: Position) {
        loop {
            // Listening begins before the look, so that nothing that comes between the two is missed.
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            if self.is_closed() || self.core.lock().relay.position() >= at {
                return;
            }
            progress.await;
        }
    }

    /// Word of the relay's next change: from when this is called, if it is enabled at once.
    pub(crate) fn changes(&self) -> Notified<'_> {
        self.progress.notified()
    }

    /// Wakes whom the calls on the relay since the last time have named.
    pub(crate) fn wake(&self, mut core: parking_lot::MutexGuard<'_, Core>) {
        let mut woken = take(&mut core.woken);
        let wakers: Vec<Waker> = woken.drain(..).filter_map(|key| core.wakers.get_mut(key.index())?.take()).collect();
        core.woken = woken;
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        self.batch_news.notify_one();
        self.progress.notify_waiters();
    }

    /// Waits until the relay takes sessions, or is closed.
    pub(crate) async fn opened(&self) {
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            if self.is_closed() || !self.core.lock().is_opening {
                return;
            }
            progress.await;
        }
    }

    async fn run(self: Arc<Self>, mut listening: G::Listening, mut place: Place) {
        let mut closing = Closing { relay: Arc::clone(&self), listed: false };
        let mut pace = Pace::default();
        let mut failed = false;
        while !self.is_closed() {
            let next = self.listen(listening.as_ref(), &mut place, &mut closing.listed).await;
            let opening = match next {
                Next::Listen => continue,
                // Somebody may have closed it while it waited.
                Next::BeginAgain | Next::FollowOn if self.is_closed() => break,
                Next::BeginAgain if !failed => self.open_again().await,
                Next::BeginAgain | Next::FollowOn => self.follow_on(&mut pace).await,
            };
            failed = matches!(opening, Ok(None));
            match opening {
                Ok(Some(opening)) => {
                    if let Some(other) = self.begin_again(listening.as_ref(), opening, &mut place) {
                        listening = other;
                    }
                    // Where an owner is about to publish the view that is missing, it needs a thread for that.
                    tokio::task::yield_now().await;
                }
                Ok(None) => {}
                Err(Over::GuildIsGone) => {
                    self.end_with_guild(listening.as_ref());
                    break;
                }
                Err(Over::Stopping) => break,
            }
        }
    }

    /// Takes what there is, and waits for more if that was all.
    async fn listen(self: &Arc<Self>, feed: &Feed, place: &mut Place, listed: &mut bool) -> Next {
        // Listening begins before the look, so that nothing that comes between the two is missed.
        let mut news = pin!(feed.news().notified());
        news.as_mut().enable();
        let over = feed.has_ended();
        let fed = self.feed(feed, place);
        self.guilds.rings().note(self, listed);
        match fed {
            Fed::More => {
                self.tell_unread();
                tokio::task::yield_now().await;
                Next::Listen
            }
            Fed::Missing => Next::BeginAgain,
            Fed::AtHead if over => Next::FollowOn,
            Fed::AtHead => {
                let unread_in = self.tell_unread();
                self.rest(news, unread_in).await;
                Next::Listen
            }
        }
    }

    /// Waits for news, for the time to make an unread summary, or for the relay's end.
    async fn rest(&self, news: Pin<&mut Notified<'_>>, unread_in: Option<Duration>) {
        tokio::select! {
            biased;
            () = self.over.notified() => {}
            () = news => {}
            () = pause(unread_in) => {}
        }
    }

    /// Applies a bounded run of events, then tells a few of what was told up to there, and wakes those who hear them.
    fn feed(&self, feed: &Feed, place: &mut Place) -> Fed {
        let mut core = self.core.lock();
        let _changing = Changing(self);
        let Core { relay, woken, .. } = &mut *core;
        let mut left = RUN_EVENTS;
        let mut missing = false;
        let read = feed.events.read(&mut place.events, |_, event| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            match relay.apply(Arc::clone(event), woken) {
                // What the view of the last resync held already is no news.
                Ok(()) | Err(ApplyError::Stale { .. }) => ControlFlow::Continue(()),
                Err(ApplyError::Jump { .. }) => {
                    missing = true;
                    ControlFlow::Break(())
                }
            }
        });
        let more_told = !missing && self.tell_ephemerals(feed, &mut place.told, relay, woken);
        self.wake(core);
        match read {
            Ok(_) if missing => Fed::Missing,
            Ok(read) if read.at_head && !more_told => Fed::AtHead,
            Ok(_) => Fed::More,
            Err(ReadError::Gap(_)) => Fed::Missing,
            // The view was published before the ring reached it; it will.
            Err(ReadError::Ahead { .. }) => Fed::AtHead,
        }
    }

    /// Tells the next of what was told beside the events, as far as these were applied. Whether there is more to be told now.
    fn tell_ephemerals(&self, feed: &Feed, told: &mut Version, relay: &mut Relay, woken: &mut Vec<SessionKey>) -> bool {
        for _ in 0..RUN_TOLD {
            let mut next = None;
            feed.told.read(told, |version, ephemeral| {
                next = Some((version, *ephemeral));
                ControlFlow::Break(())
            });
            let Some((version, ephemeral)) = next else {
                return false;
            };
            match relay.tell(ephemeral, woken) {
                Ok(pushed_out) => self.guilds.count(Counted::EphemeralPushedOut, pushed_out as u64),
                Err(TellError::Stale { .. }) => {}
                // It waits for its event.
                Err(TellError::Ahead { .. }) => return false,
            }
            *told = version;
        }
        *told < feed.told.head()
    }

    /// Makes the unread summary if it is due; otherwise the time until it is, if there is something to tell.
    fn tell_unread(&self) -> Option<Duration> {
        let mut core = self.core.lock();
        let _changing = Changing(self);
        let due = core.relay.unread_due()?;
        let now = self.guilds.now();
        if now < due {
            return Some(due.since(now));
        }
        let Core { relay, woken, .. } = &mut *core;
        relay.tick(now, woken);
        self.wake(core);
        None
    }

    /// Asks for the guild as it is now, with the members of all sessions that there are; none is placed until that has come.
    async fn open_again(&self) -> Result<Option<Opening<G>>, Over> {
        let (users, was_at) = {
            let mut core = self.core.lock();
            core.is_opening = true;
            (core.seats.users(), core.relay.position())
        };
        let opened = tokio::select! {
            biased;
            () = self.over.notified() => return Err(Over::Stopping),
            opened = self.guilds.open(self.guild, 0, users, Some(was_at)) => opened,
        };
        // An owner of an earlier epoch has been taken over, and does not know it yet.
        let opened = opened.and_then(|opening| match opening.at.epoch < self.core.lock().relay.position().epoch {
            true => Err(CallError::Unavailable { reason: String::from("an earlier owner has answered") }),
            false => Ok(opening),
        });
        match opened {
            Ok(opening) => Ok(Some(opening)),
            Err(error) => {
                self.core.lock().is_opening = false;
                self.progress.notify_waiters();
                match error {
                    CallError::Refused(_) => Err(Over::GuildIsGone),
                    // Of a guild that is another node's nothing is to be had here, and its sessions are to come back where it is.
                    CallError::Stopping | CallError::Moved { .. } => Err(Over::Stopping),
                    CallError::Denied { .. } => {
                        tracing::error!(guild = %self.guild, %error, "guild given up by its relay");
                        Err(Over::Stopping)
                    }
                    CallError::Unavailable { .. } | CallError::Overloaded { .. } | CallError::OutcomeUnknown => {
                        tracing::warn!(guild = %self.guild, %error, "guild not available to its relay");
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Asks for the guild under its next owner: at once, or after a pause if it did so a moment ago.
    async fn follow_on(&self, pace: &mut Pace) -> Result<Option<Opening<G>>, Over> {
        let pause = pace.pause();
        if !pause.is_zero() {
            tokio::select! {
                biased;
                () = self.over.notified() => return Err(Over::Stopping),
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.open_again().await
    }

    /// Goes on from what was opened; whatever else it listens to from here on is returned.
    fn begin_again(self: &Arc<Self>, before: &Feed, opening: Opening<G>, place: &mut Place) -> Option<G::Listening> {
        let Opening { listening, at, rights, past: _, members, events, told, sponsor } = opening;
        let mut core = self.core.lock();
        let _changing = Changing(self);
        core.is_opening = false;
        place.events = events;
        let Core { relay, seats, woken, .. } = &mut *core;
        // Otherwise the feed runs ahead of the view while the owner lets a turn out: the view that is missing is on its way.
        if relay.position() < at {
            self.guilds.count(Counted::Resync, 1);
            // Who left and came back within the hole is a new member: the owner has detached the sessions of the one who left.
            let outlived = seats.outlived(|user| members.joined_at(user));
            let member = |user| members.member(user);
            if let Err(stale) = relay.resync(at, rights, member, &outlived, woken) {
                tracing::error!(guild = %self.guild, %stale, "the relay is ahead of its guild");
            }
        }
        self.wake(core);
        let feed: &Feed = listening.as_ref();
        if std::ptr::eq(feed, before) {
            return None;
        }
        place.told = told;
        let before_sponsor = replace(&mut place.sponsor, sponsor);
        if feed.epoch != before.epoch || sponsor != before_sponsor {
            self.runtime.spawn(Arc::clone(self).tell_all());
        }
        Some(listening)
    }

    /// Nobody will hear the deletion itself any more: it has left the ring.
    fn end_with_guild(&self, feed: &Feed) {
        let mut core = self.core.lock();
        let _changing = Changing(self);
        let Core { relay, woken, .. } = &mut *core;
        if let Err(stale) = relay.end_guild(relay.position().max(feed.head()), woken) {
            tracing::error!(guild = %self.guild, %stale, "the relay is ahead of its guild");
        }
        self.wake(core);
    }
}

/// Closes the relay when its task ends; also if it panics, so that nobody waits for what will not come.
struct Closing<G: Guilds> {
    relay: Arc<LocalRelay<G>>,
    /// Whether the relay is in the list of those that lease.
    listed: bool,
}

impl<G: Guilds> Drop for Closing<G> {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(guild = %self.relay.guild, "the relay's task has panicked: its sessions end");
            self.relay.broken.store(true, Ordering::Release);
        }
        self.relay.close();
        if self.listed {
            self.relay.guilds.rings().leave();
        }
    }
}

/// Dropped by a panic before the lock that is held since before it was made: whoever takes that next sees that the relay is not to be used.
struct Changing<'a, G: Guilds>(&'a LocalRelay<G>);

impl<G: Guilds> Drop for Changing<'_, G> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

/// How long a relay waits before it has its guild loaded again: not at all, unless it did so a moment ago.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    fn pause(&mut self) -> Duration {
        let now = Instant::now();
        let lately = self.last.is_some_and(|last| now - last < 2 * REOPEN_PAUSE_MAX);
        self.pause = if lately { (self.pause * 2).clamp(REOPEN_PAUSE_MIN, REOPEN_PAUSE_MAX) } else { Duration::ZERO };
        self.last = Some(now);
        self.pause
    }
}

impl Core {
    /// Keeps whom to wake for a session that is about to wait.
    pub(crate) fn register(&mut self, key: SessionKey, waker: &Waker) {
        let at = key.index();
        if self.wakers.len() <= at {
            self.wakers.resize_with(at + 1, || None);
        }
        match &mut self.wakers[at] {
            Some(kept) => kept.clone_from(waker),
            vacant => *vacant = Some(waker.clone()),
        }
    }
}

/// Sleeps for that time; without one, for ever.
async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Events applied under one hold of the lock: some tens of microseconds.
const RUN_EVENTS: usize = 64;
/// What is told under one hold of the lock: each may look at every waiting session.
const RUN_TOLD: usize = 8;
/// A guild that is not available is asked for again after this, and after twice as long each time.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(10);
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
