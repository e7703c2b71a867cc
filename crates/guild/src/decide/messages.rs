//! Publishing and typing, and who may call whom.

use guildhall_permissions::Authority;
use guildhall_proto::{
    ChannelId, ChannelKind, CommandError, EventKind, Limited, ListedThing, Mentions, Message, Permissions, Publish,
    RoleId, UserId,
};

use super::{Decision, Scene, denied, sort_distinct, within};

/// Whether anybody may publish as any session.
fn is_anyones() -> bool {
    #[cfg(feature = "defects")]
    return guildhall_proto::Defect::ForeignPublisher.is_on();
    #[cfg(not(feature = "defects"))]
    false
}

impl Scene<'_> {
    pub(super) fn publish(&self, authority: &Authority<'_>, publish: Publish) -> Result<Decision, CommandError> {
        let Publish { channel, payload, mut mentions, session, echo } = publish;
        self.require_may_publish(authority, channel)?;
        let author = authority.user();
        if let Some(session) = session {
            match self.sessions.user(session) {
                None => return Err(CommandError::UnknownSession { session }),
                user if user != author && !is_anyones() => return Err(CommandError::ForeignSession { session }),
                Some(_) => {}
            }
        }
        self.require_mentionable(authority, channel, &mut mentions)?;
        Ok(Decision::change(EventKind::MessagePublished(Message { channel, author, session, echo, mentions, payload })))
    }

    /// Who may publish in a channel may tell that it types there.
    pub(crate) fn require_may_type(&self, user: UserId, channel: ChannelId) -> Result<(), CommandError> {
        let roles = self.members.roles(user).ok_or(CommandError::UnknownMember { user })?;
        self.require_may_publish(&Authority::member(self.rights, user, &roles), channel)
    }

    fn require_may_publish(&self, authority: &Authority<'_>, channel: ChannelId) -> Result<(), CommandError> {
        let kind = self.rights.channel(channel).ok_or(CommandError::UnknownChannel { channel })?.kind;
        authority.require_within(channel, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES).map_err(denied)?;
        match kind {
            ChannelKind::Text => Ok(()),
            ChannelKind::Category => Err(CommandError::NotText { channel }),
        }
    }

    /// A mention that the author may not make is refused, not stripped. Sorts the lists.
    fn require_mentionable(
        &self,
        authority: &Authority<'_>,
        channel: ChannelId,
        mentions: &mut Mentions,
    ) -> Result<(), CommandError> {
        within(Limited::MentionUsers, mentions.users.len())?;
        within(Limited::MentionRoles, mentions.roles.len())?;
        sort_distinct(&mut mentions.users, ListedThing::User, |user| *user, UserId::get)?;
        sort_distinct(&mut mentions.roles, ListedThing::Role, |role| *role, RoleId::get)?;
        for user in &mentions.users {
            self.require_member(*user)?;
        }
        let mut privileged = mentions.everyone || mentions.here;
        for role in &mentions.roles {
            if self.is_everyone(*role) {
                return Err(CommandError::EveryoneRole);
            }
            let role = self.rights.role(*role).ok_or(CommandError::UnknownRole { role: *role })?;
            privileged |= !role.mentionable;
        }
        if privileged {
            authority.require_within(channel, Permissions::MENTION_EVERYONE).map_err(denied)?;
        }
        Ok(())
    }
}
