//! The base: all pages of one moment, and where each begins.
//!
//! A flat directory, not a tree: there are a few hundred pages per million members, so a fold copies their pointers on
//! a worker in microseconds, and nothing else ever changes a base. In return a lookup searches two small runs of memory
//! that stay cached (the pages' first ids, every 32nd id) and then misses the cache once; each level of a tree of
//! members would miss it.
//!
//! Invariants:
//! - pages are not empty; ids ascend within and across pages;
//! - `fence[p]` is the first id of page `p`;
//! - `samples` has every 32nd id of each page, beginning with its first;
//! - a single page of at most 32 members has neither: it is its own sample;
//! - `holders` has one entry per page; a single page of at most 512 members has none: there each row is looked at;
//! - every set that a row has is in `sets`.

mod order;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use guildhall_proto::{Member, UserId};
use prefetch_index::prefetch_index;

use crate::digest::{Digest, PageSums, Sums};
use crate::holders::Holders;
use crate::member_ref::{Masked, MemberRef};
use crate::page::Page;
use crate::role_sets::RoleSets;
pub(crate) use order::NickOrder;

/// The members as of one fold: immutable, shared, without presence. What a checkpoint holds. Clone is O(1).
///
/// Dropping the last clone frees its pages, some hundreds per million members: let a worker do that.
#[derive(Debug, Clone, Default)]
pub struct Base(Arc<Directory>);

#[derive(Debug, Default)]
struct Directory {
    fence: Box<[UserId]>,
    samples: Box<[UserId]>,
    /// Where each page's samples begin, and the end of the last's.
    sample_starts: Box<[usize]>,
    pages: Box<[Arc<Page>]>,
    holders: Box<[Arc<Holders>]>,
    sets: RoleSets,
    members: usize,
    /// Of a base that was put together from parts: what its pieces brought along, until a guild takes it.
    sums: Option<Box<Sums>>,
    /// Where somebody searches by nick: made when it is asked for, or carried on by the fold. `None` in it if the pages cannot have one.
    nick_order: OnceLock<Option<Box<NickOrder>>>,
}

impl Base {
    /// The base of these pages, each with its holders if these are known.
    pub(crate) fn new(pages: Vec<Arc<Page>>, holders: Vec<Option<Arc<Holders>>>, sets: RoleSets) -> Self {
        Self::of(pages, holders, sets, None)
    }

    /// A base whose sums are known already.
    pub(crate) fn with_sums(
        pages: Vec<Arc<Page>>,
        holders: Vec<Option<Arc<Holders>>>,
        sets: RoleSets,
        sums: Sums,
    ) -> Self {
        Self::of(pages, holders, sets, Some(Box::new(sums)))
    }

    fn of(pages: Vec<Arc<Page>>, holders: Vec<Option<Arc<Holders>>>, sets: RoleSets, sums: Option<Box<Sums>>) -> Self {
        debug_assert!(pages.is_sorted_by(|page, next| page.last() < next.first()), "ids ascend across pages");
        let members = pages.iter().map(|page| page.len()).sum();
        let mut directory = Directory { pages: pages.into(), sets, members, sums, ..Directory::default() };
        if members > SAMPLED_ROWS || directory.pages.len() > 1 {
            directory.sample();
        }
        if members > ONE_BY_ONE_MEMBERS || directory.pages.len() > 1 {
            let of = |(page, holders): (&Arc<Page>, Option<_>)| {
                holders.unwrap_or_else(|| Arc::new(Holders::of(page, &directory.sets)))
            };
            directory.holders = directory.pages.iter().zip(holders).map(of).collect();
        }
        Self(Arc::new(directory))
    }

    /// Members in it.
    pub fn len(&self) -> usize {
        self.0.members
    }

    /// Whether there is nobody in it.
    pub fn is_empty(&self) -> bool {
        self.0.members == 0
    }

    /// All members, ascending by user.
    pub fn iter(&self) -> impl Iterator<Item = Member> {
        let masked = Masked::new();
        let rows = self.0.pages.iter().flat_map(|page| (0..page.len()).map(move |row| (page, row)));
        rows.map(move |(page, row)| MemberRef::in_page(page, row, &self.0.sets, &masked).to_member())
    }

    /// The digest of its members: O(members), some 50 ms per million, but O(roles) if the base was just put together from
    /// parts. Equal to what [`Members::digest`] was when the fold began.
    ///
    /// [`Members::digest`]: crate::Members::digest
    pub fn digest(&self) -> Digest {
        match &self.0.sums {
            Some(sums) => sums.digest(),
            None => self.computed_sums().digest(),
        }
    }

    /// The sums of its members: those that its parts brought along, taken out unless others hold the base too, or else
    /// computed anew.
    pub(crate) fn take_sums(&mut self) -> Sums {
        let brought = match Arc::get_mut(&mut self.0) {
            Some(directory) => directory.sums.take(),
            None => self.0.sums.clone(),
        };
        brought.map_or_else(|| self.computed_sums(), |sums| *sums)
    }

    fn computed_sums(&self) -> Sums {
        let pages = self.0.pages.iter().map(|page| PageSums::of(page, self.sets()));
        PageSums::total(pages, self.sets().dictionary())
    }

    pub(crate) fn pages(&self) -> &[Arc<Page>] {
        &self.0.pages
    }

    pub(crate) fn sets(&self) -> &RoleSets {
        &self.0.sets
    }

    /// Who holds what on these pages; nothing in a small base.
    pub(crate) fn all_holders(&self, pages: Range<usize>) -> &[Arc<Holders>] {
        self.0.holders.get(pages).unwrap_or_default()
    }

    /// Who holds what on a page; `None` in a small base.
    pub(crate) fn holders(&self, page_idx: usize) -> Option<&Arc<Holders>> {
        self.0.holders.get(page_idx)
    }

    /// The page in whose range `user` lies: ranges begin with a page's first id, the first also holds all below. `None`
    /// without pages.
    pub(crate) fn page_of(&self, user: UserId) -> Option<usize> {
        let begun = self.0.fence.partition_point(|first| *first <= user);
        if self.0.pages.is_empty() { None } else { Some(begun.saturating_sub(1)) }
    }

    /// The first id of a page's range, but for the first page, which has no lower bound.
    pub(crate) fn range_start(&self, page_idx: usize) -> Option<UserId> {
        if page_idx == 0 { None } else { self.0.fence.get(page_idx).copied() }
    }

    /// The order by nick, if there is one.
    pub(crate) fn nick_order(&self) -> Option<&NickOrder> {
        self.0.nick_order.get()?.as_deref()
    }

    /// Whether the base is large, and nobody has made an order by nick for it.
    pub(crate) fn wants_nick_order(&self) -> bool {
        self.len() >= ORDER_AT_MEMBERS && self.0.nick_order.get().is_none()
    }

    /// Makes the order by nick, if there is none: O(n log n). Who asks meanwhile waits.
    pub(crate) fn order_nicks(&self) {
        self.0.nick_order.get_or_init(|| NickOrder::of(self.pages()).map(Box::new));
    }

    /// Carries the order of another base on to this one: O(n), and nothing if that has none, or one that nobody
    /// uses.
    pub(crate) fn carry_nick_order(&self, from: &Self) {
        if self.0.nick_order.get().is_none()
            && let Some(order) = from.nick_order()
            && let Some(order) = order.carried(from.pages(), self.pages())
        {
            self.0.nick_order.get_or_init(|| Some(Box::new(order)));
        }
    }

    /// Page and row of `user`. O(log n), of which all but the last step is in memory that stays cached.
    pub(crate) fn find(&self, user: UserId) -> Option<(usize, usize)> {
        let page_idx = self.page_of(user)?;
        let row = self.position(page_idx, user).ok()?;
        Some((page_idx, row))
    }

    /// Begins to fetch these rows, their ids, and which roles they have, into the cache: what each step needs is fetched for all before any takes the next.
    pub(crate) fn fetch_all_ahead(&self, rows: &[(usize, usize)]) {
        let sets = |(page_idx, row): &(usize, usize)| self.0.pages[*page_idx].sets()[*row];
        rows.iter().for_each(|(page_idx, row)| self.0.pages[*page_idx].approach(*row));
        rows.iter().for_each(|row| self.0.sets.approach(sets(row)));
        rows.iter().for_each(|row| self.0.sets.fetch_ahead(sets(row)));
    }

    /// The first of five steps by which many users are looked up side by side: each reads what the step before it, taken for all of them, has
    /// begun to fetch. This one tells the page. `None` without pages.
    pub(crate) fn approach_page(&self, user: UserId) -> Option<usize> {
        let page_idx = self.page_of(user)?;
        let samples = self.samples(page_idx);
        for line in (0..samples.len()).step_by(IDS_A_LINE) {
            prefetch_index(samples, line);
        }
        self.0.pages[page_idx].approach_columns();
        Some(page_idx)
    }

    /// The second: the block of the page. `None` if the user is not in the base.
    pub(crate) fn approach_block(&self, page_idx: usize, user: UserId) -> Option<usize> {
        let block = self.block_of(page_idx, user)?;
        let ids = self.0.pages[page_idx].ids();
        for row in (block * SAMPLED_ROWS..(block + 1) * SAMPLED_ROWS).step_by(IDS_A_LINE) {
            prefetch_index(ids, row);
        }
        Some(block)
    }

    /// The third: the row. `None` if the user is not in the base.
    pub(crate) fn approach_row(&self, page_idx: usize, block: usize, user: UserId) -> Option<usize> {
        let row = self.row_in(page_idx, block, user).ok()?;
        self.0.pages[page_idx].approach(row);
        Some(row)
    }

    /// The fourth: where the row's role set lies.
    pub(crate) fn approach_set(&self, page_idx: usize, row: usize) {
        self.0.sets.approach(self.0.pages[page_idx].sets()[row]);
    }

    /// The last: which roles are in that.
    pub(crate) fn fetch_set(&self, page_idx: usize, row: usize) {
        self.0.sets.fetch_ahead(self.0.pages[page_idx].sets()[row]);
    }

    /// The row of `user` in a page, or the row it would have there.
    pub(crate) fn position(&self, page_idx: usize, user: UserId) -> Result<usize, usize> {
        if self.0.samples.is_empty() {
            return self.0.pages[page_idx].ids().binary_search(&user);
        }
        let Some(block) = self.block_of(page_idx, user) else {
            return Err(0);
        };
        self.fetch_near(page_idx, block, user);
        self.row_in(page_idx, block, user)
    }

    /// The block of a page in which `user` is, or would be; `None` if that is before the page.
    fn block_of(&self, page_idx: usize, user: UserId) -> Option<usize> {
        self.samples(page_idx).partition_point(|sample| *sample <= user).checked_sub(1)
    }

    fn samples(&self, page_idx: usize) -> &[UserId] {
        let directory = &*self.0;
        &directory.samples[directory.sample_starts[page_idx]..directory.sample_starts[page_idx + 1]]
    }

    /// Has a row of the block fetched: the one that the user has if gaps are even.
    fn fetch_near(&self, page_idx: usize, block: usize, user: UserId) {
        let (page, samples, first) = (&self.0.pages[page_idx], self.samples(page_idx), block * SAMPLED_ROWS);
        if let Some(next) = samples.get(block + 1) {
            // Where it would be with even gaps: near enough for the lines that the caller reads next to be on their way
            // already.
            let into = (user.get() - samples[block].get()) as f64 / (next.get() - samples[block].get()) as f64;
            page.fetch_ahead(first + (into * SAMPLED_ROWS as f64) as usize);
        }
    }

    fn row_in(&self, page_idx: usize, block: usize, user: UserId) -> Result<usize, usize> {
        let (ids, first) = (self.0.pages[page_idx].ids(), block * SAMPLED_ROWS);
        let block = &ids[first..(first + SAMPLED_ROWS).min(ids.len())];
        // Counted, not searched: the lines are fetched at once, and no branch waits for them.
        let row = first + block.iter().map(|id| usize::from(*id < user)).sum::<usize>();
        if ids.get(row) == Some(&user) { Ok(row) } else { Err(row) }
    }

    /// Rows at or after `from`, as (page, row, user), ascending by user.
    pub(crate) fn rows_from(&self, from: Option<UserId>) -> impl Iterator<Item = (usize, usize, UserId)> {
        let (first_page, first_row) = match from.and_then(|user| Some((user, self.page_of(user)?))) {
            Some((user, page_idx)) => (page_idx, self.position(page_idx, user).unwrap_or_else(|row| row)),
            None => (0, 0),
        };
        let pages = (first_page..).zip(&self.0.pages[first_page..]);
        pages.flat_map(move |(page_idx, page)| {
            let skipped = if page_idx == first_page { first_row } else { 0 };
            (skipped..page.len()).map(move |row| (page_idx, row, page.ids()[row]))
        })
    }

    /// Bytes of what tells who holds which role.
    pub(crate) fn holders_bytes(&self) -> usize {
        self.0.holders.iter().map(|holders| size_of::<Arc<Holders>>() + holders.bytes()).sum()
    }

    /// Bytes of its directory and pages, apart from the role sets, their holders and the order by nick.
    pub(crate) fn bytes(&self) -> usize {
        let pages: usize = self.0.pages.iter().map(|page| page.bytes()).sum();
        let page_bytes = size_of::<UserId>() + size_of::<usize>() + size_of::<Arc<Page>>() + ALLOCATION_BYTES;
        size_of::<Directory>() + self.0.pages.len() * page_bytes + size_of_val(&*self.0.samples) + pages
    }
}

impl Directory {
    fn sample(&mut self) {
        self.fence = self.pages.iter().map(|page| page.first()).collect();
        self.samples = self.pages.iter().flat_map(|page| page.ids().iter().step_by(SAMPLED_ROWS)).copied().collect();
        let mut starts = vec![0];
        for page in &self.pages {
            starts.push(starts[starts.len() - 1] + page.len().div_ceil(SAMPLED_ROWS));
        }
        self.sample_starts = starts.into();
    }
}

/// Members from which on a search page by page takes some 50 µs and more: 5 µs for each page of 2,048.
const ORDER_AT_MEMBERS: usize = 16_384;
/// How far apart the sampled ids are. Fewer rows make the samples outgrow the cache (250 KB per million members now),
/// more make the count behind a sample longer (four cache lines now).
const SAMPLED_ROWS: usize = 32;
/// Members of a small base: its scan looks at each row, some 10 ns, and its fold, in the owner's turn, has no holders to find. As many as
/// are folded there by default.
const ONE_BY_ONE_MEMBERS: usize = 512;
/// Ids of a line of the cache.
const IDS_A_LINE: usize = 64 / size_of::<UserId>();
/// What a shared allocation takes beside its content: two counts.
const ALLOCATION_BYTES: usize = 16;
