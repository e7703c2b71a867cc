//! From an event to the guild after it: the one place where durable state changes, for live commands and for recovery alike.

use std::mem::take;

use guildhall_permissions::Rights;
use guildhall_proto::{EventKind, UserId};

use crate::effect::{Effect, Tell};
use crate::guild::Guild;
use crate::snapshot::Life;

impl Guild {
    /// Brings the guild from just before an event to just after it. What becomes too large to be dropped here is appended to
    /// `effects`, and so is what is no longer to be told. O(log n) in the guild's size for all but bulk events, which are O(their members).
    pub(crate) fn apply(&mut self, event: &EventKind, effects: &mut Vec<Effect>) {
        match event {
            EventKind::GuildCreated { settings, everyone, owner } => {
                self.life = Life::Alive(Rights::new(self.id, settings.clone(), everyone.clone()));
                self.members.put(owner);
            }
            EventKind::GuildDeleted => self.bury(effects),
            EventKind::RoleDeleted { role, .. } => self.members.delete_role(role.id),
            EventKind::MemberJoined { member } | EventKind::MemberUpdated { after: member, .. } => {
                self.members.put(member);
            }
            EventKind::MembersJoined { members } => {
                for member in members {
                    self.members.put(member);
                }
            }
            EventKind::MemberLeft { member } => {
                self.depart(member.user, effects);
            }
            EventKind::MembersLeft { users } => {
                for user in users {
                    self.depart(*user, effects);
                }
            }
            EventKind::UserBanned { user, reason } => self.members.ban(*user, reason.clone()),
            EventKind::UserUnbanned { user } => self.members.unban(*user),
            EventKind::GuildUpdated { .. }
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RolesReordered { .. }
            | EventKind::ChannelCreated { .. }
            | EventKind::ChannelUpdated { .. }
            | EventKind::ChannelDeleted { .. }
            | EventKind::ChannelsReordered { .. }
            | EventKind::OverwriteChanged { .. }
            | EventKind::MessagePublished(_) => {}
        }
        if let Life::Alive(rights) = &mut self.life {
            rights.apply(event);
        }
    }

    /// Ends a membership with its sessions, and what was told of them.
    fn depart(&mut self, user: UserId, effects: &mut Vec<Effect>) {
        self.departed = self.departed.max(self.members.remove(user).unwrap_or_default());
        self.sessions.detach_user(user);
        effects.push(Effect::Tell(Tell::Forget(user)));
    }

    /// Ends the guild. A fold under way is orphaned: its result is discarded when it comes.
    fn bury(&mut self, effects: &mut Vec<Effect>) {
        self.life = Life::Deleted;
        self.folding = None;
        let members = self.members.take();
        effects.push(Effect::Discard(Box::new((members, take(&mut self.sessions)))));
    }
}
