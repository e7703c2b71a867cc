//! Who is there: two bits a member, kept beside the pages and shared like them, but changed in place between two views.
//!
//! Page `p`'s statuses are block `p`. A block holds a pair of words for every 64 rows, the low and the high bit of each
//! row's status, so that the online members of 64 rows are one `or` of two words.
//!
//! Invariants:
//! - there is one block per page of the base, of the page's length;
//! - bits past the page's last row are zero.

use std::sync::Arc;

use guildhall_proto::Status;
use prefetch_index::prefetch_index;

/// The statuses of one page's members.
pub(crate) type Block = Arc<[u64]>;

/// The statuses of all members of a base. Clone is O(1); a change copies at most one block and the path to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    blocks: Blocks,
}

/// A tree has room for 64 blocks in its smallest leaf: too much for the many guilds of one page.
#[derive(Debug, Clone)]
enum Blocks {
    One(Block),
    /// Shared, for the tree by itself would make all presences four times as large.
    Many(Arc<im::Vector<Block>>),
}

impl Presence {
    /// Everybody offline, in pages of these lengths.
    pub(crate) fn offline(page_lens: impl Iterator<Item = usize>) -> Self {
        Self::of_blocks(page_lens.map(|len| vec![0; len.div_ceil(ROWS) * 2].into()).collect())
    }

    pub(crate) fn of_blocks(mut blocks: Vec<Block>) -> Self {
        let blocks = match (blocks.pop(), blocks.is_empty()) {
            (Some(only), true) => Blocks::One(only),
            (None, _) => Blocks::default(),
            (last @ Some(_), false) => Blocks::Many(Arc::new(blocks.into_iter().chain(last).collect())),
        };
        Self { blocks }
    }

    pub(crate) fn block(&self, page_idx: usize) -> &Block {
        let block = match &self.blocks {
            Blocks::One(only) => (page_idx == 0).then_some(only),
            Blocks::Many(blocks) => blocks.get(page_idx),
        };
        block.expect("there is one block per page")
    }

    pub(crate) fn status(&self, page_idx: usize, row: usize) -> Status {
        status_in(self.block(page_idx), row)
    }

    /// Begins to fetch the status of a row.
    pub(crate) fn approach(&self, page_idx: usize, row: usize) {
        prefetch_index(self.block(page_idx), row / ROWS * 2);
    }

    pub(crate) fn set(&mut self, page_idx: usize, row: usize, status: Status) {
        let block = match &mut self.blocks {
            Blocks::One(only) => (page_idx == 0).then_some(only),
            Blocks::Many(blocks) => Arc::make_mut(blocks).get_mut(page_idx),
        };
        let block = block.expect("there is one block per page");
        put(Arc::make_mut(block), row, status);
    }

    /// Bytes held, the tree of blocks estimated.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |block: &Block| size_of_val(&**block) + BLOCK_OVERHEAD_BYTES;
        match &self.blocks {
            Blocks::One(only) => bytes(only),
            Blocks::Many(blocks) => blocks.iter().map(bytes).sum(),
        }
    }
}

/// Of nobody.
impl Default for Blocks {
    fn default() -> Self {
        Self::One(Arc::default())
    }
}

/// The block of a page whose rows have these statuses.
pub(crate) fn block_of(statuses: &[Status]) -> Block {
    let mut words = vec![0; statuses.len().div_ceil(ROWS) * 2];
    for (row, status) in statuses.iter().enumerate() {
        put(&mut words, row, *status);
    }
    words.into()
}

/// The status of one row.
pub(crate) fn status_in(block: &[u64], row: usize) -> Status {
    let at = row / ROWS * 2;
    let low = block[at] >> (row % ROWS) & 1;
    let high = block[at + 1] >> (row % ROWS) & 1;
    match (high, low) {
        (0, 0) => Status::Offline,
        (0, _) => Status::Idle,
        (_, 0) => Status::DoNotDisturb,
        (_, _) => Status::Online,
    }
}

/// Sets the status of one row, and copies the block before if others have it; not if the status is that already.
pub(crate) fn set_in(block: &mut Block, row: usize, status: Status) {
    if status_in(block, row) != status {
        put(Arc::make_mut(block), row, status);
    }
}

/// Which of the 64 rows from `word_idx * 64` on are online.
pub(crate) fn online_word(block: &[u64], word_idx: usize) -> u64 {
    block[word_idx * 2] | block[word_idx * 2 + 1]
}

fn put(words: &mut [u64], row: usize, status: Status) {
    let at = row / ROWS * 2;
    let bit = 1 << (row % ROWS);
    let (high, low) = match status {
        Status::Offline => (0, 0),
        Status::Idle => (0, bit),
        Status::DoNotDisturb => (bit, 0),
        Status::Online => (bit, bit),
    };
    words[at] = words[at] & !bit | low;
    words[at + 1] = words[at + 1] & !bit | high;
}

/// Rows of one pair of words.
pub(crate) const ROWS: usize = 64;
/// A pointer of two words to the block, and the block's two counts.
const BLOCK_OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 4] = [Status::Offline, Status::Idle, Status::DoNotDisturb, Status::Online];

    #[test]
    fn a_status_reads_back_and_leaves_its_neighbours_alone() {
        let mut presence = Presence::offline([130, 1].into_iter());
        for (row, status) in (0..130).zip(ALL.into_iter().cycle()) {
            presence.set(0, row, status);
        }
        let before = presence.clone();
        presence.set(0, 64, Status::Online);
        for (row, status) in (0..130).zip(ALL.into_iter().cycle()) {
            assert_eq!(before.status(0, row), status);
            assert_eq!(presence.status(0, row), if row == 64 { Status::Online } else { status });
        }
        assert_eq!(presence.status(1, 0), Status::Offline);
    }

    #[test]
    fn a_word_has_the_bits_of_all_who_are_not_offline() {
        let statuses: Vec<Status> = ALL.into_iter().cycle().take(66).collect();
        let block = block_of(&statuses);
        assert_eq!(online_word(&block, 0), 0xeeee_eeee_eeee_eeee);
        assert_eq!(online_word(&block, 1), 0b10);
    }
}
