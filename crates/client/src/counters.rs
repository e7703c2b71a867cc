//! What a client counts, pulled.

use guildhall_proto::{counter_cells, counters};
use guildhall_sessions::Counted;

counters! {
    /// Relays that fell out of their feeds, or met a new owner, and began again from a view.
    RelayResyncs: "relay_resyncs_total",
    /// Sessions that ended because they were dropped without a detach, and did not come back in time.
    SessionsAbandoned: "relay_sessions_abandoned_total",
    /// Sessions that were dropped without a detach, and may come back.
    SessionsCut: "relay_sessions_cut_total",
    /// Sessions that came back.
    SessionsResumed: "relay_sessions_resumed_total",
    /// Of these, those that were told a gap first.
    SessionsResumedWithGap: "relay_sessions_resumed_with_gap_total",
    /// Subjects that left a relay's full keep-latest map for newer ones.
    EphemeralsPushedOut: "ephemerals_dropped_total{reason=\"map_full\"}",
}

counter_cells! {
    /// A client's counters.
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
