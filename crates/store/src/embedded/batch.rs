//! Records as they lie in the log: a batch is cut into chunks, and each chunk is one record of the log, numbered by the last in it.

use std::ops::Range;

use guildhall_proto::Record;
use guildhall_proto::codec::{self, CodecError};

use super::bytes::{Cursor, Malformed};

/// A chunk ends with the record that brings it to so many bytes. Larger chunks save some 50 bytes of head each, smaller ones can be
/// carried in smaller steps.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why the bytes of a chunk are no records.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Appends the chunks of a batch to `buffer`; each is told by the number of its last record, and where it lies.
pub(crate) fn encode(
    records: &[Record],
    buffer: &mut Vec<u8>,
    chunks: &mut Vec<(u64, Range<usize>)>,
) -> Result<(), CodecError> {
    let mut begin = buffer.len();
    for (left, record) in (0..records.len()).rev().zip(records) {
        let length_at = buffer.len();
        buffer.extend([0; size_of::<u32>()]);
        codec::encode_into(record, buffer)?;
        let bytes = u32::try_from(buffer.len() - length_at - size_of::<u32>()).expect("the codec's limit is 32 MiB");
        buffer[length_at..length_at + size_of::<u32>()].copy_from_slice(&bytes.to_le_bytes());
        if left == 0 || buffer.len() - begin >= CHUNK_BYTES {
            chunks.push((record.number, begin..buffer.len()));
            begin = buffer.len();
        }
    }
    Ok(())
}

/// Reads the records of a chunk.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Record>, ChunkError> {
    let mut cursor = Cursor::new(bytes);
    let mut records = Vec::new();
    while cursor.left() > 0 {
        records.push(codec::decode(cursor.run()?)?);
    }
    Ok(records)
}
