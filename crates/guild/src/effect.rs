//! All that a guild may ask the shell to do.

use std::any::Any;
use std::sync::Arc;

use guildhall_members::FoldJob;
use guildhall_proto::{CommandError, Ephemeral, Event, Record, Reply, UserId};

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
