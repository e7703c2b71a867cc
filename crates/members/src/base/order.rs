//! All members of a base by nick: what makes a search by prefix a matter of microseconds in a large guild.
//!
//! Four bytes a member, so a base has it only where somebody searches: it is made when it is asked for, and a fold hands it on to
//! the next base for as long as it is used. A base without one is searched page by page.
//!
//! Invariants:
//! - `places` has each row of the base once, ascending by (folded nick, user);
//! - a place is a row's page and its number there, the latter in the lower `row_bits`; so places ascend as users do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::nick::{self, Prefix};
use crate::page::Page;

/// The order. Means something only together with the pages that it was made of.
#[derive(Debug)]
pub(crate) struct NickOrder {
    places: Box<[Place]>,
    numbering: Numbering,
    /// Whether somebody has searched by it.
    is_used: AtomicBool,
    /// Folds in a row by which it was carried unused.
    idle_folds: u32,
}

/// A row of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u32);

/// How a row and its page become one number.
#[derive(Debug, Clone, Copy)]
struct Numbering {
    row_bits: u32,
}

/// A row on its way to its place in the order.
#[derive(Debug, Clone, Copy)]
struct Keyed {
    /// [`nick::key`] of the part that is being compared.
    key: u64,
    place: Place,
}

impl NickOrder {
    /// The order of these pages, made anew: O(n log n), 100 to 200 ms per million members, and 24 bytes of each meanwhile.
    /// `None` if there are too many pages for the longest one: pages that folds have made are not.
    pub(crate) fn of(pages: &[Arc<Page>]) -> Option<Self> {
        let numbering = Numbering::of(pages)?;
        // Page after page in its own order: sorted runs, which the sort only has to merge.
        let rows = pages.iter().zip(0..).flat_map(|(page, page_idx)| page.by_nick().map(move |row| (page_idx, row)));
        let mut keyed: Vec<Keyed> = Vec::with_capacity(pages.iter().map(|page| page.len()).sum());
        keyed.extend(rows.map(|(page_idx, row)| numbering.place(page_idx, row)).map(|place| Keyed { key: 0, place }));
        numbering.sort(pages, &mut keyed, 0);
        Some(Self::new(keyed.into_iter().map(|row| row.place).collect(), numbering, 0))
    }

    /// The order of the pages `to`, where this is that of the pages `from`: rows whose nick stayed keep their place among each
    /// other. O(n), and O(log n) for each member with another nick. `None` if it is not worth it, for folds have carried it on and
    /// nobody used it.
    pub(crate) fn carried(&self, from: &[Arc<Page>], to: &[Arc<Page>]) -> Option<Self> {
        let idle_folds = if self.is_used.load(Ordering::Relaxed) { 0 } else { self.idle_folds + 1 };
        if idle_folds > IDLE_FOLDS_MAX {
            return None;
        }
        let numbering = Numbering::of(to)?;
        let Moves { moved, added } = Moves::between((from, self.numbering), (to, numbering));
        let mut stayed = Vec::with_capacity(self.places.len());
        stayed.extend(self.places.iter().map(|place| moved[place.0 as usize]).filter(|place| *place != GONE));
        let mut keyed: Vec<Keyed> = added.into_iter().map(|place| Keyed { key: 0, place }).collect();
        numbering.sort(to, &mut keyed, 0);
        let mut places = Vec::with_capacity(stayed.len() + keyed.len());
        let mut left = &stayed[..];
        for Keyed { place, .. } in keyed {
            let nick = numbering.nick(to, place);
            let is_before =
                |other: &Place| nick::compare(numbering.nick(to, *other), nick).then(other.cmp(&place)).is_lt();
            let (before, behind) = left.split_at(galloped(left, is_before));
            places.extend_from_slice(before);
            places.push(place);
            left = behind;
        }
        places.extend_from_slice(left);
        Some(Self::new(places.into(), numbering, idle_folds))
    }

    fn new(places: Box<[Place]>, numbering: Numbering, idle_folds: u32) -> Self {
        Self { places, numbering, is_used: AtomicBool::new(false), idle_folds }
    }

    /// The rows whose nicks have the prefix or come after such nicks, as (page, row), ascending by (folded nick, user).
    pub(crate) fn tail_from_prefix(
        &self,
        pages: &[Arc<Page>],
        prefix: &Prefix,
    ) -> impl Iterator<Item = (usize, usize)> {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        let numbering = self.numbering;
        let begin = self.places.partition_point(|place| prefix.place(numbering.nick(pages, *place)).is_lt());
        self.places[begin..].iter().map(move |place| numbering.row(*place))
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.places)
    }
}

impl Numbering {
    fn of(pages: &[Arc<Page>]) -> Option<Self> {
        let longest = pages.iter().map(|page| page.len()).max().unwrap_or_default();
        let row_bits = longest.next_power_of_two().ilog2();
        (pages.len() < 1 << (u32::BITS - row_bits)).then_some(Self { row_bits })
    }

    fn place(self, page_idx: u32, row: usize) -> Place {
        Place(page_idx << self.row_bits | u32::try_from(row).expect("a page has at most 65,535 rows"))
    }

    fn row(self, place: Place) -> (usize, usize) {
        ((place.0 >> self.row_bits) as usize, (place.0 & ((1 << self.row_bits) - 1)) as usize)
    }

    fn nick(self, pages: &[Arc<Page>], place: Place) -> &str {
        let (page_idx, row) = self.row(place);
        pages[page_idx].nick(row)
    }

    /// Sorts rows whose nicks agree in all parts before this one, and that ascend by user where the rest agrees too.
    ///
    /// A part is compared as a number, eight bytes at a time, and read once for each row: whole nicks would be read at each
    /// comparison, from wherever they lie.
    fn sort(self, pages: &[Arc<Page>], rows: &mut [Keyed], part: usize) {
        for row in &mut *rows {
            row.key = nick::key(self.nick(pages, row.place), part);
        }
        // Stable, so that equal nicks stay as they are.
        rows.sort_by_key(|row| row.key);
        for alike in rows.chunk_by_mut(|one, next| one.key == next.key) {
            if alike.len() > 1 && !nick::ends_in(alike[0].key) {
                self.sort(pages, alike, part + 1);
            }
        }
    }
}

/// What became of the rows of some pages in others.
struct Moves {
    /// For each place among the pages before, its place now; [`GONE`] if the member is not there, or with another nick.
    moved: Vec<Place>,
    /// Places now of the members who are new or have another nick, ascending.
    added: Vec<Place>,
}

impl Moves {
    fn between((from, before): (&[Arc<Page>], Numbering), (to, now): (&[Arc<Page>], Numbering)) -> Self {
        let mut moves = Self { moved: vec![GONE; from.len() << before.row_bits], added: Vec::new() };
        let mut old = (0..).zip(from).peekable();
        let mut old_row = 0;
        for (page_idx, page) in (0..).zip(to) {
            let mut row = 0;
            while row < page.len() {
                let Some((old_idx, old_page)) = old.peek() else {
                    moves.added.extend((row..page.len()).map(|row| now.place(page_idx, row)));
                    break;
                };
                let (olds, news) = (&old_page.ids()[old_row..], &page.ids()[row..]);
                // Members who are in both, one after the other: nearly always all of them.
                let both = olds.iter().zip(news).take_while(|(old, new)| old == new).count();
                for offset in 0..both {
                    let place = now.place(page_idx, row + offset);
                    if Arc::ptr_eq(old_page, page) || old_page.has_nick_of(old_row + offset, page, row + offset) {
                        moves.moved[before.place(*old_idx, old_row + offset).0 as usize] = place;
                    } else {
                        moves.added.push(place);
                    }
                }
                (old_row, row) = (old_row + both, row + both);
                match (olds.get(both), news.get(both)) {
                    (Some(old), Some(new)) if old < new => old_row += 1,
                    (Some(_), Some(_)) => {
                        moves.added.push(now.place(page_idx, row));
                        row += 1;
                    }
                    (_, None) => {}
                    (None, Some(_)) => {
                        old.next();
                        old_row = 0;
                    }
                }
            }
        }
        moves
    }
}

/// How many at the front are before what is looked for. O(log of that): the next one is mostly near.
fn galloped(rows: &[Place], is_before: impl Fn(&Place) -> bool) -> usize {
    let mut end = 1;
    while rows.get(end - 1).is_some_and(&is_before) {
        end *= 2;
    }
    let begin = end / 2;
    begin + rows[begin..(end - 1).min(rows.len())].partition_point(is_before)
}

/// No row's place.
const GONE: Place = Place(u32::MAX);
/// To make an order costs some fifteen times what it costs to carry it by one fold. So whatever the next search comes after, at most twice as
/// much is spent as by who knew.
const IDLE_FOLDS_MAX: u32 = 16;
