//! What callers are told of their commands at the end of their calls, held against what became of these (promise 3).
//!
//! Of a call that came to no answer its caller knows either that nothing happened, or that it may have: what is told as the first must never have
//! happened, and must not happen later. A command that was sent by several calls is not looked at: what one of them came to says nothing of
//! the others. And a message, which nobody sends a second time, is let out once.
//!
//! An acknowledgement names a position: there lies what was asked for, as it was let out and as sessions are given it, and nothing else.

use std::collections::BTreeMap;

use guildhall_proto::{Actor, Command, Event, EventKind, GuildId, Message, OpId, Outcome, Position, Publish};

use super::{Breach, By, Ledger, Made, Promise};

/// What a caller knows of its command at the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It came to this.
    Outcome(Outcome),
    /// It was not carried out: it was refused, or given up in time.
    Nothing,
    /// It may have been carried out, or may yet be.
    Unknown,
}

/// What callers know of their commands to one guild.
#[derive(Debug, Default)]
pub(super) struct Callers {
    asked: BTreeMap<OpId, Asked>,
    /// Messages that were let out, and where.
    messages: BTreeMap<OpId, Position>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    /// How many calls there were.
    calls: u32,
    /// Whether the one caller was told that it was not carried out.
    is_disowned: bool,
}

impl Callers {
    /// A turn is let out.
    pub(super) fn let_out(&mut self, guild: GuildId, made: &Made) -> Result<(), Breach> {
        let By::Call { op, command, .. } = &made.by else { return Ok(()) };
        let Some(last) = made.events.last() else { return Ok(()) };
        let is_fresh = command.is_durable() || self.messages.insert(*op, last.position).is_none();
        Promise::Durable.require(is_fresh, || format!("guild {guild}: {op:?} is let out twice: {command:?}"))?;
        let is_disowned = self.asked.get(op).is_some_and(|asked| asked.is_disowned);
        Promise::Durable.require(!is_disowned, || {
            format!("guild {guild}: {op:?} is carried out after its caller was told that it was not: {command:?}")
        })
    }
}

impl Ledger {
    /// A caller sends a command.
    pub(crate) fn asked(&mut self, guild: GuildId, op: OpId) {
        let asked = self.books.entry(guild).or_default().callers.asked.entry(op).or_default();
        asked.calls += 1;
        asked.is_disowned = false;
    }

    /// A call has come to its end.
    pub(crate) fn told(
        &mut self,
        guild: GuildId,
        op: OpId,
        actor: Actor,
        command: &Command,
        told: Told,
    ) -> Result<(), Breach> {
        let annals = self.chronicle.annals(guild);
        let book = self.books.entry(guild).or_default();
        let known = book.ops.get(&op);
        let applied = known.and_then(|op| op.applied);
        let let_out = book.callers.messages.get(&op).copied();
        let wrong = |what: &str| {
            Promise::Durable.breach(format!(
                "guild {guild}: {what}: of {op:?}, {command:?}, its caller is told {told:?}: {applied:?}, {let_out:?}"
            ))
        };
        let asked = book.callers.asked.entry(op).or_default();
        match (told, command) {
            (Told::Outcome(outcome), Command::Publish(publish)) => {
                let there = annals.event(outcome.at()).filter(|_| let_out == Some(outcome.at()));
                let is_it = there.is_some_and(|there| is_message(there, actor, publish));
                if is_it { Ok(()) } else { Err(wrong("something else lies there, or nothing")) }
            }
            (Told::Outcome(outcome), _) => {
                let Some(applied) = applied.filter(|applied| applied.outcome == outcome) else {
                    return Err(wrong("it came to something else"));
                };
                let made = known.and_then(|op| op.event.as_ref());
                let is_there = made.is_none_or(|made| annals.event(applied.outcome.at()) == Some(made));
                if is_there { Ok(()) } else { Err(wrong("something else lies there, or nothing")) }
            }
            (Told::Nothing, _) if asked.calls == 1 => {
                asked.is_disowned = true;
                if applied.is_some() || let_out.is_some() {
                    return Err(wrong("it was carried out"));
                }
                Ok(())
            }
            (Told::Nothing | Told::Unknown, _) => Ok(()),
        }
    }
}

/// Whether an event is this very message; whom it calls may stand in another order.
fn is_message(event: &Event, actor: Actor, publish: &Publish) -> bool {
    let EventKind::MessagePublished(message) = &event.kind else { return false };
    let Message { channel, author, session, echo, mentions, payload } = message;
    let Publish { channel: to, payload: content, mentions: calls, session: from, echo: hears } = publish;
    let writer = match actor {
        Actor::System => None,
        Actor::User(user) => Some(user),
    };
    let mut calls = calls.clone();
    calls.users.sort();
    calls.roles.sort();
    (channel, author, session, echo, payload) == (to, &writer, from, hears, content) && *mentions == calls
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guildhall_guild::{CallId, Outcomes, Reply};
    use guildhall_proto::{ChannelId, ClientId, Epoch, Mentions, Millis, Payload, Seq, UserId};

    use super::*;
    use crate::check::{Breach, Turn};
    use crate::seen::Seen;

    const GUILD: GuildId = GuildId::MIN;

    fn op(counter: u64) -> OpId {
        OpId { client: ClientId::MIN, counter, issued_at: Millis(1) }
    }

    fn at(seq: u64) -> Position {
        Position { epoch: Epoch(5), seq: Seq(seq) }
    }

    fn publish(content: &str) -> Publish {
        let mentions = Mentions { users: vec![UserId::new(9).unwrap(), UserId::MIN], ..Mentions::default() };
        let payload = Payload::new(content.as_bytes().to_vec()).unwrap();
        Publish { channel: ChannelId::MIN, payload, mentions, session: None, echo: false }
    }

    /// A ledger of a guild of which an owner that was shut out has let out two messages in one turn.
    fn ledger() -> Ledger {
        let make = |(counter, content): (u64, &str)| {
            let Publish { channel, payload, mut mentions, session, echo } = publish(content);
            mentions.users.sort();
            let kind = EventKind::MessagePublished(Message { channel, author: None, session, echo, mentions, payload });
            let event = Arc::new(Event { position: at(counter), at: Millis(1), kind });
            let command = Arc::new(Command::Publish(publish(content)));
            let answer = Ok(Reply::Outcome(Outcome::Applied { at: at(counter) }));
            let (id, op) = (CallId(counter), op(counter));
            Made {
                by: By::Call { id, op, actor: Actor::System, command },
                now: Millis(1),
                has_room: true,
                events: vec![event],
                records: Vec::new(),
                answers: vec![(id, answer)],
            }
        };
        let made: Vec<Made> = [(1, "one"), (2, "two")].map(make).into();
        let outcomes = Outcomes {
            events: made.iter().flat_map(|made| made.events.clone()).collect(),
            answers: made.iter().flat_map(|made| made.answers.clone()).collect(),
            ..Outcomes::default()
        };
        let mut ledger = Ledger::default();
        ledger.admitted(GUILD, Epoch(5), Turn::of(made));
        ledger.released(GUILD, Epoch(5), &outcomes, &mut Seen::default()).unwrap();
        ledger
    }

    fn tells(counter: u64, actor: Actor, asked: Publish, seq: u64) -> Result<(), Breach> {
        let told = Told::Outcome(Outcome::Applied { at: at(seq) });
        ledger().told(GUILD, op(counter), actor, &Command::Publish(asked), told)
    }

    #[test]
    fn a_message_is_acknowledged_where_it_lies() {
        tells(1, Actor::System, publish("one"), 1).unwrap();
        tells(2, Actor::System, publish("two"), 2).unwrap();
        tells(1, Actor::System, publish("one"), 2).unwrap_err();
        tells(2, Actor::System, publish("two"), 3).unwrap_err();
    }

    #[test]
    fn what_lies_there_is_what_was_asked_for_in_every_part() {
        let elsewhere = Publish { channel: ChannelId::new(2).unwrap(), ..publish("one") };
        let calls_none = Publish { mentions: Mentions::default(), ..publish("one") };
        for other in [publish("two"), elsewhere, calls_none, Publish { echo: true, ..publish("one") }] {
            tells(1, Actor::System, other, 1).unwrap_err();
        }
        tells(1, Actor::User(UserId::MIN), publish("one"), 1).unwrap_err();
    }
}
