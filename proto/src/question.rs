//! What may be asked about all members of a guild at once.

use crate::codec::{Decode, Encode};
use crate::{ChannelId, RoleId};

/// Whom to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Question {
    /// All members.
    All,
    /// All members who see the channel.
    Everyone {
        /// The channel.
        channel: ChannelId,
    },
    /// All members who see the channel and are online.
    Here {
        /// The channel.
        channel: ChannelId,
    },
    /// All members who hold the role and, if a channel is named, see that. Everybody holds the everyone role.
    Role {
        /// The role.
        role: RoleId,
        /// The channel, if it matters.
        channel: Option<ChannelId>,
    },
}

impl Question {
    /// The channel that those asked for must see, if there is one.
    pub const fn channel(self) -> Option<ChannelId> {
        match self {
            Self::All => None,
            Self::Everyone { channel } | Self::Here { channel } => Some(channel),
            Self::Role { channel, .. } => channel,
        }
    }

    /// Whether only those are asked for who are online.
    pub const fn is_online_only(self) -> bool {
        match self {
            Self::Here { .. } => true,
            Self::All | Self::Everyone { .. } | Self::Role { .. } => false,
        }
    }
}
