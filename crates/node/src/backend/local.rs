//! One relay beside its sessions, and the task that feeds it.
//!
//! The task holds the relay's lock for a bounded run of events at a time; sessions read without it, and take it only to fall asleep.
//! Who has to be woken is woken after the lock is released.

use std::collections::BTreeMap;
use std::mem::take;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use guildhall_guild::{Reply, SessionRequest};
use guildhall_members::View;
use guildhall_proto::{CallError, CommandError, GuildId, Position, Seq, SessionId, Status, UserId};
use guildhall_relay::{ApplyError, Batch, Relay, RelayConfig, SessionKey};
use guildhall_ring::{Cursor, ReadError};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Lease;
use crate::counters::Counter;
use crate::live::Live;
use crate::node::Node;

pub(super) struct LocalRelay {
    node: Node,
    guild: GuildId,
    pub(super) core: Mutex<Core>,
    /// Told when the task has something to look at beside the feed.
    attention: Notify,
    /// Told when the batch consumer may find something.
    pub(super) batch_news: Notify,
    closed: AtomicBool,
}

/// What the lock guards.
pub(super) struct Core {
    pub(super) relay: Relay,
    /// By the index of a session's key: whom to wake.
    wakers: Vec<Option<Waker>>,
    /// The sessions as they are to be at the owner, whoever that is.
    seats: BTreeMap<SessionId, Seat>,
    /// Sessions whose end was dropped without a detach.
    abandoned: Vec<Abandoned>,
    pub(super) batch: Option<Batch>,
    /// Reused between runs of events.
    pub(super) woken: Vec<SessionKey>,
}

/// What the owner knows of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) user: UserId,
    pub(super) status: Status,
    pub(super) key: Option<SessionKey>,
}

struct Abandoned {
    session: SessionId,
    _lease: Lease,
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

impl LocalRelay {
    /// Opens a relay of the guild as it is now, and starts its task.
    pub(super) async fn open(node: Node, guild: GuildId, config: RelayConfig) -> Result<Arc<Self>, CallError> {
        let live = node.live(guild).await?;
        let view = node.view_of(&live)?;
        let (relay, batch) = Relay::new(config, view.rights().clone(), view.position());
        let core = Core {
            relay,
            wakers: Vec::new(),
            seats: BTreeMap::new(),
            abandoned: Vec::new(),
            batch: Some(batch),
            woken: Vec::new(),
        };
        let local = Arc::new(Self {
            node,
            guild,
            core: Mutex::new(core),
            attention: Notify::new(),
            batch_news: Notify::new(),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(Arc::clone(&local).run(live, Cursor::after(view.position().seq)));
        Ok(local)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the task. Sessions that are still there hear no more, and see the end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.attention.notify_one();
        self.batch_news.notify_one();
        let mut core = self.core.lock();
        let (wakers, abandoned) = (take(&mut core.wakers), take(&mut core.abandoned));
        drop(core);
        wakers.into_iter().flatten().for_each(Waker::wake);
        drop(abandoned);
    }

    /// Asks the owner something about a session.
    pub(super) async fn ask(&self, session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        self.node.session(self.guild, session, request).await
    }

    /// Has the task detach a session that nobody holds any more.
    pub(super) fn abandon(&self, session: SessionId, lease: Lease) {
        let mut core = self.core.lock();
        if !self.is_closed() {
            core.abandoned.push(Abandoned { session, _lease: lease });
            drop(core);
            self.attention.notify_one();
        }
    }

    /// Detaches a session at the owner and then here, up to the same position; it hears all before that.
    pub(super) async fn detach(&self, session: SessionId) -> Result<Position, CallError> {
        let answer = self.ask(session, SessionRequest::Detach).await;
        let mut core = self.core.lock();
        let at = match answer {
            Ok(Reply::Accepted(at)) => at,
            Ok(reply @ (Reply::Attached(_) | Reply::Outcome(_))) => unreachable!("a detach is accepted, not {reply:?}"),
            // The owner has ended it already, or never came to know it: what this relay knows is all there is.
            Err(CallError::Refused(CommandError::UnknownSession { .. } | CommandError::UnknownGuild)) => {
                core.relay.position()
            }
            Err(error) => return Err(error),
        };
        if let Some(key) = core.seats.remove(&session).and_then(|seat| seat.key) {
            let mut woken = take(&mut core.woken);
            if let Err(unknown) = core.relay.detach(key, at, &mut woken) {
                // It has ended by itself meanwhile: its member left, or the guild is gone.
                tracing::trace!(guild = %self.guild, %session, %unknown, "session had ended");
            }
            core.woken = woken;
        }
        self.wake(core);
        Ok(at)
    }

    /// Wakes whom the calls on the relay since the last time have named.
    pub(super) fn wake(&self, mut core: parking_lot::MutexGuard<'_, Core>) {
        let mut woken = take(&mut core.woken);
        let wakers: Vec<Waker> = woken.drain(..).filter_map(|key| core.wakers.get_mut(key.index())?.take()).collect();
        core.woken = woken;
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        self.batch_news.notify_one();
    }

    async fn run(self: Arc<Self>, mut live: Arc<Live>, mut cursor: Cursor) {
        while !self.is_closed() {
            // Listening begins before the look, so that nothing that comes between the two is missed.
            let feed = Arc::clone(&live);
            let mut news = pin!(feed.news.notified());
            news.as_mut().enable();
            let over = live.has_ended();
            match self.feed(&live, &mut cursor) {
                Fed::More => {
                    self.tell_unread();
                    tokio::task::yield_now().await;
                }
                Fed::Missing => {
                    self.resync(&live, &mut cursor);
                    // Where the owner is about to publish the view that is missing, it needs a thread for that.
                    tokio::task::yield_now().await;
                }
                Fed::AtHead if over => match self.reopen().await {
                    Some((next, from)) => (live, cursor) = (next, from),
                    None => break,
                },
                Fed::AtHead => {
                    self.detach_abandoned().await;
                    let unread_in = self.tell_unread();
                    tokio::select! {
                        biased;
                        () = self.attention.notified() => {}
                        () = news => {}
                        () = pause(unread_in) => {}
                    }
                }
            }
        }
        self.close();
    }

    /// Applies a bounded run of events and wakes those who hear them.
    fn feed(&self, live: &Live, cursor: &mut Cursor) -> Fed {
        let mut core = self.core.lock();
        let Core { relay, woken, .. } = &mut *core;
        let mut left = RUN_EVENTS;
        let mut missing = false;
        let read = live.events.read(cursor, |_, event| {
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
        self.wake(core);
        match read {
            Ok(_) if missing => Fed::Missing,
            Ok(read) if read.at_head => Fed::AtHead,
            Ok(_) => Fed::More,
            Err(ReadError::Gap(_)) => Fed::Missing,
            // The view was published before the ring reached it; it will.
            Err(ReadError::Ahead { .. }) => Fed::AtHead,
        }
    }

    /// Makes the unread summary if it is due; otherwise the time until it is, if there is something to tell.
    fn tell_unread(&self) -> Option<Duration> {
        let now = self.node.now();
        let mut core = self.core.lock();
        let due = core.relay.unread_due()?;
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
        self.node.counters().bump(Counter::RelayResyncs);
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
        let Core { relay, woken, .. } = &mut *core;
        let resynced = relay.resync(view.position(), view.rights().clone(), |user| view.member(user), woken);
        if let Err(stale) = resynced {
            tracing::debug!(guild = %self.guild, %stale, "a newer view is on its way");
        }
        self.wake(core);
    }

    /// Nobody will hear the deletion itself any more: it has left the ring.
    fn end_with_guild(&self, at: Position) {
        let mut core = self.core.lock();
        let Core { relay, woken, .. } = &mut *core;
        let rights = relay.rights().clone();
        if let Err(stale) = relay.resync(at, rights, |_| None, woken) {
            tracing::error!(guild = %self.guild, %stale, "the relay is ahead of its guild");
        }
        self.wake(core);
    }

    /// Finds the guild under its next owner, begins again from its view, and takes the sessions there. `None` once the node stops.
    async fn reopen(&self) -> Option<(Arc<Live>, Cursor)> {
        let mut pause = REOPEN_PAUSE_MIN;
        loop {
            match self.node.live(self.guild).await {
                Ok(live) => {
                    let mut cursor = live.events.head();
                    self.resync(&live, &mut cursor);
                    self.attach_again().await;
                    return Some((live, cursor));
                }
                Err(CallError::Stopping | CallError::Refused(_)) => return None,
                Err(
                    error @ (CallError::Unavailable { .. } | CallError::Overloaded { .. } | CallError::OutcomeUnknown),
                ) => {
                    tracing::warn!(guild = %self.guild, %error, "guild not available to its relay");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REOPEN_PAUSE_MAX);
                }
            }
        }
    }

    /// Tells a new owner of every session here. What the owner refuses has ended at the resync, or ends by itself.
    async fn attach_again(&self) {
        let seats: Vec<(SessionId, Seat)> =
            self.core.lock().seats.iter().map(|(session, seat)| (*session, *seat)).collect();
        for (session, seat) in seats {
            let attach = SessionRequest::Attach { user: seat.user, status: seat.status };
            if let Err(error) = self.retried(session, attach).await {
                tracing::debug!(guild = %self.guild, %session, %error, "session not taken over");
            }
            // Its detach may have come between: then it would stay for ever at an owner that heard of the detach first.
            if !self.core.lock().seats.contains_key(&session)
                && let Err(error) = self.retried(session, SessionRequest::Detach).await
            {
                tracing::debug!(guild = %self.guild, %session, %error, "session gone already");
            }
        }
    }

    /// Asks until there is room.
    async fn retried(&self, session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        loop {
            match self.ask(session, request).await {
                Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
                answer => return answer,
            }
        }
    }

    async fn detach_abandoned(&self) {
        let abandoned = take(&mut self.core.lock().abandoned);
        for gone in abandoned {
            self.node.counters().bump(Counter::SessionsAbandoned);
            loop {
                match self.detach(gone.session).await {
                    Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(guild = %self.guild, session = %gone.session, %error, "session not detached");
                        break;
                    }
                }
            }
        }
    }
}

impl Core {
    /// Takes the place of a session, so that none of its id comes twice.
    pub(super) fn reserve(&mut self, session: SessionId, user: UserId, status: Status) -> bool {
        if self.seats.contains_key(&session) {
            return false;
        }
        self.seats.insert(session, Seat { user, status, key: None });
        true
    }

    pub(super) fn seat(&mut self, session: SessionId) -> Option<&mut Seat> {
        self.seats.get_mut(&session)
    }

    pub(super) fn vacate(&mut self, session: SessionId) {
        self.seats.remove(&session);
    }

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
/// A guild that is not available is asked for again after this, and after twice as long each time.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(10);
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(1);
