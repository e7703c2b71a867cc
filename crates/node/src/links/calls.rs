//! One call: from the frame that asks to the last that answers.
//!
//! A read is given up when its caller goes away; what changes something goes on, for nobody could tell how far it had come. At the end of the
//! caller's time either is told what is left to tell, and whoever stalls in the middle of an answer is cut off.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::call::{Answer, Ask, CallFault, Malformed, Read, Request};
use guildhall_proto::frame::Kind;
use guildhall_proto::{CallError, codec};
use guildhall_transport::{LaneReceiver, LaneSender, in_time};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::Dialer;
use super::archive::Archive;
use super::audit::Record;
use super::feeds::Opened;
use super::pieces::{Pieces, Users};
use super::requests::Incoming;
use super::unanswered::Unanswered;
use crate::counters::Counter;

/// What is sent of an answer.
pub(super) enum Prepared {
    /// One frame.
    Whole(Answer),
    /// And then pieces of a guild.
    Pieces(Answer, Pieces),
    /// And then users.
    Users(Answer, Users),
    /// And then the bytes of an archive.
    Archive(Answer, Archive),
    /// And then the pieces with which a feed begins.
    Fed(Answer, Pieces, Opened),
}

impl Dialer {
    /// Takes one call.
    pub(super) async fn take(self: Arc<Self>, mut answer: LaneSender, mut request: LaneReceiver) {
        // What is no frame, or does not come in time, has been counted and told.
        let Ok(Some(asked)) = request.next().await else {
            return;
        };
        let came = Instant::now();
        let counters = self.served.node.counters();
        let mut record = self.operator.clone().map(Record::new);
        let answered = self.answer(came, &asked.body, &mut request, &mut answer, record.as_mut()).await;
        if let Some(record) = &mut record {
            match &answered {
                Ok(_) => record.answered(),
                Err(unanswered) => record.unanswered(unanswered),
            }
        }
        let deadline = match answered {
            Ok(deadline) => deadline,
            Err(unanswered) => {
                counters.bump(unanswered.counter());
                let Unanswered::Fault(fault) = unanswered else {
                    return;
                };
                if answer.append_value(Kind::Error, &fault).is_err() {
                    // It is shorter than an error may be, so it is the lane that takes none: the answer was whole.
                    return;
                }
                Instant::now() + FAULT_WITHIN
            }
        };
        let unheard = match in_time(|| Some(deadline), pin!(answer.finish())).await {
            Some(Ok(())) => return,
            Some(Err(error)) => Unanswered::from(error),
            None => Unanswered::Unread,
        };
        counters.bump(unheard.counter());
        if let Some(record) = &mut record {
            record.unanswered(&unheard);
        }
    }

    /// Answers, but for what is left to be flushed; until when the caller waits for that.
    async fn answer(
        &self,
        came: Instant,
        asked: &[u8],
        request: &mut LaneReceiver,
        answer: &mut LaneSender,
        mut record: Option<&mut Record>,
    ) -> Result<Instant, Unanswered> {
        let is_short = asked.len() <= BRIEF_BYTES;
        if !is_short {
            apart().await;
        }
        let Ask { within, request: asked } = codec::decode(asked).map_err(|_| Malformed::Request)?;
        if let Some(record) = &mut record {
            record.asks(&asked);
        }
        let call = asked.call();
        if !self.role.may_ask(call) {
            return Err(CallFault::Denied.into());
        }
        self.served.node.counters().bump(Counter::of_call(call));
        if is_short && !is_brief(&asked) {
            apart().await;
        }
        let within = within.duration();
        let deadline = came + within;
        let places = [&self.share.long_requests, &self.served.long_requests];
        let mut incoming = Incoming { lane: request, places, within, deadline };
        if asked.chunks().is_none() {
            incoming.nothing().await?;
        }
        let prepared = self.prepare(asked, &mut incoming, answer).await?;
        if let Some(record) = record {
            record.carried_out(&prepared);
        }
        if let Prepared::Archive(..) = prepared {
            // It has no deadline but each of its parts, as its last.
            return Box::pin(prepared.send(answer)).await.map(|()| Instant::now() + within);
        }
        if let Prepared::Whole(only) = prepared {
            return whole(answer, &only).map(|()| deadline);
        }
        let sent = in_time(|| Some(deadline), Box::pin(prepared.send(answer))).await;
        sent.unwrap_or(Err(Unanswered::Unread)).map(|()| deadline)
    }
}

impl Prepared {
    async fn send(self, lane: &mut LaneSender) -> Result<(), Unanswered> {
        match self {
            Self::Whole(answer) => whole(lane, &answer)?,
            Self::Pieces(answer, pieces) => {
                begin(lane, &answer)?;
                pieces.send(lane).await?;
            }
            Self::Users(answer, users) => {
                begin(lane, &answer)?;
                users.send(lane).await?;
            }
            Self::Archive(answer, archive) => {
                begin(lane, &answer)?;
                archive.send(lane).await?;
            }
            Self::Fed(answer, pieces, opened) => {
                begin(lane, &answer)?;
                pieces.send(lane).await?;
                lane.flush().await?;
                opened.keep();
            }
        }
        Ok(())
    }
}

/// Answers in one frame.
fn whole(lane: &mut LaneSender, answer: &Answer) -> Result<(), Unanswered> {
    if let Answer::Reply(_) = answer {
        // It was done, so nobody may be told that nothing happened.
        return Ok(lane.append_value(Kind::Answer, answer).map_err(|_| CallError::OutcomeUnknown)?);
    }
    begin(lane, answer)
}

/// Begins an answer.
fn begin(lane: &mut LaneSender, answer: &Answer) -> Result<(), Unanswered> {
    lane.append_value(Kind::Answer, answer).map_err(Unanswered::unfit)
}

/// Goes on in a task of its own, if it is not in one: calls are begun where their link takes them, and this makes the others wait no longer.
async fn apart() {
    yield_now().await;
}

/// Whether a call is done with, or waits for somebody else, before others of its link notice.
const fn is_brief(asked: &Request) -> bool {
    match asked {
        Request::Ping
        | Request::Command { .. }
        | Request::Typing { .. }
        | Request::Session { .. }
        | Request::Read { read: Read::Member(_) | Read::Can { .. }, .. }
        | Request::SecretKeys
        | Request::CloseFeed { .. } => true,
        Request::Stats
        | Request::Guilds { .. }
        | Request::Import { .. }
        | Request::Read {
            read: Read::Show | Read::Members { .. } | Read::MembersById(_) | Read::MembersByPrefix { .. },
            ..
        }
        | Request::Recipients { .. }
        | Request::Export { .. }
        | Request::Backup
        | Request::Feed { .. } => false,
    }
}

/// Of a request that is read, decoded and handed on in a few microseconds.
const BRIEF_BYTES: usize = 4_096;

/// How long the caller may take to read that there is no answer: its time may be over.
const FAULT_WITHIN: Duration = Duration::from_secs(5);
