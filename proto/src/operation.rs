//! The name of one operation, by which a retry is known for what it is.

use crate::codec::{self, CodecError, Decode, Encode};
use crate::{ClientId, Millis};

/// Names one operation of one client for ever. A retry carries the same id and the same body.
///
/// Outcomes are kept until [`OUTCOME_KEPT`](crate::limits::OUTCOME_KEPT) past `issued_at`, the newest
/// [`CLIENT_OUTCOMES_MAX`](crate::limits::CLIENT_OUTCOMES_MAX) per client; an id that may have been forgotten is refused as
/// [`Expired`](crate::CommandError::Expired), never applied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct OpId {
    /// Who issued it.
    pub client: ClientId,
    /// Rises by one with each operation of the client, from 1 (0 lies under every floor); at most
    /// [`CLIENT_OUTCOMES_MAX`](crate::limits::CLIENT_OUTCOMES_MAX) are unanswered at a time.
    pub counter: u64,
    /// When it was first issued, by the client's clock.
    pub issued_at: Millis,
}

/// A fingerprint of an operation's body (XXH3, 64 bits, of its encoding): tells a retry from another operation under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct BodyHash(pub u64);

impl BodyHash {
    /// Fingerprints `body`, using `buffer` for its encoding.
    ///
    /// # Errors
    /// [`CodecError`] if the body is larger than anything that may be encoded.
    pub fn of<T: Encode>(body: &T, buffer: &mut Vec<u8>) -> Result<Self, CodecError> {
        buffer.clear();
        codec::encode_into(body, buffer)?;
        Ok(Self(xxhash_rust::xxh3::xxh3_64(buffer)))
    }
}
