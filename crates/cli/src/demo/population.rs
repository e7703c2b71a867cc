//! Who is a member, and who is reached by a ping, by the ledger and the plain rule: what scans must find.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher;

use guildhall_proto::{ChannelId, RoleId, UserId};
use xxhash_rust::xxh3::Xxh3Default;

use super::ledger::Closed;
use super::record::Record;
use super::seat::Sitting;
use crate::trial::fact::Fact;
use crate::trial::rights::Rights;
use crate::trial::shape::Shape;

/// The members as the ledger leaves them.
pub(crate) struct Population<'a> {
    shape: Shape,
    rights: &'a Rights,
    /// Roles of members that are no longer those they began with; `None` for those who left.
    changed: BTreeMap<u64, Option<&'a [RoleId]>>,
    online: BTreeSet<u64>,
}

/// A list of ids, ascending, by their number and a fingerprint (XXH3): lists of a million are not kept to be compared.
#[derive(Clone, Default)]
pub(crate) struct Group {
    count: u64,
    hasher: Xxh3Default,
}

/// Whom a channel's pings reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) everyone: Group,
    pub(crate) here: Group,
}

impl Group {
    pub(crate) fn of(users: impl IntoIterator<Item = UserId>) -> Self {
        let mut group = Self::default();
        users.into_iter().for_each(|user| group.push(user));
        group
    }

    fn push(&mut self, user: UserId) {
        self.count += 1;
        self.hasher.write_u64(user.get());
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.hasher.finish() == other.hasher.finish()
    }
}

impl Eq for Group {}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users, {:016x}", self.count, self.hasher.finish())
    }
}

impl<'a> Population<'a> {
    pub(crate) fn new(shape: Shape, ledger: &'a Closed, heard: &[(Sitting, Record)]) -> Self {
        let mut changed = BTreeMap::new();
        for (_, _, fact) in ledger.from(0) {
            match fact {
                Fact::Joined { user, roles, .. } | Fact::Changed { user, roles, .. } => {
                    changed.insert(Shape::number(*user), Some(&**roles));
                }
                Fact::Left { user } => drop(changed.insert(Shape::number(*user), None)),
                Fact::Pruned { users } => changed.extend(users.iter().map(|user| (Shape::number(*user), None))),
                Fact::Message { .. }
                | Fact::RoleSet { .. }
                | Fact::RoleDeleted { .. }
                | Fact::ChannelCreated { .. }
                | Fact::ChannelUpdated { .. }
                | Fact::ChannelDeleted { .. }
                | Fact::OverwriteChanged { .. }
                | Fact::Bell { .. }
                | Fact::Unheard => {}
            }
        }
        let online = heard.iter().filter(|(sitting, _)| sitting.seat.status.is_online());
        let online = online.map(|(sitting, _)| sitting.seat.member).collect();
        Self { shape, rights: ledger.last_rights(), changed, online }
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> u64 {
        let left = self.changed.range(..self.shape.members).filter(|(_, roles)| roles.is_none()).count();
        let joined = self.changed.range(self.shape.members..).filter(|(_, roles)| roles.is_some()).count();
        self.shape.members - left as u64 + joined as u64
    }

    /// Whom the pings of these channels reach, ascending. O(members), of whom each is asked for each channel.
    pub(crate) fn reached(&self, channels: &[ChannelId]) -> Vec<Reached> {
        let mut reached: Vec<Reached> = channels.iter().map(|_| Reached::default()).collect();
        let joined = self.changed.range(self.shape.members..).map(|(number, _)| *number);
        for number in (0..self.shape.members).chain(joined) {
            let begun_with;
            let roles = match self.changed.get(&number) {
                Some(None) => continue,
                Some(Some(roles)) => *roles,
                None => {
                    begun_with = self.shape.roles_of(number);
                    &begun_with
                }
            };
            let user = Shape::user(number);
            for (channel, reached) in channels.iter().zip(&mut reached) {
                if self.rights.sees(user, roles, *channel) {
                    reached.everyone.push(user);
                    if self.online.contains(&number) {
                        reached.here.push(user);
                    }
                }
            }
        }
        reached
    }
}
