//! Those who send commands: operation ids, deadlines, retries, and reads of what they wrote.
//!
//! A durable command is sent again until it is answered, under its id. A message whose outcome is unknown is not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use guildhall_guild::{Answer, Reply};
use guildhall_proto::limits::CLIENT_OUTCOMES_MAX;
use guildhall_proto::{Actor, ClientId, Command, GuildId, Millis, OpId, Position, UserId};

use super::World;
use super::message::{Body, Happening, NoAnswer};
use super::wire::{Host, Lane};
use crate::queue::Micros;
use crate::workload::CallAs;

#[derive(Debug, Default)]
pub(crate) struct Callers {
    calls: BTreeMap<u64, Call>,
    last: u64,
    counters: BTreeMap<ClientId, u64>,
    /// Of each guild the latest durable operations, the newest first.
    latest: BTreeMap<GuildId, VecDeque<(OpId, Actor, Arc<Command>)>>,
    /// The position of each guild's latest answer.
    answered: BTreeMap<GuildId, Position>,
    /// By guild, calls that are not answered.
    pub(crate) open: BTreeMap<GuildId, usize>,
}

#[derive(Debug)]
struct Call {
    guild: GuildId,
    attempt: u32,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Command { op: OpId, actor: Actor, command: Arc<Command> },
    Read { user: UserId, at_least: Position },
}

impl What {
    fn may_be_repeated(&self) -> bool {
        match self {
            Self::Command { command, .. } => command.is_durable(),
            Self::Read { .. } => true,
        }
    }
}

impl Callers {
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.is_empty()
    }

    /// What waits for an answer, for whoever has to say so.
    pub(crate) fn waiting(&self) -> String {
        let first = self.calls.iter().next();
        format!("{} calls are not answered, the first: {first:?}", self.calls.len())
    }

    fn begin(&mut self, guild: GuildId, what: What) -> u64 {
        self.last += 1;
        *self.open.entry(guild).or_default() += 1;
        self.calls.insert(self.last, Call { guild, attempt: 0, what });
        self.last
    }

    fn end(&mut self, call: u64) {
        if let Some(ended) = self.calls.remove(&call)
            && let Some(open) = self.open.get_mut(&ended.guild)
        {
            *open -= 1;
        }
    }

    fn fresh(&mut self, client: u64, issued_at: Millis) -> OpId {
        let client = ClientId::new(client).expect("a small number is an id");
        let counter = self.counters.entry(client).or_default();
        *counter += 1;
        OpId { client, counter: *counter, issued_at }
    }
}

impl World {
    /// Sends a command.
    pub(super) fn call(&mut self, guild: GuildId, actor: Actor, command: Command, id: CallAs) {
        let now = self.wire.clock();
        let client = 1 + self.wire.between(Micros(0), Micros(CLIENTS)).0;
        let op = match id {
            CallAs::Fresh => self.callers.fresh(client, now),
            CallAs::Busy => self.callers.fresh(BUSY_CLIENT, now),
            CallAs::Expired => self.callers.fresh(HOSTILE_CLIENT, Millis(now.0.saturating_sub(601_000))),
            CallAs::Ahead => self.callers.fresh(HOSTILE_CLIENT, Millis(now.0 + 30_000)),
            CallAs::AnotherBody => match self.callers.latest.get(&guild).and_then(VecDeque::front) {
                // A message is never sent twice, and this might be the second time.
                Some((op, ..)) if command.is_durable() => *op,
                Some(_) | None => return,
            },
            CallAs::AnotherTime => match self.callers.latest.get(&guild).and_then(VecDeque::front) {
                Some((op, ..)) => OpId { issued_at: Millis(op.issued_at.0 + 1), ..*op },
                None => return,
            },
        };
        let (actor, command) = match (id, self.callers.latest.get(&guild).and_then(VecDeque::front)) {
            (CallAs::AnotherTime, Some((_, actor, command))) => (*actor, Arc::clone(command)),
            (..) => (actor, Arc::new(command)),
        };
        if command.is_durable() && matches!(id, CallAs::Fresh | CallAs::Busy) {
            let latest = self.callers.latest.entry(guild).or_default();
            latest.push_front((op, actor, Arc::clone(&command)));
            latest.truncate(LATEST_KEPT);
        }
        let call = self.callers.begin(guild, What::Command { op, actor, command });
        self.send_call(call);
    }

    /// Sends one of the latest operations once more.
    pub(super) fn retry(&mut self, guild: GuildId, nth_last: usize) {
        let latest = self.callers.latest.get(&guild).and_then(|latest| latest.get(nth_last));
        if let Some((op, actor, command)) = latest.cloned() {
            let call = self.callers.begin(guild, What::Command { op, actor, command });
            self.send_call(call);
        }
    }

    /// Reads a member as of the latest answer.
    pub(super) fn read(&mut self, guild: GuildId, user: UserId) {
        let at_least = self.callers.answered.get(&guild).copied().unwrap_or_default();
        let call = self.callers.begin(guild, What::Read { user, at_least });
        self.send_call(call);
    }

    fn send_call(&mut self, call: u64) {
        let Some(Call { guild, attempt, what }) = self.callers.calls.get(&call) else { return };
        let (guild, attempt, what) = (*guild, *attempt, what.clone());
        // Some callers do not know yet that a guild has moved.
        let before = self.placed_before.get(&guild).filter(|_| self.wire.between(Micros(0), Micros(2)).0 == 0);
        let to = Host::Node(before.unwrap_or(&self.placement[&guild]).0);
        let twice = what.may_be_repeated() && self.wire.duplicates();
        self.watch.seen.duplicates += u64::from(twice);
        for _ in 0..1 + usize::from(twice) {
            let body = match what.clone() {
                What::Command { op, actor, command } => Body::Call { call, attempt, guild, op, actor, command },
                What::Read { user, at_least } => Body::Read { call, guild, user, at_least },
            };
            self.wire.send(Host::Callers, to, Lane::Loose, body);
        }
        self.wire.later(PATIENCE, Happening::Deadline { call, attempt });
    }

    /// A call is answered.
    pub(super) fn call_answered(&mut self, call: u64, attempt: u32, answer: Result<Answer, NoAnswer>) {
        let Some(asked) = self.callers.calls.get_mut(&call) else { return };
        let guild = asked.guild;
        match answer {
            Ok(answer) => {
                let position = match answer {
                    Ok(Reply::Outcome(outcome)) => outcome.at(),
                    Ok(Reply::Accepted(at)) => at,
                    Ok(Reply::Attached(_)) | Err(_) => Position::default(),
                };
                let answered = self.callers.answered.entry(guild).or_default();
                *answered = position.max(*answered);
                self.callers.end(call);
            }
            Err(NoAnswer::Unknown) if !asked.what.may_be_repeated() => {
                self.watch.seen.unknown_outcomes += 1;
                self.callers.end(call);
            }
            Err(_) if asked.attempt == attempt || matches!(asked.what, What::Read { .. }) => {
                let attempt = asked.attempt;
                let pause = self.wire.between(Micros::millis(1), Micros::millis(60));
                self.wire.later(pause, Happening::Again { call, attempt });
            }
            Err(_) => {}
        }
    }

    /// A caller has waited long enough.
    pub(super) fn deadline(&mut self, call: u64, attempt: u32) {
        let Some(asked) = self.callers.calls.get(&call).filter(|asked| asked.attempt == attempt) else { return };
        self.watch.seen.timeouts += 1;
        if asked.what.may_be_repeated() {
            self.again(call, attempt);
        } else {
            self.watch.seen.unknown_outcomes += 1;
            self.callers.end(call);
        }
    }

    pub(super) fn again(&mut self, call: u64, attempt: u32) {
        if let Some(asked) = self.callers.calls.get_mut(&call).filter(|asked| asked.attempt == attempt) {
            asked.attempt += 1;
            self.send_call(call);
        }
    }
}

/// Callers with counters of their own.
const CLIENTS: u64 = 5;
/// Who asks for more than outcomes are kept of.
const BUSY_CLIENT: u64 = 98;
/// Whose ids are not to be trusted.
const HOSTILE_CLIENT: u64 = 99;
/// Operations of a guild that may be asked for again.
const LATEST_KEPT: usize = 2 * CLIENT_OUTCOMES_MAX;
/// How long a caller waits for an answer.
const PATIENCE: Micros = Micros::seconds(2);
