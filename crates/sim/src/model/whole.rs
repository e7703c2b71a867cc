//! Changes of a whole guild, naively: what one batch of them may be, and whom a prune is for.

use std::collections::BTreeMap;

use guildhall_proto::{Actor, Command, EventKind, Member, Millis, NewMember, PruneBy, UserId};

use super::Community;
use super::rules::Asker;

/// Whether an event may be a batch of a whole-guild change, of a guild as it was before.
pub(crate) fn may_be_batch(community: &Community, now: Millis, command: &Command, event: &EventKind) -> bool {
    if let (Command::ImportMembers(lines), EventKind::MembersJoined { members }) = (command, event) {
        let by_user: BTreeMap<UserId, &NewMember> = lines.iter().rev().map(|line| (line.user, line)).collect();
        return members.windows(2).all(|pair| pair[0].user < pair[1].user)
            && members.iter().all(|member| {
                let is_new =
                    !community.members.contains_key(&member.user) && !community.bans.contains_key(&member.user);
                let line = by_user.get(&member.user);
                is_new && line.is_some_and(|line| community.joins(now, line).as_ref() == Some(member))
            });
    }
    if let (Command::PruneMembers(by), EventKind::MembersLeft { users }) = (command, event) {
        let is_listed = |user: &UserId| match by {
            PruneBy::Absent(absent) => absent.contains(user),
            PruneBy::Role(_) | PruneBy::Idle { .. } => true,
        };
        let may_go = |user: &UserId| {
            is_listed(user)
                && *user != community.owner()
                && community.members.get(user).is_some_and(|member| matches(by, member))
        };
        return users.windows(2).all(|pair| pair[0] < pair[1]) && users.iter().all(may_go);
    }
    false
}

impl Community {
    /// Whether somebody may be added as a line of an import says.
    pub(crate) fn may_join(&self, now: Millis, line: &NewMember) -> bool {
        self.joins(now, line).is_some()
    }

    /// The members whom a prune on behalf of `actor` would remove, whether they are there or not. O(members), or O(listed).
    pub(crate) fn prunable(&self, actor: Actor, by: &PruneBy) -> Vec<UserId> {
        let Some(asker) = self.asker(actor).filter(|asker| self.may_prune(asker, by).is_some()) else {
            return Vec::new();
        };
        let goes = |user: &UserId| self.goes(&asker, by, *user);
        match by {
            PruneBy::Absent(users) => users.iter().copied().filter(goes).collect(),
            PruneBy::Role(_) | PruneBy::Idle { .. } => self.members.keys().copied().filter(goes).collect(),
        }
    }

    /// Whether a user, who is on the prune's list if it has one, is one of these.
    pub(crate) fn may_prune_one(&self, actor: Actor, by: &PruneBy, user: UserId) -> bool {
        let asker = self.asker(actor).filter(|asker| self.may_prune(asker, by).is_some());
        asker.is_some_and(|asker| self.goes(&asker, by, user))
    }

    fn goes(&self, asker: &Asker, by: &PruneBy, user: UserId) -> bool {
        let is_meant = self.members.get(&user).is_some_and(|member| matches(by, member));
        is_meant && user != self.owner() && asker.place > self.place(user)
    }
}

fn matches(by: &PruneBy, member: &Member) -> bool {
    match by {
        PruneBy::Role(role) => member.roles.contains(role),
        PruneBy::Idle { joined_before } => member.roles.is_empty() && member.joined_at < *joined_before,
        PruneBy::Absent(_) => true,
    }
}
