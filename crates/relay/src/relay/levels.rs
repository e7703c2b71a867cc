//! Sessions that come to listen in another way, at positions that the relay has reached or not.
//!
//! A session's level holds from one position on: up to it the session reads the ring of its old level, from it that of the new one.
//! Nothing up to what the session has heard changes any more, and what it passed by without hearing it is looked at again where the
//! new level may hear more of it.

use std::sync::Arc;

use guildhall_proto::{Level, Position, Seq, Status};
use guildhall_ring::Cursor;

use super::fan_out::unwait;
use super::{Pending, Relay};
use crate::batch::Op;
use crate::hearing::{Change, Hearing, Ring, Switch};
use crate::scan::Scanned;
use crate::session::{ListenError, SessionKey, UnknownSession, Wait};
use crate::slots::{NONE, Way};
use crate::stream::{At, Stream};

impl Relay {
    /// Has a session that reads for itself listen at another level, from `accepted` on, wherever the relay and the session are.
    ///
    /// Returns from where on it holds: later than `accepted` if the session has heard later events already, or was attached here
    /// later; a session that becomes passive may also be told a later position up to which nothing was for it. O(log entries of the
    /// slow ring), and O(events since) if the session becomes active and has passed `accepted` by.
    ///
    /// # Errors
    /// See [`ListenError`]; the relay is unchanged.
    pub fn set_level(
        &mut self,
        stream: &mut Stream,
        level: Level,
        accepted: Position,
        woken: &mut Vec<SessionKey>,
    ) -> Result<Position, ListenError> {
        let key = stream.key();
        if !self.is_own(stream) {
            return Err(UnknownSession { key }.into());
        }
        self.check_switch(key)?;
        let is_ahead = self.slots.at(key.idx).cohort == NONE;
        if accepted > self.position || is_ahead {
            let accepted = accepted.max(stream.known());
            self.pend_switch(key, accepted, Change::Level(level))?;
            return Ok(accepted);
        }
        let was_waiting = stream.door.at() == At::Waiting;
        if was_waiting {
            self.rouse(stream);
        } else {
            stream.enter();
        }
        let switched = self.switch_stream(stream, level, accepted);
        // It goes on to what is for it now, so that it cannot lose what is not; a gap to be told stays.
        match stream.scan.seek(&self.rings, self.head()) {
            Scanned::Found if was_waiting => woken.push(key),
            Scanned::End if was_waiting => match self.begin_waiting(stream) {
                Wait::Ready => woken.push(key),
                Wait::Waiting | Wait::Gap => {}
            },
            // It is reading: it comes to wait, or to hear of its gap, by itself.
            Scanned::Found | Scanned::End | Scanned::Lost => {}
        }
        stream.door.note_switches(stream.scan.switches.len());
        switched
    }

    /// The same for a session that the batch consumer serves. What was applied before this call it hears at its level of then, so the
    /// new one holds from the relay's position if that is later than `accepted`.
    ///
    /// # Errors
    /// See [`ListenError`]; the relay is unchanged.
    pub fn set_level_batch(
        &mut self,
        key: SessionKey,
        level: Level,
        accepted: Position,
    ) -> Result<Position, ListenError> {
        self.change(key, Change::Level(level), accepted)
    }

    /// Tells that a session's user is there, or is not: from the position returned on, `here` calls it accordingly. That is
    /// `accepted`, or the relay's position if it is later. For both ways of being served.
    ///
    /// # Errors
    /// See [`ListenError`]; the relay is unchanged.
    pub fn set_status(&mut self, key: SessionKey, status: Status, accepted: Position) -> Result<Position, ListenError> {
        self.change(key, Change::Status(status), accepted)
    }

    fn change(&mut self, key: SessionKey, change: Change, accepted: Position) -> Result<Position, ListenError> {
        let slot = self.slots.find(key).ok_or(UnknownSession { key })?;
        if slot.hearing.changed(change) == slot.hearing && slot.switches_pending == 0 && accepted <= self.position {
            return Ok(self.position);
        }
        self.check_switch(key)?;
        if accepted > self.position {
            self.pend_switch(key, accepted, change)?;
            return Ok(accepted);
        }
        self.switch_now(key.idx, change);
        Ok(self.position)
    }

    /// Has a session listen in another way from the relay's head on.
    pub(super) fn switch_now(&mut self, idx: u32, change: Change) {
        let slot = self.slots.at(idx);
        let (before, mut since) = (slot.hearing, slot.since);
        let hearing = before.changed(change);
        if hearing == before {
            return;
        }
        // Who is to join later begins with it there.
        let has_joined = slot.cohort != NONE;
        if hearing.level != before.level && has_joined {
            since = self.position.seq;
        }
        let Relay { slots, cohorts, .. } = self;
        let was_waiting = unwait(slots, cohorts, idx);
        slots.set_hearing(idx, hearing);
        slots.at_mut(idx).since = since;
        let switch = self.switch(hearing, since);
        match &self.slots.at(idx).way {
            Way::Stream(door) => door.switch(switch),
            Way::Batch(_) if !has_joined => {}
            Way::Batch(_) => {
                self.ops.push(Op::Switch { key: self.slots.key(idx), place: switch.mark.whole, hearing, since })
            }
            Way::Vacant => unreachable!("only attached sessions listen"),
        }
        if was_waiting {
            self.list_waiting(idx);
        }
    }

    /// Takes a stream that is reading to another level, and returns from where on.
    fn switch_stream(
        &mut self,
        stream: &mut Stream,
        level: Level,
        accepted: Position,
    ) -> Result<Position, ListenError> {
        let scan = &mut stream.scan;
        let idx = scan.who.key.idx;
        let hearing = Hearing { level, ..self.slots.at(idx).hearing };
        if hearing == self.slots.at(idx).hearing {
            return Ok(accepted);
        }
        let joined = scan.joined.as_deref().copied().unwrap_or_default();
        let mut at = accepted.max(scan.known).max(joined).max(self.run.position);
        if let Some(last) = scan.switches.last() {
            at = at.max(last.position);
        } else if level == Level::Passive {
            // What it has passed by as active was not for it as passive either.
            let passed = self.position_before(scan.cursor);
            at = if passed.seq > at.seq { passed } else { at };
        }
        at = if at.seq > self.position.seq { self.position } else { at };
        let mut mark = self.mark(at);
        if hearing.ring() == Ring::Whole && mark.whole < self.ring.tail() {
            return Err(ListenError::TooOld { accepted, at: self.position });
        }
        if level == Level::Passive && at < self.position && mark.slow == self.slow.tail() {
            // The slow ring may not reach back so far: what is gone of it may have been for the session.
            mark.slow = Cursor(mark.slow.0.saturating_sub(1));
        }
        let has_passed = scan.switches.is_empty() && scan.ring == Ring::Slow && scan.cursor >= mark.slow;
        let switch = Switch { mark, position: at, hearing, since: at.seq };
        if has_passed {
            debug_assert!(level == Level::Active, "there are two levels");
            let present = self.cohorts.find(self.slots.at(idx).cohort).expect("a session's cohort has sessions");
            let (roles, members) = (Arc::clone(&scan.cohort.standing.roles), present.standing.members);
            let past = self.past_of(mark.whole, scan.who.user, roles, members);
            // The changes themselves are in the ring: the session was attached when they came.
            scan.cohort = if past.changes.is_empty() { Arc::clone(present) } else { past.first };
            scan.switch(switch);
        } else {
            scan.switches.push(switch);
        }
        self.slots.set_hearing(idx, hearing);
        self.slots.at_mut(idx).since = at.seq;
        Ok(at)
    }

    /// Has a waiting session read on from the head.
    fn rouse(&mut self, stream: &mut Stream) {
        let Relay { slots, cohorts, .. } = self;
        unwait(slots, cohorts, stream.key().idx);
        stream.rouse(self.head());
    }

    fn switch(&self, hearing: Hearing, since: Seq) -> Switch {
        Switch { mark: self.head(), position: self.position, hearing, since }
    }

    fn check_switch(&self, key: SessionKey) -> Result<(), ListenError> {
        let slot = self.slots.at(key.idx);
        let at_door = match &slot.way {
            Way::Stream(door) if slot.waiting == NONE => door.switches(),
            Way::Batch(_) if self.is_batch_full() => SWITCHES_MAX,
            Way::Stream(_) | Way::Batch(_) | Way::Vacant => 0,
        };
        let switches = at_door + usize::from(slot.switches_pending);
        if switches < SWITCHES_MAX { Ok(()) } else { Err(ListenError::Switching { switches }) }
    }

    fn pend_switch(&mut self, key: SessionKey, at: Position, change: Change) -> Result<(), ListenError> {
        let max = self.config.pending_max;
        if !self.config.may_pend(self.pending_bounded) {
            return Err(ListenError::PendingFull { max });
        }
        self.slots.at_mut(key.idx).switches_pending += 1;
        self.pending_bounded += 1;
        self.pend(at, Pending::Switch { key, change });
        Ok(())
    }
}

/// Changes that a session may have before it: a user who looks back and forth while its session lags is told to wait after this many.
const SWITCHES_MAX: usize = 8;
