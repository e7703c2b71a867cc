//! The output gate: holds a turn's outcomes until its records are stored.
//!
//! What a turn lets out (events, answers, refusals, checkpoints, the view) leaves together and in order: a turn with records when
//! these are stored, a turn without any as soon as all before it have left. So nobody sees anything that a crash could take back,
//! and a refusal computed from a change that is not stored yet waits for that change.
//!
//! Invariant: turns leave in the order in which they were admitted.

use std::any::Any;
use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use guildhall_members::{FoldJob, View};
use guildhall_proto::{Event, Record};

use crate::effect::{Answer, Effect, Tell};
use crate::input::CallId;
use crate::scan::ScanJob;
use crate::snapshot::Checkpoint;

/// Holds the turns of one guild whose records are not stored yet, and those behind them.
#[derive(Debug, Default)]
pub struct Gate {
    waiting: VecDeque<Turn>,
    admitted: u64,
    bytes: usize,
    #[cfg(feature = "defects")]
    view_kept_back: Option<View>,
}

/// Names one turn of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnId(u64);

/// What a turn lets out, to be performed in the order of the fields.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// To be put into the keep-latest map, or taken from it, before anything else: whoever hears of a departure then finds nothing
    /// told of that user. What is put there early nobody tells early, for it waits for its position.
    pub told: Vec<Tell>,
    /// To be appended to the ring next, in order: the ring then always reaches up to the view.
    pub events: Vec<Arc<Event>>,
    /// To be published before the answers, so that a caller that has its answer can read its write. `None`: there is no such
    /// guild.
    pub view: Option<View>,
    /// To be sent last, in whatever order: they belong together.
    pub answers: Vec<(CallId, Answer)>,
    /// To be handed to the store.
    pub checkpoints: Vec<Checkpoint>,
}

/// What the shell does with a turn at once.
#[derive(Debug, Default)]
pub struct Admitted {
    /// To be stored, then [settled](Gate::settle) by the turn's id. Absent if the turn has no records.
    pub append: Option<(TurnId, Vec<Record>)>,
    /// To be run on a worker.
    pub fold: Option<FoldJob>,
    /// To be run on workers.
    pub scans: Vec<ScanJob>,
    /// To be dropped on a worker.
    pub discard: Vec<Box<dyn Any + Send>>,
}

#[derive(Debug)]
struct Turn {
    settled: bool,
    bytes: usize,
    outcomes: Outcomes,
}

impl Gate {
    /// Takes a turn's effects, leaving `effects` empty, and the view as of the turn's end.
    pub fn admit(&mut self, effects: &mut Vec<Effect>, view: Option<View>) -> Admitted {
        let mut admitted = Admitted::default();
        let (mut events, mut answers, mut recorded) = (0, 0, 0);
        for effect in effects.iter() {
            match effect {
                Effect::Record(_) => recorded += 1,
                Effect::Append(_) => events += 1,
                Effect::Answer(..) => answers += 1,
                Effect::Fold(_) | Effect::Scan(_) | Effect::Discard(_) | Effect::Tell(_) | Effect::Checkpoint(_) => {}
            }
        }
        let (events, answers) = (Vec::with_capacity(events), Vec::with_capacity(answers));
        let mut outcomes = Outcomes { view, events, answers, ..Outcomes::default() };
        let mut records = Vec::with_capacity(recorded);
        for effect in effects.drain(..) {
            match effect {
                Effect::Fold(job) => {
                    debug_assert!(admitted.fold.is_none(), "one fold is under way at a time");
                    admitted.fold = Some(job);
                }
                Effect::Scan(job) => admitted.scans.push(job),
                Effect::Discard(garbage) => admitted.discard.push(garbage),
                Effect::Record(record) => records.push(record),
                Effect::Append(event) => outcomes.events.push(event),
                Effect::Tell(tell) => outcomes.told.push(tell),
                Effect::Answer(call, answer) => outcomes.answers.push((call, answer)),
                Effect::Checkpoint(checkpoint) => outcomes.checkpoints.push(checkpoint),
            }
        }
        let id = TurnId(self.admitted);
        self.admitted += 1;
        let events: usize = outcomes.events.iter().map(|event| event.weight_bytes()).sum();
        let bytes = events
            + records.len() * size_of::<Record>()
            + outcomes.told.len() * size_of::<Tell>()
            + outcomes.answers.len() * size_of::<(CallId, Answer)>();
        self.bytes += bytes;
        self.waiting.push_back(Turn { settled: records.is_empty(), bytes, outcomes });
        if !records.is_empty() {
            admitted.append = Some((id, records));
        }
        admitted
    }

    /// Notes what the store says of a turn's records: that they are stored, or the error, which is handed back. Then neither that turn nor one behind
    /// it leaves any more, and their owner is to end. A turn that has left, or is settled already, is left alone.
    ///
    /// # Errors
    /// What the store says.
    pub fn settle<E>(&mut self, turn: TurnId, stored: Result<(), E>) -> Result<(), E> {
        #[cfg(feature = "defects")]
        let stored = if guildhall_proto::Defect::FailureIgnored.is_on() { Ok(()) } else { stored };
        stored?;
        let first = self.admitted - self.waiting.len() as u64;
        let at = turn.0.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        if let Some(turn) = at.and_then(|at| self.waiting.get_mut(at)) {
            turn.settled = true;
        }
        Ok(())
    }

    /// Lets the next turn out, if its records and those of all turns before it are stored.
    pub fn release(&mut self) -> Option<Outcomes> {
        let next = self.waiting.front_mut()?;
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::GateOpen.is_on() {
            next.settled = true;
        }
        if !next.settled {
            return None;
        }
        let outcomes = take(&mut next.outcomes);
        #[cfg(feature = "defects")]
        let outcomes = self.misplace_view(outcomes);
        self.bytes -= self.waiting.pop_front().map_or(0, |turn| turn.bytes);
        Some(outcomes)
    }

    /// Lets a turn out with another's view.
    #[cfg(feature = "defects")]
    fn misplace_view(&mut self, mut outcomes: Outcomes) -> Outcomes {
        use guildhall_proto::Defect;
        if let Some(latest) = self.waiting.back().filter(|_| self.waiting.len() > 1 && Defect::ViewBeforeGate.is_on()) {
            outcomes.view.clone_from(&latest.outcomes.view);
        }
        if Defect::ViewAfterAnswer.is_on() {
            std::mem::swap(&mut self.view_kept_back, &mut outcomes.view);
        }
        outcomes
    }

    /// Frees the room of turns that have left.
    pub fn tidy(&mut self) {
        self.waiting.shrink_to_fit();
    }

    /// How many turns are held. The shell takes no inputs while there are too many.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// About how many bytes are held in events, records and answers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::CommandError;

    use super::*;

    const STORED: Result<(), &str> = Ok(());

    fn answer(call: u64) -> Effect {
        Effect::Answer(CallId(call), Err(CommandError::UnknownGuild))
    }

    fn record() -> Effect {
        use guildhall_proto::{AppliedOp, BodyHash, ClientId, Millis, OpId, Outcome, Position, Stage};
        let id = OpId { client: ClientId::MIN, counter: 1, issued_at: Millis(1) };
        let outcome = Outcome::Applied { at: Position::default() };
        let op = AppliedOp { id, body: BodyHash(0), outcome, stage: Stage::Finished };
        Effect::Record(Record { number: 1, position: Position::default(), at: Millis(1), op, event: None })
    }

    fn released(gate: &mut Gate) -> Vec<u64> {
        let mut calls = Vec::new();
        while let Some(outcomes) = gate.release() {
            calls.extend(outcomes.answers.iter().map(|(call, _)| call.0));
        }
        calls
    }

    #[test]
    fn a_turn_with_records_waits_for_the_store_and_those_behind_it_wait_too() {
        let mut gate = Gate::default();
        let (first, _) = gate.admit(&mut vec![record(), answer(1)], None).append.unwrap();
        assert!(gate.admit(&mut vec![answer(2)], None).append.is_none());
        let (third, _) = gate.admit(&mut vec![record(), answer(3)], None).append.unwrap();
        assert_eq!(released(&mut gate), []);

        gate.settle(third, STORED).unwrap();
        assert_eq!(released(&mut gate), []);
        gate.settle(first, STORED).unwrap();
        assert_eq!(released(&mut gate), [1, 2, 3]);
        assert!(gate.is_empty());
    }

    #[test]
    fn a_turn_without_records_leaves_at_once_when_nothing_is_before_it() {
        let mut gate = Gate::default();
        gate.admit(&mut vec![answer(1)], None);
        assert_eq!(released(&mut gate), [1]);
    }

    #[test]
    fn a_turn_settled_twice_or_late_disturbs_nobody() {
        let mut gate = Gate::default();
        let (first, _) = gate.admit(&mut vec![record(), answer(1)], None).append.unwrap();
        gate.settle(first, STORED).unwrap();
        assert_eq!(released(&mut gate), [1]);
        let (_, _) = gate.admit(&mut vec![record(), answer(2)], None).append.unwrap();
        gate.settle(first, STORED).unwrap();
        assert_eq!(released(&mut gate), []);
    }

    #[test]
    fn a_turn_that_the_store_refuses_never_leaves_nor_does_one_behind_it() {
        let mut gate = Gate::default();
        let (first, _) = gate.admit(&mut vec![record(), answer(1)], None).append.unwrap();
        let (second, _) = gate.admit(&mut vec![record(), answer(2)], None).append.unwrap();
        assert_eq!(gate.settle(first, Err("refused")), Err("refused"));
        gate.settle(second, STORED).unwrap();
        assert_eq!(released(&mut gate), []);
    }

    #[test]
    fn what_is_held_is_counted_in_bytes_until_it_leaves() {
        let mut gate = Gate::default();
        let (first, _) = gate.admit(&mut vec![record(), answer(1)], None).append.unwrap();
        let held = gate.bytes();
        assert!(held > 0);
        gate.admit(&mut vec![answer(2)], None);
        assert!(gate.bytes() > held);
        gate.settle(first, STORED).unwrap();
        assert_eq!(released(&mut gate), [1, 2]);
        assert_eq!(gate.bytes(), 0);
    }
}
