//! What is wrong with what sessions have heard, counted.

use std::ops::AddAssign;

use serde::Serialize;

/// What is wrong with what sessions have heard, counted. All zero is as it must be, but for `due`, `gaps`, `missed` and `told`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// Events that had to be heard.
    pub(crate) due: u64,
    /// Due, not heard, and under no gap; or the end of a session that it was not told.
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Due, and heard after a later one.
    pub(crate) reordered: u64,
    /// Heard, or named in a summary, and not due.
    pub(crate) leaked: u64,
    /// Not as it was made.
    pub(crate) altered: u64,
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// Events under these that were due.
    pub(crate) missed: u64,
    /// Gaps under which nothing is missing, or that are of what was heard.
    pub(crate) needless_gaps: u64,
    /// Typing and presence that was told.
    pub(crate) told: u64,
}

impl AddAssign for Findings {
    fn add_assign(&mut self, other: Self) {
        self.due += other.due;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.leaked += other.leaked;
        self.altered += other.altered;
        self.gaps += other.gaps;
        self.missed += other.missed;
        self.needless_gaps += other.needless_gaps;
        self.told += other.told;
    }
}
