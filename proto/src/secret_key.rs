//! A key with which the secrets of sessions are signed.

use std::fmt;

use crate::codec::{Decode, Encode};

/// One key. Whoever has it can come back as any session: it stays within the cluster.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SecretKey {
    /// Tells the cluster's keys apart; each has a number of its own.
    pub number: u32,
    /// From a source of randomness.
    pub key: [u8; 32],
}

/// Shows no key.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("number", &self.number).finish_non_exhaustive()
    }
}
