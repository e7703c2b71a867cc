//! Prunes: who may begin one, and whom its next batch removes.

use guildhall_permissions::Authority;
use guildhall_proto::{Actor, CommandError, EventKind, Limited, ListedThing, Permissions, PruneBy, UserId};

use super::{Decision, Scene, denied, sort_distinct, within};
use crate::scan::may_match;
use crate::work::{BATCH_MEMBERS, Candidates, Prune, Task};

impl Scene<'_> {
    /// Begins a prune, or goes on after a crash before which so many were `removed`.
    pub(super) fn prune_members(
        &self,
        authority: &Authority<'_>,
        mut by: PruneBy,
        removed: u32,
    ) -> Result<Decision, CommandError> {
        authority.require(needed()).map_err(denied)?;
        let candidates = match &mut by {
            PruneBy::Role(role) if self.is_everyone(*role) => return Err(CommandError::EveryoneRole),
            PruneBy::Role(role) => {
                self.require_role(*role)?;
                Candidates::Unsought { after: None }
            }
            PruneBy::Idle { .. } => Candidates::Unsought { after: None },
            PruneBy::Absent(users) => {
                within(Limited::BulkMembers, users.len())?;
                sort_distinct(users, ListedThing::User, |user| *user, UserId::get)?;
                Candidates::Found { users: std::mem::take(users).into_iter(), more: None }
            }
        };
        Ok(Decision::Later(Task::Prune(Prune { by, removed, candidates })))
    }

    /// The next batch of a prune on behalf of `actor`: looks at [`BATCH_MEMBERS`] candidates, and removes those who still match.
    pub(crate) fn prune_batch(&self, actor: Actor, prune: &mut Prune) -> Option<EventKind> {
        let roles;
        let authority = match actor {
            Actor::System => Authority::system(self.rights),
            Actor::User(user) => {
                roles = self.members.roles(user);
                let Some(roles) = &roles else {
                    prune.stop();
                    return None;
                };
                Authority::member(self.rights, user, roles)
            }
        };
        if authority.require(needed()).is_err() {
            prune.stop();
            return None;
        }
        let Prune { by, removed, candidates } = prune;
        let Candidates::Found { users, .. } = candidates else {
            return None;
        };
        let users: Vec<UserId> =
            users.take(BATCH_MEMBERS).filter(|user| self.is_prunable(&authority, by, *user)).collect();
        *removed += u32::try_from(users.len()).expect("a batch is small");
        (!users.is_empty()).then_some(EventKind::MembersLeft { users })
    }

    fn is_prunable(&self, authority: &Authority<'_>, by: &PruneBy, user: UserId) -> bool {
        let stays_while_there = match by {
            PruneBy::Role(_) => false,
            PruneBy::Idle { .. } | PruneBy::Absent(_) => true,
        };
        if user == self.rights.owner() || stays_while_there && self.sessions.has(user) {
            return false;
        }
        let Some(status) = self.members.status(user) else {
            return false;
        };
        let matches = |member: guildhall_members::MemberRef<'_>| {
            may_match(by, &member, status)
                && (authority.is_system()
                    || authority.require_above(self.rights.rank(user, &member.roles().collect::<Vec<_>>())).is_ok())
        };
        self.members.with_member(user, matches).unwrap_or(false)
    }
}

/// As the public documentation asks for a prune.
fn needed() -> Permissions {
    Permissions::KICK_MEMBERS | Permissions::MANAGE_GUILD
}
