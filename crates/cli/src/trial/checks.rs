//! What the sessions of a guild on trial have heard beside what they had to, counted, and the table of that.

use comfy_table::Table;
use serde::Serialize;

use crate::checks::Verdict;
use crate::tables::{aligned, grouped, new_table};

/// What was checked. All but the first four are faults, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Checks {
    /// Deliveries that had to be, by the ledger and the plain rule.
    pub(crate) due: u64,
    /// Gaps that were told to those who had fallen behind.
    pub(crate) gaps: u64,
    /// Due, and under these.
    pub(crate) missed: u64,
    /// Typing and presence that was told beside the events.
    pub(crate) told: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) leaked: u64,
    pub(crate) altered: u64,
    /// Gaps of what was heard, of what never happened, or without a reason.
    pub(crate) strange_gaps: u64,
    /// Sessions that had not heard the last event when nothing had moved for ten seconds.
    pub(crate) late: u64,
    /// Event numbers that no operation explains, or that two do.
    pub(crate) unexplained: u64,
    /// Operations that the guild did not carry out.
    pub(crate) failed: u64,
}

/// Faults that are counted beside these, by name.
pub(crate) type Also<'a> = &'a [(&'static str, u64)];

impl Checks {
    pub(crate) fn verdict(&self, also: Also<'_>) -> Verdict {
        match self.faults().iter().chain(also).map(|(_, count)| count).sum() {
            0 => Verdict::Passed,
            1_u64.. => Verdict::Failed,
        }
    }

    /// For people.
    pub(crate) fn table(&self, also: Also<'_>) -> Table {
        let Self { due, gaps, missed, told, .. } = *self;
        let told = [
            ("deliveries due", due),
            ("gaps told", gaps),
            ("deliveries due under these", missed),
            ("typing and presence told", told),
        ];
        let mut table = new_table(&["checks", ""]);
        for (name, number) in told.iter().chain(&self.faults()).chain(also) {
            table.add_row([(*name).to_owned(), grouped(*number)]);
        }
        aligned(table)
    }

    fn faults(&self) -> [(&'static str, u64); 9] {
        let Self { due: _, gaps: _, missed: _, told: _, lost, duplicated, reordered, leaked, altered, .. } = *self;
        let Self { strange_gaps, late, unexplained, failed, .. } = *self;
        [
            ("lost", lost),
            ("duplicated", duplicated),
            ("reordered", reordered),
            ("leaked", leaked),
            ("altered", altered),
            ("strange gaps", strange_gaps),
            ("late", late),
            ("unexplained events", unexplained),
            ("operations failed", failed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_fault_fails_the_trial_and_shows_in_the_table() {
        let good = Checks { due: 9, gaps: 1, missed: 2, told: 3, ..Checks::default() };
        assert_eq!(good.verdict(&[("nothing", 0)]), Verdict::Passed);
        assert_eq!(good.verdict(&[("nothing", 0), ("something", 1)]), Verdict::Failed);
        let faults = [
            Checks { lost: 7, ..good },
            Checks { duplicated: 7, ..good },
            Checks { reordered: 7, ..good },
            Checks { leaked: 7, ..good },
            Checks { altered: 7, ..good },
            Checks { strange_gaps: 7, ..good },
            Checks { late: 7, ..good },
            Checks { unexplained: 7, ..good },
            Checks { failed: 7, ..good },
        ];
        for checks in faults {
            assert_eq!(checks.verdict(&[]), Verdict::Failed, "{checks:?}");
            assert!(checks.table(&[]).to_string().contains('7'), "{checks:?}");
        }
        assert!(good.table(&[("wrong answers", 8)]).to_string().contains("wrong answers"));
    }
}
