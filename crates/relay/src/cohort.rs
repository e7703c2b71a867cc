//! Cohorts: the sessions with equal rights, numbered densely.
//!
//! Invariants:
//! - a number means one cohort for every entry that is in the ring: it is given out again only when the ring has passed the place
//!   at which its cohort ended;
//! - stamps of birth rise by one, and never repeat; `births` lists the numbers given out since `first_birth`, in that order;
//! - `waiting_in` has, for each way to listen, exactly the cohorts whose list of such waiting sessions is not empty.

use std::collections::{BTreeMap, VecDeque};
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
    /// Numbers of ended cohorts, and the place up to which the ring may still hold entries that mean them.
    ended: VecDeque<(Cursor, CohortId)>,
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

    /// Counts one more session into the cohort of this standing, which begins if there is none. `tail` is the ring's.
    pub(crate) fn join(&mut self, standing: Standing, tail: Cursor) -> Arc<Cohort> {
        if let Some(id) = self.by_standing.get(&standing) {
            let row = &mut self.rows[*id as usize];
            row.sessions += 1;
            return Arc::clone(row.cohort.as_ref().expect("`by_standing` names cohorts that are there"));
        }
        let id = self.number(tail);
        if self.births.len() >= BIRTHS_PER_COHORT * self.by_standing.len() + BIRTHS_MIN {
            self.first_birth += self.births.len() as u64;
            self.births.clear();
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
        self.ended.push_back((passed, id));
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

    /// The cohorts whose sessions want other members' changes.
    pub(crate) fn wanting_members(&self) -> &Bits {
        &self.wanting_members
    }

    /// Sessions that wait. O(cohorts).
    pub(crate) fn waiting(&self) -> usize {
        self.rows.iter().flat_map(|row| &row.waiting).map(Vec::len).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        let standings: usize = self
            .iter()
            .map(|cohort| {
                let standing = &cohort.standing;
                size_of_val(&standing.roles[..])
                    + size_of_val(&standing.overwrites[..])
                    + size_of::<Standing>()
                    + size_of::<Cohort>()
            })
            .sum();
        let waiting: usize =
            self.rows.iter().flat_map(|row| &row.waiting).map(|list| list.capacity() * size_of::<u32>()).sum();
        standings
            + waiting
            + self.rows.capacity() * size_of::<Row>()
            + self.births.capacity() * size_of::<CohortId>()
            + self.waiting_in.iter().map(Bits::bytes).sum::<usize>()
            + self.wanting_members.bytes()
    }

    fn number(&mut self, tail: Cursor) -> CohortId {
        if let Some((_, id)) = self.ended.pop_front_if(|(passed, _)| *passed <= tail) {
            return id;
        }
        self.rows.push(Row::default());
        u32::try_from(self.rows.len() - 1).expect("there are no more cohorts in the ring's reach than 32 bits number")
    }
}

/// The list of births is forgotten, and audiences are made anew, when it is this much longer than there are cohorts: then making
/// them anew costs about what following the list would.
const BIRTHS_PER_COHORT: usize = 2;
/// Births that are always remembered, so that a few cohorts coming and going cost little: 16 KiB.
const BIRTHS_MIN: usize = 4_096;
