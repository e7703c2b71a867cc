//! Why a call came to nothing, or a long answer breaks off: the body of an `Error` frame.

use crate::CallError;
use crate::codec::{Decode, Encode};

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum CallFault {
    /// The guild refused, or could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The dialer's role may not ask for that. Nothing happened.
    #[error("that is not for the role of who asks")]
    Denied,
    /// What came is no such call; nothing happened. It is the caller's fault, and the same again comes to the same.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The time that the caller gave was over before anything was begun: nothing happened. If it is over later, a command's outcome is unknown,
    /// and told so.
    #[error("too late: nothing was begun")]
    TooLate,
    /// The link has as many feeds as it may have. Nothing happened.
    #[error("the link has {max} feeds already")]
    FeedsFull {
        /// How many it may have.
        max: u32,
    },
}

/// What is wrong with what a caller sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Malformed {
    /// The body of the first frame is no [`Ask`](super::Ask).
    #[error("no request")]
    Request,
    /// Chunks came behind a request that has none, or none behind one that has.
    #[error("chunks where there are none, or none where there must be")]
    Chunks,
    /// A chunk is not what belongs there.
    #[error(transparent)]
    Chunk(#[from] ChunkFault),
    /// The feed's id is that of an open feed of this link, or below that of the guild's.
    #[error("the feed's id is in use, or was before that in use")]
    FeedIdInUse,
}

/// Where a run of chunks is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error("{flaw}, at {at}")]
pub struct ChunkFault {
    /// How many elements of the run were good.
    pub at: u64,
    /// What is wrong with the next.
    pub flaw: ChunkFlaw,
}

/// What may be wrong with a run of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum ChunkFlaw {
    /// It is no such element, or is cut.
    #[error("no element of its run")]
    Undecodable,
    /// Elements of its kind do not belong there.
    #[error("an element that does not belong there")]
    Misplaced,
    /// It is not behind the one before it, or what it lists is not in order.
    #[error("an element out of order")]
    Disordered,
    /// There are more of its kind than there may be.
    #[error("more than {max} elements")]
    TooMany {
        /// How many there may be.
        max: u32,
    },
    /// The run ended before all had come that it must have.
    #[error("an end before all had come")]
    Incomplete,
}

impl CallFault {
    /// A stable name of why, for a counter.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Call(CallError::Refused(_)) => "refused",
            Self::Call(CallError::Overloaded { .. }) => "overloaded",
            Self::Call(CallError::OutcomeUnknown) => "outcome_unknown",
            Self::Call(CallError::Stopping) => "stopping",
            Self::Call(CallError::Unavailable { .. }) => "unavailable",
            Self::Call(CallError::Moved { .. }) => "moved",
            Self::Denied | Self::Call(CallError::Denied { .. }) => "denied",
            Self::Malformed(Malformed::Request) => "malformed_request",
            Self::Malformed(Malformed::Chunks) => "malformed_chunks",
            Self::Malformed(Malformed::Chunk(_)) => "malformed_chunk",
            Self::Malformed(Malformed::FeedIdInUse) => "feed_id_in_use",
            Self::TooLate => "too_late",
            Self::FeedsFull { .. } => "feeds_full",
        }
    }
}
