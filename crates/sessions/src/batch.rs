//! Sessions that one consumer serves: it is shown each event with all the sessions that hear it.

use std::fmt;
use std::sync::Arc;

use guildhall_proto::{CallError, CommandError, Generation, Level, Position, SessionId, Status};
use guildhall_relay::{self as relay, Batch, BatchItem, BatchRead, Secret};

use crate::backend::Lease;
use crate::guilds::Guilds;
use crate::local::{Core, LocalRelay};
use crate::seat::{LAGGING_RETRY_AFTER, Seat};
use crate::{Attach, AttachError, Resume, ResumeError, Resumed};

/// A session that is served by the [`Batches`] of its guild.
///
/// Dropping it cuts the session, as when its connection breaks: the consumer is told that it has ended, and it may
/// [come back](crate::Backend::resume_batch) for a time. A [`detach`](Self::detach) is a goodbye.
pub struct BatchSession<G: Guilds> {
    seat: Seat<G>,
}

/// What all batch sessions of one guild on one backend hear. Dropped, it can be taken again.
pub struct Batches<G: Guilds> {
    relay: Arc<LocalRelay<G>>,
    /// `None` only while it is dropped.
    batch: Option<Batch>,
    _lease: Lease<G>,
}

impl<G: Guilds> BatchSession<G> {
    pub(crate) async fn attach(
        relay: Arc<LocalRelay<G>>,
        lease: Lease<G>,
        attach: Attach,
        token: u64,
    ) -> Result<Self, AttachError> {
        let place = |core: &mut Core, attach: relay::Attach<'_>| Ok((core.relay.attach_batch(attach, token)?, ()));
        let (seat, ()) = Seat::take(relay, lease, attach, place).await?;
        Ok(Self { seat })
    }

    pub(crate) async fn resume(
        relay: Arc<LocalRelay<G>>,
        lease: Lease<G>,
        resume: Resume,
        generation: Generation,
        token: u64,
    ) -> Result<Resumed<Self>, ResumeError> {
        if relay.core.lock().relay.is_batch_full() {
            return Err(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER }.into());
        }
        let place = |core: &mut Core, resume: relay::Resume<'_>| {
            let (key, gap) = core.relay.resume_batch(resume, token)?;
            Ok((key, (), gap))
        };
        let (seat, (), gap) = Seat::take_again(relay, lease, resume, generation, place).await?;
        Ok(Resumed { session: Self { seat }, gap })
    }

    /// Which session it is.
    pub fn session(&self) -> SessionId {
        self.seat.session()
    }

    /// The secret by which the session comes back, if it is cut: as [`SessionStream::secret`](crate::SessionStream::secret).
    pub fn secret(&self) -> Secret {
        self.seat.secret()
    }

    /// Shows another status.
    ///
    /// # Errors
    /// `UnknownSession` if the session has ended, or its guild has a new owner that has not been told of it yet; `SessionSuperseded` if
    /// it has come back elsewhere: it ends so here; `Overloaded`, `Stopping` or `Unavailable`.
    pub async fn set_status(&self, status: Status) -> Result<Position, CallError> {
        self.seat.set_status(status).await
    }

    /// Listens at another level, from the position returned on: where the owner accepted it, or where the relay is by then if that is
    /// later.
    ///
    /// # Errors
    /// `UnknownSession` if the session has ended; `SessionSuperseded` if it has come back elsewhere: it ends so here; `Overloaded`, also
    /// while the consumer has too much to take over; `Stopping` or `Unavailable`.
    pub async fn set_level(&mut self, level: Level) -> Result<Position, CallError> {
        let session = self.seat.session();
        let Some(key) = self.seat.key() else {
            return Err(CommandError::UnknownSession { session }.into());
        };
        self.seat.set_level(level, |core, at| core.relay.set_level_batch(key, level, at)).await
    }

    /// Detaches the session. The consumer is still shown all up to the position returned, then that it has ended. If this is dropped
    /// while it waits, the owner may have detached the session all the same: detach again, or drop it.
    ///
    /// # Errors
    /// `Overloaded`, `Stopping`, `Denied` or `Unavailable`: the session is then attached as before. `OutcomeUnknown` if the owner may have detached it: detach
    /// it again, which then does no harm and ends it here too, or drop it.
    pub async fn detach(&mut self) -> Result<Position, CallError> {
        self.seat.detach().await
    }
}

impl<G: Guilds> Batches<G> {
    pub(crate) fn take(relay: Arc<LocalRelay<G>>, lease: Lease<G>) -> Option<Self> {
        let batch = relay.core.lock().batch.take()?;
        Some(Self { relay, batch: Some(batch), _lease: lease })
    }

    /// Waits until there is something, then shows `visit` who hears what, in order, for at most `max_events` events. `false` once the
    /// node has stopped, or the relay has panicked.
    pub async fn read(&mut self, max_events: usize, mut visit: impl FnMut(BatchItem<'_>)) -> bool {
        let batch = self.batch.as_mut().expect("the batch is given back by the drop alone");
        loop {
            let news = self.relay.batch_news.notified();
            {
                let mut core = self.relay.core.lock();
                if self.relay.is_broken() {
                    return false;
                }
                core.relay.fill(batch);
            }
            let mut shown = false;
            let read = batch.read(max_events, |item| {
                shown = true;
                visit(item);
            });
            match read {
                BatchRead::More | BatchRead::Idle if shown => return true,
                // All that was read was for nobody here: that is no reason to sleep on the rest.
                BatchRead::More => continue,
                BatchRead::Idle => {}
            }
            if self.relay.is_closed() {
                return false;
            }
            news.await;
        }
    }
}

impl<G: Guilds> Drop for Batches<G> {
    fn drop(&mut self) {
        self.relay.core.lock().batch = self.batch.take();
    }
}

impl<G: Guilds> fmt::Debug for BatchSession<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSession").field("session", &self.seat.session()).finish_non_exhaustive()
    }
}

impl<G: Guilds> fmt::Debug for Batches<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("sessions", &self.batch.as_ref().map(Batch::sessions)).finish_non_exhaustive()
    }
}
