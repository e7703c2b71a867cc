//! One session of a replay: the task that listens at its end, and the handle by which it is told to leave.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use guildhall_node::{Delivery, SessionStream};
use guildhall_proto::{CallError, EventKind, Position, SessionId};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::checks::Progress;
use crate::replay::hearing::{Heard, Hearing, Until};
use crate::replay::model::Due;

/// A session that listens.
pub(super) struct Listener {
    session: SessionId,
    until: Until,
    leave: oneshot::Sender<Answer>,
    task: JoinHandle<Heard>,
}

/// A session that is to leave.
pub(super) struct Leaving {
    due: Due,
    answer: oneshot::Receiver<Result<Position, CallError>>,
    task: JoinHandle<Heard>,
}

/// A session that was detached, and may still have something to hear.
pub(super) struct Left {
    due: Due,
    task: JoinHandle<Heard>,
}

/// Takes where the session was detached.
type Answer = oneshot::Sender<Result<Position, CallError>>;

impl Listener {
    /// Starts the task. `until` is the end of `hearing`, to be set when the session leaves.
    pub(super) fn start(stream: SessionStream, until: Until, hearing: Hearing, progress: Arc<Progress>) -> Self {
        let session = stream.session();
        let (leave, left) = oneshot::channel();
        let ear = Ear { stream, leave: Some(left), hearing, progress };
        Self { session, until, leave, task: tokio::spawn(ear.listen()) }
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// Has the session detach itself. It hears all that was sent before.
    pub(super) fn leave(self, due: Due) -> Leaving {
        self.until.set(due.until);
        let (answered, answer) = oneshot::channel();
        // A task that has ended by itself drops the sender, which the one who waits for the answer sees.
        drop(self.leave.send(answered));
        Leaving { due, answer, task: self.task }
    }
}

impl Leaving {
    /// Waits until the session is detached: it hears nothing that is sent from now on.
    pub(super) async fn left(self) -> anyhow::Result<Left> {
        self.answer.await.context("a session ended by itself")?.context("a session is not detached")?;
        Ok(Left { due: self.due, task: self.task })
    }
}

impl Left {
    /// Waits until the session has heard its end. Returns what it had to hear, and what it heard.
    pub(super) async fn heard(self) -> anyhow::Result<(Due, Heard)> {
        let heard = timeout(END_WAIT, self.task).await.context("a detached session does not end")?;
        Ok((self.due, heard.context("a session's task failed")?))
    }
}

/// What a session's task owns.
struct Ear {
    stream: SessionStream,
    /// `None` once it was told to leave.
    leave: Option<oneshot::Receiver<Answer>>,
    hearing: Hearing,
    progress: Arc<Progress>,
}

/// Why an ear stops hearing for a moment.
enum Paused {
    /// It is to leave, and to say where.
    Leave(Answer),
    /// Nothing follows.
    Ended,
}

impl Ear {
    async fn listen(mut self) -> Heard {
        while let Paused::Leave(answer) = poll_fn(|context| self.poll_hear(context)).await {
            let detached = self.detach().await;
            // Nobody waits for it only if the replay has been given up.
            drop(answer.send(detached));
        }
        self.hearing.finish()
    }

    /// Hears all there is. What was heard is counted before the task sleeps, so that nobody waits for it.
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Paused> {
        let mut deliveries = 0;
        let ended = loop {
            match self.stream.poll_next(context) {
                Poll::Ready(Some(Delivery::Event(event))) => {
                    if let EventKind::MessagePublished(message) = &event.kind {
                        self.hearing.hear(message);
                        deliveries += 1;
                    }
                }
                // All sessions here are active: they hear of messages themselves. What is told beside these is not counted.
                Poll::Ready(Some(Delivery::Unread(_) | Delivery::Ephemeral(_))) => {}
                Poll::Ready(Some(Delivery::Gap(gap))) => {
                    warn!(session = %self.stream.session(), ?gap, "a session lags: deliveries are lost");
                }
                Poll::Ready(Some(Delivery::Detached(_)) | None) => break true,
                Poll::Pending => break false,
            }
        };
        if deliveries > 0 {
            self.progress.add(deliveries);
        }
        if ended { Poll::Ready(Paused::Ended) } else { self.poll_leave(context) }
    }

    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<Paused> {
        let Some(leave) = &mut self.leave else {
            return Poll::Pending;
        };
        match Pin::new(leave).poll(context) {
            Poll::Ready(told) => {
                self.leave = None;
                // Nobody is left to tell it: the replay has been given up.
                told.map_or(Poll::Ready(Paused::Ended), |answer| Poll::Ready(Paused::Leave(answer)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    async fn detach(&mut self) -> Result<Position, CallError> {
        loop {
            match self.stream.detach().await {
                Err(CallError::Overloaded { retry_after }) => sleep(retry_after).await,
                answer => return answer,
            }
        }
    }
}

/// How long a detached session may take to hear what is left for it: far longer than any pause of a machine that works.
const END_WAIT: Duration = Duration::from_secs(10);
