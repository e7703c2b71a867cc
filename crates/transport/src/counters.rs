//! What an endpoint counts, each refusal under its reason. The names are a closed list: those of proto's and this crate's error enums.

use guildhall_proto::frame::FrameError;
use guildhall_proto::{counter_cells, counters};

use crate::{Closed, DialError, IdentityError};

counters! {
    /// Links that this end dialed.
    LinksDialed: "links_dialed_total",
    /// Links that another end dialed.
    LinksAccepted: "links_accepted_total",
    /// Attempts to dial an address that is of no use.
    DialAddress: "dials_failed_total{reason=\"address\"}",
    /// Attempts to dial that took too long.
    DialLate: "dials_failed_total{reason=\"late\"}",
    /// Attempts to dial that somebody answered who is not a guild node of this cluster.
    DialIdentity: "dials_failed_total{reason=\"identity\"}",
    /// Attempts to dial without a common version.
    DialVersion: "dials_failed_total{reason=\"version\"}",
    /// Attempts to dial that were not answered with a hello.
    DialHello: "dials_failed_total{reason=\"hello\"}",
    /// Attempts to dial that ended before the link stood: refused by the other end, or by QUIC or TLS.
    DialClosed: "dials_failed_total{reason=\"closed\"}",
    /// Dialers that were asked to prove their address first.
    Retries: "handshakes_retried_total",
    /// Handshakes that failed in QUIC or TLS (no certificate, or one that is not the cluster's or has expired), or that the dialer gave up.
    HandshakeFailed: "handshakes_refused_total{reason=\"failed\"}",
    /// Handshakes that were given up for newer ones.
    HandshakeDisplaced: "handshakes_refused_total{reason=\"displaced\"}",
    /// Handshakes, hello included, that took too long.
    HandshakeLate: "handshakes_refused_total{reason=\"late\"}",
    /// Hellos that were none.
    HandshakeHello: "handshakes_refused_total{reason=\"hello\"}",
    /// Hellos without a common version.
    HandshakeVersion: "handshakes_refused_total{reason=\"version\"}",
    /// Links refused because there were as many as there may be.
    HandshakeFull: "handshakes_refused_total{reason=\"full\"}",
    /// Links refused because their identity had as many as one may have.
    HandshakePeerFull: "handshakes_refused_total{reason=\"peer_full\"}",
    /// Certificates that could not be read.
    IdentityUnreadable: "identities_refused_total{reason=\"unreadable\"}",
    /// Certificates without a URI.
    IdentityNoUri: "identities_refused_total{reason=\"no_uri\"}",
    /// Certificates with several URIs.
    IdentitySeveralUris: "identities_refused_total{reason=\"several_uris\"}",
    /// URIs of another form.
    IdentityForm: "identities_refused_total{reason=\"form\"}",
    /// URIs with an odd part.
    IdentityLabel: "identities_refused_total{reason=\"label\"}",
    /// URIs with an unknown role.
    IdentityUnknownRole: "identities_refused_total{reason=\"unknown_role\"}",
    /// Identities of other clusters.
    IdentityOtherCluster: "identities_refused_total{reason=\"other_cluster\"}",
    /// Identities that were dialed and are no guild nodes.
    IdentityWrongRole: "identities_refused_total{reason=\"wrong_role\"}",
    /// Links that took the place of an older one of the same node.
    LinksReplaced: "links_replaced_total",
    /// Links that this end closed.
    EndedHere: "links_ended_total{reason=\"here\"}",
    /// Links that the other end closed.
    EndedThere: "links_ended_total{reason=\"there\"}",
    /// Links whose other end fell silent.
    EndedSilent: "links_ended_total{reason=\"silent\"}",
    /// Links whose other end was started anew.
    EndedForgotten: "links_ended_total{reason=\"forgotten\"}",
    /// Links that QUIC or TLS gave up.
    EndedFailed: "links_ended_total{reason=\"failed\"}",
    /// Lanes ended because a frame was of no known kind.
    FrameUnknownKind: "lanes_refused_total{reason=\"unknown_kind\"}",
    /// Lanes ended because a frame did not belong there.
    FrameMisplaced: "lanes_refused_total{reason=\"misplaced\"}",
    /// Lanes ended because a frame was of another version.
    FrameWrongVersion: "lanes_refused_total{reason=\"wrong_version\"}",
    /// Lanes ended because a frame was empty.
    FrameEmpty: "lanes_refused_total{reason=\"empty\"}",
    /// Lanes ended because a frame was too long.
    FrameTooLong: "lanes_refused_total{reason=\"too_long\"}",
    /// Lanes ended because a frame's sum was wrong.
    FrameWrongSum: "lanes_refused_total{reason=\"wrong_sum\"}",
    /// Lanes ended because bytes followed their last frame.
    FrameTrailing: "lanes_refused_total{reason=\"trailing\"}",
    /// Lanes that ended where more had to come.
    FrameCut: "lanes_refused_total{reason=\"cut\"}",
    /// Lanes ended because their first frame did not come in time.
    LaneSilent: "lanes_refused_total{reason=\"silent\"}",
    /// Lanes ended because a frame that had begun did not end in time.
    LaneHalf: "lanes_refused_total{reason=\"half\"}",
    /// Lanes ended because in the middle of a long request nothing more came for too long.
    LanePaused: "lanes_refused_total{reason=\"paused\"}",
}

counter_cells! {
    /// One endpoint's counters. They are bumped for handshakes, links and refusals, never for a frame that is well.
}

impl Counters {
    pub(crate) fn bump(&self, counter: Counter) {
        self.add(counter, 1);
    }
}

impl From<FrameError> for Counter {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::UnknownKind { .. } => Self::FrameUnknownKind,
            FrameError::Misplaced { .. } => Self::FrameMisplaced,
            FrameError::WrongVersion { .. } => Self::FrameWrongVersion,
            FrameError::Empty { .. } => Self::FrameEmpty,
            FrameError::TooLong { .. } => Self::FrameTooLong,
            FrameError::WrongSum { .. } => Self::FrameWrongSum,
            FrameError::Trailing { .. } => Self::FrameTrailing,
            FrameError::Cut { .. } => Self::FrameCut,
        }
    }
}

impl From<&DialError> for Counter {
    fn from(error: &DialError) -> Self {
        match error {
            DialError::Address(_) => Self::DialAddress,
            DialError::Late => Self::DialLate,
            DialError::Identity(_) => Self::DialIdentity,
            DialError::Version { .. } => Self::DialVersion,
            DialError::Hello(_) => Self::DialHello,
            DialError::Closed(_) => Self::DialClosed,
        }
    }
}

impl From<&Closed> for Counter {
    fn from(closed: &Closed) -> Self {
        match closed {
            Closed::Here => Self::EndedHere,
            Closed::There(_) | Closed::Unknown(_) => Self::EndedThere,
            Closed::Silent => Self::EndedSilent,
            Closed::Forgotten => Self::EndedForgotten,
            Closed::Failed(_) => Self::EndedFailed,
        }
    }
}

impl From<&IdentityError> for Counter {
    fn from(error: &IdentityError) -> Self {
        match error {
            IdentityError::Unreadable => Self::IdentityUnreadable,
            IdentityError::NoUri => Self::IdentityNoUri,
            IdentityError::SeveralUris { .. } => Self::IdentitySeveralUris,
            IdentityError::Form { .. } => Self::IdentityForm,
            IdentityError::Label { .. } => Self::IdentityLabel,
            IdentityError::UnknownRole { .. } => Self::IdentityUnknownRole,
            IdentityError::OtherCluster { .. } => Self::IdentityOtherCluster,
            IdentityError::WrongRole { .. } => Self::IdentityWrongRole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name_of_its_own_and_its_own_cell() {
        let counters = Counters::default();
        Counter::ALL.iter().for_each(|counter| counters.bump(*counter));
        let pulled = counters.pull();
        assert_eq!(pulled.len(), Counter::ALL.len());
        assert!(pulled.values().all(|count| *count == 1));
    }

    #[test]
    fn an_error_is_counted_under_its_own_reason() {
        let (text, label) = (String::new, "main".parse::<crate::Label>().expect("a label"));
        let identity: crate::Identity = "spiffe://main/backend/a".parse().expect("an identity");
        let errors = [
            IdentityError::Unreadable,
            IdentityError::NoUri,
            IdentityError::SeveralUris { count: 2 },
            IdentityError::Form { uri: text() },
            IdentityError::Label { label: text() },
            IdentityError::UnknownRole { role: text() },
            IdentityError::OtherCluster { identity: identity.clone(), cluster: label },
            IdentityError::WrongRole { identity, role: crate::Role::GuildNode },
        ];
        for error in errors {
            let name = format!("identities_refused_total{{reason=\"{}\"}}", error.reason());
            assert_eq!(Counter::from(&error).name(), name);
        }
        let (kind, lane) = (guildhall_proto::frame::Kind::Feed, guildhall_proto::frame::Lane::Push);
        let errors = [
            FrameError::UnknownKind { number: 0 },
            FrameError::Misplaced { kind, lane },
            FrameError::WrongVersion { got: 0, want: 1 },
            FrameError::Empty { kind },
            FrameError::TooLong { kind, bytes: 0 },
            FrameError::WrongSum { kind },
            FrameError::Trailing { lane },
            FrameError::Cut { lane },
        ];
        for error in errors {
            assert_eq!(Counter::from(error).name(), format!("lanes_refused_total{{reason=\"{}\"}}", error.reason()));
        }
    }
}
