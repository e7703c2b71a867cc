//! Cohorts: the sessions with equal rights, numbered densely.
//!
//! Invariants:
//! - a cohort is asked for by its number only at entries from its birth up to where it ended; `passed` is behind all that have
//!   ended, and a number is given out again no earlier than there. So it means one cohort at each entry, and whoever reads late finds
//!   it in audiences as of that entry;
//! - `vacant` has the numbers of all rows without a cohort, and the last row is none of them: there are at most as many rows as there
//!   were cohorts at a time, those included that an event ends and that begin with it;
//! - stamps of birth rise by one, and never repeat; `births` lists the numbers given out since `first_birth`, in that order;
//! - `waiting_in` has, for each way to listen, exactly the cohorts whose list of such waiting sessions is not empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use guildhall_permissions::Rights;
use guildhall_proto::{ChannelId, Overwrite, Permissions, RoleId, UserId};
use guildhall_ring::Cursor;

use crate::bits::Bits;
use crate::hearing::List;

/// A cohort's number at one relay, dense.
pub(crate) type CohortId = u32;

/// All that decides what a session hears, apart from who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    /// The roles held, ascending, those deleted meanwhile among them.
    pub(crate) roles: Arc<[RoleId]>,
    pub(crate) owner: bool,
    /// Whether the user's own overwrite shows (or hides) a channel, ascending by channel; those that do neither are left out.
    pub(crate) overwrites: Box<[(ChannelId, bool)]>,
    /// Whether other members' changes are wanted.
    pub(crate) members: bool,
}

impl Standing {
    pub(crate) fn new(rights: &Rights, user: UserId, roles: Arc<[RoleId]>, members: bool) -> Self {
        let own = rights.user_overwrites(user);
        let overwrites = own.filter_map(|(channel, overwrite)| Some((channel, shows(&overwrite)?))).collect();
        Self { roles, owner: user == rights.owner(), overwrites, members }
    }

    /// What the user's own overwrite does in `channel`, if anything.
    pub(crate) fn overwrite(&self, channel: ChannelId) -> Option<bool> {
        let at = self.overwrites.binary_search_by_key(&channel, |(channel, _)| *channel).ok()?;
        Some(self.overwrites[at].1)
    }
}

/// Whether an overwrite shows (or hides) its channel to its target; `None` if it does neither.
pub(crate) fn shows(overwrite: &Overwrite) -> Option<bool> {
    if overwrite.allow.contains(Permissions::VIEW_CHANNEL) {
        Some(true)
    } else if overwrite.deny.contains(Permissions::VIEW_CHANNEL) {
        Some(false)
    } else {
        None
    }
}

/// Sessions with equal standing.
#[derive(Debug)]
pub(crate) struct Cohort {
    pub(crate) id: CohortId,
    /// Its stamp of birth; audiences stamped lower do not know it.
    pub(crate) born: u64,
    pub(crate) standing: Arc<Standing>,
}

impl Cohort {
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Standing>()
            + size_of_val(&self.standing.roles[..])
            + size_of_val(&self.standing.overwrites[..])
    }

    /// A cohort of the past, which no audience knows: every one of them decides about it by rule.
    pub(crate) fn past(standing: Standing) -> Arc<Self> {
        Arc::new(Self { id: CohortId::MAX, born: u64::MAX, standing: Arc::new(standing) })
    }
}

/// All cohorts of a relay that have sessions.
#[derive(Debug, Default)]
pub(crate) struct Cohorts {
    by_standing: BTreeMap<Arc<Standing>, CohortId>,
    rows: Vec<Row>,
    vacant: BTreeSet<CohortId>,
    /// No entry from here on is asked about a cohort that has ended.
    passed: Cursor,
    births: Vec<CohortId>,
    first_birth: u64,
    waiting_in: [Bits; List::ALL.len()],
    wanting_members: Bits,
}

#[derive(Debug, Default)]
struct Row {
    cohort: Option<Arc<Cohort>>,
    /// Sessions in it, waiting or not.
    sessions: u32,
    /// The waiting ones, by slot, apart by how they listen.
    waiting: [Vec<u32>; List::ALL.len()],
}

impl Cohorts {
    /// Cohorts that have sessions.
    pub(crate) fn len(&self) -> usize {
        self.by_standing.len()
    }

    /// The stamp of the youngest cohort.
    pub(crate) fn youngest(&self) -> u64 {
        self.first_birth + self.births.len() as u64
    }

    /// The cohort of this number, if it has sessions.
    pub(crate) fn find(&self, id: CohortId) -> Option<&Arc<Cohort>> {
        self.rows.get(id as usize)?.cohort.as_ref()
    }

    /// All cohorts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Cohort>> {
        self.rows.iter().filter_map(|row| row.cohort.as_ref())
    }

    /// The numbers given out after the stamp `made`; `None` if that was too long ago to be known.
    pub(crate) fn born_after(&self, made: u64) -> Option<&[CohortId]> {
        let from = usize::try_from(made.checked_sub(self.first_birth)?).ok()?;
        self.births.get(from..)
    }

    /// Counts one more session into the cohort of this standing, which begins if there is none. `head` is the ring's: the
    /// first entry whose audiences may know the cohort.
    pub(crate) fn join(&mut self, standing: Standing, head: Cursor) -> Arc<Cohort> {
        if let Some(id) = self.by_standing.get(&standing) {
            let row = &mut self.rows[*id as usize];
            row.sessions += 1;
            return Arc::clone(row.cohort.as_ref().expect("`by_standing` names cohorts that are there"));
        }
        let id = self.number(head);
        if self.births.len() >= BIRTHS_PER_COHORT * self.by_standing.len() + BIRTHS_MIN {
            self.first_birth += self.births.len() as u64;
            self.births = Vec::new();
        }
        self.births.push(id);
        let cohort = Arc::new(Cohort { id, born: self.youngest(), standing: Arc::new(standing) });
        self.by_standing.insert(Arc::clone(&cohort.standing), id);
        self.wanting_members.set(id, cohort.standing.members);
        let row = &mut self.rows[id as usize];
        debug_assert!(row.cohort.is_none() && row.sessions == 0 && row.waiting.iter().all(Vec::is_empty));
        row.cohort = Some(Arc::clone(&cohort));
        row.sessions = 1;
        cohort
    }

    /// Counts one session out of a cohort, which ends with its last one. The session is not waiting any more; it may still read
    /// what lies before `passed`.
    pub(crate) fn leave(&mut self, id: CohortId, passed: Cursor) {
        let row = &mut self.rows[id as usize];
        row.sessions -= 1;
        if row.sessions > 0 {
            return;
        }
        debug_assert!(row.waiting.iter().all(Vec::is_empty), "a waiting session counts");
        let cohort = row.cohort.take().expect("a session leaves the cohort it is in");
        row.waiting = Default::default();
        self.by_standing.remove(&cohort.standing);
        self.wanting_members.set(id, false);
        self.passed = self.passed.max(passed);
        self.vacant.insert(id);
        while self.rows.pop_if(|row| row.cohort.is_none()).is_some() {
            self.vacant.pop_last();
        }
        if self.rows.capacity() > ROWS_MIN.max(self.rows.len() * ROWS_SPARE) {
            self.rows.shrink_to(ROWS_MIN);
        }
    }

    /// Puts the session of a slot among the waiting ones and returns its place there.
    pub(crate) fn wait(&mut self, id: CohortId, list: List, slot: u32) -> u32 {
        let waiting = &mut self.rows[id as usize].waiting[list as usize];
        waiting.push(slot);
        self.waiting_in[list as usize].set(id, true);
        u32::try_from(waiting.len() - 1).expect("slots are numbered by 32 bits")
    }

    /// Takes the session at `place` from the waiting ones; the slot that has moved to its place, if one did.
    pub(crate) fn unwait(&mut self, id: CohortId, list: List, place: u32) -> Option<u32> {
        let waiting = &mut self.rows[id as usize].waiting[list as usize];
        waiting.swap_remove(place as usize);
        self.waiting_in[list as usize].set(id, !waiting.is_empty());
        waiting.get(place as usize).copied()
    }

    /// Takes from the waiting ones of a cohort those that `wake` says are woken; it is shown each slot and the place that its
    /// session has if it stays.
    pub(crate) fn wake(&mut self, id: CohortId, list: List, mut wake: impl FnMut(u32, u32) -> bool) {
        let waiting = &mut self.rows[id as usize].waiting[list as usize];
        let mut kept = 0;
        waiting.retain(|slot| {
            let woken = wake(*slot, kept);
            kept += u32::from(!woken);
            !woken
        });
        self.waiting_in[list as usize].set(id, !waiting.is_empty());
    }

    /// The cohorts with waiting sessions that listen in this way.
    pub(crate) fn waiting_in(&self, list: List) -> &Bits {
        &self.waiting_in[list as usize]
    }

    /// The waiting sessions of one cohort that listen in this way, by slot.
    pub(crate) fn waiting_of(&self, id: CohortId, list: List) -> &[u32] {
        &self.rows[id as usize].waiting[list as usize]
    }

    /// The cohorts whose sessions want other members' changes.
    pub(crate) fn wanting_members(&self) -> &Bits {
        &self.wanting_members
    }

    /// Sessions that wait. O(cohorts).
    pub(crate) fn waiting(&self) -> usize {
        self.rows.iter().flat_map(|row| &row.waiting).map(Vec::len).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        let cohorts: usize = self.iter().map(|cohort| cohort.bytes()).sum();
        let waiting: usize =
            self.rows.iter().flat_map(|row| &row.waiting).map(|list| list.capacity() * size_of::<u32>()).sum();
        cohorts
            + waiting
            + self.rows.capacity() * size_of::<Row>()
            + self.vacant.len() * size_of::<CohortId>()
            + self.births.capacity() * size_of::<CohortId>()
            + self.waiting_in.iter().map(Bits::bytes).sum::<usize>()
            + self.wanting_members.bytes()
    }

    /// The lowest free number, so that bitmaps stay short.
    fn number(&mut self, head: Cursor) -> CohortId {
        assert!(self.passed <= head, "cohorts that end with an entry end after all that begin with it");
        if let Some(id) = self.vacant.pop_first() {
            return id;
        }
        self.rows.push(Row::default());
        u32::try_from(self.rows.len() - 1).expect("there are no more cohorts than sessions, which 32 bits number")
    }
}

/// The list of births is forgotten, and audiences are made anew, when it is this much longer than there are cohorts: then making
/// them anew costs about what following the list would.
const BIRTHS_PER_COHORT: usize = 2;
/// Births that are always remembered, so that a few cohorts coming and going cost little: 16 KiB.
const BIRTHS_MIN: usize = 4_096;
/// Rows that are always kept, and how many times the rows in use are kept when many cohorts have ended: 48 bytes each.
const ROWS_MIN: usize = 256;
const ROWS_SPARE: usize = 4;
