//! Which session of the batch is in which cohort and how it listens, as of the batch's cursor.
//!
//! Invariants:
//! - a seated session is in the list of its cohort for those who listen as it does, at the place its seat says;
//! - `filled` has exactly the cohorts whose list is not empty.

use std::sync::Arc;

use guildhall_index::Index;
use guildhall_proto::{Level, Position, Seq, SessionId, Unread, UserId};
use guildhall_ring::Version;

use crate::audience::Audience;
use crate::bits::{Bits, numbers};
use crate::cohort::Cohort;
use crate::entry::{Call, Entry, Scope};
use crate::hearing::{Hearing, List, Listener};
use crate::news::Summary;
use crate::session::SessionKey;
use crate::told::{Hearers, Told};

/// A session that is to be seated, and where it belongs.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) who: Listener,
    pub(crate) token: u64,
    pub(crate) cohort: Arc<Cohort>,
    /// What was told up to here is not for it.
    pub(crate) told: Version,
}

/// A session that is seated at its slot. Its token is in its row.
#[derive(Debug)]
struct Seated {
    session: SessionId,
    user: UserId,
    since: Seq,
    told: Version,
    cohort: Arc<Cohort>,
    generation: u32,
    /// Its place in its row.
    place: u32,
    hearing: Hearing,
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
    /// By slot.
    seats: Vec<Option<Seated>>,
    by_session: Index,
    /// The highest `told` of all seats so far.
    told: Version,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.by_session.len()
    }

    pub(crate) fn seat(&mut self, seat: Seat) {
        let Seat { who: Listener { key, user, session, hearing, since }, token, cohort, told } = seat;
        let (slot, id) = (key.idx, cohort.id);
        self.told = self.told.max(told);
        let Rows { rows, filled } = &mut self.lists[hearing.list() as usize];
        if rows.len() <= id as usize {
            rows.resize_with(id as usize + 1, Row::default);
        }
        if self.seats.len() <= slot as usize {
            self.seats.resize_with(slot as usize + 1, || None);
        }
        let row = &mut rows[id as usize];
        let place = u32::try_from(row.slots.len()).expect("slots are numbered by 32 bits");
        row.tokens.push(token);
        row.slots.push(slot);
        filled.set(id, true);
        debug_assert!(self.seats[slot as usize].is_none(), "one session a slot");
        let generation = key.generation;
        self.seats[slot as usize] = Some(Seated { session, user, since, told, cohort, generation, place, hearing });
        self.by_session.insert(slot, |slot| session_at(&self.seats, slot));
    }

    /// Takes a session out, if it is in.
    pub(crate) fn unseat(&mut self, key: SessionKey) -> Option<Seat> {
        let Seated { place, hearing, .. } = *self.find(key)?;
        self.by_session.remove(key.idx, |slot| session_at(&self.seats, slot));
        let Seated { session, user, since, told, cohort, .. } = self.seats[key.idx as usize].take()?;
        let Rows { rows, filled } = &mut self.lists[hearing.list() as usize];
        let row = &mut rows[cohort.id as usize];
        let token = row.tokens.swap_remove(place as usize);
        row.slots.swap_remove(place as usize);
        if let Some(moved) = row.slots.get(place as usize) {
            self.seats[*moved as usize].as_mut().expect("a slot in a row is seated").place = place;
        }
        filled.set(cohort.id, !row.slots.is_empty());
        Some(Seat { who: Listener { key, user, session, hearing, since }, token, cohort, told })
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
                let except = except.and_then(|session| self.slot_of(session));
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
                    let seated = self.seated(*slot);
                    let (who, cohort) = (&seated.listener(*slot), &seated.cohort);
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
            apart.extend(told.own().iter().filter_map(|key| self.apart(self.find(*key).map(|_| key.idx), row)));
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
            let Some(seated) = self.find(*key) else {
                continue;
            };
            let Seated { hearing, cohort, place, .. } = seated;
            let list = hearing.list();
            let calls_all = call.everyone || call.here && list == List::PassiveOnline;
            let is_shown = calls_all || call.calls_role_of(cohort);
            if hearing.level == Level::Passive && !is_shown && entry.is_for(&seated.listener(key.idx), cohort, cohort) {
                let row = &self.lists[list as usize].rows[cohort.id as usize];
                visit(&[row.tokens[*place as usize]]);
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

    /// The slot of the session of this id, if it is seated here.
    fn slot_of(&self, session: SessionId) -> Option<u32> {
        self.by_session.find(session.get(), |slot| session_at(&self.seats, slot)).next()
    }

    /// A session that is seated here.
    fn find(&self, key: SessionKey) -> Option<&Seated> {
        self.seats.get(key.idx as usize)?.as_ref().filter(|seated| seated.generation == key.generation)
    }

    /// The place of the session at `slot`, if it is in this row.
    #[inline]
    fn apart(&self, slot: Option<u32>, row: &Row) -> Option<usize> {
        let slot = slot?;
        let place = self.seats[slot as usize].as_ref()?.place as usize;
        (row.slots.get(place) == Some(&slot)).then_some(place)
    }

    fn seated(&self, slot: u32) -> &Seated {
        self.seats[slot as usize].as_ref().expect("a slot in a row is seated")
    }
}

impl Seated {
    fn listener(&self, slot: u32) -> Listener {
        let Self { session, user, since, generation, hearing, .. } = *self;
        Listener { key: SessionKey { idx: slot, generation }, user, session, hearing, since }
    }
}

fn session_at(seats: &[Option<Seated>], slot: u32) -> u64 {
    seats[slot as usize].as_ref().expect("what the index leads to is seated").session.get()
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
