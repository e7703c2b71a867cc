//! One relay beside its sessions, and the task that feeds it.
//!
//! The task holds the relay's lock for a bounded run of events at a time; sessions read without it, and take it only to fall asleep.
//! Who has to be woken is woken after the lock is released.

use std::mem::take;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use guildhall_members::View;
use guildhall_proto::{CallError, Event, GuildId, Position, Seq};
use guildhall_relay::{ApplyError, Batch, Relay, RelayConfig, SessionKey, TellError};
use guildhall_ring::{Cursor, ReadError, Version};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::seats::Seats;
use super::turns::Turns;
use crate::counters::Counter;
use crate::live::{Feed, Live};
use crate::node::Node;
use crate::rings::Holder;

pub(super) struct LocalRelay {
    pub(super) node: Node,
    pub(super) guild: GuildId,
    pub(super) sessions_max: usize,
    pub(super) turns: Arc<Turns>,
    pub(super) core: Mutex<Core>,
    /// Where errands run, also those of sessions that are dropped elsewhere.
    pub(super) runtime: Handle,
    /// Told when the relay is closed.
    over: Notify,
    /// Told when the relay has come to a new position.
    progress: Notify,
    /// Told when the batch consumer may find something.
    pub(super) batch_news: Notify,
    closed: AtomicBool,
}

/// What the lock guards.
pub(super) struct Core {
    pub(super) relay: Relay,
    /// By the index of a session's key: whom to wake.
    wakers: Vec<Option<Waker>>,
    pub(super) seats: Seats,
    pub(super) batch: Option<Batch>,
    /// Reused between runs of events.
    pub(super) woken: Vec<SessionKey>,
}

/// The task's place in what its guild lets out.
#[derive(Debug, Clone, Copy)]
struct Place {
    events: Cursor,
    told: Version,
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

impl Holder for LocalRelay {
    fn leased(&self) -> usize {
        self.core.lock().relay.leased()
    }

    fn give_back(&self) {
        let evicted = self.core.lock().relay.give_back();
        self.node.offload().discard(evicted);
    }
}

impl LocalRelay {
    /// Opens a relay of the guild as it is now, with as much of its past as the owner's ring has, and starts its task.
    pub(super) async fn open(node: Node, guild: GuildId, config: RelayConfig) -> Result<Arc<Self>, CallError> {
        let live = node.live(guild).await?;
        // Before the view: what is told from here on may be missing from it.
        let told = live.told.head();
        let view = node.view_of(&live)?;
        let past = past_of(&live, &view, config.ring.entries_max);
        let (rights, at) = (view.rights().clone(), view.position());
        let (relay, batch) = Relay::with_past(node.rings().budget(), config, rights, at, &past);
        let core = Core { relay, wakers: Vec::new(), seats: Seats::default(), batch: Some(batch), woken: Vec::new() };
        let local = Arc::new(Self {
            turns: Turns::new(node.clone(), config.sessions_max),
            node,
            guild,
            sessions_max: config.sessions_max,
            core: Mutex::new(core),
            runtime: Handle::current(),
            over: Notify::new(),
            progress: Notify::new(),
            batch_news: Notify::new(),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(Arc::clone(&local).run(live, Place { events: Cursor::after(view.position().seq), told }));
        Ok(local)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the task. Sessions that are still there hear no more, and see the end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.over.notify_one();
        self.batch_news.notify_one();
        self.progress.notify_waiters();
        let wakers = take(&mut self.core.lock().wakers);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Waits until the relay has come to a position that the owner has told, or is closed.
    pub(super) async fn reached(&self, at: Position) {
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

    /// Wakes whom the calls on the relay since the last time have named.
    pub(super) fn wake(&self, mut core: parking_lot::MutexGuard<'_, Core>) {
        let mut woken = take(&mut core.woken);
        let wakers: Vec<Waker> = woken.drain(..).filter_map(|key| core.wakers.get_mut(key.index())?.take()).collect();
        core.woken = woken;
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        self.batch_news.notify_one();
        self.progress.notify_waiters();
    }

    async fn run(self: Arc<Self>, mut live: Arc<Live>, mut place: Place) {
        let mut pace = Pace::default();
        let mut _awake = Feed::of(&live);
        let mut listed = false;
        while !self.is_closed() {
            // Listening begins before the look, so that nothing that comes between the two is missed.
            let feed = Arc::clone(&live);
            let mut news = pin!(feed.news.notified());
            news.as_mut().enable();
            let over = live.has_ended();
            let fed = self.feed(&live, &mut place);
            self.node.rings().note(&self, &mut listed);
            match fed {
                Fed::More => {
                    self.tell_unread();
                    tokio::task::yield_now().await;
                }
                Fed::Missing => {
                    self.resync(&live, &mut place.events);
                    // Where the owner is about to publish the view that is missing, it needs a thread for that.
                    tokio::task::yield_now().await;
                }
                Fed::AtHead if over => match self.reopen(&mut pace).await {
                    Some((next, from)) => {
                        _awake = Feed::of(&next);
                        (live, place) = (next, from);
                    }
                    None => break,
                },
                Fed::AtHead => {
                    let unread_in = self.tell_unread();
                    tokio::select! {
                        biased;
                        () = self.over.notified() => {}
                        () = news => {}
                        () = pause(unread_in) => {}
                    }
                }
            }
        }
        self.close();
        if listed {
            self.node.rings().leave();
        }
    }

    /// Applies a bounded run of events, then tells a few of what was told up to there, and wakes those who hear them.
    fn feed(&self, live: &Live, place: &mut Place) -> Fed {
        let mut core = self.core.lock();
        let Core { relay, woken, .. } = &mut *core;
        let mut left = RUN_EVENTS;
        let mut missing = false;
        let read = live.events.read(&mut place.events, |_, event| {
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
        let more_told = !missing && self.tell_ephemerals(live, &mut place.told, relay, woken);
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
    fn tell_ephemerals(&self, live: &Live, told: &mut Version, relay: &mut Relay, woken: &mut Vec<SessionKey>) -> bool {
        for _ in 0..RUN_TOLD {
            let mut next = None;
            live.told.read(told, |version, ephemeral| {
                next = Some((version, *ephemeral));
                ControlFlow::Break(())
            });
            let Some((version, ephemeral)) = next else {
                return false;
            };
            match relay.tell(ephemeral, woken) {
                Ok(pushed_out) => self.node.counters().add(Counter::EphemeralsPushedOut, pushed_out as u64),
                Err(TellError::Stale { .. }) => {}
                // It waits for its event.
                Err(TellError::Ahead { .. }) => return false,
            }
            *told = version;
        }
        *told < live.told.head()
    }

    /// Makes the unread summary if it is due; otherwise the time until it is, if there is something to tell.
    fn tell_unread(&self) -> Option<Duration> {
        let mut core = self.core.lock();
        let due = core.relay.unread_due()?;
        let now = self.node.now();
        if now < due {
            return Some(due.since(now));
        }
        let Core { relay, woken, .. } = &mut *core;
        relay.tick(now, woken);
        self.wake(core);
        None
    }

    /// Begins again from the guild's view.
    fn resync(&self, live: &Live, cursor: &mut Cursor) {
        let Ok(view) = self.node.view_of(live) else {
            // The guild is deleted: its ring ends with that event.
            *cursor = live.events.head();
            self.end_with_guild(Position { epoch: live.epoch, seq: Seq(cursor.0.saturating_sub(1)) });
            return;
        };
        *cursor = Cursor::after(view.position().seq);
        self.resync_from(&view);
    }

    fn resync_from(&self, view: &View) {
        let mut core = self.core.lock();
        let Core { relay, seats, woken, .. } = &mut *core;
        if view.position() <= relay.position() {
            // The ring runs ahead of the view while the owner lets a turn out: the view that is missing is on its way.
            return;
        }
        self.node.counters().bump(Counter::RelayResyncs);
        // Who left and came back within the hole is a new member: the owner has detached the sessions of the one who left.
        let joined = |user| view.with_member(user, |member| member.joined_at);
        let outlived = seats.outlived(joined);
        let member = |user| view.member(user);
        if let Err(stale) = relay.resync(view.position(), view.rights().clone(), member, &outlived, woken) {
            tracing::error!(guild = %self.guild, %stale, "the relay is ahead of its guild");
        }
        self.wake(core);
    }

    /// Nobody will hear the deletion itself any more: it has left the ring.
    fn end_with_guild(&self, at: Position) {
        let mut core = self.core.lock();
        let Core { relay, woken, .. } = &mut *core;
        if let Err(stale) = relay.end_guild(at, woken) {
            tracing::error!(guild = %self.guild, %stale, "the relay is ahead of its guild");
        }
        self.wake(core);
    }

    /// Finds the guild under its next owner, begins again from its view, and has the sessions told there. `None` once the node stops
    /// or the relay is closed.
    async fn reopen(self: &Arc<Self>, pace: &mut Pace) -> Option<(Arc<Live>, Place)> {
        loop {
            let pause = pace.pause();
            if !pause.is_zero() {
                tokio::select! {
                    biased;
                    () = self.over.notified() => return None,
                    () = tokio::time::sleep(pause) => {}
                }
            }
            match self.node.live(self.guild).await {
                Ok(live) => {
                    let mut place = Place { events: live.events.head(), told: live.told.head() };
                    self.resync(&live, &mut place.events);
                    self.runtime.spawn(Arc::clone(self).tell_all());
                    return Some((live, place));
                }
                Err(CallError::Refused(_)) => {
                    let at = self.core.lock().relay.position();
                    self.end_with_guild(at);
                    return None;
                }
                Err(CallError::Stopping) => return None,
                Err(
                    error @ (CallError::Unavailable { .. } | CallError::Overloaded { .. } | CallError::OutcomeUnknown),
                ) => tracing::warn!(guild = %self.guild, %error, "guild not available to its relay"),
            }
        }
    }
}

/// The events up to a view, oldest first, as far back as the owner's ring reaches, at most `max`.
fn past_of(live: &Live, view: &View, max: usize) -> Vec<Arc<Event>> {
    let head = Cursor::after(view.position().seq);
    let mut past = Vec::new();
    for _ in 0..PAST_READS_MAX {
        let mut cursor = live.events.tail().max(Cursor(head.0.saturating_sub(max as u64)));
        let read = live.events.read(&mut cursor, |at, event| {
            if at >= head {
                return ControlFlow::Break(());
            }
            past.push(Arc::clone(event));
            ControlFlow::Continue(())
        });
        match read {
            Ok(_) | Err(ReadError::Ahead { .. }) => break,
            // The ring has moved on between the two looks.
            Err(ReadError::Gap(_)) => {}
        }
    }
    past
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
    pub(super) fn register(&mut self, key: SessionKey, waker: &Waker) {
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
/// Looks at a ring that moves on at every look, before a relay begins without a past.
const PAST_READS_MAX: usize = 4;
/// What is told under one hold of the lock: each may look at every waiting session.
const RUN_TOLD: usize = 8;
/// A guild that is not available is asked for again after this, and after twice as long each time.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(10);
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_guild_that_ends_again_and_again_is_loaded_at_a_falling_pace() {
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let pause = pace.pause();
            tokio::time::advance(pause).await;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        tokio::time::advance(2 * REOPEN_PAUSE_MAX).await;
        assert_eq!(pace.pause(), Duration::ZERO);
    }
}
