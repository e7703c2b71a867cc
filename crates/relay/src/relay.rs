//! The relay itself: events in, sessions attached and woken.
//!
//! Invariants:
//! - a waiting session is in the list of its cohort for those who listen as it does, and nothing in the ring is for it that it has not heard;
//! - for each event: the audience from before, then rights and cohorts, then the audience from after, then the ends of sessions at
//!   their doors, then the entry in the rings;
//! - the slow ring has the entries of the whole ring that can be for passive sessions, and summaries between them;
//! - a waiting session is called at its door if something told is for it that it has not heard;
//! - within `run`, entries and positions rise together: the entry at `run.at` follows `run.position`;
//! - at most `sessions_max` sessions, and `pending_max` attaches and switches ahead of the relay.

mod attach;
mod fan_out;
mod levels;
mod past;
mod resume;
mod resync;
mod tell;
mod unread;

use std::collections::BTreeMap;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use guildhall_permissions::Rights;
use guildhall_proto::limits::GUILD_SESSIONS_MAX;
use guildhall_proto::{Epoch, Event, Position, RoleId, Seq, Subject};
use guildhall_ring::{
    Budget, Cursor, LatestConfig, LatestHeld, LatestWriter, Reader, RingConfig, Writer, latest, ring, ring_within,
};

use crate::audience::Audiences;
use crate::batch::{Batch, Op, Seat};
use crate::cohort::Cohorts;
use crate::entry::Entry;
use crate::hearing::{Change, Mark, Readers};
use crate::news::News;
use crate::session::{ApplyError, SessionKey, StaleEpoch};
use crate::slots::{NONE, Slots, Way};
use crate::told::Told;

/// How much one relay holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayConfig {
    /// The bounds of the relay's ring, in events and bytes; the bytes of the audiences made for its events count. Lower and sessions that pause are told gaps; higher and a busy guild
    /// holds that much on every node with sessions of it.
    pub ring: RingConfig,
    /// The bounds of the slow ring, which passive sessions read: of events that call somebody or change the guild, and summaries.
    /// Default 4,096 entries, 256 KiB. Lower and passive sessions that pause are told gaps; higher as above.
    pub slow_ring: RingConfig,
    /// The bounds of the keep-latest map of typing and presence. Default 4,096 subjects, 1 MiB. Lower and sessions that lag miss
    /// subjects; higher and a busy guild holds that much.
    pub told: LatestConfig,
    /// The least time between two unread summaries. Default 5 s. Lower and a busy guild wakes its passive sessions as often; higher
    /// and they learn later of news.
    pub unread_every: Duration,
    /// Sessions attached at a time. Default: [`GUILD_SESSIONS_MAX`]. Lower and users are refused; higher has no use.
    pub sessions_max: usize,
    /// Attaches, and changes of level or status, that the owner accepted at a position the relay has not reached. Default 65,536. Lower and a relay that lags
    /// during a storm of attaches makes the shell retry; higher costs about 100 bytes each.
    pub pending_max: usize,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            ring: RingConfig::default(),
            slow_ring: RingConfig { bytes_max: 256 * 1024, ..RingConfig::default() },
            told: LatestConfig::default(),
            unread_every: Duration::from_secs(5),
            sessions_max: GUILD_SESSIONS_MAX,
            pending_max: 65_536,
        }
    }
}

/// The fan-out of one guild on one backend node. The crate's page shows how to drive it.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    ring: Writer<Entry>,
    slow: Writer<Entry>,
    told: LatestWriter<Subject, Arc<Told>>,
    rings: Arc<Readers>,
    rights: Rights,
    position: Position,
    /// The last event number of the epoch before, known once an epoch was opened: what an older position may reach up to.
    opened_at: Seq,
    run: Run,
    slots: Slots,
    cohorts: Cohorts,
    audiences: Audiences,
    /// What waits for the relay to reach a position, those of one position in the order they came.
    pending: BTreeMap<(Position, u64), Pending>,
    /// Attaches and switches in `pending`: what `pending_max` bounds.
    pending_bounded: usize,
    pending_count: u64,
    /// Changes of the batch's sessions, not yet taken over.
    ops: Vec<Op>,
    batch_sessions: usize,
    news: News,
}

/// A stretch of events without a hole.
#[derive(Debug, Clone, Copy)]
struct Run {
    at: Cursor,
    /// Where it begins in the slow ring.
    slow: Cursor,
    position: Position,
}

#[derive(Debug)]
enum Pending {
    Attach { key: SessionKey, roles: Arc<[RoleId]>, members: bool },
    Switch { key: SessionKey, change: Change },
    Detach { key: SessionKey },
}

impl RelayConfig {
    /// Whether one more may wait beside so many.
    fn may_pend(&self, pending: usize) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::PendingUnbounded.is_on() {
            return true;
        }
        pending < self.pending_max
    }
}

/// How a new epoch begins for a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Nothing was lost: the next event is the one that follows.
    Continued,
    /// Events may have been lost: [`Relay::resync`] from a view of the new epoch.
    MustResync,
}

impl Relay {
    /// A relay of the guild whose rights as of `at` are `rights`, and its end for the batch consumer. It accepts the events after
    /// `at`.
    pub fn new(config: RelayConfig, rights: Rights, at: Position) -> (Self, Batch) {
        Self::make(config, |config| ring(config, Cursor(0)), rights, at)
    }

    /// The same, with rings under a budget that they share with others.
    pub fn within(budget: &Arc<Budget>, config: RelayConfig, rights: Rights, at: Position) -> (Self, Batch) {
        Self::make(config, |config| ring_within(budget, config, Cursor(0)), rights, at)
    }

    fn make(
        config: RelayConfig,
        ring: impl Fn(RingConfig) -> (Writer<Entry>, Reader<Entry>),
        rights: Rights,
        at: Position,
    ) -> (Self, Batch) {
        let config = RelayConfig { sessions_max: config.sessions_max.min(NONE as usize - 1), ..config };
        let (writer, reader) = ring(config.ring);
        let (slow, slow_reader) = ring(config.slow_ring);
        let (told, told_reader) = latest(config.told);
        let rings = Arc::new(Readers { whole: reader, slow: slow_reader, told: told_reader });
        let batch = Batch::new(Arc::clone(&rings), writer.head(), at);
        let relay = Self {
            config,
            run: Run { at: writer.head(), slow: slow.head(), position: at },
            ring: writer,
            slow,
            told,
            rings,
            rights,
            position: at,
            opened_at: at.seq,
            slots: Slots::default(),
            cohorts: Cohorts::default(),
            audiences: Audiences::default(),
            pending: BTreeMap::new(),
            pending_bounded: 0,
            pending_count: 0,
            ops: Vec::new(),
            batch_sessions: 0,
            news: News::default(),
        };
        (relay, batch)
    }

    /// The same with a past: `past` are events up to `at`, oldest first, as far back as there are any. It begins before the oldest of
    /// them, by rights taken back to there, and has applied them all: so sessions [resume](Self::resume_stream) on it as on one that
    /// was there all the while.
    ///
    /// If there is a hole in `past`, or another epoch, or an event that cannot be taken back, it begins behind that. O(events), some microseconds each
    /// where rights change and less elsewhere; more of them than the ring keeps are in vain.
    pub fn with_past(
        budget: &Arc<Budget>,
        config: RelayConfig,
        mut rights: Rights,
        at: Position,
        past: &[Arc<Event>],
    ) -> (Self, Batch) {
        let (mut from, mut begin) = (at, past.len());
        for (idx, event) in past.iter().enumerate().rev() {
            let Some(before) = from.seq.0.checked_sub(1).filter(|_| event.position == from) else {
                break;
            };
            if rights.take_back(&event.kind).is_err() {
                break;
            }
            (from.seq, begin) = (Seq(before), idx);
        }
        let (mut relay, batch) = Self::within(budget, config, rights, from);
        for event in &past[begin..] {
            relay
                .apply(Arc::clone(event), &mut Vec::new())
                .expect("each event follows the one before it, or it was left out");
        }
        (relay, batch)
    }

    /// What its rings have leased of their budget, in bytes.
    pub fn leased(&self) -> usize {
        self.rings.whole.leased() + self.rings.slow.leased()
    }

    /// Has each of its rings give back what it has leased beyond its share, if other rings are short: to be called for a relay
    /// that nothing is applied to. Sessions that lag may be told gaps. What the rings held comes back, to be dropped where that holds
    /// nobody up.
    pub fn give_back(&mut self) -> impl Send + use<> {
        (self.ring.give_back(), self.slow.give_back())
    }

    /// The position of the last event applied.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The guild's rights as of [`position`](Self::position).
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Applies the next event and appends to `woken` the sessions that now have something to read.
    ///
    /// # Errors
    /// [`ApplyError::Stale`] if it was applied before or its epoch is over, [`ApplyError::Jump`] if it is not the next one.
    pub fn apply(&mut self, event: Arc<Event>, woken: &mut Vec<SessionKey>) -> Result<(), ApplyError> {
        let (got, at) = (event.position, self.position);
        if got <= at {
            return Err(ApplyError::Stale { got, at });
        }
        if got != at.next() {
            return Err(ApplyError::Jump { got, at });
        }
        self.fan_out(event, woken);
        self.position = got;
        self.settle(woken);
        debug_assert!(self.ring.head() == self.behind(got));
        Ok(())
    }

    /// How many entries its ring and its slow ring hold.
    pub fn entries(&self) -> [u64; 2] {
        [&self.ring, &self.slow].map(|ring| ring.head().since(ring.tail()))
    }

    /// How much its keep-latest map of typing and presence holds.
    pub fn told_held(&self) -> LatestHeld {
        self.rings.told.held()
    }

    /// Attaches and switches that wait for it to reach the position where the owner accepted them.
    pub fn pending(&self) -> usize {
        self.pending_bounded
    }

    /// Changes the bounds of both rings in bytes, and evicts at once what is above them: who was still to read that is told a gap.
    pub fn set_bytes_max(&mut self, ring: usize, slow_ring: usize) {
        self.ring.set_bytes_max(ring);
        self.slow.set_bytes_max(slow_ring);
    }

    /// Opens a new epoch. `clean_at` is where the one before it ended, if it ended with all its events known.
    ///
    /// # Errors
    /// [`StaleEpoch`] if it is not above the relay's.
    pub fn open_epoch(
        &mut self,
        epoch: Epoch,
        clean_at: Option<Position>,
        woken: &mut Vec<SessionKey>,
    ) -> Result<Opened, StaleEpoch> {
        if epoch <= self.position.epoch {
            return Err(StaleEpoch { got: epoch, current: self.position.epoch });
        }
        #[cfg(feature = "defects")]
        let clean_at = if guildhall_proto::Defect::UncleanTrusted.is_on() { Some(self.position) } else { clean_at };
        if clean_at != Some(self.position) {
            return Ok(Opened::MustResync);
        }
        self.position.epoch = epoch;
        self.opened_at = self.position.seq;
        self.settle(woken);
        Ok(Opened::Continued)
    }

    /// Hands over to the batch consumer all there is up to now.
    ///
    /// O(attaches and detaches since the last time), or O(sessions of the batch) if the consumer has fallen out of the ring.
    pub fn fill(&mut self, batch: &mut Batch) {
        batch.take(mem::take(&mut self.ops).into_iter(), self.ring.head(), self.told.head());
        if batch.cursor() < self.ring.tail() {
            batch.restart(self.position, self.seats());
        }
    }

    /// Sessions attached, pending ones among them.
    pub fn sessions(&self) -> usize {
        self.slots.len()
    }

    /// Sessions attached to be served by the batch consumer.
    pub fn batch_sessions(&self) -> usize {
        self.batch_sessions
    }

    /// Sessions that have heard everything and wait. O(cohorts).
    pub fn waiting(&self) -> usize {
        self.cohorts.waiting()
    }

    /// Sets of sessions with equal rights.
    pub fn cohorts(&self) -> usize {
        self.cohorts.len()
    }

    /// Audiences made so far.
    pub fn audiences_made(&self) -> u64 {
        self.audiences.made()
    }

    /// About how much memory the relay takes, in bytes, without what the streams and the batch consumer hold. O(cohorts).
    ///
    /// An audience that is in the ring and still holds counts twice; older versions of the rights, which audiences in the ring
    /// keep, share most with the present one and do not count.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.ring.bytes()
            + self.slow.bytes()
            + self.told.bytes()
            + self.news.bytes()
            + self.slots.bytes()
            + self.cohorts.bytes()
            + self.audiences.bytes()
            + self.ops.capacity() * size_of::<Op>()
            + self.pending.len() * (size_of::<(Position, u64)>() + size_of::<Pending>())
    }

    /// The place in the whole ring behind the event at `position`, which is within the run.
    fn behind(&self, position: Position) -> Cursor {
        debug_assert!(position.seq >= self.run.position.seq);
        Cursor(self.run.at.0 + (position.seq.0 - self.run.position.seq.0))
    }

    /// The position just before the entry at `cursor` of the whole ring, or where the run begins, if that is later. It is in the epoch of
    /// what follows, which may have begun there; where that is gone, and more than one epoch may have begun since, in that of the run's
    /// beginning.
    fn position_before(&self, cursor: Cursor) -> Position {
        let cursor = cursor.max(self.run.at);
        let seq = Seq(self.run.position.seq.0 + cursor.since(self.run.at));
        let mut epoch = if seq >= self.opened_at { self.position.epoch } else { self.run.position.epoch };
        // An entry that is gone is not visited.
        let _ = self.rings.whole.read(&mut cursor.clone(), |_, entry| {
            epoch = entry.position().epoch;
            ControlFlow::Break(())
        });
        Position { epoch, seq }
    }

    /// The place behind everything up to now.
    fn head(&self) -> Mark {
        Mark { whole: self.ring.head(), slow: self.slow.head() }
    }

    /// The place behind what happened up to `position`, which is within the run. Where the slow ring no longer reaches back to it,
    /// its tail stands for that place. O(log entries of the slow ring).
    fn mark(&self, position: Position) -> Mark {
        if position >= self.position {
            return self.head();
        }
        // Behind a hole seqs may be lower than before it.
        let (mut from, mut to) = (self.slow.tail().max(self.run.slow), self.slow.head());
        while from < to {
            let middle = Cursor(from.0.midpoint(to.0));
            let mut is_behind = false;
            let read = self.rings.slow.read(&mut middle.clone(), |_, entry| {
                is_behind = entry.position().seq > position.seq;
                ControlFlow::Break(())
            });
            debug_assert!(read.is_ok(), "the writer alone evicts");
            (from, to) = if is_behind { (from, middle) } else { (middle.next(), to) };
        }
        Mark { whole: self.behind(position).min(self.ring.head()), slow: from }
    }

    /// Appends an entry that has been fanned out.
    fn append(&mut self, entry: Entry) {
        self.news.note(&entry);
        if entry.is_slow() {
            self.slow.append(entry.clone());
        }
        self.ring.append(entry);
    }

    fn seats(&self) -> impl Iterator<Item = Seat> + '_ {
        self.slots.iter().filter_map(|(idx, slot)| match slot.way {
            Way::Batch(token) if slot.cohort != NONE => Some(Seat {
                who: self.slots.listener(idx),
                token,
                cohort: Arc::clone(self.cohorts.find(slot.cohort).expect("a session's cohort has sessions")),
                told: self.told.head(),
            }),
            Way::Batch(_) | Way::Stream(_) | Way::Vacant => None,
        })
    }
}

#[cfg(test)]
mod tests;
