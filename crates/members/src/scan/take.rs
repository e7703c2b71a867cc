//! From bits to ids: those of a page's users whose rows were found.

use std::ops::Range;

use guildhall_proto::UserId;
use prefetch_index::prefetch_index;

use crate::presence::ROWS;

/// Rows of a page that were found: a bit for each.
#[derive(Debug, Default)]
pub(super) struct Found {
    bits: Vec<u64>,
    /// How many. Counted once: without an instruction for it that takes a word as long as taking an id does.
    count: usize,
}

impl Found {
    pub(super) fn new(bits: Vec<u64>) -> Self {
        let count = bits.iter().map(|bits| bits.count_ones() as usize).sum();
        Self { bits, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn put(&mut self, row: usize, is_found: bool) {
        let bit = 1 << (row % ROWS);
        let word = &mut self.bits[row / ROWS];
        let before = word.count_ones() as usize;
        *word = if is_found { *word | bit } else { *word & !bit };
        self.count = self.count - before + word.count_ones() as usize;
    }
}

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
    /// Those of a page's rows that were found.
    pub(super) fn new(ids: &'a [UserId], found: &'a Found) -> Self {
        Self { ids, bits: &found.bits, is_dense: found.count > ids.len() / ROWS_A_LINE }
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
        let Some(last) = bits.checked_ilog2() else { return };
        let (mut left, last) = (*bits, 1 << last);
        // Several in any case, of which the last ones may be the last one found, again: fewer branches to mispredict.
        for _ in 0..FETCHED_AT_ONCE {
            prefetch_index(self.ids, first + (left | last).trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
        }
        while left != 0 {
            prefetch_index(self.ids, first + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

/// Appends the users of those of `rows` that were found, and begins to fetch `next`.
pub(super) fn take(ids: &[UserId], found: &Found, rows: Range<usize>, next: Next<'_>, out: &mut Vec<UserId>) {
    if rows.is_empty() {
        return;
    }
    let words = rows.start / ROWS..rows.end.div_ceil(ROWS);
    let bits_at = |at: usize| found.bits[at] & rows_in_word(&rows, at);
    let is_whole = rows.len() == ids.len();
    let count = if is_whole { found.count } else { words.clone().map(|at| bits_at(at).count_ones() as usize).sum() };
    if count == rows.len() {
        words.for_each(|at| next.fetch_word(at));
        out.extend_from_slice(&ids[rows]);
        return;
    }
    let start = out.len();
    // Room for all, and for what is written beyond and overwritten or cut off.
    out.resize(start + count + ROWS, UserId::MIN);
    let mut room = &mut out[start..];
    for at in words {
        next.fetch_word(at);
        let taken = take_word(&ids[at * ROWS..], bits_at(at), room);
        room = &mut room[taken..];
    }
    out.truncate(start + count);
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
                *place = ids[lowest(left)];
                left &= left.wrapping_sub(1);
            }
        }
    }
    found
}

/// The lowest bit set; the last, if none is: where that is not asked, finding it takes one instruction.
fn lowest(bits: u64) -> usize {
    (bits | 1 << (ROWS - 1)).trailing_zeros() as usize
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
const AT_ONCE: usize = 8;
/// How many are fetched without a branch between.
const FETCHED_AT_ONCE: usize = 4;
/// Ids of a line of the cache.
const ROWS_A_LINE: usize = 64 / size_of::<UserId>();
