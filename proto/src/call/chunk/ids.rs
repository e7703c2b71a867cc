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
    /// For a run of at most `max` users: as many as a guild may have sessions if it is a request's, as it may have members if it is an
    /// answer's.
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

    const fn fault(&self, flaw: ChunkFlaw) -> ChunkFault {
        ChunkFault { at: self.taken as u64, flaw }
    }
}

/// Bytes of a user.
const ID_BYTES: usize = 8;
/// Users that are written at a time.
const BUFFER_IDS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn users(ids: &[u64]) -> Vec<UserId> {
        ids.iter().map(|id| UserId::new(*id).unwrap()).collect()
    }

    fn chunk(ids: &[u64]) -> Vec<u8> {
        ids.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    fn fault(max: usize, chunks: &[Vec<u8>]) -> (Vec<UserId>, Option<ChunkFault>) {
        let (mut run, mut read) = (IdRun::new(max), Vec::new());
        let faults = chunks.iter().map(|chunk| run.take(chunk, &mut read).err());
        let fault = faults.fold(None, Option::or);
        (read, fault)
    }

    #[test]
    fn what_does_not_ascend_or_is_no_user_or_is_cut_or_too_much_is_told_with_its_place() {
        let flaw = |at, flaw| Some(ChunkFault { at, flaw });
        assert_eq!(fault(3, &[chunk(&[7, 8]), chunk(&[9])]), (users(&[7, 8, 9]), None));
        assert_eq!(fault(2, &[chunk(&[7, 8]), chunk(&[9])]).1, flaw(2, ChunkFlaw::TooMany { max: 2 }));
        assert_eq!(fault(9, &[chunk(&[7, 7])]).1, flaw(1, ChunkFlaw::Disordered));
        assert_eq!(fault(9, &[chunk(&[7, 9]), chunk(&[8])]).1, flaw(2, ChunkFlaw::Disordered));
        assert_eq!(fault(9, &[chunk(&[0])]).1, flaw(0, ChunkFlaw::Undecodable));
        assert_eq!(fault(9, &[chunk(&[7, u64::MAX])]), (users(&[7]), flaw(1, ChunkFlaw::Undecodable)));
        assert_eq!(fault(9, &[chunk(&[7, 8])[..15].to_vec()]), (users(&[7]), flaw(1, ChunkFlaw::Undecodable)));
    }

    #[test]
    fn no_memory_is_taken_for_more_users_than_may_come() {
        let mut read = Vec::new();
        IdRun::new(4).take(&chunk(&[5; 100_000]), &mut read).unwrap_err();
        assert!(read.capacity() <= 8, "{}", read.capacity());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut_into_chunks(ids in btree_set(1..u64::MAX, 0..300), cuts in vec(1_usize..200, 1..20)) {
            let all: Vec<UserId> = ids.iter().map(|id| UserId::new(*id).unwrap()).collect();
            let (mut run, mut read) = (IdRun::new(all.len()), Vec::new());
            let mut left = &all[..];
            for cut in cuts.iter().cycle() {
                let Some(some) = left.get(..(*cut).min(left.len())).filter(|some| !some.is_empty()) else { break };
                let body = codec::encode(&EncodedIds(some)).unwrap();
                prop_assert_eq!(body.len(), some.len() * ID_BYTES);
                run.take(&body, &mut read).unwrap();
                left = &left[some.len()..];
            }
            prop_assert_eq!(read, all);
        }
    }
}
