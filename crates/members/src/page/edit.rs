//! A page with other records in some of its rows, where nobody comes and nobody goes: most of what a fold has to do.

use std::sync::Arc;

use super::{Page, Row, compact, page_row};
use crate::nick;
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
    /// The page with these edits, at most one a row. Its other columns are copied as they lie; each edit is sorted in by its nick:
    /// O(members) copies, O(edits · log members) comparisons.
    pub(crate) fn edited(&self, edits: &[Edit<'_>]) -> Self {
        let (mut sets, mut rows) = (self.sets.clone(), self.rows.clone());
        let (mut long_nicks, mut has_long) = (self.long_nicks.to_string(), false);
        for Edit { row, record, set } in edits {
            let place = &mut rows[*row];
            has_long |= place.is_long();
            *place = Row::new(record.joined_at, record.flags, record.nick.as_str(), &mut long_nicks);
            has_long |= place.is_long();
            sets[*row] = *set;
        }
        if has_long {
            long_nicks = compact(&mut rows, &long_nicks);
        }
        let (ids, long_nicks) = (Arc::clone(&self.ids), long_nicks.into());
        let mut page = Self { ids, sets, rows, long_nicks, by_nick: Box::default() };
        page.by_nick = page.with_order(&self.by_nick, edits);
        page
    }

    /// All rows ascending by (folded nick, user), where this was the order before.
    fn with_order(&self, before: &[u16], edits: &[Edit<'_>]) -> Box<[u16]> {
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

    fn compare(&self, one: u16, other: u16) -> std::cmp::Ordering {
        let nick = |row: u16| self.nick(usize::from(row));
        nick::compare(nick(one), nick(other)).then(one.cmp(&other))
    }
}
