//! The attached sessions, by a small number each.
//!
//! Invariants:
//! - a slot given out again has a higher generation, so an old key finds nothing;
//! - `by_user` leads to exactly the sessions that have joined their cohort.

use std::sync::Arc;

use guildhall_index::Index;
use guildhall_proto::{Level, Seq, SessionId, UserId};

use crate::cohort::CohortId;
use crate::hearing::{Hearing, Listener};
use crate::session::SessionKey;
use crate::stream::Door;

/// The absence of a slot, a cohort, or a place among waiting sessions.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    /// The session's cohort as of the relay's position; [`NONE`] until the relay has reached the session's attach.
    pub(crate) cohort: CohortId,
    /// The session's place among the waiting ones of its cohort that listen as it does; [`NONE`] if it is not waiting.
    pub(crate) waiting: u32,
    /// How the session listens as of the relay's position.
    pub(crate) hearing: Hearing,
    /// Changes of that at positions the relay has not reached.
    pub(crate) switches_pending: u8,
    /// News up to here is no news to it.
    pub(crate) since: Seq,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) way: Way,
}

/// How a session is served.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Stream(Arc<Door>),
    Batch(u64),
    /// The slot is free.
    Vacant,
}

#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    /// Sessions that listen as passive ones.
    passive: usize,
    by_user: Index,
}

impl Slots {
    /// Sessions attached.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Sessions attached that listen as passive ones.
    pub(crate) fn passive(&self) -> usize {
        self.passive
    }

    /// Has a session that is not waiting listen in another way.
    pub(crate) fn set_hearing(&mut self, idx: u32, hearing: Hearing) {
        self.passive -= usize::from(self.at(idx).hearing.level == Level::Passive);
        self.passive += usize::from(hearing.level == Level::Passive);
        self.at_mut(idx).hearing = hearing;
    }

    pub(crate) fn key(&self, idx: u32) -> SessionKey {
        SessionKey { idx, generation: self.slots[idx as usize].generation }
    }

    #[inline]
    pub(crate) fn at(&self, idx: u32) -> &Slot {
        &self.slots[idx as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, idx: u32) -> &mut Slot {
        &mut self.slots[idx as usize]
    }

    /// The session of a slot.
    #[inline]
    pub(crate) fn listener(&self, idx: u32) -> Listener {
        let Slot { generation, user, session, hearing, since, .. } = *self.at(idx);
        Listener { key: SessionKey { idx, generation }, user, session, hearing, since }
    }

    /// The slot of an attached session.
    pub(crate) fn find(&self, key: SessionKey) -> Option<&Slot> {
        let slot = self.slots.get(key.idx as usize)?;
        (slot.generation == key.generation && !matches!(slot.way, Way::Vacant)).then_some(slot)
    }

    /// The key that the next [`insert`](Self::insert) gives.
    pub(crate) fn next_key(&self) -> SessionKey {
        match self.vacant.last() {
            Some(idx) => self.key(*idx),
            None => SessionKey { idx: slot_idx(self.slots.len()), generation: 0 },
        }
    }

    /// Gives a slot to a session that has not joined a cohort yet.
    pub(crate) fn insert(&mut self, who: &Listener, way: Way) -> SessionKey {
        let key = self.next_key();
        let Listener { user, session, hearing, since, .. } = *who;
        let slot = Slot {
            generation: key.generation,
            cohort: NONE,
            waiting: NONE,
            hearing,
            switches_pending: 0,
            since,
            user,
            session,
            way,
        };
        self.passive += usize::from(hearing.level == Level::Passive);
        match self.vacant.pop() {
            Some(idx) => self.slots[idx as usize] = slot,
            None => self.slots.push(slot),
        }
        key
    }

    /// Lists a session under its user, now that it is in a cohort.
    pub(crate) fn link(&mut self, idx: u32) {
        self.by_user.insert(idx, |idx| self.slots[idx as usize].user.get());
    }

    /// Frees the slot of a session that has ended.
    pub(crate) fn remove(&mut self, idx: u32) {
        self.by_user.remove(idx, |idx| self.slots[idx as usize].user.get());
        self.passive -= usize::from(self.at(idx).hearing.level == Level::Passive);
        let slot = self.at_mut(idx);
        slot.generation = slot.generation.wrapping_add(1);
        slot.way = Way::Vacant;
        self.vacant.push(idx);
    }

    /// The sessions of `user` that are in a cohort, the latest first.
    pub(crate) fn of_user(&self, user: UserId) -> impl Iterator<Item = u32> + '_ {
        self.by_user.find(user.get(), |idx| self.at(idx).user.get())
    }

    /// The users that have a session in a cohort, ascending. O(sessions × log sessions).
    pub(crate) fn users(&self) -> Vec<UserId> {
        let joined = self.iter().filter(|(_, slot)| slot.cohort != NONE);
        let mut users: Vec<UserId> = joined.map(|(_, slot)| slot.user).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// All slots that have a session, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, slot)| !matches!(slot.way, Way::Vacant)).map(|(idx, slot)| (slot_idx(idx), slot))
    }

    pub(crate) fn bytes(&self) -> usize {
        let vacant = self.vacant.capacity() * size_of::<u32>();
        self.slots.capacity() * size_of::<Slot>() + vacant + self.by_user.bytes()
    }
}

fn slot_idx(idx: usize) -> u32 {
    u32::try_from(idx).ok().filter(|idx| *idx != NONE).expect("`sessions_max` is below what 32 bits number")
}
