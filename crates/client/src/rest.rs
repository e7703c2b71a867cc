//! What follows an answer in chunks.

use std::fmt::Display;
use std::sync::Arc;

use guildhall_proto::codec;
use guildhall_proto::frame::Kind;
use guildhall_transport::LaneReceiver;

use crate::call::end;
use crate::counters::{Counter, Counters};
use crate::error::Failed;

/// The rest of an answer, as it comes. May be dropped while it waits: the lane keeps what has come.
#[derive(Debug)]
pub(crate) struct Rest {
    lane: LaneReceiver,
    counters: Arc<Counters>,
}

impl Rest {
    pub(crate) const fn new(lane: LaneReceiver, counters: Arc<Counters>) -> Self {
        Self { lane, counters }
    }

    /// The next chunk; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        let frame = match self.lane.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(Failed::Lost),
            Err(error) => return Err(Failed::of(&error)),
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
