//! A fold: making the next base out of the last one and the changes since.
//!
//! It runs on a worker, or in the owner's turn for a small guild, and touches nothing that anyone else can see.

use std::iter;
use std::sync::Arc;

use guildhall_proto::{Status, UserId};

use crate::base::Base;
use crate::holders::{Holders, Turn};
use crate::member_ref::Masked;
use crate::overlay::{Change, Overlay};
use crate::page::{Edit, Page, PageBuilder, page_row};
use crate::presence::{Block, Presence, set_in};
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
    pub(crate) changes: Overlay,
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
    /// O(role sets) if roles were deleted, and O(members) if the base has an [order by nick](crate::View::order_nicks). Without an interner, after an abandoned fold or a restore, O(members) once.
    pub fn run(self) -> Folded {
        let Self { number, page_members, base, presence, changes, masked, interner } = self;
        let mut interner = interner.unwrap_or_else(|| Box::new(Interner::of(&base)));
        let cleaned = interner.clean(&masked);
        let mut next = Next { pages: Vec::new(), blocks: Vec::new(), holders: Vec::new() };
        let mut rows = PageBuilder::new(page_members);
        let mut changes = changes.iter().peekable();
        let mut here = Vec::new();
        let pages = base.pages();
        for (page_idx, page) in pages.iter().enumerate() {
            let block = presence.block(page_idx);
            let until = base.range_start(page_idx + 1);
            let is_ours = |user: UserId| until.is_none_or(|until| user < until);
            if rows.len() == 0 && !changes.peek().is_some_and(|(user, _)| is_ours(*user)) {
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::PageLost.is_on() && page_idx > 0 && page_idx + 1 == pages.len() {
                    continue;
                }
                next.keep(page, block, holders(&base, page_idx, &cleaned, &mut []));
                continue;
            }
            here.extend(iter::from_fn(|| changes.next_if(|(user, _)| is_ours(*user))));
            if rows.len() == 0
                && let Some((page, block, mut turns)) = edited(&base, page_idx, block, &here, &mut interner, &masked)
            {
                next.keep(&page, &block, holders(&base, page_idx, &cleaned, &mut turns));
                here.clear();
                continue;
            }
            rows.open(page);
            let mut row = 0;
            for (user, change) in here.drain(..) {
                let at = base.position(page_idx, user);
                let (Ok(to) | Err(to)) = at;
                rows.copy(page, block, row..to);
                row = to + usize::from(at.is_ok());
                match change {
                    Change::Put(member, status) => {
                        rows.push(member, interner.acquire(&member.roles, &masked), status);
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
                        rows.copy_with_status(page, block, to, folded(status));
                    }
                }
            }
            rows.copy(page, block, row..page.len());
            rows.close(page);
            // A page that shrank to little takes the next one in, so that pages do not become many and small.
            if rows.len() >= page_members / SPARSE || page_idx + 1 == pages.len() {
                next.make(&mut rows);
            }
        }
        for (_, change) in changes {
            if let Change::Put(member, status) = change {
                rows.push(member, interner.acquire(&member.roles, &masked), status);
            }
        }
        next.make(&mut rows);
        let folded = Base::new(next.pages, next.holders, interner.finish());
        folded.carry_nick_order(&base);
        let presence = Presence::of_blocks(next.blocks);
        Folded { number, base: folded, presence, interner, cleaned: masked }
    }
}

/// The page with these changes, if each is of a member that stays in its row, and who comes to hold a role there or ceases to.
fn edited(
    base: &Base,
    page_idx: usize,
    block: &Block,
    changes: &[(UserId, Change<'_>)],
    interner: &mut Interner,
    masked: &Masked,
) -> Option<(Arc<Page>, Block, Vec<Turn>)> {
    let mut places = Vec::with_capacity(changes.len());
    for (user, change) in changes {
        match change {
            Change::Put(..) | Change::Status(_) => places.push(base.position(page_idx, *user).ok()?),
            Change::Gone => return None,
        }
    }
    let (page, mut block) = (&base.pages()[page_idx], Arc::clone(block));
    let (mut edits, mut turns) = (Vec::with_capacity(changes.len()), Vec::new());
    for ((_, change), row) in changes.iter().zip(places) {
        match change {
            Change::Put(record, status) => {
                let before = page.sets()[row];
                let set = if interner.is_of(before, &record.roles) {
                    before
                } else {
                    let set = interner.acquire(&record.roles, masked);
                    let (old, new) = (interner.places(before), interner.places(set));
                    let lost = old.iter().filter(|place| !new.contains(place));
                    let gained = new.iter().filter(|place| !old.contains(place));
                    turns.extend(lost.chain(gained).map(|place| Turn::new(*place, page_row(row))));
                    interner.release(before);
                    set
                };
                edits.push(Edit { row, record, set });
                set_in(&mut block, row, *status);
            }
            Change::Status(status) => set_in(&mut block, row, folded(*status)),
            Change::Gone => return None,
        }
    }
    let page = if edits.is_empty() { Arc::clone(page) } else { Arc::new(page.edited(&edits)) };
    Some((page, block, turns))
}

/// The holders of a page of the last base, those of cleaned roles left out, with these turns; `None` if that base has none.
fn holders(base: &Base, page_idx: usize, cleaned: &[u16], turns: &mut [Turn]) -> Option<Arc<Holders>> {
    let before = base.holders(page_idx)?;
    if turns.is_empty() && !before.has_any(cleaned) {
        return Some(Arc::clone(before));
    }
    turns.sort_unstable();
    Some(Arc::new(before.turned(cleaned, turns)))
}

/// A status that stands over a member, as the next base has it.
fn folded(status: Status) -> Status {
    #[cfg(feature = "defects")]
    if guildhall_proto::Defect::PresenceLost.is_on() {
        return Status::Offline;
    }
    status
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
    pub(crate) _changes: Overlay,
    pub(crate) _unwanted: Option<Box<Folded>>,
}

/// The pages of the next base.
struct Next {
    pages: Vec<Arc<Page>>,
    blocks: Vec<Block>,
    /// `None` where they are to be found anew.
    holders: Vec<Option<Arc<Holders>>>,
}

impl Next {
    fn keep(&mut self, page: &Arc<Page>, block: &Block, holders: Option<Arc<Holders>>) {
        self.pages.push(Arc::clone(page));
        self.blocks.push(Arc::clone(block));
        self.holders.push(holders);
    }

    fn make(&mut self, rows: &mut PageBuilder) {
        rows.flush(|page, block| {
            self.pages.push(Arc::new(page));
            self.blocks.push(block);
            self.holders.push(None);
        });
    }
}

/// A page of less than this fraction of a full one is joined with the next.
const SPARSE: usize = 4;
