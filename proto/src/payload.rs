//! A message's content: bytes that Guildhall carries and never reads.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, decode_bytes, impl_borrow_decode};
use crate::limits::PAYLOAD_BYTES_MAX;

/// Opaque bytes, at most [`PAYLOAD_BYTES_MAX`], shared between all who hold them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(Bytes);

/// A payload is longer than a message may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {bytes} bytes; at most {max} are allowed", max = PAYLOAD_BYTES_MAX)]
pub struct PayloadTooLong {
    /// Bytes given.
    pub bytes: usize,
}

impl Payload {
    /// Takes `bytes` as they are; an empty payload is allowed.
    ///
    /// # Errors
    /// [`PayloadTooLong`] past [`PAYLOAD_BYTES_MAX`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, PayloadTooLong> {
        let bytes = bytes.into();
        match bytes.len() {
            0..=PAYLOAD_BYTES_MAX => Ok(Self(bytes)),
            len => Err(PayloadTooLong { bytes: len }),
        }
    }

    /// The bytes; cloning them is O(1).
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Encode for Payload {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0[..].encode(encoder)
    }
}

impl<Context> Decode<Context> for Payload {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::new(decode_bytes(decoder, PAYLOAD_BYTES_MAX)?)
            .map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl_borrow_decode!(Payload);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn one_byte_more_than_the_limit_is_refused_here_and_from_a_peer() {
        assert!(Payload::new(vec![0; PAYLOAD_BYTES_MAX]).is_ok());
        let over = vec![0_u8; PAYLOAD_BYTES_MAX + 1];
        assert_eq!(Payload::new(over.clone()), Err(PayloadTooLong { bytes: PAYLOAD_BYTES_MAX + 1 }));
        assert!(codec::decode::<Payload>(&codec::encode(&over).unwrap()).is_err());
    }
}
