//! Why a link ends: a closed list with numbers, so that whoever is closed is told, and whoever closes counts it.

use quinn::{ConnectionError, VarInt};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal: $text:literal,)*) => {
        /// Why one end closed a link. The numbers are part of the wire (`proto/SPEC.md`): reasons join at the end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CloseReason {
            $($(#[doc = $doc])* $name = $code,)*
        }

        impl CloseReason {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// A stable name, for logs and counters.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// The link, or the node, is no longer needed.
    Done = 0: "done",
    /// The other end is not welcome: its certificate names nobody of this cluster, or not who has to be there.
    Identity = 1: "identity",
    /// The two speak no common version.
    Version = 2: "version",
    /// What came as hello is none.
    Hello = 3: "hello",
    /// Handshake and hello took too long.
    Late = 4: "late",
    /// The node has as many links as it may have.
    Full = 5: "full",
    /// Whoever dialed has as many links as one identity may have.
    PeerFull = 6: "peer_full",
    /// The same node dialed anew, and that link takes the place of this one.
    Replaced = 7: "replaced",
    /// What came over the link breaks the protocol.
    Broken = 8: "broken",
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// This end closed it.
    #[error("closed here")]
    Here,
    /// The other end closed it and said why.
    #[error("closed by the other end: {}", .0.name())]
    There(CloseReason),
    /// The other end closed it for a reason that this build does not know.
    #[error("closed by the other end with the unknown code {0}")]
    Unknown(u64),
    /// Nothing was heard of the other end for as long as a link may be idle.
    #[error("the other end fell silent")]
    Silent,
    /// The other end knows nothing of the link: it was started anew.
    #[error("the other end was started anew")]
    Forgotten,
    /// QUIC or TLS failed: a certificate that is not the cluster's or has expired, for one.
    #[error("{0}")]
    Failed(String),
}

impl CloseReason {
    pub(crate) const fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    /// What a code says; `None` if this build does not know it.
    pub fn find(code: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| *reason as u64 == code)
    }
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = close.error_code.into_inner();
                CloseReason::find(code).map_or(Self::Unknown(code), Self::There)
            }
            ConnectionError::LocallyClosed => Self::Here,
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Forgotten,
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_and_a_name_of_its_own_and_stands_in_the_specification() {
        let text = include_str!("../../../proto/SPEC.md");
        for (code, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, code);
            assert_eq!(CloseReason::find(code as u64), Some(*reason));
            let row = format!("\n| {code} | `{}` |", reason.name());
            assert!(text.contains(&row), "SPEC.md lacks the row {row:?}");
        }
        assert_eq!(CloseReason::find(CloseReason::ALL.len() as u64), None);
        let names: BTreeSet<&str> = CloseReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), CloseReason::ALL.len());
    }
}
