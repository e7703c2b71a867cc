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
    older: SmallVec<[Arc<Vec<Changed>>; OLDER_FEW]>,
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

    /// The entry in older runs, [`Entry::Nothing`] too.
    fn get_older(&self, user: UserId) -> Option<Entry> {
        self.older.iter().find_map(|run| Some(run[position(run, user).ok()?].entry))
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
        let all = std::iter::once(&self.newest).chain(self.older.iter().map(|run| &**run));
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
        let older: usize = self.older.iter().map(|run| size_of::<Vec<Changed>>() + run.capacity() * ENTRY_BYTES).sum();
        self.newest.capacity() * ENTRY_BYTES + older
    }

    fn insert(&mut self, at: usize, changed: Changed) {
        self.newest.insert(at, changed);
        if self.newest.len() == NEWEST_MAX {
            self.merge_newest();
        }
    }

    fn merge_newest(&mut self) {
        let mut run = take(&mut self.newest);
        let mut longest = NEWEST_MAX;
        for level in 0.. {
            longest *= LEVEL_FACTOR;
            let is_oldest = level + 1 >= self.older.len();
            let Some(older) = self.older.get_mut(level) else {
                self.older.push(Arc::new(merged(&run, &[], true)));
                return;
            };
            run = merged(&run, older, is_oldest);
            if run.len() <= longest {
                *older = Arc::new(run);
                return;
            }
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

/// Where the user's entry is, or would be.
fn position(run: &[Changed], user: UserId) -> Result<usize, usize> {
    run.binary_search_by_key(&user, |changed| changed.user)
}

/// Both runs as one, without [`Entry::Nothing`] if there is no older run.
fn merged(newer: &[Changed], older: &[Changed], is_oldest: bool) -> Vec<Changed> {
    let mut merged = Vec::with_capacity(newer.len() + older.len());
    let mut left = older;
    for changed in newer {
        let before = left.partition_point(|older| older.user < changed.user);
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
/// Older runs up to 32,768 entries.
const OLDER_FEW: usize = 2;

const _: () = assert!(ENTRY_BYTES == 16, "an entry takes two words");
