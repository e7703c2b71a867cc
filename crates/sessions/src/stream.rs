//! A session that reads for itself.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use guildhall_proto::{CallError, Generation, Level, Position, SessionId, Status};
use guildhall_relay::{self as relay, Delivery as DeliveryRef, Read, Secret, Stream, Wait};

use crate::backend::Lease;
use crate::guilds::Guilds;
use crate::local::{Core, LocalRelay};
use crate::seat::Seat;
use crate::{Attach, AttachError, Delivery, Resume, ResumeError, Resumed};

/// What one session hears.
///
/// Dropping it cuts the session, as when its connection breaks: the guild keeps it, with its status, for
/// [`Returning::within`](crate::Returning), and it may [come back](crate::Backend::resume) with its secret. A
/// [`detach`](Self::detach) is a goodbye.
pub struct SessionStream<G: Guilds> {
    seat: Seat<G>,
    stream: Stream,
    /// Gone while it waits: nearly all sessions wait nearly always.
    read: Option<Box<ReadAhead>>,
}

/// What was read and not handed out yet: at most [`READ_MAX`].
struct ReadAhead {
    deliveries: VecDeque<Delivery>,
    /// Of the last delivery handed out that has one, or from where on it hears.
    known: Position,
}

impl<G: Guilds> SessionStream<G> {
    pub(crate) async fn attach(
        relay: Arc<LocalRelay<G>>,
        lease: Lease<G>,
        attach: Attach,
    ) -> Result<Self, AttachError> {
        let place = |core: &mut Core, attach: relay::Attach<'_>| {
            let stream = core.relay.attach_stream(attach)?;
            Ok((stream.key(), stream))
        };
        let (seat, stream) = Seat::take(relay, lease, attach, place).await?;
        Ok(Self { seat, stream, read: None })
    }

    pub(crate) async fn resume(
        relay: Arc<LocalRelay<G>>,
        lease: Lease<G>,
        resume: Resume,
        generation: Generation,
    ) -> Result<Resumed<Self>, ResumeError> {
        let place = |core: &mut Core, resume: relay::Resume<'_>| {
            let (stream, gap) = core.relay.resume_stream(resume)?;
            Ok((stream.key(), stream, gap))
        };
        let (seat, stream, gap) = Seat::take_again(relay, lease, resume, generation, place).await?;
        let session = Self { seat, stream, read: None };
        Ok(Resumed { session, gap })
    }

    /// Which session it is.
    pub fn session(&self) -> SessionId {
        self.seat.session()
    }

    /// The secret by which the session comes back, if it is cut: made now, and good for
    /// [`secret_lifetime`](crate::Returning) from now. Once, whichever of those made since it was attached or came back is used.
    pub fn secret(&self) -> Secret {
        self.seat.secret()
    }

    /// The last position that the session knows: of the last delivery handed out, or from where on it hears.
    pub fn known(&self) -> Position {
        self.read.as_ref().map_or_else(|| self.stream.known(), |read| read.known)
    }

    /// The next thing the session hears. `None` after [`Delivery::Detached`], or once the node has stopped; also where the relay has
    /// panicked, and then it may attach again. May be cancelled: nothing is lost.
    ///
    /// Hands out what the caller may keep. Where many sessions hear the same, [`read`](Self::read) is several times as fast.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Like [`next`](Self::next), for those who poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            if let Some(delivery) = self.read.as_mut().and_then(|read| read.hand_out()) {
                return Poll::Ready(Some(delivery));
            }
            let mut read = self.read.take();
            let known = self.stream.known();
            let keep = |delivery: DeliveryRef<'_>| {
                let ahead = || Box::new(ReadAhead { deliveries: VecDeque::new(), known });
                read.get_or_insert_with(ahead).deliveries.push_back(delivery.into());
            };
            if !ready!(self.poll_hear(context, READ_MAX, keep)) {
                return Poll::Ready(None);
            }
            self.read = read;
        }
    }

    /// Waits until there is something, then shows `visit` what the session hears next, in order, at most `max` deliveries (0 counts as
    /// 1). `false` where [`next`](Self::next) gives `None`. May be cancelled: nothing is lost.
    ///
    /// Events are shown where they lie, and who wants to keep one clones it: an event that many sessions hear is counted by none of them.
    pub async fn read(&mut self, max: usize, mut visit: impl FnMut(DeliveryRef<'_>)) -> bool {
        if let Some(read) = &mut self.read {
            let mut left = max.max(1);
            while left > 0
                && let Some(delivery) = read.hand_out()
            {
                visit(delivery.borrowed());
                left -= 1;
            }
            if left < max.max(1) {
                return true;
            }
            self.read = None;
        }
        poll_fn(|context| self.poll_hear(context, max, &mut visit)).await
    }

    /// What is behind that which was read and not handed out.
    fn poll_hear(
        &mut self,
        context: &mut Context<'_>,
        max: usize,
        mut visit: impl FnMut(DeliveryRef<'_>),
    ) -> Poll<bool> {
        loop {
            if self.seat.is_over {
                return Poll::Ready(false);
            }
            // A stream that always finds more lets other tasks of its thread run now and then.
            let coop = ready!(tokio::task::coop::poll_proceed(context));
            let mut has_read = false;
            let read = self.stream.read(max, |delivery| {
                has_read = true;
                visit(delivery);
            });
            match read {
                Read::Ended => {
                    self.seat.is_over = true;
                    self.seat.ended();
                }
                Read::More => {}
                Read::Idle | Read::Waiting if has_read => {}
                Read::Idle | Read::Waiting => {
                    let mut core = self.seat.relay().core.lock();
                    if self.seat.relay().is_broken() {
                        drop(core);
                        self.seat.is_over = true;
                        continue;
                    }
                    match core.relay.wait(&mut self.stream) {
                        Ok(Wait::Ready | Wait::Gap) => {}
                        // The relay's end wakes whoever is registered before it; who comes after it sees it here.
                        Ok(Wait::Waiting) if self.seat.relay().is_closed() => {
                            drop(core);
                            self.seat.is_over = true;
                        }
                        Ok(Wait::Waiting) => {
                            // Under the same lock as the wait, and only by a session that waits: once a session has ended, its
                            // place is another's.
                            core.register(self.stream.key(), context.waker());
                            return Poll::Pending;
                        }
                        Err(unknown) => {
                            unreachable!("a stream belongs to its relay until it has read its end: {unknown}")
                        }
                    }
                }
            }
            if has_read {
                coop.made_progress();
                return Poll::Ready(true);
            }
        }
    }

    /// Shows another status.
    ///
    /// # Errors
    /// `UnknownSession` if the session has ended, or its guild has a new owner that has not been told of it yet; `SessionSuperseded` if
    /// it has come back elsewhere: it ends so here; `Overloaded`, `Stopping` or `Unavailable`.
    pub async fn set_status(&self, status: Status) -> Result<Position, CallError> {
        self.seat.set_status(status).await
    }

    /// Listens at another level, from the position returned on: where the owner accepted it, or later if the session has heard later
    /// events already. What was read before that for the old level is still handed out first.
    ///
    /// # Errors
    /// `UnknownSession` if the session has ended; `SessionSuperseded` if it has come back elsewhere: it ends so here; `Overloaded`, also
    /// while earlier changes of a session that lags are before it; `Stopping` or `Unavailable`.
    pub async fn set_level(&mut self, level: Level) -> Result<Position, CallError> {
        let Self { seat, stream, .. } = self;
        seat.set_level(level, |core, at| core.relay.set_level(stream, level, at, &mut core.woken)).await
    }

    /// Detaches the session. It still hears all up to the position returned, then [`Delivery::Detached`]. If this is dropped while
    /// it waits, the owner may have detached the session all the same: detach again, or drop the stream.
    ///
    /// # Errors
    /// `Overloaded`, `Stopping`, `Denied` or `Unavailable`: the session is then attached as before. `OutcomeUnknown` if the owner may have detached it: it is
    /// still attached here and hears on, and a change of its status or level may be refused by `UnknownSession`. Detach it again, which then does no harm
    /// and ends it here too, or drop it.
    pub async fn detach(&mut self) -> Result<Position, CallError> {
        self.seat.detach().await
    }
}

impl ReadAhead {
    fn hand_out(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        match &delivery {
            Delivery::Event(event) => self.known = event.position,
            Delivery::Gap(gap) => self.known = gap.through,
            Delivery::Unread(_) | Delivery::Ephemeral(_) | Delivery::Detached(_) => {}
        }
        Some(delivery)
    }
}

impl Delivery {
    fn borrowed(&self) -> DeliveryRef<'_> {
        match self {
            Self::Event(event) => DeliveryRef::Event(event),
            Self::Gap(gap) => DeliveryRef::Gap(*gap),
            Self::Unread(unread) => DeliveryRef::Unread(unread),
            Self::Ephemeral(ephemeral) => DeliveryRef::Ephemeral(*ephemeral),
            Self::Detached(reason) => DeliveryRef::Detached(*reason),
        }
    }
}

impl From<DeliveryRef<'_>> for Delivery {
    fn from(delivery: DeliveryRef<'_>) -> Self {
        match delivery {
            DeliveryRef::Event(event) => Self::Event(Arc::clone(event)),
            DeliveryRef::Gap(gap) => Self::Gap(gap),
            DeliveryRef::Unread(unread) => Self::Unread(unread.clone()),
            DeliveryRef::Ephemeral(ephemeral) => Self::Ephemeral(ephemeral),
            DeliveryRef::Detached(reason) => Self::Detached(reason),
        }
    }
}

impl<G: Guilds> fmt::Debug for SessionStream<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStream")
            .field("stream", &self.stream)
            .field("read", &self.read.as_ref().map_or(0, |read| read.deliveries.len()))
            .finish_non_exhaustive()
    }
}

/// Deliveries read at once: enough that a burst costs one look at the ring, few enough to be small.
const READ_MAX: usize = 64;
