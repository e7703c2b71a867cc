//! Those who send commands: operation ids, and reads of what they wrote.
//!
//! How a call is sent again, and when it is given up, is its [client](super::client)'s affair. One that is given up without anybody knowing whether it
//! was carried out may be asked for once more under its id, if it is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use guildhall_cluster::{GaveUp, Repeat};
use guildhall_guild::{Answer, Reply};
use guildhall_proto::limits::CLIENT_OUTCOMES_MAX;
use guildhall_proto::{Actor, ChannelId, ClientId, Command, GuildId, Millis, OpId, Position, UserId};

use super::World;
use super::client::{Ended, Terms, Whose};
use super::message::{Answered, Ask};
use super::wire::Host;
use crate::check::{Breach, Promise, Told};
use crate::queue::Micros;
use crate::workload::CallAs;

#[derive(Debug, Default)]
pub(crate) struct Callers {
    counters: BTreeMap<ClientId, u64>,
    /// Of each guild the latest durable operations, the newest first.
    latest: BTreeMap<GuildId, VecDeque<(OpId, Actor, Arc<Command>)>>,
    /// The position of each guild's latest answer.
    answered: BTreeMap<GuildId, Position>,
    /// By guild, calls that are not answered.
    pub(crate) open: BTreeMap<GuildId, usize>,
}

impl Callers {
    fn fresh(&mut self, client: u64, issued_at: Millis) -> OpId {
        let client = ClientId::new(client).expect("a small number is an id");
        let counter = self.counters.entry(client).or_default();
        *counter += 1;
        OpId { client, counter: *counter, issued_at }
    }

    /// The latest durable operation of a guild.
    fn last(&self, guild: GuildId) -> Option<&(OpId, Actor, Arc<Command>)> {
        self.latest.get(&guild)?.front()
    }
}

impl World {
    /// Sends a command; now and then twice.
    pub(super) fn call(&mut self, guild: GuildId, actor: Actor, command: Command, id: CallAs) -> Result<(), Breach> {
        let now = self.wire.clock();
        let client = 1 + self.wire.between(Micros(0), Micros(CLIENTS)).0;
        let op = match id {
            CallAs::Fresh => self.callers.fresh(client, now),
            CallAs::Busy => self.callers.fresh(BUSY_CLIENT, now),
            CallAs::Expired => self.callers.fresh(HOSTILE_CLIENT, Millis(now.0.saturating_sub(601_000))),
            CallAs::Ahead => self.callers.fresh(HOSTILE_CLIENT, Millis(now.0 + 30_000)),
            CallAs::AnotherBody => match self.callers.last(guild) {
                // A message is never sent twice, and this might be the second time.
                Some((op, ..)) if command.is_durable() => *op,
                Some(_) | None => return Ok(()),
            },
            CallAs::AnotherTime => match self.callers.last(guild) {
                Some((op, ..)) => OpId { issued_at: Millis(op.issued_at.0 + 1), ..*op },
                None => return Ok(()),
            },
        };
        let (actor, command) = match (id, self.callers.last(guild)) {
            (CallAs::AnotherTime, Some((_, actor, command))) => (*actor, Arc::clone(command)),
            (..) => (actor, Arc::new(command)),
        };
        if command.is_durable() && matches!(id, CallAs::Fresh | CallAs::Busy) {
            let latest = self.callers.latest.entry(guild).or_default();
            latest.push_front((op, actor, Arc::clone(&command)));
            latest.truncate(LATEST_KEPT);
        }
        let is_twice = command.is_durable() && self.wire.duplicates();
        self.watch.seen.duplicates += u64::from(is_twice);
        for _ in 0..1 + usize::from(is_twice) {
            self.send_command(guild, op, actor, Arc::clone(&command))?;
        }
        Ok(())
    }

    fn send_command(&mut self, guild: GuildId, op: OpId, actor: Actor, command: Arc<Command>) -> Result<(), Breach> {
        let repeat = if command.is_durable() { Repeat::ById } else { Repeat::Never };
        self.watch.ledger.asked(guild, op);
        self.callers_ask(guild, repeat, Ask::Command { op, actor, command })
    }

    /// Sends one of the latest operations once more.
    pub(super) fn retry(&mut self, guild: GuildId, nth_last: usize) -> Result<(), Breach> {
        let latest = self.callers.latest.get(&guild).and_then(|latest| latest.get(nth_last));
        match latest.cloned() {
            Some((op, actor, command)) => self.send_command(guild, op, actor, command),
            None => Ok(()),
        }
    }

    /// Reads a member as of the latest answer.
    pub(super) fn read(&mut self, guild: GuildId, user: UserId) -> Result<(), Breach> {
        let at_least = self.callers.answered.get(&guild).copied().unwrap_or_default();
        self.callers_ask(guild, Repeat::Freely, Ask::Read { user, at_least })
    }

    /// Tells that somebody types.
    pub(super) fn typing(&mut self, guild: GuildId, user: UserId, channel: ChannelId) -> Result<(), Breach> {
        self.callers_ask(guild, Repeat::Freely, Ask::Typing { user, channel })
    }

    fn callers_ask(&mut self, guild: GuildId, repeat: Repeat, ask: Ask) -> Result<(), Breach> {
        *self.callers.open.entry(guild).or_default() += 1;
        let within = if self.is_healed { PROBED_WITHIN } else { self.wire.between(PATIENCE.0, PATIENCE.1) };
        let call = self.next_call();
        self.begin_call(Host::Callers, call, Terms { guild, repeat, within }, ask, Whose::Caller)
    }

    /// A call has come to its end.
    pub(super) fn caller_told(&mut self, ended: Ended) -> Result<(), Breach> {
        let Ended { guild, ask, came, begun_well, .. } = ended;
        if let Some(open) = self.callers.open.get_mut(&guild) {
            *open -= 1;
        }
        let answer = match came {
            Ok((Answered::Reply(answer), _)) => Ok(answer),
            Ok((Answered::Opened { .. } | Answered::Continued, _)) => unreachable!("no caller asks for a feed"),
            Err(why) => Err(why),
        };
        Promise::Liveness.require(answer.is_ok() || !begun_well, || {
            format!("nothing goes wrong any more, and a call to guild {guild} comes to {answer:?}")
        })?;
        if let Ask::Command { op, actor, command } = &ask {
            let told = told(&answer);
            let seen = &mut self.watch.seen;
            seen.unknown_outcomes += u64::from(told == Told::Unknown);
            seen.given_up += u64::from(told == Told::Nothing && answer.is_err());
            self.watch.ledger.told(guild, *op, *actor, command, told)?;
        }
        if let Ok(answer) = answer {
            let position = match answer {
                Ok(Reply::Outcome(outcome)) => outcome.at(),
                Ok(Reply::Accepted(at)) => at,
                Ok(Reply::Attached(_)) | Err(_) => Position::default(),
            };
            let answered = self.callers.answered.entry(guild).or_default();
            *answered = position.max(*answered);
        }
        Ok(())
    }
}

/// What a caller knows of its command by what the call came to.
fn told(came: &Result<Answer, GaveUp>) -> Told {
    match came {
        Ok(Ok(Reply::Outcome(outcome))) => Told::Outcome(*outcome),
        Ok(Ok(Reply::Accepted(_) | Reply::Attached(_))) => Told::Unknown,
        Ok(Err(_)) => Told::Nothing,
        Err(GaveUp::OutcomeUnknown | GaveUp::Canceled) => Told::Unknown,
        Err(GaveUp::Overloaded { .. } | GaveUp::Unavailable | GaveUp::Late) => Told::Nothing,
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
/// How long a call may take.
const PATIENCE: (Micros, Micros) = (Micros::millis(500), Micros::seconds(20));
/// The same once nothing goes wrong any more.
const PROBED_WITHIN: Micros = Micros::seconds(60);
