//! The things a guild is made of, as they are stored and sent.

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, impl_borrow_decode};
use crate::{ChannelId, Millis, Name, Nick, Permissions, Position, RoleId, UserId};

/// A guild's own record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GuildSettings {
    /// How the guild is called.
    pub name: Name,
    /// The member who may do everything and cannot be removed.
    pub owner: UserId,
}

/// A named set of permissions that members may hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Role {
    /// Its id; the everyone role's is its guild's number.
    pub id: RoleId,
    /// How it is called.
    pub name: Name,
    /// Its place in the hierarchy: higher outranks lower, equal positions are decided by the lower id. 0 is the everyone role's.
    pub position: u16,
    /// What it allows in the whole guild.
    pub permissions: Permissions,
    /// Whether rosters show its holders apart.
    pub hoist: bool,
    /// Whether anyone may mention it.
    pub mentionable: bool,
}

/// What a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ChannelKind {
    /// Messages can be published in it.
    Text,
    /// It only groups other channels; its overwrites do not apply to them.
    Category,
}

/// A channel or category, without its overwrites.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// How it is called.
    pub name: Name,
    /// What it is; never changes.
    pub kind: ChannelKind,
    /// The category it is shown under; always `None` for a category.
    pub parent: Option<ChannelId>,
    /// Its place among the guild's channels, for display.
    pub position: u16,
}

impl Channel {
    /// One for messages, in no category, shown before all that have another place.
    pub const fn text(id: ChannelId, name: Name) -> Self {
        Self { id, name, kind: ChannelKind::Text, parent: None, position: 0 }
    }
}

/// Whom an overwrite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum OverwriteTarget {
    /// All who hold a role; the everyone role stands for all members.
    Role(RoleId),
    /// One member.
    User(UserId),
}

/// A channel's exception from what roles say. Where both sets hold a bit, the bit is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Overwrite {
    /// Whom it is for.
    pub target: OverwriteTarget,
    /// What it adds.
    pub allow: Permissions,
    /// What it takes away.
    pub deny: Permissions,
}

/// Marks on a member, opaque to Guildhall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct MemberFlags(pub u16);

impl MemberFlags {
    /// No mark.
    pub const NONE: Self = Self(0);
}

/// A user's record in a guild.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// How the member is called here.
    pub nick: Nick,
    /// The roles held, ascending, without the everyone role.
    pub roles: Vec<RoleId>,
    /// When the member joined, by the owner's clock; if somebody had left who joined no earlier, a millisecond after that one.
    pub joined_at: Millis,
    /// Marks on the member.
    pub flags: MemberFlags,
}

/// Whether a user is there, as told by a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Status {
    /// Not to be shown as there. A member without sessions is offline too.
    #[default]
    Offline = 0,
    /// There, but away.
    Idle = 1,
    /// There, not to be disturbed.
    DoNotDisturb = 2,
    /// There.
    Online = 3,
}

impl Status {
    /// Whether the member counts as online: any status but offline.
    pub const fn is_online(self) -> bool {
        !matches!(self, Self::Offline)
    }

    /// The status of this number (0 to 3), if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Offline),
            1 => Some(Self::Idle),
            2 => Some(Self::DoNotDisturb),
            3 => Some(Self::Online),
            4.. => None,
        }
    }
}

impl Encode for Status {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (*self as u8).encode(encoder)
    }
}

impl<Context> Decode<Context> for Status {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::from_number(u8::decode(decoder)?).ok_or(DecodeError::Other("a status is 0 to 3"))
    }
}

impl_borrow_decode!(Status);

/// How closely a session listens to a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub enum Level {
    /// The user looks at the guild: the session hears all that its member may see.
    #[default]
    Active,
    /// The user looks elsewhere: the session hears what calls its user and what changes the guild, and of the rest a summary.
    Passive,
}

/// What a passive session is told of the messages that it does not hear. It has no number of its own in the guild's order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Unread {
    /// The last event that it takes into account.
    pub at: Position,
    /// The channels with news since the summary before, ascending, at least one.
    pub channels: Vec<ChannelId>,
}

/// Whom a message calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Mentions {
    /// Single members.
    pub users: Vec<UserId>,
    /// All holders of these roles.
    pub roles: Vec<RoleId>,
    /// All members who see the channel.
    pub everyone: bool,
    /// All members who see the channel and are online.
    pub here: bool,
}

impl Mentions {
    /// Whether nobody is called.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.roles.is_empty() && !self.everyone && !self.here
    }
}
