//! The digest of a guild's members: a sum of hashes, right at any moment, however the records lie in pages and overlay.
//!
//! One hash per record without its roles and one per (member, role), the latter summed per role: deleting a role is one
//! subtraction. The hash is XXH3 of 128 bits over a fixed little-endian form, with a seed per kind; it guards against
//! our own faults, not against an adversary, who could make sums collide.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use guildhall_proto::{MemberFlags, Millis, RoleId, UserId};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::config::NICK_BYTES_MAX;
use crate::member_ref::{Masked, MemberRef};
use crate::page::Page;
use crate::role_sets::RoleSets;

/// A 128-bit sum over all members' records and roles; presence is no part of it. Equal members give equal digests, on
/// any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub u128);

/// The sums behind a digest. Every change of a member goes through here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    records: u128,
    roles: BTreeMap<RoleId, u128>,
}

impl Sums {
    /// The digest. O(roles).
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.roles.values().fold(self.records, |sum, role| sum.wrapping_add(*role)))
    }

    /// A member's record, in its masked form, was `before` and is `after`. Hashes only what differs.
    pub(crate) fn change(&mut self, before: Option<&MemberRef<'_>>, after: Option<&MemberRef<'_>>) {
        if !same_record(before, after) {
            let hash = |member: Option<&MemberRef<'_>>| member.map_or(0, record_hash);
            self.records = self.records.wrapping_sub(hash(before)).wrapping_add(hash(after));
        }
        // The common case, and cheap to see.
        if let (Some(before), Some(after)) = (before, after)
            && before.user == after.user
            && before.holds_same(after)
        {
            return;
        }
        let mut old = before.into_iter().flat_map(|member| member.roles().map(|role| (member.user, role))).peekable();
        let mut new = after.into_iter().flat_map(|member| member.roles().map(|role| (member.user, role))).peekable();
        // Both ascend: what only one of them has is a difference.
        loop {
            match (old.peek().copied(), new.peek().copied()) {
                (Some(same), Some(other)) if same == other => {
                    old.next();
                    new.next();
                }
                (Some((user, role)), other) if other.is_none_or(|(_, other)| role < other) => {
                    let sum = self.roles.entry(role).or_default();
                    *sum = sum.wrapping_sub(role_hash(user, role));
                    old.next();
                }
                (_, Some((user, role))) => {
                    self.add_role(user, role);
                    new.next();
                }
                (_, None) => break,
            }
        }
    }

    /// Nobody holds `role` any more. O(log n) in roles.
    pub(crate) fn drop_role(&mut self, role: RoleId) {
        self.roles.remove(&role);
    }

    fn add_role(&mut self, user: UserId, role: RoleId) {
        let sum = self.roles.entry(role).or_default();
        *sum = sum.wrapping_add(role_hash(user, role));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.roles.len() * size_of::<(RoleId, u128)>()
    }
}

/// The sums of one page, its roles by their place in the dictionary of its base: adding a role is no search. Keeps those
/// that are held on the page alone, so that a page takes memory for what it holds and not for what the dictionary could.
#[derive(Debug)]
pub(crate) struct PageSums {
    records: u128,
    held: Box<[u16]>,
    roles: Box<[u128]>,
}

impl PageSums {
    /// Those of one page. O(its members and their roles).
    pub(crate) fn of(page: &Page, sets: &RoleSets) -> Self {
        if sets.dictionary().len() > PLACES_A_ROW * page.len() {
            // A page of few, of a dictionary of many.
            let mut by_place = BTreeMap::new();
            let records = Self::add_all(page, sets, |place, hash| {
                let sum = by_place.entry(place).or_insert(0_u128);
                *sum = sum.wrapping_add(hash);
            });
            return Self::new(records, by_place.into_iter().map(|(place, sum)| (sum, place)));
        }
        let mut by_place = vec![0_u128; sets.dictionary().len()];
        let records = Self::add_all(page, sets, |place, hash| {
            let sum = &mut by_place[usize::from(place)];
            *sum = sum.wrapping_add(hash);
        });
        Self::new(records, by_place.into_iter().zip(0..))
    }

    fn new(records: u128, by_place: impl Iterator<Item = (u128, u16)>) -> Self {
        let (roles, held): (Vec<u128>, Vec<u16>) = by_place.filter(|(sum, _)| *sum != 0).unzip();
        Self { records, held: held.into(), roles: roles.into() }
    }

    /// Tells the hash of each role that somebody holds, by its place, and sums up the records.
    fn add_all(page: &Page, sets: &RoleSets, mut add: impl FnMut(u16, u128)) -> u128 {
        let masked = Masked::new();
        let mut records = 0_u128;
        for row in 0..page.len() {
            let member = MemberRef::in_page(page, row, sets, &masked);
            records = records.wrapping_add(record_hash(&member));
            for place in sets.indexes(page.sets()[row]) {
                add(*place, role_hash(member.user, sets.dictionary()[usize::from(*place)]));
            }
        }
        records
    }

    /// All of them together. O(pages × roles).
    pub(crate) fn total(pages: impl Iterator<Item = impl Borrow<Self>>, dictionary: &[RoleId]) -> Sums {
        let mut sums = Sums::default();
        let mut by_place = vec![0_u128; dictionary.len()];
        for page in pages {
            let page = page.borrow();
            sums.records = sums.records.wrapping_add(page.records);
            for (place, sum) in page.held.iter().zip(&page.roles) {
                let total = &mut by_place[usize::from(*place)];
                *total = total.wrapping_add(*sum);
            }
        }
        // A place that nobody refers to may still name a role that has another place now.
        let held = dictionary.iter().copied().zip(by_place).filter(|(_, sum)| *sum != 0);
        sums.roles = held.collect();
        sums
    }
}

fn same_record(before: Option<&MemberRef<'_>>, after: Option<&MemberRef<'_>>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => record(before) == record(after),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn record<'a>(member: &MemberRef<'a>) -> (UserId, Millis, MemberFlags, &'a [u8]) {
    (member.user, member.joined_at, member.flags, member.nick_bytes())
}

fn record_hash(member: &MemberRef<'_>) -> u128 {
    let mut bytes = [0; FIXED_BYTES + NICK_BYTES_MAX];
    bytes[..8].copy_from_slice(&member.user.get().to_le_bytes());
    bytes[8..16].copy_from_slice(&member.joined_at.0.to_le_bytes());
    bytes[16..FIXED_BYTES].copy_from_slice(&member.flags.0.to_le_bytes());
    let nick = member.nick_bytes();
    let end = FIXED_BYTES + nick.len();
    bytes[FIXED_BYTES..end].copy_from_slice(nick);
    xxh3_128_with_seed(&bytes[..end], RECORD_SEED)
}

fn role_hash(user: UserId, role: RoleId) -> u128 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&user.get().to_le_bytes());
    bytes[8..].copy_from_slice(&role.get().to_le_bytes());
    xxh3_128_with_seed(&bytes, ROLE_SEED)
}

/// Places in the dictionary for each row of a page up to which its sums are made in one array.
const PLACES_A_ROW: usize = 8;
/// User, joined time and flags before the nick.
const FIXED_BYTES: usize = 18;
/// Written down: digests of two nodes are compared.
const RECORD_SEED: u64 = 1;
const ROLE_SEED: u64 = 2;
