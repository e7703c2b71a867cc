//! What follows an answer in chunks.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::call::CallFault;
use guildhall_proto::codec;
use guildhall_proto::frame::Kind;
use guildhall_transport::LaneReceiver;
use tokio::time::{Instant, timeout_at};

use crate::call::end;
use crate::counters::{Counter, Counters};
use crate::error::Failed;

/// The rest of an answer, as it comes. May be dropped while it waits: the lane keeps what has come.
#[derive(Debug)]
pub(crate) struct Rest {
    lane: LaneReceiver,
    /// Until when its node may take for it.
    due: Instant,
    counters: Arc<Counters>,
}

impl Rest {
    /// Of a call that may take until then.
    pub(crate) const fn new(lane: LaneReceiver, deadline: Instant, counters: Arc<Counters>) -> Self {
        Self { lane, due: deadline, counters }
    }

    /// The next chunk; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        self.next_until(self.due).await
    }

    /// The same, where it may take until then, whatever the call was to take.
    pub(crate) async fn next_until(&mut self, due: Instant) -> Result<Option<Vec<u8>>, Failed> {
        // Who was slow to read finds what its node has long sent a moment away.
        let due = due.max(Instant::now()) + GRACE;
        let frame = match timeout_at(due, self.lane.next()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return Err(Failed::Lost),
            Err(_) => return Err(Failed::Fault(CallFault::TooLate)),
            Ok(Err(error)) => return Err(Failed::of(&error)),
        };
        match frame.kind {
            Kind::Chunk => Ok(Some(frame.body.to_vec())),
            Kind::End => end(&mut self.lane).await.map(|()| None),
            Kind::Error => {
                let refuse = |error| Failed::refused(&self.counters, Counter::CallsFailedMalformedError, &error);
                Err(codec::decode(&frame.body).map_or_else(refuse, Failed::Fault))
            }
            Kind::Hello | Kind::HelloAnswer | Kind::Request | Kind::Answer | Kind::Feed | Kind::Ephemeral => {
                Err(self.refused(&format!("{:?} among chunks", frame.kind)))
            }
        }
    }

    /// What came is not what is to follow, and nothing more is read.
    pub(crate) fn refused(&self, why: &dyn Display) -> Failed {
        Failed::refused(&self.counters, Counter::CallsFailedMalformedChunk, why)
    }
}

/// How long what a node has sent, its word that a call's time is over too, may be on its way.
const GRACE: Duration = Duration::from_secs(1);
