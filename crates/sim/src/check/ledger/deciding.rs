//! Each call decided again: what an owner made of it must be what the naive guild makes of it at that place.

use std::collections::BTreeSet;
use std::sync::Arc;

use guildhall_guild::{Answer, CallId, Reply};
use guildhall_proto::limits::{CLIENT_OUTCOMES_MAX, ISSUE_AHEAD_MAX, LONG_OPERATIONS_MAX, OUTCOME_KEPT};
use guildhall_proto::{
    Actor, Command, CommandError, Epoch, Event, EventKind, GuildId, Limited, Millis, OpId, Outcome, Position, RoleId,
    Stage, UserId,
};

use super::register::Asking;
use super::spread::Batch;
use super::{Applied, Book, Breach, By, Ledger, Made, Op, Promise, outcome};
use crate::check::Annals;
use crate::model::{Life, Verdict};
use crate::seen::Seen;

/// A call and what came of it.
struct Asked<'a> {
    guild: GuildId,
    epoch: Epoch,
    op: OpId,
    actor: Actor,
    command: &'a Arc<Command>,
    made: &'a Made,
    /// The call, if its answer is waited for.
    call: Option<CallId>,
    answer: Option<Result<Outcome, &'a CommandError>>,
}

impl Asked<'_> {
    #[track_caller]
    fn wrong(&self, promise: Promise, what: &str) -> Breach {
        let Self { guild, epoch, op, actor, command, made, answer, .. } = self;
        let events: Vec<(Position, &EventKind)> =
            made.events.iter().map(|event| (event.position, &event.kind)).collect();
        promise.breach(format!(
            "guild {guild}, epoch {}: {what}: {op:?} {command:?} by {actor:?} came to {answer:?} and made {events:?}",
            epoch.0
        ))
    }

    #[track_caller]
    fn require(&self, promise: Promise, holds: bool, what: &str) -> Result<(), Breach> {
        if holds { Ok(()) } else { Err(self.wrong(promise, what)) }
    }
}

impl Ledger {
    /// What an owner made becomes history. `whole` unless it is found by a later owner: then of messages nothing is left.
    pub(super) fn carry(
        &mut self,
        guild: GuildId,
        epoch: Epoch,
        made: &Made,
        whole: bool,
        seen: &mut Seen,
    ) -> Result<(), Breach> {
        match &made.by {
            By::Call { id, op, actor, command } => {
                let own = made.answers.iter().find(|(call, _)| call == id);
                let answer = own.and_then(|(_, answer)| outcome(answer));
                let (op, actor, call) = (*op, *actor, Some(*id).filter(|_| whole));
                let asked = Asked { guild, epoch, op, actor, command, made, call, answer };
                self.decide_again(&asked, whole, seen)?;
                self.append(guild, made, whole)?;
                self.are_given_up(guild, made, *id, whole)
            }
            By::Batch => {
                self.check_batch(guild, made, whole, seen)?;
                self.append(guild, made, whole)
            }
            By::Session { id, session, request } => {
                nothing_changes(guild, made)?;
                let answer = own_answer(guild, made, *id)?;
                let (life, at, now) = self.place(guild, epoch, made);
                let asking = Asking { guild, session: *session, request: *request, life: &life, at, now, answer };
                self.books.entry(guild).or_default().register.decide(&asking)
            }
            By::Typing { id, user, channel } => {
                nothing_changes(guild, made)?;
                let answer = own_answer(guild, made, *id)?;
                let (life, at, _) = self.place(guild, epoch, made);
                let may_type = life.community().is_some_and(|community| community.may_say(*user, *channel));
                let is_right = if may_type { *answer == Ok(Reply::Accepted(at)) } else { answer.is_err() };
                Promise::Rights.require(is_right, || {
                    format!("guild {guild} at {at}: {user:?} types in {channel:?} and is told {answer:?}")
                })
            }
            By::Job => nothing_changes(guild, made),
        }
    }

    /// The guild where something was made, that place, and the owner's clock.
    fn place(&mut self, guild: GuildId, epoch: Epoch, made: &Made) -> (Life, Position, Millis) {
        let annals = self.chronicle.annals(guild);
        (annals.latest().clone(), annals.stands(epoch), made.now)
    }

    fn append(&mut self, guild: GuildId, made: &Made, whole: bool) -> Result<(), Breach> {
        let annals = self.chronicle.annals(guild);
        for event in made.events.iter().filter(|event| whole || event.is_durable()) {
            follows(annals, event, whole)?;
            annals.append(Arc::clone(event));
            self.books.entry(guild).or_default().register.note(&event.kind);
        }
        Ok(())
    }

    /// Calls that waited for a whole-guild change are answered with the deletion of the guild.
    fn are_given_up(&mut self, guild: GuildId, made: &Made, own: CallId, whole: bool) -> Result<(), Breach> {
        let is_deleted = self.chronicle.find(guild).is_some_and(|annals| annals.latest().is_deleted());
        let others: Vec<&(CallId, Answer)> = made.answers.iter().filter(|(call, _)| *call != own).collect();
        let all = others.iter().all(|(_, answer)| is_deleted && *answer == Err(CommandError::UnknownGuild));
        Promise::Durable.require(all, || format!("guild {guild}: a call is answered by another's turn"))?;
        let ends_it = made.events.iter().any(|event| matches!(event.kind, EventKind::GuildDeleted));
        if ends_it && whole {
            let book = self.books.entry(guild).or_default();
            let waiting = book.ops.values_mut().flat_map(|op| op.spread.give_up());
            let answered: BTreeSet<CallId> = others.iter().map(|(call, _)| *call).collect();
            let waiting: BTreeSet<CallId> = waiting.collect();
            Promise::Liveness.require(waiting == answered, || {
                format!("guild {guild}: {waiting:?} waited when it was deleted, and {answered:?} were answered")
            })?;
        }
        Ok(())
    }

    fn decide_again(&mut self, asked: &Asked<'_>, whole: bool, seen: &mut Seen) -> Result<(), Breach> {
        let life = self.chronicle.annals(asked.guild).latest().clone();
        let at = self.chronicle.annals(asked.guild).stands(asked.epoch);
        let book = self.books.entry(asked.guild).or_default();
        let Asked { op: id, command, made, answer, .. } = *asked;
        let makes_nothing = made.events.is_empty() && made.records.is_empty();
        if book.is_turned_away(asked)? {
            asked.require(Promise::Durable, makes_nothing, "what was turned away has changed something")?;
            seen.expired += u64::from(matches!(answer, Some(Err(CommandError::Expired { .. }))));
            seen.refused_for_room += u64::from(matches!(answer, Some(Err(CommandError::StoreFull))));
            return Ok(());
        }
        let fresh = || Op::new(asked.actor, command);
        let op = book.ops.entry(id).or_insert_with(fresh);
        let is_same = op.command == *command && op.actor == asked.actor;
        if !is_same && op.applied.is_none() {
            // Whatever was asked under this id before has left no trace.
            *op = fresh();
        }
        if let Some(applied) = op.applied {
            asked.require(Promise::Durable, is_same, "an id was taken for another body")?;
            asked.require(Promise::Durable, makes_nothing, "an operation is applied twice")?;
            asked.require(Promise::Durable, answer == Some(Ok(applied.outcome)), "a retry is answered otherwise")?;
            seen.retries += 1;
            return Ok(());
        }
        if let Some((by, refusal)) = op.refused.as_ref().filter(|(by, _)| *by == asked.epoch) {
            let same = answer == Some(Err(refusal)) && makes_nothing;
            debug_assert_eq!(*by, asked.epoch);
            return asked.require(Promise::Durable, same, "a refusal is answered otherwise");
        }
        // With its guild it was given up.
        op.under_way &= life.community().is_some();
        if op.under_way {
            let joins = answer.is_none() || is_over_capacity(answer);
            op.spread.waits(asked.call.filter(|_| answer.is_none()));
            return asked.require(Promise::Durable, joins && makes_nothing, "an operation is begun twice");
        }
        let has_room = made.has_room || !command.is_durable();
        asked.require(Promise::Bounds, has_room, "the store has no room for it")?;
        let verdict = if book.register.may_publish(asked.actor, command) {
            life.decide(made.now, asked.actor, command, RoleId::everyone(asked.guild))
        } else {
            Verdict::Refused
        };
        match (verdict, answer) {
            (Verdict::Refused | Verdict::Perhaps(_), Some(Err(refusal))) => {
                asked.require(Promise::Durable, makes_nothing, "a refused command has changed something")?;
                op.refused = Some((asked.epoch, refusal.clone())).filter(|_| !op.spread.has_begun());
                seen.refused += 1;
                Ok(())
            }
            (Verdict::Refused, None) => Err(asked.wrong(Promise::Liveness, "it is not answered")),
            (Verdict::Refused, _) => Err(asked.wrong(Promise::Durable, "it should be refused")),
            (Verdict::Makes(kinds) | Verdict::Perhaps(kinds), Some(Ok(outcome))) => {
                let same = made.events.iter().map(|event| &event.kind).eq(&kinds);
                asked.require(Promise::Durable, same, &format!("it should make {kinds:?}"))?;
                // Behind messages that nobody was told of, where nothing was to be changed.
                let at = if whole { at } else { outcome.at() };
                let at = made.events.last().map_or(at, |event| event.position);
                asked.require(Promise::Durable, outcome == Outcome::Applied { at }, "its outcome is wrong")?;
                let number = made.records.last().map(|record| record.number);
                asked.require(Promise::Durable, number.is_some() == command.is_durable(), "it is not recorded")?;
                op.applied = Some(Applied { number, outcome });
                op.event = made.events.last().cloned();
                seen.applied += 1;
                Ok(())
            }
            (Verdict::Makes(_) | Verdict::Perhaps(_), None) => {
                Err(asked.wrong(Promise::Liveness, "it is not answered"))
            }
            (Verdict::Makes(_), Some(Err(_))) if is_over_capacity(answer) => Ok(()),
            (Verdict::Makes(_), Some(Err(_))) => Err(asked.wrong(Promise::Durable, "it should not be refused")),
            (Verdict::Later, None) => {
                op.under_way = true;
                op.spread.begins(at, book.register.endings());
                op.spread.waits(asked.call);
                let under_way = book.ops.values().filter(|op| op.under_way).count();
                let is_bounded = under_way <= LONG_OPERATIONS_MAX || !whole;
                asked.require(Promise::Bounds, is_bounded, "one more than may be is under way")
            }
            (Verdict::Later, Some(Err(_))) if is_over_capacity(answer) => Ok(()),
            (Verdict::Later, Some(_)) => Err(asked.wrong(Promise::Durable, "it should be carried out by and by")),
        }
    }

    /// A batch of a whole-guild change.
    fn check_batch(&mut self, guild: GuildId, made: &Made, whole: bool, seen: &mut Seen) -> Result<(), Breach> {
        let wrong = |what: &str| Promise::Durable.breach(format!("guild {guild}: {what}: {:?}", made.records));
        let annals = self.chronicle.annals(guild);
        let Book { ops, register, .. } = self.books.entry(guild).or_default();
        let Some(record) = made.records.first() else {
            let empty = made.events.is_empty() && made.answers.is_empty();
            return if empty { Ok(()) } else { Err(wrong("a batch is not recorded")) };
        };
        let op = ops.get_mut(&record.op.id).ok_or_else(|| wrong("nobody asked for a batch"))?;
        if op.applied.is_some() || made.records.len() > 1 || made.events.len() > 1 {
            return Err(wrong("a batch of what is finished, or two at once"));
        }
        let batch = Batch { actor: op.actor, command: &op.command, record, event: made.events.first(), now: made.now };
        let since = op.spread.endings();
        let may_stay = |user| register.was_there(user, since);
        let may_stay: &dyn Fn(UserId) -> bool = &may_stay;
        // Of an owner that nobody was told of it is not known which sessions it had.
        op.spread.takes(&batch, annals, Some(may_stay).filter(|_| whole)).map_err(|what| wrong(&what))?;
        if record.op.stage == Stage::Finished {
            op.applied = Some(Applied { number: Some(record.number), outcome: record.op.outcome });
            op.under_way = false;
            seen.spread_finished += 1;
            let told = made.answers.iter().all(|(_, answer)| outcome(answer) == Some(Ok(record.op.outcome)));
            if !told {
                return Err(wrong("who waited is answered otherwise"));
            }
            let (answered, waited) = (made.answers.iter().map(|(call, _)| *call).collect(), op.spread.give_up());
            Promise::Liveness.require(!whole || waited == answered, || {
                format!("guild {guild}: {waited:?} waited for {:?}, and {answered:?} were answered", record.op.id)
            })?;
            op.acknowledged |= !made.answers.is_empty();
        }
        Ok(())
    }
}

impl Book {
    /// Whether a call was turned away for a reason that has nothing to do with the guild, and rightly.
    fn is_turned_away(&mut self, asked: &Asked<'_>) -> Result<bool, Breach> {
        let Asked { op, made, answer, command, .. } = *asked;
        let newer = self.counters.entry(op.client).or_default();
        let newer_than_it = newer.len() - newer.partition_point(|counter| *counter <= op.counter);
        if let Err(at) = newer.binary_search(&op.counter) {
            newer.insert(at, op.counter);
        }
        let is_late = op.issued_at <= made.now.minus(OUTCOME_KEPT) || op.counter == 0;
        let is_ahead = op.issued_at > made.now.plus(ISSUE_AHEAD_MAX);
        let Some(Err(refusal)) = answer else {
            asked.require(Promise::Durable, !is_late && !is_ahead, "it should be turned away")?;
            return Ok(false);
        };
        let (is_right, what) = if matches!(refusal, CommandError::Expired { .. }) {
            (is_late || newer_than_it >= CLIENT_OUTCOMES_MAX, "it has not expired")
        } else if matches!(refusal, CommandError::IssuedAhead { .. }) {
            (is_ahead, "it was not issued ahead")
        } else if matches!(refusal, CommandError::OpReused { .. }) {
            let other = |known: &Op| known.command != *command || known.actor != asked.actor;
            let first = OpId { issued_at: Millis(0), ..op };
            let last = OpId { issued_at: Millis(u64::MAX), ..op };
            let is_other = |(id, known): (&OpId, &Op)| *id != op || other(known);
            (self.ops.range(first..=last).any(is_other), "its id was not used for another body")
        } else if matches!(refusal, CommandError::StoreFull) {
            (!made.has_room && command.is_durable(), "there was room for it")
        } else {
            asked.require(Promise::Durable, !is_late && !is_ahead, "it should be turned away")?;
            return Ok(false);
        };
        asked.require(Promise::Durable, is_right, what)?;
        Ok(true)
    }
}

/// What is not a command changes nothing that lasts.
fn nothing_changes(guild: GuildId, made: &Made) -> Result<(), Breach> {
    Promise::Durable.require(made.events.is_empty() && made.records.is_empty(), || {
        format!("guild {guild}: no command asked for {:?}", made.events)
    })
}

/// The one answer to a request that is answered at once.
fn own_answer(guild: GuildId, made: &Made, id: CallId) -> Result<&Answer, Breach> {
    match &made.answers[..] {
        [(call, answer)] if *call == id => Ok(answer),
        answers => Err(Promise::Liveness.breach(format!("guild {guild}: {:?} is answered by {answers:?}", made.by))),
    }
}

/// Whether a call was refused for want of room among what an owner holds in memory: the ledger does not count that.
fn is_over_capacity(answer: Option<Result<Outcome, &CommandError>>) -> bool {
    let Some(Err(CommandError::LimitExceeded { what, .. })) = answer else { return false };
    matches!(what, Limited::LongOperations | Limited::LongOperationsBytes | Limited::OperationCalls | Limited::Clients)
}

/// An event must come next in its epoch; over a recovery, later.
fn follows(annals: &Annals, event: &Event, whole: bool) -> Result<(), Breach> {
    let (last, at) = (annals.position(), event.position);
    let next = if whole && at.epoch == last.epoch {
        at == last.next()
    } else {
        let begun = annals.opening(at.epoch).map_or(last.seq, |opening| opening.after.seq.max(last.seq));
        at > last && (if whole { at.seq == begun.next() } else { at.seq > last.seq })
    };
    let promise = Promise::Names;
    promise.require(next, || format!("guild {}: {at} follows {last}: {:?}", annals.guild(), event.kind))
}
