//! The one place that knows how values become bytes: `bincode` with variable-length integers, little-endian, under a byte limit.
//!
//! Bytes from elsewhere are hostile until decoded here: a length is claimed against the limit before anything is allocated for it,
//! and bytes left over are an error.

pub use bincode::de::Decoder;
pub use bincode::enc::Encoder;
pub use bincode::enc::write::Writer;
pub use bincode::error::{DecodeError, EncodeError};
pub use bincode::{Decode, Encode, impl_borrow_decode};

use bincode::de::read::Reader;

use crate::limits::ENCODED_BYTES_MAX;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<ENCODED_BYTES_MAX>,
> = bincode::config::standard().with_limit::<ENCODED_BYTES_MAX>();

/// Why bytes are not the value that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are cut short, name an unknown variant, break a rule of the type, or claim more than the limit.
    #[error("not decodable: {0}")]
    Malformed(#[from] DecodeError),
    /// A value was read, and bytes remain behind it.
    #[error("{left} bytes are left over after {read}")]
    Trailing {
        /// Bytes the value took.
        read: usize,
        /// Bytes behind it.
        left: usize,
    },
    /// The bytes are more than any value may take.
    #[error("{bytes} bytes; at most {max} are allowed", max = ENCODED_BYTES_MAX)]
    TooLong {
        /// Bytes given.
        bytes: usize,
    },
    /// The value cannot be written: it is larger than the limit.
    #[error("not encodable: {0}")]
    Unwritable(#[from] EncodeError),
}

/// Encodes `value`.
///
/// # Errors
/// [`CodecError::TooLong`] past [`ENCODED_BYTES_MAX`], [`CodecError::Unwritable`] if the value refuses.
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::encode_to_vec(value, CONFIG)?;
    if bytes.len() > ENCODED_BYTES_MAX {
        return Err(CodecError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Appends the encoding of `value` to `buffer`, which may be reused to save allocations.
///
/// # Errors
/// As [`encode`]; `buffer` may then hold a part of the value.
pub fn encode_into<T: Encode>(value: &T, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
    let before = buffer.len();
    bincode::encode_into_std_write(value, buffer, CONFIG)?;
    match buffer.len() - before {
        0..=ENCODED_BYTES_MAX => Ok(()),
        bytes => Err(CodecError::TooLong { bytes }),
    }
}

/// Decodes exactly one `T` from `bytes`.
///
/// # Errors
/// [`CodecError::TooLong`] before a byte is read, [`CodecError::Malformed`], or [`CodecError::Trailing`].
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > ENCODED_BYTES_MAX {
        return Err(CodecError::TooLong { bytes: bytes.len() });
    }
    let (value, read) = bincode::decode_from_slice(bytes, CONFIG)?;
    match bytes.len() - read {
        0 => Ok(value),
        left => Err(CodecError::Trailing { read, left }),
    }
}

/// Decodes one `T` from the front of `bytes`, which then are those behind it.
///
/// # Errors
/// [`CodecError::Malformed`]; `bytes` are as they were.
pub fn decode_next<T: Decode<()>>(bytes: &mut &[u8]) -> Result<T, CodecError> {
    let (value, read) = bincode::decode_from_slice(bytes, CONFIG)?;
    *bytes = &bytes[read..];
    Ok(value)
}

/// Decodes bytes of which there may be `max`. A greater length is refused before anything is taken or read for it.
pub(crate) fn decode_bytes<D: Decoder>(decoder: &mut D, max: usize) -> Result<Vec<u8>, DecodeError> {
    let len = decode_len(decoder, max)?;
    decoder.claim_container_read::<u8>(len)?;
    let mut bytes = vec![0; len];
    decoder.reader().read(&mut bytes)?;
    Ok(bytes)
}

/// The same of a text.
pub(crate) fn decode_text<D: Decoder>(decoder: &mut D, bytes_max: usize) -> Result<String, DecodeError> {
    let bytes = decode_bytes(decoder, bytes_max)?;
    String::from_utf8(bytes).map_err(|error| DecodeError::Utf8 { inner: error.utf8_error() })
}

/// The same of a list.
pub(crate) fn decode_list<T, D>(decoder: &mut D, max: usize) -> Result<Vec<T>, DecodeError>
where
    T: Decode<D::Context>,
    D: Decoder,
{
    let len = decode_len(decoder, max)?;
    decoder.claim_container_read::<T>(len)?;
    let mut list = Vec::with_capacity(len);
    for _ in 0..len {
        // What was claimed of it for all, it claims itself.
        decoder.unclaim_bytes_read(size_of::<T>());
        list.push(T::decode(decoder)?);
    }
    Ok(list)
}

fn decode_len<D: Decoder>(decoder: &mut D, max: usize) -> Result<usize, DecodeError> {
    let len = u64::decode(decoder)?;
    let allowed = usize::try_from(len).ok().filter(|len| *len <= max);
    allowed.ok_or_else(|| DecodeError::OtherString(format!("a length of {len}; at most {max} is allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = encode(&7_u32).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(CodecError::Trailing { read: 1, left: 1 })));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
        // A vector that claims 2^60 elements of eight bytes, in ten bytes.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1_u64 << 60).to_le_bytes());
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(CodecError::Malformed(DecodeError::LimitExceeded))));
    }

    #[test]
    fn a_value_past_the_limit_is_not_written() {
        let fits = vec![0_u8; ENCODED_BYTES_MAX - 5];
        assert!(encode_into(&fits, &mut vec![1, 2, 3]).is_ok());
        let over = vec![0_u8; ENCODED_BYTES_MAX];
        assert!(matches!(encode(&over), Err(CodecError::TooLong { .. })));
        assert!(matches!(encode_into(&over, &mut Vec::new()), Err(CodecError::TooLong { .. })));
    }

    #[test]
    fn every_cut_of_a_value_is_refused() {
        let bytes = encode(&vec![String::from("ab"), String::from("cd")]).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<Vec<String>>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
