//! What one session has heard: numbers and marks, no contents.

use guildhall_client::{DetachReason, Gap};
use guildhall_proto::{ChannelId, Ephemeral, EphemeralKind, Epoch, Millis, Unread, UserId};

use crate::checks::Number;
use crate::trial::bell::{Belfry, Bell};
use crate::trial::shape::Shape;
use crate::trial::tally::{Sound, Tally};

/// One session's ear.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) tally: Tally,
    pub(crate) news: Vec<News>,
    /// What was told beside the events, in the order in which it came.
    pub(crate) told: Vec<Told>,
    pub(crate) end: Option<DetachReason>,
    next_bell: usize,
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
        let tally = Tally::new(epoch, accepted);
        Self { tally, news: Vec::new(), told: Vec::new(), end: None, next_bell: 0 }
    }

    /// Takes note of an event. O(1). After its end a session hears nothing that is as it was made.
    pub(crate) fn hear(&mut self, sound: &Sound<'_>) {
        self.tally.hear(sound.event, sound.mark.filter(|_| self.end.is_none()));
        if let Some(bell) = sound.bell {
            self.bell(bell);
        }
    }

    pub(crate) fn gap(&mut self, gap: Gap) {
        self.tally.gap(gap);
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
        self.told.push(Told { at: ephemeral.at.seq.0, behind: self.tally.numbers.next(), user, typing });
    }

    pub(crate) fn end(&mut self, reason: DetachReason, belfry: &Belfry) {
        self.end = Some(reason);
        belfry.ended(self.next_bell);
    }

    /// Takes note of a bell; only then has the session heard it.
    fn bell(&mut self, bell: Bell) {
        self.next_bell = self.next_bell.max(bell.number() + 1);
    }

    /// What the record takes.
    pub(crate) fn bytes(&self) -> usize {
        let own = size_of::<Self>() - size_of::<Tally>();
        own + self.tally.bytes() + size_of_val(&self.news[..]) + size_of_val(&self.told[..])
    }
}
