//! Deciding a question for whole role sets.
//!
//! Of all a role does, a question about one channel needs five bits: whether it is an administrator's, shows channels
//! in general, shows or hides this one, and whether it is the role asked for. A set's bits are the union of its roles'
//! bits, and a table of 32 answers, made by asking [`ChannelRule`], decides on each union: the rule itself is nowhere
//! written twice.

use guildhall_permissions::{ChannelRule, Rights, RoleEffect};
use guildhall_proto::{Permissions, RoleId};

use crate::member_ref::MemberRef;
use crate::role_sets::{RoleSets, SetId};

/// What each role contributes to one question, and what a union of contributions means.
#[derive(Debug)]
pub(super) struct RoleBits {
    /// Ascending by role. Roles that the guild does not have contribute nothing.
    roles: Vec<(RoleId, u8)>,
    answers: u32,
}

impl RoleBits {
    /// For seeing what `rule` rules (everything without one) and holding `role` (any without one).
    pub(super) fn new(rights: &Rights, rule: Option<&ChannelRule<'_>>, role: Option<RoleId>) -> Self {
        let bits = |id: RoleId| {
            let effect = rule.map_or(RoleEffect::default(), |rule| rule.effect(id));
            let asked_for = if role == Some(id) { HELD } else { 0 };
            EFFECTS.iter().filter(|(_, given)| *given | effect == effect).fold(asked_for, |bits, (bit, _)| bits | bit)
        };
        let answer = |union: u8| {
            let given = EFFECTS.iter().filter(|(bit, _)| union & bit != 0);
            let effect = given.fold(RoleEffect::default(), |effect, (_, given)| effect | *given);
            let sees = rule.is_none_or(|rule| rule.resolve(effect).contains(Permissions::VIEW_CHANNEL));
            sees && (role.is_none() || union & HELD != 0)
        };
        Self {
            roles: rights.roles().map(|role| (role.id, bits(role.id))).collect(),
            answers: (0..UNIONS).fold(0, |answers, union| answers | u32::from(answer(union)) << union),
        }
    }

    /// The answer for one member, as far as roles decide it.
    pub(super) fn decide(&self, member: &MemberRef<'_>) -> bool {
        self.answer(member.roles().fold(0, |union, role| union | self.of(role)))
    }

    fn of(&self, role: RoleId) -> u8 {
        self.roles.binary_search_by_key(&role, |(role, _)| *role).map_or(0, |at| self.roles[at].1)
    }

    fn answer(&self, union: u8) -> bool {
        self.answers >> union & 1 != 0
    }
}

/// How a scan decides on the members in pages.
#[derive(Debug)]
pub(super) enum Decision {
    /// Whatever the roles: no.
    Nobody,
    /// Whatever the roles: yes.
    Anybody,
    /// Every set was decided on beforehand.
    Listed(SetBits),
    /// Sets are too many for that: each is decided on where it is met.
    Each(IndexBits),
}

impl Decision {
    /// The cheaper way for a scan that asks about so many members.
    pub(super) fn new(bits: &RoleBits, sets: &RoleSets, asked: usize) -> Self {
        match bits.answers {
            0 => return Self::Nobody,
            u32::MAX => return Self::Anybody,
            _ => {}
        }
        let effects =
            IndexBits { bits: sets.dictionary().iter().map(|role| bits.of(*role)).collect(), answers: bits.answers };
        if sets.len() > asked / MEMBERS_PER_SET {
            Self::Each(effects)
        } else {
            Self::Listed(SetBits::new(&effects, sets))
        }
    }
}

/// What each place in the dictionary of roles contributes.
#[derive(Debug)]
pub(super) struct IndexBits {
    bits: Box<[u8]>,
    answers: u32,
}

impl IndexBits {
    pub(super) fn decide(&self, indexes: &[u16]) -> bool {
        let union = indexes.iter().fold(0, |union, index| union | self.bits[usize::from(*index)]);
        self.answers >> union & 1 != 0
    }
}

/// One bit per role set.
#[derive(Debug)]
pub(super) struct SetBits(Box<[u64]>);

impl SetBits {
    fn new(effects: &IndexBits, sets: &RoleSets) -> Self {
        let mut words = vec![0; sets.len().div_ceil(64)];
        for (set, indexes) in sets.iter().enumerate() {
            words[set / 64] |= u64::from(effects.decide(indexes)) << (set % 64);
        }
        Self(words.into())
    }

    pub(super) fn contains(&self, set: SetId) -> bool {
        self.0[set.0 as usize / 64] >> (set.0 % 64) & 1 != 0
    }
}

const NONE: RoleEffect = RoleEffect { base: Permissions::NONE, allow: Permissions::NONE, deny: Permissions::NONE };

/// The four bits by which a role can decide on seeing a channel, and the effect each stands for.
const EFFECTS: [(u8, RoleEffect); 4] = [
    (1 << 0, RoleEffect { base: Permissions::ADMINISTRATOR, ..NONE }),
    (1 << 1, RoleEffect { base: Permissions::VIEW_CHANNEL, ..NONE }),
    (1 << 2, RoleEffect { allow: Permissions::VIEW_CHANNEL, ..NONE }),
    (1 << 3, RoleEffect { deny: Permissions::VIEW_CHANNEL, ..NONE }),
];
/// The bit of the role asked for.
const HELD: u8 = 1 << 4;
/// Unions of the five bits.
const UNIONS: u8 = 1 << 5;
/// Deciding on a set beforehand pays if it is then met this often: the decision costs about as much as four looks at
/// it.
const MEMBERS_PER_SET: usize = 4;
