//! Questions about all members at once, cut into chunks that workers share.
//!
//! For each page of a chunk the rows whose roles say yes are found as bits, and united with the bits of those online; then their ids
//! are taken. Members in the overlay, members with an overwrite of their own and the guild's owner are exceptions, decided one by
//! one.
//!
//! Invariants:
//! - chunks partition all ids: chunk `i` covers from the first id of its first page to that of the next chunk's, the
//!   first chunk
//!   also what lies below, the last what lies above; so outputs in order of chunks ascend;
//! - there is at least one chunk, also without pages.

mod decision;
mod take;

use std::mem;
use std::ops::Range;

use guildhall_permissions::ChannelRule;
use guildhall_proto::{Permissions, Question, RoleId, Status, UserId};

use self::decision::{Decision, RoleMarks, Scratch};
use self::take::{Found, Next, take};
use crate::config::CHUNK_PAGES;
use crate::layers::Layers;
use crate::member_ref::MemberRef;
use crate::overlay::Change;
use crate::presence::{ROWS, online_word};
use crate::view::{UnknownInView, View};

/// A question with all that can be decided beforehand. Chunks may run in any order, on any threads.
#[derive(Debug)]
pub struct Scan {
    view: View,
    question: Question,
    marks: RoleMarks,
    decision: Decision,
    /// Members for whom roles are not all there is to decide on, ascending.
    special: Vec<UserId>,
    /// How many members the answer has at most.
    asked: usize,
}

impl Scan {
    pub(crate) fn new(view: View, question: Question) -> Result<Self, UnknownInView> {
        let rights = view.rights();
        let rule = match question.channel() {
            Some(channel) => Some(rights.rule(channel).ok_or(UnknownInView::Channel(channel))?),
            None => None,
        };
        let holding = match question {
            Question::Role { role, .. } => {
                rights.role(role).ok_or(UnknownInView::Role(role))?;
                (role != RoleId::everyone(rights.guild())).then_some(role)
            }
            Question::All | Question::Everyone { .. } | Question::Here { .. } => None,
        };
        let mut special = Vec::new();
        if let Some(rule) = &rule {
            special.extend(rule.users());
            special.push(rights.owner());
            special.sort_unstable();
            special.dedup();
        }
        let marks = RoleMarks::new(rights, rule.as_ref(), holding);
        let asked = if question.is_online_only() { view.online() } else { view.len() };
        let decision = Decision::new(&marks, &view.layers().base);
        Ok(Self { question, marks, decision, special, asked, view })
    }

    /// The view that the answer is true for.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How many chunks there are, at least one.
    pub fn chunks(&self) -> usize {
        chunks(self.view.layers())
    }

    /// Appends the users of one chunk to `out`, ascending; those of a lower chunk are all below those of a higher one.
    ///
    /// O(members of the chunk).
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn run_chunk(&self, chunk_idx: usize, out: &mut Vec<UserId>) {
        let rule = self.question.channel().and_then(|channel| self.view.rights().rule(channel));
        let layers = self.view.layers();
        let chunk = Chunk::new(layers, chunk_idx);
        let mut exceptions = self.exceptions(&chunk).into_iter().peekable();
        self.decision.fetch_ahead(&layers.base, chunk.pages.clone());
        let pages = &layers.base.pages()[chunk.pages.clone()];
        let mut scratch = Scratch::default();
        let mut found = Vec::with_capacity(CHUNK_PAGES);
        for page_idx in chunk.pages.clone() {
            let mut rows = self.decision.rows(&layers.base, page_idx, &mut scratch);
            if self.question.is_online_only() {
                let online = layers.presence.block(page_idx);
                rows.iter_mut().enumerate().for_each(|(at, row)| *row &= online_word(online, at));
            }
            let rows = Found::new(rows);
            if found.is_empty() {
                // The first page's are on their way while the others are decided; each of those then while the one before it is taken.
                Next::new(pages[0].ids(), &rows).fetch();
            }
            found.push(rows);
        }
        let yes: usize = found.iter().map(Found::count).sum();
        // At once, for a list that grows is copied, and each time touches fresh memory; with room for what is written beyond.
        out.reserve(yes + exceptions.len() + ROWS);
        let mut beside = Vec::new();
        for (at, page_idx) in chunk.pages.clone().enumerate() {
            let (page, mut rows) = (&pages[at], mem::take(&mut found[at]));
            let next = found.get(at + 1).map_or(Next::default(), |rows| Next::new(pages[at + 1].ids(), rows));
            // The last page takes the exceptions behind it too: the chunk ends with it.
            let until = if page_idx + 1 == chunk.pages.end { None } else { layers.base.range_start(page_idx + 1) };
            while let Some((user, why)) = exceptions.next_if(|(user, _)| until.is_none_or(|until| *user < until)) {
                let has = self.has(user, why, rule.as_ref());
                match layers.base.position(page_idx, user) {
                    Ok(row) => rows.put(row, has),
                    Err(row) => beside.extend(has.then_some((row, user))),
                }
            }
            let mut row = 0;
            for (to, user) in beside.drain(..) {
                take(page.ids(), &rows, row..to, next, out);
                out.push(user);
                row = to;
            }
            take(page.ids(), &rows, row..page.len(), next, out);
        }
        let behind = exceptions.filter(|(user, why)| self.has(*user, *why, rule.as_ref()));
        out.extend(behind.map(|(user, _)| user));
    }

    /// All chunks, one after the other.
    pub fn run(&self) -> Vec<UserId> {
        let layers = self.view.layers();
        // Address space for everybody asked about, and what chunks may ask for beyond; what is not written is never backed by memory.
        let mut out =
            Vec::with_capacity(self.asked + layers.fresh.len() + layers.frozen.len() + self.special.len() + ROWS);
        for chunk_idx in 0..self.chunks() {
            self.run_chunk(chunk_idx, &mut out);
        }
        out
    }

    /// Users of the chunk to be decided on one by one, ascending.
    fn exceptions(&self, chunk: &Chunk) -> Vec<(UserId, Exception<'_>)> {
        let first = self.special.partition_point(|user| chunk.from.is_some_and(|from| *user < from));
        let special = self.special[first..].iter().take_while(|user| chunk.until.is_none_or(|until| **user < until));
        let changed = self.view.layers().changed(chunk.from, chunk.until);
        let mut exceptions: Vec<(UserId, Exception<'_>)> = special.map(|user| (*user, Exception::Special)).collect();
        exceptions.extend(changed.map(|(user, change)| (user, Exception::Changed(change))));
        // Stable, so that a special user who changed stays special.
        exceptions.sort_by_key(|(user, _)| *user);
        exceptions.dedup_by_key(|(user, _)| *user);
        exceptions
    }

    /// The full answer for one user.
    fn has(&self, user: UserId, why: Exception<'_>, rule: Option<&ChannelRule<'_>>) -> bool {
        let layers = self.view.layers();
        let place = match why {
            Exception::Changed(change) => layers.resolve(user, change),
            Exception::Special => layers.find(user),
        };
        let Some(place) = place else {
            return false;
        };
        if self.question.is_online_only() && !layers.status_at(place).is_online() {
            return false;
        }
        let member = layers.member_at(place);
        match why {
            Exception::Changed(_) => self.marks.decide(&member),
            Exception::Special => self.holds(&member) && rule.is_none_or(|rule| sees(&member, rule)),
        }
    }

    fn holds(&self, member: &MemberRef<'_>) -> bool {
        match self.question {
            Question::Role { role, .. } => role == RoleId::everyone(self.view.rights().guild()) || member.holds(role),
            Question::All | Question::Everyone { .. } | Question::Here { .. } => true,
        }
    }
}

/// Why a user is decided on apart.
#[derive(Clone, Copy)]
enum Exception<'a> {
    /// An overlay has a newer word; roles decide.
    Changed(Change<'a>),
    /// Roles are not all there is to decide on.
    Special,
}

fn sees(member: &MemberRef<'_>, rule: &ChannelRule<'_>) -> bool {
    let permissions = member.with_role_slice(|roles| rule.permissions(member.user, roles));
    permissions.contains(Permissions::VIEW_CHANNEL)
}

/// All members for whom a condition holds, whatever it asks. Chunks may run in any order, and on any threads if the
/// condition is `Sync`.
#[derive(Debug)]
pub struct Filter<F> {
    view: View,
    keep: F,
}

impl<F: Fn(&MemberRef<'_>, Status) -> bool> Filter<F> {
    pub(crate) fn new(view: View, keep: F) -> Self {
        Self { view, keep }
    }

    /// How many chunks there are, at least one.
    pub fn chunks(&self) -> usize {
        chunks(self.view.layers())
    }

    /// Appends the users of one chunk to `out`, ascending; as [`Scan::run_chunk`].
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn run_chunk(&self, chunk_idx: usize, out: &mut Vec<UserId>) {
        let layers = self.view.layers();
        let chunk = Chunk::new(layers, chunk_idx);
        for place in layers.walk(chunk.from, chunk.until) {
            let member = layers.member_at(place);
            if (self.keep)(&member, layers.status_at(place)) {
                out.push(member.user);
            }
        }
    }

    /// All chunks, one after the other.
    pub fn run(&self) -> Vec<UserId> {
        let mut out = Vec::new();
        for chunk_idx in 0..self.chunks() {
            self.run_chunk(chunk_idx, &mut out);
        }
        out
    }
}

/// A run of pages and the ids it answers for.
struct Chunk {
    pages: Range<usize>,
    from: Option<UserId>,
    until: Option<UserId>,
}

impl Chunk {
    fn new(layers: &Layers, chunk_idx: usize) -> Self {
        assert!(chunk_idx < chunks(layers), "chunk {chunk_idx} of {}", chunks(layers));
        let first = chunk_idx * CHUNK_PAGES;
        let pages = first..(first + CHUNK_PAGES).min(layers.base.pages().len());
        let (from, until) = (layers.base.range_start(pages.start), layers.base.range_start(first + CHUNK_PAGES));
        Self { pages, from, until }
    }
}

fn chunks(layers: &Layers) -> usize {
    layers.base.pages().len().div_ceil(CHUNK_PAGES).max(1)
}
