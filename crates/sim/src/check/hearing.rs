//! What sessions hear, and what they should have (promises 4, 5 and 10).
//!
//! It is told of each session that an owner accepted and a relay placed, and of each thing that it then read; the rest it takes from
//! the [annals](Annals).

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{Ephemeral, Event, GuildId, Level, Position, SessionId, Status, Unread, UserId};
use guildhall_relay::{DetachReason, Gap};

use super::{Annals, Breach};
use crate::workload::Way;

/// One time that a session listens: from its attach, or its coming back, until its end or its being cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EarId(pub u64);

/// How a session begins to listen.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// To which guild.
    pub guild: GuildId,
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// Whether it wants to hear of other members.
    pub members: bool,
    /// How closely it listens.
    pub level: Level,
    /// Whether its user is there.
    pub status: Status,
    /// How it hears.
    pub way: Way,
    /// It hears what comes after this: where it was accepted, or what it knew when it came back.
    pub after: Position,
    /// Where the owner accepted it.
    pub accepted: Position,
    /// The position of its relay when it was placed there.
    pub relay_at: Position,
    /// Whether it comes back.
    pub again: bool,
    /// The gap that it is told first, if it comes back and its relay does not reach back.
    pub gap: Option<Gap>,
}

/// What a session reads.
#[derive(Debug, Clone)]
pub enum Heard {
    /// An event.
    Event(Arc<Event>),
    /// That it has lost events.
    Gap(Gap),
    /// Where there is news.
    Unread(Unread),
    /// What is told of now.
    Ephemeral(Ephemeral),
    /// Its end.
    Detached(DetachReason),
}

/// The check of all sessions.
#[derive(Debug, Default)]
pub struct Ears {
    ears: BTreeMap<EarId, Begin>,
}

impl Ears {
    /// An owner has let an event out, or its successor has found it in the store; in the order of their positions within an epoch.
    pub fn released(&mut self, _annals: &Annals, _event: &Arc<Event>) -> Result<(), Breach> {
        Ok(())
    }

    /// An owner has let out what holds now.
    pub fn told(&mut self, _annals: &Annals, _ephemeral: &Ephemeral) {}

    /// An owner has begun.
    pub fn opened(&mut self, _annals: &Annals) {}

    /// A session was placed at a relay.
    pub fn begins(&mut self, _annals: &Annals, ear: EarId, begin: Begin) -> Result<(), Breach> {
        self.ears.insert(ear, begin);
        Ok(())
    }

    /// A session listens at another level, which its owner accepted at `accepted`, and which its relay says holds from `from` on.
    pub fn level(
        &mut self,
        _annals: &Annals,
        _ear: EarId,
        _level: Level,
        _accepted: Position,
        _from: Position,
    ) -> Result<(), Breach> {
        Ok(())
    }

    /// The same for its status.
    pub fn status(
        &mut self,
        _annals: &Annals,
        _ear: EarId,
        _status: Status,
        _accepted: Position,
        _from: Position,
    ) -> Result<(), Breach> {
        Ok(())
    }

    /// A session was detached: it hears all up to `accepted`, then its end.
    pub fn detached(&mut self, _ear: EarId, _accepted: Position) {}

    /// A session's connection broke, or its backend is gone: it hears no more.
    pub fn cut(&mut self, ear: EarId) {
        self.ears.remove(&ear);
    }

    /// A session has read this.
    pub fn heard(&mut self, _annals: &Annals, _ear: EarId, _heard: &Heard) -> Result<(), Breach> {
        Ok(())
    }

    /// A session has read all that there was, and waits at its relay, which is at `at`: what was for it up to there it has heard.
    pub fn waits(&mut self, _annals: &Annals, _ear: EarId, _at: Position) -> Result<(), Breach> {
        Ok(())
    }

    /// All is quiet in a guild, and summaries were due since: whatever was for a session it has heard.
    pub fn rests(&mut self, _annals: &Annals) -> Result<(), Breach> {
        Ok(())
    }
}
