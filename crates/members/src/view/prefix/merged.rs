//! A search page by page: the matches of a page are a run of its order by nick, found by binary search, and the runs are merged.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use guildhall_proto::{Member, UserId};

use crate::layers::Layers;
use crate::nick::{self, Prefix};

/// What is left of one sorted run of matches; orders by its first one's (folded nick, user).
struct Run<'a> {
    nick: &'a str,
    user: UserId,
    rest: Rest<'a>,
}

enum Rest<'a> {
    Page { page_idx: usize, rows: &'a [u16] },
    Overlay,
}

pub(super) fn search(layers: &Layers, prefix: &Prefix, limit: usize) -> Vec<Member> {
    let in_pages = (0..layers.base.pages().len()).filter_map(|page_idx| {
        Run::of_page(layers, prefix, page_idx, layers.base.pages()[page_idx].tail_from_prefix(prefix))
    });
    let changed = layers.changed(None, None).filter_map(|(user, change)| layers.resolve(user, change));
    let changed = changed.map(|place| layers.member_at(place));
    let in_overlay = changed.filter(|member| prefix.place(member.nick()).is_eq()).map(|member| Run {
        nick: member.nick(),
        user: member.user,
        rest: Rest::Overlay,
    });
    let mut runs: BinaryHeap<Reverse<Run<'_>>> = in_pages.chain(in_overlay).map(Reverse).collect();
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(Reverse(run)) = runs.pop()
    {
        found.extend(layers.member(run.user).map(|member| member.to_member()));
        if let Rest::Page { page_idx, rows } = run.rest {
            runs.extend(Run::of_page(layers, prefix, page_idx, rows).map(Reverse));
        }
    }
    found
}

impl<'a> Run<'a> {
    /// The matches at the front of these rows, without those that an overlay has changed; `None` if there is none.
    fn of_page(layers: &'a Layers, prefix: &Prefix, page_idx: usize, rows: &'a [u16]) -> Option<Self> {
        let page = &layers.base.pages()[page_idx];
        for (at, row) in rows.iter().enumerate() {
            let (user, nick) = (page.ids()[usize::from(*row)], page.nick(usize::from(*row)));
            if prefix.place(nick).is_ne() {
                return None;
            }
            if layers.fresh.get(user).is_none() && layers.frozen.get(user).is_none() {
                return Some(Self { nick, user, rest: Rest::Page { page_idx, rows: &rows[at + 1..] } });
            }
        }
        None
    }
}

impl Ord for Run<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        nick::compare(self.nick, other.nick).then(self.user.cmp(&other.user))
    }
}

impl PartialOrd for Run<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Run<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Run<'_> {}
