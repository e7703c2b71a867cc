//! Role sets as bytes and back; the form is in [`crate::parts`].

use std::iter;
use std::sync::{Arc, LazyLock};

use guildhall_proto::RoleId;
use guildhall_proto::limits::MEMBER_ROLES_MAX;

use super::{Chunk, RoleSets, Table, chunk_of, set_in, sets_in};
use crate::config::CHUNK_SETS;
use crate::parts::{PartError, PartKind, begin, check_length, check_limit, open, put_column};

impl RoleSets {
    /// The table in runs of chunks that are written together.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[Chunk]> {
        self.0.chunks.chunks(RUN_CHUNKS)
    }

    /// Appends the bytes of a run to `buffer`.
    pub(crate) fn encode_run(chunks: &[Chunk], buffer: &mut Vec<u8>) {
        begin(buffer, PartKind::Sets, [chunks.len(), chunks.iter().map(|chunk| chunk.len()).sum(), 0]);
        for chunk in chunks {
            put_column(buffer, chunk, |word| word.to_le_bytes());
        }
    }

    /// Reads a run of sets of these roles.
    pub(crate) fn decode_run(bytes: &[u8], roles: &[RoleId]) -> Result<Vec<Chunk>, PartError> {
        let ([count, words, zero], body) = open(bytes, PartKind::Sets)?;
        if count == 0 || zero != 0 {
            return Err(PartError::Malformed { what: "head", at: 0 });
        }
        check_limit("chunks", 0, count, RUN_CHUNKS)?;
        check_length(body, words * size_of::<u16>())?;
        let (words, _) = body.as_chunks();
        let words: Vec<u16> = words.iter().map(|word| u16::from_le_bytes(*word)).collect();
        let mut left = &words[..];
        let mut chunks = Vec::with_capacity(count);
        for at in 0..count {
            let (chunk, rest) = split_chunk(left).ok_or(PartError::Malformed { what: "chunk", at })?;
            check_chunk(chunk, roles, at * CHUNK_SETS)?;
            chunks.push(Arc::from(chunk));
            left = rest;
        }
        if !left.is_empty() {
            return Err(PartError::Malformed { what: "chunk", at: count });
        }
        Ok(chunks)
    }

    /// The table of so many sets, in chunks as they were decoded.
    pub(crate) fn of_parts(dictionary: Box<[RoleId]>, chunks: Box<[Chunk]>, sets: usize) -> Result<Self, PartError> {
        let lens = || chunks.iter().map(|chunk| sets_in(chunk));
        if let Some(at) = lens().rev().skip(1).rev().position(|len| len != CHUNK_SETS) {
            return Err(PartError::Malformed { what: "chunk", at });
        }
        let found: usize = lens().sum();
        if found != sets {
            return Err(PartError::Count { what: "sets", expected: sets as u64, found: found as u64 });
        }
        if dictionary.is_empty() && sets == 1 {
            return Ok(NO_ROLES.clone());
        }
        Ok(Self(Arc::new(Table { dictionary, chunks, sets })))
    }
}

/// The table of all guilds whose members hold no role: most small ones.
static NO_ROLES: LazyLock<RoleSets> = LazyLock::new(|| {
    let chunks = [chunk_of(iter::once(&[][..]))];
    RoleSets(Arc::new(Table { dictionary: Box::default(), chunks: chunks.into(), sets: 1 }))
});

/// The first chunk of these words, if there is one with at most 256 sets whose ends ascend.
fn split_chunk(words: &[u16]) -> Option<(&[u16], &[u16])> {
    let begin = usize::from(*words.first()?);
    let sets = begin.checked_sub(1).filter(|sets| (1..=CHUNK_SETS).contains(sets))?;
    let places = words.get(..=sets)?;
    let (chunk, rest) = words.split_at_checked(usize::from(places[sets]))?;
    places.is_sorted().then_some((chunk, rest))
}

/// That each set is one that a member may have.
fn check_chunk(chunk: &[u16], roles: &[RoleId], first: usize) -> Result<(), PartError> {
    for slot in 0..sets_in(chunk) {
        let (content, at) = (set_in(chunk, slot), first + slot);
        check_limit("roles of set", at, content.len(), MEMBER_ROLES_MAX)?;
        let mut last = None;
        for place in content {
            let role = roles.get(usize::from(*place));
            if role <= last {
                return Err(PartError::Malformed { what: "set", at });
            }
            last = role;
        }
    }
    Ok(())
}

/// Chunks of a run: 4,096 sets, some 40 KB of four roles each, 2.1 MB at most. Longer runs are written again for fewer
/// changes, shorter ones make more parts.
const RUN_CHUNKS: usize = 16;
