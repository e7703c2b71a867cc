//! Who has changed, in sorted runs: a persistent ordered map of small entries.
//!
//! Changes go into the *newest* run, which is short. When it is full it is merged into the next older one, and that, when
//! it has become sixteen times as long as the one before it may be, into the next. So an entry is copied some sixteen
//! times a level, in order, and never one by one; a look-up searches a handful of runs, the newest first.
//!
//! Invariants:
//! - runs ascend by user, without duplicates; the newest has fewer than [`NEWEST_MAX`] entries;
//! - an entry wins over those of the same user in older runs;
//! - [`Entry::Nothing`] stands only above an entry of an older run, so the oldest run has none.

use std::mem::take;
use std::sync::Arc;

use guildhall_proto::{Status, UserId};
use prefetch_index::prefetch_index;
use smallvec::SmallVec;

use super::records::Number;

/// What is kept of one member's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Put(Number, Status),
    Gone,
    Status(Status),
    /// What an older run says does not hold any more.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Changed {
    user: UserId,
    entry: Entry,
}

/// The runs. A clone copies the newest and shares the others.
#[derive(Debug, Default)]
pub(super) struct Runs {
    newest: Vec<Changed>,
    /// From the second newest on. Some may be empty.
    older: SmallVec<[Arc<Run>; OLDER_FEW]>,
}

/// A run that does not change any more.
#[derive(Debug, Default)]
struct Run {
    changes: Vec<Changed>,
    /// The first user of each few changes: these stay near, where of the changes each step of a search would wait for memory.
    fences: Box<[UserId]>,
    /// Some bits of one word for each user in it: who is asked for is mostly in no run, and that is one look.
    filter: Box<[u64]>,
}

impl Runs {
    /// The user's entry; never [`Entry::Nothing`].
    pub(super) fn get(&self, user: UserId) -> Option<Entry> {
        let entry = match position(&self.newest, user) {
            Ok(at) => Some(self.newest[at].entry),
            Err(_) => self.get_older(user),
        };
        entry.filter(|entry| *entry != Entry::Nothing)
    }

    /// Begins to fetch what a look for the user reads first.
    pub(super) fn approach(&self, user: UserId) {
        for run in &self.older {
            let (word, _) = place(user, run.filter.len());
            prefetch_index(&run.filter, word);
        }
    }

    /// The entry in older runs, [`Entry::Nothing`] too.
    fn get_older(&self, user: UserId) -> Option<Entry> {
        self.older.iter().find_map(|run| run.get(user))
    }

    /// Sets the user's entry and returns the one before; neither is [`Entry::Nothing`].
    pub(super) fn set(&mut self, user: UserId, entry: Entry) -> Option<Entry> {
        let before = match position(&self.newest, user) {
            Ok(at) => Some(std::mem::replace(&mut self.newest[at].entry, entry)),
            Err(at) => {
                let before = self.get_older(user);
                self.insert(at, Changed { user, entry });
                before
            }
        };
        before.filter(|entry| *entry != Entry::Nothing)
    }

    /// Sets the entry of a user that has none.
    pub(super) fn set_new(&mut self, user: UserId, entry: Entry) {
        debug_assert!(self.get(user).is_none(), "a user with an entry is looked for");
        match position(&self.newest, user) {
            Ok(at) => self.newest[at].entry = entry,
            Err(at) => self.insert(at, Changed { user, entry }),
        }
    }

    /// Makes the newest run an older one: those have filters.
    pub(super) fn freeze(&mut self) {
        if !self.newest.is_empty() {
            self.merge_newest();
        }
    }

    /// Takes the user's entry away.
    pub(super) fn remove(&mut self, user: UserId) {
        let is_older = self.get_older(user).is_some_and(|entry| entry != Entry::Nothing);
        match (position(&self.newest, user), is_older) {
            (Ok(at), true) => self.newest[at].entry = Entry::Nothing,
            (Ok(at), false) => drop(self.newest.remove(at)),
            (Err(at), true) => self.insert(at, Changed { user, entry: Entry::Nothing }),
            (Err(_), false) => {}
        }
    }

    /// Entries from `from` on and before `until`, ascending by user.
    pub(super) fn range(
        &self,
        from: Option<UserId>,
        until: Option<UserId>,
    ) -> impl Iterator<Item = (UserId, Entry)> + use<'_> {
        let all = std::iter::once(&self.newest).chain(self.older.iter().map(|run| &run.changes));
        let mut left: SmallVec<[&[Changed]; OLDER_FEW + 1]> = all
            .map(|run| {
                let start = from.map_or(0, |from| run.partition_point(|changed| changed.user < from));
                let end = until.map_or(run.len(), |until| run.partition_point(|changed| changed.user < until));
                &run[start..end.max(start)]
            })
            .filter(|run| !run.is_empty())
            .collect();
        std::iter::from_fn(move || {
            loop {
                let user = left.iter().filter_map(|run| run.first()).map(|changed| changed.user).min()?;
                let mut newest = Entry::Nothing;
                // From the oldest on, so that the newest has the last word.
                for run in left.iter_mut().rev() {
                    if let Some((first, rest)) = run.split_first()
                        && first.user == user
                    {
                        newest = first.entry;
                        *run = rest;
                    }
                }
                if newest != Entry::Nothing {
                    return Some((user, newest));
                }
            }
        })
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let older: usize = self.older.iter().map(|run| run.bytes()).sum();
        self.newest.capacity() * ENTRY_BYTES + older
    }

    fn insert(&mut self, at: usize, changed: Changed) {
        self.newest.insert(at, changed);
        if self.newest.len() == NEWEST_MAX {
            self.merge_newest();
        }
    }

    fn merge_newest(&mut self) {
        let mut changes = take(&mut self.newest);
        let mut longest = NEWEST_MAX;
        for level in 0.. {
            longest *= LEVEL_FACTOR;
            let is_oldest = level + 1 >= self.older.len();
            let Some(older) = self.older.get_mut(level) else {
                self.older.push(Arc::new(Run::over(&changes, &Run::default(), true)));
                return;
            };
            let run = Run::over(&changes, older, is_oldest);
            if run.changes.len() <= longest {
                *older = Arc::new(run);
                return;
            }
            changes = run.changes;
            *older = Arc::default();
        }
    }
}

impl Clone for Runs {
    fn clone(&self) -> Self {
        // With room for as many again: a clone is made to be changed.
        let mut newest = Vec::with_capacity((self.newest.len() * 2 + NEWEST_FIRST).min(NEWEST_MAX));
        newest.extend_from_slice(&self.newest);
        Self { newest, older: self.older.clone() }
    }
}

impl Run {
    /// Newer changes and an older run as one.
    fn over(newer: &[Changed], older: &Self, is_oldest: bool) -> Self {
        let changes = merged(newer, &older.changes, is_oldest);
        let words = (changes.len() * FILTER_BITS / WORD_BITS).next_power_of_two();
        // Of who is in the older run its filter tells already, if it is as long. Who is in neither any more does no harm there.
        let (mut filter, untold) = if older.filter.len() == words {
            (older.filter.clone(), newer)
        } else {
            (vec![0; words].into(), &*changes)
        };
        for changed in untold {
            let (word, bits) = place(changed.user, words);
            filter[word] |= bits;
        }
        let fences = changes.iter().step_by(FENCE_CHANGES).map(|changed| changed.user).collect();
        Self { changes, fences, filter }
    }

    fn get(&self, user: UserId) -> Option<Entry> {
        let (word, bits) = place(user, self.filter.len());
        if self.filter.get(word)? & bits != bits {
            return None;
        }
        let block = self.fences.partition_point(|first| *first <= user).checked_sub(1)?;
        let changes = &self.changes[block * FENCE_CHANGES..];
        let changes = &changes[..changes.len().min(FENCE_CHANGES)];
        Some(changes[position(changes, user).ok()?].entry)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.changes.capacity() * ENTRY_BYTES
            + size_of_val(&*self.fences)
            + size_of_val(&*self.filter)
    }
}

/// The user's word of so many, a power of two, and its bits there.
fn place(user: UserId, words: usize) -> (usize, u64) {
    let spread = user.get().wrapping_mul(SPREAD);
    let word = usize::try_from(spread >> 32).expect("32 bits") & words.wrapping_sub(1);
    // The uppermost bits are those of the product that depend on most; a filter is short enough to leave them to these.
    let bits = (1..=BITS_A_USER).map(|at| 1 << (spread >> (u64::BITS - 6 * at) & (u64::BITS as u64 - 1)));
    (word, bits.fold(0, |bits, bit: u64| bits | bit))
}

/// Where the user's entry is, or would be.
fn position(run: &[Changed], user: UserId) -> Result<usize, usize> {
    run.binary_search_by_key(&user, |changed| changed.user)
}

/// How many of a run stand before a user. O(log of that): whoever merges runs asks for what is near.
fn before(run: &[Changed], user: UserId) -> usize {
    let mut reach = 1;
    while run.get(reach - 1).is_some_and(|changed| changed.user < user) {
        reach *= 2;
    }
    let (from, until) = (reach / 2, run.len().min(reach - 1));
    from + run[from..until].partition_point(|changed| changed.user < user)
}

/// Both runs as one, without [`Entry::Nothing`] if there is no older run.
fn merged(newer: &[Changed], older: &[Changed], is_oldest: bool) -> Vec<Changed> {
    let mut merged = Vec::with_capacity(newer.len() + older.len());
    let mut left = older;
    for changed in newer {
        let before = before(left, changed.user);
        merged.extend_from_slice(&left[..before]);
        left = &left[before..];
        if let Some((first, rest)) = left.split_first()
            && first.user == changed.user
        {
            left = rest;
        }
        if !(is_oldest && changed.entry == Entry::Nothing) {
            merged.push(*changed);
        }
    }
    merged.extend_from_slice(left);
    merged
}

const ENTRY_BYTES: usize = size_of::<Changed>();
/// A change moves half of the newest run, a kilobyte at most, and the first one behind a view copies all of it. Shorter, and
/// runs are merged more often.
const NEWEST_MAX: usize = 128;
/// Room for the first changes.
const NEWEST_FIRST: usize = 4;
/// Larger, and an entry is copied more often within a level; smaller, and there are more levels to search.
const LEVEL_FACTOR: usize = 16;
/// Bits of a filter for each entry, at least, and those that are set for it: one in sixty who are not in the run is looked for in vain.
const FILTER_BITS: usize = 12;
const BITS_A_USER: u32 = 3;
/// Changes between two fences: four lines of the cache.
const FENCE_CHANGES: usize = 16;
const WORD_BITS: usize = u64::BITS as usize;
/// The odd number nearest to 2^64 over the golden ratio: the product's upper bits depend on all bits of an id.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
/// Older runs up to 32,768 entries.
const OLDER_FEW: usize = 2;

const _: () = assert!(ENTRY_BYTES == 16, "an entry takes two words");
