//! What one session has heard: numbers and marks, no contents.

use guildhall_node::{DetachReason, Gap};
use guildhall_proto::{ChannelId, Ephemeral, EphemeralKind, Epoch, Event, EventKind, Millis, Unread, UserId};

use crate::checks::{Heard, Noted, Number};
use crate::trial::bell::{Belfry, Bell};
use crate::trial::fact::mark_of;
use crate::trial::shape::Shape;

/// One session's ear.
#[derive(Debug)]
pub(crate) struct Record {
    epoch: Epoch,
    pub(crate) numbers: Heard,
    /// The sum of the marks of all that was heard, each once.
    pub(crate) marks: u64,
    /// Events that arrived, of whatever kind.
    pub(crate) deliveries: u64,
    pub(crate) duplicated: u64,
    /// Numbers that came after a higher one.
    pub(crate) late: Vec<Number>,
    /// Numbers from before the session's time.
    pub(crate) early: u64,
    /// Events that are not as they were made.
    pub(crate) altered: u64,
    pub(crate) gaps: Vec<Missed>,
    pub(crate) news: Vec<News>,
    /// What was told beside the events, in the order in which it came.
    pub(crate) told: Vec<Told>,
    pub(crate) end: Option<DetachReason>,
    next_bell: usize,
}

/// What a session was told that it has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed {
    /// The last number that it knows.
    pub(crate) after: Number,
    /// The last number that may be missing.
    pub(crate) through: Number,
}

/// Channels that a session was told to have news in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) at: Number,
    /// A bit each.
    pub(crate) channels: u128,
}

/// Something that a session was told beside the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The last event before it was accepted.
    pub(crate) at: Number,
    /// The session had heard events below this when it was told.
    pub(crate) behind: Number,
    pub(crate) user: UserId,
    /// Where the user types, and since when; `None` if it is about the user's presence.
    pub(crate) typing: Option<(ChannelId, Millis)>,
}

impl Record {
    /// A session that hears what comes after `accepted`.
    pub(crate) fn new(epoch: Epoch, accepted: Number) -> Self {
        Self {
            epoch,
            numbers: Heard::new(accepted + 1),
            marks: 0,
            deliveries: 0,
            duplicated: 0,
            late: Vec::new(),
            early: 0,
            altered: 0,
            gaps: Vec::new(),
            news: Vec::new(),
            told: Vec::new(),
            end: None,
            next_bell: 0,
        }
    }

    /// Takes note of an event with the mark that [`mark_of`] gives it. O(1).
    pub(crate) fn hear(&mut self, event: &Event, mark: Option<u64>) {
        self.deliveries += 1;
        let Some(mark) = mark.filter(|_| event.position.epoch == self.epoch && self.end.is_none()) else {
            self.altered += 1;
            return;
        };
        let number = event.position.seq.0;
        match self.numbers.note(number) {
            Noted::InOrder => self.marks = self.marks.wrapping_add(mark),
            Noted::Late => {
                self.marks = self.marks.wrapping_add(mark);
                self.late.push(number);
            }
            Noted::Again => self.duplicated += 1,
            Noted::Early => self.early += 1,
        }
    }

    pub(crate) fn gap(&mut self, gap: Gap) {
        let (after, through) = (gap.after.seq.0, gap.through.seq.0);
        self.gaps.push(Missed { after, through });
        self.numbers.pass(through + 1);
    }

    pub(crate) fn unread(&mut self, unread: &Unread) {
        let bit = |channel: &ChannelId| 1_u128 << Shape::channel_idx(*channel).min(127);
        let channels = unread.channels.iter().fold(0, |channels, channel| channels | bit(channel));
        self.news.push(News { at: unread.at.seq.0, channels });
    }

    pub(crate) fn tell(&mut self, ephemeral: &Ephemeral) {
        let (user, typing) = match ephemeral.kind {
            EphemeralKind::Typing { channel, user, since } => (user, Some((channel, since))),
            EphemeralKind::Presence { user, .. } => (user, None),
        };
        self.told.push(Told { at: ephemeral.at.seq.0, behind: self.numbers.next(), user, typing });
    }

    pub(crate) fn end(&mut self, reason: DetachReason, belfry: &Belfry) {
        self.end = Some(reason);
        belfry.ended(self.next_bell);
    }

    /// Takes note of a bell; only then has the session heard it.
    pub(crate) fn bell(&mut self, bell: Bell) {
        self.next_bell = self.next_bell.max(bell.number() + 1);
    }

    /// What the record takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.numbers.bytes()
            + size_of_val(&self.late[..])
            + size_of_val(&self.gaps[..])
            + size_of_val(&self.news[..])
            + size_of_val(&self.told[..])
    }
}

/// An event as all its hearers take note of it: looked at once, whatever their number.
pub(crate) struct Sound<'a> {
    pub(crate) event: &'a Event,
    mark: Option<u64>,
    pub(crate) bell: Option<Bell>,
}

impl<'a> Sound<'a> {
    pub(crate) fn of(event: &'a Event) -> Self {
        let bell = if let EventKind::GuildUpdated { after, .. } = &event.kind { Bell::read(&after.name) } else { None };
        Self { event, mark: mark_of(&event.kind), bell }
    }

    pub(crate) fn reach(&self, record: &mut Record) {
        record.hear(self.event, self.mark);
        if let Some(bell) = self.bell {
            record.bell(bell);
        }
    }
}
