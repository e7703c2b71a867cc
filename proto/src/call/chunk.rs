//! What is too long for one frame: runs of chunks behind a request or an answer.
//!
//! There are four kinds of run: users as bare numbers ([`EncodedIds`], [`IdRun`]), the pieces of a guild ([`Piece`], [`PieceRun`]), the lines of an
//! import ([`LineRun`]), and bare bytes, of an archive, which has its own form and sums. Of pieces and lines a chunk holds whole ones, one behind the other ([`Packer`]), so that each can be read as it comes.
//!
//! Invariant: what a reader of a run gives out is in the order that the run must have, and within its bounds; memory is never taken for more than
//! the bytes of one chunk.

mod ids;
mod lines;
mod packer;
mod pieces;

use super::fault::{ChunkFault, ChunkFlaw};
use crate::codec::{self, Decode};

pub use ids::{EncodedIds, IdRun};
pub use lines::LineRun;
pub use packer::Packer;
pub use pieces::{Course, Piece, PieceRun};

/// What the chunks behind a request hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestChunks {
    /// Members to be added: [`LineRun`].
    Lines,
    /// Users, ascending: [`IdRun`].
    Users,
}

/// What the chunks behind an answer hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerChunks {
    /// Pieces of a guild: [`PieceRun`].
    Pieces,
    /// Users, ascending: [`IdRun`].
    Users,
    /// Bytes, cut anywhere.
    Bytes,
}

/// Takes the next value of a chunk; `None` at its end. `taken` have been good before it.
fn next<T: Decode<()>>(chunk: &mut &[u8], taken: u64) -> Result<Option<T>, ChunkFault> {
    if chunk.is_empty() {
        return Ok(None);
    }
    let value = codec::decode_next(chunk);
    value.map(Some).map_err(|_| ChunkFault { at: taken, flaw: ChunkFlaw::Undecodable })
}
