//! What cannot be read in a segment that is to be given back.
//!
//! A read may fail once and succeed later, so what has failed is left alone for a time, while its segment waits and the rest of it is
//! moved. What fails still after that is moved as lost: a record of its own kind stands for it, with the bytes as they could be read.
//! So a bad sector under one guild costs that guild, and neither the others nor the disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::rows::Spot;
use crate::StoreError;

/// Reads that have failed, of one log.
#[derive(Debug)]
pub(crate) struct Suspects {
    after: Duration,
    /// `None` takes no clock: with no time to wait, each is lost at once.
    since: BTreeMap<Spot, Option<Instant>>,
}

impl Suspects {
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, since: BTreeMap::new() }
    }

    /// Whether a place is to be read: it never failed, or long ago.
    pub(crate) fn is_due(&self, spot: Spot) -> bool {
        self.since.get(&spot).is_none_or(|since| self.is_over(*since))
    }

    /// Notes that a place could not be read. Whether what lies there is lost.
    pub(crate) fn is_lost(&mut self, spot: Spot, error: &StoreError) -> bool {
        // Anything else is not the place's fault, and may pass.
        if !matches!(error, StoreError::Corrupt { .. }) {
            return false;
        }
        let begin = || (!self.after.is_zero()).then(Instant::now);
        let since = *self.since.entry(spot).or_insert_with(begin);
        self.is_over(since)
    }

    /// Forgets places before a segment: they are given back, or nothing is live there.
    pub(crate) fn forget_before(&mut self, segment: u32) {
        self.since.retain(|spot, _| spot.segment >= segment);
    }

    fn is_over(&self, since: Option<Instant>) -> bool {
        since.is_none_or(|since| since.elapsed() >= self.after)
    }
}
