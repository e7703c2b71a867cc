//! What the store keeps of a guild: one record for each durable operation.

use std::sync::Arc;

use crate::codec::{Decode, Encode};
use crate::{BodyHash, Event, Millis, OpId, Outcome, Position};

/// One durable step of a guild: an operation, or one batch of an operation that is spread over turns. Replaying a guild's records in order gives its durable state and the outcomes it must remember.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// Rises by one with each record of the guild, from 1, over all epochs: a record that is missing shows.
    pub number: u64,
    /// The position of `event`, or of the last event before, where the operation had nothing to change.
    pub position: Position,
    /// The owner's clock when the operation was applied.
    pub at: Millis,
    /// The operation and how it turned out.
    pub op: AppliedOp,
    /// What changed.
    pub event: Option<Arc<Event>>,
}

/// An operation that a guild has applied, or is applying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AppliedOp {
    /// Its name.
    pub id: OpId,
    /// What it asked.
    pub body: BodyHash,
    /// What came of it, so far if it is unfinished.
    pub outcome: Outcome,
    /// Whether that is all.
    pub stage: Stage,
}

/// How far an operation is that may take more than one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Stage {
    /// Its outcome is final: a retry is answered with it.
    Finished,
    /// There is more to come. If it does not, because of a crash, a retry goes on from the outcome so far.
    Unfinished,
}
