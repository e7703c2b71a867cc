//! All that a guild may ask the shell to do.

use std::any::Any;
use std::sync::Arc;

use guildhall_members::FoldJob;
use guildhall_proto::{
    CommandError, Ephemeral, Event, Generation, Member, Outcome, Position, Record, RoleId, Seq, UserId,
};

use crate::input::CallId;
use crate::scan::ScanJob;
use crate::snapshot::Checkpoint;

/// One thing that the shell must do. The first three kinds are done at once; the others pass the [`Gate`](crate::Gate).
#[derive(Debug)]
pub enum Effect {
    /// Run this on a worker and hand the result back as [`Input::FoldDone`](crate::Input::FoldDone). One is under way at a time.
    Fold(FoldJob),
    /// Run this on a worker and hand the result back as [`Input::ScanDone`](crate::Input::ScanDone). One is under way at a time
    /// for each prune.
    Scan(ScanJob),
    /// Drop this on a worker: it may be large.
    Discard(Box<dyn Any + Send>),
    /// Store this, before anything that the same turn lets out.
    Record(Record),
    /// Append this to the ring.
    Append(Arc<Event>),
    /// Put this into the keep-latest map, or take from it.
    Tell(Tell),
    /// Answer a call.
    Answer(CallId, Answer),
    /// Hand this to the store: the records that it covers are no longer needed.
    Checkpoint(Checkpoint),
}

/// What is told beside the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// What holds now, in the place of what was told of its subject before.
    Latest(Ephemeral),
    /// All that was told of a user is over: it is no member any more.
    Forget(UserId),
}

/// A guild's answer to a call.
pub type Answer = Result<Reply, CommandError>;

/// What an accepted call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A command was applied.
    Outcome(Outcome),
    /// A session is attached.
    Attached(Attached),
    /// A session's status or level was taken, the session was detached, or somebody's typing was taken, as of this position.
    Accepted(Position),
}

/// From where on a session hears of the guild, and who its member was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The session hears every event after this, if its member may see it.
    pub at: Position,
    /// The session's member as of `at`.
    pub member: Member,
    /// As which the session is held from now on.
    pub generation: Generation,
    /// Deleted roles that the member's record still names as of `at`, ascending.
    pub deleted_roles: Vec<RoleId>,
    /// Roles deleted up to here may have been cleaned out of records.
    pub deletions_unknown_to: Seq,
}
