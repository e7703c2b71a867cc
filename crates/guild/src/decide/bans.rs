//! Bans: who is kept out, by whom.
//!
//! A ban of a member is two facts and two events: the member's departure, which is heard as any other, and then the ban with its
//! reason, which is for no session.

use guildhall_permissions::Authority;
use guildhall_proto::{CommandError, EventKind, Limited, Permissions, Reason, UserId};

use super::{Change, Decision, Scene, denied, within};

impl Scene<'_> {
    pub(super) fn ban(
        &self,
        authority: &Authority<'_>,
        user: UserId,
        reason: Option<Reason>,
    ) -> Result<Decision, CommandError> {
        if user == self.rights.owner() {
            return Err(CommandError::OwnerStays);
        }
        authority.require(Permissions::BAN_MEMBERS).map_err(denied)?;
        let member = self.members.member(user);
        if let Some(member) = &member {
            authority.require_above_member(user, &member.roles).map_err(denied)?;
        }
        let bans = self.members.bans();
        let before = bans.find(user);
        if before.is_none() {
            within(Limited::Bans, bans.len() + 1)?;
        }
        let changes = before.is_none_or(|ban| ban.reason != reason);
        Ok(Decision::Now(Change {
            ahead: member.map(|member| Box::new(EventKind::MemberLeft { member })),
            event: changes.then_some(EventKind::UserBanned { user, reason }),
        }))
    }

    pub(super) fn unban(&self, authority: &Authority<'_>, user: UserId) -> Result<Decision, CommandError> {
        authority.require(Permissions::BAN_MEMBERS).map_err(denied)?;
        if !self.members.bans().contains(user) {
            return Err(CommandError::UnknownBan { user });
        }
        Ok(Decision::change(EventKind::UserUnbanned { user }))
    }

    /// Nobody is added who is kept out.
    pub(super) fn require_welcome(&self, user: UserId) -> Result<(), CommandError> {
        if self.members.bans().contains(user) { Err(CommandError::UserBanned { user }) } else { Ok(()) }
    }
}
