//! From bits to ids: those of a page's users whose rows were found.

use std::ops::Range;

use guildhall_proto::UserId;
use prefetch_index::prefetch_index;

use crate::presence::ROWS;

/// The ids of a page that are taken behind another's, and fetched word by word while those are taken: what is not read in order the
/// processor does not fetch ahead by itself, and all at once they would wait for each other, and computing for them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Next<'a> {
    ids: &'a [UserId],
    bits: &'a [u64],
    /// So many are found that most lines of the cache have one.
    is_dense: bool,
}

impl<'a> Next<'a> {
    /// Those of a page's rows whose bits are set.
    pub(super) fn new(ids: &'a [UserId], bits: &'a [u64]) -> Self {
        let found: usize = bits.iter().map(|bits| bits.count_ones() as usize).sum();
        Self { ids, bits, is_dense: found > ids.len() / ROWS_A_LINE }
    }

    /// Begins to fetch all of them.
    pub(super) fn fetch(&self) {
        (0..self.bits.len()).for_each(|at| self.fetch_word(at));
    }

    #[inline]
    fn fetch_word(&self, at: usize) {
        let Some(bits) = self.bits.get(at) else { return };
        let first = at * ROWS;
        if self.is_dense {
            (first..first + ROWS).step_by(ROWS_A_LINE).for_each(|row| prefetch_index(self.ids, row));
            return;
        }
        let mut left = *bits;
        while left != 0 {
            prefetch_index(self.ids, first + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

/// Appends the users of those of `rows` whose bits are set, and begins to fetch `next`.
pub(super) fn take(ids: &[UserId], bits: &[u64], rows: Range<usize>, next: Next<'_>, out: &mut Vec<UserId>) {
    if rows.is_empty() {
        return;
    }
    let words = rows.start / ROWS..rows.end.div_ceil(ROWS);
    let found: usize = words.clone().map(|at| (bits[at] & rows_in_word(&rows, at)).count_ones() as usize).sum();
    if found == rows.len() {
        words.for_each(|at| next.fetch_word(at));
        out.extend_from_slice(&ids[rows]);
        return;
    }
    let start = out.len();
    // Room for all, and for what is written beyond and overwritten or cut off.
    out.resize(start + found + ROWS, UserId::MIN);
    let mut room = &mut out[start..];
    for at in words {
        next.fetch_word(at);
        let bits = bits[at] & rows_in_word(&rows, at);
        let taken = take_word(&ids[at * ROWS..], bits, room);
        room = &mut room[taken..];
    }
    out.truncate(start + found);
}

/// Writes the users whose bits are set to the front of `room`, and returns how many.
fn take_word(ids: &[UserId], bits: u64, room: &mut [UserId]) -> usize {
    let found = bits.count_ones() as usize;
    let (Some(ids), Some(room)) = (ids.first_chunk::<ROWS>(), room.first_chunk_mut::<ROWS>()) else {
        // The last rows of a page.
        let taken = ids.iter().enumerate().filter(|(row, _)| bits >> row & 1 != 0);
        room.iter_mut().zip(taken).for_each(|(place, (_, user))| *place = *user);
        return found;
    };
    if found == ROWS {
        *room = *ids;
    } else if found >= MANY {
        let mut next = 0;
        for (row, user) in ids.iter().enumerate() {
            // Written in any case and counted if taken: no branch to mispredict.
            room[next % ROWS] = *user;
            next += (bits >> row & 1) as usize;
        }
    } else {
        let mut left = bits;
        // Several at a time, of which the last ones may be too many: fewer branches to mispredict.
        for places in room.as_chunks_mut::<AT_ONCE>().0.iter_mut().take(found.div_ceil(AT_ONCE)) {
            for place in places {
                *place = ids[left.trailing_zeros() as usize % ROWS];
                left &= left.wrapping_sub(1);
            }
        }
    }
    found
}

/// The bits of the 64 rows of a word that are in `rows`.
fn rows_in_word(rows: &Range<usize>, word_idx: usize) -> u64 {
    let first = word_idx * ROWS;
    let from = rows.start.saturating_sub(first);
    let end = (rows.end - first).min(ROWS);
    (u64::MAX << from) & (u64::MAX >> (ROWS - end))
}

/// From so many of 64 on, all are written one after another; fewer are looked for.
const MANY: usize = 28;
/// How many are looked for between two branches.
const AT_ONCE: usize = 4;
/// Ids of a line of the cache.
const ROWS_A_LINE: usize = 64 / size_of::<UserId>();
