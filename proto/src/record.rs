//! What the store keeps of a guild: one record for each durable operation.

use std::sync::Arc;

use crate::codec::{Decode, Encode};
use crate::{BodyHash, Event, Millis, OpId, Outcome, Position};

/// One durable step of a guild. Replaying a guild's records in order gives its durable state and the outcomes it must remember.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// The position of `event`, or of the last event before, where the operation had nothing to change.
    pub position: Position,
    /// The owner's clock when the operation was applied.
    pub at: Millis,
    /// The operation and how it turned out.
    pub op: AppliedOp,
    /// What changed.
    pub event: Option<Arc<Event>>,
}

/// An operation that a guild has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AppliedOp {
    /// Its name.
    pub id: OpId,
    /// What it asked.
    pub body: BodyHash,
    /// What came of it.
    pub outcome: Outcome,
}
