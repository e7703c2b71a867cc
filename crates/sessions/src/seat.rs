//! What both kinds of session have in common: a place at the owner and at the relay, given back at the end.

use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::{
    Attached, CallError, CommandError, Generation, Level, Millis, Position, Reply, SessionId, SessionRequest, Status,
    UserId,
};
use guildhall_relay::{self as relay, Claims, Gap, ListenError, Secret, SessionKey};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::Lease;
use crate::guilds::{Counted, Guilds};
use crate::local::{Core, LocalRelay};
use crate::resume::{Resume, ResumeError};
use crate::seats::{Known, Tenure};
use crate::{Attach, AttachError};

/// A session's place. Dropped without a [`detach`](Self::detach), it is cut: the session may come back for a time.
pub(crate) struct Seat<G: Guilds> {
    held: Held,
    /// Whether the session was handed out.
    is_placed: bool,
    /// Whether the owner may still know the session.
    needs_detach: bool,
    /// Whether its stream has been read to its end.
    pub(crate) is_over: bool,
    /// Of its relay, which is open.
    lease: Lease<G>,
}

/// As what a seat is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    pub(crate) tenure: Tenure,
    pub(crate) known: Known,
}

impl Held {
    /// The detach that ends this session, and none that has come back since.
    pub(crate) fn goodbye(&self) -> SessionRequest {
        let user = self.user;
        match self.known.generation() {
            Some(generation) => SessionRequest::Release { user, generation },
            None => SessionRequest::Detach { user },
        }
    }
}

impl<G: Guilds> Seat<G> {
    /// Attaches a session at the owner, and at the relay by `place`.
    pub(crate) async fn take<T>(
        relay: Arc<LocalRelay<G>>,
        lease: Lease<G>,
        attach: Attach,
        mut place: impl FnMut(&mut Core, relay::Attach<'_>) -> Result<(SessionKey, T), relay::AttachError>,
    ) -> Result<(Self, T), AttachError> {
        let Attach { session, user, status, members, level } = attach;
        let turn = relay.turns.next().await?;
        let tenure = {
            let mut core = relay.core.lock();
            if core.relay.sessions() >= relay.sessions_max {
                return Err(AttachError::Full { max: relay.sessions_max });
            }
            core.seats.reserve(session, user, status).ok_or(AttachError::AlreadyAttached { session })?
        };
        // From here on, whatever fails or is cancelled, the drop gives the place back at the owner too.
        let held = Held { session, user, tenure, known: Known::NOT_YET };
        let mut seat = Self { held, is_placed: false, needs_detach: true, is_over: false, lease };
        let mut accepted = seat.attach(status, Before::No).await?;
        turn.make_way();
        let deadline = Instant::now() + PLACING_MAX;
        loop {
            // Listening begins before the look, so that nothing that comes between the two is missed.
            let mut changes = pin!(relay.changes());
            changes.as_mut().enable();
            if relay.is_closed() {
                return Err(relay.gone().into());
            }
            let roles = &accepted.member.roles;
            let attach = relay::Attach { session, accepted: accepted.at, user, roles, members, level, status };
            match seat.place(accepted.member.joined_at, |core| place(core, attach)) {
                Ok(placed) => return Ok((seat, placed)),
                Err(_) if Instant::now() >= deadline => {
                    return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }.into());
                }
                Err(error) => match Later::of(error) {
                    Later::PlaceAgain => drop(timeout_at(deadline, changes).await),
                    Later::Opened => drop(timeout_at(deadline, relay.opened()).await),
                    Later::AttachAgain => {
                        tokio::task::yield_now().await;
                        accepted = seat.attach(status, Before::Yes).await?;
                    }
                    Later::WithRoom(refused) => return Err(refused),
                },
            }
        }
    }

    /// Has a session come back at the owner, which knows it as `generation`, and at the relay by `place`. To be run to its end: once
    /// the owner has taken it, the secret is used up. From there on it comes back, or has ended, and is detached at once.
    pub(crate) async fn take_again<T>(
        relay: Arc<LocalRelay<G>>,
        lease: Lease<G>,
        resume: Resume,
        generation: Generation,
        mut place: impl FnMut(&mut Core, relay::Resume<'_>) -> Result<(SessionKey, T, Option<Gap>), relay::ResumeError>,
    ) -> Result<(Self, T, Option<Gap>), ResumeError> {
        let Resume { attach: Attach { session, user, status, .. }, known, .. } = resume;
        let turn = relay.turns.next().await?;
        if relay.core.lock().relay.sessions() >= relay.sessions_max {
            return Err(AttachError::Full { max: relay.sessions_max }.into());
        }
        let request = SessionRequest::Resume { user, status, generation, known };
        let accepted = match relay.ask(session, request).await {
            Ok(reply) => attached(reply),
            Err(error) => {
                if error == CallError::OutcomeUnknown {
                    // Its secret may be used up, and then nobody holds it.
                    relay.forget_in_background(session, user, lease);
                }
                return Err(error.into());
            }
        };
        turn.make_way();
        let (tenure, before) = {
            let mut core = relay.core.lock();
            let core = &mut *core;
            core.seats.take_over(session, user, status, accepted.generation)
        };
        let held = Held { session, user, tenure, known: accepted.generation.into() };
        let mut seat = Self { held, is_placed: false, needs_detach: true, is_over: false, lease };
        seat.supersede(before);
        let (placed, gap) = seat.place_again(resume, accepted, &mut place).await?;
        seat.relay().guilds.count(Counted::SessionResumed, 1);
        if gap.is_some() {
            seat.relay().guilds.count(Counted::SessionResumedWithGap, 1);
        }
        Ok((seat, placed, gap))
    }

    /// Places a session that the owner has taken, as soon as the relay takes it.
    async fn place_again<T>(
        &mut self,
        resume: Resume,
        mut accepted: Attached,
        place: &mut impl FnMut(&mut Core, relay::Resume<'_>) -> Result<(SessionKey, T, Option<Gap>), relay::ResumeError>,
    ) -> Result<(T, Option<Gap>), ResumeError> {
        let Resume { attach: Attach { session, user, status, members, level }, known, .. } = resume;
        let deadline = Instant::now() + COMING_BACK_MAX;
        let relay = Arc::clone(self.relay());
        loop {
            // Its roles are taken back by events that the relay has to know.
            let reached = timeout_at(deadline, self.relay().reached(accepted.at)).await;
            if self.relay().is_closed() {
                return Err(self.relay().gone().into());
            }
            if reached.is_err() {
                break;
            }
            let mut changes = pin!(relay.changes());
            changes.as_mut().enable();
            let Attached { at, member, deleted_roles, deletions_unknown_to, .. } = &accepted;
            let attach = relay::Attach { session, accepted: *at, user, roles: &member.roles, members, level, status };
            let deletions_unknown_to = *deletions_unknown_to;
            let resume = relay::Resume { attach, known, deleted_roles, deletions_unknown_to };
            let placed =
                self.place(member.joined_at, |core| place(core, resume).map(|(key, placed, gap)| (key, (placed, gap))));
            let later = match placed {
                Ok(placed) => return Ok(placed),
                // The owner has seen that the position is none of the future; a relay that resyncs may have to come back to this one.
                Err(NotPlaced::Refused(relay::ResumeError::Ahead { .. } | relay::ResumeError::Behind { .. })) => {
                    Later::PlaceAgain
                }
                Err(NotPlaced::Refused(relay::ResumeError::Attach(error))) => Later::of(NotPlaced::Refused(error)),
                Err(NotPlaced::Opening) => Later::Opened,
            };
            if Instant::now() >= deadline {
                break;
            }
            match later {
                Later::PlaceAgain => drop(timeout_at(deadline, changes).await),
                Later::WithRoom(_) => sleep(LAGGING_RETRY_AFTER).await,
                Later::Opened => drop(timeout_at(deadline, self.relay().opened()).await),
                Later::AttachAgain => match self.attach(status, Before::Yes).await {
                    Ok(again) => accepted = again,
                    Err(CallError::Overloaded { retry_after }) => sleep(retry_after).await,
                    Err(error) => return Err(error.into()),
                },
            }
        }
        Err(CallError::from(CommandError::UnknownSession { session }).into())
    }

    pub(crate) fn relay(&self) -> &Arc<LocalRelay<G>> {
        self.lease.0.relay.get().expect("a seat is taken at a relay that was opened")
    }

    pub(crate) fn session(&self) -> SessionId {
        self.held.session
    }

    /// The secret by which the session comes back, made now.
    pub(crate) fn secret(&self) -> Secret {
        let guilds = &self.relay().guilds;
        let Held { session, user, .. } = self.held;
        let generation = self.generation();
        let expires_at = guilds.now().plus(guilds.returning().secret_lifetime);
        guilds.keys().sign(&Claims { guild: self.relay().guild, session, user, generation, expires_at })
    }

    fn generation(&self) -> Generation {
        self.held.known.generation().expect("a session is handed out once the owner has said as which it knows it")
    }

    /// Ends this connection once the owner says that its session has come back elsewhere.
    fn end_if_superseded(&self, error: &CallError) {
        if matches!(error, CallError::Refused(CommandError::SessionSuperseded { .. })) {
            let key = self.relay().core.lock().seats.left(self.held.session, self.held.tenure);
            self.supersede(key);
        }
    }

    /// Ends, here, the session as it was before it came back.
    fn supersede(&self, before: Option<SessionKey>) {
        let mut core = self.relay().core.lock();
        if let Some(key) = before {
            let core = &mut *core;
            if let Err(unknown) = core.relay.supersede(key, &mut core.woken) {
                tracing::trace!(guild = %self.relay().guild, %unknown, "session had ended");
            }
        }
        self.relay().wake(core);
    }

    /// Attaches the session at the owner, which may know it from a time before.
    async fn attach(&mut self, status: Status, before: Before) -> Result<Attached, CallError> {
        let Held { session, user, tenure, .. } = self.held;
        // Whoever drops this while it waits has to end the session however the owner knows it by then.
        let known = replace(&mut self.held.known, Known::NOT_YET);
        match self.relay().ask(session, SessionRequest::Attach { user, status }).await {
            Ok(reply) => {
                let attached = attached(reply);
                self.held.known = attached.generation.into();
                let tell_again = self.relay().core.lock().seats.attached(session, tenure, attached.generation);
                if tell_again {
                    self.relay().tell_in_background(session);
                }
                Ok(attached)
            }
            Err(error) => {
                if error != CallError::OutcomeUnknown {
                    self.held.known = known;
                }
                let unknown = match &error {
                    // It would have let a session of this user in, had it known it.
                    CallError::Refused(_) => true,
                    CallError::Overloaded { .. }
                    | CallError::Stopping
                    | CallError::Unavailable { .. }
                    | CallError::Moved { .. }
                    | CallError::Denied { .. } => {
                        before == Before::No && !self.relay().core.lock().seats.was_retold(session, tenure)
                    }
                    CallError::OutcomeUnknown => false,
                };
                if unknown {
                    // Without a detach: there is nothing of this user's to be detached.
                    self.needs_detach = false;
                    self.relay().left(self.held, None);
                }
                Err(error)
            }
        }
    }

    fn place<T, E>(
        &mut self,
        joined_at: Millis,
        place: impl FnOnce(&mut Core) -> Result<(SessionKey, T), E>,
    ) -> Result<T, NotPlaced<E>> {
        let mut core = self.relay().core.lock();
        // Of a broken one whoever waits for its opening is told that it is closed.
        if core.is_opening || self.relay().is_broken() {
            return Err(NotPlaced::Opening);
        }
        let (key, placed) = place(&mut core).map_err(NotPlaced::Refused)?;
        core.seats.place(self.held.session, self.held.tenure, key, joined_at);
        self.relay().wake(core);
        self.is_placed = true;
        Ok(placed)
    }

    pub(crate) async fn set_status(&self, status: Status) -> Result<Position, CallError> {
        // Kept first: an owner that comes meanwhile is told this status.
        let Held { session, user, tenure, .. } = self.held;
        let generation = self.generation();
        let before = self.relay().core.lock().seats.set_status(session, tenure, status);
        match self.relay().ask(session, SessionRequest::SetStatus { user, status, generation }).await {
            Ok(Reply::Accepted(at)) => self.tell_status(status, at).map(|()| at),
            Ok(reply @ (Reply::Attached(_) | Reply::Outcome(_))) => unreachable!("a status is accepted, not {reply:?}"),
            Err(error) => {
                if let Some(before) = before {
                    self.relay().core.lock().seats.set_status(session, tenure, before);
                }
                self.end_if_superseded(&error);
                Err(error)
            }
        }
    }

    /// Tells the relay from where on `here` calls the session, or calls it no more.
    fn tell_status(&self, status: Status, at: Position) -> Result<(), CallError> {
        let mut core = self.relay().core.lock();
        let Some(key) = core.seats.key(self.held.session, self.held.tenure) else {
            return Ok(());
        };
        match core.relay.set_status(key, status, at) {
            Ok(_) => Ok(()),
            Err(error @ ListenError::Unknown(_)) => {
                tracing::trace!(session = %self.held.session, %error, "session had ended");
                Ok(())
            }
            Err(ListenError::TooOld { .. } | ListenError::Switching { .. } | ListenError::PendingFull { .. }) => {
                Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER })
            }
        }
    }

    /// The session's handle at the relay; `None` once it has been given back.
    pub(crate) fn key(&self) -> Option<SessionKey> {
        self.relay().core.lock().seats.key(self.held.session, self.held.tenure)
    }

    /// Changes the level at the owner, and at the relay by `switch`, from the same position on.
    pub(crate) async fn set_level(
        &self,
        level: Level,
        mut switch: impl FnMut(&mut Core, Position) -> Result<Position, ListenError>,
    ) -> Result<Position, CallError> {
        let Held { session, user, .. } = self.held;
        let generation = self.generation();
        for _ in 0..LEVELS_ASKED_MAX {
            let at = match self.relay().ask(session, SessionRequest::SetLevel { user, level, generation }).await {
                Ok(Reply::Accepted(at)) => at,
                Ok(reply @ (Reply::Attached(_) | Reply::Outcome(_))) => {
                    unreachable!("a level is accepted, not {reply:?}")
                }
                Err(error) => {
                    self.end_if_superseded(&error);
                    return Err(error);
                }
            };
            match self.switch(at, &mut switch) {
                Ok(at) => return Ok(at),
                Err(ListenError::Unknown(_)) => {
                    return Err(CommandError::UnknownSession { session }.into());
                }
                // The relay has moved on since: the owner tells a newer position.
                Err(ListenError::TooOld { .. }) => tokio::task::yield_now().await,
                Err(ListenError::Switching { .. } | ListenError::PendingFull { .. }) => {
                    return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER });
                }
            }
        }
        Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER })
    }

    fn switch<T>(&self, at: Position, switch: &mut impl FnMut(&mut Core, Position) -> T) -> T {
        let mut core = self.relay().core.lock();
        let switched = switch(&mut core, at);
        self.relay().wake(core);
        switched
    }

    pub(crate) async fn detach(&mut self) -> Result<Position, CallError> {
        let at = self.relay().detach(self.held).await?;
        self.needs_detach = false;
        Ok(at)
    }

    /// Notes that the session has ended without a detach: its member left, or the guild is gone.
    pub(crate) fn ended(&mut self) {
        if !self.needs_detach {
            return;
        }
        self.needs_detach = false;
        let was_retold = self.relay().core.lock().seats.was_retold(self.held.session, self.held.tenure);
        if was_retold {
            // A later owner may have been told of it before it heard its end, with its member back by then.
            self.relay().detach_in_background(self.held, None, None);
        } else {
            self.relay().left(self.held, None);
        }
    }
}

impl<G: Guilds> Drop for Seat<G> {
    fn drop(&mut self) {
        if !self.needs_detach {
            return;
        }
        // One more: the seat's own goes with it.
        let lease = self.lease.clone();
        let within = self.relay().guilds.returning().within;
        if self.is_placed && !within.is_zero() {
            self.relay().cut(self.held, within, lease);
        } else {
            self.relay().abandon(self.held, Some(lease));
        }
    }
}

fn attached(reply: Reply) -> Attached {
    match reply {
        Reply::Attached(attached) => *attached,
        reply @ (Reply::Accepted(_) | Reply::Outcome(_)) => {
            unreachable!("an attach is answered by where it stands, not {reply:?}")
        }
    }
}

/// Why a session was not placed at its relay.
#[derive(Debug)]
enum NotPlaced<E> {
    /// The relay is about to begin again.
    Opening,
    /// The relay did not take it.
    Refused(E),
}

/// What has to come before a session can be placed that the relay did not take.
#[derive(Debug)]
enum Later {
    /// The relay has to have come further.
    PlaceAgain,
    AttachAgain,
    /// The relay has to have begun again.
    Opened,
    /// Room has to come: what to say to one that can come again.
    WithRoom(AttachError),
}

impl Later {
    fn of(error: NotPlaced<relay::AttachError>) -> Self {
        let error = match error {
            NotPlaced::Opening => return Self::Opened,
            NotPlaced::Refused(error) => error,
        };
        match error {
            relay::AttachError::Full { max } => Self::WithRoom(AttachError::Full { max }),
            // One of this id is on its way out: the relay has not reached the position of its detach.
            relay::AttachError::AlreadyAttached { .. } => Self::PlaceAgain,
            // The relay has moved on since: the owner tells a newer position.
            relay::AttachError::TooOld { .. } => Self::AttachAgain,
            // The relay, or its batch consumer, lags: nothing to be measured from here but its next run of events.
            relay::AttachError::PendingFull { .. } | relay::AttachError::BatchStalled { .. } => {
                Self::WithRoom(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }.into())
            }
        }
    }
}

/// Whether an owner has attached a session before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Yes,
    No,
}

/// How long an attach leaves the relay to come where the attach can be placed. One whose guild is not available does not come there.
const PLACING_MAX: Duration = Duration::from_secs(5);
/// How often an owner is asked for a position that the relay has not passed.
const LEVELS_ASKED_MAX: usize = 100;
/// A lagging relay applies thousands of events in this time, or resyncs.
pub(crate) const LAGGING_RETRY_AFTER: Duration = Duration::from_millis(20);
/// How long a session that its owner has taken waits for the relay to take it: a relay that lags for longer is as good as gone, and a
/// client that waits does better to attach anew.
const COMING_BACK_MAX: Duration = Duration::from_secs(5);
