//! The owner's side: every change of a member goes through here.
//!
//! Invariants:
//! - the base's presence and pages are changed by nobody else; `layers.frozen` is empty unless a fold is under way;
//! - while one is, statuses of the base are left alone: the next base brings its own, made from them as they were when
//!   it began;
//! - `layers.len`, `layers.online` and `sums` are those of the members as read through all levels;
//! - every [`Change::Status`] of the fresh overlay is in `unsettled`;
//! - a role in `masked` is in no record put since it was deleted.

use guildhall_permissions::Rights;
use guildhall_proto::limits::MEMBER_ROLES_MAX;
use guildhall_proto::{Member, Millis, Position, Reason, RoleId, Status, UserId};

use crate::ahead::Ahead;
use crate::bans::Bans;
use crate::base::Base;
use crate::config::{MASKED_ROLES_FOLD_AT, MembersConfig};
use crate::digest::{Digest, Sums};
use crate::fold::{FoldJob, FoldNumber, Folded, Superseded};
use crate::layers::{Layers, Place};
use crate::member_ref::MemberRef;
use crate::memory::Memory;
use crate::overlay::{Change, Overlay, Record};
use crate::presence::Presence;
use crate::role_sets::Interner;
use crate::view::View;

/// A guild's members, as their owner holds them.
#[derive(Debug)]
pub struct Members {
    config: MembersConfig,
    layers: Layers,
    sums: Sums,
    bans: Bans,
    /// Away with the fold under way; lost with one that was abandoned or in a tidied guild, until the next builds it anew.
    interner: Option<Box<Interner>>,
    folding: Option<FoldNumber>,
    folds: FoldNumber,
    /// Members whose status waits in the overlay because a fold had the statuses of the base.
    unsettled: Vec<UserId>,
    ahead: Ahead,
}

/// What [`Members::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The user was no member and is one now, offline.
    New,
    /// The record has replaced the member's earlier one; the status stays.
    Replaced,
}

impl Members {
    /// A guild without members.
    ///
    /// # Panics
    /// If a number of `config` is out of its documented bounds.
    pub fn new(config: MembersConfig) -> Self {
        Self {
            config: config.checked(),
            layers: Layers::default(),
            sums: Sums::default(),
            bans: Bans::default(),
            interner: Some(Box::default()),
            folding: None,
            folds: FoldNumber::default(),
            unsettled: Vec::new(),
            ahead: Ahead::default(),
        }
    }

    /// A guild with the members of a checkpoint, all offline. O(pages) if the base was put together from parts, which bring
    /// along what the digest is made of; else O(members), some 50 ms per million.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn restore(config: MembersConfig, mut base: Base) -> Self {
        let sums = base.take_sums();
        let presence = Presence::offline(base.pages().iter().map(|page| page.len()));
        let layers = Layers { len: base.len(), presence, base, ..Layers::default() };
        Self { layers, sums, interner: None, ..Self::new(config) }
    }

    /// All members, in whose place there are none.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.config))
    }

    /// How many members there are. O(1).
    pub fn len(&self) -> usize {
        self.layers.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.layers.len == 0
    }

    /// How many members are online: have any status but offline. O(1).
    pub fn online(&self) -> usize {
        self.layers.online
    }

    /// Whether `user` is a member.
    pub fn contains(&self, user: UserId) -> bool {
        self.find(user).is_some()
    }

    /// The member's record, deleted roles left out.
    pub fn member(&self, user: UserId) -> Option<Member> {
        self.with_member(user, |member| member.to_member())
    }

    /// Reads the member's record in place; `None` if `user` is no member.
    pub fn with_member<R>(&self, user: UserId, f: impl FnOnce(MemberRef<'_>) -> R) -> Option<R> {
        Some(f(self.layers.member_at(self.find(user)?)))
    }

    /// The member's status; `None` if `user` is no member.
    pub fn status(&self, user: UserId) -> Option<Status> {
        Some(self.layers.status_at(self.find(user)?))
    }

    /// Says that these users will be asked for, or changed, soon. Of some dozens of them, the memory that each needs is on
    /// its way while the others are still looked for: in a large guild most of what a change costs is waiting for that.
    pub fn look_ahead(&mut self, users: impl Iterator<Item = UserId>) {
        self.ahead.look(&self.layers, users);
    }

    /// Makes `member` the record of its user. O(log n) in changes since the last fold.
    ///
    /// Roles must ascend without duplicates; masked ones are left out.
    ///
    /// # Panics
    /// If there are more than 250 roles.
    pub fn put(&mut self, member: &Member) -> Put {
        assert!(member.roles.len() <= MEMBER_ROLES_MAX, "the guild refuses a member's 251st role");
        debug_assert!(member.roles.is_sorted_by(|one, next| one < next), "roles ascend");
        self.settle();
        let user = member.user;
        let member = Record::new(member, &self.layers.masked);
        let before = self.ahead.find(&self.layers, user);
        let status = before.map_or(Status::Offline, |place| self.layers.status_at(place));
        let after = MemberRef::listed(&member, &self.layers.masked);
        self.sums.change(before.map(|place| self.layers.member_at(place)).as_ref(), Some(&after));
        let put = if before.is_some() { Put::Replaced } else { Put::New };
        if self.ahead.note_change(user) {
            self.layers.fresh.put_new(member, status);
        } else {
            self.layers.fresh.put(member, status);
        }
        match put {
            Put::New => self.layers.len += 1,
            Put::Replaced => {}
        }
        put
    }

    /// Ends a membership, which also makes the user offline. Returns since when it was, if there was one. O(log n) in changes since
    /// the last fold.
    pub fn remove(&mut self, user: UserId) -> Option<Millis> {
        self.settle();
        let place = self.ahead.find(&self.layers, user)?;
        let member = self.layers.member_at(place);
        let joined_at = member.joined_at;
        self.sums.change(Some(&member), None);
        self.layers.online -= usize::from(self.layers.status_at(place).is_online());
        self.layers.len -= 1;
        if self.layers.is_below(user) {
            self.layers.fresh.bury(user);
            self.ahead.note_change(user);
        } else {
            self.layers.fresh.forget(user);
        }
        Some(joined_at)
    }

    /// Sets a member's status and returns the one before; `None` if `user` is no member. Copies at most a page's
    /// statuses, 512 bytes.
    pub fn set_status(&mut self, user: UserId, status: Status) -> Option<Status> {
        self.settle();
        let place = self.find(user)?;
        let before = self.layers.status_at(place);
        if before == status {
            return Some(before);
        }
        let in_fresh = match self.layers.fresh.get(user) {
            Some(Change::Put(..)) => true,
            Some(Change::Gone | Change::Status(_)) | None => false,
        };
        let in_base = match place {
            Place::Base { page_idx, row, .. } if self.folding.is_none() => Some((page_idx, row)),
            Place::Base { .. } | Place::Overlay(..) => None,
        };
        self.layers.online -= usize::from(before.is_online());
        self.layers.online += usize::from(status.is_online());
        match (in_fresh, in_base) {
            (true, _) => self.layers.fresh.set_status(user, status),
            (false, Some((page_idx, row))) => {
                self.layers.presence.set(page_idx, row, status);
                // An older status may still wait in the overlay, where it would win over this one.
                self.layers.fresh.forget(user);
            }
            (false, None) => self.postpone(user, status),
        }
        Some(before)
    }

    /// Keeps a user out, or gives the ban that is there another reason. O(log n) in bans.
    ///
    /// The user must be no member: who is, is [removed](Self::remove) before.
    pub fn ban(&mut self, user: UserId, reason: Option<Reason>) {
        debug_assert!(!self.contains(user), "a member is removed before it is banned");
        self.bans.put(user, reason);
    }

    /// Lifts a ban, if there is one. O(log n) in bans.
    pub fn unban(&mut self, user: UserId) {
        self.bans.lift(user);
    }

    /// Who is kept out.
    pub fn bans(&self) -> &Bans {
        &self.bans
    }

    /// Takes a role from everybody. O(log n): the role is masked at once, and cleaned out by a later fold.
    ///
    /// Until then [`is_masked`](Self::is_masked) holds and the id must not come back to life.
    pub fn delete_role(&mut self, role: RoleId) {
        self.sums.drop_role(role);
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::RoleUnmasked.is_on() {
            return;
        }
        self.layers.masked.insert(role);
    }

    /// Whether the role was deleted and may still be in a role set of the base.
    pub fn is_masked(&self, role: RoleId) -> bool {
        self.layers.masked.contains(&role)
    }

    /// The digest of all members as they are. O(roles).
    pub fn digest(&self) -> Digest {
        self.sums.digest()
    }

    /// The members as they are now, to be read by anyone. O(1).
    ///
    /// `rights` are those in force at `position`.
    pub fn view(&mut self, position: Position, rights: &Rights) -> View {
        View::new(position, rights.clone(), self.layers.clone(), self.bans.clone())
    }

    /// The roles that `user` holds, ascending, without everyone and without deleted ones; `None` if not a member.
    pub fn roles(&self, user: UserId) -> Option<Vec<RoleId>> {
        self.with_member(user, |member| member.roles().collect())
    }

    /// Whether a fold should begin: enough members changed, or enough roles are masked.
    pub fn fold_due(&self) -> bool {
        let changed = self.layers.fresh.written();
        let few = INLINE_FOLD_SLACK + self.layers.base.len() / INLINE_FOLD_SHARE;
        self.folding.is_none()
            && (changed >= self.config.fold_at
                || self.layers.masked.len() >= MASKED_ROLES_FOLD_AT
                || changed >= few && self.folds_inline())
    }

    /// Whether a fold should begin while records are replayed: nobody reads then, so only memory and the time of one fold bound what may
    /// wait for it. Sixty-four times what is due otherwise.
    pub fn fold_due_in_recovery(&self) -> bool {
        self.folding.is_none()
            && (self.layers.fresh.written() >= RECOVERY_FOLDS * self.config.fold_at
                || self.layers.masked.len() >= RECOVERY_FOLDS * MASKED_ROLES_FOLD_AT)
    }

    /// Whether the guild is so small that the owner runs a fold itself, in its turn.
    pub fn folds_inline(&self) -> bool {
        self.layers.len.max(self.layers.base.len()) <= self.config.inline_fold_members
    }

    /// Whether changes come faster than the fold under way is done: four times as many as make one due wait for the
    /// next one, and at least one for sixteen members. Whoever changes members then waits for the fold, so that the
    /// overlay stays bounded.
    pub fn is_congested(&self) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::OverlayUnbounded.is_on() {
            return false;
        }
        let bound = (CONGESTED_FOLDS * self.config.fold_at).max(self.layers.base.len() / CONGESTED_SHARE);
        self.folding.is_some() && self.layers.fresh.written() >= bound
    }

    /// How many changes of members were made that no fold has begun with, apart from those of a status alone. O(1).
    pub fn unfolded(&self) -> usize {
        self.layers.fresh.written()
    }

    /// The members as of the last fold. Those of now if there is nothing to fold: if [`begin_fold`](Self::begin_fold)
    /// returns `None` and no fold is under way. O(1).
    pub fn base(&self) -> Base {
        self.layers.base.clone()
    }

    /// Begins a fold of all changes so far; later ones are kept apart. `None` if one is under way or there is nothing
    /// to fold. O(1), but for O(changes) where that merges runs of them, as a [`put`](Self::put) may: of those that wait in a guild
    /// of a million members at most 34,815, some tenths of a millisecond.
    ///
    /// The job ends in [`install`](Self::install), or in [`abandon_fold`](Self::abandon_fold) if it died.
    pub fn begin_fold(&mut self) -> Option<FoldJob> {
        if self.folding.is_some() || self.layers.fresh.is_empty() && self.layers.masked.is_empty() {
            return None;
        }
        self.folds.0 += 1;
        self.folding = Some(self.folds);
        self.layers.fresh.freeze();
        self.layers.frozen = std::mem::take(&mut self.layers.fresh);
        self.ahead.clear();
        self.unsettled.clear();
        Some(FoldJob {
            number: self.folds,
            page_members: self.config.page_members,
            base: self.layers.base.clone(),
            presence: self.layers.presence.clone(),
            changes: self.layers.frozen.clone(),
            masked: self.layers.masked.clone(),
            interner: self.interner.take(),
        })
    }

    /// Takes over the base that a fold has made. O(1), but for O(roles) if some were cleaned out.
    ///
    /// The outcome of a fold that was abandoned in the meantime is not taken over; it is returned to be dropped.
    pub fn install(&mut self, folded: Folded) -> Superseded {
        if self.folding != Some(folded.number) {
            return Superseded { _unwanted: Some(Box::new(folded)), ..Superseded::default() };
        }
        self.folding = None;
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::FoldOverNewer.is_on() {
            self.layers.fresh = Overlay::default();
        }
        self.ahead.clear();
        self.interner = Some(folded.interner);
        for role in &folded.cleaned {
            self.layers.masked.remove(role);
        }
        Superseded {
            _base: std::mem::replace(&mut self.layers.base, folded.base),
            _presence: std::mem::replace(&mut self.layers.presence, folded.presence),
            _changes: std::mem::take(&mut self.layers.frozen),
            _unwanted: None,
        }
    }

    /// Gives up the fold under way, if there is one: its changes join those made since, for the next fold. O(those made
    /// since).
    pub fn abandon_fold(&mut self) {
        if self.folding.take().is_none() {
            return;
        }
        self.ahead.clear();
        let newer = std::mem::replace(&mut self.layers.fresh, std::mem::take(&mut self.layers.frozen));
        self.layers.fresh.absorb(&newer);
        self.unsettled = statuses_alone(&self.layers.fresh);
    }

    /// Frees what a small guild's next fold makes anew in no time.
    pub fn tidy(&mut self) {
        if self.folds_inline() && self.folding.is_none() {
            self.interner = None;
        }
        self.ahead = Ahead::default();
        self.unsettled.shrink_to_fit();
    }

    /// What the members take in memory. O(pages + role sets + changes).
    pub fn memory(&self) -> Memory {
        let interner = self.interner.as_ref().map_or(0, |interner| interner.bytes());
        Memory { role_lookup: interner + self.sums.bytes(), ..Memory::of(&self.layers, &self.bans) }
    }

    /// Distinct role sets of the base, equal ones that a role's cleaning made counted apart; `None` while a fold has
    /// the table.
    pub fn role_sets(&self) -> Option<usize> {
        Some(self.interner.as_ref()?.live())
    }

    fn find(&self, user: UserId) -> Option<Place<'_>> {
        self.ahead.find(&self.layers, user)
    }

    fn postpone(&mut self, user: UserId, status: Status) {
        if self.layers.fresh.get(user).is_none() {
            self.unsettled.push(user);
        }
        self.layers.fresh.set_status(user, status);
        self.ahead.note_change(user);
    }

    /// Moves some statuses that waited for a fold to end to where they belong: two, so that they are fewer after every
    /// change.
    fn settle(&mut self) {
        if self.folding.is_some() {
            return;
        }
        for _ in 0..SETTLED_PER_CHANGE {
            let Some(user) = self.unsettled.pop() else {
                return;
            };
            if let Some(Change::Status(status)) = self.layers.fresh.get(user) {
                let (page_idx, row) = self.layers.base.find(user).expect("a status stands over a member of the base");
                self.layers.presence.set(page_idx, row, status);
                self.layers.fresh.forget(user);
            }
        }
    }
}

fn statuses_alone(changes: &Overlay) -> Vec<UserId> {
    let alone = changes.iter().filter(|(_, change)| match change {
        Change::Status(_) => true,
        Change::Put(..) | Change::Gone => false,
    });
    alone.map(|(user, _)| user).collect()
}

/// A small guild folds at this many changes and a quarter of its base: the fold's cost per change stays that of
/// rewriting four members.
const INLINE_FOLD_SLACK: usize = 8;
const INLINE_FOLD_SHARE: usize = 4;
/// Postponed statuses that each change settles.
const SETTLED_PER_CHANGE: usize = 2;
/// Folds' worth of changes that may wait while records are replayed: 131,072 members by default, some 20 MB. At a million members a fold
/// takes as long as thousands of records.
const RECOVERY_FOLDS: usize = 64;
/// Folds' worth of changes that may wait while one fold is under way.
const CONGESTED_FOLDS: usize = 4;
/// The fold of scattered changes rewrites all pages however few they are, so the busier a large guild is, the more of them
/// it must take at once: with one for sixteen members it keeps up with a million changes a second, in 8 bytes a member.
const CONGESTED_SHARE: usize = 16;

#[cfg(test)]
mod tests;
