//! Which rows of a page hold which role: what a scan reads in place of every row's role set.
//!
//! A question about a channel hangs on a few roles. To unite the rows of these takes a scan some nanoseconds for each holder,
//! and looks at nobody else. One [`Holders`] a page, kept beside it and not in it: it follows from the page and the role sets, and changes
//! when a deleted role is cleaned out of these, where the page does not. Roles go by their place in the dictionary of the base's
//! [`RoleSets`].
//!
//! A role's rows are *gaps*, a byte for each row, which tells how many rows it leaves out since the one before; 255 leaves out as many
//! and names none. Where that takes as many bytes as a bit for each row of the page, it is those bits. So a role costs a
//! byte for each who holds it, some more if they are few, and never more than a bit for each of the page.
//!
//! Where a list lies is found by its place, or, where few of many places are held, by a search among those: what is kept is in
//! proportion to what the page's members hold, however many roles a dictionary that was read has.
//!
//! Invariants:
//! - a row is listed under a place just when its role set has that place;
//! - a list of as many bytes as the page has bits, in whole words, is bits; a shorter one is gaps, and ends with a row;
//! - bits are of at least half as many rows as they have bytes;
//! - `places` is empty, or has an entry for each of `ends`, ascending, and those are of places that somebody holds; there are then more
//!   than [`DENSE_WITHIN`] places for each of these.

use std::ops::Range;

use prefetch_index::prefetch_index;

use crate::page::Page;
use crate::role_sets::RoleSets;

/// The holders of each role on one page.
#[derive(Debug)]
pub(crate) struct Holders {
    /// Rows of the page.
    rows: usize,
    /// Those held, if they are few; otherwise each number is a place.
    places: Box<[u16]>,
    /// Where a place's list ends and the next one begins. Places behind have no holders.
    ends: Box<[u32]>,
    lists: Box<[u8]>,
}

/// One row came to hold the role at one place, or ceased to. Ascends by place, then row: one number, for folds sort many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u32);

impl Turn {
    pub(crate) fn new(place: u16, row: u16) -> Self {
        Self(u32::from(place) << u16::BITS | u32::from(row))
    }

    fn place(self) -> u16 {
        (self.0 >> u16::BITS) as u16
    }

    fn row(self) -> usize {
        usize::from(self.0 as u16)
    }
}

impl Holders {
    /// Those of a page. O(members and what they hold).
    pub(crate) fn of(page: &Page, sets: &RoleSets) -> Self {
        let mut held = Vec::with_capacity(page.len() * USUAL_ROLES);
        for (set, row) in page.sets().iter().zip(0..) {
            held.extend(sets.indexes(*set).iter().map(|place| Turn::new(*place, row)));
        }
        let held = ascending(held, sets.dictionary().len());
        let mut lists = Lists::new(page.len());
        lists.bytes.reserve(held.len());
        held.chunk_by(|one, next| one.place() == next.place()).for_each(|here| lists.push(here));
        lists.finish()
    }

    /// The same without the roles at the places in `dropped`, and then with these turns, ascending.
    pub(crate) fn turned(&self, dropped: &[u16], turns: &[Turn]) -> Self {
        let mut lists = Lists::new(self.rows);
        lists.bytes.reserve(self.lists.len() + turns.len());
        let mut turned = turns.chunk_by(|one, next| one.place() == next.place()).peekable();
        for place in self.held() {
            while let Some(here) = turned.next_if(|here| here[0].place() < place) {
                lists.push(here);
            }
            let here = turned.next_if(|here| here[0].place() == place).unwrap_or_default();
            let before = if dropped.contains(&place) { &[][..] } else { self.list(place) };
            lists.push_turned(place, before, here);
        }
        turned.for_each(|here| lists.push(here));
        lists.finish()
    }

    /// The places that have a list, ascending, and some whose list is empty.
    fn held(&self) -> impl Iterator<Item = u16> {
        let all = if self.places.is_empty() { self.ends.len() } else { 0 };
        (0..=u16::MAX).take(all).chain(self.places.iter().copied())
    }

    /// Whether somebody holds the role at one of these places.
    pub(crate) fn has_any(&self, places: &[u16]) -> bool {
        places.iter().any(|place| !self.list(*place).is_empty())
    }

    /// Begins to fetch where the list of a place is found.
    pub(crate) fn approach(&self, place: u16) {
        prefetch_index(&self.ends, usize::from(place));
    }

    /// Begins to fetch the list of a place that was approached.
    pub(crate) fn fetch_ahead(&self, place: u16) {
        let range = self.range(place);
        range.step_by(LINE_BYTES).for_each(|at| prefetch_index(&self.lists, at));
    }

    /// Sets the bits of all who hold the role at this place.
    pub(crate) fn unite_into(&self, place: u16, rows: &mut [u64]) {
        unite(self.list(place), rows);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.places) + size_of_val(&*self.ends) + self.lists.len() + COUNTS_BYTES
    }

    fn list(&self, place: u16) -> &[u8] {
        &self.lists[self.range(place)]
    }

    fn range(&self, place: u16) -> Range<usize> {
        let at = if self.places.is_empty() { usize::from(place) } else { self.at(place) };
        let Some(end) = self.ends.get(at) else {
            return 0..0;
        };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        start as usize..*end as usize
    }

    /// Which of the few places it is; behind all, if it is none.
    fn at(&self, place: u16) -> usize {
        self.places.binary_search(&place).unwrap_or(usize::MAX)
    }
}

/// What each holds, by place and row: counted out where there are not many more places than that.
fn ascending(mut held: Vec<Turn>, places: usize) -> Vec<Turn> {
    if places > DENSE_WITHIN * held.len() {
        held.sort_unstable();
        return held;
    }
    let mut starts = vec![0; places + 1];
    held.iter().for_each(|turn| starts[usize::from(turn.place()) + 1] += 1);
    for place in 1..starts.len() {
        starts[place] += starts[place - 1];
    }
    let mut ascending = held.clone();
    for turn in held {
        let at = &mut starts[usize::from(turn.place())];
        ascending[*at] = turn;
        *at += 1;
    }
    ascending
}

/// Lists being written, place after place.
#[derive(Debug)]
struct Lists {
    rows: usize,
    /// Those that somebody holds, ascending, and where the list of each ends.
    places: Vec<u16>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Lists {
    fn new(rows: usize) -> Self {
        Self { rows, places: Vec::new(), ends: Vec::new(), bytes: Vec::new() }
    }

    /// Adds the rows of the next place that has any, ascending.
    fn push(&mut self, held: &[Turn]) {
        let (start, mut next) = (self.bytes.len(), 0);
        for turn in held {
            push_gap(&mut self.bytes, turn.row() - next);
            next = turn.row() + 1;
        }
        self.end_gaps(held[0].place(), start);
    }

    /// Adds the next place's list: another one, with these turns.
    fn push_turned(&mut self, place: u16, list: &[u8], turns: &[Turn]) {
        let start = self.bytes.len();
        if turns.is_empty() {
            self.bytes.extend_from_slice(list);
            self.end(place, start);
        } else if list.len() == bits_bytes(self.rows) {
            self.bytes.extend_from_slice(list);
            for turn in turns {
                self.bytes[start + turn.row() / 8] ^= 1 << (turn.row() % 8);
            }
            self.end_bits(place, start);
        } else {
            turn_gaps(list, turns, &mut self.bytes);
            self.end_gaps(place, start);
        }
    }

    /// Ends a list of gaps, or of bits if that is as short.
    fn end_gaps(&mut self, place: u16, start: usize) {
        let bits_bytes = bits_bytes(self.rows);
        if self.bytes.len() - start >= bits_bytes {
            let mut rows = vec![0; bits_bytes / size_of::<u64>()];
            unite_gaps(&self.bytes[start..], &mut rows);
            self.bytes.truncate(start);
            self.bytes.extend(rows.iter().flat_map(|word| word.to_le_bytes()));
        }
        self.end(place, start);
    }

    /// Ends a list of bits, or of gaps if few are left.
    fn end_bits(&mut self, place: u16, start: usize) {
        let holders: u32 = self.bytes[start..].iter().map(|byte| byte.count_ones()).sum();
        if (holders as usize) < bits_bytes(self.rows) / 2 {
            let bits = self.bytes.split_off(start);
            let mut next = 0;
            for row in (0..self.rows).filter(|row| bits[row / 8] >> (row % 8) & 1 != 0) {
                push_gap(&mut self.bytes, row - next);
                next = row + 1;
            }
        }
        self.end(place, start);
    }

    fn end(&mut self, place: u16, start: usize) {
        if self.bytes.len() > start {
            let end = u32::try_from(self.bytes.len());
            self.places.push(place);
            self.ends
                .push(end.expect("a list takes no more than a bit for each of 65,535 rows, and places are as few"));
        }
    }

    fn finish(self) -> Holders {
        let Self { rows, places, ends, bytes } = self;
        let all = places.last().map_or(0, |last| usize::from(*last) + 1);
        if all > DENSE_WITHIN * places.len() {
            return Holders { rows, places: places.into(), ends: ends.into(), lists: bytes.into() };
        }
        let mut by_place = Vec::with_capacity(all);
        for (place, end) in places.iter().zip(&ends) {
            // A place without holders ends where the one before it does.
            by_place.resize(usize::from(*place), by_place.last().copied().unwrap_or(0));
            by_place.push(*end);
        }
        Holders { rows, places: Box::default(), ends: by_place.into(), lists: bytes.into() }
    }
}

/// Appends the gaps of `list` with these turns, ascending. Between turns they are copied as they are.
fn turn_gaps(list: &[u8], turns: &[Turn], out: &mut Vec<u8>) {
    // The entry that was come to, the row behind the one before it, and the row behind the last one written.
    let (mut at, mut next, mut written) = (0, 0, 0);
    for turn in turns {
        let turned = turn.row();
        // What is behind a turn is relative to another row now.
        if written != next
            && let Some((row, end)) = entry(list, at, next)
            && row < turned
        {
            push_gap(out, row - written);
            (at, next, written) = (end, row + 1, row + 1);
        }
        let same_from = at;
        let found = loop {
            match entry(list, at, next) {
                Some((row, end)) if row < turned => (at, next) = (end, row + 1),
                found => break found,
            }
        };
        if at > same_from {
            out.extend_from_slice(&list[same_from..at]);
            written = next;
        }
        match found {
            Some((row, end)) if row == turned => (at, next) = (end, row + 1),
            _ => {
                push_gap(out, turned - written);
                written = turned + 1;
            }
        }
    }
    if written != next
        && let Some((row, end)) = entry(list, at, next)
    {
        push_gap(out, row - written);
        at = end;
    }
    out.extend_from_slice(&list[at..]);
}

/// The row that the gaps name at a place, where they count from `next` on, and where its gap ends; `None` behind the last.
#[inline]
fn entry(list: &[u8], mut at: usize, next: usize) -> Option<(usize, usize)> {
    let mut row = next;
    loop {
        let gap = *list.get(at)?;
        row += usize::from(gap);
        at += 1;
        if gap != SKIP {
            return Some((row, at));
        }
    }
}

fn push_gap(out: &mut Vec<u8>, mut gap: usize) {
    while gap >= usize::from(SKIP) {
        out.push(SKIP);
        gap -= usize::from(SKIP);
    }
    out.push(u8::try_from(gap).expect("what is left is less than a skip"));
}

/// Sets the bits of the rows in a list.
fn unite(list: &[u8], rows: &mut [u64]) {
    if list.len() == size_of_val(rows) {
        for (word, bits) in rows.iter_mut().zip(list.as_chunks().0) {
            *word |= u64::from_le_bytes(*bits);
        }
    } else {
        unite_gaps(list, rows);
    }
}

fn unite_gaps(list: &[u8], rows: &mut [u64]) {
    let mut row = 0;
    for gap in list {
        row += usize::from(*gap);
        if *gap != SKIP {
            rows[row / WORD_ROWS] |= BITS[row % WORD_ROWS];
            row += 1;
        }
    }
}

/// A bit for each row, in whole words.
fn bits_bytes(rows: usize) -> usize {
    rows.div_ceil(WORD_ROWS) * size_of::<u64>()
}

/// Rows whose bits are in one word.
const WORD_ROWS: usize = u64::BITS as usize;
/// Places for each that is held up to which each has an entry: one costs 4 bytes, and spares a search. Roles of a guild are mostly held on
/// every page.
const DENSE_WITHIN: usize = 8;
/// Roles of most members, or more: for how many room is made at first.
const USUAL_ROLES: usize = 4;
/// Each row's bit within its word: read from here it takes one step, shifted to its place three on processors that any x86-64 may be.
const BITS: [u64; WORD_ROWS] = {
    let mut bits = [1; WORD_ROWS];
    let mut row = 1;
    while row < WORD_ROWS {
        bits[row] = bits[row - 1] << 1;
        row += 1;
    }
    bits
};
/// The gap that names no row.
const SKIP: u8 = u8::MAX;
/// Bytes of a line of the cache.
const LINE_BYTES: usize = 64;
/// The two counts of a shared allocation.
const COUNTS_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists of these rows, each by its place.
    fn holders(page_rows: usize, rows: &[Vec<u16>]) -> Holders {
        let mut lists = Lists::new(page_rows);
        for (place, rows) in (0..).zip(rows).filter(|(_, rows)| !rows.is_empty()) {
            lists.push(&turns_of(place, rows));
        }
        lists.finish()
    }

    fn turns_of(place: u16, rows: &[u16]) -> Vec<Turn> {
        rows.iter().map(|row| Turn::new(place, *row)).collect()
    }

    fn rows_of(holders: &Holders, place: u16) -> Vec<u16> {
        let mut rows = vec![0; holders.rows.div_ceil(WORD_ROWS)];
        holders.unite_into(place, &mut rows);
        (0..).take(holders.rows).filter(|row| rows[usize::from(*row) / WORD_ROWS] >> (row % 64) & 1 != 0).collect()
    }

    /// Rows at uneven distances, about one in so many.
    fn about_one_in(distance: u32, page_rows: u16, salt: u32) -> Vec<u16> {
        let mixed = |row: u16| (u32::from(row) ^ salt).wrapping_mul(0x9E37_79B9) >> 8;
        (0..page_rows).filter(|row| mixed(*row) % distance == 0).collect()
    }

    #[test]
    fn rows_at_any_distance_read_back() {
        for page_rows in [1, 63, 64, 65, 255, 256, 257, 2_048, 65_535] {
            let mut rows: Vec<Vec<u16>> = [1, 2, 7, 8, 9, 60, 255, 256, 1_000, 60_000]
                .map(|distance| (0..page_rows).step_by(distance).collect())
                .into();
            rows.extend([Vec::new(), vec![page_rows - 1], (0..page_rows).rev().take(9).rev().collect()]);
            rows.extend((1..100).step_by(7).map(|distance| about_one_in(distance, page_rows, 3)));
            let holders = holders(page_rows.into(), &rows);
            for (place, rows) in (0..).zip(&rows) {
                assert_eq!(&rows_of(&holders, place), rows, "{place} of {page_rows}");
            }
            assert!(rows_of(&holders, 1_000).is_empty());
        }
    }

    #[test]
    fn no_list_takes_more_than_a_byte_for_each_holder_and_skip_or_a_bit_for_each_row() {
        for distance in 1..300 {
            let rows = about_one_in(distance, 2_048, distance);
            let holders = holders(2_048, std::slice::from_ref(&rows));
            assert!(holders.lists.len() <= (rows.len() + 2_048 / 255).min(256), "one in {distance}");
        }
    }

    #[test]
    fn turns_give_what_all_rows_would_have_given() {
        const PAGE_ROWS: u16 = 700;
        let distances = [1, 2, 5, 8, 12, 40, 300, 650];
        let mut rows = distances.map(|distance| about_one_in(distance, PAGE_ROWS, distance));
        let mut turned = holders(PAGE_ROWS.into(), &rows);
        for round in 1..200 {
            let mut turns = Vec::new();
            for (place, rows) in (0..).zip(&mut rows) {
                // Towards emptiness for a while, then towards fullness, now and then many at a time.
                let sparse =
                    about_one_in(if round % 9 == 0 { 3 } else { 200 }, PAGE_ROWS, round * 31 + u32::from(place));
                let is_falling = round % 100 < 50;
                let changed = sparse.into_iter().filter(|row| rows.contains(row) == is_falling || row % 5 == 0);
                for row in changed.collect::<Vec<_>>() {
                    turns.push(Turn::new(place, row));
                    match rows.binary_search(&row) {
                        Ok(at) => drop(rows.remove(at)),
                        Err(at) => rows.insert(at, row),
                    }
                }
            }
            turned = turned.turned(&[], &turns);
            for (place, rows) in (0..).zip(&rows) {
                assert_eq!(&rows_of(&turned, place), rows, "{place} in round {round}");
            }
        }
    }

    #[test]
    fn what_few_of_many_places_take_does_not_grow_with_the_others() {
        let (few, border) = (turns_of(65_534, &[3, 99]), turns_of(65_535, &[0]));
        let mut lists = Lists::new(100);
        lists.push(&turns_of(7, &[1]));
        lists.push(&few);
        let sparse = lists.finish();
        assert!(sparse.bytes() < 150, "{} bytes", sparse.bytes());
        let turned = sparse.turned(&[7], &border);
        for (holders, held) in [(&sparse, [vec![1], vec![3, 99], vec![]]), (&turned, [vec![], vec![3, 99], vec![0]])] {
            assert_eq!([7, 65_534, 65_535].map(|place| rows_of(holders, place)), held);
            assert!([6, 8, 65_533].iter().all(|place| rows_of(holders, *place).is_empty()));
        }
        // As many as make a dense one of it, and back.
        let many: Vec<Turn> = (8..9_000).map(|place| Turn::new(place, 5)).collect();
        let dense = sparse.turned(&[65_534], &many);
        assert!(dense.places.is_empty() && dense.ends.len() == 9_000);
        let again = dense.turned(&[], &many);
        assert_eq!((rows_of(&again, 7), &*again.places), (vec![1], &[][..]));
        assert_eq!(ascending([&few[..], &many[..]].concat(), 65_535), [&many[..], &few[..]].concat());
        assert_eq!(ascending([&border[..], &few[..]].concat(), 65_536), [&few[..], &border[..]].concat());
    }

    #[test]
    fn a_dropped_role_has_no_holders_but_who_comes_to_hold_the_next_at_its_place() {
        let before = holders(100, &[vec![3, 50], vec![4], vec![5, 99]]);
        assert!(before.has_any(&[7, 2]) && !before.has_any(&[7]));
        let after = before.turned(&[0, 2], &[Turn::new(2, 7)]);
        assert_eq!([0, 1, 2].map(|place| rows_of(&after, place)), [vec![], vec![4], vec![7]]);
    }
}
