//! What a relay's sessions have the owner told, beside the feed: detaches, and every session when a new owner has come.
//!
//! Errands run in tasks of their own, so that the feed never waits for an owner. They are as many as sessions that leave, and [`TELLING_MAX`] each for
//! those that are told of again and for those that do not come back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::{CallError, CommandError, Position, Reply, SessionId, SessionRequest, UserId};
use guildhall_relay::SessionKey;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::backend::Lease;
use crate::guilds::{Counted, Guilds};
use crate::local::{Core, LocalRelay};
use crate::seat::Held;
use crate::seats::{GiveUp, WasCut};

impl<G: Guilds> LocalRelay<G> {
    /// Asks the owner something about a session.
    pub(crate) async fn ask(&self, session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        self.guilds.session(self.guild, session, request).await
    }

    /// Detaches a session at the owner and then here, up to the same position; it hears all before that. If this is dropped while
    /// it waits, the owner may have detached the session all the same; it is to be detached again.
    pub(crate) async fn detach(self: &Arc<Self>, held: Held) -> Result<Position, CallError> {
        self.core.lock().seats.leave(held.session, held.tenure);
        match self.ask(held.session, held.goodbye()).await {
            Ok(Reply::Accepted(at)) => Ok(self.left(held, Some(at))),
            Ok(reply @ (Reply::Attached(_) | Reply::Outcome(_))) => unreachable!("a detach is accepted, not {reply:?}"),
            // The owner has ended it already, never came to know it, or another holds it: what this relay knows is all there is.
            Err(CallError::Refused(
                CommandError::UnknownSession { .. }
                | CommandError::ForeignSession { .. }
                | CommandError::SessionSuperseded { .. }
                | CommandError::UnknownGuild,
            )) => Ok(self.left(held, None)),
            Err(error) => {
                let tell_again = self.core.lock().seats.stay(held.session, held.tenure);
                if tell_again {
                    self.tell_in_background(held.session);
                }
                Err(error)
            }
        }
    }

    /// Ends a session here that the owner has ended or does not know, up to `at`, or else up to what was fed so far.
    pub(crate) fn left(&self, held: Held, at: Option<Position>) -> Position {
        let mut core = self.core.lock();
        let at = at.unwrap_or_else(|| core.relay.position());
        if let Some(key) = core.seats.left(held.session, held.tenure) {
            self.end(&mut core, key, at);
        }
        self.wake(core);
        at
    }

    fn end(&self, core: &mut Core, key: SessionKey, at: Position) {
        if let Err(unknown) = core.relay.detach(key, at, &mut core.woken) {
            // It has ended by itself meanwhile: its member left, or the guild is gone.
            tracing::trace!(guild = %self.guild, %unknown, "session had ended");
        }
    }

    /// Keeps the seat of a session whose connection broke, for as long as it may come back, and then detaches it at the owner. Its
    /// place at the relay is free at once. The lease keeps the relay until then, and with it the session's past.
    pub(crate) fn cut(self: &Arc<Self>, held: Held, within: Duration, lease: Lease<G>) {
        let mut core = self.core.lock();
        let now = Instant::now();
        let until = now.checked_add(within).unwrap_or(now + FOR_EVER);
        let Some(WasCut { key, none_left }) = core.seats.cut(held.session, held.tenure, until) else {
            // It has come back already.
            return;
        };
        if let Some(key) = key {
            let at = core.relay.position();
            self.end(&mut core, key, at);
        }
        self.wake(core);
        self.guilds.count(Counted::SessionCut, 1);
        if let Some(none_left) = none_left {
            self.runtime.spawn(Arc::clone(self).give_up(none_left, lease));
        }
    }

    /// Has the sessions whose connection broke detached when their time is over, [`TELLING_MAX`] at a time, until none is left that may come
    /// back; then sees the last of these detaches to their end. Who is cut during that has another task.
    async fn give_up(self: Arc<Self>, mut none_left: oneshot::Receiver<Infallible>, lease: Lease<G>) {
        let mut leaving = JoinSet::new();
        loop {
            if leaving.len() >= TELLING_MAX {
                leaving.join_next().await;
            }
            let next = self.core.lock().seats.give_up(Instant::now());
            match next {
                GiveUp::Now(held) => {
                    leaving.spawn(Arc::clone(&self).see_off(held, Some(Counted::SessionAbandoned)));
                }
                GiveUp::At(until) => {
                    while leaving.try_join_next().is_some() {}
                    if timeout_at(until, &mut none_left).await.is_ok() {
                        break;
                    }
                }
                GiveUp::Nobody => break,
            }
        }
        // One by one: if one panics, the others go on.
        while leaving.join_next().await.is_some() {}
        drop(lease);
    }

    /// Sees to the detach of a session that nobody holds any more. The lease keeps the relay until then.
    pub(crate) fn abandon(self: &Arc<Self>, held: Held, lease: Option<Lease<G>>) {
        self.detach_in_background(held, Some(Counted::SessionAbandoned), lease);
    }

    /// Sees to the detach of a session that may be attached at the owner, and counts it unless it goes on elsewhere.
    pub(crate) fn detach_in_background(
        self: &Arc<Self>,
        held: Held,
        counted: Option<Counted>,
        lease: Option<Lease<G>>,
    ) {
        if !self.core.lock().seats.leave(held.session, held.tenure) {
            // It has come back here.
            return;
        }
        let leaving = Arc::clone(self).see_off(held, counted);
        self.runtime.spawn(async move {
            leaving.await;
            drop(lease);
        });
    }

    /// Detaches a session that leaves at the owner, and then here.
    async fn see_off(self: Arc<Self>, held: Held, counted: Option<Counted>) {
        let told = self.retried(held.session, held.goodbye()).await;
        if let Err(error) = &told {
            // No owner is left that knows it, none ever did, or it has come back elsewhere.
            tracing::debug!(guild = %self.guild, session = %held.session, %error, "session ended without its owner");
        }
        let goes_on = matches!(told, Err(CallError::Refused(CommandError::SessionSuperseded { .. })));
        if let Some(counted) = counted.filter(|_| !goes_on) {
            self.guilds.count(counted, 1);
        }
        self.left(held, None);
    }

    /// Sees to the end of a session at the owner, however that knows it, where nobody here holds it. The lease keeps the relay until then.
    pub(crate) fn forget_in_background(self: &Arc<Self>, session: SessionId, user: UserId, lease: Lease<G>) {
        let relay = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(error) = relay.retried(session, SessionRequest::Detach { user }).await {
                tracing::debug!(guild = %relay.guild, %session, %error, "session ended without its owner");
            }
            drop(lease);
        });
    }

    /// Tells the owner of one session as it is to be.
    pub(crate) fn tell_in_background(self: &Arc<Self>, session: SessionId) {
        self.runtime.spawn(Arc::clone(self).tell(session));
    }

    /// Tells a new owner of every session here. What the owner refuses has ended at the resync, or ends by itself.
    pub(crate) async fn tell_all(self: Arc<Self>) {
        let sessions = self.core.lock().seats.sessions();
        let mut telling = JoinSet::new();
        for session in sessions {
            if telling.len() >= TELLING_MAX {
                telling.join_next().await;
            }
            telling.spawn(Arc::clone(&self).tell(session));
        }
        telling.join_all().await;
    }

    /// Tells the owner of one session as it is to be, until it is so.
    async fn tell(self: Arc<Self>, session: SessionId) {
        let mut next = self.core.lock().seats.begin_telling(session);
        while let Some(request) = next {
            if let Err(error) = self.retried(session, request).await {
                tracing::debug!(guild = %self.guild, %session, %error, "session not taken over");
            }
            next = self.core.lock().seats.told(session, request);
        }
    }

    /// Asks until there is an answer, or the guilds are to be had no more.
    async fn retried(&self, session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        let mut pause = ASK_AGAIN_MIN;
        loop {
            match self.ask(session, request).await {
                Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
                // A relay that panicked says nothing about its guild, where the session is known still.
                Err(CallError::Unavailable { .. } | CallError::OutcomeUnknown)
                    if !self.is_closed() || self.is_broken() =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ASK_AGAIN_MAX);
                }
                answer => return answer,
            }
        }
    }
}

/// How soon an owner that cannot be reached is asked again, and then after twice as long each time.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(10);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(1);
/// Longer than a relay lives.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
/// Sessions that an owner is told of at a time, because it is new or they do not come back: enough to fill its turns, few enough to leave room in
/// its mailbox.
const TELLING_MAX: usize = 256;
