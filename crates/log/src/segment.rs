//! A segment's name and header.
//!
//! The header, little-endian, 72 bytes: magic of 8 bytes, format u32, zero u32, log id u128, segment number u64, allocated length u64,
//! where the segment before ends u64, the oldest segment then live u64, and XXH3 of all that u64. Records follow.

use xxhash_rust::xxh3::xxh3_64;

use crate::{Damage, LogError, LogId};

/// The format that is written, and the only one that is read.
pub(crate) const FORMAT: u32 = 1;

/// Length of the header: where the first record begins.
pub(crate) const HEADER_BYTES: u64 = 72;
const HEADER: usize = HEADER_BYTES as usize;

/// The next segment, preallocated.
pub(crate) const SPARE: &str = "spare.log";

const MAGIC: &[u8; 8] = b"guildlog";

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: LogId,
    pub(crate) number: u64,
    /// How long the file was made.
    pub(crate) allocated: u64,
    /// Where the records of the segment before end: all up to there was synced before this header was written.
    pub(crate) previous_end: u64,
    /// The lowest segment that was live.
    pub(crate) oldest: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.allocated.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.oldest.to_le_bytes());
        let sum = xxh3_64(&bytes[..64]);
        bytes[64..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header. Which log and segment it is of remains to be compared.
    ///
    /// # Errors
    /// [`LogError::Format`], or [`LogError::Corrupt`] at record 0.
    pub(crate) fn decode(file: &str, bytes: &[u8; HEADER]) -> Result<Self, LogError> {
        let u64_at = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let format = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if &bytes[..8] == MAGIC && format != FORMAT {
            return Err(LogError::Format { file: file.to_owned(), found: format });
        }
        let header = Self {
            id: LogId(u128::from(u64_at(16)) | u128::from(u64_at(24)) << 64),
            number: u64_at(32),
            allocated: u64_at(40),
            previous_end: u64_at(48),
            oldest: u64_at(56),
        };
        let is_whole = header.encode() == *bytes;
        let is_sane = (1..=header.number).contains(&header.oldest) && header.allocated >= HEADER_BYTES;
        if is_whole && is_sane {
            Ok(header)
        } else {
            Err(LogError::Corrupt { file: file.to_owned(), record: 0, offset: 0, what: Damage::Header })
        }
    }
}

/// The name of a segment's file.
pub(crate) fn name(number: u64) -> String {
    format!("{number:012}.log")
}

/// The number that a name tells, if it is a segment's.
pub(crate) fn number(file: &str) -> Option<u64> {
    let number = file.strip_suffix(".log")?.parse().ok()?;
    ((1..NUMBERS_END).contains(&number) && name(number) == file).then_some(number)
}

/// Twelve digits: more segments than any disk has room for in the life of a log.
const NUMBERS_END: u64 = 1_000_000_000_000;

const _: () = assert!(HEADER_BYTES.is_multiple_of(8));
