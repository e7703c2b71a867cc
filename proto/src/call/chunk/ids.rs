//! Runs of users: bare numbers of 8 bytes, little-endian, ascending.

use crate::UserId;
use crate::call::fault::{ChunkFault, ChunkFlaw};
use crate::codec::{self, EncodeError, Encoder, Writer};
use crate::frame::BODY_BYTES_MAX;

/// The body of a chunk of users: at least one and at most [`CHUNK_IDS_MAX`](Self::CHUNK_IDS_MAX).
#[derive(Debug, Clone, Copy)]
pub struct EncodedIds<'a>(pub &'a [UserId]);

impl EncodedIds<'_> {
    /// Users of one chunk.
    pub const CHUNK_IDS_MAX: usize = BODY_BYTES_MAX / ID_BYTES;
}

impl codec::Encode for EncodedIds<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let mut buffer = [0; BUFFER_IDS * ID_BYTES];
        for ids in self.0.chunks(BUFFER_IDS) {
            for (place, id) in buffer.chunks_exact_mut(ID_BYTES).zip(ids) {
                place.copy_from_slice(&id.get().to_le_bytes());
            }
            encoder.writer().write(&buffer[..ids.len() * ID_BYTES])?;
        }
        Ok(())
    }
}

/// Reads a run of users.
#[derive(Debug)]
pub struct IdRun {
    max: usize,
    taken: usize,
    last: Option<UserId>,
}

impl IdRun {
    /// For a run of at most `max` users.
    pub const fn new(max: usize) -> Self {
        Self { max, taken: 0, last: None }
    }

    /// Appends the users of the next chunk to `users`.
    ///
    /// # Errors
    /// [`ChunkFault`]; what is good of the chunk has been appended. The run has no place to go on from.
    pub fn take(&mut self, chunk: &[u8], users: &mut Vec<UserId>) -> Result<(), ChunkFault> {
        let (ids, rest) = chunk.as_chunks::<ID_BYTES>();
        users.reserve(ids.len().min(self.max - self.taken));
        for id in ids {
            let user = UserId::new(u64::from_le_bytes(*id)).map_err(|_| self.fault(ChunkFlaw::Undecodable))?;
            if self.last.is_some_and(|last| last >= user) {
                return Err(self.fault(ChunkFlaw::Disordered));
            }
            if self.taken == self.max {
                let max = u32::try_from(self.max).unwrap_or(u32::MAX);
                return Err(self.fault(ChunkFlaw::TooMany { max }));
            }
            self.last = Some(user);
            self.taken += 1;
            users.push(user);
        }
        if rest.is_empty() { Ok(()) } else { Err(self.fault(ChunkFlaw::Undecodable)) }
    }

    /// How many users have been taken.
    pub const fn taken(&self) -> usize {
        self.taken
    }

    const fn fault(&self, flaw: ChunkFlaw) -> ChunkFault {
        ChunkFault { at: self.taken as u64, flaw }
    }
}

/// Bytes of a user.
const ID_BYTES: usize = 8;
/// Users that are written at a time.
const BUFFER_IDS: usize = 64;
