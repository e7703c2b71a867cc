//! All that looks at the world: the checkers, the list of rare states, and the digest of the run.

use guildhall_guild::{Answer, Outcomes, Tell};
use guildhall_members::View;
use guildhall_proto::{GuildId, Position, UserId};

use super::message::Owned;
use crate::check::{Begin, Breach, EarId, Ears, Heard, Ledger, Reach, Recovered};
use crate::dice::Dice;
use crate::seen::Seen;

pub(crate) struct Watch {
    pub(crate) ledger: Ledger,
    pub(crate) ears: Ears,
    pub(crate) seen: Seen,
    pub(crate) digest: Digest,
    /// Which views are looked at whole.
    dice: Dice,
}

/// A number for all that happened in a run: equal runs have equal digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    /// Takes a number in: FNV-1a, eight bytes at a time, then spread.
    pub fn note(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x0000_0100_0000_01B3);
        self.0 = mixed ^ (mixed >> 29);
    }

    pub(crate) fn note_at(&mut self, at: Position) {
        self.note(at.epoch.0);
        self.note(at.seq.0);
    }
}

impl Watch {
    pub(crate) fn new(dice: &Dice) -> Self {
        Self {
            ledger: Ledger::default(),
            ears: Ears::default(),
            seen: Seen::default(),
            digest: Digest::default(),
            dice: dice.fork("watch"),
        }
    }

    /// A gate lets a turn out.
    pub(crate) fn released(&mut self, owned: Owned, outcomes: &Outcomes) -> Result<(), Breach> {
        let Owned { guild, epoch, .. } = owned;
        let fresh = self.ledger.released(guild, epoch, outcomes, &mut self.seen)?;
        let annals = self.ledger.chronicle.annals(guild);
        let told = outcomes.told.iter().filter_map(|tell| match tell {
            Tell::Latest(ephemeral) => Some(ephemeral),
            Tell::Forget(_) => None,
        });
        told.for_each(|ephemeral| self.ears.told(annals, ephemeral));
        if fresh.is_empty() {
            // An owner that was shut out: what was stored of it, its successor has told.
            for event in outcomes.events.iter().filter(|event| !event.is_durable()) {
                self.ears.released(annals, event)?;
            }
        }
        for event in &fresh {
            self.ears.released(annals, event)?;
            self.digest.note_at(event.position);
        }
        for (call, answer) in &outcomes.answers {
            self.digest.note(call.0);
            self.note_answer(answer);
        }
        let is_small = outcomes.view.as_ref().is_some_and(|view| view.len() <= SMALL_MEMBERS);
        if self.dice.one_in(if is_small { 8 } else { 256 })
            && let Some(view) = &outcomes.view
            && self.ledger.is_latest(guild, epoch)
        {
            self.ledger.compare(guild, Some(view))?;
        }
        Ok(())
    }

    fn note_answer(&mut self, answer: &Answer) {
        self.digest.note(u64::from(answer.is_ok()));
    }

    /// A new owner has recovered a guild.
    pub(crate) fn recovered(&mut self, found: &Recovered<'_>, view: Option<&View>) -> Result<(), Breach> {
        let untold = self.ledger.recovered(found, &mut self.seen)?;
        self.ledger.compare(found.guild, view)?;
        let annals = self.ledger.chronicle.annals(found.guild);
        for event in &untold {
            self.ears.released(annals, event)?;
        }
        self.ears.opened(annals);
        self.digest.note(found.epoch.0);
        self.digest.note_at(found.at);
        Ok(())
    }

    pub(crate) fn read(&mut self, guild: GuildId, view: &View, at_least: Position, user: UserId) -> Result<(), Breach> {
        self.ledger.read(guild, view, at_least, user, &mut self.seen)
    }

    pub(crate) fn begins(&mut self, ear: EarId, begin: Begin) -> Result<(), Breach> {
        let annals = self.ledger.chronicle.annals(begin.guild);
        self.ears.begins(annals, ear, begin)
    }

    /// A session has read something.
    pub(crate) fn heard(
        &mut self,
        guild: GuildId,
        ear: EarId,
        heard: &Heard,
        reach: Option<Reach>,
    ) -> Result<(), Breach> {
        self.digest.note(ear.0);
        match heard {
            Heard::Event(event) => {
                self.seen.heard += 1;
                self.digest.note_at(event.position);
            }
            Heard::Gap(gap) => self.digest.note_at(gap.through),
            Heard::Unread(unread) => {
                self.seen.unread += 1;
                self.digest.note(unread.channels.len() as u64);
            }
            Heard::Ephemeral(ephemeral) => {
                self.seen.ephemeral += 1;
                self.digest.note_at(ephemeral.at);
            }
            Heard::Detached(reason) => {
                use guildhall_relay::DetachReason;
                self.seen.ended_with_member += u64::from(*reason == DetachReason::MemberLeft);
                self.seen.ended_with_guild += u64::from(*reason == DetachReason::GuildDeleted);
                self.digest.note(*reason as u64);
            }
        }
        let annals = self.ledger.chronicle.annals(guild);
        if let (Heard::Gap(gap), Some(reach)) = (heard, reach) {
            self.ears.loses(annals, ear, *gap, &reach)?;
        }
        self.ears.heard(annals, ear, heard)
    }
}

/// Guilds of so few members are looked at whole more often.
const SMALL_MEMBERS: usize = 100;
