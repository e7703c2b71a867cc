//! What a checked message carries: who said it and as which message, in front of its text, and a fingerprint of it all.

use guildhall_proto::UserId;
use xxhash_rust::xxh3::xxh3_64;

use super::Number;

/// The head of a message. Written as 3 little-endian 64-bit numbers: the fingerprint (XXH3) of all that follows it, the message's
/// number, the author's user id; then the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) number: Number,
    pub(crate) author: UserId,
}

impl Spoken {
    /// Bytes of a message without text.
    pub(crate) const HEAD_BYTES: usize = 3 * size_of::<u64>();

    pub(crate) fn write(self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::HEAD_BYTES + text.len());
        bytes.extend_from_slice(&[0; FINGERPRINT_BYTES]);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.author.get().to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        let fingerprint = xxh3_64(&bytes[FINGERPRINT_BYTES..]);
        bytes[..FINGERPRINT_BYTES].copy_from_slice(&fingerprint.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not what [`write`](Self::write) has made. O(length).
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (fingerprint, signed) = bytes.split_first_chunk()?;
        let (number, rest) = signed.split_first_chunk()?;
        let (author, _text) = rest.split_first_chunk()?;
        let author = UserId::new(u64::from_le_bytes(*author)).ok()?;
        (u64::from_le_bytes(*fingerprint) == xxh3_64(signed))
            .then_some(Self { number: u64::from_le_bytes(*number), author })
    }
}

const FINGERPRINT_BYTES: usize = size_of::<u64>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_any_changed_bit_is_noticed() {
        let spoken = Spoken { number: 7, author: UserId::new(8).unwrap() };
        for text in ["", "hello"] {
            let mut bytes = spoken.write(text);
            assert_eq!(Spoken::read(&bytes), Some(spoken));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Spoken::read(&bytes), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for cut in 0..bytes.len() {
                assert_eq!(Spoken::read(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }
}
