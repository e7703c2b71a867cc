//! All that looks at the world: the checkers, the list of rare states, and the digest of the run.

use guildhall_guild::{Answer, Attached, Outcomes, Reply, Tell};
use guildhall_members::View;
use guildhall_proto::codec::{Encode, encode_into};
use guildhall_proto::{GuildId, Position, UserId};

use super::message::Owned;
use crate::check::{Begin, Breach, EarId, Ears, Given, Heard, Ledger, Reach, Recovered};
use crate::dice::Dice;
use crate::seen::Seen;

pub(crate) struct Watch {
    pub(crate) ledger: Ledger,
    pub(crate) ears: Ears,
    pub(crate) given: Given,
    pub(crate) seen: Seen,
    pub(crate) digest: Digest,
    /// Reused for what is taken into the digest.
    buffer: Vec<u8>,
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

    fn note_bytes(&mut self, bytes: &[u8]) {
        self.note(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.note(u64::from_le_bytes(word));
        }
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
            given: Given::default(),
            seen: Seen::default(),
            digest: Digest::default(),
            buffer: Vec::new(),
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
        }
        self.note_outcomes(outcomes);
        let is_small = outcomes.view.as_ref().is_some_and(|view| view.len() <= SMALL_MEMBERS);
        if self.dice.one_in(if is_small { 8 } else { 256 })
            && let Some(view) = &outcomes.view
            && self.ledger.is_latest(guild, epoch)
        {
            self.ledger.compare(guild, Some(view))?;
        }
        Ok(())
    }

    /// Takes all that a turn lets out into the digest. What sessions hear of it is told by its position there: the ears see to it that
    /// it says the same.
    fn note_outcomes(&mut self, outcomes: &Outcomes) {
        for event in &outcomes.events {
            self.note_value(&**event);
        }
        for (call, answer) in &outcomes.answers {
            self.digest.note(call.0);
            self.note_answer(answer);
        }
        for tell in &outcomes.told {
            match tell {
                Tell::Latest(ephemeral) => self.note_value(ephemeral),
                Tell::Forget(user) => self.digest.note(user.get()),
            }
        }
        if let Some(view) = &outcomes.view {
            self.digest.note_at(view.position());
            self.digest.note(view.len() as u64);
            self.digest.note(view.online() as u64);
        }
    }

    /// An owner hands a turn to its gate: what its members are then is in the turn's view.
    pub(crate) fn admitted(&mut self, members: guildhall_members::Digest) {
        self.digest.note_bytes(&members.0.to_le_bytes());
    }

    fn note_answer(&mut self, answer: &Answer) {
        self.digest.note(u64::from(answer.is_ok()));
        match answer {
            Ok(Reply::Outcome(outcome)) => self.note_value(outcome),
            Ok(Reply::Accepted(at)) => self.digest.note_at(*at),
            Ok(Reply::Attached(attached)) => {
                let Attached { at, member, generation, deleted_roles, deletions_unknown_to } = &**attached;
                self.note_value(&(at, member, generation.0, deleted_roles, deletions_unknown_to));
            }
            Err(refusal) => self.note_value(refusal),
        }
    }

    fn note_value(&mut self, value: &impl Encode) {
        self.buffer.clear();
        // What is too long to be written is told by what of it was.
        let _ = encode_into(value, &mut self.buffer);
        self.digest.note_bytes(&self.buffer);
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
            Heard::Gap(gap) => {
                self.digest.note_at(gap.after);
                self.digest.note_at(gap.through);
            }
            Heard::Unread(unread) => {
                self.seen.unread += 1;
                self.note_value(unread);
            }
            Heard::Ephemeral(ephemeral) => {
                self.seen.ephemeral += 1;
                self.note_value(ephemeral);
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
