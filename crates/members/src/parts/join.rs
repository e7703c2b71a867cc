//! From parts back to a base: each piece checked by itself, on any thread, and what only shows between pieces when they
//! are joined.

use std::collections::BTreeSet;
use std::sync::Arc;

use guildhall_proto::RoleId;
use guildhall_proto::limits::MEMBERS_MAX;

use super::{PartError, PartKind, check_length, check_limit, open};
use crate::base::Base;
use crate::digest::PageSums;
use crate::holders::Holders;
use crate::page::Page;
use crate::role_sets::{Chunk, RoleSets};

/// Which roles the sets of a base speak of, and how much of everything there is: the first part of a base that is read.
#[derive(Debug)]
pub struct Dictionary {
    roles: Box<[RoleId]>,
    sets: usize,
    pages: usize,
    members: usize,
}

/// A run of role sets, read. Means something to the [`Dictionary`] that it was decoded with.
#[derive(Debug)]
pub struct SetsPiece(Vec<Chunk>);

/// All role sets of a base: what its pages are read with.
#[derive(Debug)]
pub struct RoleTable {
    sets: RoleSets,
    pages: usize,
    members: usize,
}

/// A page, read, with its share of the digest and its holders of roles. Means something to the [`RoleTable`] that it was decoded with.
#[derive(Debug)]
pub struct PagePiece {
    page: Arc<Page>,
    holders: Arc<Holders>,
    sums: PageSums,
}

impl Dictionary {
    /// Reads the first part of a base. O(roles).
    ///
    /// # Errors
    /// [`PartError`] if the bytes are no such part.
    pub fn decode(bytes: &[u8]) -> Result<Self, PartError> {
        let ([roles, sets, pages], body) = open(bytes, PartKind::Dictionary)?;
        check_limit("roles", 0, roles, usize::from(u16::MAX))?;
        check_length(body, MEMBERS_BYTES + roles * size_of::<RoleId>())?;
        let (words, _) = body.as_chunks::<{ size_of::<u64>() }>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let members = words.next().unwrap_or_default();
        check_limit("members", 0, usize::try_from(members).unwrap_or(usize::MAX), MEMBERS_MAX)?;
        let roles = words
            .enumerate()
            .map(|(at, role)| RoleId::new(role).map_err(|_reserved| PartError::Malformed { what: "role", at }));
        Ok(Self { roles: roles.collect::<Result<_, _>>()?, sets, pages, members: members as usize })
    }

    /// How many pages the base has.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// How many members the base has, if its pages are what they should be.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Reads a run of sets. O(bytes).
    ///
    /// # Errors
    /// [`PartError`] if the bytes are no such part, or name a role that is not in the dictionary.
    pub fn decode_sets(&self, bytes: &[u8]) -> Result<SetsPiece, PartError> {
        RoleSets::decode_run(bytes, &self.roles).map(SetsPiece)
    }

    /// Puts all runs together, in their order. O(runs).
    ///
    /// # Errors
    /// [`PartError::Count`] if they are not all sets there are.
    pub fn join(self, pieces: Vec<SetsPiece>) -> Result<RoleTable, PartError> {
        let chunks = pieces.into_iter().flat_map(|SetsPiece(chunks)| chunks).collect();
        let sets = RoleSets::of_parts(self.roles, chunks, self.sets)?;
        Ok(RoleTable { sets, pages: self.pages, members: self.members })
    }
}

impl RoleTable {
    /// How many pages the base has.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Reads a page, and makes its sums for the digest: about 100 ns a member.
    ///
    /// # Errors
    /// [`PartError`] if the bytes are no such part, or name a set that is not in the table.
    pub fn decode_page(&self, bytes: &[u8]) -> Result<PagePiece, PartError> {
        let page = Page::decode(bytes, self.sets.len())?;
        let sums = PageSums::of(&page, &self.sets);
        let holders = Arc::new(Holders::of(&page, &self.sets));
        Ok(PagePiece { page: Arc::new(page), holders, sums })
    }

    /// Puts all pages together, in their order. O(members), some nanoseconds each.
    ///
    /// # Errors
    /// [`PartError::Count`] if they are not all pages and members there are, [`PartError::Malformed`] if a page does not
    /// follow the one before it, or if the table holds what no member has.
    pub fn assemble(self, pieces: Vec<PagePiece>) -> Result<Base, PartError> {
        let members: usize = pieces.iter().map(|piece| piece.page.len()).sum();
        for (what, expected, found) in [("pages", self.pages, pieces.len()), ("members", self.members, members)] {
            if expected != found {
                return Err(PartError::Count { what, expected: expected as u64, found: found as u64 });
            }
        }
        let follows = |pair: &[PagePiece]| pair[0].page.last() < pair[1].page.first();
        if let Some(at) = pieces.windows(2).position(|pair| !follows(pair)) {
            return Err(PartError::Malformed { what: "page", at: at + 1 });
        }
        self.check_unused(&pieces)?;
        let sums = PageSums::total(pieces.iter().map(|piece| &piece.sums), self.sets.dictionary());
        let (pages, holders) = pieces.into_iter().map(|piece| (piece.page, Some(piece.holders))).unzip();
        Ok(Base::with_sums(pages, holders, self.sets, sums))
    }

    /// That a set which no member has is empty, and that no two places in the dictionary that are in use hold the same
    /// role: the interner relies on both.
    fn check_unused(&self, pieces: &[PagePiece]) -> Result<(), PartError> {
        let mut used = vec![false; self.sets.len()];
        for set in pieces.iter().flat_map(|piece| piece.page.sets()) {
            used[set.0 as usize] = true;
        }
        let mut places = vec![false; self.sets.dictionary().len()];
        for (at, (content, is_used)) in self.sets.iter().zip(used).enumerate() {
            if !is_used && !content.is_empty() {
                return Err(PartError::Malformed { what: "set", at });
            }
            for place in content {
                places[usize::from(*place)] = true;
            }
        }
        let mut roles = BTreeSet::new();
        let held = self.sets.dictionary().iter().enumerate().filter(|(at, _)| places[*at]);
        for (at, role) in held {
            if !roles.insert(role) {
                return Err(PartError::Malformed { what: "role", at });
            }
        }
        Ok(())
    }
}

/// The count of members before the roles.
const MEMBERS_BYTES: usize = size_of::<u64>();
