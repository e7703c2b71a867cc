//! What a guild may be asked to do.

use crate::codec::{Decode, Encode};
use crate::{
    Channel, ChannelId, MemberFlags, Mentions, Millis, Name, Nick, Overwrite, OverwriteTarget, Payload, Permissions,
    Reason, Role, RoleId, SessionId, UserId,
};

/// On whose behalf a command comes; decides what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Actor {
    /// The chat backend itself: bound by limits and consistency, not by permissions or rank.
    System,
    /// A member: bound by permissions and the role hierarchy.
    User(UserId),
}

/// A request that may be refused. Ids of new things are chosen by the caller (snowflakes); texts, ids and permission bits are
/// well-formed by their types, everything else is checked by the guild.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Brings the guild to life with its everyone role and its owner as the first member. System only.
    CreateGuild {
        /// How the guild is called.
        name: Name,
        /// What every member may do to begin with.
        everyone: Permissions,
        /// The owner-to-be; may hold no roles yet.
        owner: NewMember,
    },
    /// Changes the guild's settings. Needs `MANAGE_GUILD`.
    UpdateGuild(GuildEdit),
    /// Ends the guild. Its owner or the system only.
    DeleteGuild,
    /// Makes another member the owner. The owner or the system only.
    TransferOwnership {
        /// The member who becomes owner.
        to: UserId,
    },
    /// Adds a role. Needs `MANAGE_ROLES`, a position below the actor's own, and no permission that the actor lacks.
    CreateRole(Role),
    /// Changes a role below the actor's own. Needs `MANAGE_ROLES`.
    UpdateRole {
        /// Which role; may be the everyone role, of which only the permissions can change.
        role: RoleId,
        /// What becomes of it.
        edit: RoleEdit,
    },
    /// Deletes a role below the actor's own, from all who hold it and from every channel. Needs `MANAGE_ROLES`.
    DeleteRole {
        /// Which role; never the everyone role.
        role: RoleId,
    },
    /// Gives roles new positions. Needs `MANAGE_ROLES`; every role moved stands below the actor's own before and after.
    ReorderRoles {
        /// Roles other than everyone, once each, with the positions they get (1 or higher).
        positions: Vec<(RoleId, u16)>,
    },
    /// Adds a channel or category. Needs `MANAGE_CHANNELS`, and `MANAGE_ROLES` if it brings overwrites.
    CreateChannel {
        /// The new channel.
        channel: Channel,
        /// Its overwrites, one a target.
        overwrites: Vec<Overwrite>,
    },
    /// Changes a channel. Needs `MANAGE_CHANNELS` in it.
    UpdateChannel {
        /// Which channel.
        channel: ChannelId,
        /// What becomes of it.
        edit: ChannelEdit,
    },
    /// Deletes a channel; a category leaves its channels without a parent. Needs `MANAGE_CHANNELS` in it.
    DeleteChannel {
        /// Which channel.
        channel: ChannelId,
    },
    /// Gives channels new positions. Needs `MANAGE_CHANNELS`, in each of them too.
    ReorderChannels {
        /// Channels, once each, with the positions they get.
        positions: Vec<(ChannelId, u16)>,
    },
    /// Adds or replaces a channel's overwrite for one target. Needs `MANAGE_ROLES` in the channel, a target below the actor, and
    /// there every permission that is given or taken by it. For the system a user need not be a member, as in [`CreateChannel`](Self::CreateChannel): an
    /// overwrite outlives its user's membership.
    SetOverwrite {
        /// Which channel.
        channel: ChannelId,
        /// The overwrite.
        overwrite: Overwrite,
    },
    /// Takes a channel's overwrite for one target away. Needs what [`SetOverwrite`](Self::SetOverwrite) needs.
    RemoveOverwrite {
        /// Which channel.
        channel: ChannelId,
        /// Whose overwrite.
        target: OverwriteTarget,
    },
    /// Adds one member, who may not be banned. System only: who may join is the chat backend's business.
    AddMember(NewMember),
    /// Changes a member. A nick needs `CHANGE_NICKNAME` (own) or `MANAGE_NICKNAMES` (others below the actor), roles need
    /// `MANAGE_ROLES` and must lie below the actor's own, flags are the system's.
    UpdateMember {
        /// Who.
        user: UserId,
        /// What becomes of the record.
        edit: MemberEdit,
    },
    /// Removes a member other than the owner. Anyone may leave; others need `KICK_MEMBERS` and a higher rank.
    RemoveMember {
        /// Who.
        user: UserId,
    },
    /// Publishes a message. Needs `VIEW_CHANNEL` and `SEND_MESSAGES` in the channel, and for its mentions `MENTION_EVERYONE`
    /// (everyone, here, roles that are not mentionable by all).
    Publish(Publish),
    /// Keeps a user out: ends the membership, if there is one, and refuses to add the user until unbanned. A ban that is there
    /// gets the new reason. Needs `BAN_MEMBERS` and, against a member, a higher rank; the owner cannot be banned.
    Ban {
        /// Whom, a member or not.
        user: UserId,
        /// Why, if that is said.
        reason: Option<Reason>,
    },
    /// Lifts a ban. Needs `BAN_MEMBERS`.
    Unban {
        /// Whose.
        user: UserId,
    },
    /// Removes many members, spread over turns: other commands come between, and the answer with the last of it. Needs
    /// `KICK_MEMBERS` and `MANAGE_GUILD`.
    ///
    /// The owner, the actor, and those who do not rank below the actor stay; so do those who no longer match when it is their
    /// turn. If the actor loses what it needs on the way, the rest stays. A retry after a crash goes on where it stopped.
    PruneMembers(PruneBy),
    /// Adds up to 10,000 members, spread over turns: other commands come between, and the answer with the last of it. Lines are
    /// added in order until one is bad, and then no more: what was before it stays, and the outcome says which it is and why.
    /// Who is a member already stays as is, who is banned is left out; both are counted. System only.
    ///
    /// An import of any size is a sequence of such calls. It is resumed, by whomever, by sending again what may have been cut
    /// off: lines that were added before are counted as existing. A retry after a crash goes on where it stopped.
    ImportMembers(Vec<NewMember>),
}

/// Whom a prune removes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PruneBy {
    /// All who hold a role, online or not.
    Role(RoleId),
    /// Those without any role who joined before this and have no session attached.
    Idle {
        /// As of when they had joined.
        joined_before: Millis,
    },
    /// At most 10,000 users of whom the chat backend knows that they have been away for long; who has a session attached
    /// stays. Users who are no members are passed over.
    Absent(Vec<UserId>),
}

/// A member to be added.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewMember {
    /// Who.
    pub user: UserId,
    /// How the member is to be called.
    pub nick: Nick,
    /// Roles to hold from the start, in any order, without the everyone role.
    pub roles: Vec<RoleId>,
    /// Marks on the member.
    pub flags: MemberFlags,
}

impl NewMember {
    /// One without roles and flags.
    pub const fn new(user: UserId, nick: Nick) -> Self {
        Self { user, nick, roles: Vec::new(), flags: MemberFlags::NONE }
    }
}

/// Changes of a guild's settings; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct GuildEdit {
    /// The new name.
    pub name: Option<Name>,
}

/// Changes of a role; what is `None` stays. Positions change by [`Command::ReorderRoles`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RoleEdit {
    /// The new name.
    pub name: Option<Name>,
    /// The new permissions.
    pub permissions: Option<Permissions>,
    /// Whether rosters show its holders apart.
    pub hoist: Option<bool>,
    /// Whether anyone may mention it.
    pub mentionable: Option<bool>,
}

/// Changes of a channel; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ChannelEdit {
    /// The new name.
    pub name: Option<Name>,
    /// The new category; `Some(None)` takes the channel out of its category.
    pub parent: Option<Option<ChannelId>>,
}

/// Changes of a member; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct MemberEdit {
    /// The new nick.
    pub nick: Option<Nick>,
    /// All roles to hold from now on, in any order, without the everyone role.
    pub roles: Option<Vec<RoleId>>,
    /// The new marks.
    pub flags: Option<MemberFlags>,
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Publish {
    /// Where.
    pub channel: ChannelId,
    /// The content.
    pub payload: Payload,
    /// Whom it calls.
    pub mentions: Mentions,
    /// The author's session that publishes it, if it has one attached.
    pub session: Option<SessionId>,
    /// Whether that session hears the message too. The author's other sessions always do.
    pub echo: bool,
}

impl Publish {
    /// One that calls nobody, of none of the author's sessions: all of them hear it.
    pub fn new(channel: ChannelId, payload: Payload) -> Self {
        Self { channel, payload, mentions: Mentions::default(), session: None, echo: false }
    }
}

impl Command {
    /// What it is called, here and in `SPEC.md`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateGuild { .. } => "CreateGuild",
            Self::UpdateGuild(_) => "UpdateGuild",
            Self::DeleteGuild => "DeleteGuild",
            Self::TransferOwnership { .. } => "TransferOwnership",
            Self::CreateRole(_) => "CreateRole",
            Self::UpdateRole { .. } => "UpdateRole",
            Self::DeleteRole { .. } => "DeleteRole",
            Self::ReorderRoles { .. } => "ReorderRoles",
            Self::CreateChannel { .. } => "CreateChannel",
            Self::UpdateChannel { .. } => "UpdateChannel",
            Self::DeleteChannel { .. } => "DeleteChannel",
            Self::ReorderChannels { .. } => "ReorderChannels",
            Self::SetOverwrite { .. } => "SetOverwrite",
            Self::RemoveOverwrite { .. } => "RemoveOverwrite",
            Self::AddMember(_) => "AddMember",
            Self::UpdateMember { .. } => "UpdateMember",
            Self::RemoveMember { .. } => "RemoveMember",
            Self::Publish(_) => "Publish",
            Self::Ban { .. } => "Ban",
            Self::Unban { .. } => "Unban",
            Self::PruneMembers(_) => "PruneMembers",
            Self::ImportMembers(_) => "ImportMembers",
        }
    }

    /// Whether the command changes durable state. All but publishing do.
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Publish(_))
    }

    /// The user whom the command names, if it is about one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::AddMember(NewMember { user, .. })
            | Self::UpdateMember { user, .. }
            | Self::RemoveMember { user }
            | Self::Ban { user, .. }
            | Self::Unban { user }
            | Self::TransferOwnership { to: user } => Some(*user),
            Self::CreateGuild { .. }
            | Self::UpdateGuild(_)
            | Self::DeleteGuild
            | Self::CreateRole(_)
            | Self::UpdateRole { .. }
            | Self::DeleteRole { .. }
            | Self::ReorderRoles { .. }
            | Self::CreateChannel { .. }
            | Self::UpdateChannel { .. }
            | Self::DeleteChannel { .. }
            | Self::ReorderChannels { .. }
            | Self::SetOverwrite { .. }
            | Self::RemoveOverwrite { .. }
            | Self::Publish(_)
            | Self::PruneMembers(_)
            | Self::ImportMembers(_) => None,
        }
    }

    /// About how much memory the command takes, in bytes: what bounds of queues count. O(members) for an import.
    pub fn weight_bytes(&self) -> usize {
        let heap = match self {
            Self::CreateGuild { name, owner, .. } => name.heap_bytes() + owner.heap_bytes(),
            Self::UpdateGuild(edit) => text_bytes(edit.name.as_ref()),
            Self::CreateRole(role) => role.name.heap_bytes(),
            Self::UpdateRole { edit, .. } => text_bytes(edit.name.as_ref()),
            Self::ReorderRoles { positions } => size_of_val(&positions[..]),
            Self::CreateChannel { channel, overwrites } => channel.name.heap_bytes() + size_of_val(&overwrites[..]),
            Self::UpdateChannel { edit, .. } => text_bytes(edit.name.as_ref()),
            Self::ReorderChannels { positions } => size_of_val(&positions[..]),
            Self::AddMember(new) => new.heap_bytes(),
            Self::ImportMembers(new) => new.iter().map(|new| size_of::<NewMember>() + new.heap_bytes()).sum(),
            Self::UpdateMember { edit, .. } => {
                edit.nick.as_ref().map_or(0, |nick| nick.heap_bytes())
                    + edit.roles.as_ref().map_or(0, |roles| size_of_val(&roles[..]))
            }
            Self::Publish(publish) => {
                publish.payload.bytes().len()
                    + size_of_val(&publish.mentions.users[..])
                    + size_of_val(&publish.mentions.roles[..])
            }
            Self::Ban { reason, .. } => reason.as_ref().map_or(0, |reason| reason.heap_bytes()),
            Self::PruneMembers(by) => match by {
                PruneBy::Absent(users) => size_of_val(&users[..]),
                PruneBy::Role(_) | PruneBy::Idle { .. } => 0,
            },
            Self::DeleteGuild
            | Self::Unban { .. }
            | Self::TransferOwnership { .. }
            | Self::DeleteRole { .. }
            | Self::DeleteChannel { .. }
            | Self::SetOverwrite { .. }
            | Self::RemoveOverwrite { .. }
            | Self::RemoveMember { .. } => 0,
        };
        size_of::<Self>() + heap
    }
}

impl NewMember {
    fn heap_bytes(&self) -> usize {
        self.nick.heap_bytes() + size_of_val(&self.roles[..])
    }
}

fn text_bytes(name: Option<&Name>) -> usize {
    name.map_or(0, |name| name.heap_bytes())
}
