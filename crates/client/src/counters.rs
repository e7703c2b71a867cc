//! What a client counts, pulled.

use std::sync::atomic::{AtomicU64, Ordering};

use guildhall_sessions::Counted;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Relays that fell out of their feeds, or met a new owner, and began again from a view.
    RelayResyncs,
    /// Sessions that ended because they were dropped without a detach, and did not come back in time.
    SessionsAbandoned,
    /// Sessions that were dropped without a detach, and may come back.
    SessionsCut,
    /// Sessions that came back.
    SessionsResumed,
    /// Of these, those that were told a gap first.
    SessionsResumedWithGap,
    /// Subjects that left a relay's full keep-latest map for newer ones.
    EphemeralsPushedOut,
}

/// A client's counters.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counter {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RelayResyncs,
        Self::SessionsAbandoned,
        Self::SessionsCut,
        Self::SessionsResumed,
        Self::SessionsResumedWithGap,
        Self::EphemeralsPushedOut,
    ];
}

impl Counters {
    pub(crate) fn add(&self, counter: Counter, by: u64) {
        self.0[counter as usize].fetch_add(by, Ordering::Relaxed);
    }

    /// How often that has happened.
    pub fn of(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}

impl From<Counted> for Counter {
    fn from(what: Counted) -> Self {
        match what {
            Counted::EphemeralPushedOut => Self::EphemeralsPushedOut,
            Counted::Resync => Self::RelayResyncs,
            Counted::SessionAbandoned => Self::SessionsAbandoned,
            Counted::SessionCut => Self::SessionsCut,
            Counted::SessionResumed => Self::SessionsResumed,
            Counted::SessionResumedWithGap => Self::SessionsResumedWithGap,
        }
    }
}
