//! The name of one operation, by which a retry is known for what it is.

use std::cell::RefCell;

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
    /// Fingerprints `body`. O(bytes): some 100 ns for a message.
    ///
    /// # Errors
    /// [`CodecError`] if the body is larger than anything that may be encoded.
    pub fn of<T: Encode>(body: &T) -> Result<Self, CodecError> {
        thread_local! {
            static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        ENCODED.with_borrow_mut(|buffer| {
            buffer.clear();
            let encoded = codec::encode_into(body, buffer);
            let body = encoded.map(|()| Self(xxhash_rust::xxh3::xxh3_64(buffer)));
            buffer.clear();
            buffer.shrink_to(BUFFER_BYTES_KEPT);
            body
        })
    }
}

/// What a thread's buffer keeps between bodies: a large one does not hold its size for ever.
const BUFFER_BYTES_KEPT: usize = 4 * 1024;
