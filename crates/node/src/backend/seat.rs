//! What both kinds of session have in common: a place at the owner and at the relay, given back at the end.

use std::sync::Arc;
use std::time::Duration;

use guildhall_guild::{Attached, Reply, SessionRequest};
use guildhall_proto::{CallError, CommandError, Level, Millis, Position, SessionId, Status, UserId};
use guildhall_relay::{self as relay, ListenError, SessionKey};

use super::local::{Core, LocalRelay};
use super::{Attach, AttachError, Lease};

/// A session's place. Dropped without a [`detach`](Self::detach), it has the session detached in the background.
pub(super) struct Seat {
    pub(super) relay: Arc<LocalRelay>,
    pub(super) session: SessionId,
    user: UserId,
    /// Whether the owner may still know the session.
    needs_detach: bool,
    /// `None` only while it is dropped.
    lease: Option<Lease>,
}

impl Seat {
    /// Attaches a session at the owner, and at the relay by `place`.
    pub(super) async fn take<T>(
        relay: Arc<LocalRelay>,
        lease: Lease,
        attach: Attach,
        mut place: impl FnMut(&mut Core, relay::Attach<'_>) -> Result<(SessionKey, T), relay::AttachError>,
    ) -> Result<(Self, T), AttachError> {
        let Attach { session, user, status, members, level } = attach;
        {
            let mut core = relay.core.lock();
            if core.relay.sessions() >= relay.sessions_max {
                return Err(AttachError::Full { max: relay.sessions_max });
            }
            if !core.seats.reserve(session, user, status) {
                return Err(AttachError::AlreadyAttached { session });
            }
        }
        // From here on, whatever fails or is cancelled, the drop gives the place back at the owner too.
        let mut seat = Self { relay, session, user, needs_detach: true, lease: Some(lease) };
        let mut accepted = seat.attach(user, status, Known::No).await?;
        for _ in 0..PLACINGS_MAX {
            if seat.relay.is_closed() {
                return Err(CallError::Stopping.into());
            }
            let Attached { at, member } = &accepted;
            let roles = &member.roles;
            let attach = relay::Attach { session, accepted: *at, user, roles, members, level, status };
            match seat.place(attach, member.joined_at, &mut place) {
                Ok(placed) => return Ok((seat, placed)),
                Err(relay::AttachError::Full { max }) => return Err(AttachError::Full { max }),
                // One of this id is on its way out: the relay has not reached the position of its detach.
                Err(relay::AttachError::AlreadyAttached { .. }) => tokio::task::yield_now().await,
                // The relay has moved on since: the owner tells a newer position.
                Err(relay::AttachError::TooOld { .. }) => {
                    tokio::task::yield_now().await;
                    accepted = seat.attach(user, status, Known::Yes).await?;
                }
                // The relay, or its batch consumer, lags: nothing to be measured from here but its next run of events.
                Err(relay::AttachError::PendingFull { .. } | relay::AttachError::BatchStalled { .. }) => {
                    return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }.into());
                }
            }
        }
        Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }.into())
    }

    /// Attaches the session at the owner, which may know it from a time before.
    async fn attach(&mut self, user: UserId, status: Status, known: Known) -> Result<Attached, CallError> {
        match self.relay.ask(self.session, SessionRequest::Attach { user, status }).await {
            Ok(Reply::Attached(attached)) => Ok(attached),
            Ok(reply @ (Reply::Accepted(_) | Reply::Outcome(_))) => {
                unreachable!("an attach is answered by where it stands, not {reply:?}")
            }
            Err(error) => {
                let unknown = match &error {
                    // It would have let a session of this user in, had it known it.
                    CallError::Refused(_) => true,
                    CallError::Overloaded { .. }
                    | CallError::Stopping
                    | CallError::Unavailable { .. }
                    | CallError::OutcomeUnknown => {
                        known == Known::No && !self.relay.core.lock().seats.was_retold(self.session)
                    }
                };
                if unknown {
                    // Without a detach: there is nothing of this user's to be detached.
                    self.needs_detach = false;
                    self.relay.left(self.session, None);
                }
                Err(error)
            }
        }
    }

    fn place<T>(
        &self,
        attach: relay::Attach<'_>,
        joined_at: Millis,
        place: &mut impl FnMut(&mut Core, relay::Attach<'_>) -> Result<(SessionKey, T), relay::AttachError>,
    ) -> Result<T, relay::AttachError> {
        let mut core = self.relay.core.lock();
        let (key, placed) = place(&mut core, attach)?;
        core.seats.place(self.session, key, joined_at);
        self.relay.wake(core);
        Ok(placed)
    }

    pub(super) async fn set_status(&self, status: Status) -> Result<Position, CallError> {
        // Kept first: an owner that comes meanwhile is told this status.
        let before = self.relay.core.lock().seats.set_status(self.session, status);
        match self.relay.ask(self.session, SessionRequest::SetStatus { user: self.user, status }).await {
            Ok(Reply::Accepted(at)) => self.tell_status(status, at).map(|()| at),
            Ok(reply @ (Reply::Attached(_) | Reply::Outcome(_))) => unreachable!("a status is accepted, not {reply:?}"),
            Err(error) => {
                if let Some(before) = before {
                    self.relay.core.lock().seats.set_status(self.session, before);
                }
                Err(error)
            }
        }
    }

    /// Tells the relay from where on `here` calls the session, or calls it no more.
    fn tell_status(&self, status: Status, at: Position) -> Result<(), CallError> {
        let mut core = self.relay.core.lock();
        let Some(key) = core.seats.key(self.session) else {
            return Ok(());
        };
        match core.relay.set_status(key, status, at) {
            Ok(_) => Ok(()),
            Err(error @ ListenError::Unknown(_)) => {
                tracing::trace!(session = %self.session, %error, "session had ended");
                Ok(())
            }
            Err(ListenError::TooOld { .. } | ListenError::Switching { .. } | ListenError::PendingFull { .. }) => {
                Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER })
            }
        }
    }

    /// The session's handle at the relay; `None` once it has been given back.
    pub(super) fn key(&self) -> Option<SessionKey> {
        self.relay.core.lock().seats.key(self.session)
    }

    /// Changes the level at the owner, and at the relay by `switch`, from the same position on.
    pub(super) async fn set_level(
        &self,
        level: Level,
        mut switch: impl FnMut(&mut Core, Position) -> Result<Position, ListenError>,
    ) -> Result<Position, CallError> {
        loop {
            let at = match self.relay.ask(self.session, SessionRequest::SetLevel { user: self.user, level }).await? {
                Reply::Accepted(at) => at,
                reply @ (Reply::Attached(_) | Reply::Outcome(_)) => unreachable!("a level is accepted, not {reply:?}"),
            };
            match self.switch(at, &mut switch) {
                Ok(at) => return Ok(at),
                Err(ListenError::Unknown(_)) => {
                    return Err(CommandError::UnknownSession { session: self.session }.into());
                }
                // The relay has moved on since: the owner tells a newer position.
                Err(ListenError::TooOld { .. }) => tokio::task::yield_now().await,
                Err(ListenError::Switching { .. } | ListenError::PendingFull { .. }) => {
                    return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER });
                }
            }
        }
    }

    fn switch<T>(&self, at: Position, switch: &mut impl FnMut(&mut Core, Position) -> T) -> T {
        let mut core = self.relay.core.lock();
        let switched = switch(&mut core, at);
        self.relay.wake(core);
        switched
    }

    pub(super) async fn detach(&mut self) -> Result<Position, CallError> {
        let at = self.relay.detach(self.session, self.user).await?;
        self.needs_detach = false;
        Ok(at)
    }

    /// Notes that the session has ended without a detach: its member left, or the guild is gone.
    pub(super) fn ended(&mut self) {
        if !self.needs_detach {
            return;
        }
        self.needs_detach = false;
        if self.relay.core.lock().seats.was_retold(self.session) {
            // A later owner may have been told of it before it heard its end, with its member back by then.
            self.relay.detach_in_background(self.session, self.user, None);
        } else {
            self.relay.left(self.session, None);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.needs_detach
        {
            self.relay.abandon(self.session, self.user, lease);
        }
    }
}

/// Whether an owner has attached a session before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

/// Turns that an attach leaves to the relay's task to come where the attach can be placed. A relay whose guild is not available does
/// not come there, and must not keep a thread busy meanwhile.
const PLACINGS_MAX: usize = 1_000;
/// A lagging relay applies thousands of events in this time, or resyncs.
const LAGGING_RETRY_AFTER: Duration = Duration::from_millis(20);
