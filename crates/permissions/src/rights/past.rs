//! Rights as they were: events taken back, newest first.

use guildhall_proto::EventKind;
#[cfg(feature = "defects")]
use guildhall_proto::{Overwrite, OverwriteTarget};

use super::Rights;

/// An event before which there were no rights: the guild came to life with it. The rights are unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a guild has no rights before its creation")]
pub struct NoPast;

impl Rights {
    /// Brings the rights from just after an event to just before it: the inverse of [`apply`](Self::apply), by what events that
    /// change rights carry of the time before. Events that touch no right change nothing.
    ///
    /// O(roles) or O(channels) for those that change one, and O(overwrites and channels that the event names).
    ///
    /// # Errors
    /// [`NoPast`] for the guild's creation.
    pub fn take_back(&mut self, event: &EventKind) -> Result<(), NoPast> {
        match event {
            EventKind::GuildCreated { .. } => return Err(NoPast),
            #[cfg(feature = "defects")]
            EventKind::RoleUpdated { .. }
            | EventKind::OverwriteChanged { after: Some(Overwrite { target: OverwriteTarget::Role(_), .. }), .. }
                if guildhall_proto::Defect::TakenBackWrongly.is_on() => {}
            EventKind::GuildUpdated { before, .. } => self.contents().settings = before.clone(),
            EventKind::RoleCreated { role } => self.contents().delete_role(role.id),
            EventKind::RoleUpdated { before, .. } => {
                self.contents().roles.put(before.clone());
            }
            EventKind::RoleDeleted { role, overwrites } => {
                let contents = self.contents();
                contents.roles.put(role.clone());
                for (channel, overwrite) in overwrites {
                    contents.overwrite(*channel, None, Some(*overwrite));
                }
            }
            EventKind::RolesReordered { before, .. } => self.contents().reorder_roles(before),
            EventKind::ChannelCreated { channel, .. } => self.contents().delete_channel(channel.id),
            EventKind::ChannelUpdated { before, .. } => self.contents().channel(before.id).channel = before.clone(),
            EventKind::ChannelDeleted { channel, overwrites, children } => {
                let contents = self.contents();
                contents.create_channel(channel, overwrites);
                for child in children {
                    contents.channel(*child).channel.parent = Some(channel.id);
                }
            }
            EventKind::ChannelsReordered { before, .. } => self.contents().reorder_channels(before),
            EventKind::OverwriteChanged { channel, before, after } => {
                self.contents().overwrite(*channel, *after, *before)
            }
            EventKind::GuildDeleted
            | EventKind::MemberJoined { .. }
            | EventKind::MembersJoined { .. }
            | EventKind::MemberUpdated { .. }
            | EventKind::MemberLeft { .. }
            | EventKind::MessagePublished(_)
            | EventKind::MembersLeft { .. }
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. } => {}
        }
        Ok(())
    }
}
