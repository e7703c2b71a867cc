//! Whole-guild changes that begin in one turn and are carried out in a later one.

use guildhall_guild::{Call, CallId, Effect, Input, Operation};
use guildhall_proto::{Actor, Command, OpId, UserId};

use super::{Made, Owner};
use crate::model::Verdict;
use crate::seen::Seen;

/// A whole-guild change that the guild has accepted and not begun to carry out.
pub(super) struct Work {
    pub(super) call: CallId,
    pub(super) op: OpId,
    pub(super) actor: Actor,
    pub(super) command: Command,
    /// Whom a worker finds for it, as the guild was when it was accepted.
    candidates: Vec<UserId>,
}

impl Owner {
    /// Begins a change that is spread over turns, and leaves it there.
    pub(super) fn begin(&mut self, actor: Actor, command: Command, is_refused: bool) {
        let op = self.next_op();
        let call = CallId(self.calls);
        let answered = self.turn.answers.len();
        let operation = Operation::new(op, actor, command.clone()).unwrap();
        self.feed(Input::Command(Call { id: call, operation }));
        let answer = self.turn.answers.get(answered).map(|(_, answer)| answer.clone());
        assert_eq!(answer.as_ref().is_some_and(Result::is_err), is_refused, "{command:?} by {actor:?}: {answer:?}");
        if let Some(answer) = answer {
            self.answered.push((op, actor, command, answer));
            return;
        }
        let mut candidates = Vec::new();
        if let Command::PruneMembers(by) = &command {
            candidates = self.model.candidates(by);
        }
        assert!(self.work.replace(Work { call, op, actor, command, candidates }).is_none());
    }

    /// Carries out what was begun, as the guild is by now.
    pub(crate) fn proceed_with_work(&mut self, seen: &mut Seen) -> Option<Made> {
        self.keep_up(seen);
        let Work { call, op, actor, command, candidates } = self.work.take()?;
        let in_turn = self.effects.iter().position(|effect| matches!(effect, Effect::Scan(_)));
        if let Some(Effect::Scan(job)) = in_turn.map(|at| self.effects.remove(at)) {
            self.scan = Some(job);
        }
        if let Some(job) = self.scan.take() {
            self.feed(Input::ScanDone(job.run()));
        }
        let accepted = if let Command::PruneMembers(by) = &command {
            self.model.prune(self.now, actor, by, &candidates)
        } else {
            let (Verdict::Accepted(accepted) | Verdict::Either(accepted)) =
                self.model.decide(self.now, actor, &command)
            else {
                panic!("an import is the system's, and was accepted");
            };
            accepted
        };
        let (answered, before) = (self.turn.answers.len(), self.effects.len());
        self.guild.proceed(self.now, &mut self.effects);
        self.now.0 += 1;
        self.note(before);
        let (answered, answer) = self.turn.answers.get(answered).cloned().expect("one batch takes all");
        assert_eq!(answered, call);
        self.answered.push((op, actor, command.clone(), answer.clone()));
        seen.spread_over_turns += 1;
        self.is_done(accepted, &command, &answer, seen)
    }
}

/// Whether a command is carried out by and by.
pub(super) fn is_spread(command: &Command) -> bool {
    matches!(command, Command::PruneMembers(_) | Command::ImportMembers(_))
}
