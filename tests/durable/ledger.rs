//! What is known of one guild from outside: all that it was asked, all that came out, and what of its history must and may be
//! stored.
//!
//! An owner's turns are noted as they are made; each is *certain* once anything of it or behind it was let out. When the guild is
//! taken over, what is found must be the certain turns and any number of those behind them, whole and in order.
//!
//! Invariant: `live` is `certain` with the changes of all turns, the one that is not admitted yet included.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use guildhall_guild::{Answer, CallId, Effect, Guild, GuildConfig, Outcomes, Reply};
use guildhall_proto::limits::OUTCOME_KEPT;
use guildhall_proto::{
    ClientId, Command, CommandError, Epoch, Event, EventKind, GuildId, Millis, OpId, Outcome, Position, Record, RoleId,
    Stage,
};
use guildhall_store::Claim;

use crate::checks::compare;
use crate::commands::{Dice, is_spread};
use crate::model::{Change, Model};
use crate::seen::Seen;

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) id: GuildId,
    /// All that was ever asked; an operation's number is its index.
    pub(crate) ops: Vec<Op>,
    calls: BTreeMap<CallId, usize>,
    call_next: u64,
    /// All records of the line of history that the last owner is on, the one numbered 1 first.
    records: Vec<Record>,
    /// Made and not let out; the last of them is not admitted yet.
    turns: VecDeque<Turn>,
    /// The guild as its owner has it.
    pub(crate) live: Model,
    /// The guild as anyone outside knows it.
    certain: Model,
    /// Up to here records must be there: something was let out that rests on them,
    certain_records: u64,
    /// or up to here: a checkpoint was stored, which holds the positions of messages too.
    checkpointed: (u64, Position),
    /// Up to here the store has said that it stored them.
    stored_records: u64,
    /// The last position that was let out.
    shown: Position,
    pub(crate) epoch: Epoch,
    /// Where it fell asleep, if it sleeps.
    pub(crate) slept: Option<Position>,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) id: OpId,
    pub(crate) command: Arc<Command>,
    /// Its final record in this line of history, and its outcome; of a message, the last record before it. None of a message whose
    /// owner has come to an unclean end since: nobody knows whether its outcome was kept.
    pub(crate) recorded: Option<(u64, Outcome)>,
    /// Its outcome, once that was let out.
    pub(crate) acknowledged: Option<Outcome>,
    /// Why it was refused, and by which owner: the next may decide otherwise.
    pub(crate) refused: Option<(Epoch, CommandError)>,
    /// Whether the owner in charge carries it out by and by.
    pub(crate) under_way: bool,
    /// Whether a crash came between two of its batches.
    interrupted: bool,
}

#[derive(Debug, Default)]
struct Turn {
    changes: Vec<Change>,
    events: Vec<Arc<Event>>,
    answers: Vec<(CallId, Answer)>,
    position: Position,
    /// The last record by its end.
    records: u64,
}

impl Ledger {
    pub(crate) fn new(id: GuildId) -> Self {
        Self {
            id,
            ops: Vec::new(),
            calls: BTreeMap::new(),
            call_next: 0,
            records: Vec::new(),
            turns: [Turn::default()].into(),
            live: Model::new(),
            certain: Model::new(),
            certain_records: 0,
            checkpointed: (0, Position::default()),
            stored_records: 0,
            shown: Position::default(),
            epoch: Epoch(0),
            slept: None,
        }
    }

    fn everyone(&self) -> RoleId {
        RoleId::everyone(self.id)
    }

    /// A new operation.
    pub(crate) fn issue(&mut self, now: Millis, command: Command) -> usize {
        let nth = self.ops.len();
        let (client, counter) = (ClientId::new(1 + nth as u64 % CLIENTS).unwrap(), 1 + nth as u64 / CLIENTS);
        self.ops.push(Op {
            id: OpId { client, counter, issued_at: now },
            command: Arc::new(command),
            recorded: None,
            acknowledged: None,
            refused: None,
            under_way: false,
            interrupted: false,
        });
        nth
    }

    /// A new call for an operation.
    pub(crate) fn call(&mut self, nth: usize) -> CallId {
        self.call_next += 1;
        let id = CallId(self.call_next);
        self.calls.insert(id, nth);
        id
    }

    pub(crate) fn certain_records(&self) -> u64 {
        self.certain_records
    }

    /// Whether an operation may be asked for again: not a message of which nothing may be kept, and few imports are under way at a time.
    pub(crate) fn may_be_retried(&self, nth: usize) -> bool {
        let op = &self.ops[nth];
        let is_repeatable = op.command.is_durable() || op.recorded.is_some();
        is_repeatable && (op.under_way || op.recorded.is_some() || !is_spread(&op.command) || self.under_way() < 2)
    }

    /// What a client asks the next owner again: what it has no answer to, and some of what was answered.
    pub(crate) fn worth_retrying(&self, dice: &mut Dice) -> Vec<usize> {
        let mut worth = Vec::new();
        let mut spread = 0;
        for (nth, op) in self.ops.iter().enumerate().rev() {
            let is_unanswered = op.command.is_durable() && op.acknowledged.is_none() && op.refused.is_none();
            if !self.may_be_retried(nth) || worth.len() >= RETRIES_MAX || !(is_unanswered || dice.one_in(4)) {
                continue;
            }
            if is_spread(&op.command) && op.recorded.is_none() {
                if spread == 2 {
                    continue;
                }
                spread += 1;
            }
            worth.push(nth);
        }
        worth
    }

    pub(crate) fn under_way(&self) -> usize {
        self.ops.iter().filter(|op| op.under_way).count()
    }

    /// The effects of handing an operation to the owner.
    pub(crate) fn note_call(&mut self, at: Millis, call: CallId, effects: &[Effect], seen: &mut Seen) {
        let nth = self.calls[&call];
        let answer = effects.iter().filter_map(answer_of).find(|(id, _)| *id == call);
        let answer = answer.map(|(_, answer)| outcome(answer));
        let makes = effects.iter().any(|effect| matches!(effect, Effect::Record(_) | Effect::Append(_)));
        let op = &self.ops[nth];
        let (command, epoch) = (Arc::clone(&op.command), self.epoch);
        if op.id.issued_at <= at.minus(OUTCOME_KEPT) {
            // However late it comes, and whatever has become of it.
            assert_eq!((answer, makes), (Some(Err(CommandError::Expired { op: op.id })), false), "{command:?}");
            seen.expired += 1;
            return self.note(effects);
        }
        let refused_here = op.refused.as_ref().filter(|(by, _)| *by == epoch).map(|(_, error)| error.clone());
        match (answer, op.recorded, refused_here) {
            (answer, Some((_, first)), _) => {
                assert_eq!((answer, makes), (Some(Ok(first)), false), "{command:?} was done before");
                match op.acknowledged {
                    _ if !command.is_durable() => seen.retries_of_messages += 1,
                    Some(_) => seen.retries_of_answered += 1,
                    None => seen.retries_of_unanswered += 1,
                }
            }
            (answer, None, Some(refusal)) => assert_eq!((answer, makes), (Some(Err(refusal)), false), "{command:?}"),
            (None, None, None) => {
                let joins = op.under_way;
                assert!(joins || is_spread(&command) && self.live.accepts(&command), "{command:?} is not answered");
                self.ops[nth].under_way = true;
            }
            (Some(Ok(outcome)), None, None) => {
                let change = Change::Command { at, command: Arc::clone(&command) };
                assert!(self.live.apply(self.everyone(), &change), "{command:?} should be refused");
                assert!(!is_spread(&command), "{command:?} is answered at once");
                self.open().changes.push(change);
                let number = effects.iter().filter_map(record_of).map(|record| record.number).max();
                assert_eq!(number.is_some(), command.is_durable(), "{command:?}");
                self.ops[nth].recorded = Some((number.unwrap_or(self.records.len() as u64), outcome));
            }
            (Some(Err(refusal)), None, None) => {
                let accepted = match is_spread(&command) {
                    true => self.live.accepts(&command),
                    false => {
                        self.live.clone().apply(self.everyone(), &Change::Command { at, command: Arc::clone(&command) })
                    }
                };
                assert!(!accepted && !makes, "{command:?} should not be refused: {refusal}");
                self.ops[nth].refused = Some((epoch, refusal));
                seen.refused += 1;
            }
        }
        self.note(effects);
    }

    /// The effects of a batch of an import or a prune.
    pub(crate) fn note_batch(&mut self, at: Millis, effects: &[Effect], seen: &mut Seen) {
        for record in effects.iter().filter_map(record_of) {
            let nth = self.ops.iter().position(|op| op.id == record.op.id).expect("what is recorded was asked");
            let command = Arc::clone(&self.ops[nth].command);
            let change = record.event.as_ref().map(|event| {
                if let EventKind::MembersJoined { members } = &event.kind {
                    Change::Added { nth, members: members.clone() }
                } else if let EventKind::MembersLeft { users } = &event.kind {
                    Change::Removed { nth, users: users.clone() }
                } else {
                    panic!("{event:?} of a batch");
                }
            });
            if let Some(change) = change {
                assert!(self.live.may_be_batch(&command, at, &change), "{change:?} of {command:?}");
                assert!(self.live.apply(self.everyone(), &change), "{change:?} of {command:?}");
                self.open().changes.push(change);
            }
            let so_far = self.live.spread.get(&nth).copied().unwrap_or(0);
            let told = match record.op.outcome {
                Outcome::MembersImported { added, .. } => added,
                Outcome::MembersPruned { removed, .. } => removed,
                Outcome::Applied { .. } => panic!("{record:?}"),
            };
            assert_eq!(told, so_far, "{command:?} counts what it has done, over every crash");
            if record.op.stage == Stage::Finished {
                let op = &mut self.ops[nth];
                op.recorded = Some((record.number, record.op.outcome));
                op.under_way = false;
                seen.spread_finished += 1;
                seen.spread_resumed += u64::from(op.interrupted);
            }
        }
        self.note(effects);
    }

    /// All that leaves with the turn.
    pub(crate) fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Record(record) => {
                    self.records.push(record.clone());
                    assert_eq!(record.number, self.records.len() as u64, "records are numbered");
                }
                Effect::Append(event) => self.open().events.push(Arc::clone(event)),
                Effect::Answer(call, answer) => {
                    let nth = self.calls[call];
                    if self.live.community().is_none() && matches!(answer, Err(CommandError::UnknownGuild)) {
                        // The guild was deleted under it.
                        self.ops[nth].under_way = false;
                    }
                    self.open().answers.push((*call, answer.clone()));
                }
                Effect::Fold(_) | Effect::Scan(_) | Effect::Discard(_) | Effect::Tell(_) | Effect::Checkpoint(_) => {}
            }
        }
    }

    fn open(&mut self) -> &mut Turn {
        self.turns.back_mut().expect("there is always one that is not admitted yet")
    }

    /// The turn ends; returns the number of its last record, or of the last before.
    pub(crate) fn end_turn(&mut self, position: Position) -> u64 {
        let records = self.records.len() as u64;
        let turn = self.open();
        (turn.position, turn.records) = (position, records);
        self.turns.push_back(Turn::default());
        records
    }

    /// The store has told that records are stored up to here.
    pub(crate) fn stored(&mut self, records: u64) {
        self.stored_records = self.stored_records.max(records);
    }

    /// The store has told that a checkpoint is stored.
    pub(crate) fn checkpointed(&mut self, records: u64, position: Position) {
        self.checkpointed = self.checkpointed.max((records, position));
    }

    /// The gate lets the next turn out.
    pub(crate) fn released(&mut self, outcomes: &Outcomes, seen: &mut Seen) {
        let turn = self.turns.pop_front().expect("what leaves was admitted");
        assert!(!self.turns.is_empty(), "what leaves was admitted");
        assert!(turn.records <= self.stored_records, "a turn leaves before its records are stored");
        assert_eq!(outcomes.answers, turn.answers);
        assert_eq!(outcomes.events, turn.events);
        for event in &outcomes.events {
            assert!(event.position > self.shown, "{:?} after {:?}", event.position, self.shown);
            self.shown = event.position;
        }
        for change in &turn.changes {
            assert!(self.certain.apply(RoleId::everyone(self.id), change));
        }
        self.certain_records = turn.records;
        if let Some(view) = &outcomes.view {
            assert_eq!(view.position(), turn.position);
        }
        compare(outcomes.view.as_ref(), &self.certain);
        seen.views += u64::from(outcomes.view.is_some());
        seen.events += outcomes.events.len() as u64;
        for (call, answer) in &outcomes.answers {
            let op = &mut self.ops[self.calls[call]];
            if let Ok(outcome) = outcome(answer) {
                if op.command.is_durable() {
                    seen.acknowledged += u64::from(op.acknowledged.is_none());
                    op.acknowledged = Some(outcome);
                } else {
                    seen.messages += 1;
                }
            }
        }
    }

    /// Takes the guild over from what the store has of it. Up to the record `handed` everything must be there, and no more, if the
    /// process goes on; `None` after its end, when that is for the disk to say.
    pub(crate) fn take_over(
        &mut self,
        claim: Claim,
        handed: Option<u64>,
        config: &GuildConfig,
        seen: &mut Seen,
    ) -> Guild {
        assert!(claim.epoch > self.epoch, "{:?} after {:?}", claim.epoch, self.epoch);
        self.epoch = claim.epoch;
        let covered = claim.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.structure.records);
        seen.recovered_from_checkpoints += u64::from(covered > 0);
        let found = covered + claim.tail.len() as u64;
        assert!(covered >= self.checkpointed.0, "a checkpoint that was stored is gone");
        assert!(
            found >= self.certain_records,
            "{found} of {} records that somebody has seen are there",
            self.certain_records
        );
        assert!(found >= self.stored_records, "{found} of {} records that were stored are there", self.stored_records);
        let range = usize::try_from(covered).unwrap()..usize::try_from(found).unwrap();
        assert_eq!(Some(&claim.tail[..]), self.records.get(range), "the tail is not what was handed over");
        if let Some(handed) = handed {
            assert_eq!(found, handed, "a claim is behind all that was handed over before it");
        }
        let mut end = self.certain_records;
        let mut live = self.certain.clone();
        for turn in self.turns.drain(..).filter(|turn| turn.records > 0 && turn.records <= found) {
            for change in &turn.changes {
                assert!(live.apply(RoleId::everyone(self.id), change));
            }
            end = turn.records;
        }
        assert_eq!(end, found, "a turn is there in part");
        self.turns.push_back(Turn::default());
        self.certain = live.clone();
        self.live = live;
        self.certain_records = found;
        self.stored_records = found;
        self.records.truncate(usize::try_from(found).unwrap());

        let is_crash = handed.is_none();
        for op in self.ops.iter_mut().filter(|op| !op.command.is_durable()) {
            // What it came to lies in no record, but in the checkpoint with which its guild fell asleep.
            op.recorded = op.recorded.filter(|_| self.slept.is_some());
        }
        for op in self.ops.iter_mut().filter(|op| op.command.is_durable()) {
            op.interrupted |= op.under_way;
            op.under_way = false;
            match op.recorded {
                Some((number, _)) if number > found => {
                    assert_eq!(op.acknowledged, None, "{:?} was answered and is gone", op.command);
                    op.recorded = None;
                    seen.operations_cut += u64::from(is_crash);
                }
                Some(_) if op.acknowledged.is_none() => seen.found_untold += u64::from(is_crash),
                Some(_) | None => {}
            }
        }
        self.restore(claim, config, seen)
    }

    fn restore(&mut self, claim: Claim, config: &GuildConfig, seen: &mut Seen) -> Guild {
        let mut guild = match claim.checkpoint {
            Some(checkpoint) => Guild::restore(config.clone(), self.id, checkpoint.structure, checkpoint.base),
            None => Guild::new(config.clone(), self.id, Epoch(0)),
        };
        for record in &claim.tail {
            guild.replay(record).expect("what was stored is a history");
        }
        let last = self.records.last().map_or(Position::default(), |record| record.position);
        let at = guild.position();
        assert!(at >= last && at >= self.checkpointed.1, "{at} before {last} or {:?}", self.checkpointed);
        if let Some(slept) = self.slept.take() {
            assert_eq!(at.seq, slept.seq, "a guild wakes where it fell asleep");
            seen.woke += 1;
        }
        guild.open(claim.epoch);
        compare(guild.view().as_ref(), &self.live);
        guild
    }
}

fn record_of(effect: &Effect) -> Option<&Record> {
    if let Effect::Record(record) = effect { Some(record) } else { None }
}

fn answer_of(effect: &Effect) -> Option<(CallId, &Answer)> {
    if let Effect::Answer(call, answer) = effect { Some((*call, answer)) } else { None }
}

fn outcome(answer: &Answer) -> Result<Outcome, CommandError> {
    match answer {
        Ok(Reply::Outcome(outcome)) => Ok(*outcome),
        Ok(Reply::Attached(_) | Reply::Accepted(_)) => panic!("{answer:?} to a command"),
        Err(refusal) => Err(refusal.clone()),
    }
}

/// The operations of a guild come from so many clients.
const CLIENTS: u64 = 4;
/// Operations that are asked for again when a guild is taken over.
const RETRIES_MAX: usize = 12;
