//! All members of a base by nick: what makes a search by prefix a matter of microseconds in a large guild.
//!
//! Four bytes a member, so a base has it only where somebody searches: it is made when it is asked for, and a fold hands it on to
//! the next base for as long as it is used. A base without one is searched page by page.
//!
//! Invariants:
//! - `places` has each row of the base once, ascending by (folded nick, user);
//! - a place is a row's page and its number there, the latter in the lower `row_bits`; so places ascend as users do.

use std::cmp;
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
    /// [`nick::key`] of the part that is being compared, as bytes, so that a row takes 20.
    key: [u8; size_of::<u128>()],
    place: Place,
}

impl NickOrder {
    /// The order of these pages, made anew: O(n log n), 100 to 200 ms per million members, and 30 bytes of each meanwhile.
    /// `None` if there are too many pages beside the longest one, as folds never make them.
    pub(crate) fn of(pages: &[Arc<Page>]) -> Option<Self> {
        let numbering = Numbering::of(pages)?;
        // Page after page in its own order: sorted runs, which the sort only has to merge.
        let rows = pages.iter().zip(0..).flat_map(|(page, page_idx)| page.by_nick().map(move |row| (page_idx, row)));
        let mut keyed: Vec<Keyed> = Vec::with_capacity(pages.iter().map(|page| page.len()).sum());
        keyed.extend(rows.map(|(page_idx, row)| numbering.place(page_idx, row)).map(Keyed::unread));
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
        let moves = Moves::between((from, self.numbering), (to, numbering));
        let mut stayed = Vec::with_capacity(self.places.len());
        stayed.extend(self.places.iter().map(|place| moves.moved(*place)).filter(|place| *place != GONE));
        let mut keyed: Vec<Keyed> = moves.added.into_iter().map(Keyed::unread).collect();
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
    /// A part is compared as a number and read once for each row: whole nicks would be read at each comparison, from wherever they lie.
    fn sort(self, pages: &[Arc<Page>], rows: &mut [Keyed], part: usize) {
        for row in &mut *rows {
            row.key = nick::key(self.nick(pages, row.place), part).to_be_bytes();
        }
        // Stable, so that equal nicks stay as they are.
        rows.sort_by_key(Keyed::key);
        for alike in rows.chunk_by_mut(|one, next| one.key == next.key) {
            if alike.len() > 1 && !nick::ends_in(alike[0].key()) {
                self.sort(pages, alike, part + 1);
            }
        }
    }
}

impl Keyed {
    fn unread(place: Place) -> Self {
        Self { key: [0; size_of::<u128>()], place }
    }

    fn key(&self) -> u128 {
        u128::from_be_bytes(self.key)
    }
}

/// What became of the rows of some pages in others.
struct Moves {
    /// For each place before, the place now; [`GONE`] if the member is not there, or with another nick.
    moved: Vec<Place>,
    /// Of so many rows that moved alike, as nearly all did, the place of the first now; [`GONE`] where `moved` has to be asked. It stays in
    /// the cache, and is asked in the order of nicks.
    alike: Vec<Place>,
    /// Places now of the members who are new or have another nick, ascending.
    added: Vec<Place>,
}

impl Moves {
    fn between((from, before): (&[Arc<Page>], Numbering), (to, now): (&[Arc<Page>], Numbering)) -> Self {
        let mut moves = Self { moved: vec![GONE; from.len() << before.row_bits], alike: Vec::new(), added: Vec::new() };
        let mut old = (0..).zip(from).peekable();
        let mut old_row = 0;
        for (page_idx, page) in (0..).zip(to) {
            let mut row = 0;
            while row < page.len() {
                let Some((old_idx, old_page)) = old.peek() else {
                    moves.added.extend((row..page.len()).map(|row| now.place(page_idx, row)));
                    break;
                };
                let Some(user) = old_page.ids().get(old_row) else {
                    old.next();
                    old_row = 0;
                    continue;
                };
                match user.cmp(&page.ids()[row]) {
                    cmp::Ordering::Less => old_row += 1,
                    cmp::Ordering::Greater => {
                        moves.added.push(now.place(page_idx, row));
                        row += 1;
                    }
                    cmp::Ordering::Equal => {
                        let same = old_page.same_from(old_row, page, row);
                        let begin = before.place(*old_idx, old_row).0 as usize;
                        let places = (now.place(page_idx, row).0..).map(Place);
                        moves.moved[begin..begin + same]
                            .iter_mut()
                            .zip(places)
                            .for_each(|(moved, place)| *moved = place);
                        (old_row, row) = (old_row + same, row + same);
                        if same == 0 {
                            moves.added.push(now.place(page_idx, row));
                            (old_row, row) = (old_row + 1, row + 1);
                        }
                    }
                }
            }
        }
        moves.alike = moves.moved.chunks(ROWS_ALIKE).map(first_if_alike).collect();
        moves
    }

    fn moved(&self, place: Place) -> Place {
        let row = place.0 as usize;
        match self.alike[row / ROWS_ALIKE] {
            GONE => self.moved[row],
            Place(first) => Place(first + place.0 % ROWS_ALIKE as u32),
        }
    }
}

fn first_if_alike(rows: &[Place]) -> Place {
    let is_alike = rows[0] != GONE && (rows[0].0..).zip(rows).all(|(place, row)| row.0 == place);
    if is_alike { rows[0] } else { GONE }
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

/// A line of the cache of places.
const ROWS_ALIKE: usize = 16;
/// No row's place.
const GONE: Place = Place(u32::MAX);
/// To make an order costs some eight times what it costs to carry it on by one fold. So whenever the next search comes, at most twice as
/// much is spent as by who knew when.
const IDLE_FOLDS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use guildhall_proto::{Member, MemberFlags, Millis, Nick, UserId};

    use super::*;
    use crate::base::Base;
    use crate::{Members, MembersConfig};

    /// A member with one of many nicks: some are equal, some agree for long, some are not ASCII.
    fn member(number: u64, draw: u64) -> Member {
        let nick = match draw % 5 {
            0 => format!("{}", draw % 97),
            1 => format!("the same first sixteen {}", draw % 1_009),
            2 => format!("Ärger {}", draw % 31),
            3 => format!("日本{}", draw % 499),
            _ => format!("NICK{draw:x}"),
        };
        let (user, nick) = (UserId::new(number + 1).unwrap(), Nick::parse(&nick).unwrap());
        Member { user, nick, roles: Vec::new(), joined_at: Millis(0), flags: MemberFlags::NONE }
    }

    fn members(config: MembersConfig, count: u64) -> Members {
        let mut members = Members::new(config);
        for number in 0..count {
            members.put(&member(number * 3, spread(number)));
        }
        fold(&mut members);
        members
    }

    fn fold(members: &mut Members) -> Base {
        let folded = members.begin_fold().unwrap().run();
        drop(members.install(folded));
        members.base()
    }

    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7
    }

    fn places(order: &NickOrder) -> Vec<(usize, usize)> {
        order.places.iter().map(|place| order.numbering.row(*place)).collect()
    }

    #[test]
    fn an_order_has_all_rows_by_folded_nick_and_user() {
        let base = members(MembersConfig { page_members: 100, ..MembersConfig::default() }, 3_000).base();
        let order = NickOrder::of(base.pages()).unwrap();
        let row = |(page_idx, row): (usize, usize)| {
            let page = &base.pages()[page_idx];
            (page.nick(row).chars().flat_map(char::to_lowercase).collect::<String>(), page.ids()[row])
        };
        let rows: Vec<(String, UserId)> = places(&order).into_iter().map(row).collect();
        assert_eq!(rows.len(), 3_000);
        assert!(rows.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn an_order_carried_over_folds_is_that_of_the_new_pages() {
        let mut members = members(MembersConfig { page_members: 64, ..MembersConfig::default() }, 3_000);
        let first = members.base();
        first.order_nicks();
        for round in 1..40_u64 {
            // Now a few everywhere, now many in one place; some only get the nick that they have.
            for number in 0..round * 5 {
                let draw = spread(round * 1_000 + number);
                let whom = if round.is_multiple_of(3) { number } else { draw % 9_000 };
                match draw % 4 {
                    0 => drop(members.remove(UserId::new(whom + 1).unwrap())),
                    1 => drop(members.put(&member(whom, spread(whom / 3)))),
                    _ => drop(members.put(&member(whom, draw))),
                }
            }
            let base = fold(&mut members);
            let expected = NickOrder::of(base.pages()).unwrap();
            assert_eq!(places(base.nick_order().unwrap()), places(&expected), "by one fold");
            base.nick_order().unwrap().is_used.store(true, Ordering::Relaxed);
            let over_all = first.nick_order().unwrap().carried(first.pages(), base.pages()).unwrap();
            assert_eq!(places(&over_all), places(&expected), "over all folds");
            let back = expected.carried(base.pages(), first.pages()).unwrap();
            assert_eq!(places(&back), places(first.nick_order().unwrap()));
        }
    }

    #[test]
    fn folds_carry_an_order_while_it_is_used_and_some_times_more() {
        let mut members = members(MembersConfig::default(), 100);
        members.base().order_nicks();
        let mut carried_by = |folds: u32, is_used: bool| {
            for number in 0..folds {
                if let Some(order) = members.base().nick_order() {
                    order.is_used.store(is_used, Ordering::Relaxed);
                }
                members.put(&member(7, number.into()));
                fold(&mut members);
            }
            members.base().nick_order().is_some()
        };
        assert!(carried_by(3 * IDLE_FOLDS_MAX, true));
        assert!(carried_by(IDLE_FOLDS_MAX, false));
        assert!(!carried_by(1, false));
    }

    #[test]
    fn what_is_looked_for_is_found_wherever_it_is() {
        let rows: Vec<Place> = (0..20).map(Place).collect();
        for len in 0..=20 {
            for at in 0..=len {
                assert_eq!(galloped(&rows[..len], |place| (place.0 as usize) < at), at);
            }
        }
    }
}
