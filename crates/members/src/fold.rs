//! A fold: making the next base out of the last one and the changes since.
//!
//! It runs on a worker, or in the owner's turn for a small guild, and touches nothing that anyone else can see.

use std::sync::Arc;

use guildhall_proto::UserId;

use crate::base::Base;
use crate::member_ref::Masked;
use crate::overlay::{Change, Overlay};
use crate::page::{Page, PageBuilder};
use crate::presence::{Block, Presence};
use crate::role_sets::Interner;

/// A fold to be run: all it needs, and shared with nobody who writes. Begun by [`Members::begin_fold`].
///
/// [`Members::begin_fold`]: crate::Members::begin_fold
#[derive(Debug)]
#[must_use = "a fold that is not run must be abandoned"]
pub struct FoldJob {
    pub(crate) number: FoldNumber,
    pub(crate) page_members: usize,
    pub(crate) base: Base,
    pub(crate) presence: Presence,
    pub(crate) changes: Arc<Overlay>,
    pub(crate) masked: Masked,
    pub(crate) interner: Option<Box<Interner>>,
}

/// Tells one fold of a store from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FoldNumber(pub(crate) u64);

/// The outcome of a fold, to be installed by [`Members::install`].
///
/// [`Members::install`]: crate::Members::install
#[derive(Debug)]
#[must_use = "a fold counts once it is installed"]
pub struct Folded {
    pub(crate) number: FoldNumber,
    pub(crate) base: Base,
    pub(crate) presence: Presence,
    pub(crate) interner: Box<Interner>,
    /// Roles that are in no role set any more.
    pub(crate) cleaned: Masked,
}

impl FoldJob {
    /// Members that changed since the last fold began.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Makes the next base. Pages without a change are shared with the last one; O(members of the touched pages), and
    /// O(role sets) if roles were deleted. Without an interner, after an abandoned fold or a restore, O(members) once.
    pub fn run(self) -> Folded {
        let mut interner = self.interner.unwrap_or_else(|| Box::new(Interner::of(&self.base)));
        interner.clean(&self.masked);
        let mut next = Next { pages: Vec::new(), blocks: Vec::new() };
        let mut rows = PageBuilder::new(self.page_members);
        let mut changes = self.changes.iter().peekable();
        let pages = self.base.pages();
        for (page_idx, page) in pages.iter().enumerate() {
            let block = self.presence.block(page_idx);
            let until = self.base.range_start(page_idx + 1);
            let is_ours = |user: UserId| until.is_none_or(|until| user < until);
            if rows.len() == 0 && !changes.peek().is_some_and(|(user, _)| is_ours(*user)) {
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::PageLost.is_on() && page_idx > 0 && page_idx + 1 == pages.len() {
                    continue;
                }
                next.keep(page, block);
                continue;
            }
            rows.open(page);
            let mut row = 0;
            while let Some((user, change)) = changes.next_if(|(user, _)| is_ours(*user)) {
                let at = self.base.position(page_idx, user);
                let (Ok(to) | Err(to)) = at;
                rows.copy(page, block, row..to);
                row = to + usize::from(at.is_ok());
                match change {
                    Change::Put(member, status) => {
                        rows.push(member, interner.acquire(&member.roles, &self.masked), *status);
                        if at.is_ok() {
                            // After the new set was found: a set that stays the same does not die in between.
                            interner.release(page.sets()[to]);
                        }
                    }
                    Change::Gone => {
                        if at.is_ok() {
                            interner.release(page.sets()[to]);
                        }
                    }
                    Change::Status(status) => {
                        debug_assert!(at.is_ok(), "a status stands over a member");
                        #[cfg(feature = "defects")]
                        let status = if guildhall_proto::Defect::PresenceLost.is_on() {
                            &guildhall_proto::Status::Offline
                        } else {
                            status
                        };
                        rows.copy_with_status(page, block, to, *status);
                    }
                }
            }
            rows.copy(page, block, row..page.len());
            rows.close(page);
            // A page that shrank to little takes the next one in, so that pages do not become many and small.
            if rows.len() >= self.page_members / SPARSE || page_idx + 1 == pages.len() {
                next.make(&mut rows);
            }
        }
        for (_, change) in changes {
            if let Change::Put(member, status) = change {
                rows.push(member, interner.acquire(&member.roles, &self.masked), *status);
            }
        }
        next.make(&mut rows);
        let base = Base::new(next.pages, interner.finish());
        let presence = Presence::of_blocks(next.blocks);
        Folded { number: self.number, base, presence, interner, cleaned: self.masked }
    }
}

impl Folded {
    /// The new base, true at the moment its fold began; what a checkpoint keeps. O(1).
    pub fn base(&self) -> Base {
        self.base.clone()
    }

    /// Whether deleted roles were cleaned out of records.
    pub fn cleans_roles(&self) -> bool {
        !self.cleaned.is_empty()
    }
}

/// What an installed fold replaced. It may be the last to hold a million members: send it to a worker to die.
#[derive(Debug, Default)]
#[must_use = "a worker should drop it, not the owner"]
pub struct Superseded {
    pub(crate) _base: Base,
    pub(crate) _presence: Presence,
    pub(crate) _changes: Option<Arc<Overlay>>,
    pub(crate) _unwanted: Option<Box<Folded>>,
}

/// The pages of the next base.
struct Next {
    pages: Vec<Arc<Page>>,
    blocks: Vec<Block>,
}

impl Next {
    fn keep(&mut self, page: &Arc<Page>, block: &Block) {
        self.pages.push(Arc::clone(page));
        self.blocks.push(Arc::clone(block));
    }

    fn make(&mut self, rows: &mut PageBuilder) {
        rows.flush(|page, block| {
            self.pages.push(Arc::new(page));
            self.blocks.push(block);
        });
    }
}

/// A page of less than this fraction of a full one is joined with the next.
const SPARSE: usize = 4;
