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
    /// Answers that could not be read.
    CallsFailedMalformedAnswer: "calls_failed_total{reason=\"malformed_answer\"}",
    /// Answers that say why a call came to nothing, and could not be read.
    CallsFailedMalformedError: "calls_failed_total{reason=\"malformed_error\"}",
    /// Chunks behind an answer that could not be read, or not be there.
    CallsFailedMalformedChunk: "calls_failed_total{reason=\"malformed_chunk\"}",
    /// Answers to another call than the one that was made.
    CallsFailedOtherAnswer: "calls_failed_total{reason=\"other_answer\"}",
    /// News of feeds that could not be read: each time their link was closed.
    PushesRefusedMalformedNews: "pushes_refused_total{reason=\"malformed_news\"}",
    /// What was told of now and could not be read, likewise.
    PushesRefusedMalformedTold: "pushes_refused_total{reason=\"malformed_told\"}",
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
