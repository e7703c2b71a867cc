//! One session's place in the rings, and what is for it from there on.
//!
//! Invariants:
//! - `cohort` is the session's as of just before the entry at `cursor`, and `who` says how it listens there;
//! - `switches` rise, and none lies behind `cursor`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_proto::{ChannelId, Ephemeral, EventKind, Position, Unread};
use guildhall_ring::{Cursor, Reader, Version};

use crate::cohort::Cohort;
use crate::entry::{Entry, Fact, Scope};
use crate::hearing::{Listener, Mark, Readers, Ring, Switch};
use crate::rare::Rare;
use crate::session::{Delivery, Gap};
use crate::told::{self, ToldReader};

#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) who: Listener,
    pub(crate) ring: Ring,
    pub(crate) cursor: Cursor,
    pub(crate) cohort: Arc<Cohort>,
    /// From which place of the whole ring on it has been in its cohort, or has listened as it does.
    pub(crate) since: Cursor,
    /// Changes of cohort that the ring does not hold under this session, by cursor of the whole ring, newest first.
    pub(crate) past: Rare<(Cursor, Arc<Cohort>)>,
    /// From where on it listens in another way.
    pub(crate) switches: Rare<Switch>,
    /// Whether the session has been told its end.
    pub(crate) is_over: bool,
    /// Whether it is passive, was away, and has not yet come to the slow ring: then it is told there what was news.
    pub(crate) tells_missed: bool,
    /// The channels whose latest message so far it would have heard as an active one.
    #[expect(clippy::box_collection, reason = "most sessions begin at the head: it takes them 8 bytes, not 24")]
    pub(crate) missed: Option<Box<BTreeSet<ChannelId>>>,
    /// The relay's position when the session was attached, if that was behind where it was accepted: up to it, its ring is the whole one.
    pub(crate) joined: Option<Box<Position>>,
    /// The last position the session knows: of its last delivery, or of its attach.
    pub(crate) known: Position,
}

/// The cohort of a waiting session that has changed.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) cohort: Arc<Cohort>,
    /// From which place of the whole ring on.
    pub(crate) since: Cursor,
}

/// Where a scan has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// The entry at the cursor is for the session.
    Found,
    /// Nothing more is for it before the limit, where the cursor is now.
    End,
    /// The entry at the cursor has left the ring.
    Lost,
}

impl Scan {
    /// Delivers up to `max` of what is for the session before `limit`, then goes on to the next that is, without taking it.
    pub(crate) fn run(
        &mut self,
        rings: &Readers,
        limit: Mark,
        max: usize,
        mut visit: impl FnMut(Delivery<'_>),
    ) -> Scanned {
        let mut left = max;
        loop {
            let stretch = match self.switches.first() {
                Some(switch) => switch.mark.of(self.ring).min(limit.of(self.ring)),
                None => limit.of(self.ring),
            };
            let scanned = self.run_stretch(rings.of(self.ring), stretch, &mut left, &mut visit);
            let ring = self.ring;
            let is_due = |switch: &&Switch| scanned == Scanned::End && switch.mark.of(ring) <= limit.of(ring);
            let Some(switch) = self.switches.first().filter(is_due).copied() else {
                return scanned;
            };
            if self.missed.is_some() {
                if left == 0 {
                    return Scanned::Found;
                }
                left -= 1;
                self.tell_missed(switch.position, &mut visit);
            }
            self.tells_missed = false;
            self.switches.remove_first();
            self.switch(switch);
        }
    }

    /// Tells where there is news that came, up to `at`, before the session came to its summaries.
    pub(crate) fn tell_missed(&mut self, at: Position, mut visit: impl FnMut(Delivery<'_>)) {
        self.tells_missed = false;
        if let Some(missed) = self.missed.take() {
            visit(Delivery::Unread(&Unread { at, channels: missed.into_iter().collect() }));
        }
    }

    /// Keeps in mind what an entry of the whole ring, which the session is past, is to it as news.
    fn note_missed(&mut self, entry: &Entry) {
        let Fact::Event(event) = &entry.fact else {
            return;
        };
        if let (EventKind::MessagePublished(message), Scope::Message { audience, except, .. }) =
            (&event.kind, &entry.scope)
        {
            if audience.sees(&self.cohort) && *except != Some(self.who.session) {
                self.missed.get_or_insert_default().insert(message.channel);
            } else {
                self.forget_missed(message.channel);
            }
        } else if let EventKind::ChannelDeleted { channel, .. } = &event.kind {
            self.forget_missed(channel.id);
        }
    }

    fn forget_missed(&mut self, channel: ChannelId) {
        if let Some(missed) = &mut self.missed {
            missed.remove(&channel);
            if missed.is_empty() {
                self.missed = None;
            }
        }
    }

    /// Goes on to the next entry for the session before `limit`.
    pub(crate) fn seek(&mut self, rings: &Readers, limit: Mark) -> Scanned {
        self.run(rings, limit, 0, |_| {})
    }

    /// Jumps to where the session stands at the relay's head, however it listens there; the gap that it is to be told.
    pub(crate) fn jump(&mut self, to: Mark, through: Position) -> Gap {
        let gap = Gap { after: self.known, through };
        self.known = through;
        self.stand(to);
        self.since = to.whole;
        gap
    }

    /// Goes to `mark` in the ring of its level; nothing is ahead of it there but what will come.
    pub(crate) fn stand(&mut self, mark: Mark) {
        self.ring = self.who.hearing.ring();
        self.cursor = mark.of(self.ring);
        self.past = Rare::default();
        (self.tells_missed, self.missed) = (false, None);
        self.switches = Rare::default();
    }

    /// Goes to `mark` after a time of waiting, during which how it listens and its cohort may have changed. Turns behind the mark
    /// are still before it.
    pub(crate) fn stand_woken(&mut self, mark: Mark, switches: Rare<Switch>, cohort: Option<Moved>) {
        let (passed, ahead): (Vec<Switch>, Vec<Switch>) =
            switches.into_iter().partition(|switch| switch.mark.or_earlier(mark) == switch.mark);
        self.change_waiting(passed.last(), cohort);
        self.stand(mark);
        self.switches.extend(ahead);
    }

    /// Takes in how a waiting session listens now, and its cohort, if they have changed.
    pub(crate) fn change_waiting(&mut self, switch: Option<&Switch>, cohort: Option<Moved>) {
        if let Some(Switch { mark, hearing, since, .. }) = switch {
            self.who.hearing = *hearing;
            self.who.since = *since;
            self.since = self.since.max(mark.whole);
        }
        if let Some(Moved { cohort, since }) = cohort {
            self.cohort = cohort;
            self.since = self.since.max(since);
        }
    }

    /// The next after `from` of what is told beside the events that is for the session, which has read all up to `head`.
    pub(crate) fn next_told(
        &self,
        told: &ToldReader,
        from: &mut Version,
        head: Cursor,
    ) -> Option<(Version, Ephemeral)> {
        told::next(told, from, head, (&self.who, &self.cohort, self.since))
    }

    /// Listens from here on as `switch` says.
    pub(crate) fn switch(&mut self, switch: Switch) {
        self.who.hearing = switch.hearing;
        self.who.since = switch.since;
        self.since = switch.mark.whole;
        self.ring = switch.hearing.ring();
        self.cursor = switch.mark.of(self.ring);
        if self.ring == Ring::Slow {
            debug_assert!(self.past.is_empty(), "the past ends before the slow ring begins");
        }
    }

    fn run_stretch(
        &mut self,
        ring: &Reader<Entry>,
        limit: Cursor,
        left: &mut usize,
        visit: &mut impl FnMut(Delivery<'_>),
    ) -> Scanned {
        if self.cursor >= limit {
            return Scanned::End;
        }
        let mut found = false;
        let mut last = None;
        let mut cursor = self.cursor;
        let read = ring.read(&mut cursor, |at, entry| {
            if at >= limit {
                return ControlFlow::Break(());
            }
            let moved = self.moved(at, entry);
            let after = moved.unwrap_or(&self.cohort);
            if entry.is_for(&self.who, &self.cohort, after) {
                if *left == 0 {
                    found = true;
                    return ControlFlow::Break(());
                }
                *left -= 1;
                match &entry.fact {
                    Fact::Event(event) => {
                        last = Some(event.position);
                        visit(Delivery::Event(event));
                    }
                    Fact::Hole { through } => {
                        let after = last.unwrap_or(self.known);
                        last = Some(*through);
                        visit(Delivery::Gap(Gap { after, through: *through }));
                    }
                    Fact::Unread { at, summary } => {
                        if let Some(unread) = summary.unread(*at, &self.who, after) {
                            visit(Delivery::Unread(&unread));
                        }
                    }
                }
            }
            if let Some(to) = moved.map(Arc::clone) {
                self.cohort = to;
                if self.ring == Ring::Whole {
                    self.since = at.next();
                    if self.past.last().is_some_and(|(past, _)| *past == at) {
                        self.past.remove_last();
                    }
                }
            }
            if self.tells_missed {
                self.note_missed(entry);
            }
            ControlFlow::Continue(())
        });
        self.cursor = cursor;
        self.known = last.unwrap_or(self.known);
        match read {
            Ok(_) if found => Scanned::Found,
            Ok(_) => Scanned::End,
            // A cursor ahead of the ring cannot be: the limit is at most its head.
            Err(_) => Scanned::Lost,
        }
    }

    #[inline]
    fn moved<'a>(&'a self, at: Cursor, entry: &'a Entry) -> Option<&'a Arc<Cohort>> {
        match self.past.last() {
            Some((past, to)) if *past == at => Some(to),
            Some(_) | None => entry.moved(self.who.key),
        }
    }
}
