//! A page with other records in some of its rows, where nobody comes and nobody goes: most of what a fold has to do.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Page, Row, compact, compare, page_row};
use crate::overlay::Record;
use crate::role_sets::SetId;

/// Another record for a row of a page.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) row: usize,
    pub(crate) record: &'a Record,
    pub(crate) set: SetId,
}

impl Page {
    /// The page with these edits, at most one a row. Columns that stay as they are it shares; the others are copied as they lie, and who is
    /// called otherwise is sorted in by nick: O(members) copies, O(edits · log members) comparisons.
    pub(crate) fn edited(&self, edits: &[Edit<'_>]) -> Self {
        let mut sets = Arc::clone(&self.sets);
        for Edit { row, set, .. } in edits {
            if sets[*row] != *set {
                Arc::make_mut(&mut sets)[*row] = *set;
            }
        }
        let ids = Arc::clone(&self.ids);
        let others: Vec<&Edit<'_>> = edits.iter().filter(|edit| !self.has(edit.row, edit.record)).collect();
        if others.is_empty() {
            let (rows, by_nick) = (Arc::clone(&self.rows), Arc::clone(&self.by_nick));
            return Self { ids, sets, rows, long_nicks: self.long_nicks.clone(), by_nick };
        }
        let (mut rows, mut long_nicks) = (Arc::clone(&self.rows), self.long_nicks.to_string());
        let columns = Arc::make_mut(&mut rows);
        let mut has_long = false;
        for Edit { row, record, .. } in &others {
            let place = &mut columns[*row];
            has_long |= place.is_long();
            *place = Row::new(record.joined_at, record.flags, record.nick.as_str(), &mut long_nicks);
            has_long |= place.is_long();
        }
        if has_long {
            long_nicks = compact(columns, &long_nicks);
        }
        let mut page = Self { ids, sets, rows, long_nicks: long_nicks.into(), by_nick: Arc::default() };
        page.by_nick = page.with_order(&self.by_nick, &others);
        page
    }

    /// Whether a row is as a record has it, apart from the roles.
    fn has(&self, row: usize, record: &Record) -> bool {
        let own = (self.joined_at(row), self.flags(row), self.nick_bytes(row));
        own == (record.joined_at, record.flags, record.nick.as_str().as_bytes())
    }

    /// All rows ascending by (folded nick, user), where this was the order before.
    fn with_order(&self, before: &[u16], edits: &[&Edit<'_>]) -> Arc<[u16]> {
        let mut is_edited = vec![false; self.len()];
        let mut edited: Vec<u16> = edits.iter().map(|edit| page_row(edit.row)).collect();
        edited.iter().for_each(|row| is_edited[usize::from(*row)] = true);
        edited.sort_unstable_by(|one, other| self.compare(*one, *other));
        let left: Vec<u16> = before.iter().copied().filter(|row| !is_edited[usize::from(*row)]).collect();
        let mut order = Vec::with_capacity(before.len());
        let mut left = &left[..];
        for row in edited {
            let (before, after) = left.split_at(left.partition_point(|other| self.compare(*other, row).is_lt()));
            order.extend_from_slice(before);
            order.push(row);
            left = after;
        }
        order.extend_from_slice(left);
        order.into()
    }

    fn compare(&self, one: u16, other: u16) -> Ordering {
        compare(&self.rows, &self.long_nicks, usize::from(one), usize::from(other))
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::{MemberFlags, Millis, Nick, Status, UserId};
    use smallvec::SmallVec;

    use super::*;
    use crate::page::PageBuilder;

    fn record(user: u64, nick: &str) -> Record {
        Record {
            user: UserId::new(user).unwrap(),
            nick: Nick::parse(nick).unwrap(),
            joined_at: Millis(0),
            flags: MemberFlags::NONE,
            roles: SmallVec::new(),
        }
    }

    #[test]
    fn an_edit_copies_the_columns_that_it_changes_and_shares_the_others() {
        let mut builder = PageBuilder::new(8);
        for (user, nick) in [(1, "Bravo"), (2, "alpha, who has a long nick"), (3, "charlie")] {
            builder.push(&record(user, nick), SetId(0), Status::Offline);
        }
        let mut pages = Vec::new();
        builder.flush(|page, _| pages.push(page));
        let page = pages.pop().unwrap();

        let other_set = page.edited(&[Edit { row: 1, record: &record(2, page.nick(1)), set: SetId(7) }]);
        assert!(Arc::ptr_eq(&page.rows, &other_set.rows) && Arc::ptr_eq(&page.by_nick, &other_set.by_nick));
        assert_eq!((&*other_set.sets, other_set.nick(1)), (&[SetId(0), SetId(7), SetId(0)][..], page.nick(1)));

        let other_nick = other_set.edited(&[
            Edit { row: 0, record: &record(1, "delta"), set: SetId(0) },
            Edit { row: 1, record: &record(2, page.nick(1)), set: SetId(7) },
        ]);
        assert!(Arc::ptr_eq(&page.ids, &other_nick.ids) && Arc::ptr_eq(&other_set.sets, &other_nick.sets));
        let nicks: Vec<&str> = other_nick.by_nick().map(|row| other_nick.nick(row)).collect();
        assert_eq!(nicks, ["alpha, who has a long nick", "charlie", "delta"]);
        assert_eq!(page.nick(0), "Bravo");
    }
}
