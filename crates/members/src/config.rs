//! The sizes a member store works with.

use guildhall_proto::limits::{MEMBER_ROLES_MAX, NICK_CHARS_MAX};

/// The sizes of one guild's member store; never change while the store lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembersConfig {
    /// Members of a full page, 2 to 65,535; 2,048 unless told otherwise. Smaller pages make folds of few changes
    /// cheaper and prefix searches dearer; larger ones the other way round. Reads and scans hardly notice.
    pub page_members: usize,
    /// Changed members in the overlay at which a fold is due; 2,048 unless told otherwise. A fold of scattered changes
    /// rewrites most pages, so a smaller number spends more of the workers' time per change; a larger one more memory,
    /// and more time in each scan, which decides on changed members one by one. Guilds that fold in the owner's turn
    /// fold earlier.
    pub fold_at: usize,
    /// Up to this many members the owner folds by itself, in its turn; 512 unless told otherwise, which takes up to
    /// some 80 µs. Smaller sends small guilds to the workers for less than the hand-over costs; larger makes the
    /// owner's turn long.
    pub inline_fold_members: usize,
}

impl Default for MembersConfig {
    fn default() -> Self {
        Self { page_members: 2_048, fold_at: 2_048, inline_fold_members: 512 }
    }
}

impl MembersConfig {
    /// Asserts what the columns rely on.
    pub(crate) fn checked(self) -> Self {
        let pages = PAGE_MEMBERS_MIN..=PAGE_MEMBERS_MAX;
        assert!(pages.contains(&self.page_members), "{} members a page; {pages:?} are allowed", self.page_members);
        assert!(self.fold_at > 0, "a fold at no change would never end");
        self
    }
}

const PAGE_MEMBERS_MIN: usize = 2;
/// Rows of a page are numbered in 16 bits.
pub(crate) const PAGE_MEMBERS_MAX: usize = u16::MAX as usize;

/// Bytes of one nick, at most.
pub(crate) const NICK_BYTES_MAX: usize = NICK_CHARS_MAX * 4;
/// Pages of one chunk of a scan: 16,384 members by default, some tens of microseconds, so that the hand-over to a
/// worker is small against the work and many workers can share it evenly.
pub(crate) const CHUNK_PAGES: usize = 8;
/// Masked roles at which a fold is due though few members changed: each costs a look at every read.
pub(crate) const MASKED_ROLES_FOLD_AT: usize = 64;
/// Role sets of one chunk of their table.
pub(crate) const CHUNK_SETS: usize = 256;

const _: () =
    assert!(CHUNK_SETS + 1 + CHUNK_SETS * MEMBER_ROLES_MAX <= u16::MAX as usize, "offsets in a chunk are 16 bits");
