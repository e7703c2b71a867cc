//! What a demo came to.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::Serialize;

use crate::checks::Verdict;
use crate::kill::Totals;
use crate::tables::{aligned, grouped, mebibytes, new_table};
use crate::trial::checks::Checks;
use crate::trial::findings::Findings;
use crate::trial::latency::{Times, operations_table};

/// The figures of one demo, in the order in which they are shown.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    /// The guild as it began.
    pub(crate) members: u64,
    pub(crate) sessions: u64,
    pub(crate) roles: u64,
    pub(crate) channels: u64,
    /// Guild nodes.
    pub(crate) nodes: u64,
    /// Each at a backend node of its own.
    pub(crate) relays: u64,
    pub(crate) seed: u64,
    pub(crate) messages: u64,
    /// Numbered events while sessions listened.
    pub(crate) events: u64,
    /// Events that arrived at sessions.
    pub(crate) deliveries: u64,
    /// Deliveries a second, from the first message to the last that was heard.
    pub(crate) deliveries_per_second: u64,
    /// Members that were pruned.
    pub(crate) pruned: u64,
    /// Sessions that ended on the way with their members.
    pub(crate) ended: u64,
    /// Sessions that were cut, and came back.
    pub(crate) resumed: u64,
    /// Calls that nodes refused for want of room, and that were made again.
    pub(crate) refused: u64,
    /// Calls that came to a node that did not have their guild, and were made again where it was.
    pub(crate) redirected: u64,
    /// Small guilds that fell asleep, that woke, and of them those that woke at another node.
    pub(crate) slept: u64,
    pub(crate) woken: u64,
    pub(crate) moved: u64,
    #[serde(flatten)]
    pub(crate) checked: Checked,
    /// Processes killed at their work, and what was found of that.
    pub(crate) killed: Totals,
    pub(crate) operations: BTreeMap<&'static str, Times>,
    pub(crate) seconds: Seconds,
    pub(crate) memory_bytes: MemoryBytes,
    /// `None` where the system does not tell.
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) passed: bool,
}

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Checked {
    #[serde(flatten)]
    pub(crate) checks: Checks,
    /// 1 if the reader that had stopped was told no gap.
    pub(crate) untold_gaps: u64,
    /// Scans and counts whose answer is not that of the plain rule, and guilds that did not wake as they fell asleep.
    pub(crate) wrong_answers: u64,
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) build: f64,
    pub(crate) attach: f64,
    pub(crate) run: f64,
    pub(crate) check: f64,
    pub(crate) kill: f64,
    pub(crate) total: f64,
}

/// What takes memory at the end of the run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct MemoryBytes {
    /// Members as they lie in pages.
    pub(crate) pages: u64,
    /// Members by nick, if they were searched by prefix.
    pub(crate) nick_order: u64,
    /// What the sets are, and who holds each role.
    pub(crate) role_sets: u64,
    pub(crate) presence: u64,
    /// Changes of members that no fold has taken up yet.
    pub(crate) overlay: u64,
    pub(crate) bans: u64,
    pub(crate) relays: u64,
    /// What was noted for the checks.
    pub(crate) checker: u64,
}

impl Checked {
    /// Adds what one session heard; `may_lag` for the one that stopped, which alone is told gaps.
    pub(crate) fn add(&mut self, found: &Findings, may_lag: bool) {
        let checks = &mut self.checks;
        checks.due += found.due;
        checks.told += found.told;
        checks.lost += found.lost;
        checks.duplicated += found.duplicated;
        checks.reordered += found.reordered;
        checks.leaked += found.leaked;
        checks.altered += found.altered;
        if may_lag {
            checks.gaps += found.gaps;
            checks.missed += found.missed;
            checks.strange_gaps += found.needless_gaps;
            self.untold_gaps += u64::from(found.missed == 0);
        } else {
            checks.strange_gaps += found.gaps;
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.checks.verdict(&self.also())
    }

    fn also(&self) -> [(&'static str, u64); 2] {
        [("gaps not told", self.untold_gaps), ("wrong answers", self.wrong_answers)]
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.checked.verdict(), self.killed.verdict()) {
            (Verdict::Passed, Verdict::Passed) => Verdict::Passed,
            (Verdict::Failed, Verdict::Passed | Verdict::Failed) | (Verdict::Passed, Verdict::Failed) => {
                Verdict::Failed
            }
        }
    }

    /// One JSON object, on one line.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| json + "\n")
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let tables = [
            self.events_table(),
            operations_table(&self.operations),
            self.memory_table(),
            self.checked.checks.table(&self.checked.also()),
            self.killed_table(),
        ];
        for table in tables {
            text.push_str(&table.to_string());
            text.push('\n');
        }
        text.push_str(match self.verdict() {
            Verdict::Passed => "\nEvery session heard exactly what it had to, in order.\n",
            Verdict::Failed => "\nFAILED: not all was as it has to be.\n",
        });
        text
    }

    fn events_table(&self) -> Table {
        let mut table = new_table(&["what happened", ""]);
        for (name, number) in [
            ("members", self.members),
            ("sessions, nine in ten passive", self.sessions),
            ("guild nodes", self.nodes),
            ("backend nodes, with a relay each", self.relays),
            ("roles", self.roles),
            ("channels", self.channels),
            ("messages", self.messages),
            ("events", self.events),
            ("deliveries", self.deliveries),
            ("deliveries a second", self.deliveries_per_second),
            ("members pruned", self.pruned),
            ("sessions ended with their members", self.ended),
            ("sessions cut and resumed", self.resumed),
            ("small guilds that fell asleep", self.slept),
            ("small guilds that woke", self.woken),
            ("of them at another node", self.moved),
            ("calls refused for want of room, and made again", self.refused),
            ("calls sent on to the node that has the guild", self.redirected),
        ] {
            table.add_row([name.to_owned(), grouped(number)]);
        }
        let Seconds { build, attach, run, check, kill, total } = self.seconds;
        for (name, seconds) in [
            ("seconds to build the guild", build),
            ("seconds to attach the sessions", attach),
            ("seconds of the run", run),
            ("seconds of the check", check),
            ("seconds of the kills", kill),
            ("seconds in all", total),
        ] {
            table.add_row([name.to_owned(), format!("{seconds:.3}")]);
        }
        aligned(table)
    }

    fn memory_table(&self) -> Table {
        let mut table = new_table(&["memory", "MiB"]);
        let MemoryBytes { pages, nick_order, role_sets, presence, overlay, bans, relays, checker } = self.memory_bytes;
        for (name, bytes) in [
            ("members in pages", pages),
            ("members by nick", nick_order),
            ("role sets and holders", role_sets),
            ("presence", presence),
            ("changes not folded yet", overlay),
            ("bans", bans),
            ("relays", relays),
            ("the checks", checker),
        ] {
            table.add_row([name, &mebibytes(bytes)]);
        }
        table.add_row(["peak of the process", &self.peak_memory_bytes.map_or_else(|| "unknown".into(), mebibytes)]);
        aligned(table)
    }

    fn killed_table(&self) -> Table {
        let killed = &self.killed;
        let mut table = new_table(&["processes killed at their work", ""]);
        for (name, number) in [
            ("processes", killed.kills),
            ("operations acknowledged", killed.acknowledged),
            ("unanswered, and found whole", killed.unanswered_kept),
            ("unanswered, and cut", killed.unanswered_cut),
            ("lost", killed.lost),
            ("doubled", killed.doubled),
            ("heard of, and not there", killed.phantoms),
            ("guilds whose epoch did not rise", killed.epochs_not_risen),
            ("failed", killed.failed + killed.ended),
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
    fn any_fault_fails_the_demo_and_shows_in_the_table() {
        let failed = Checks { failed: 1, ..Checks::default() };
        for checked in [
            Checked { checks: failed, ..Checked::default() },
            Checked { untold_gaps: 1, ..Checked::default() },
            Checked { wrong_answers: 1, ..Checked::default() },
        ] {
            assert!(Report { checked, ..Report::default() }.table().contains("FAILED"));
        }
        let killed = Totals { lost: 1, ..Totals::default() };
        assert!(Report { killed, ..Report::default() }.table().contains("FAILED"));
        assert!(!Report::default().table().contains("FAILED"));
    }

    #[test]
    fn a_gap_is_right_for_the_reader_that_stopped_and_for_nobody_else() {
        let mut checked = Checked::default();
        let lagging = Findings { gaps: 1, missed: 3, ..Findings::default() };
        checked.add(&lagging, true);
        assert_eq!((checked.verdict(), checked.checks.gaps, checked.checks.missed), (Verdict::Passed, 1, 3));
        checked.add(&lagging, false);
        assert_eq!(checked.checks.strange_gaps, 1);
        checked.add(&Findings::default(), true);
        assert_eq!(checked.untold_gaps, 1);
    }
}
