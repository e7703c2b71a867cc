//! What kills came to.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::checks::Verdict;

/// The figures of all kills so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) kills: u64,
    /// Children that ended before they could be killed.
    pub(crate) ended: u64,
    /// Kills before the child had opened its directory.
    pub(crate) while_opening: u64,
    pub(crate) issued: u64,
    pub(crate) acknowledged: u64,
    /// Under way when the child was killed; of them, those that are there, whole, and those of which nothing is.
    pub(crate) unanswered: u64,
    pub(crate) unanswered_kept: u64,
    pub(crate) unanswered_cut: u64,
    /// Answers that were asked for again.
    pub(crate) retried: u64,
    /// Events that sessions heard.
    pub(crate) seen: u64,
    pub(crate) slept: u64,
    /// Children that began on what a killed one left.
    pub(crate) unclean_starts: u64,
    /// Directories whose logs ended in a torn tail.
    pub(crate) torn: u64,
    /// From here on all are to be 0: what was answered and is not there;
    pub(crate) lost: u64,
    /// what was applied again, or answered otherwise;
    pub(crate) doubled: u64,
    /// what was told or heard and is not there;
    pub(crate) phantoms: u64,
    /// guilds whose epoch is not above all before;
    pub(crate) epochs_not_risen: u64,
    /// operations that were refused.
    pub(crate) failed: u64,
}

impl Totals {
    /// Whether nothing is wrong.
    pub(crate) fn verdict(&self) -> Verdict {
        let wrong = self.lost + self.doubled + self.phantoms + self.epochs_not_risen + self.failed + self.ended;
        if wrong == 0 { Verdict::Passed } else { Verdict::Failed }
    }

    /// A name and a number a line, and the verdict.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for (name, value) in self.rows() {
            writeln!(table, "{name:<30}  {value:>12}").expect("writing to a string cannot fail");
        }
        table.push_str(match self.verdict() {
            Verdict::Passed => "\nWhatever was acknowledged is there, once.\n",
            Verdict::Failed => "\nFAILED: not all that was acknowledged is there, once.\n",
        });
        table
    }

    fn rows(&self) -> [(&'static str, u64); 18] {
        [
            ("kills", self.kills),
            ("ended by themselves", self.ended),
            ("while opening", self.while_opening),
            ("issued", self.issued),
            ("acknowledged", self.acknowledged),
            ("unanswered", self.unanswered),
            ("  kept whole", self.unanswered_kept),
            ("  cut", self.unanswered_cut),
            ("answers asked for again", self.retried),
            ("events heard", self.seen),
            ("guilds that fell asleep", self.slept),
            ("starts behind a kill", self.unclean_starts),
            ("torn tails", self.torn),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("phantoms", self.phantoms),
            ("epochs not risen", self.epochs_not_risen),
            ("failed", self.failed),
        ]
    }
}
