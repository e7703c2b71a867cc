//! What callers are told of their commands at the end of their calls, held against what became of these (promise 3).
//!
//! Of a call that came to no answer its caller knows either that nothing happened, or that it may have: what is told as the first must never have
//! happened, and must not happen later. A command that was sent by several calls is not looked at: what one of them came to says nothing of
//! the others. And a message, which nobody sends a second time, is let out once.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_proto::{Command, GuildId, OpId, Outcome};

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
    /// Messages that were let out.
    messages: BTreeSet<OpId>,
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
        if made.events.is_empty() {
            return Ok(());
        }
        let is_fresh = command.is_durable() || self.messages.insert(*op);
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
    pub(crate) fn told(&mut self, guild: GuildId, op: OpId, command: &Command, told: Told) -> Result<(), Breach> {
        let book = self.books.entry(guild).or_default();
        let applied = book.ops.get(&op).and_then(|op| op.applied);
        let wrong = |what: &str| {
            Promise::Durable.breach(format!(
                "guild {guild}: {what}: of {op:?}, {command:?}, its caller is told {told:?}: {applied:?}"
            ))
        };
        let asked = book.callers.asked.entry(op).or_default();
        match told {
            Told::Outcome(outcome) if command.is_durable() => match applied {
                Some(applied) if applied.outcome == outcome => Ok(()),
                Some(_) | None => Err(wrong("it came to something else")),
            },
            Told::Nothing if asked.calls == 1 => {
                asked.is_disowned = true;
                if applied.is_some() || book.callers.messages.contains(&op) {
                    return Err(wrong("it was carried out"));
                }
                Ok(())
            }
            Told::Outcome(_) | Told::Nothing | Told::Unknown => Ok(()),
        }
    }
}
