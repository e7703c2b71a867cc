//! One channel's overwrites: sorted, shared, compared cheaply.
//!
//! Invariants: ascending by target, one per target, at most
//! [`OVERWRITES_MAX`](guildhall_proto::limits::OVERWRITES_MAX) (kept by the guild, asserted here).

use std::sync::Arc;

use guildhall_proto::limits::OVERWRITES_MAX;
use guildhall_proto::{Overwrite, OverwriteTarget, RoleId, UserId};

/// The overwrites of one channel, ascending by target. A clone is O(1); equal lists of several channels compare equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwrites(Arc<[Overwrite]>);

impl Overwrites {
    /// Takes `overwrites` in any order, one a target.
    pub fn new(mut overwrites: Vec<Overwrite>) -> Self {
        overwrites.sort_unstable_by_key(|overwrite| overwrite.target);
        debug_assert!(overwrites.windows(2).all(|pair| pair[0].target < pair[1].target), "one overwrite a target");
        debug_assert!(overwrites.len() <= OVERWRITES_MAX);
        // Most channels have none: those share one empty list.
        Self(if overwrites.is_empty() { Arc::default() } else { overwrites.into() })
    }

    /// The overwrite for `target`, if there is one. O(log n).
    pub fn find(&self, target: OverwriteTarget) -> Option<&Overwrite> {
        let at = self.0.binary_search_by_key(&target, |overwrite| overwrite.target).ok()?;
        Some(&self.0[at])
    }

    /// All, ascending by target: roles first, then users.
    pub fn as_slice(&self) -> &[Overwrite] {
        &self.0
    }

    /// The users that have an overwrite of their own here, ascending.
    pub fn users(&self) -> impl Iterator<Item = UserId> + '_ {
        self.0.iter().filter_map(|overwrite| match overwrite.target {
            OverwriteTarget::User(user) => Some(user),
            OverwriteTarget::Role(_) => None,
        })
    }

    /// The same list with `target`'s overwrite replaced, added, or (with `None`) taken away. O(n).
    pub(crate) fn with(&self, target: OverwriteTarget, overwrite: Option<Overwrite>) -> Self {
        let kept = self.0.iter().filter(|kept| kept.target != target).copied();
        Self::new(kept.chain(overwrite).collect())
    }

    /// The same list without `role`'s overwrite; `None` if it has none.
    pub(crate) fn without_role(&self, role: RoleId) -> Option<Self> {
        let target = OverwriteTarget::Role(role);
        self.find(target).map(|_| self.with(target, None))
    }
}
