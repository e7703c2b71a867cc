//! A search in the order of a whole base: its matches are a run of that order, and those of the overlays are sorted in.
//!
//! A row and its role set lie anywhere in tens of megabytes, so nothing is read of the first match before the memory of the next ones
//! is on its way too.

use std::cmp::Ordering;

use guildhall_proto::{Member, UserId};

use crate::base::NickOrder;
use crate::layers::Layers;
use crate::member_ref::MemberRef;
use crate::nick::{self, Prefix};
use crate::overlay::{Change, Overlay, Record};

pub(super) fn search(layers: &Layers, order: &NickOrder, prefix: &Prefix, limit: usize) -> Vec<Member> {
    let mut matches = in_base(layers, order, prefix, limit);
    // What comes behind the last of as many as are wanted is not.
    let last = if matches.len() == limit { matches.last().copied() } else { None };
    let is_wanted = |member: &MemberRef<'_>| last.is_none_or(|last| compare(member, &last).is_lt());
    let changed = in_overlays(layers, prefix, is_wanted);
    if !changed.is_empty() {
        matches.extend(changed);
        matches.sort_by(compare);
        matches.truncate(limit);
    }
    matches.iter().map(MemberRef::to_member).collect()
}

/// The first matches of the base that the overlays leave as they are.
fn in_base<'a>(layers: &'a Layers, order: &'a NickOrder, prefix: &Prefix, limit: usize) -> Vec<MemberRef<'a>> {
    let base = &layers.base;
    let member =
        |(page_idx, row): (usize, usize)| MemberRef::in_page(&base.pages()[page_idx], row, base.sets(), &layers.masked);
    let mut places = order.tail_from_prefix(base.pages(), prefix);
    let mut near = Vec::with_capacity(NEAR_ROWS.min(limit));
    let mut found = Vec::with_capacity(NEAR_ROWS.min(limit));
    while found.len() < limit {
        near.clear();
        let wanted = NEAR_ROWS.min(limit - found.len());
        near.extend(places.by_ref().take(wanted));
        base.fetch_all_ahead(&near);
        let matches = near.partition_point(|row| prefix.place(member(*row).nick()).is_eq());
        let is_of_base = |user| !covers(&layers.fresh, user) && !covers(&layers.frozen, user);
        found.extend(near[..matches].iter().map(|row| member(*row)).filter(|member| is_of_base(member.user)));
        if matches < wanted {
            break;
        }
    }
    found
}

/// The records of the overlays that have the prefix, are wanted, and are their members' now.
///
/// All of them are looked at, as they lie in memory; nearly all have another nick, so who has a newer one is asked last.
fn in_overlays<'a>(
    layers: &'a Layers,
    prefix: &Prefix,
    is_wanted: impl Fn(&MemberRef<'a>) -> bool,
) -> Vec<MemberRef<'a>> {
    let (fresh, frozen) = (&layers.fresh, &layers.frozen);
    let is_own = |level: &Overlay, record: &Record| match level.get(record.user) {
        Some(Change::Put(own, _)) => std::ptr::eq(own, record),
        Some(Change::Gone | Change::Status(_)) | None => false,
    };
    let mut matches = Vec::new();
    let mut find_in = |level: &'a Overlay, is_current: &dyn Fn(&Record) -> bool| {
        level.for_each_record(|record| {
            if prefix.place(record.nick.as_str()).is_eq() {
                let member = MemberRef::listed(record, &layers.masked);
                if is_wanted(&member) && is_current(record) {
                    matches.push(member);
                }
            }
        });
    };
    find_in(fresh, &|record| is_own(fresh, record));
    find_in(frozen, &|record| !covers(fresh, record.user) && is_own(frozen, record));
    matches
}

/// Whether what lower levels know of the member is not its record any more.
fn covers(level: &Overlay, user: UserId) -> bool {
    match level.get(user) {
        Some(Change::Put(..) | Change::Gone) => true,
        Some(Change::Status(_)) | None => false,
    }
}

fn compare(one: &MemberRef<'_>, other: &MemberRef<'_>) -> Ordering {
    nick::compare(one.nick(), other.nick()).then(one.user.cmp(&other.user))
}

/// Rows whose memory is asked for at a time: a usual page of results, and less than the caches hold.
const NEAR_ROWS: usize = 128;
