//! Which session of the batch is in which cohort, as of the batch's cursor.
//!
//! Invariants:
//! - a seated session is in the list of its cohort, at the place its seat says;
//! - `filled` has exactly the cohorts whose list is not empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{SessionId, UserId};

use crate::bits::{Bits, numbers};
use crate::cohort::Cohort;
use crate::entry::{Entry, Scope};
use crate::session::SessionKey;

/// A session and where it belongs.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) key: SessionKey,
    pub(crate) token: u64,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) cohort: Arc<Cohort>,
}

/// The sessions of one cohort.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) tokens: Vec<u64>,
    /// Their slots, in the same order.
    slots: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// By cohort.
    lists: Vec<List>,
    filled: Bits,
    /// By slot: the session, and its place in its list.
    seats: Vec<Option<(Seat, u32)>>,
    slot_of: BTreeMap<SessionId, u32>,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.slot_of.len()
    }

    pub(crate) fn seat(&mut self, seat: Seat) {
        let (slot, id) = (seat.key.idx, seat.cohort.id);
        if self.lists.len() <= id as usize {
            self.lists.resize_with(id as usize + 1, List::default);
        }
        if self.seats.len() <= slot as usize {
            self.seats.resize_with(slot as usize + 1, || None);
        }
        let list = &mut self.lists[id as usize];
        let place = u32::try_from(list.slots.len()).expect("slots are numbered by 32 bits");
        list.tokens.push(seat.token);
        list.slots.push(slot);
        self.filled.set(id, true);
        self.slot_of.insert(seat.session, slot);
        debug_assert!(self.seats[slot as usize].is_none(), "one session a slot");
        self.seats[slot as usize] = Some((seat, place));
    }

    /// Takes a session out, if it is in.
    pub(crate) fn unseat(&mut self, key: SessionKey) -> Option<Seat> {
        let taken = self.seats.get_mut(key.idx as usize)?;
        let (seat, place) = taken.take_if(|(seat, _)| seat.key == key)?;
        let list = &mut self.lists[seat.cohort.id as usize];
        list.tokens.swap_remove(place as usize);
        list.slots.swap_remove(place as usize);
        if let Some(moved) = list.slots.get(place as usize) {
            let (_, at) = self.seats[*moved as usize].as_mut().expect("a slot in a list is seated");
            *at = place;
        }
        self.filled.set(seat.cohort.id, !list.slots.is_empty());
        self.slot_of.remove(&seat.session);
        Some(seat)
    }

    /// Empties the roster and returns who was in it.
    pub(crate) fn clear(&mut self) -> Vec<List> {
        std::mem::take(self).lists
    }

    /// Shows for whom an entry is, by cohorts, and lets those move that change cohort with it.
    pub(crate) fn show(&mut self, entry: &Entry, mut visit: impl FnMut(&[u64])) {
        // Those who move are taken out first: each is asked alone, by both its cohorts.
        let moving: Vec<(Seat, &Arc<Cohort>)> =
            entry.moves.iter().filter_map(|moved| Some((self.unseat(moved.session)?, &moved.to))).collect();
        match &entry.scope {
            Scope::Message { audience, except } => {
                let except = except.and_then(|session| self.slot_of.get(&session)).copied();
                let apart = except.and_then(|slot| self.seats[slot as usize].as_ref());
                let apart = apart.map(|(seat, place)| (seat.cohort.id, *place as usize));
                self.each(
                    |idx| audience.seen_by().word(idx),
                    audience.seen_by().words(),
                    |id, tokens| match apart {
                        Some((cohort, place)) if cohort == id => {
                            let (ahead, rest) = tokens.split_at(place);
                            for part in [ahead, &rest[1..]] {
                                if !part.is_empty() {
                                    visit(part);
                                }
                            }
                        }
                        Some(_) | None => visit(tokens),
                    },
                );
            }
            Scope::Seeing(audience) => {
                self.each(|idx| audience.seen_by().word(idx), audience.seen_by().words(), |_, tokens| visit(tokens));
            }
            Scope::Around { before, after } => {
                let sides = [before.as_deref(), after.as_deref()];
                let word = |idx| sides.iter().flatten().fold(0, |word, audience| word | audience.seen_by().word(idx));
                self.each(word, self.filled.words(), |_, tokens| visit(tokens));
            }
            Scope::Everyone => self.each(|_| u64::MAX, self.filled.words(), |_, tokens| visit(tokens)),
            Scope::Member(_) | Scope::Members => self.each(
                |_| u64::MAX,
                self.filled.words(),
                |id, tokens| {
                    if self.cohort_of(id).standing.members {
                        visit(tokens);
                    }
                },
            ),
        }
        for (mut seat, to) in moving {
            if entry.is_for(seat.user, seat.session, &seat.cohort, to) {
                visit(&[seat.token]);
            }
            seat.cohort = Arc::clone(to);
            self.seat(seat);
        }
    }

    /// Visits the lists that are not empty and in a set of cohorts, given by its words.
    #[inline]
    fn each(&self, word: impl Fn(usize) -> u64, words: usize, mut visit: impl FnMut(u32, &[u64])) {
        for idx in 0..words.min(self.filled.words()) {
            for id in numbers(idx, word(idx) & self.filled.word(idx)) {
                visit(id, &self.lists[id as usize].tokens);
            }
        }
    }

    fn cohort_of(&self, id: u32) -> &Cohort {
        let slot = self.lists[id as usize].slots[0];
        let (seat, _) = self.seats[slot as usize].as_ref().expect("a slot in a list is seated");
        &seat.cohort
    }
}
