//! How a session listens, and what it may listen to: two rings, and what is told beside them.
//!
//! Every entry goes into the relay's ring, and those that can be for passive sessions into the slow ring as well, in the same order.
//! A session reads one of them at a time; a [`Switch`] says from where on it reads which, and what is for it there.

use guildhall_proto::{Level, Position, Seq, SessionId, Status, UserId};
use guildhall_ring::{Cursor, Reader};

use crate::entry::Entry;
use crate::session::SessionKey;
use crate::told::ToldReader;

/// What decides, beside its rights, what a session hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hearing {
    pub(crate) level: Level,
    /// Whether `here` calls it.
    pub(crate) is_online: bool,
}

/// Sessions are listed apart by how they listen, so that what is not for a list costs nothing for those in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum List {
    Active,
    PassiveOnline,
    PassiveOffline,
}

impl List {
    pub(crate) const PASSIVE: [Self; 2] = [Self::PassiveOnline, Self::PassiveOffline];
    pub(crate) const ALL: [Self; 3] = [Self::Active, Self::PassiveOnline, Self::PassiveOffline];
}

impl Hearing {
    pub(crate) fn new(level: Level, status: Status) -> Self {
        Self { level, is_online: status.is_online() }
    }

    #[must_use]
    pub(crate) fn changed(self, change: Change) -> Self {
        match change {
            Change::Level(level) => Self { level, ..self },
            Change::Status(status) => Self::new(self.level, status),
        }
    }

    #[inline]
    pub(crate) fn list(self) -> List {
        match (self.level, self.is_online) {
            (Level::Active, _) => List::Active,
            (Level::Passive, true) => List::PassiveOnline,
            (Level::Passive, false) => List::PassiveOffline,
        }
    }

    #[inline]
    pub(crate) fn ring(self) -> Ring {
        match self.level {
            Level::Active => Ring::Whole,
            Level::Passive => Ring::Slow,
        }
    }
}

/// A change of how a session listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Level(Level),
    Status(Status),
}

/// Which of the two rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Every entry; one index for each event.
    Whole,
    /// What can be for passive sessions, and their summaries.
    Slow,
}

/// One place in the order of events, as cursors of both rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) whole: Cursor,
    pub(crate) slow: Cursor,
}

impl Mark {
    #[inline]
    pub(crate) fn of(self, ring: Ring) -> Cursor {
        match ring {
            Ring::Whole => self.whole,
            Ring::Slow => self.slow,
        }
    }

    /// The earlier of two places.
    #[must_use]
    pub(crate) fn or_earlier(self, other: Self) -> Self {
        Self { whole: self.whole.min(other.whole), slow: self.slow.min(other.slow) }
    }
}

/// Leave to read both rings, and what is told beside them. All of a relay share it.
#[derive(Debug)]
pub(crate) struct Readers {
    pub(crate) whole: Reader<Entry>,
    pub(crate) slow: Reader<Entry>,
    pub(crate) told: ToldReader,
}

impl Readers {
    #[inline]
    pub(crate) fn of(&self, ring: Ring) -> &Reader<Entry> {
        match ring {
            Ring::Whole => &self.whole,
            Ring::Slow => &self.slow,
        }
    }

    pub(crate) fn head(&self) -> Mark {
        Mark { whole: self.whole.head(), slow: self.slow.head() }
    }
}

/// From where on a session listens in another way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switch {
    pub(crate) mark: Mark,
    /// The position at the mark.
    pub(crate) position: Position,
    pub(crate) hearing: Hearing,
    /// News up to here is no news to a passive session.
    pub(crate) since: Seq,
}

/// One session, as an entry has to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener {
    pub(crate) key: SessionKey,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) hearing: Hearing,
    pub(crate) since: Seq,
}
