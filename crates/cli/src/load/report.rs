//! What a load came to.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::Serialize;

use crate::checks::Verdict;
use crate::tables::{aligned, grouped, mebibytes, new_table};
use crate::trial::latency::{Times, operations_table};

/// The figures of one load, in the order in which they are shown.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    pub(super) guilds: u64,
    pub(super) members: u64,
    pub(super) sessions: u64,
    /// Of these.
    pub(super) active: u64,
    pub(super) backends: u64,
    pub(super) streams: bool,
    pub(super) seed: u64,
    pub(super) messages: u64,
    pub(super) changes: u64,
    /// Calls not carried out for want of room or time.
    pub(super) refused: u64,
    /// Calls that were due, and not begun in time.
    pub(super) not_begun: u64,
    pub(super) events: u64,
    pub(super) deliveries: u64,
    pub(super) deliveries_per_second: u64,
    #[serde(flatten)]
    pub(super) checks: Checks,
    pub(super) operations: BTreeMap<&'static str, Times>,
    pub(super) counted: Counted,
    pub(super) seconds: Seconds,
    pub(super) memory_bytes: MemoryBytes,
    /// `None` where the system does not tell.
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) passed: bool,
}

/// What was checked. All but the first four are faults, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Checks {
    pub(super) due: u64,
    pub(super) gaps: u64,
    /// Due, and under gaps.
    pub(super) missed: u64,
    pub(super) told: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) leaked: u64,
    pub(super) altered: u64,
    /// Gaps of what was heard, of what never happened, or without a reason.
    pub(super) strange_gaps: u64,
    pub(super) late: u64,
    pub(super) ended: u64,
    pub(super) unexplained: u64,
    pub(super) failed: u64,
}

/// What the client counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counted {
    pub(super) relay_resyncs: u64,
    pub(super) sessions_cut: u64,
    pub(super) sessions_resumed: u64,
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Seconds {
    /// To make the guilds, if that was asked for, and to read them.
    pub(super) find: f64,
    pub(super) attach: f64,
    pub(super) run: f64,
    pub(super) detach: f64,
    pub(super) total: f64,
}

/// What takes memory at the end of the run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct MemoryBytes {
    pub(super) relays: u64,
    pub(super) checker: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub(crate) fn verdict(&self) -> Verdict {
        let Checks { due: _, gaps: _, missed: _, told: _, lost, duplicated, reordered, leaked, .. } = self.checks;
        let Checks { altered, strange_gaps, late, ended, unexplained, failed, .. } = self.checks;
        let heard = lost + duplicated + reordered + leaked + altered + strange_gaps + late;
        match heard + ended + unexplained + failed {
            0 => Verdict::Passed,
            1.. => Verdict::Failed,
        }
    }

    /// One JSON object, on one line.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| json + "\n")
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let tables = [self.events_table(), operations_table(&self.operations), self.checks_table()];
        let mut text: String = tables.iter().map(|table| format!("{table}\n")).collect();
        text.push_str(match self.verdict() {
            Verdict::Passed => "\nEvery session heard exactly what it had to, in order, or was told what it missed.\n",
            Verdict::Failed => "\nFAILED: not all was as it has to be.\n",
        });
        text
    }

    fn events_table(&self) -> Table {
        let mut table = new_table(&["what happened", ""]);
        for (name, number) in [
            ("guilds", self.guilds),
            ("members", self.members),
            ("sessions", self.sessions),
            ("active sessions", self.active),
            ("backend nodes", self.backends),
            ("messages", self.messages),
            ("changes of members", self.changes),
            ("calls refused for want of room or time", self.refused),
            ("calls not begun in time", self.not_begun),
            ("events", self.events),
            ("deliveries", self.deliveries),
            ("deliveries a second", self.deliveries_per_second),
            ("relays that began again", self.counted.relay_resyncs),
        ] {
            table.add_row([name.to_owned(), grouped(number)]);
        }
        let Seconds { find, attach, run, detach, total } = self.seconds;
        for (name, seconds) in [
            ("seconds to make and read the guilds", find),
            ("seconds to attach the sessions", attach),
            ("seconds of the run", run),
            ("seconds to detach the sessions", detach),
            ("seconds in all", total),
        ] {
            table.add_row([name.to_owned(), format!("{seconds:.3}")]);
        }
        let MemoryBytes { relays, checker } = self.memory_bytes;
        for (name, bytes) in [
            ("MiB of relays", Some(relays)),
            ("MiB of the checks", Some(checker)),
            ("MiB of the process at its peak", self.peak_memory_bytes),
        ] {
            table.add_row([name.to_owned(), bytes.map_or_else(|| "unknown".into(), mebibytes)]);
        }
        aligned(table)
    }

    fn checks_table(&self) -> Table {
        let checks = &self.checks;
        let mut table = new_table(&["checks", ""]);
        for (name, number) in [
            ("deliveries due", checks.due),
            ("gaps told", checks.gaps),
            ("deliveries due under these", checks.missed),
            ("presence told", checks.told),
            ("lost", checks.lost),
            ("duplicated", checks.duplicated),
            ("reordered", checks.reordered),
            ("leaked", checks.leaked),
            ("altered", checks.altered),
            ("strange gaps", checks.strange_gaps),
            ("late", checks.late),
            ("sessions ended", checks.ended),
            ("unexplained events", checks.unexplained),
            ("calls failed", checks.failed),
        ] {
            table.add_row([name.to_owned(), grouped(number)]);
        }
        aligned(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_fault_fails_the_load_and_shows_in_the_table() {
        let good = Checks { due: 9, gaps: 1, missed: 2, told: 3, ..Checks::default() };
        assert_eq!(Report { checks: good, refused: 7, not_begun: 8, ..Report::default() }.verdict(), Verdict::Passed);
        for checks in [
            Checks { lost: 1, ..good },
            Checks { duplicated: 1, ..good },
            Checks { reordered: 1, ..good },
            Checks { leaked: 1, ..good },
            Checks { altered: 1, ..good },
            Checks { strange_gaps: 1, ..good },
            Checks { late: 1, ..good },
            Checks { ended: 1, ..good },
            Checks { unexplained: 1, ..good },
            Checks { failed: 1, ..good },
        ] {
            let report = Report { checks, ..Report::default() };
            assert_eq!(report.verdict(), Verdict::Failed);
            assert!(report.table().contains("FAILED"));
        }
    }
}
