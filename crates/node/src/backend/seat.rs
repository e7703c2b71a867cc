//! What both kinds of session have in common: a place at the owner and at the relay, given back at the end.

use std::sync::Arc;

use guildhall_guild::{Attached, Reply, SessionRequest};
use guildhall_proto::{CallError, CommandError, Level, Position, SessionId, Status};
use guildhall_relay::{self as relay, ListenError, SessionKey};

use super::local::{Core, LocalRelay};
use super::{Attach, AttachError, Lease};

/// A session's place. Dropped without a [`detach`](Self::detach), it has the relay's task detach the session.
pub(super) struct Seat {
    pub(super) relay: Arc<LocalRelay>,
    pub(super) session: SessionId,
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
        if !relay.core.lock().reserve(session, user, status) {
            return Err(AttachError::AlreadyAttached { session });
        }
        // From here on, whatever fails or is cancelled, the drop gives the place back at the owner too.
        let seat = Self { relay, session, needs_detach: true, lease: Some(lease) };
        loop {
            let Attached { at, member } = match seat.relay.ask(session, SessionRequest::Attach { user, status }).await {
                Ok(Reply::Attached(attached)) => attached,
                Ok(reply @ (Reply::Accepted(_) | Reply::Outcome(_))) => {
                    unreachable!("an attach is answered by where it stands, not {reply:?}")
                }
                Err(error) => return Err(error.into()),
            };
            let roles = &member.roles;
            let attach = relay::Attach { session, accepted: at, user, roles, members, level, status };
            match seat.place(attach, &mut place) {
                Ok(placed) => return Ok((seat, placed)),
                Err(relay::AttachError::Full { max }) => return Err(AttachError::Full { max }),
                Err(relay::AttachError::AlreadyAttached { session }) => {
                    return Err(AttachError::AlreadyAttached { session });
                }
                // The relay has moved on since: the owner tells a newer position.
                Err(relay::AttachError::TooOld { .. }) => tokio::task::yield_now().await,
                // The relay, or its batch consumer, lags: nothing to be measured from here but its next run of events.
                Err(relay::AttachError::PendingFull { .. } | relay::AttachError::BatchStalled { .. }) => {
                    return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }.into());
                }
            }
        }
    }

    fn place<T>(
        &self,
        attach: relay::Attach<'_>,
        place: &mut impl FnMut(&mut Core, relay::Attach<'_>) -> Result<(SessionKey, T), relay::AttachError>,
    ) -> Result<T, relay::AttachError> {
        let mut core = self.relay.core.lock();
        let (key, placed) = place(&mut core, attach)?;
        if let Some(kept) = core.seat(self.session) {
            kept.key = Some(key);
        }
        self.relay.wake(core);
        Ok(placed)
    }

    pub(super) async fn set_status(&self, status: Status) -> Result<Position, CallError> {
        match self.relay.ask(self.session, SessionRequest::SetStatus(status)).await? {
            Reply::Accepted(at) => {
                let mut core = self.relay.core.lock();
                let Some(kept) = core.seat(self.session) else {
                    return Ok(at);
                };
                kept.status = status;
                if let Some(key) = kept.key {
                    match core.relay.set_status(key, status, at) {
                        Ok(_) => {}
                        Err(error @ ListenError::Unknown(_)) => {
                            tracing::trace!(session = %self.session, %error, "session had ended");
                        }
                        Err(
                            ListenError::TooOld { .. }
                            | ListenError::Switching { .. }
                            | ListenError::PendingFull { .. },
                        ) => return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }),
                    }
                }
                Ok(at)
            }
            reply @ (Reply::Attached(_) | Reply::Outcome(_)) => unreachable!("a status is accepted, not {reply:?}"),
        }
    }

    /// The session's handle at the relay; `None` once it has ended.
    pub(super) fn key(&self) -> Option<SessionKey> {
        self.relay.core.lock().seat(self.session).and_then(|kept| kept.key)
    }

    /// Changes the level at the owner, and at the relay by `switch`, from the same position on.
    pub(super) async fn set_level(
        &self,
        level: Level,
        mut switch: impl FnMut(&mut Core, Position) -> Result<Position, ListenError>,
    ) -> Result<Position, CallError> {
        loop {
            let at = match self.relay.ask(self.session, SessionRequest::SetLevel(level)).await? {
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
        let at = self.relay.detach(self.session).await?;
        self.needs_detach = false;
        Ok(at)
    }

    /// Notes that the session has ended without a detach.
    pub(super) fn ended(&mut self) {
        if self.needs_detach {
            self.needs_detach = false;
            self.relay.core.lock().vacate(self.session);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.needs_detach
        {
            self.relay.abandon(self.session, lease);
        }
    }
}

/// A lagging relay applies thousands of events in this time, or resyncs.
const LAGGING_RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(20);
