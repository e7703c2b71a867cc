//! Member changes not yet folded into the base.
//!
//! The owner writes here; workers read it through a view, where an entry wins over the base. There are two, the *fresh*
//! one and, while a fold is under way, the *frozen* one that is being folded.
//!
//! Who has changed lies in sorted [runs](runs), small entries without an allocation of their own; the records to which
//! they refer lie in [chunks](records) that are written once. So a view costs a reference count, and the first change
//! behind it a copy of the newest run, two kilobytes at most, and of a pointer for each 256 records: two microseconds with
//! few changes, seven with sixty thousand.
//!
//! Invariants:
//! - a departed member whom a lower level knows stays as [`Change::Gone`] until the fold that drops it;
//! - [`Change::Status`] stands only over a member of a lower level, never over a departed one;
//! - an overlay in which nobody has changed holds nothing.

mod records;
mod runs;

use std::sync::Arc;

use guildhall_proto::{Member, MemberFlags, Millis, Nick, RoleId, Status, UserId};
use smallvec::SmallVec;

use crate::member_ref::Masked;
use records::Records;
use runs::{Entry, Runs};

/// What became of one member.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// The record is this one.
    Put(&'a Record, Status),
    /// No member any more.
    Gone,
    /// The record is that of the level below; the status changed while a fold had the statuses of the base.
    Status(Status),
}

/// A member's record as it waits for the fold.
#[derive(Debug, Clone)]
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
        let roles = if masked.is_empty() {
            SmallVec::from_slice(&member.roles)
        } else {
            member.roles.iter().copied().filter(|role| !masked.contains(role)).collect()
        };
        let Member { user, nick, joined_at, flags, .. } = member;
        Self { user: *user, nick: nick.clone(), joined_at: *joined_at, flags: *flags, roles }
    }
}

/// One level of changes, ascending by user. Clone is O(1), the rest O(log n) in the changes; now and then a change merges
/// runs, which comes to O(log n) for each: some tenths of a millisecond at once when there are tens of thousands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay(Option<Arc<Contents>>);

#[derive(Debug, Clone, Default)]
struct Contents {
    runs: Runs,
    records: Records,
    /// Members with an entry.
    changed: usize,
    /// Records put and members gone, those replaced since among them.
    written: usize,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Changed members, those with a change of status alone among them.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |contents| contents.changed)
    }

    /// Records put and members gone since there were none: what takes memory until the fold, so one that was replaced counts
    /// too.
    pub(crate) fn written(&self) -> usize {
        self.0.as_ref().map_or(0, |contents| contents.written)
    }

    pub(crate) fn get(&self, user: UserId) -> Option<Change<'_>> {
        // Nothing is the common case in a quiet guild.
        let contents = self.0.as_ref()?;
        contents.runs.get(user).and_then(|entry| contents.change(entry))
    }

    /// Begins to fetch what [`get`](Self::get) reads first.
    pub(crate) fn approach(&self, user: UserId) {
        if let Some(contents) = &self.0 {
            contents.runs.approach(user);
        }
    }

    pub(crate) fn put(&mut self, record: Record, status: Status) {
        let contents = self.contents();
        let user = record.user;
        let number = contents.records.push(record);
        contents.written += 1;
        contents.set(user, Entry::Put(number, status));
    }

    /// The same for a user of whom nothing is here: not looked for again.
    pub(crate) fn put_new(&mut self, record: Record, status: Status) {
        let contents = self.contents();
        let user = record.user;
        let number = contents.records.push(record);
        contents.written += 1;
        contents.changed += 1;
        contents.runs.set_new(user, Entry::Put(number, status));
    }

    /// Makes looks into what will not be changed any more as cheap as they can be. O(changes).
    pub(crate) fn freeze(&mut self) {
        if let Some(contents) = self.0.as_mut() {
            Arc::make_mut(contents).runs.freeze();
        }
    }

    /// The user is no member any more.
    pub(crate) fn bury(&mut self, user: UserId) {
        let contents = self.contents();
        contents.written += 1;
        contents.set(user, Entry::Gone);
    }

    /// Changes the status, and the record only if it was put here.
    pub(crate) fn set_status(&mut self, user: UserId, status: Status) {
        let contents = self.contents();
        let entry = match contents.runs.get(user) {
            Some(Entry::Put(number, _)) => Entry::Put(number, status),
            Some(Entry::Gone | Entry::Status(_) | Entry::Nothing) | None => Entry::Status(status),
        };
        contents.set(user, entry);
    }

    pub(crate) fn forget(&mut self, user: UserId) {
        // Looked up first: a removal in vain would copy what views share.
        if self.get(user).is_none() {
            return;
        }
        let contents = self.contents();
        contents.runs.remove(user);
        contents.changed -= 1;
        if contents.changed == 0 {
            self.0 = None;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserId, Change<'_>)> {
        self.range(None, None)
    }

    /// Changes from `from` on and before `until`, ascending by user.
    pub(crate) fn range(
        &self,
        from: Option<UserId>,
        until: Option<UserId>,
    ) -> impl Iterator<Item = (UserId, Change<'_>)> {
        self.0.iter().flat_map(move |contents| {
            let changes = contents.runs.range(from, until);
            changes.filter_map(|(user, entry)| Some((user, contents.change(entry)?)))
        })
    }

    /// Every record that was put, in the order of its putting: also those that were replaced since, or whose user is gone.
    pub(crate) fn for_each_record<'a>(&'a self, f: impl FnMut(&'a Record)) {
        if let Some(contents) = &self.0 {
            contents.records.for_each(f);
        }
    }

    /// Lays `newer` over this level. O(changes in `newer`).
    pub(crate) fn absorb(&mut self, newer: &Self) {
        for (user, change) in newer.iter() {
            match change {
                Change::Put(record, status) => self.put(record.clone(), status),
                Change::Gone => self.bury(user),
                Change::Status(status) => self.set_status(user, status),
            }
        }
    }

    /// Bytes held. O(n).
    pub(crate) fn bytes(&self) -> usize {
        let contents = self.0.as_ref();
        contents.map_or(0, |contents| size_of::<Contents>() + contents.runs.bytes() + contents.records.bytes())
    }

    fn contents(&mut self) -> &mut Contents {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl Contents {
    fn set(&mut self, user: UserId, entry: Entry) {
        if self.runs.set(user, entry).is_none() {
            self.changed += 1;
        }
    }

    fn change(&self, entry: Entry) -> Option<Change<'_>> {
        match entry {
            Entry::Put(number, status) => Some(Change::Put(self.records.record(number), status)),
            Entry::Gone => Some(Change::Gone),
            Entry::Status(status) => Some(Change::Status(status)),
            Entry::Nothing => None,
        }
    }
}

/// Roles kept beside the record; more take an allocation of their own.
const FEW_ROLES: usize = 5;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Put(u64),
        Bury(u64),
        Status(u64),
        Forget(u64),
        Freeze,
        FreezeForGood,
    }

    /// Changes as they are [told], by number.
    type Model = BTreeMap<u64, (Option<u64>, u8)>;

    fn user(number: u64) -> UserId {
        UserId::new(number + 1).unwrap()
    }

    fn record(number: u64, joined_at: u64) -> Record {
        Record {
            user: user(number),
            nick: Nick::parse("ada").unwrap(),
            joined_at: Millis(joined_at),
            flags: MemberFlags::NONE,
            roles: SmallVec::new(),
        }
    }

    /// A change as a number, so that two can be compared: when the record was put, and a status.
    fn told(change: Change<'_>) -> (Option<u64>, u8) {
        match change {
            Change::Put(record, status) => (Some(record.joined_at.0), status as u8),
            Change::Gone => (None, u8::MAX),
            Change::Status(status) => (None, status as u8),
        }
    }

    fn all(overlay: &Overlay) -> Vec<(u64, (Option<u64>, u8))> {
        overlay.iter().map(|(user, change)| (user.get() - 1, told(change))).collect()
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let number = 0..400_u64;
        let step = prop_oneof![
            12 => number.clone().prop_map(Step::Put),
            3 => number.clone().prop_map(Step::Bury),
            3 => number.clone().prop_map(Step::Status),
            4 => number.prop_map(Step::Forget),
            1 => Just(Step::Freeze),
            1 => Just(Step::FreezeForGood),
        ];
        prop::collection::vec(step, 0..3_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn an_overlay_is_an_ordered_map_and_what_was_frozen_never_changes(steps in steps()) {
            let (mut overlay, mut model) = (Overlay::default(), Model::new());
            let mut frozen: Vec<(Overlay, Model)> = Vec::new();
            for (time, step) in (0..).zip(steps) {
                match step {
                    Step::Put(number) => {
                        let before = model.insert(number, (Some(time), Status::Idle as u8));
                        match before {
                            Some(_) => overlay.put(record(number, time), Status::Idle),
                            None => overlay.put_new(record(number, time), Status::Idle),
                        }
                    }
                    Step::Bury(number) => {
                        overlay.bury(user(number));
                        model.insert(number, (None, u8::MAX));
                    }
                    Step::Status(number) => {
                        overlay.set_status(user(number), Status::Online);
                        let put = model.get(&number).and_then(|(put, _)| *put);
                        model.insert(number, (put, Status::Online as u8));
                    }
                    Step::Forget(number) => {
                        overlay.forget(user(number));
                        model.remove(&number);
                    }
                    Step::Freeze => frozen.push((overlay.clone(), model.clone())),
                    Step::FreezeForGood => overlay.freeze(),
                }
                prop_assert_eq!((overlay.len(), overlay.is_empty()), (model.len(), model.is_empty()));
            }
            frozen.push((overlay, model));
            for (overlay, model) in frozen {
                prop_assert_eq!(all(&overlay), model.clone().into_iter().collect::<Vec<_>>());
                for number in 0..400 {
                    prop_assert_eq!(overlay.get(user(number)).map(told), model.get(&number).copied());
                }
                let part = overlay.range(Some(user(100)), Some(user(300))).map(|(user, _)| user.get() - 1);
                prop_assert_eq!(part.collect::<Vec<_>>(), model.range(100..300).map(|(user, _)| *user).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_newer_overlay_wins_where_it_is_laid_over_another() {
        let (mut older, mut newer) = (Overlay::default(), Overlay::default());
        (0..300).for_each(|number| older.put(record(number, 1), Status::Idle));
        newer.put(record(1, 2), Status::Online);
        newer.bury(user(2));
        newer.set_status(user(3), Status::Online);
        newer.set_status(user(1_000), Status::Online);
        older.absorb(&newer);
        let told = |number| older.get(user(number)).map(told);
        assert_eq!(told(0), Some((Some(1), Status::Idle as u8)));
        assert_eq!(told(1), Some((Some(2), Status::Online as u8)));
        assert_eq!(told(2), Some((None, u8::MAX)));
        assert_eq!(told(3), Some((Some(1), Status::Online as u8)));
        assert_eq!(told(1_000), Some((None, Status::Online as u8)));
        assert_eq!(older.len(), 301);
    }

    #[test]
    fn a_member_changed_again_and_again_counts_each_time_and_nobody_left_is_nothing_held() {
        let mut overlay = Overlay::default();
        (0..1_000).for_each(|time| overlay.put(record(1, time), Status::Idle));
        assert_eq!((overlay.len(), overlay.written()), (1, 1_000));
        overlay.forget(user(1));
        assert_eq!((overlay.len(), overlay.written(), overlay.bytes()), (0, 0, 0));
    }
}
