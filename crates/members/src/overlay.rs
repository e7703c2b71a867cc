//! Member changes not yet folded into the base.
//!
//! The owner writes here; workers read it through a view, where an entry wins over the base. There are two, the *fresh*
//! one and, while a fold is under way, the *frozen* one that is being folded.
//!
//! Invariants:
//! - a departed member whom a lower level knows stays as [`Change::Gone`] until the fold that drops it;
//! - [`Change::Status`] stands only over a member of a lower level, never over a departed one;
//! - `records` is the number of entries other than [`Change::Status`].

use std::ops::RangeBounds;
use std::sync::Arc;

use guildhall_proto::{Member, MemberFlags, Millis, Nick, RoleId, Status, UserId};
use smallvec::SmallVec;

use crate::member_ref::Masked;

/// What became of one member.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The record is this one.
    Put(Arc<Record>, Status),
    /// No member any more.
    Gone,
    /// The record is that of the level below; the status changed while a fold had the statuses of the base.
    Status(Status),
}

/// A member's record as it waits for the fold: in one allocation, for a scan looks at each.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) user: UserId,
    pub(crate) nick: Nick,
    pub(crate) joined_at: Millis,
    pub(crate) flags: MemberFlags,
    pub(crate) roles: SmallVec<[RoleId; FEW_ROLES]>,
}

impl Record {
    /// The member's record without the roles that are masked.
    pub(crate) fn new(member: &Member, masked: &Masked) -> Self {
        Self {
            user: member.user,
            nick: member.nick.clone(),
            joined_at: member.joined_at,
            flags: member.flags,
            roles: member.roles.iter().copied().filter(|role| !masked.contains(role)).collect(),
        }
    }
}

impl Change {
    fn is_record(&self) -> bool {
        match self {
            Self::Put(..) | Self::Gone => true,
            Self::Status(_) => false,
        }
    }
}

/// One level of changes, ascending by user. Clone is O(1), the rest O(log n) in the changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    changes: im::OrdMap<UserId, Change>,
    records: usize,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Changed members, those with a change of status alone among them.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Changed members, apart from those with a change of status alone.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn get(&self, user: UserId) -> Option<&Change> {
        // The common case in a quiet guild, and it saves the call.
        if self.changes.is_empty() { None } else { self.changes.get(&user) }
    }

    pub(crate) fn set(&mut self, user: UserId, change: Change) {
        self.records += usize::from(change.is_record());
        if let Some(replaced) = self.changes.insert(user, change) {
            self.records -= usize::from(replaced.is_record());
        }
    }

    pub(crate) fn forget(&mut self, user: UserId) {
        // Looked up first: a removal in vain would copy what views share.
        if self.get(user).is_some()
            && let Some(forgotten) = self.changes.remove(&user)
        {
            self.records -= usize::from(forgotten.is_record());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserId, &Change)> {
        self.changes.iter().map(|(user, change)| (*user, change))
    }

    pub(crate) fn range(&self, users: impl RangeBounds<UserId>) -> impl Iterator<Item = (UserId, &Change)> {
        self.changes.range(users).map(|(user, change)| (*user, change))
    }

    /// Lays `newer` over this level. O(changes in `newer`).
    pub(crate) fn absorb(&mut self, newer: Self) {
        for (user, change) in newer.changes {
            let change = match (change, self.get(user)) {
                (Change::Status(status), Some(Change::Put(member, _))) => Change::Put(Arc::clone(member), status),
                (change @ (Change::Put(..) | Change::Gone | Change::Status(_)), _) => change,
            };
            self.set(user, change);
        }
    }

    /// Bytes held, allocations and the tree estimated. O(n).
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|(_, change)| ENTRY_BYTES + change.bytes()).sum()
    }
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(member, _) => {
                let roles = if member.roles.spilled() { size_of_val(&member.roles[..]) } else { 0 };
                ALLOCATION_BYTES * 2 + size_of::<Record>() + roles + member.nick.as_str().len()
            }
            Self::Gone | Self::Status(_) => 0,
        }
    }
}

/// Roles kept beside the record; more take an allocation of their own.
const FEW_ROLES: usize = 5;
/// An entry in a tree whose nodes are two thirds full, as they are after random insertions.
const ENTRY_BYTES: usize = size_of::<(UserId, Change)>() * 3 / 2 + 8;
/// What a shared allocation takes beside its content: two counts.
const ALLOCATION_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_three_words() {
        assert_eq!(size_of::<(UserId, Change)>(), 24);
    }
}
