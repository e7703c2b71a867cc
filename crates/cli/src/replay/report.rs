//! What a replay came to.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::checks::{Verdict, peak_memory_bytes};

/// The figures of one replay, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) files: u64,
    /// Lines that are not empty.
    pub(crate) lines: u64,
    pub(crate) messages: u64,
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
    pub(crate) renames: u64,
    pub(crate) skipped: u64,
    /// Message events that arrived at sessions.
    pub(crate) deliveries: u64,
    /// As the guild counts them.
    pub(crate) members: u64,
    /// As the log has it.
    pub(crate) peak_online: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) leaked: u64,
    /// Rounded to milliseconds.
    pub(crate) seconds: f64,
    pub(crate) altered: u64,
    /// Those that were still due when nobody had heard anything for a long time; what came after all is not lost.
    pub(crate) late: u64,
    pub(crate) deliveries_per_second: u64,
    /// `None` where the system does not tell.
    pub(crate) peak_memory_bytes: Option<u64>,
}

impl Report {
    /// Adds how long the replay took, and what that means.
    pub(crate) fn time(&mut self, taken: Duration) {
        self.seconds = taken.as_millis() as f64 / 1_000.0;
        self.deliveries_per_second = (self.deliveries as f64 / taken.as_secs_f64()) as u64;
        self.peak_memory_bytes = peak_memory_bytes();
    }

    /// Whether every delivery was right.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.lost + self.duplicated + self.reordered + self.leaked + self.altered + self.late {
            0 => Verdict::Passed,
            1.. => Verdict::Failed,
        }
    }

    /// One JSON object, on one line.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| json + "\n")
    }

    /// For people: a name and a number a line, and the verdict.
    pub(crate) fn table(&self) -> String {
        let memory = self.peak_memory_bytes.map_or_else(|| "unknown".into(), |bytes| format!("{} MiB", bytes >> 20));
        let rows: [(&str, String); 19] = [
            ("files", self.files.to_string()),
            ("lines", self.lines.to_string()),
            ("messages", self.messages.to_string()),
            ("joins", self.joins.to_string()),
            ("leaves", self.leaves.to_string()),
            ("renames", self.renames.to_string()),
            ("skipped", self.skipped.to_string()),
            ("deliveries", self.deliveries.to_string()),
            ("members", self.members.to_string()),
            ("peak online", self.peak_online.to_string()),
            ("lost", self.lost.to_string()),
            ("duplicated", self.duplicated.to_string()),
            ("reordered", self.reordered.to_string()),
            ("leaked", self.leaked.to_string()),
            ("altered", self.altered.to_string()),
            ("late", self.late.to_string()),
            ("seconds", format!("{:.3}", self.seconds)),
            ("deliveries per second", self.deliveries_per_second.to_string()),
            ("peak memory", memory),
        ];
        let mut table = String::new();
        for (name, value) in rows {
            writeln!(table, "{name:<21}  {value:>12}").expect("writing to a string cannot fail");
        }
        table.push_str(match self.verdict() {
            Verdict::Passed => "\nEvery session heard exactly what it had to, in order.\n",
            Verdict::Failed => "\nFAILED: sessions heard something else than they had to.\n",
        });
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_keys_in_their_order_and_seconds_in_milliseconds() {
        let mut report = Report { files: 1, deliveries: 2_469, ..Report::default() };
        report.time(Duration::from_micros(1_234_567));
        report.peak_memory_bytes = None;
        let expected =
            r#"{"files":1,"lines":0,"messages":0,"joins":0,"leaves":0,"renames":0,"skipped":0,"deliveries":2469,"#
                .to_owned()
                + r#""members":0,"peak_online":0,"lost":0,"duplicated":0,"reordered":0,"leaked":0,"seconds":1.234,"altered":0,"late":0,"#
                + r#""deliveries_per_second":1999,"peak_memory_bytes":null}"#
                + "\n";
        assert_eq!(report.json().unwrap(), expected);
    }

    #[test]
    fn any_wrong_delivery_fails_the_replay() {
        assert_eq!(Report { deliveries: 9, ..Report::default() }.verdict(), Verdict::Passed);
        for wrong in [
            Report { lost: 1, ..Report::default() },
            Report { duplicated: 1, ..Report::default() },
            Report { reordered: 1, ..Report::default() },
            Report { leaked: 1, ..Report::default() },
            Report { altered: 1, ..Report::default() },
            Report { late: 1, ..Report::default() },
        ] {
            assert_eq!(wrong.verdict(), Verdict::Failed);
            assert!(wrong.table().contains("FAILED"));
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let table = Report { deliveries: 13_295_704, ..Report::default() }.table();
        let (rows, _) = table.split_once("\n\n").unwrap();
        assert!(rows.lines().all(|row| row.chars().count() == 35), "{table}");
    }
}
