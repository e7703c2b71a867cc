//! A member read in place.

use guildhall_proto::{Member, MemberFlags, Millis, Nick, RoleId, UserId};

use crate::overlay::Record;
use crate::page::Page;
use crate::role_sets::{RoleSets, SetId};

/// A member's record, borrowed from a view: nothing is copied until it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct MemberRef<'a> {
    /// Who.
    pub user: UserId,
    /// When the member joined.
    pub joined_at: Millis,
    /// Marks on the member.
    pub flags: MemberFlags,
    nick: &'a [u8],
    held: Held<'a>,
    masked: &'a Masked,
}

/// Roles that were deleted and not yet cleaned out of the base.
pub(crate) type Masked = im::OrdSet<RoleId>;

/// Where a member's roles lie.
#[derive(Debug, Clone, Copy)]
enum Held<'a> {
    Listed(&'a [RoleId]),
    Interned(&'a RoleSets, SetId),
}

impl<'a> MemberRef<'a> {
    pub(crate) fn listed(member: &'a Record, masked: &'a Masked) -> Self {
        Self {
            user: member.user,
            nick: member.nick.as_str().as_bytes(),
            joined_at: member.joined_at,
            flags: member.flags,
            held: Held::Listed(&member.roles),
            masked,
        }
    }

    pub(crate) fn in_page(page: &'a Page, row: usize, sets: &'a RoleSets, masked: &'a Masked) -> Self {
        Self {
            user: page.ids()[row],
            nick: page.nick_bytes(row),
            joined_at: page.joined_at(row),
            flags: page.flags(row),
            held: Held::Interned(sets, page.sets()[row]),
            masked,
        }
    }

    /// How the member is called here.
    pub fn nick(&self) -> &'a str {
        str::from_utf8(self.nick).expect("the bytes are those of a whole nick")
    }

    /// The same, as it lies there.
    pub(crate) fn nick_bytes(&self) -> &'a [u8] {
        self.nick
    }

    /// The roles held, ascending, without the everyone role and without deleted ones. At most 250.
    pub fn roles(&self) -> Roles<'a> {
        Roles { left: self.left(), masked: self.masked }
    }

    /// The deleted roles that the record still names, ascending: those held when they were deleted, if the record was not written
    /// since and no fold has cleaned them out. O(roles held).
    pub fn deleted_roles(&self) -> impl Iterator<Item = RoleId> + use<'a> {
        let masked = self.masked;
        self.left().filter(move |role| masked.contains(role))
    }

    fn left(&self) -> Left<'a> {
        match self.held {
            Held::Listed(roles) => Left::Listed(roles.iter()),
            Held::Interned(sets, set) => Left::Interned(sets.dictionary(), sets.indexes(set).iter()),
        }
    }

    /// Whether the member holds `role`. O(roles held).
    pub fn holds(&self, role: RoleId) -> bool {
        self.roles().any(|held| held == role)
    }

    /// Whether both hold the same roles, as far as that is cheap to see; `false` if it is not.
    pub(crate) fn holds_same(&self, other: &Self) -> bool {
        match (self.held, other.held) {
            (Held::Interned(sets, set), Held::Listed(roles)) if self.masked.is_empty() => {
                let (indexes, dictionary) = (sets.indexes(set), sets.dictionary());
                indexes.len() == roles.len()
                    && indexes.iter().zip(roles).all(|(index, role)| dictionary[usize::from(*index)] == *role)
            }
            (Held::Listed(one), Held::Listed(other)) => one == other,
            (Held::Interned(..), Held::Listed(_) | Held::Interned(..)) | (Held::Listed(_), Held::Interned(..)) => false,
        }
    }

    /// The record on its own. Allocates the nick and the list of roles.
    pub fn to_member(&self) -> Member {
        Member {
            user: self.user,
            nick: Nick::parsed(self.nick()),
            roles: self.roles().collect(),
            joined_at: self.joined_at,
            flags: self.flags,
        }
    }

    /// Lends the roles as a slice: on the stack for the few that most members hold.
    pub(crate) fn with_role_slice<R>(&self, f: impl FnOnce(&[RoleId]) -> R) -> R {
        let mut few = [RoleId::MIN; FEW_ROLES];
        let mut roles = self.roles();
        for (held, place) in few.iter_mut().enumerate() {
            match roles.next() {
                Some(role) => *place = role,
                None => return f(&few[..held]),
            }
        }
        f(&few.into_iter().chain(roles).collect::<Vec<_>>())
    }
}

/// The roles of one member, ascending.
#[derive(Debug, Clone)]
pub struct Roles<'a> {
    left: Left<'a>,
    masked: &'a Masked,
}

#[derive(Debug, Clone)]
enum Left<'a> {
    Listed(std::slice::Iter<'a, RoleId>),
    Interned(&'a [RoleId], std::slice::Iter<'a, u16>),
}

impl Iterator for Left<'_> {
    type Item = RoleId;

    #[inline]
    fn next(&mut self) -> Option<RoleId> {
        match self {
            Self::Listed(roles) => roles.next().copied(),
            Self::Interned(dictionary, indexes) => Some(dictionary[usize::from(*indexes.next()?)]),
        }
    }
}

impl Iterator for Roles<'_> {
    type Item = RoleId;

    fn next(&mut self) -> Option<RoleId> {
        loop {
            let role = self.left.next()?;
            // Almost always nothing is masked.
            if self.masked.is_empty() || !self.masked.contains(&role) {
                return Some(role);
            }
        }
    }
}

/// Roles that are lent from the stack: more than most members hold, in 128 bytes.
const FEW_ROLES: usize = 16;
