//! Time as the machines of this crate are told it.

use std::time::Duration;

/// Microseconds on a clock of the caller's own, that never goes back; since when does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub u64);

impl Micros {
    /// This time moved `by` into the future, by whole microseconds and never by less, stopping at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let micros = by.as_nanos().div_ceil(1_000);
        Self(self.0.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// The microseconds from `earlier` to this; 0 if `earlier` is the later of the two.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
