//! Deciding a question for whole pages.
//!
//! Of all a role does, a question about one channel needs five marks: whether it is an administrator's, shows channels
//! in general, shows or hides this one, and whether it is the role asked for. A member's marks are the union of its roles'
//! marks, and a table of 32 answers, made by asking [`ChannelRule`], decides on each union: the rule itself is nowhere
//! written twice.
//!
//! For a page it is decided for 64 rows at once: of each mark that matters one bit a row, united from the [holders](Holders) of
//! the few roles that bear it, then the unions whose answer is yes. A mark matters if some role bears it and some answer changes
//! with it: where everyone is shown channels in general, those whose roles do so too need not be found.

use std::ops::Range;
use std::slice;

use guildhall_permissions::{ChannelRule, Rights, RoleEffect};
use guildhall_proto::{Permissions, RoleId};
use prefetch_index::prefetch_index;

use crate::base::Base;
use crate::holders::Holders;
use crate::member_ref::MemberRef;
use crate::presence::ROWS;

/// What each role contributes to one question, and what a union of contributions means.
#[derive(Debug)]
pub(super) struct RoleMarks {
    /// Ascending by role. Roles that the guild does not have contribute nothing.
    roles: Vec<(RoleId, u8)>,
    answers: u32,
}

impl RoleMarks {
    /// For seeing what `rule` rules (everything without one) and holding `role` (any without one).
    pub(super) fn new(rights: &Rights, rule: Option<&ChannelRule<'_>>, role: Option<RoleId>) -> Self {
        let marks = |id: RoleId| {
            let effect = rule.map_or(RoleEffect::default(), |rule| rule.effect(id));
            let asked_for = if role == Some(id) { HELD } else { 0 };
            EFFECTS
                .iter()
                .filter(|(_, given)| *given | effect == effect)
                .fold(asked_for, |marks, (mark, _)| marks | mark)
        };
        let answer = |union: u8| {
            let given = EFFECTS.iter().filter(|(mark, _)| union & mark != 0);
            let effect = given.fold(RoleEffect::default(), |effect, (_, given)| effect | *given);
            let sees = rule.is_none_or(|rule| rule.resolve(effect).contains(Permissions::VIEW_CHANNEL));
            sees && (role.is_none() || union & HELD != 0)
        };
        Self {
            roles: rights.roles().map(|role| (role.id, marks(role.id))).collect(),
            answers: (0..UNIONS).fold(0, |answers, union| answers | u32::from(answer(union)) << union),
        }
    }

    /// The answer for one member, as far as roles decide it.
    pub(super) fn decide(&self, member: &MemberRef<'_>) -> bool {
        answer(self.answers, member.roles().fold(0, |union, role| union | self.of(role)))
    }

    fn of(&self, role: RoleId) -> u8 {
        self.roles.binary_search_by_key(&role, |(role, _)| *role).map_or(0, |at| self.roles[at].1)
    }
}

/// How a scan decides on the members in pages.
#[derive(Debug)]
pub(super) struct Decision {
    /// By place in the dictionary of roles.
    marks: Box<[u8]>,
    answers: u32,
    /// The marks that matter.
    mattering: Vec<u8>,
    /// Places of roles that bear one of these.
    places: Vec<u16>,
    /// The unions of these whose answer is yes.
    unions: Vec<u8>,
}

impl Decision {
    pub(super) fn new(marks: &RoleMarks, base: &Base) -> Self {
        let answers = marks.answers;
        let marks: Box<[u8]> = base.sets().dictionary().iter().map(|role| marks.of(*role)).collect();
        let borne = marks.iter().fold(0, |borne, marks| borne | marks);
        let can_be = |union: &u8| union & !borne == 0;
        let matters = |mark: &u8| {
            borne & mark != 0
                && (0..UNIONS)
                    .filter(can_be)
                    .any(|union| answer(answers, union & !mark) != answer(answers, union | mark))
        };
        let mattering: Vec<u8> = (0..MARKS).map(|mark_idx| 1 << mark_idx).filter(matters).collect();
        let all = mattering.iter().fold(0, |all, mark| all | mark);
        let places = marks.iter().zip(0..).filter(|(marks, _)| **marks & all != 0).map(|(_, place)| place).collect();
        let unions = (0..UNIONS).filter(|union| union & !all == 0 && answer(answers, *union)).collect();
        Self { marks, answers, mattering, places, unions }
    }

    /// Begins to fetch what the answer for these pages is found from: each step for all of them before any takes the next.
    pub(super) fn fetch_ahead(&self, base: &Base, pages: Range<usize>) {
        let holders = || base.all_holders(pages.clone()).iter();
        holders().for_each(|holders| prefetch_index(slice::from_ref(&**holders), 0));
        base.pages()[pages.clone()].iter().for_each(|page| prefetch_index(slice::from_ref(&**page), 0));
        holders().for_each(|holders| self.places.iter().for_each(|place| holders.approach(*place)));
        holders().for_each(|holders| self.places.iter().for_each(|place| holders.fetch_ahead(*place)));
    }

    /// A bit for each row of a page: whether its roles say yes.
    pub(super) fn rows(&self, base: &Base, page_idx: usize, scratch: &mut Scratch) -> Vec<u64> {
        let len = base.pages()[page_idx].len();
        let mut yes = vec![0; len.div_ceil(ROWS)];
        match base.holders(page_idx) {
            Some(holders) => self.united(holders, scratch, &mut yes),
            None => self.one_by_one(base, page_idx, &mut yes),
        }
        let behind = yes.len() * ROWS - len;
        if let Some(last) = yes.last_mut() {
            *last &= u64::MAX >> behind;
        }
        yes
    }

    fn united(&self, holders: &Holders, scratch: &mut Scratch, yes: &mut [u64]) {
        for (mark, rows) in self.mattering.iter().zip(&mut scratch.by_mark) {
            rows.clear();
            rows.resize(yes.len(), 0);
            let bearing = self.places.iter().filter(|place| self.marks[usize::from(**place)] & mark != 0);
            bearing.for_each(|place| holders.unite_into(*place, rows));
        }
        for union in &self.unions {
            scratch.term.clear();
            scratch.term.resize(yes.len(), u64::MAX);
            for (mark, rows) in self.mattering.iter().zip(&scratch.by_mark) {
                let turned = if union & mark == 0 { u64::MAX } else { 0 };
                scratch.term.iter_mut().zip(rows).for_each(|(term, bits)| *term &= bits ^ turned);
            }
            yes.iter_mut().zip(&scratch.term).for_each(|(yes, term)| *yes |= term);
        }
    }

    fn one_by_one(&self, base: &Base, page_idx: usize, yes: &mut [u64]) {
        for (row, set) in base.pages()[page_idx].sets().iter().enumerate() {
            let union =
                base.sets().indexes(*set).iter().fold(0, |union, place| union | self.marks[usize::from(*place)]);
            yes[row / ROWS] |= u64::from(answer(self.answers, union)) << (row % ROWS);
        }
    }
}

/// What the rows of a page are found with: kept from page to page.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    by_mark: [Vec<u64>; MARKS],
    term: Vec<u64>,
}

fn answer(answers: u32, union: u8) -> bool {
    answers >> union & 1 != 0
}

const NONE: RoleEffect = RoleEffect { base: Permissions::NONE, allow: Permissions::NONE, deny: Permissions::NONE };

/// The four marks by which a role can decide on seeing a channel, and the effect each stands for.
const EFFECTS: [(u8, RoleEffect); 4] = [
    (1 << 0, RoleEffect { base: Permissions::ADMINISTRATOR, ..NONE }),
    (1 << 1, RoleEffect { base: Permissions::VIEW_CHANNEL, ..NONE }),
    (1 << 2, RoleEffect { allow: Permissions::VIEW_CHANNEL, ..NONE }),
    (1 << 3, RoleEffect { deny: Permissions::VIEW_CHANNEL, ..NONE }),
];
/// The mark of the role asked for.
const HELD: u8 = 1 << 4;
const MARKS: usize = 5;
/// Unions of the five marks.
const UNIONS: u8 = 1 << MARKS;
