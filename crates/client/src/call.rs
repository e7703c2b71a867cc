//! One call on its way: what its pure machine (`guildhall_cluster::Retry`) decides, this performs.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use guildhall_cluster::{Call, Input, Place, Repeat, Retry, Step};
use guildhall_proto::call::{Answer, Ask, CallFault, Request, Within};
use guildhall_proto::frame::Kind;
use guildhall_proto::{CallError, CommandError, GuildId, codec};
use guildhall_transport::{LaneError, LaneReceiver, LaneSender};
use tokio::time::{Instant, sleep_until};

use crate::client::Shared;
use crate::counters::Counter;
use crate::error::{ClientError, Failed};
use crate::links::Linked;
use crate::rest::Rest;

/// What was answered, and what follows in chunks.
pub(crate) type Answered = (Answer, Rest);

/// How a call is made: of which guild, what it would do to make it twice, and by when it is to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) guild: GuildId,
    pub(crate) repeat: Repeat,
    pub(crate) within: Duration,
}

impl Shared {
    /// Makes a call by `attempt`, as often and where it takes. An attempt is given a link and what is left of the time.
    pub(crate) async fn call<T, F>(
        &self,
        terms: Terms,
        mut attempt: impl FnMut(Arc<Linked>, Within) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let Terms { guild, repeat, within } = terms;
        let begun = self.now();
        let deadline = begun.plus(within.min(Within::MAX.duration()));
        let call = Call { guild, repeat, deadline };
        let (mut retry, mut step) = {
            let (mut routes, mut budget) = (self.routes.lock(), self.budget.lock());
            Retry::begin(begun, call, &self.config.retry, self.next_seed(), &mut routes, &mut budget)
        };
        let mut result = Err(ClientError::Unavailable);
        loop {
            let due = retry.due().map(|due| self.instant(due));
            let input = match step {
                Step::Done => return result,
                Step::GiveUp(why) => return Err(why.into()),
                // Looked at where something would be begun: what is known by then stays so.
                Step::Ask | Step::Wait | Step::Send(_) if self.is_closed() => {
                    return Err(if retry.is_in_doubt() { ClientError::OutcomeUnknown } else { ClientError::Closed });
                }
                Step::Ask => self.route(due).await,
                Step::Wait => {
                    until(due).await;
                    Input::Due
                }
                Step::Send(node) => match (self.links.find(node), self.left(deadline)) {
                    (Some(linked), Some(left)) => {
                        let attempted = tokio::select! {
                            biased;
                            attempted = attempt(linked, left) => Some(attempted),
                            () = until(due) => None,
                        };
                        match attempted {
                            None => Input::Due,
                            Some(Ok(answer)) => {
                                result = Ok(answer);
                                Input::Answered
                            }
                            Some(Err(failed)) => {
                                let input = input(&failed);
                                result = Err(failed.into());
                                input
                            }
                        }
                    }
                    (None, _) => Input::Unsent,
                    (_, None) => Input::Due,
                },
            };
            let (mut routes, mut budget) = (self.routes.lock(), self.budget.lock());
            step = retry.handle(self.now(), input, &mut routes, &mut budget);
        }
    }

    /// A node that will know: any that is linked either has the guild, or says who does.
    async fn route(&self, due: Option<Instant>) -> Input {
        match self.linked(due.unwrap_or_else(Instant::now)).await {
            Some(linked) => Input::Chosen(linked.node()),
            None => Input::Due,
        }
    }

    fn left(&self, deadline: guildhall_cluster::Micros) -> Option<Within> {
        Within::new(Duration::from_micros(deadline.since(self.now())))
    }
}

impl Linked {
    /// Makes one call without chunks, once.
    pub(crate) async fn ask(&self, within: Duration, request: Request) -> Result<Answer, Failed> {
        Ok(self.begin(within, request).await?.0)
    }

    /// The same, with what follows the answer.
    pub(crate) async fn begin(&self, within: Duration, request: Request) -> Result<Answered, Failed> {
        let within = Within::new(within).ok_or(Failed::Unsent)?;
        let ask = Ask { within, request };
        let asked = tokio::time::timeout(within.duration(), self.send(&ask, &[])).await;
        asked.map_err(|_| Failed::Lost)?
    }

    /// Makes one call, once: with the bodies of the chunks behind its request, if it has some.
    pub(crate) async fn send(&self, ask: &Ask, chunks: &[Vec<u8>]) -> Result<Answered, Failed> {
        let deadline = Instant::now() + ask.within.duration();
        let (mut sender, mut receiver) = self.dialed.call().await.map_err(|_| Failed::Unsent)?;
        sender.append_value(Kind::Request, ask).map_err(|error| Failed::Answer(error.to_string()))?;
        let sent = write(sender, ask.request.chunks().is_some(), chunks).await;
        // A node that answers early, that it refuses say, does not read on: what it says counts.
        let frame = match (receiver.next().await, sent) {
            (Ok(Some(frame)), _) => frame,
            (Ok(None), _) => return Err(Failed::Lost),
            // The node has done what was asked, and nobody knows what that came to.
            (Err(LaneError::Unread), _) => return Err(Failed::Lost),
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(Failed::of(&error)),
        };
        let refused = |reason, why: &dyn Display| Failed::refused(&self.counters, reason, why);
        if frame.kind == Kind::Error {
            let fault = codec::decode::<CallFault>(&frame.body);
            return Err(fault.map_or_else(|error| refused(Counter::CallsFailedMalformedError, &error), Failed::Fault));
        }
        let answer = codec::decode::<Answer>(&frame.body);
        let answer = answer.map_err(|error| refused(Counter::CallsFailedMalformedAnswer, &error))?;
        if !ask.request.is_answered_by(&answer) {
            let why = format!("{answer:?} in answer to another call");
            return Err(refused(Counter::CallsFailedOtherAnswer, &why));
        }
        if answer.chunks().is_none() {
            end(&mut receiver).await?;
        }
        Ok((answer, Rest::new(receiver, deadline, Arc::clone(&self.counters))))
    }
}

async fn write(mut sender: LaneSender, has_chunks: bool, chunks: &[Vec<u8>]) -> Result<(), LaneError> {
    for chunk in chunks {
        sender.append(Kind::Chunk, chunk)?;
        sender.flush().await?;
    }
    if has_chunks {
        sender.append(Kind::End, &[])?;
    }
    sender.finish().await
}

/// Reads the end of an answer of which all has come, if that has come too, and waits for nothing. It came with the last frame as a rule; a lane that is
/// dropped before it is read asks the other end to stop, which costs both a packet for each call.
pub(crate) async fn end(lane: &mut LaneReceiver) -> Result<(), Failed> {
    let mut next = pin!(lane.next());
    match poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
        Poll::Ready(Ok(Some(frame))) => Err(Failed::Answer(format!("{:?} behind an answer", frame.kind))),
        // Whatever becomes of the lane takes nothing from what it has brought.
        Poll::Ready(Ok(None) | Err(_)) | Poll::Pending => Ok(()),
    }
}

/// What the machine is told of an attempt that failed.
fn input(failed: &Failed) -> Input {
    match failed {
        Failed::Unsent => Input::Unsent,
        Failed::Lost => Input::Lost,
        Failed::Answer(_) | Failed::Unread => Input::Answered,
        Failed::Fault(fault) => match fault {
            CallFault::Call(error) => match error {
                CallError::Refused(CommandError::Expired { .. }) => Input::Expired,
                CallError::Refused(_) => Input::Answered,
                CallError::Overloaded { retry_after } => Input::Overloaded { retry_after: *retry_after },
                CallError::Unavailable { .. } => Input::Unavailable,
                CallError::Stopping => Input::Unsent,
                CallError::OutcomeUnknown => Input::Lost,
                CallError::Moved { node, grant } => Input::Moved(Place { node: *node, grant: *grant }),
                CallError::Denied { .. } => Input::Answered,
            },
            CallFault::TooLate => Input::TooLate,
            CallFault::Denied | CallFault::Malformed(_) | CallFault::FeedsFull { .. } => Input::Answered,
        },
    }
}

impl From<Failed> for ClientError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unsent => Self::Unavailable,
            Failed::Lost => Self::OutcomeUnknown,
            Failed::Answer(why) => Self::Answer(why),
            Failed::Unread => Self::Unread,
            Failed::Fault(fault) => match fault {
                CallFault::Call(CallError::Refused(refusal)) => Self::Refused(refusal),
                CallFault::Call(CallError::Overloaded { retry_after }) => Self::Overloaded { retry_after },
                CallFault::Call(CallError::OutcomeUnknown) => Self::OutcomeUnknown,
                CallFault::Call(CallError::Unavailable { .. } | CallError::Stopping | CallError::Moved { .. }) => {
                    Self::Unavailable
                }
                CallFault::Denied | CallFault::Call(CallError::Denied { .. }) => Self::Denied,
                CallFault::Malformed(malformed) => Self::Malformed(malformed),
                CallFault::TooLate => Self::Late,
                CallFault::FeedsFull { max } => Self::FeedsFull { max },
            },
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::client::Client;
    use crate::config::ClientConfig;

    #[expect(dead_code, unreachable_pub, reason = "the examples use more of it, each as a crate of its own")]
    mod doc {
        include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));

        pub(super) use node::served;
    }

    /// What becomes of a call in whose first attempt the client is closed, and that attempt comes to this.
    async fn closed_within(client: &Client, repeat: Repeat, came: Result<u8, Failed>) -> Result<u8, ClientError> {
        client.held.closed.send_replace(false);
        let (came, attempts) = (parking_lot::Mutex::new(Some(came)), AtomicUsize::new(0));
        let terms = Terms { guild: GuildId::MIN, repeat, within: Duration::from_secs(10) };
        let called = client.held.call(terms, |_, _| {
            attempts.fetch_add(1, Ordering::Relaxed);
            client.held.closed.send_replace(true);
            std::future::ready(came.lock().take().expect("a client that is closed begins nothing"))
        });
        let called = called.await;
        assert_eq!(attempts.into_inner(), 1);
        called
    }

    #[test]
    fn a_client_that_is_closed_within_a_call_says_what_is_known_of_it() {
        let done = doc::served(async |address, credentials| {
            let client = Client::connect(ClientConfig::new(vec![address], credentials)).await?;
            for repeat in [Repeat::Freely, Repeat::ById, Repeat::Never] {
                // It was done, and that was heard.
                assert_eq!(closed_within(&client, repeat, Ok(7)).await, Ok(7));
                let refusal = CommandError::UnknownGuild;
                let told = CallFault::Call(CallError::Refused(refusal.clone()));
                let refused = closed_within(&client, repeat, Err(Failed::Fault(told))).await;
                assert_eq!(refused, Err(ClientError::Refused(refusal)));
                // It was not begun.
                assert_eq!(closed_within(&client, repeat, Err(Failed::Unsent)).await, Err(ClientError::Closed));
            }
            assert_eq!(closed_within(&client, Repeat::Freely, Err(Failed::Lost)).await, Err(ClientError::Closed));
            for repeat in [Repeat::ById, Repeat::Never] {
                let cut = closed_within(&client, repeat, Err(Failed::Lost)).await;
                assert_eq!(cut, Err(ClientError::OutcomeUnknown));
            }
            client.close().await;
            Ok(())
        });
        done.unwrap();
    }
}
