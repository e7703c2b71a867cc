//! Which session of the batch is in which cohort and how it listens, as of the batch's cursor.
//!
//! Invariants:
//! - a seated session is in the list of its cohort for those who listen as it does, at the place its seat says;
//! - `filled` has exactly the cohorts whose list is not empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{Level, Position, Seq, SessionId, Unread};
use guildhall_ring::Version;

use crate::audience::Audience;
use crate::bits::{Bits, numbers};
use crate::cohort::Cohort;
use crate::entry::{Call, Entry, Scope};
use crate::hearing::{Hearing, List, Listener};
use crate::news::Summary;
use crate::session::SessionKey;
use crate::told::{Hearers, Told};

/// A session and where it belongs.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) who: Listener,
    pub(crate) token: u64,
    pub(crate) cohort: Arc<Cohort>,
    /// What was told up to here is not for it.
    pub(crate) told: Version,
}

/// The sessions of one cohort that listen in one way.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) tokens: Vec<u64>,
    /// Their slots, in the same order.
    slots: Vec<u32>,
}

/// All who listen in one way, by cohort.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row>,
    filled: Bits,
}

#[derive(Debug, Default)]
pub(crate) struct Roster {
    lists: [Rows; List::ALL.len()],
    /// By slot: the session, and its place in its row.
    seats: Vec<Option<(Seat, u32)>>,
    slot_of: BTreeMap<SessionId, u32>,
    /// The highest `told` of all seats so far.
    told: Version,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.slot_of.len()
    }

    pub(crate) fn seat(&mut self, seat: Seat) {
        let (slot, id) = (seat.who.key.idx, seat.cohort.id);
        self.told = self.told.max(seat.told);
        let Rows { rows, filled } = &mut self.lists[seat.who.hearing.list() as usize];
        if rows.len() <= id as usize {
            rows.resize_with(id as usize + 1, Row::default);
        }
        if self.seats.len() <= slot as usize {
            self.seats.resize_with(slot as usize + 1, || None);
        }
        let row = &mut rows[id as usize];
        let place = u32::try_from(row.slots.len()).expect("slots are numbered by 32 bits");
        row.tokens.push(seat.token);
        row.slots.push(slot);
        filled.set(id, true);
        self.slot_of.insert(seat.who.session, slot);
        debug_assert!(self.seats[slot as usize].is_none(), "one session a slot");
        self.seats[slot as usize] = Some((seat, place));
    }

    /// Takes a session out, if it is in.
    pub(crate) fn unseat(&mut self, key: SessionKey) -> Option<Seat> {
        let taken = self.seats.get_mut(key.idx as usize)?;
        let (seat, place) = taken.take_if(|(seat, _)| seat.who.key == key)?;
        let Rows { rows, filled } = &mut self.lists[seat.who.hearing.list() as usize];
        let row = &mut rows[seat.cohort.id as usize];
        row.tokens.swap_remove(place as usize);
        row.slots.swap_remove(place as usize);
        if let Some(moved) = row.slots.get(place as usize) {
            let (_, at) = self.seats[*moved as usize].as_mut().expect("a slot in a row is seated");
            *at = place;
        }
        filled.set(seat.cohort.id, !row.slots.is_empty());
        self.slot_of.remove(&seat.who.session);
        Some(seat)
    }

    /// Has a session listen in another way, if it is in.
    pub(crate) fn switch(&mut self, key: SessionKey, hearing: Hearing, since: Seq) {
        if let Some(mut seat) = self.unseat(key) {
            seat.who = Listener { hearing, since, ..seat.who };
            self.seat(seat);
        }
    }

    /// Empties the roster and returns who was in it.
    pub(crate) fn clear(&mut self) -> Vec<Row> {
        std::mem::take(self).lists.into_iter().flat_map(|list| list.rows).collect()
    }

    /// Shows for whom an entry is, by cohorts, and lets those move that change cohort with it.
    pub(crate) fn show(&mut self, entry: &Entry, mut visit: impl FnMut(&[u64])) {
        // Those who move are taken out first: each is asked alone, by both its cohorts.
        let moving: Vec<(Seat, &Arc<Cohort>)> =
            entry.moves.iter().filter_map(|moved| Some((self.unseat(moved.session)?, &moved.to))).collect();
        match &entry.scope {
            Scope::Message { audience, except, call } => {
                let except = except.and_then(|session| self.slot_of.get(&session)).copied();
                let words = |idx| audience.seen_by().word(idx);
                match except {
                    None => self.each(&[List::Active], words, |row| visit(&row.tokens)),
                    Some(_) => {
                        self.each(&[List::Active], words, |row| row.visit_but(self.apart(except, row), &mut visit))
                    }
                }
                if let Some(call) = call {
                    self.show_called(entry, audience, call, except, &mut visit);
                }
            }
            Scope::Seeing(audience) => {
                self.each(&List::ALL, |idx| audience.seen_by().word(idx), |row| visit(&row.tokens));
            }
            Scope::Around { before, after } => {
                let sides = [before.as_deref(), after.as_deref()];
                let word = |idx| sides.iter().flatten().fold(0, |word, audience| word | audience.seen_by().word(idx));
                self.each(&List::ALL, word, |row| visit(&row.tokens));
            }
            Scope::Everyone => self.each(&List::ALL, |_| u64::MAX, |row| visit(&row.tokens)),
            Scope::Member(_) => self.show_wanting_members(&[List::Active], &mut visit),
            Scope::Members => self.show_wanting_members(&List::ALL, &mut visit),
            // It comes as an operation.
            Scope::Unread => {}
        }
        for (mut seat, to) in moving {
            if entry.is_for(&seat.who, &seat.cohort, to) {
                visit(&[seat.token]);
            }
            seat.cohort = Arc::clone(to);
            self.seat(seat);
        }
    }

    /// Tells passive sessions their news: those of a cohort at once that nothing sets apart.
    pub(crate) fn tell_news(&self, at: Position, summary: &Summary, mut visit: impl FnMut(&Unread, &[u64])) {
        let mut alike = Vec::new();
        self.each(
            &List::PASSIVE,
            |_| u64::MAX,
            |row| {
                let mut shared: Option<Unread> = None;
                alike.clear();
                for (token, slot) in row.tokens.iter().zip(&row.slots) {
                    let Seat { who, cohort, .. } = self.seated(*slot);
                    if summary.sets_apart(who) {
                        if let Some(unread) = summary.unread(at, who, cohort) {
                            visit(&unread, &[*token]);
                        }
                        continue;
                    }
                    if alike.is_empty() {
                        shared = summary.unread(at, who, cohort);
                    }
                    alike.push(*token);
                }
                if let Some(unread) = &shared {
                    visit(unread, &alike);
                }
            },
        );
    }

    /// Shows whom of those here something is for that was told under `version`, by cohorts.
    pub(crate) fn tell(&self, told: &Told, version: Version, mut visit: impl FnMut(&[u64])) {
        let mut apart = Vec::new();
        let mut show = |row: &Row| {
            apart.clear();
            apart.extend(told.own().iter().filter_map(|key| self.apart(self.find(*key), row)));
            if self.told >= version {
                let late = |place: &usize| self.seated(row.slots[*place]).told >= version;
                apart.extend((0..row.slots.len()).filter(late));
            }
            apart.sort_unstable();
            apart.dedup();
            row.visit_but(apart.iter().copied(), &mut visit);
        };
        match &told.hearers {
            Hearers::Channel { audience, .. } => self.each(&[List::Active], |idx| audience.seen_by().word(idx), show),
            Hearers::Members => self.each(
                &[List::Active],
                |_| u64::MAX,
                |row| {
                    if self.seated(row.slots[0]).cohort.standing.members {
                        show(row);
                    }
                },
            ),
        }
    }

    /// Shows the passive sessions that a message calls.
    fn show_called(
        &self,
        entry: &Entry,
        audience: &Audience,
        call: &Call,
        except: Option<u32>,
        visit: &mut impl FnMut(&[u64]),
    ) {
        for list in List::PASSIVE {
            let calls_all = call.everyone || call.here && list == List::PassiveOnline;
            if !calls_all && !call.calls_roles() {
                continue;
            }
            self.each(
                &[list],
                |idx| audience.seen_by().word(idx),
                |row| {
                    if calls_all || call.calls_role_of(&self.seated(row.slots[0]).cohort) {
                        row.visit_but(self.apart(except, row), visit);
                    }
                },
            );
        }
        for key in &call.sessions {
            let Some((seat, _)) = self.seats.get(key.idx as usize).and_then(Option::as_ref) else {
                continue;
            };
            let Seat { who, cohort, token, .. } = seat;
            let calls_all = call.everyone || call.here && who.hearing.list() == List::PassiveOnline;
            let is_shown = calls_all || call.calls_role_of(cohort);
            if who.key == *key && who.hearing.level == Level::Passive && !is_shown && entry.is_for(who, cohort, cohort)
            {
                visit(&[*token]);
            }
        }
    }

    fn show_wanting_members(&self, lists: &[List], visit: &mut impl FnMut(&[u64])) {
        self.each(
            lists,
            |_| u64::MAX,
            |row| {
                if self.seated(row.slots[0]).cohort.standing.members {
                    visit(&row.tokens);
                }
            },
        );
    }

    /// Visits the rows that are not empty and in a set of cohorts, given by its words.
    #[inline]
    fn each(&self, lists: &[List], word: impl Fn(usize) -> u64, mut visit: impl FnMut(&Row)) {
        for list in lists {
            let Rows { rows, filled } = &self.lists[*list as usize];
            for idx in 0..filled.words() {
                for id in numbers(idx, word(idx) & filled.word(idx)) {
                    visit(&rows[id as usize]);
                }
            }
        }
    }

    /// The slot of a session that is seated here.
    fn find(&self, key: SessionKey) -> Option<u32> {
        let (seat, _) = self.seats.get(key.idx as usize)?.as_ref()?;
        (seat.who.key == key).then_some(key.idx)
    }

    /// The place of the session at `slot`, if it is in this row.
    #[inline]
    fn apart(&self, slot: Option<u32>, row: &Row) -> Option<usize> {
        let slot = slot?;
        let (_, place) = self.seats[slot as usize].as_ref()?;
        (row.slots.get(*place as usize) == Some(&slot)).then_some(*place as usize)
    }

    fn seated(&self, slot: u32) -> &Seat {
        let (seat, _) = self.seats[slot as usize].as_ref().expect("a slot in a row is seated");
        seat
    }
}

impl Row {
    /// Visits all, but those at the places `apart`, which ascend.
    #[inline]
    fn visit_but(&self, apart: impl IntoIterator<Item = usize>, visit: &mut impl FnMut(&[u64])) {
        let mut from = 0;
        let mut visit_some = |part: &[u64]| {
            if !part.is_empty() {
                visit(part);
            }
        };
        for place in apart {
            visit_some(&self.tokens[from..place]);
            from = place + 1;
        }
        visit_some(&self.tokens[from..]);
    }
}
