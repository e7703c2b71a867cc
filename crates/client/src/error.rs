//! Why a call came to nothing.

use std::fmt::Display;
use std::time::Duration;

use guildhall_cluster::GaveUp;
use guildhall_proto::call::{Answer, CallFault, Malformed};
use guildhall_proto::{CallError, CommandError};
use guildhall_transport::{BindError, LaneError};

use crate::counters::{Counter, Counters};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No node is named.
    #[error("no node is named")]
    NoNodes,
    /// The endpoint cannot begin.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// No node could be reached in time.
    #[error("no node was reached within {within:?}{}", why.as_ref().map_or_else(String::new, |why| format!(": {why}")))]
    Unreachable {
        /// The time that there was.
        within: Duration,
        /// What went wrong last, if anything did by then.
        why: Option<String>,
    },
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The guild refused. Nothing happened.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// There was no room for the call, also when it was repeated. Nothing happened.
    #[error("overloaded; retry after {retry_after:?}")]
    Overloaded {
        /// When there should be.
        retry_after: Duration,
    },
    /// The guild could not be reached in time. Nothing happened.
    #[error("the guild cannot be reached")]
    Unavailable,
    /// The deadline came first. Nothing happened.
    #[error("the deadline has come")]
    Late,
    /// The call may have been carried out, or may yet be. A durable one may be sent again under the same operation id, and is not carried
    /// out twice.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// Who this is may not ask for that.
    #[error("that is not for the role of this client")]
    Denied,
    /// The node has as many feeds of this one as it may have.
    #[error("the node has {max} feeds of this client already")]
    FeedsFull {
        /// How many it may have.
        max: u32,
    },
    /// The node did not understand the call: a fault of this build or of that one.
    #[error("not understood: {0}")]
    Malformed(Malformed),
    /// Part of the answer was not read for too long, and the node has given it up.
    #[error("the answer was not read in time")]
    Unread,
    /// What was answered is no answer to the call, or was broken off.
    #[error("no answer to the call: {0}")]
    Answer(String),
    /// The client is closed, and was before the call could be carried out. Nothing happened.
    #[error("the client is closed")]
    Closed,
}

impl From<GaveUp> for ClientError {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::OutcomeUnknown => Self::OutcomeUnknown,
            GaveUp::Overloaded { retry_after } => Self::Overloaded { retry_after },
            GaveUp::Unavailable => Self::Unavailable,
            GaveUp::Late => Self::Late,
            GaveUp::Canceled => Self::Closed,
        }
    }
}

/// As whoever is nearer to the guild is told it.
impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => Self::Refused(refusal),
            ClientError::Overloaded { retry_after } => Self::Overloaded { retry_after },
            ClientError::OutcomeUnknown => Self::OutcomeUnknown,
            ClientError::Closed => Self::Stopping,
            // However often it is asked.
            ClientError::Denied | ClientError::Malformed(_) => Self::Denied { reason: error.to_string() },
            ClientError::Unavailable
            | ClientError::Late
            | ClientError::FeedsFull { .. }
            | ClientError::Unread
            | ClientError::Answer(_) => Self::Unavailable { reason: error.to_string() },
        }
    }
}

/// What one attempt came to, where it came to no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The node said why.
    Fault(CallFault),
    /// The call was not sent.
    Unsent,
    /// It was sent, and there will be no answer.
    Lost,
    /// Of a long answer that had begun, more was not read in time.
    Unread,
    /// What came is no answer.
    Answer(String),
}

impl Failed {
    /// What came is no answer, for that reason.
    pub(crate) fn refused(counters: &Counters, reason: Counter, why: &dyn Display) -> Self {
        counters.add(reason, 1);
        Self::Answer(why.to_string())
    }

    /// What ended a lane on which a call had been sent.
    pub(crate) fn of(error: &LaneError) -> Self {
        match error {
            LaneError::Closed(_) | LaneError::GivenUp | LaneError::Silent | LaneError::Half | LaneError::Paused => {
                Self::Lost
            }
            LaneError::Unread => Self::Unread,
            LaneError::Frame(_) | LaneError::Codec(_) => Self::Answer(error.to_string()),
        }
    }
}

/// What was answered is no answer to the call.
pub(crate) fn unfit(answer: &Answer) -> ClientError {
    ClientError::Answer(format!("{answer:?} in answer to another call"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_to_the_same_however_often_it_is_asked_is_not_taken_for_what_may_be_asked_again() {
        for error in [ClientError::Denied, ClientError::Malformed(Malformed::Request)] {
            let reason = error.to_string();
            assert_eq!(CallError::from(error), CallError::Denied { reason });
        }
        for error in [ClientError::Late, ClientError::Unavailable, ClientError::FeedsFull { max: 1 }] {
            assert!(matches!(CallError::from(error), CallError::Unavailable { .. }));
        }
    }
}
