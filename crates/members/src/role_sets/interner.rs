//! The writing side of the role sets: finds the number of a set, counts who has it, gives dead numbers out again.
//!
//! A fold takes the interner along and brings it back with the next base; if the fold dies, the next one builds it anew
//! out of the base. So ids are reused safely: a count reaches zero only when no row of the new base has the set any
//! more, and whoever reads an older base reads it with the older version of the table.
//!
//! Invariants (between folds):
//! - `counts[set]` is the number of rows of the base that have the set; a set with none is empty and in `free`;
//! - `lookup` holds live sets alone, at most one for each distinct content; not all of them, where they are many;
//! - `edits` is empty; `sets` is the version in the base.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use guildhall_proto::RoleId;
use guildhall_proto::limits::MEMBER_ROLES_MAX;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use super::{RoleSets, SetId, Table, chunk_of};
use crate::base::Base;
use crate::config::CHUNK_SETS;
use crate::member_ref::Masked;

#[derive(Debug, Default)]
pub(crate) struct Interner {
    contents: Contents,
    counts: Vec<u32>,
    /// Dead sets, the lowest first, so that the end of the table dies out and can be cut off.
    free: BinaryHeap<Reverse<u32>>,
    lookup: HashTable<u32>,
    /// Where each role is in the dictionary.
    indexes: BTreeMap<RoleId, u16>,
    dictionary: Vec<RoleId>,
    free_indexes: Vec<u16>,
}

/// The last finished version, and what the fold under way made of it.
#[derive(Debug, Default)]
struct Contents {
    sets: RoleSets,
    edits: BTreeMap<u32, Box<[u16]>>,
}

impl Contents {
    fn get(&self, set: u32) -> &[u16] {
        match self.edits.get(&set) {
            Some(content) => content,
            None => self.sets.indexes(SetId(set)),
        }
    }
}

impl Interner {
    /// The interner of a base that came without one. O(members).
    pub(crate) fn of(base: &Base) -> Self {
        let sets = base.sets().clone();
        let mut interner = Self { dictionary: sets.dictionary().to_vec(), ..Self::default() };
        interner.counts.resize(sets.len(), 0);
        for set in base.pages().iter().flat_map(|page| page.sets()) {
            interner.counts[set.0 as usize] += 1;
        }
        interner.contents.sets = sets.clone();
        for (set, content) in (0_u32..).zip(sets.iter()) {
            if interner.counts[set as usize] == 0 {
                interner.free.push(Reverse(set));
                continue;
            }
            for index in content {
                interner.indexes.insert(sets.dictionary()[usize::from(*index)], *index);
            }
            interner.list(set, content);
        }
        let used: BTreeSet<u16> = interner.indexes.values().copied().collect();
        interner.free_indexes =
            (0..index_of(interner.dictionary.len())).filter(|index| !used.contains(index)).collect();
        interner
    }

    /// The set of these roles (ascending), one member more having it. Masked ones are left out.
    pub(crate) fn acquire(&mut self, roles: &[RoleId], masked: &Masked) -> SetId {
        let mut content = [0; MEMBER_ROLES_MAX];
        let mut held = 0;
        for role in roles.iter().filter(|role| !masked.contains(*role)) {
            content[held] = self.index(*role);
            held += 1;
        }
        let content = &content[..held];
        let hash = hash(content);
        let set = match self.lookup.find(hash, |set| self.contents.get(*set) == content) {
            Some(set) => *set,
            None => {
                let set = self.vacancy();
                self.contents.edits.insert(set, content.into());
                self.list(set, content);
                set
            }
        };
        self.counts[set as usize] += 1;
        SetId(set)
    }

    /// The content of a set: places in the dictionary.
    pub(crate) fn places(&self, set: SetId) -> &[u16] {
        self.contents.get(set.0)
    }

    /// Whether the set is of these roles (ascending), none of them masked.
    pub(crate) fn is_of(&self, set: SetId, roles: &[RoleId]) -> bool {
        let content = self.contents.get(set.0);
        content.len() == roles.len()
            && content.iter().zip(roles).all(|(index, role)| self.dictionary[usize::from(*index)] == *role)
    }

    /// One member fewer has the set.
    pub(crate) fn release(&mut self, set: SetId) {
        let count = &mut self.counts[set.0 as usize];
        *count -= 1;
        if *count == 0 {
            self.unlist(set.0);
            self.contents.edits.insert(set.0, Box::default());
            self.free.push(Reverse(set.0));
        }
    }

    /// Takes roles out of every set, and returns their places in the dictionary. Touches the table alone: members keep the numbers they
    /// have. O(sets).
    pub(crate) fn clean(&mut self, masked: &Masked) -> Vec<u16> {
        let freed: Vec<u16> = masked.iter().filter_map(|role| self.indexes.remove(role)).collect();
        if freed.is_empty() {
            return freed;
        }
        let mut is_masked = vec![false; self.dictionary.len()];
        for index in &freed {
            is_masked[usize::from(*index)] = true;
        }
        let before = self.contents.sets.clone();
        for (set, content) in (0_u32..).zip(before.iter()) {
            if content.iter().any(|index| is_masked[usize::from(*index)]) {
                self.unlist(set);
                let cleaned: Box<[u16]> =
                    content.iter().copied().filter(|index| !is_masked[usize::from(*index)]).collect();
                self.contents.edits.insert(set, cleaned.clone());
                self.list(set, &cleaned);
            }
        }
        self.free_indexes.extend_from_slice(&freed);
        freed
    }

    /// Ends a fold: the new version of the table, unchanged chunks shared with the old one.
    pub(crate) fn finish(&mut self) -> RoleSets {
        while self.counts.last() == Some(&0) {
            self.counts.pop();
        }
        let sets = self.counts.len();
        // Dead numbers past the end are no longer there to give out.
        self.free.retain(|Reverse(set)| (*set as usize) < sets);
        self.free.shrink_to_fit();
        let edits = std::mem::take(&mut self.contents.edits);
        let old = &self.contents.sets;
        if edits.is_empty() && sets == old.len() {
            return old.clone();
        }
        let chunks = (0..sets.div_ceil(CHUNK_SETS)).map(|chunk_idx| {
            let first = chunk_idx * CHUNK_SETS;
            let ids = first..(first + CHUNK_SETS).min(sets);
            let edited = number(ids.start)..number(ids.end);
            let as_before =
                ids.end == (first + CHUNK_SETS).min(old.len()) && edits.range(edited.clone()).next().is_none();
            if as_before {
                return Arc::clone(&old.0.chunks[chunk_idx]);
            }
            // What is not in the old version is edited.
            let before = |set: usize| if set < old.len() { old.indexes(SetId(number(set))) } else { &[] };
            let mut contents: Vec<&[u16]> = ids.map(before).collect();
            edits.range(edited).for_each(|(set, content)| contents[*set as usize - first] = content);
            chunk_of(contents.iter().copied())
        });
        let table = Table { dictionary: self.dictionary.as_slice().into(), chunks: chunks.collect(), sets };
        self.contents.sets = RoleSets(Arc::new(table));
        self.contents.sets.clone()
    }

    /// Bytes held, apart from the version of the table that the base has too.
    pub(crate) fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
            + self.free.capacity() * size_of::<u32>()
            + self.lookup.allocation_size()
            + self.indexes.len() * size_of::<(RoleId, u16)>()
            + self.dictionary.capacity() * size_of::<RoleId>()
    }

    /// Sets that members have.
    pub(crate) fn live(&self) -> usize {
        self.counts.len() - self.free.len()
    }

    /// A number nobody has, for a set that is about to be listed.
    fn vacancy(&mut self) -> u32 {
        if let Some(Reverse(set)) = self.free.pop() {
            return set;
        }
        // An eighth at a time: doubling would cost 4 bytes a set.
        if self.counts.len() == self.counts.capacity() {
            self.counts.reserve_exact(self.counts.len() / 8 + SETS_MIN);
        }
        self.counts.push(0);
        number(self.counts.len() - 1)
    }

    /// Makes the set findable by `content`, unless another of the same content is.
    fn list(&mut self, set: u32, content: &[u16]) {
        if self.lookup.len() >= LISTED_MIN && self.lookup.len() == self.lookup.capacity() {
            self.forget();
        }
        let contents = &self.contents;
        let rehash = |set: &u32| hash(contents.get(*set));
        match self.lookup.entry(hash(content), |listed| contents.get(*listed) == content, rehash) {
            Entry::Vacant(vacant) => {
                vacant.insert(set);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Makes room among the listed by forgetting those that one member has. Where nearly every member has roles of its own, to list them
    /// all would take as much memory as what they hold, and find nothing. One that is in use again meanwhile costs a second set.
    fn forget(&mut self) {
        let (counts, contents) = (&self.counts, &self.contents);
        self.lookup.retain(|set| counts[*set as usize] > 1);
        // Made anew: the places of those who went are not free otherwise, and the table would grow once more.
        self.lookup.shrink_to_fit(|set| hash(contents.get(*set)));
    }

    fn unlist(&mut self, set: u32) {
        if let Ok(listed) = self.lookup.find_entry(hash(self.contents.get(set)), |listed| *listed == set) {
            listed.remove();
        }
    }

    fn index(&mut self, role: RoleId) -> u16 {
        if let Some(index) = self.indexes.get(&role) {
            return *index;
        }
        let index = match self.free_indexes.pop() {
            Some(index) => {
                self.dictionary[usize::from(index)] = role;
                index
            }
            None => {
                self.dictionary.push(role);
                // As many can be read back: how many there are is numbered in 16 bits too.
                index_of(self.dictionary.len()) - 1
            }
        };
        self.indexes.insert(role, index);
        index
    }
}

fn index_of(place: usize) -> u16 {
    u16::try_from(place).expect("a guild has at most 512 roles, and each fold cleans out the deleted ones")
}

fn number(set: usize) -> u32 {
    u32::try_from(set).expect("a live set has a member, and members are at most 20 million")
}

/// Unseeded, so that all nodes do the same; the order of the table is never seen.
fn hash(content: &[u16]) -> u64 {
    let mut bytes = [0; MEMBER_ROLES_MAX * 2];
    for (place, index) in bytes.chunks_exact_mut(2).zip(content) {
        place.copy_from_slice(&index.to_le_bytes());
    }
    xxh3_64(&bytes[..content.len() * 2])
}

/// Listed sets from which on some are forgotten before room is made for more: as many as large guilds have in common, in 300 KB.
const LISTED_MIN: usize = 50_000;
/// Sets for which room is made at first.
const SETS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(numbers: &[u64]) -> Vec<RoleId> {
        numbers.iter().map(|number| RoleId::new(*number).unwrap()).collect()
    }

    fn roles_in(sets: &RoleSets, set: SetId) -> Vec<RoleId> {
        sets.indexes(set).iter().map(|index| sets.dictionary()[usize::from(*index)]).collect()
    }

    #[test]
    fn equal_roles_have_one_set() {
        let mut interner = Interner::default();
        let first = interner.acquire(&roles(&[3, 1, 9]), &Masked::new());
        assert_eq!(interner.acquire(&roles(&[3, 1, 9]), &Masked::new()), first);
        assert_ne!(interner.acquire(&roles(&[3, 1]), &Masked::new()), first);
        assert_eq!(roles_in(&interner.finish(), first), roles(&[3, 1, 9]));
    }

    #[test]
    fn a_dead_number_is_given_out_again_and_older_versions_keep_what_it_meant() {
        let mut interner = Interner::default();
        let ours = interner.acquire(&roles(&[1, 2]), &Masked::new());
        interner.acquire(&roles(&[3]), &Masked::new());
        let before = interner.finish();
        interner.release(ours);
        assert_eq!(interner.acquire(&roles(&[4]), &Masked::new()), ours);
        let after = interner.finish();
        assert_eq!(roles_in(&before, ours), roles(&[1, 2]));
        assert_eq!(roles_in(&after, ours), roles(&[4]));
        assert_eq!(after.len(), 2);
    }

    #[test]
    fn the_end_of_the_table_dies_out() {
        let mut interner = Interner::default();
        let sets: Vec<SetId> = (1..=1_000).map(|role| interner.acquire(&roles(&[role]), &Masked::new())).collect();
        assert_eq!(interner.finish().len(), 1_000);
        sets[10..].iter().for_each(|set| interner.release(*set));
        let after = interner.finish();
        assert_eq!((after.len(), interner.live(), interner.free.len()), (10, 10, 0));
        assert_eq!(roles_in(&after, sets[9]), roles(&[10]));
    }

    #[test]
    fn a_cleaned_role_is_in_no_set_and_its_place_is_used_again() {
        let mut interner = Interner::default();
        let masked: Masked = roles(&[2]).into_iter().collect();
        let both = interner.acquire(&roles(&[1, 2]), &Masked::new());
        let one = interner.acquire(&roles(&[1]), &Masked::new());
        interner.finish();
        interner.clean(&masked);
        assert_eq!(interner.acquire(&roles(&[1, 2]), &masked), one);
        let other = interner.acquire(&roles(&[5]), &masked);
        let sets = interner.finish();
        assert_eq!((roles_in(&sets, both), roles_in(&sets, other)), (roles(&[1]), roles(&[5])));
        assert_eq!(sets.dictionary().len(), 2);
        interner.release(both);
        interner.release(other);
        assert_eq!((interner.live(), interner.lookup.len()), (1, 1));
    }

    #[test]
    fn of_many_sets_those_that_members_share_are_found_and_what_finds_them_stays_small() {
        let mut interner = Interner::default();
        let of = |number: u64| roles(&[1 + number % 200, 300 + number / 200 % 200, 600 + number / 40_000]);
        let shared: Vec<SetId> = (0..1_000).map(|number| interner.acquire(&of(number), &Masked::new())).collect();
        for (number, set) in (0..).zip(&shared) {
            assert_eq!(interner.acquire(&of(number), &Masked::new()), *set);
        }
        let own: Vec<SetId> = (1_000..350_000).map(|number| interner.acquire(&of(number), &Masked::new())).collect();
        for (number, set) in (0..).zip(&shared) {
            assert_eq!(interner.acquire(&of(number), &Masked::new()), *set);
        }
        assert!(interner.lookup.allocation_size() < 500_000);
        // One that was forgotten comes again, under another number; both go as others do.
        let again = interner.acquire(&of(1_000), &Masked::new());
        assert_ne!(again, own[0]);
        assert_eq!(interner.places(again), interner.places(own[0]));
        own.iter().for_each(|set| interner.release(*set));
        assert_eq!(interner.live(), 1_001);
        assert_eq!(interner.acquire(&of(1_000), &Masked::new()), again);
        interner.release(again);
        interner.release(again);
        let sets = interner.finish();
        assert_eq!((interner.live(), sets.len()), (1_000, 1_000));
        assert_eq!(interner.lookup.len(), 1_000);
    }

    #[test]
    fn a_dictionary_is_never_longer_than_one_that_can_be_read() {
        let mut interner = Interner::default();
        let of = |number: u64| roles(&[number]);
        (1..=65_535).for_each(|number| {
            interner.acquire(&of(number), &Masked::new());
        });
        let sets = interner.finish();
        assert_eq!((sets.dictionary().len(), sets.indexes(SetId(65_534))), (65_535, &[65_534][..]));
        let one_more = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            interner.acquire(&of(65_536), &Masked::new());
        }));
        assert!(one_more.is_err());
    }

    #[test]
    fn sets_of_any_size_share_chunks() {
        let mut interner = Interner::default();
        let largest: Vec<u64> = (1..=MEMBER_ROLES_MAX as u64).collect();
        let sets: Vec<SetId> =
            (0..300).map(|left_out| interner.acquire(&roles(&largest[left_out % 250..]), &Masked::new())).collect();
        let table = interner.finish();
        for (left_out, set) in sets.iter().enumerate() {
            assert_eq!(roles_in(&table, *set), roles(&largest[left_out % 250..]));
        }
    }
}
