//! Sessions coming, waiting and going, at positions that the relay has reached or not.

use std::mem;
use std::sync::Arc;

use guildhall_proto::{Level, Position, RoleId};

use super::past::Now;
use super::{Pending, Relay};
use crate::batch::{Alone, Join, Op, Seat};
use crate::cohort::{Cohort, Standing};
use crate::hearing::{Hearing, Listener, Ring, Switch};
use crate::news::Moved;
use crate::rare::Rare;
use crate::scan::{self, Scan, Scanned};
use crate::session::{Attach, AttachError, DetachReason, Gap, SessionKey, UnknownSession, Wait};
use crate::slots::{NONE, Way};
use crate::stream::{At, Door, End, Stream};

impl Relay {
    /// Attaches a session that reads for itself. It hears what comes after `attach.accepted`, wherever the relay is.
    ///
    /// If there is nothing for it yet, it waits from the beginning; otherwise it is to be read at once.
    ///
    /// # Errors
    /// See [`AttachError`]; the relay is unchanged.
    pub fn attach_stream(&mut self, attach: Attach<'_>) -> Result<Stream, AttachError> {
        self.place_stream(attach, Begin::Anew)
    }

    pub(super) fn place_stream(&mut self, attach: Attach<'_>, begin: Begin) -> Result<Stream, AttachError> {
        let door = Door::new(At::Reading);
        let (mut scan, end) = self.attach(attach, Way::Stream(Arc::clone(&door)))?;
        let gap = self.begin(&mut scan, end.as_ref(), begin);
        if end.is_none() && self.slots.at(scan.who.key.idx).cohort == NONE {
            door.wait();
            return Ok(Stream::new(scan, door, Arc::clone(&self.rings), gap));
        }
        if end.is_none() && scan.who.hearing.level == Level::Passive {
            // Up to here it reads the whole ring: the slow one has no changes of members that had no session here.
            let Listener { hearing, .. } = scan.who;
            let since = self.slots.at(scan.who.key.idx).since;
            scan.switches.push(Switch { mark: self.head(), position: self.position, hearing, since });
        }
        // What is for it is found now, so that it cannot lose what is not.
        let found = scan.seek(&self.rings, end.map_or(self.head(), |end| end.at));
        match (found, end) {
            (Scanned::Lost, _) => unreachable!("the attach has seen that the ring reaches back far enough"),
            (Scanned::Found | Scanned::End, Some(end)) => {
                door.end(end, end.at);
            }
            (Scanned::Found, None) => {}
            (Scanned::End, None) => {
                door.wait();
                self.list_waiting(scan.who.key.idx);
            }
        }
        Ok(Stream::new(scan, door, Arc::clone(&self.rings), gap))
    }

    /// Attaches a session that the batch consumer serves, where it is called `token`. It hears what comes after
    /// `attach.accepted`, wherever the relay and the consumer are.
    ///
    /// # Errors
    /// See [`AttachError`]; the relay is unchanged.
    pub fn attach_batch(&mut self, attach: Attach<'_>, token: u64) -> Result<SessionKey, AttachError> {
        self.place_in_batch(attach, token, Begin::Anew)
    }

    pub(super) fn place_in_batch(
        &mut self,
        attach: Attach<'_>,
        token: u64,
        begin: Begin,
    ) -> Result<SessionKey, AttachError> {
        if self.is_batch_full() {
            return Err(AttachError::BatchStalled { ops: self.ops.len() });
        }
        let (mut scan, end) = self.attach(attach, Way::Batch(token))?;
        let gap = self.begin(&mut scan, end.as_ref(), begin);
        let key = scan.who.key;
        self.batch_sessions += usize::from(end.is_none());
        if end.is_none() && self.slots.at(key.idx).cohort == NONE {
            return Ok(key);
        }
        let who = if end.is_none() { self.slots.listener(key.idx) } else { scan.who };
        let seat = Seat { who, token, cohort: self.cohort_of(&scan), told: self.told.head() };
        let found = scan.seek(&self.rings, end.map_or(self.head(), |end| end.at)) == Scanned::Found;
        let is_alone = found || scan.missed.is_some();
        let known = attach.accepted;
        // A session that has ended never joins: whatever is before its end, it hears alone.
        let at = self.ring.head();
        let alone = Alone { gap, catch_up: is_alone.then_some((scan, self.position)), end };
        self.ops.push(Op::Join(Join { seat, at, known, alone: alone.boxed() }));
        Ok(key)
    }

    /// Has one that comes back told what was news while it was away, up to now; the gap that it is told before.
    fn begin(&mut self, scan: &mut Scan, end: Option<&End>, begin: Begin) -> Option<Gap> {
        let Begin::Again { gap } = begin else {
            return None;
        };
        if end.is_none() && scan.who.hearing.level == Level::Passive {
            scan.tells_missed = true;
            self.slots.at_mut(scan.who.key.idx).since = self.position.seq;
        }
        gap
    }

    /// Detaches a session: it hears all up to `accepted`, and nothing after that which it has not been given already, then
    /// [`DetachReason::Requested`]. The relay may be behind `accepted`. To be called once a session.
    ///
    /// # Errors
    /// [`UnknownSession`] if the session has ended already.
    pub fn detach(
        &mut self,
        key: SessionKey,
        accepted: Position,
        woken: &mut Vec<SessionKey>,
    ) -> Result<(), UnknownSession> {
        self.slots.find(key).ok_or(UnknownSession { key })?;
        if accepted > self.position {
            self.pend(accepted, Pending::Detach { key });
            return Ok(());
        }
        // Of an earlier run only the hole behind it has a known place: the session is told of that too.
        let position = accepted.max(self.run.position);
        let at = self.mark(position);
        self.end(key.idx, End { at, position, reason: DetachReason::Requested, is_in_hole: false }, at, woken);
        Ok(())
    }

    /// Ends a session here that has come back and goes on elsewhere: it hears all up to now, then [`DetachReason::Superseded`].
    ///
    /// # Errors
    /// [`UnknownSession`] if the session has ended already.
    pub fn supersede(&mut self, key: SessionKey, woken: &mut Vec<SessionKey>) -> Result<(), UnknownSession> {
        self.slots.find(key).ok_or(UnknownSession { key })?;
        let at = self.head();
        self.end(
            key.idx,
            End { at, position: self.position, reason: DetachReason::Superseded, is_in_hole: false },
            at,
            woken,
        );
        Ok(())
    }

    /// Lets a session wait that has read all there was.
    ///
    /// To be called soon after [`Read::Idle`](crate::Read::Idle): a session that neither reads nor waits is one that lags. If the
    /// whole ring passes it by meanwhile, it is told a gap, whomever those events were for.
    ///
    /// # Errors
    /// [`UnknownSession`] if the stream is another relay's.
    pub fn wait(&mut self, stream: &mut Stream) -> Result<Wait, UnknownSession> {
        let key = stream.key();
        if !self.is_own(stream) {
            // What has ended has left its slot, and finds its end at its door.
            return if stream.door.is_ended() { Ok(Wait::Ready) } else { Err(UnknownSession { key }) };
        }
        match stream.door.at() {
            At::Waiting if stream.gap.is_some() => return Ok(Wait::Gap),
            At::Waiting if stream.ear.is_called || stream.door.is_called() => return Ok(Wait::Ready),
            At::Waiting => return Ok(Wait::Waiting),
            At::Woken(_) => return Ok(Wait::Ready),
            At::Reading => {}
        }
        stream.enter();
        let id = self.slots.at(key.idx).cohort;
        match stream.scan.seek(&self.rings, self.head()) {
            Scanned::Found => Ok(Wait::Ready),
            Scanned::Lost => {
                stream.scan.who = self.slots.listener(key.idx);
                let gap = stream.scan.jump(self.head(), self.position);
                // One that it has not been told yet grows.
                let after = stream.gap.take().map_or(gap.after, |untold| untold.after);
                stream.gap = Some(Box::new(Gap { after, ..gap }));
                stream.scan.cohort = Arc::clone(self.cohorts.find(id).expect("a session's cohort has sessions"));
                // What was told of those it has missed is in the view that it begins again from.
                stream.pass_told();
                // It waits from here on, told or not: so it cannot lose what is not for it.
                stream.door.wait();
                self.list_waiting(key.idx);
                Ok(Wait::Gap)
            }
            Scanned::End => {
                debug_assert!(stream.scan.cohort.id == id, "who has read all is in its present cohort");
                Ok(self.begin_waiting(stream))
            }
        }
    }

    /// Lets a session wait that has read all there is in the rings. It waits also if something told is for it: so it cannot lose
    /// what is not.
    pub(super) fn begin_waiting(&mut self, stream: &mut Stream) -> Wait {
        stream.door.wait();
        self.list_waiting(stream.key().idx);
        if stream.look(self.ring.head()) { Wait::Ready } else { Wait::Waiting }
    }

    pub(super) fn is_own(&self, stream: &Stream) -> bool {
        self.slots.find(stream.key()).is_some_and(|slot| match &slot.way {
            Way::Stream(door) => Arc::ptr_eq(door, &stream.door),
            Way::Batch(_) | Way::Vacant => false,
        })
    }

    /// Gives a session its slot, and its cohort if the relay has reached its position. With it goes where it ended, if what the
    /// relay knows ended it before.
    fn attach(&mut self, attach: Attach<'_>, way: Way) -> Result<(Scan, Option<End>), AttachError> {
        self.check(attach)?;
        let Attach { session, accepted, user, roles, members, level, status } = attach;
        let hearing = Hearing::new(level, status);
        let who = Listener { key: self.slots.next_key(), user, session, hearing, since: accepted.seq };
        let mut scan = Scan {
            who,
            ring: Ring::Whole,
            cursor: self.ring.head(),
            cohort: Cohort::past(Standing { roles: Arc::default(), owner: false, overwrites: Box::default(), members }),
            since: self.ring.head(),
            past: Rare::default(),
            is_over: false,
            tells_missed: false,
            missed: None,
            switches: Rare::default(),
            joined: (accepted < self.position).then(|| Box::new(self.position)),
            known: accepted,
        };
        if accepted > self.position {
            self.slots.insert(&who, way);
            self.pend(accepted, Pending::Attach { key: who.key, roles: roles.into(), members });
            self.pending_bounded += 1;
            return Ok((scan, None));
        }
        scan.cursor = self.behind(accepted);
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::BegunLate.is_on() && scan.cursor < self.ring.head() {
            scan.cursor = scan.cursor.next();
        } else if guildhall_proto::Defect::BegunEarly.is_on() && scan.cursor > self.ring.tail() {
            scan.cursor.0 -= 1;
        }
        let past = self.past_of(scan.cursor, user, roles.into(), members);
        scan.cohort = past.first;
        scan.past = past.changes.into();
        self.slots.insert(&who, way);
        match past.now {
            Now::Ended(end) => {
                // The key is given out all the same: it names an ended session, and none after it.
                self.slots.remove(who.key.idx);
                Ok((scan, Some(end)))
            }
            Now::Standing(standing) => {
                let mut from = Arc::clone(&scan.cohort);
                for (at, to) in scan.past.iter().rev() {
                    let seq = self.position_before(at.next()).seq;
                    self.news.note_moved(Moved {
                        session: who.key,
                        seq,
                        from: mem::replace(&mut from, Arc::clone(to)),
                    });
                }
                let present = self.join(who.key.idx, standing);
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::ReplayByToday.is_on() {
                    scan.past = Rare::default();
                }
                match scan.past.first_mut() {
                    Some((_, newest)) => *newest = present,
                    None => scan.cohort = present,
                }
                Ok((scan, None))
            }
        }
    }

    pub(super) fn check(&self, attach: Attach<'_>) -> Result<(), AttachError> {
        let Attach { session, accepted, user, .. } = attach;
        debug_assert!(attach.roles.is_sorted());
        if self.slots.of_user(user).any(|idx| self.slots.at(idx).session == session) {
            return Err(AttachError::AlreadyAttached { session });
        }
        if self.slots.len() >= self.config.sessions_max {
            return Err(AttachError::Full { max: self.config.sessions_max });
        }
        if accepted > self.position {
            let max = self.config.pending_max;
            return self.config.may_pend(self.pending_bounded).then_some(()).ok_or(AttachError::PendingFull { max });
        }
        if self.reached_from(accepted) != accepted {
            return Err(AttachError::TooOld { accepted, at: self.position });
        }
        Ok(())
    }

    /// Where a session goes on that knows all up to `known`, which is not ahead of the relay: there, or, if the relay does not reach
    /// back to that, from as early as it does.
    pub(super) fn reached_from(&self, known: Position) -> Position {
        // An older epoch may have gone on beyond what the relay knows of it: that is not this past.
        let is_known = known.epoch == self.position.epoch || known.seq <= self.opened_at;
        let at = if is_known { known } else { Position { epoch: self.position.epoch, seq: self.opened_at } };
        let oldest = self.position_before(self.ring.tail());
        if at >= self.run.position && at.seq >= oldest.seq {
            return at;
        }
        Position { epoch: at.epoch.max(oldest.epoch), ..oldest }
    }

    pub(super) fn pend(&mut self, at: Position, pending: Pending) {
        self.pending.insert((at, self.pending_count), pending);
        self.pending_count += 1;
    }

    /// Carries out what waited for a position that is reached now.
    pub(super) fn settle(&mut self, woken: &mut Vec<SessionKey>) {
        while let Some(first) = self.pending.first_entry().filter(|first| first.key().0 <= self.position) {
            let (at, _) = *first.key();
            match first.remove() {
                Pending::Attach { key, roles, members } => self.settle_attach(at, key, roles, members),
                Pending::Switch { key, change } => {
                    self.pending_bounded -= 1;
                    if self.slots.find(key).is_some() {
                        self.slots.at_mut(key.idx).switches_pending -= 1;
                        self.switch_now(key.idx, change);
                    }
                }
                Pending::Detach { key } => {
                    if self.slots.find(key).is_some() {
                        let head = self.head();
                        let end = End {
                            at: head,
                            position: self.position,
                            reason: DetachReason::Requested,
                            is_in_hole: false,
                        };
                        self.end(key.idx, end, head, woken);
                    }
                }
            }
        }
    }

    /// Lets the sessions join whose attach was accepted before `at`, a position that the relay is to jump to.
    pub(super) fn settle_attaches_before(&mut self, at: Position) {
        let due = self.pending.extract_if(..(at, 0), |_, pending| matches!(pending, Pending::Attach { .. }));
        let due: Vec<_> = due.collect();
        for ((accepted, _), pending) in due {
            if let Pending::Attach { key, roles, members } = pending {
                self.settle_attach(accepted, key, roles, members);
            }
        }
    }

    fn settle_attach(&mut self, accepted: Position, key: SessionKey, roles: Arc<[RoleId]>, members: bool) {
        self.pending_bounded -= 1;
        let Some(slot) = self.slots.find(key) else {
            return;
        };
        let (user, way, who) = (slot.user, slot.way.clone(), self.slots.listener(key.idx));
        let cohort = self.join(key.idx, Standing::new(&self.rights, user, roles, members));
        match way {
            Way::Stream(door) => {
                self.list_waiting(key.idx);
                door.change_cohort(scan::Moved { cohort, since: self.ring.head() });
            }
            Way::Batch(token) => {
                let at = self.ring.head();
                let seat = Seat { who, token, cohort, told: self.told.head() };
                self.ops.push(Op::Join(Join { seat, at, known: accepted, alone: None }));
            }
            Way::Vacant => unreachable!("`find` finds attached sessions"),
        }
    }

    /// Counts a session into its cohort and lists it under its user.
    fn join(&mut self, idx: u32, standing: Standing) -> Arc<Cohort> {
        let cohort = self.cohorts.join(standing, self.ring.head());
        self.slots.at_mut(idx).cohort = cohort.id;
        self.slots.link(idx);
        cohort
    }

    /// Puts a session among the waiting ones of its cohort.
    pub(super) fn list_waiting(&mut self, idx: u32) {
        let slot = self.slots.at_mut(idx);
        slot.waiting = self.cohorts.wait(slot.cohort, slot.hearing.list(), idx);
    }

    /// Whether the batch consumer has so much to take over that it gets no more sessions, until its next fill. O(1).
    pub fn is_batch_full(&self) -> bool {
        self.ops.len() >= BATCH_OPS_PER_SESSION * self.config.sessions_max
    }

    fn cohort_of(&self, scan: &Scan) -> Arc<Cohort> {
        match self.slots.find(scan.who.key) {
            Some(slot) => Arc::clone(self.cohorts.find(slot.cohort).expect("a session's cohort has sessions")),
            None => Arc::clone(&scan.cohort),
        }
    }
}

/// How a session begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    Anew,
    /// It was away, and is told this first.
    Again {
        gap: Option<Gap>,
    },
}

/// Attaches and detaches that may wait for the batch consumer, for each session there may be: one of each.
const BATCH_OPS_PER_SESSION: usize = 2;
