//! The batch way: one consumer reads, for all its sessions at once, which events are for which of them.
//!
//! The consumer has one cursor. Its [`Roster`] says which session is in which cohort as of that cursor: changes of cohort are taken
//! from the entries as they are passed, and attaches and detaches from a list of [`Op`]s that [`Relay::fill`](crate::Relay::fill)
//! hands over. A session attached in the past is caught up alone, and joins its cohort where that ends.
//!
//! It reads the whole ring for passive sessions too: what is not for them costs it nothing there. Summaries come with the operations.
//!
//! Invariants:
//! - nothing at or behind `limit` is read: operations up to there have been handed over, later ones may not;
//! - every audience in an entry from `cursor` on covers every cohort of the roster.

mod roster;
mod telling;

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_proto::{Ephemeral, Event, Position, Seq, Unread};
use guildhall_ring::{Cursor, Version};

use crate::entry::Fact;
use crate::hearing::{Hearing, Mark, Readers};
use crate::news::Summary;
use crate::scan::{Scan, Scanned};
use crate::session::{Delivery, DetachReason, Gap, SessionKey};
use crate::stream::End;

pub(crate) use roster::{Roster, Row, Seat};
use telling::Telling;

/// What sessions of the batch consumer hear, each named by the token it was attached with.
#[derive(Debug, Clone, Copy)]
pub enum BatchItem<'a> {
    /// An event that is for these sessions. There may be several items for one event, never two for one session.
    Event {
        /// The event.
        event: &'a Arc<Event>,
        /// Its sessions, at least one, in no particular order.
        tokens: &'a [u64],
    },
    /// These sessions have lost events, or may have.
    Gap {
        /// What they have lost.
        gap: Gap,
        /// The sessions, at least one, in no particular order.
        tokens: &'a [u64],
    },
    /// Passive sessions that all have the same news.
    Unread {
        /// In which channels there is news.
        unread: &'a Unread,
        /// Its sessions, at least one, in no particular order.
        tokens: &'a [u64],
    },
    /// Active sessions that hear the same of somebody's typing or presence.
    Ephemeral {
        /// What they hear.
        ephemeral: &'a Ephemeral,
        /// The sessions, at least one, in no particular order.
        tokens: &'a [u64],
    },
    /// A session has ended here; nothing follows for it.
    Detached {
        /// Why.
        reason: DetachReason,
        /// The session.
        token: u64,
    },
}

/// What a read of the batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchRead {
    /// The bound was reached and there is more: read again.
    More,
    /// All that was handed over has been read: call [`Relay::fill`](crate::Relay::fill) when events were applied or sessions
    /// attached or detached.
    Idle,
}

/// The batch consumer's end of a relay. It may be sent to another thread.
pub struct Batch {
    rings: Arc<Readers>,
    cursor: Cursor,
    limit: Cursor,
    /// The position of the last entry passed.
    known: Position,
    roster: Roster,
    telling: Telling,
    ops: Ops,
    /// Set when the consumer fell out of the ring: what its sessions are to be told first.
    lost: Option<Lost>,
}

/// A change of the batch's sessions, at a place in the ring.
#[derive(Debug)]
pub(crate) enum Op {
    Join(Join),
    Leave {
        key: SessionKey,
        token: u64,
        end: End,
    },
    /// A session that listens in another way.
    Switch {
        key: SessionKey,
        place: Cursor,
        hearing: Hearing,
        since: Seq,
    },
    /// News to be told.
    Unread {
        place: Cursor,
        at: Position,
        summary: Arc<Summary>,
    },
}

/// A session that joins.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) seat: Seat,
    /// Where it joins its cohort: from here on it is served with it.
    pub(crate) at: Cursor,
    /// The last position it knows.
    pub(crate) known: Position,
    /// Boxed: most sessions come now, and have nothing of their own.
    pub(crate) alone: Option<Box<Alone>>,
}

/// What a session that joins is served alone.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// What it is told first, if it comes back and the relay does not reach back to what it knows.
    pub(crate) gap: Option<Gap>,
    /// Where it is, if it was attached in the past, and the relay's position at the place where it joins.
    pub(crate) catch_up: Option<(Scan, Position)>,
    /// Set if it ends before it has joined.
    pub(crate) end: Option<End>,
}

#[derive(Debug)]
struct Lost {
    rows: Vec<Row>,
    ops: Ops,
    gap: Gap,
    /// Where the consumer goes on: the gap is of the entries before.
    until: Cursor,
}

/// Operations by place, those at one place in the order they were made.
#[derive(Debug, Default)]
struct Ops {
    by_place: BTreeMap<(Cursor, u64), Op>,
    joining: BTreeMap<SessionKey, (Cursor, u64)>,
    count: u64,
}

impl Batch {
    pub(crate) fn new(rings: Arc<Readers>, cursor: Cursor, known: Position) -> Self {
        let (roster, telling) = (Roster::default(), Telling::default());
        Self { rings, cursor, limit: cursor, known, roster, telling, ops: Ops::default(), lost: None }
    }

    /// Sessions that the batch serves as of its cursor.
    pub fn sessions(&self) -> usize {
        self.roster.len()
    }

    /// Shows the visitor who hears what, in order, for at most `max_events` events (0 counts as 1) of those handed over; gaps,
    /// detaches and what is told beside the events come on top.
    ///
    /// Never waits. Each session hears what it would hear as a stream, but that all lag together: if the consumer has fallen out
    /// of the ring, every session is told a gap.
    pub fn read(&mut self, max_events: usize, mut visit: impl FnMut(BatchItem<'_>)) -> BatchRead {
        if let Some(lost) = self.lost.take() {
            self.tell_lost(lost, &mut visit);
        }
        for place in self.ops.catching_up() {
            self.catch_up(place, &mut visit);
        }
        let mut left = max_events.max(1);
        let mut cursor = self.cursor;
        let read = self.rings.whole.read(&mut cursor, |at, entry| {
            if at >= self.limit || left == 0 {
                return ControlFlow::Break(());
            }
            self.ops.apply(at, &mut self.roster, &mut visit);
            self.telling.show(&self.rings.told, at, &self.roster, &mut visit);
            match &entry.fact {
                Fact::Event(event) => {
                    left -= 1;
                    self.known = event.position;
                    self.roster.show(entry, |tokens| visit(BatchItem::Event { event, tokens }));
                }
                Fact::Hole { through } => {
                    let gap = Gap { after: self.known, through: *through };
                    self.known = *through;
                    self.roster.show(entry, |tokens| visit(BatchItem::Gap { gap, tokens }));
                }
                Fact::Unread { .. } => unreachable!("summaries go into the slow ring alone"),
            }
            ControlFlow::Continue(())
        });
        self.cursor = cursor;
        if read.is_ok() {
            self.ops.apply(cursor, &mut self.roster, &mut visit);
            self.telling.show(&self.rings.told, cursor, &self.roster, &mut visit);
        }
        // A cursor that has fallen out of the ring is idle: the next fill finds it there.
        if read.is_ok() && cursor < self.limit { BatchRead::More } else { BatchRead::Idle }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Takes over the operations up to `limit`, and what was told up to `told`.
    pub(crate) fn take(&mut self, ops: impl Iterator<Item = Op>, limit: Cursor, told: Version) {
        self.limit = limit;
        self.telling.extend(told);
        for op in ops {
            match op {
                // It is there already, and nothing comes before it: most sessions that come while nothing happens.
                Op::Join(Join { seat, at, alone: None, .. })
                    if at <= self.cursor && self.lost.is_none() && self.ops.by_place.is_empty() =>
                {
                    self.roster.seat(seat);
                }
                op @ (Op::Join(_) | Op::Leave { .. } | Op::Switch { .. } | Op::Unread { .. }) => self.ops.push(op),
            }
        }
    }

    /// Starts again at `limit`, having fallen out of the ring, with the sessions and cohorts there.
    pub(crate) fn restart(&mut self, position: Position, seats: impl Iterator<Item = Seat>) {
        let mut gap = Gap { after: self.known, through: position };
        let mut rows = self.roster.clear();
        let mut ops = mem::take(&mut self.ops);
        if let Some(earlier) = self.lost.take() {
            // Nobody read between two falls: what the first had to tell is still to be told.
            gap.after = earlier.gap.after;
            rows = earlier.rows;
            ops = earlier.ops.followed_by(ops);
        }
        self.lost = Some(Lost { rows, ops, gap, until: self.limit });
        self.cursor = self.limit;
        self.telling.skip();
        self.known = position;
        for seat in seats {
            self.roster.seat(seat);
        }
    }

    fn tell_lost(&mut self, lost: Lost, visit: &mut impl FnMut(BatchItem<'_>)) {
        for row in &lost.rows {
            if !row.tokens.is_empty() {
                visit(BatchItem::Gap { gap: lost.gap, tokens: &row.tokens });
            }
        }
        // Who joined where the gap ends has lost nothing, and is still to be told what was summed up after that.
        let mut joined = Roster::default();
        for ((place, _), op) in lost.ops.by_place {
            match op {
                Op::Join(mut join) => {
                    if let Some(end) = serve_alone(&mut join, &self.rings, visit) {
                        visit(BatchItem::Detached { reason: end.reason, token: join.seat.token });
                    } else if place < lost.until {
                        // Not told by positions: a hole at the end of a guild may be told for the one where the relay was.
                        let gap = Gap { after: join.known, through: lost.gap.through };
                        visit(BatchItem::Gap { gap, tokens: &[join.seat.token] });
                    } else {
                        joined.seat(join.seat);
                    }
                }
                Op::Leave { key, token, end } => {
                    joined.unseat(key);
                    visit(BatchItem::Detached { reason: end.reason, token });
                }
                Op::Switch { key, hearing, since, .. } => joined.switch(key, hearing, since),
                Op::Unread { at, summary, .. } => {
                    joined.tell_news(at, &summary, |unread, tokens| visit(BatchItem::Unread { unread, tokens }));
                }
            }
        }
    }

    fn catch_up(&mut self, place: (Cursor, u64), visit: &mut impl FnMut(BatchItem<'_>)) {
        let Some(Op::Join(join)) = self.ops.by_place.get_mut(&place) else {
            return;
        };
        if let Some(end) = serve_alone(join, &self.rings, visit) {
            visit(BatchItem::Detached { reason: end.reason, token: join.seat.token });
            self.ops.joining.remove(&join.seat.who.key);
            self.ops.by_place.remove(&place);
        }
    }
}

/// Serves a session what is for it alone, up to the place where it joins, or ends; the end, if it has one.
fn serve_alone(join: &mut Join, rings: &Readers, visit: &mut impl FnMut(BatchItem<'_>)) -> Option<End> {
    let Alone { gap, catch_up, end } = *join.alone.take()?;
    let tokens = &[join.seat.token];
    if let Some(gap) = gap {
        visit(BatchItem::Gap { gap, tokens });
    }
    let Some((mut scan, position)) = catch_up else {
        return end;
    };
    let (limit, through) = match end {
        Some(end) => (end.at.whole.min(join.at), end.position),
        None => (join.at, position),
    };
    // It reads the whole ring alone.
    let limit = Mark { whole: limit, slow: Cursor(0) };
    let mut show = |delivery: Delivery<'_>| match delivery {
        Delivery::Event(event) => visit(BatchItem::Event { event, tokens }),
        Delivery::Gap(gap) => visit(BatchItem::Gap { gap, tokens }),
        Delivery::Unread(unread) => visit(BatchItem::Unread { unread, tokens }),
        Delivery::Ephemeral(_) => unreachable!("a scan reads the rings alone"),
        Delivery::Detached(reason) => visit(BatchItem::Detached { reason, token: tokens[0] }),
    };
    let scanned = scan.run(rings, limit, usize::MAX, &mut show);
    if scanned == Scanned::Lost {
        show(Delivery::Gap(scan.jump(limit, through)));
    } else if end.is_none() {
        scan.tell_missed(through, show);
    }
    join.known = scan.known;
    end
}

impl Alone {
    /// Nothing, if there is nothing.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self.gap.is_some() || self.catch_up.is_some() || self.end.is_some()).then(|| Box::new(self))
    }
}

impl Ops {
    fn push(&mut self, op: Op) {
        match op {
            Op::Join(join) => {
                let place = (join.at, self.count);
                self.joining.insert(join.seat.who.key, place);
                self.by_place.insert(place, Op::Join(join));
            }
            Op::Leave { key, token, end } => {
                let joining = self.joining.get(&key).and_then(|place| self.by_place.get_mut(place));
                match joining {
                    // It ends before the place where it would join: it never does.
                    Some(Op::Join(join)) if end.at.whole < join.at => {
                        join.alone.get_or_insert_default().end = Some(end);
                    }
                    Some(_) | None => {
                        self.by_place.insert((end.at.whole, self.count), Op::Leave { key, token, end });
                    }
                }
            }
            Op::Switch { place, .. } | Op::Unread { place, .. } => {
                self.by_place.insert((place, self.count), op);
            }
        }
        self.count += 1;
    }

    fn followed_by(mut self, later: Self) -> Self {
        for op in later.by_place.into_values() {
            self.push(op);
        }
        self
    }

    /// The joins that have something to be served alone, or end before they join.
    fn catching_up(&self) -> Vec<(Cursor, u64)> {
        let is_due = |place: &&(Cursor, u64)| match self.by_place.get(*place) {
            Some(Op::Join(join)) => join.alone.is_some(),
            Some(Op::Leave { .. } | Op::Switch { .. } | Op::Unread { .. }) | None => false,
        };
        self.joining.values().filter(is_due).copied().collect()
    }

    /// Carries out what is due before the entry at `at`.
    fn apply(&mut self, at: Cursor, roster: &mut Roster, visit: &mut impl FnMut(BatchItem<'_>)) {
        while let Some(first) = self.by_place.first_entry().filter(|first| first.key().0 <= at) {
            match first.remove() {
                Op::Join(join) => {
                    self.joining.remove(&join.seat.who.key);
                    roster.seat(join.seat);
                }
                Op::Leave { key, token, end } => {
                    roster.unseat(key);
                    visit(BatchItem::Detached { reason: end.reason, token });
                }
                Op::Switch { key, hearing, since, .. } => roster.switch(key, hearing, since),
                Op::Unread { at, summary, .. } => {
                    roster.tell_news(at, &summary, |unread, tokens| visit(BatchItem::Unread { unread, tokens }));
                }
            }
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("sessions", &self.sessions())
            .field("cursor", &self.cursor)
            .field("limit", &self.limit)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}
