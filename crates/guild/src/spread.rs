//! How a guild carries on with operations that are spread over turns: a batch at a time, between other inputs.

use guildhall_proto::{AppliedOp, CommandError, Millis, Reply, Stage};

use crate::effect::Effect;
use crate::guild::Guild;
use crate::scan::{ScanJob, Scanned};
use crate::snapshot::Life;
use crate::work::{Candidates, Next, Task, Work};

impl Guild {
    /// Whether [`proceed`](Self::proceed) has something to do now. The shell then does not wait for inputs.
    ///
    /// Of operations not while members change faster than they are folded, nor while all that is under way waits for workers, nor while the
    /// store has no room.
    pub fn has_work(&self) -> bool {
        !self.forsaken.is_empty() || self.works.is_ready() && !self.is_congested() && self.has_room()
    }

    /// Releases some of the sessions for which nobody speaks any more, or else carries the first of the operations under way on by one batch, and appends,
    /// in order, what the shell must now do: at most one event, and with the last batch the answers. To be called once a turn. O(96 log n) in members.
    pub fn proceed(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.clock = self.clock.max(now);
        if !self.forsaken.is_empty() {
            return self.release_forsaken(effects);
        }
        if self.is_congested() || !self.has_room() {
            return;
        }
        let Some(mut work) = self.works.take_ready() else {
            return;
        };
        let Life::Alive(rights) = &self.life else {
            unreachable!("a deleted guild has given up its works");
        };
        let scene = self.scene(rights);
        let change = match &mut work.task {
            Task::Prune(prune) => scene.prune_batch(work.actor, prune),
            Task::Import(import) => scene.import_batch(import),
        };
        let event = change.map(|kind| self.happen(kind, effects));
        let stage = match work.next() {
            Next::Nothing => Stage::Finished,
            Next::Batch | Next::Seek { .. } | Next::Wait => Stage::Unfinished,
        };
        let outcome = work.outcome(self.position);
        let op = AppliedOp { id: work.op, body: work.body, outcome, stage };
        self.operations.keep_applied(&op);
        // A batch that has changed nothing is not stored: after a crash it is found again to change nothing.
        if event.is_some() || stage == Stage::Finished {
            self.record(op, event.as_ref(), effects);
        }
        effects.extend(event.map(Effect::Append));
        match stage {
            Stage::Finished => {
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::WaitersForgotten.is_on() {
                    work.calls.truncate(1);
                }
                effects.extend(work.calls.into_iter().map(|call| Effect::Answer(call, Ok(Reply::Outcome(outcome)))));
            }
            Stage::Unfinished => self.carry_on(work, effects),
        }
        self.begin_fold_if_due(effects);
    }

    /// Takes on an operation that has just been accepted.
    pub(crate) fn begin_work(&mut self, work: Work, effects: &mut Vec<Effect>) {
        let outcome = work.outcome(self.position);
        let op = AppliedOp { id: work.op, body: work.body, outcome, stage: Stage::Unfinished };
        self.operations.keep_applied(&op);
        self.carry_on(work, effects);
    }

    /// Lets an operation wait for its next batch, or for the candidates that it needs for that.
    fn carry_on(&mut self, mut work: Work, effects: &mut Vec<Effect>) {
        if let (Next::Seek { after }, Task::Prune(prune)) = (work.next(), &mut work.task) {
            let view = self.view().expect("a deleted guild has given up its works");
            prune.candidates = Candidates::Sought;
            effects.push(Effect::Scan(ScanJob { work: work.id, view, by: prune.by.clone(), after }));
        }
        self.works.put_back(work);
    }

    /// Gives a prune the candidates that a worker has found.
    pub(crate) fn scan_done(&mut self, scanned: Scanned) {
        let Scanned { work, users, more } = scanned;
        self.works.found(work, users, more);
    }

    /// Answers everyone who waits for an operation of a guild that is no more.
    pub(crate) fn give_up_works_if_deleted(&mut self, effects: &mut Vec<Effect>) {
        if self.works.is_empty() || matches!(self.life, Life::Alive(_)) {
            return;
        }
        let works = std::mem::take(&mut self.works);
        effects.extend(works.calls().map(|call| Effect::Answer(call, Err(CommandError::UnknownGuild))));
        effects.push(Effect::Discard(Box::new(works)));
    }
}
