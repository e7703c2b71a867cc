//! Role sets, interned: a guild has few distinct ones, so a member keeps the number of one.
//!
//! [`RoleSets`] is the reading side, one immutable version per base; views keep the version they were taken with. The
//! writing side,
//! [`Interner`], belongs to the folds, of which there is one at a time, and is shared with nobody.
//!
//! Sets lie in chunks of 256, each one run of 16-bit words: first where each set begins (and where the last ends),
//! counted from the chunk's own start, then the sets' contents. A content is a list of indexes into the dictionary of
//! roles, ordered as the roles are by id. A set of four roles takes 10 bytes.
//!
//! Invariants:
//! - a set that no member has is empty, so an index in any content means a role that some member holds (or held until
//!   it was
//!   deleted and masked);
//! - contents of two sets may be equal: cleaning a role out touches no member, so it cannot unite sets.

mod bytes;
mod interner;

use std::sync::Arc;

use guildhall_proto::RoleId;
use prefetch_index::prefetch_index;

use crate::config::CHUNK_SETS;
pub(crate) use interner::Interner;

/// The number of an interned role set; means something only together with a [`RoleSets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SetId(pub(crate) u32);

/// One version of the table of role sets. Clone is O(1).
#[derive(Debug, Clone, Default)]
pub(crate) struct RoleSets(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Roles by index. A slot that no content refers to keeps the role it last had.
    dictionary: Box<[RoleId]>,
    chunks: Box<[Chunk]>,
    sets: usize,
}

/// The contents of 256 sets, fewer at the end of the table.
pub(crate) type Chunk = Arc<[u16]>;

impl RoleSets {
    /// Sets in the table, dead ones among them: ids are below this.
    pub(crate) fn len(&self) -> usize {
        self.0.sets
    }

    pub(crate) fn dictionary(&self) -> &[RoleId] {
        &self.0.dictionary
    }

    /// The content of a set: places in the dictionary, ascending by the role there.
    #[inline]
    pub(crate) fn indexes(&self, set: SetId) -> &[u16] {
        let set = set.0 as usize;
        set_in(&self.0.chunks[set / CHUNK_SETS], set % CHUNK_SETS)
    }

    /// Begins to fetch where a set's content lies.
    pub(crate) fn approach(&self, set: SetId) {
        let set = set.0 as usize;
        prefetch_index(&self.0.chunks[set / CHUNK_SETS], set % CHUNK_SETS);
    }

    /// Begins to fetch the content of a set that was approached.
    pub(crate) fn fetch_ahead(&self, set: SetId) {
        let set = set.0 as usize;
        let chunk = &self.0.chunks[set / CHUNK_SETS];
        prefetch_index(chunk, usize::from(chunk[set % CHUNK_SETS]));
    }

    /// All contents, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u16]> {
        self.0.chunks.iter().flat_map(|chunk| (0..sets_in(chunk)).map(|slot| set_in(chunk, slot)))
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let chunks: usize = self.0.chunks.iter().map(|chunk| size_of_val(&**chunk) + CHUNK_OVERHEAD_BYTES).sum();
        size_of::<Table>() + size_of_val(&*self.0.dictionary) + chunks
    }
}

fn sets_in(chunk: &[u16]) -> usize {
    // The first set begins where the offsets end, one more than there are sets.
    usize::from(chunk[0]) - 1
}

#[inline]
fn set_in(chunk: &[u16], slot: usize) -> &[u16] {
    &chunk[usize::from(chunk[slot])..usize::from(chunk[slot + 1])]
}

/// Packs up to 256 contents.
fn chunk_of<'a>(contents: impl Iterator<Item = &'a [u16]> + Clone) -> Chunk {
    let sets = contents.clone().count();
    let mut words = Vec::with_capacity(sets + 1 + contents.clone().map(<[u16]>::len).sum::<usize>());
    let mut end = sets + 1;
    words.push(offset(end));
    for content in contents.clone() {
        end += content.len();
        words.push(offset(end));
    }
    words.extend(contents.flatten());
    words.into()
}

fn offset(at: usize) -> u16 {
    u16::try_from(at).expect("256 sets of at most 250 roles, and their offsets, are fewer than 65,536 words")
}

/// A pointer of two words to the chunk, and the chunk's two counts.
const CHUNK_OVERHEAD_BYTES: usize = 32;
