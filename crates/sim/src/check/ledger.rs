//! The ledger: every call with its answer, every event and every recovery, held against the naive guild (promises 1, 2, 3 and 9).
//!
//! It is told what an owner made of each call ([`Made`]) as soon as the turn is handed to the gate, and believes nothing of it before the
//! turn is let out or found in the store. From then on it is history: the naive guild decides each call again at the place where it was
//! decided, and must come to the same. Every step costs what it tells of, whatever came before.
//!
//! Invariants:
//! - `pending` holds, by epoch, the turns that are neither let out nor found; those of an owner that was shut out stay as they are;
//! - `certain` is the highest record number that anyone outside can know of: let out, or acknowledged.

mod deciding;
mod recovery;
mod register;
mod spread;
mod told;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use guildhall_guild::{Answer, CallId, Outcomes, Reply, SessionRequest};
use guildhall_members::View;
use guildhall_proto::{
    Actor, ChannelId, ClientId, Command, CommandError, Epoch, Event, Grant, GuildId, Millis, OpId, Outcome, Position,
    Record, SessionId, UserId,
};

use super::{Breach, Chronicle, Promise};
use crate::seen::Seen;

pub(crate) use recovery::Recovered;
use register::Register;
use spread::Spread;
use told::Callers;
pub(crate) use told::Told;

/// What is known of all guilds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) chronicle: Chronicle,
    books: BTreeMap<GuildId, Book>,
}

/// What is known of one guild beside its history.
#[derive(Debug, Default)]
struct Book {
    /// Of the latest owner.
    epoch: Epoch,
    grant: Grant,
    /// The grant by which it was claimed last, and by which node.
    claimed: Option<(Grant, usize)>,
    pending: BTreeMap<Epoch, VecDeque<Turn>>,
    /// All that were made in the line of the present history, by number.
    records: BTreeMap<u64, Record>,
    certain: u64,
    ops: BTreeMap<OpId, Op>,
    /// What callers know of their commands.
    callers: Callers,
    /// The latest counters that each client used here.
    counters: BTreeMap<ClientId, Vec<u64>>,
    /// Of the latest owner.
    register: Register,
    /// Whether the latest owner fell asleep, and so lost nothing.
    fell_asleep: bool,
}

/// What is known of an operation.
#[derive(Debug)]
struct Op {
    actor: Actor,
    command: Arc<Command>,
    applied: Option<Applied>,
    /// The last event that it made at once.
    event: Option<Arc<Event>>,
    acknowledged: bool,
    refused: Option<(Epoch, CommandError)>,
    /// Its owner carries it out by and by.
    under_way: bool,
    /// How far it is, if it is carried out by and by.
    spread: Spread,
}

impl Op {
    fn new(actor: Actor, command: &Arc<Command>) -> Self {
        Self {
            actor,
            command: Arc::clone(command),
            applied: None,
            event: None,
            acknowledged: false,
            refused: None,
            under_way: false,
            spread: Spread::default(),
        }
    }
}

/// That an operation was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Applied {
    /// The number of its last record; `None` of a message.
    number: Option<u64>,
    outcome: Outcome,
}

/// What an owner did in one turn, in order.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    made: Vec<Made>,
    /// Whether a later owner found it in the store.
    found: bool,
}

/// What came of one thing that an owner was told, or of one batch.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) by: By,
    /// The owner's clock.
    pub(crate) now: Millis,
    /// Whether the store had room, as the owner was told.
    pub(crate) has_room: bool,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) records: Vec<Record>,
    pub(crate) answers: Vec<(CallId, Answer)>,
}

/// What an owner was told.
#[derive(Debug)]
pub(crate) enum By {
    /// A command.
    Call { id: CallId, op: OpId, actor: Actor, command: Arc<Command> },
    /// Something about a session.
    Session { id: CallId, session: SessionId, request: SessionRequest },
    /// That somebody types.
    Typing { id: CallId, user: UserId, channel: ChannelId },
    /// To carry on with what is spread over turns.
    Batch,
    /// That a job is done.
    Job,
}

impl Turn {
    pub(crate) fn of(made: Vec<Made>) -> Self {
        Self { made, found: false }
    }

    /// The number of its last record, if it has any.
    fn last_record(&self) -> Option<u64> {
        self.made.iter().rev().find_map(|made| made.records.last()).map(|record| record.number)
    }

    fn first_record(&self) -> Option<u64> {
        self.made.iter().find_map(|made| made.records.first()).map(|record| record.number)
    }
}

impl Ledger {
    /// An owner hands a turn to its gate.
    pub(crate) fn admitted(&mut self, guild: GuildId, epoch: Epoch, turn: Turn) {
        let book = self.books.entry(guild).or_default();
        if epoch == book.epoch {
            for record in turn.made.iter().flat_map(|made| &made.records) {
                book.records.insert(record.number, record.clone());
            }
        }
        book.pending.entry(epoch).or_default().push_back(turn);
    }

    /// A gate lets a turn out. Returns the events that are history from now on.
    pub(crate) fn released(
        &mut self,
        guild: GuildId,
        epoch: Epoch,
        outcomes: &Outcomes,
        seen: &mut Seen,
    ) -> Result<Vec<Arc<Event>>, Breach> {
        let book = self.books.entry(guild).or_default();
        let turn = book.pending.get_mut(&epoch).and_then(VecDeque::pop_front);
        let turn = turn.ok_or_else(|| Promise::Durable.breach("a gate lets out a turn that was never handed to it"))?;
        same_as_made(&turn, outcomes)?;
        let is_present = epoch == book.epoch;
        for event in &outcomes.events {
            self.name(guild, event)?;
        }
        if is_present {
            for made in &turn.made {
                self.carry(guild, epoch, made, true, seen)?;
            }
        } else {
            self.released_late(guild, &turn, outcomes)?;
            seen.late_turns += 1;
        }
        let book = self.books.entry(guild).or_default();
        book.certain = book.certain.max(turn.last_record().unwrap_or(0));
        for made in &turn.made {
            if let By::Call { op, .. } = &made.by
                && made.answers.iter().any(|(_, answer)| answer.is_ok())
                && let Some(op) = book.ops.get_mut(op)
            {
                op.acknowledged = true;
                seen.acknowledged += u64::from(op.command.is_durable());
            }
        }
        for made in &turn.made {
            book.callers.let_out(guild, made)?;
        }
        if let Some(view) = &outcomes.view {
            let (annals, register) = (self.chronicle.annals(guild), &book.register);
            views::position_is(view, guild, &turn, annals, register, is_present)?;
            seen.views += 1;
        }
        seen.events += outcomes.events.len() as u64;
        Ok(if is_present { outcomes.events.clone() } else { Vec::new() })
    }

    /// An owner that was shut out lets out what it still can: messages, refusals, and what was stored before that.
    fn released_late(&mut self, guild: GuildId, turn: &Turn, outcomes: &Outcomes) -> Result<(), Breach> {
        let annals = self.chronicle.annals(guild);
        for event in outcomes.events.iter().filter(|event| event.is_durable()) {
            let stored = annals.between(before(event.position), event.position);
            Promise::OneOwner.require(stored.len() == 1, || {
                format!("guild {guild}: {} was let out, and is not in what its later owner found", event.position)
            })?;
        }
        let has_records = turn.last_record().is_some();
        Promise::OneOwner.require(!has_records || turn.found, || {
            format!("guild {guild}: an owner that was shut out acknowledges records that its successor has not found")
        })
    }

    fn name(&mut self, guild: GuildId, event: &Arc<Event>) -> Result<(), Breach> {
        let annals = self.chronicle.annals(guild);
        match annals.name(event) {
            Some(named) if **named != **event => {
                let what = format!("guild {guild}: {} names {:?} and {:?}", event.position, named.kind, event.kind);
                Err(Promise::Names.breach(what))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// An owner has fallen asleep: all that it let out it has saved.
    pub(crate) fn fell_asleep(&mut self, guild: GuildId, epoch: Epoch) {
        let book = self.books.entry(guild).or_default();
        book.fell_asleep = book.epoch == epoch;
    }

    /// A read was answered with a view.
    pub(crate) fn read(
        &mut self,
        guild: GuildId,
        view: &View,
        at_least: Position,
        user: UserId,
        seen: &mut Seen,
    ) -> Result<(), Breach> {
        seen.reads += 1;
        let at = view.position();
        Promise::Reads
            .require(at >= at_least, || format!("guild {guild}: a read asks for {at_least} and gets {at}"))?;
        let life = self.chronicle.annals(guild).as_of(at);
        let expected =
            life.community().and_then(|community| community.members.get(&user)).map(|member| (**member).clone());
        let got = view.member(user);
        Promise::Reads.require(got == expected, || {
            format!("guild {guild} at {at}: {user} is {got:?}, and should be {expected:?}")
        })
    }

    /// Holds a whole view against the guild as of its position. O(guild).
    pub(crate) fn compare(&mut self, guild: GuildId, view: Option<&View>) -> Result<(), Breach> {
        let register = &self.books.entry(guild).or_default().register;
        views::compare(guild, view, self.chronicle.annals(guild), register)
    }

    /// Whether an owner is the latest.
    pub(crate) fn is_latest(&self, guild: GuildId, epoch: Epoch) -> bool {
        self.books.get(&guild).is_some_and(|book| book.epoch == epoch)
    }
}

/// What leaves a gate must be what was handed to it, in order.
fn same_as_made(turn: &Turn, outcomes: &Outcomes) -> Result<(), Breach> {
    let events = turn.made.iter().flat_map(|made| &made.events);
    Promise::Durable.require(outcomes.events.iter().eq(events), || "a gate changes the events of a turn".to_owned())?;
    let answers = turn.made.iter().flat_map(|made| &made.answers);
    Promise::Durable.require(outcomes.answers.iter().eq(answers), || "a gate changes the answers of a turn".to_owned())
}

/// A position behind which, up to this one, lies one event.
fn before(at: Position) -> Position {
    Position { seq: guildhall_proto::Seq(at.seq.0.saturating_sub(1)), ..at }
}

/// What a command came to, if this is the answer to one.
fn outcome(answer: &Answer) -> Option<Result<Outcome, &CommandError>> {
    match answer {
        Ok(Reply::Outcome(outcome)) => Some(Ok(*outcome)),
        Ok(Reply::Attached(_) | Reply::Accepted(_)) => None,
        Err(refusal) => Some(Err(refusal)),
    }
}
