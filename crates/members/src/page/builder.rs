//! Making pages out of rows of old pages and new records.
//!
//! Rows come ascending by user, runs of untouched ones copied column by column; their order by nick is carried over,
//! not sorted again. What was gathered is cut into pages of equal length when it is flushed.
//!
//! Invariants:
//! - all columns have one entry per row gathered;
//! - every row is in exactly one of the `runs` or in `added`, or lies in the page being copied from;
//! - each run ascends by (folded nick, row).

use std::cmp::Ordering;
use std::ops::Range;

use guildhall_proto::{Status, UserId};

use super::{Page, Row, compact, compare, page_row};
use crate::overlay::Record;
use crate::presence::{Block, block_of, status_in};
use crate::role_sets::SetId;

#[derive(Debug)]
pub(crate) struct PageBuilder {
    page_members: usize,
    ids: Vec<UserId>,
    sets: Vec<SetId>,
    rows: Vec<Row>,
    long_nicks: String,
    statuses: Vec<Status>,
    runs: Vec<Vec<u32>>,
    added: Vec<u32>,
    /// For each row of the page being copied from, the row it has become.
    moved: Vec<u32>,
}

impl PageBuilder {
    /// A builder of pages of at most so many members.
    pub(crate) fn new(page_members: usize) -> Self {
        Self {
            page_members,
            ids: Vec::new(),
            sets: Vec::new(),
            rows: Vec::new(),
            long_nicks: String::new(),
            statuses: Vec::new(),
            runs: Vec::new(),
            added: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Rows gathered.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Begins to copy from a page.
    pub(crate) fn open(&mut self, page: &Page) {
        self.moved.clear();
        self.moved.resize(page.len(), GONE);
    }

    /// Copies rows of the open page; what is left out is gone.
    pub(crate) fn copy(&mut self, page: &Page, block: &Block, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let first = row_number(self.len());
        for (moved, row) in self.moved[rows.clone()].iter_mut().zip(first..) {
            *moved = row;
        }
        self.ids.extend_from_slice(&page.ids[rows.clone()]);
        self.sets.extend_from_slice(&page.sets[rows.clone()]);
        let copied = self.rows.len();
        self.rows.extend_from_slice(&page.rows[rows.clone()]);
        for row in self.rows[copied..].iter_mut().filter(|row| row.is_long()) {
            let nick = row.nick(&page.long_nicks);
            let offset = self.long_nicks.len();
            self.long_nicks.push_str(nick);
            row.place_long(offset);
        }
        self.statuses.extend(rows.map(|row| status_in(block, row)));
    }

    /// Copies one row of the open page, with another status.
    pub(crate) fn copy_with_status(&mut self, page: &Page, block: &Block, row: usize, status: Status) {
        self.copy(page, block, row..row + 1);
        if let Some(copied) = self.statuses.last_mut() {
            *copied = status;
        }
    }

    /// Ends copying from a page.
    pub(crate) fn close(&mut self, page: &Page) {
        let moved = page.by_nick.iter().map(|row| self.moved[usize::from(*row)]);
        self.runs.push(moved.filter(|row| *row != GONE).collect());
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, member: &Record, set: SetId, status: Status) {
        debug_assert!(self.ids.last().is_none_or(|last| *last < member.user), "rows ascend by user");
        self.added.push(row_number(self.len()));
        self.ids.push(member.user);
        self.sets.push(set);
        self.rows.push(Row::new(member.joined_at, member.flags, member.nick.as_str(), &mut self.long_nicks));
        self.statuses.push(status);
    }

    /// Makes pages of all rows, and begins afresh. Each page is at most `page_members` long and, if there are more than
    /// one, at least half of that.
    pub(crate) fn flush(&mut self, mut emit: impl FnMut(Page, Block)) {
        let by_nick = self.sorted();
        let starts = self.cut();
        let mut orders: Vec<Vec<u16>> = starts.windows(2).map(|cut| Vec::with_capacity(cut[1] - cut[0])).collect();
        if let [order] = &mut orders[..] {
            order.extend(by_nick.into_iter().map(|row| page_row(row as usize)));
        } else {
            for row in by_nick {
                let part = starts.partition_point(|start| *start <= row as usize) - 1;
                orders[part].push(page_row(row as usize - starts[part]));
            }
        }
        for (cut, order) in starts.windows(2).zip(orders) {
            let rows = cut[0]..cut[1];
            emit(self.page(rows.clone(), order), block_of(&self.statuses[rows]));
        }
        self.clear();
    }

    fn page(&self, rows: Range<usize>, by_nick: Vec<u16>) -> Page {
        let mut columns = Vec::from(&self.rows[rows.clone()]);
        let long_nicks = compact(&mut columns, &self.long_nicks);
        Page {
            ids: self.ids[rows.clone()].into(),
            sets: self.sets[rows].into(),
            rows: columns.into(),
            long_nicks: long_nicks.into(),
            by_nick: by_nick.into(),
        }
    }

    /// Where pages begin, and the end of the last.
    fn cut(&self) -> Vec<usize> {
        let rows = self.len();
        let pages = rows.div_ceil(self.page_members);
        (0..=pages).map(|page| rows * page / pages.max(1)).collect()
    }

    /// All rows, ascending by (folded nick, user).
    fn sorted(&mut self) -> Vec<u32> {
        let mut added = std::mem::take(&mut self.added);
        added.sort_unstable_by(|left, right| self.compare(*left, *right));
        let runs = std::mem::take(&mut self.runs);
        runs.into_iter().fold(added, |merged, run| self.merge(merged, run))
    }

    /// Unites two runs: the shorter one's rows are searched in the longer one. O(short · log long) comparisons, O(both)
    /// copies.
    fn merge(&self, one: Vec<u32>, other: Vec<u32>) -> Vec<u32> {
        let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
        if short.is_empty() {
            return long;
        }
        let mut merged = Vec::with_capacity(short.len() + long.len());
        let mut left = &long[..];
        for row in short {
            let (before, after) = left.split_at(left.partition_point(|other| self.compare(*other, row).is_lt()));
            merged.extend_from_slice(before);
            merged.push(row);
            left = after;
        }
        merged.extend_from_slice(left);
        merged
    }

    fn compare(&self, left: u32, right: u32) -> Ordering {
        compare(&self.rows, &self.long_nicks, left as usize, right as usize)
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.sets.clear();
        self.rows.clear();
        self.long_nicks.clear();
        self.statuses.clear();
    }
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("members are at most 20 million")
}

/// Marks a row that was not copied.
const GONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use guildhall_proto::{MemberFlags, Millis, Nick};

    use super::*;

    fn member(user: u64, nick: &str) -> Record {
        Record {
            user: UserId::new(user).unwrap(),
            nick: Nick::parse(nick).unwrap(),
            roles: Default::default(),
            joined_at: Millis(user),
            flags: MemberFlags::NONE,
        }
    }

    fn pages(builder: &mut PageBuilder) -> Vec<(Page, Block)> {
        let mut pages = Vec::new();
        builder.flush(|page, block| pages.push((page, block)));
        pages
    }

    fn nicks_in_order(page: &Page) -> Vec<&str> {
        page.by_nick.iter().map(|row| page.nick(usize::from(*row))).collect()
    }

    #[test]
    fn rows_are_cut_into_pages_of_equal_length() {
        let mut builder = PageBuilder::new(4);
        for user in 1..=9 {
            builder.push(&member(user, "x"), SetId(0), Status::Online);
        }
        let lens: Vec<usize> = pages(&mut builder).iter().map(|(page, _)| page.len()).collect();
        assert_eq!(lens, [3, 3, 3]);
        assert!(pages(&mut builder).is_empty());
    }

    #[test]
    fn nicks_of_any_length_read_back_after_every_rewriting() {
        let nicks = ["x".to_string(), "y".repeat(13), "z".repeat(14), "🦀".repeat(32), "Ä".repeat(7)];
        let mut builder = PageBuilder::new(3);
        for (user, nick) in (1..).zip(nicks.iter().cycle().take(10)) {
            builder.push(&member(user, nick), SetId(0), Status::Online);
        }
        let first = pages(&mut builder);
        for (page, block) in &first {
            builder.open(page);
            builder.copy(page, block, 1..page.len());
            builder.close(page);
        }
        let second = pages(&mut builder);
        for (page, _) in first.iter().chain(&second) {
            for row in 0..page.len() {
                let user = page.ids()[row].get() as usize;
                assert_eq!(page.nick(row), nicks[(user - 1) % nicks.len()]);
            }
        }
    }

    #[test]
    fn the_order_by_nick_survives_rewriting_and_joining_pages() {
        let mut builder = PageBuilder::new(8);
        for (user, nick) in [(1, "Delta"), (2, "alpha"), (3, "charlie"), (4, "Bravo")] {
            builder.push(&member(user, nick), SetId(0), Status::Idle);
        }
        let (first, first_block) = pages(&mut builder).pop().unwrap();
        for (user, nick) in [(11, "echo"), (12, "Alpha")] {
            builder.push(&member(user, nick), SetId(0), Status::Offline);
        }
        let (second, second_block) = pages(&mut builder).pop().unwrap();

        builder.open(&first);
        builder.copy(&first, &first_block, 0..2);
        builder.push(&member(3, "Yankee"), SetId(0), Status::Online);
        builder.copy_with_status(&first, &first_block, 3, Status::DoNotDisturb);
        builder.close(&first);
        builder.open(&second);
        builder.copy(&second, &second_block, 1..2);
        builder.close(&second);
        let (page, block) = pages(&mut builder).pop().unwrap();

        assert_eq!(nicks_in_order(&page), ["alpha", "Alpha", "Bravo", "Delta", "Yankee"]);
        let statuses: Vec<Status> = (0..page.len()).map(|row| status_in(&block, row)).collect();
        assert_eq!(statuses, [Status::Idle, Status::Idle, Status::Online, Status::DoNotDisturb, Status::Offline]);
    }
}
