//! Operations that are spread over turns: prunes and imports under way, in the order in which they came.
//!
//! Each is cut into batches of at most [`BATCH_MEMBERS`] members; a batch is one event and one record, which carries the outcome
//! so far. Between two batches the guild takes other inputs. Nothing here outlives the owner: after a crash the records tell how
//! far an operation is, and its retry begins it again from there.
//!
//! Invariants:
//! - at most [`LONG_OPERATIONS_MAX`] of [`LONG_OPERATIONS_BYTES_MAX`] are under way, no two of one id;
//! - each has at least one and at most [`OPERATION_CALLS_MAX`] calls waiting.

use std::collections::VecDeque;
use std::vec::IntoIter;

use guildhall_proto::call::EncodedEvent;
use guildhall_proto::limits::{
    LONG_OPERATIONS_BYTES_MAX, LONG_OPERATIONS_MAX, MEMBER_ROLES_MAX, NICK_CHARS_MAX, OPERATION_CALLS_MAX,
};
use guildhall_proto::{
    Actor, BodyHash, CommandError, Limited, LineFault, NewMember, OpId, Outcome, Position, PruneBy, UserId,
};

use crate::decide::within;
use crate::input::CallId;

/// All that a guild has under way.
#[derive(Debug, Default)]
pub(crate) struct Works {
    under_way: VecDeque<Work>,
    begun: u64,
}

/// Names one operation under way, so that a scan's result finds it. Never used again in an owner's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WorkId(u64);

/// One operation under way.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: WorkId,
    pub(crate) op: OpId,
    pub(crate) body: BodyHash,
    pub(crate) actor: Actor,
    /// Who waits for its end: the first call and its retries.
    pub(crate) calls: Vec<CallId>,
    /// What it took in memory when it began.
    pub(crate) bytes: usize,
    pub(crate) task: Task,
}

/// Which operation it is, and on whose behalf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) op: OpId,
    pub(crate) body: BodyHash,
    pub(crate) actor: Actor,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Task {
    Prune(Prune),
    Import(Import),
}

/// A prune, and how far it is.
#[derive(Debug)]
pub(crate) struct Prune {
    pub(crate) by: PruneBy,
    pub(crate) removed: u32,
    pub(crate) candidates: Candidates,
}

/// Who may have to go.
#[derive(Debug)]
pub(crate) enum Candidates {
    /// They are to be looked for, behind this user if there is one.
    Unsought { after: Option<UserId> },
    /// A worker looks for them.
    Sought,
    /// These, ascending; and perhaps `more` behind the last of them.
    Found { users: IntoIter<UserId>, more: Option<UserId> },
}

/// An import, and how far it is.
#[derive(Debug)]
pub(crate) struct Import {
    /// The lines not taken yet.
    pub(crate) lines: IntoIter<NewMember>,
    /// The first line whose user stands in an earlier one.
    pub(crate) twice: Option<u32>,
    pub(crate) taken: Taken,
    pub(crate) stopped: Option<LineFault>,
}

/// The lines of an import that were taken, by what came of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) added: u32,
    pub(crate) existing: u32,
    pub(crate) banned: u32,
}

/// What an operation under way needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another batch.
    Batch,
    /// That candidates are looked for, behind this user if there is one.
    Seek { after: Option<UserId> },
    /// The candidates that are looked for.
    Wait,
    /// Nothing: it is finished.
    Nothing,
}

impl Works {
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether there is one that waits for nothing but its turn.
    pub(crate) fn is_ready(&self) -> bool {
        self.under_way.iter().any(Work::is_ready)
    }

    /// Refuses one more than there may be, or one of too many bytes beside the others.
    pub(crate) fn require_room(&self, bytes: usize) -> Result<(), CommandError> {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::WorksUnbounded.is_on() {
            return Ok(());
        }
        within(Limited::LongOperations, self.under_way.len() + 1)?;
        within(Limited::LongOperationsBytes, self.bytes() + bytes)
    }

    fn bytes(&self) -> usize {
        self.under_way.iter().map(|work| work.bytes).sum()
    }

    /// Has a retry wait for the operation that it repeats; whether that is under way.
    pub(crate) fn join(&mut self, op: OpId, call: CallId) -> Result<bool, CommandError> {
        let Some(work) = self.under_way.iter_mut().find(|work| work.op == op) else {
            return Ok(false);
        };
        within(Limited::OperationCalls, work.calls.len() + 1)?;
        work.calls.push(call);
        Ok(true)
    }

    /// Makes an operation of a task; to be [put back](Self::put_back).
    pub(crate) fn begin(&mut self, asked: Asked, call: CallId, bytes: usize, task: Task) -> Work {
        self.begun += 1;
        let Asked { op, body, actor } = asked;
        Work { id: WorkId(self.begun), op, body, actor, calls: vec![call], bytes, task }
    }

    /// Takes the first that is ready.
    pub(crate) fn take_ready(&mut self) -> Option<Work> {
        let at = self.under_way.iter().position(Work::is_ready)?;
        self.under_way.remove(at)
    }

    /// Puts one where it was: behind those begun before it.
    pub(crate) fn put_back(&mut self, work: Work) {
        let at = self.under_way.partition_point(|earlier| earlier.id.0 < work.id.0);
        self.under_way.insert(at, work);
        debug_assert!(self.under_way.len() <= LONG_OPERATIONS_MAX && self.bytes() <= LONG_OPERATIONS_BYTES_MAX);
        debug_assert!(self.under_way.iter().all(|work| (1..=OPERATION_CALLS_MAX).contains(&work.calls.len())));
    }

    /// Gives a prune the candidates that it has waited for. What nobody waits for any more is dropped.
    pub(crate) fn found(&mut self, id: WorkId, users: Vec<UserId>, more: Option<UserId>) {
        if let Some(work) = self.under_way.iter_mut().find(|work| work.id == id)
            && let Task::Prune(prune) = &mut work.task
        {
            prune.candidates = Candidates::Found { users: users.into_iter(), more };
        }
    }

    /// The calls of all that are given up.
    pub(crate) fn calls(&self) -> impl Iterator<Item = CallId> + '_ {
        self.under_way.iter().flat_map(|work| work.calls.iter().copied())
    }
}

impl Work {
    /// The outcome so far.
    pub(crate) fn outcome(&self, at: Position) -> Outcome {
        match &self.task {
            Task::Prune(prune) => Outcome::MembersPruned { at, removed: prune.removed },
            Task::Import(Import { taken, stopped, .. }) => {
                let Taken { added, existing, banned } = *taken;
                Outcome::MembersImported { at, lines: taken.lines(), added, existing, banned, stopped: *stopped }
            }
        }
    }

    /// What is to be done next.
    pub(crate) fn next(&self) -> Next {
        match &self.task {
            Task::Prune(prune) => match &prune.candidates {
                Candidates::Unsought { after } => Next::Seek { after: *after },
                Candidates::Sought => Next::Wait,
                Candidates::Found { users, .. } if users.len() > 0 => Next::Batch,
                Candidates::Found { more: Some(last), .. } => Next::Seek { after: Some(*last) },
                Candidates::Found { more: None, .. } => Next::Nothing,
            },
            Task::Import(import) if import.stopped.is_some() || import.lines.len() == 0 => Next::Nothing,
            Task::Import(_) => Next::Batch,
        }
    }

    /// Whether it waits for nothing but its turn, be it to be finished.
    fn is_ready(&self) -> bool {
        self.next() != Next::Wait
    }
}

impl Prune {
    /// Leaves all that are left where they are.
    pub(crate) fn stop(&mut self) {
        self.candidates = Candidates::Found { users: IntoIter::default(), more: None };
    }
}

impl Taken {
    pub(crate) fn lines(self) -> u32 {
        self.added + self.existing + self.banned
    }
}

/// Members looked at in one batch. A turn spends 0.1-0.2 ms on it, for which whoever calls meanwhile waits; with fewer, what becomes of
/// 100,000 members would not fit into a ring of the usual size.
pub(crate) const BATCH_MEMBERS: usize = 96;
/// Roles of members added in one batch, apart from those of the last: each is hashed and interned, which at 250 a member takes
/// longer than all else.
pub(crate) const BATCH_ROLES: usize = 768;

// A batch of the greatest lines, each number at its widest, is an event that fits into a feed's frame.
const _: () = assert!(
    BATCH_MEMBERS * (NICK_CHARS_MAX * 4 + 64) + (BATCH_ROLES + MEMBER_ROLES_MAX) * 9 + 64 <= EncodedEvent::BYTES_MAX
);
