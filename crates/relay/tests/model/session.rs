//! One session, naively: all it should hear, in order, and how it listens.

use std::collections::{BTreeMap, VecDeque};

use guildhall_proto::{ChannelId, Level, Position, SessionId, Status, Unread, UserId};
use guildhall_relay::{DetachReason, Gap, SessionKey};

use crate::world::{Ear, World};

/// What a session should hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event(u64),
    /// A resync up to here.
    Hole(u64),
    /// A summary made here.
    Unread(u64, Vec<ChannelId>),
    Detached(DetachReason),
}

/// One session, in the model.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) accepted: u64,
    /// How it listens as of what the relay has been fed.
    pub(crate) ear: Ear,
    /// News up to here is none to it.
    pub(crate) since: u64,
    /// Where the relay was when it was attached.
    pub(crate) joined: u64,
    /// The last change of how it listens, while it lagged.
    pub(crate) switched: u64,
    pub(crate) was_passive: bool,
    /// It lags and has a change of ring before it, which the new ring may have passed: what it has lost may not have been for it.
    pub(crate) switches_while_lagging: bool,
    /// Not ended, as far as the relay has been fed.
    pub(crate) is_alive: bool,
    pub(crate) detach_at: Option<Position>,
    /// What it has not heard yet.
    pub(crate) due: VecDeque<Item>,
    /// Up to where it knows.
    pub(crate) known: u64,
    pub(crate) is_over: bool,
    pub(crate) is_stream: bool,
    pub(crate) is_waiting: bool,
    /// It has lost its place, and is still to be told the gap.
    pub(crate) is_lost: bool,
    /// How much was due when it lost its place.
    pub(crate) lost_items: usize,
    /// Of a batch that starts again, and of a session detached while it lags, it is not seen from outside whether a summary at the end of the gap was made before or after.
    pub(crate) unsure_through: Option<u64>,
    /// It was detached, at a position in the past, while it had lost its place: what it has lost may all lie behind its end.
    pub(crate) may_have_lost_nothing: bool,
    /// It was passive and detached at a position in the past: where the slow ring does not reach back to that, it is not known on which
    /// side of it a loss lies, be it the first or one behind it.
    pub(crate) ends_unsure: bool,
    pub(crate) key: SessionKey,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Level(Level),
    Status(Status),
}

#[derive(Debug, Clone)]
pub(crate) enum Heard {
    Event(Position),
    Unread(Unread),
    Gap(Gap),
    Detached(DetachReason),
}

impl Item {
    /// The number of the event that it is, or stands behind; `None` for the end.
    pub(crate) fn place(&self) -> Option<u64> {
        match self {
            Self::Event(seq) | Self::Hole(seq) | Self::Unread(seq, _) => Some(*seq),
            Self::Detached(_) => None,
        }
    }
}

impl Model {
    pub(crate) fn end(&mut self, reason: DetachReason) {
        self.is_alive = false;
        self.due.push_back(Item::Detached(reason));
    }

    pub(crate) fn switch(&mut self, change: Change, at: u64) {
        match change {
            Change::Level(level) if level != self.ear.level => {
                self.ear.level = level;
                self.since = self.since.max(at);
                self.was_passive = true;
            }
            Change::Level(_) => {}
            Change::Status(status) => self.ear.is_online = status.is_online(),
        }
        self.switched = self.switched.max(at);
        self.switches_while_lagging |= !self.is_waiting || !self.due.is_empty();
    }

    /// What a summary tells it.
    pub(crate) fn unread(&self, world: &World, at: u64, news: &BTreeMap<ChannelId, u64>) -> Option<Item> {
        let is_news = |seq: u64| seq > self.since && world.is_for_active(seq, self.user, self.session, false);
        let channels: Vec<ChannelId> = news.iter().filter(|(_, seq)| is_news(**seq)).map(|(id, _)| *id).collect();
        (!channels.is_empty()).then_some(Item::Unread(at, channels))
    }

    /// Drops a summary that may have been lost in a gap, now that it is clear that it was.
    pub(crate) fn forgive(&mut self) {
        let Some(through) = self.unsure_through.take() else { return };
        while matches!(self.due.front(), Some(Item::Unread(seq, _)) if *seq <= through) {
            self.due.pop_front();
        }
    }
}
