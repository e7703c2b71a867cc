//! What a call comes to that is not answered as a whole, and under which reason it is counted.

use std::fmt;

use guildhall_proto::call::{CallFault, ChunkFault, Malformed};
use guildhall_proto::codec::CodecError;
use guildhall_proto::{CallError, CommandError};
use guildhall_transport::LaneError;

use crate::counters::Counter;

/// Why a call ends without its whole answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The caller is told.
    Fault(CallFault),
    /// The caller has gone, or sent what is no call; transport has counted that.
    Left,
    /// The caller's time is over, and it has not read what there was.
    Unread,
    /// The caller has read nothing of what there was for too long.
    Stalled,
}

impl Unanswered {
    /// What is counted of it.
    pub(super) const fn counter(&self) -> Counter {
        match self {
            Self::Fault(fault) => counter(fault),
            Self::Left => Counter::CallsLeft,
            Self::Unread => Counter::CallsUnread,
            Self::Stalled => Counter::CallsStalled,
        }
    }
}

const fn counter(fault: &CallFault) -> Counter {
    match fault {
        CallFault::Call(CallError::Refused(_)) => Counter::CallsFailedRefused,
        CallFault::Call(CallError::Overloaded { .. }) => Counter::CallsFailedOverloaded,
        CallFault::Call(CallError::OutcomeUnknown) => Counter::CallsFailedOutcomeUnknown,
        CallFault::Call(CallError::Stopping) => Counter::CallsFailedStopping,
        CallFault::Call(CallError::Unavailable { .. }) => Counter::CallsFailedUnavailable,
        CallFault::Call(CallError::Moved { .. }) => Counter::CallsFailedMoved,
        CallFault::Denied | CallFault::Call(CallError::Denied { .. }) => Counter::CallsFailedDenied,
        CallFault::Malformed(Malformed::Request) => Counter::CallsFailedMalformedRequest,
        CallFault::Malformed(Malformed::Chunks) => Counter::CallsFailedMalformedChunks,
        CallFault::Malformed(Malformed::Chunk(_)) => Counter::CallsFailedMalformedChunk,
        CallFault::Malformed(Malformed::FeedIdInUse) => Counter::CallsFailedFeedIdInUse,
        CallFault::TooLate => Counter::CallsFailedTooLate,
        CallFault::FeedsFull { .. } => Counter::CallsFailedFeedsFull,
    }
}

impl From<CallFault> for Unanswered {
    fn from(fault: CallFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<CallError> for Unanswered {
    fn from(error: CallError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<CommandError> for Unanswered {
    fn from(error: CommandError) -> Self {
        CallError::from(error).into()
    }
}

impl From<Malformed> for Unanswered {
    fn from(malformed: Malformed) -> Self {
        Self::Fault(malformed.into())
    }
}

impl From<ChunkFault> for Unanswered {
    fn from(fault: ChunkFault) -> Self {
        Malformed::from(fault).into()
    }
}

impl From<LaneError> for Unanswered {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Unread => Self::Stalled,
            // Of what came: what goes is looked at where it is put on the lane.
            LaneError::Closed(_)
            | LaneError::GivenUp
            | LaneError::Silent
            | LaneError::Half
            | LaneError::Paused
            | LaneError::Frame(_)
            | LaneError::Codec(_) => Self::Left,
        }
    }
}

impl Unanswered {
    /// What cannot be put on a lane of what this node answers: a fault of its own, and told so.
    pub(super) fn unfit(error: LaneError) -> Self {
        match error {
            LaneError::Codec(error) => error.into(),
            LaneError::Frame(error) => unsendable(&error),
            LaneError::Closed(_)
            | LaneError::GivenUp
            | LaneError::Silent
            | LaneError::Half
            | LaneError::Paused
            | LaneError::Unread => error.into(),
        }
    }
}

fn unsendable(why: &dyn fmt::Display) -> Unanswered {
    CallError::Unavailable { reason: format!("an answer that cannot be sent: {why}") }.into()
}

/// Whatever a guild may have fits; so what does not is a fault of this node's, and told so.
impl From<CodecError> for Unanswered {
    fn from(error: CodecError) -> Self {
        unsendable(&error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guildhall_proto::call::ChunkFlaw;
    use guildhall_proto::{Grant, NodeId};

    use super::*;

    #[test]
    fn each_fault_is_counted_under_its_own_reason() {
        let faults = [
            CallFault::Call(CommandError::UnknownGuild.into()),
            CallFault::Call(CallError::Overloaded { retry_after: Duration::ZERO }),
            CallFault::Call(CallError::OutcomeUnknown),
            CallFault::Call(CallError::Stopping),
            CallFault::Call(CallError::Unavailable { reason: String::new() }),
            CallFault::Call(CallError::Moved { node: NodeId::MIN, grant: Grant(1) }),
            CallFault::Denied,
            CallFault::Call(CallError::Denied { reason: String::new() }),
            Malformed::Request.into(),
            Malformed::Chunks.into(),
            Malformed::Chunk(ChunkFault { at: 0, flaw: ChunkFlaw::Incomplete }).into(),
            Malformed::FeedIdInUse.into(),
            CallFault::TooLate,
            CallFault::FeedsFull { max: 1 },
        ];
        for fault in faults {
            let name = format!("link_calls_failed_total{{reason=\"{}\"}}", fault.reason());
            assert_eq!(counter(&fault).name(), name);
        }
    }
}
