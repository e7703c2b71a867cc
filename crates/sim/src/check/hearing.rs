//! What sessions hear, and what they should have (promises 4, 5 and 10).
//!
//! It is told of each session that an owner accepted and a relay placed, and of each thing that it then read; what its member was at
//! each position it takes from the [annals](Annals). What a session had to hear is worked out for it alone, event by event, when it has
//! read behind them: nothing here knows of cohorts, audiences or rings.
//!
//! It is lenient where the design is:
//! - a gap may be wider than what was lost, and may come where nothing was; it may not end ahead of the guild, and nothing up to its end
//!   may come behind it. It may not come where all of it must still be in the relay's rings, which hold half of their bounds for sure:
//!   each event may take two entries. One that is told just before the end of a session covers all up to there. The end of a guild needs none for a
//!   session whose relay never came to where it was accepted;
//! - an epoch may begin without a gap if nothing that was let out before is missing from it;
//! - what is told of now may be lost, and may be told by the rights of any place between where it was accepted and the next event that
//!   the session hears;
//! - news may be left out of a summary if they are from before the end of a gap, or from before the session was attached at its relay, or
//!   bear a number up to which the session knew an epoch that lost it;
//! - a batch may have been handed more than its session, which was detached meanwhile, would have heard. It may be told that.
//!
//! A session that passes nothing on is not judged, until it is cut: what it did not read it did not hear. O(1) an event and session, beside
//! the channels that it has to be asked about after a change of rights.

mod ear;
mod eye;
mod past;

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{Ephemeral, Event, GuildId, Level, Position, SessionId, Status, Unread, UserId};
use guildhall_relay::{DetachReason, Gap};

use super::{Annals, Breach};
use crate::workload::Way;
use ear::{Ear, Facts};
use past::Past;

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

/// How far back the relay of a session can tell it what it has not heard, as far as that is known from outside.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Nothing behind this was lost to the relay but by its rings' bounds.
    pub from: Position,
    /// What its sessions have read up to in any case: a batch consumer that falls out of a ring loses what is behind that for all of them.
    pub read_to: Position,
    /// How far the relay is.
    pub at: Position,
    /// Events that each of its rings holds at least.
    pub events: usize,
    /// The same in bytes.
    pub bytes: usize,
    /// How many sessions it has, each of which an event may move.
    pub sessions: usize,
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
    ears: BTreeMap<EarId, Ear>,
    pasts: BTreeMap<GuildId, Past>,
    tally: Tally,
}

/// What sessions went through, counted: so that a run can say what it has tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events heard.
    pub events: u64,
    /// Of these, by sessions that came back, from the time that they were away.
    pub replayed: u64,
    /// Of these, what its member would not see by the rights of when it came back.
    pub replayed_hidden: u64,
    /// Events heard late: their member does not see them any more by the time they are read.
    pub hidden_meanwhile: u64,
    /// Calls heard by passive sessions.
    pub calls: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Of these, such as nothing for the session was under.
    pub gaps_over_nothing: u64,
    /// Events that were for a session, and under its gap.
    pub missed: u64,
    /// Epochs that a session came into without a gap.
    pub epochs_continued: u64,
    /// Epochs that a session came into by a gap.
    pub epochs_over_gaps: u64,
    /// Summaries told.
    pub summaries: u64,
    /// What was told of now.
    pub told: u64,
    /// Ends that sessions asked for.
    pub left: u64,
    /// Ends with a member.
    pub removed: u64,
    /// Ends with a guild.
    pub deleted: u64,
    /// Ends of sessions that went on elsewhere.
    pub superseded: u64,
}

impl Ears {
    /// An owner has let an event out, or its successor has found it in the store; in the order of their positions within an epoch.
    ///
    /// # Errors
    /// A breach of [`Promise::Names`](super::Promise::Names) if there is another event of its name.
    pub fn released(&mut self, annals: &Annals, event: &Arc<Event>) -> Result<(), Breach> {
        self.pasts.entry(annals.guild()).or_default().add(event)
    }

    /// An owner has let out what holds now.
    pub fn told(&mut self, annals: &Annals, ephemeral: &Ephemeral) {
        self.pasts.entry(annals.guild()).or_default().tell(*ephemeral);
    }

    /// An owner has begun.
    pub fn opened(&mut self, annals: &Annals) {
        if let Some(opening) = annals.epoch().and_then(|epoch| annals.opening(epoch)) {
            self.pasts.entry(annals.guild()).or_default().open(opening);
        }
    }

    /// A session was placed at a relay.
    ///
    /// # Errors
    /// A breach of [`Promise::Rights`](super::Promise::Rights) if it was accepted for one who was no member.
    pub fn begins(&mut self, annals: &Annals, ear: EarId, begin: Begin) -> Result<(), Breach> {
        self.ears.insert(ear, Ear::new(begin, annals)?);
        Ok(())
    }

    /// A session listens at another level, which its owner accepted at `accepted`, and which its relay says holds from `from` on.
    ///
    /// # Errors
    /// A breach of [`Promise::Order`](super::Promise::Order) if that is before what the owner said.
    pub fn level(
        &mut self,
        annals: &Annals,
        ear: EarId,
        level: Level,
        accepted: Position,
        from: Position,
    ) -> Result<(), Breach> {
        self.at(annals, ear, |ear, facts| ear.turn(facts, level, accepted, from))
    }

    /// The same for its status.
    ///
    /// # Errors
    /// As for a level.
    pub fn status(
        &mut self,
        annals: &Annals,
        ear: EarId,
        status: Status,
        accepted: Position,
        from: Position,
    ) -> Result<(), Breach> {
        self.at(annals, ear, |ear, facts| ear.show(facts, status, accepted, from))
    }

    /// A session was detached: it hears all up to `accepted`, then its end.
    pub fn detached(&mut self, ear: EarId, accepted: Position) {
        if let Some(ear) = self.ears.get_mut(&ear) {
            ear.leave(accepted);
        }
    }

    /// A session's connection broke, or its backend is gone: it hears no more.
    pub fn cut(&mut self, ear: EarId) {
        self.ears.remove(&ear);
    }

    /// A session has read this.
    ///
    /// # Errors
    /// A breach of
    /// - [`Promise::Order`](super::Promise::Order) if something that was for it is missing before, or if it was not for the session as it
    ///   listens, though its member may see it;
    /// - [`Promise::Rights`](super::Promise::Rights) if its member may not;
    /// - [`Promise::Past`](super::Promise::Past) if either is so by the rights of when the session came back, not by those of then;
    /// - [`Promise::Names`](super::Promise::Names) if it is not what an owner let out;
    /// - [`Promise::Durable`](super::Promise::Durable) if it is a gap over what no owner has let out yet.
    pub fn heard(&mut self, annals: &Annals, ear: EarId, heard: &Heard) -> Result<(), Breach> {
        self.at(annals, ear, |ear, facts| ear.hear(facts, heard))
    }

    /// A session is about to read a gap, from a relay that reaches back so far.
    ///
    /// # Errors
    /// A breach of [`Promise::Order`](super::Promise::Order) if the relay can still tell all of it.
    pub fn loses(&mut self, annals: &Annals, ear: EarId, gap: Gap, reach: &Reach) -> Result<(), Breach> {
        self.at(annals, ear, |ear, facts| ear.must_be_lost(facts, gap, reach))
    }

    /// A session has read all that there was, and waits at its relay, which is at `at`: what was for it up to there it has heard.
    ///
    /// # Errors
    /// A breach of [`Promise::Order`](super::Promise::Order) or [`Promise::Past`](super::Promise::Past) if it has not.
    pub fn waits(&mut self, annals: &Annals, ear: EarId, at: Position) -> Result<(), Breach> {
        self.at(annals, ear, |ear, facts| ear.wait(facts, at))
    }

    /// All has come to rest, and summaries were due since: whatever was for a session it has heard.
    ///
    /// # Errors
    /// A breach of [`Promise::Order`](super::Promise::Order) or [`Promise::Past`](super::Promise::Past) if it has not.
    pub fn rests(&mut self, annals: &Annals) -> Result<(), Breach> {
        let ears: Vec<EarId> =
            self.ears.iter().filter(|(_, ear)| ear.guild() == annals.guild()).map(|(id, _)| *id).collect();
        ears.into_iter().try_for_each(|ear| self.at(annals, ear, |ear, facts| ear.rest(facts)))
    }

    /// What sessions went through so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Goes to one ear. What comes for one that was cut goes nowhere.
    fn at(
        &mut self,
        annals: &Annals,
        id: EarId,
        go: impl FnOnce(&mut Ear, &mut Facts<'_>) -> Result<(), Breach>,
    ) -> Result<(), Breach> {
        let Self { ears, pasts, tally } = self;
        let Some(ear) = ears.get_mut(&id) else {
            return Ok(());
        };
        go(ear, &mut Facts { annals, past: pasts.entry(annals.guild()).or_default(), tally })
    }
}

#[cfg(test)]
mod tests;
