//! What a load came to.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::Serialize;

use crate::checks::Verdict;
use crate::tables::{aligned, grouped, mebibytes, new_table};
use crate::trial::checks::Checks;
use crate::trial::latency::{Times, operations_table};

/// One call in so many that is not carried out is little.
const LITTLE: u64 = 100;

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
    /// Times that somebody typed, and that somebody came or went.
    pub(super) typing: u64,
    pub(super) presence: u64,
    /// Calls not carried out for want of room or time.
    pub(super) refused: u64,
    /// Calls that were due, and not begun in time.
    pub(super) not_begun: u64,
    pub(super) events: u64,
    pub(super) deliveries: u64,
    pub(super) deliveries_per_second: u64,
    #[serde(flatten)]
    pub(super) checks: Checks,
    /// Sessions that ended before they were detached, or were not told that they have: a fault.
    pub(super) ended: u64,
    /// Of all that was told.
    pub(super) typing_told: u64,
    pub(super) presence_told: u64,
    /// How often a session was not told what was set last of a subject: a fault.
    pub(super) untold: u64,
    pub(super) operations: BTreeMap<&'static str, Times>,
    pub(super) counted: Counted,
    pub(super) seconds: Seconds,
    pub(super) memory_bytes: MemoryBytes,
    /// `None` where the system does not tell.
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) passed: bool,
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
        self.checks.verdict(&self.also())
    }

    fn also(&self) -> [(&'static str, u64); 2] {
        [("sessions ended", self.ended), ("typing and presence not told in the end", self.untold)]
    }

    /// One JSON object, on one line.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| json + "\n")
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let tables = [self.events_table(), operations_table(&self.operations), self.checks.table(&self.also())];
        let mut text: String = tables.iter().map(|table| format!("{table}\n")).collect();
        text.push_str(match self.verdict() {
            Verdict::Passed => "\nEvery session heard exactly what it had to, in order, or was told what it missed.\n",
            Verdict::Failed => "\nFAILED: not all was as it has to be.\n",
        });
        let due = self.due_calls();
        if self.refused + self.not_begun > due / LITTLE {
            text.push_str(&format!(
                "Less was carried out than was asked for: of {} calls that were due {} were refused, and {} not begun in time.\n",
                grouped(due),
                grouped(self.refused),
                grouped(self.not_begun)
            ));
        }
        text
    }

    /// Calls that were to be made.
    fn due_calls(&self) -> u64 {
        let done = self.messages + self.changes + self.typing + self.presence;
        done + self.refused + self.not_begun + self.checks.failed
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
            ("typing", self.typing),
            ("changes of presence", self.presence),
            ("calls refused for want of room or time", self.refused),
            ("calls not begun in time", self.not_begun),
            ("events", self.events),
            ("deliveries", self.deliveries),
            ("deliveries a second", self.deliveries_per_second),
            ("typing told", self.typing_told),
            ("changes of presence told", self.presence_told),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_fault_fails_the_load_and_shows_in_the_table() {
        let refused = Report { refused: 7, not_begun: 8, ..Report::default() };
        assert!(refused.verdict() == Verdict::Passed && !refused.table().contains("FAILED"));
        let failed = Checks { failed: 1, ..Checks::default() };
        for report in [
            Report { checks: failed, ..Report::default() },
            Report { ended: 1, ..Report::default() },
            Report { untold: 1, ..Report::default() },
        ] {
            assert!(report.verdict() == Verdict::Failed && report.table().contains("FAILED"));
        }
    }

    #[test]
    fn a_load_of_which_much_was_not_carried_out_says_so() {
        let says = |report: Report| report.table().contains("Less was carried out");
        assert!(!says(Report { messages: 990, not_begun: 9, ..Report::default() }));
        assert!(says(Report { messages: 900, not_begun: 9, refused: 1, ..Report::default() }));
    }
}
