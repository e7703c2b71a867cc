//! The three levels a member is looked for in, and how they are read as one.
//!
//! The fresh overlay wins over the frozen one, that over the base. Owner and views read through here alike: a view is a
//! clone.

use std::cmp::Ordering;
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use guildhall_proto::{Status, UserId};

use crate::base::Base;
use crate::member_ref::{Masked, MemberRef};
use crate::overlay::{Change, Overlay, Record};
use crate::presence::Presence;

/// Everything there is to read. Clone is O(1).
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) base: Base,
    pub(crate) presence: Presence,
    /// Changes that a fold under way is putting into the next base.
    pub(crate) frozen: Option<Arc<Overlay>>,
    pub(crate) fresh: Overlay,
    pub(crate) masked: Masked,
    pub(crate) len: usize,
    pub(crate) online: usize,
}

/// Where a member lies, and its status as far as a level above the base tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Overlay(&'a Record, Status),
    Base { page_idx: usize, row: usize, status: Option<Status> },
}

impl Layers {
    pub(crate) fn find(&self, user: UserId) -> Option<Place<'_>> {
        let mut status = None;
        for level in iter::once(&self.fresh).chain(self.frozen.as_deref()) {
            match level.get(user) {
                Some(Change::Put(member, own)) => return Some(Place::Overlay(member, status.unwrap_or(*own))),
                Some(Change::Gone) => return None,
                Some(Change::Status(newer)) => status = status.or(Some(*newer)),
                None => {}
            }
        }
        let (page_idx, row) = self.base.find(user)?;
        Some(Place::Base { page_idx, row, status })
    }

    /// Whether a level below the fresh overlay has the member.
    pub(crate) fn is_below(&self, user: UserId) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::TombstoneForgotten.is_on() {
            return false;
        }
        match self.frozen(user) {
            Some(Change::Put(..) | Change::Status(_)) => true,
            Some(Change::Gone) => false,
            None => self.base.find(user).is_some(),
        }
    }

    /// The change of a user that a fold under way takes up.
    pub(crate) fn frozen(&self, user: UserId) -> Option<&Change> {
        self.frozen.as_ref()?.get(user)
    }

    pub(crate) fn member_at<'a>(&'a self, place: Place<'a>) -> MemberRef<'a> {
        match place {
            Place::Overlay(member, _) => MemberRef::listed(member, &self.masked),
            Place::Base { page_idx, row, .. } => {
                MemberRef::in_page(&self.base.pages()[page_idx], row, self.base.sets(), &self.masked)
            }
        }
    }

    pub(crate) fn status_at(&self, place: Place<'_>) -> Status {
        match place {
            Place::Overlay(_, status) => status,
            Place::Base { page_idx, row, status } => status.unwrap_or_else(|| self.presence.status(page_idx, row)),
        }
    }

    pub(crate) fn member(&self, user: UserId) -> Option<MemberRef<'_>> {
        Some(self.member_at(self.find(user)?))
    }

    pub(crate) fn status(&self, user: UserId) -> Option<Status> {
        Some(self.status_at(self.find(user)?))
    }

    /// Users with an entry in an overlay and the newest one, ascending, from `from` on and before `until`.
    pub(crate) fn changed(
        &self,
        from: Option<UserId>,
        until: Option<UserId>,
    ) -> impl Iterator<Item = (UserId, &Change)> {
        let range = (from.map_or(Bound::Unbounded, Bound::Included), until.map_or(Bound::Unbounded, Bound::Excluded));
        let mut fresh = self.fresh.range(range).peekable();
        let mut frozen = self.frozen.iter().flat_map(move |frozen| frozen.range(range)).peekable();
        iter::from_fn(move || {
            if let (Some((newer, _)), Some((older, _))) = (fresh.peek(), frozen.peek()) {
                match newer.cmp(older) {
                    Ordering::Less => return fresh.next(),
                    Ordering::Equal => frozen.next(),
                    Ordering::Greater => return frozen.next(),
                };
            }
            fresh.next().or_else(|| frozen.next())
        })
    }

    /// The member whose newest overlay entry this is. O(1) for a record of its own.
    pub(crate) fn resolve<'a>(&'a self, user: UserId, change: &'a Change) -> Option<Place<'a>> {
        match change {
            Change::Put(record, status) => Some(Place::Overlay(record, *status)),
            Change::Gone => None,
            Change::Status(_) => self.find(user),
        }
    }

    /// All members, ascending by user, from `from` on and before `until`.
    pub(crate) fn walk(&self, from: Option<UserId>, until: Option<UserId>) -> impl Iterator<Item = Place<'_>> {
        let mut changed = self.changed(from, until).peekable();
        let in_range = move |user: UserId| until.is_none_or(|until| user < until);
        let mut rows = self.base.rows_from(from).take_while(move |(.., user)| in_range(*user)).peekable();
        iter::from_fn(move || {
            loop {
                let change = changed.peek().copied();
                let row = rows.next_if(|(.., user)| change.is_none_or(|(changed, _)| *user <= changed));
                match (row, change) {
                    (Some((page_idx, row, user)), change) if change.is_none_or(|(changed, _)| changed != user) => {
                        return Some(Place::Base { page_idx, row, status: None });
                    }
                    (_, Some((user, change))) => {
                        changed.next();
                        if let Some(place) = self.resolve(user, change) {
                            return Some(place);
                        }
                    }
                    (_, None) => return None,
                }
            }
        })
    }
}
