//! Permission bits, numbered as in Discord's public documentation ("Permissions", topic *Bitwise Permission Flags*).

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not, Sub};

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, impl_borrow_decode};

/// A set of permissions. Only known bits can be in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Permissions(u64);

/// Bits were given that name no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission bits {unknown:#x}; known are {known:#x}", known = Permissions::ALL.bits())]
pub struct UnknownPermissionBits {
    /// Those of the bits given that are unknown.
    pub unknown: u64,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $bit:literal,)*) => {
        impl Permissions {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every permission there is.
            pub const ALL: Self = Self(0 $(| 1 << $bit)*);

            /// Name and value of each permission, in the order of their bits.
            pub const NAMED: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name),)*];
        }
    };
}

permissions! {
    /// Make invitations.
    CREATE_INSTANT_INVITE = 0,
    /// Remove members.
    KICK_MEMBERS = 1,
    /// Ban members.
    BAN_MEMBERS = 2,
    /// Have every permission, whatever channels say.
    ADMINISTRATOR = 3,
    /// Make, change and delete channels.
    MANAGE_CHANNELS = 4,
    /// Change the guild's settings.
    MANAGE_GUILD = 5,
    /// React to messages.
    ADD_REACTIONS = 6,
    /// Read the audit log.
    VIEW_AUDIT_LOG = 7,
    /// Be heard above others in voice.
    PRIORITY_SPEAKER = 8,
    /// Stream video.
    STREAM = 9,
    /// See a channel: without it nothing of the channel reaches a session.
    VIEW_CHANNEL = 10,
    /// Publish messages in a channel.
    SEND_MESSAGES = 11,
    /// Publish messages read aloud.
    SEND_TTS_MESSAGES = 12,
    /// Delete or pin others' messages.
    MANAGE_MESSAGES = 13,
    /// Have links unfolded.
    EMBED_LINKS = 14,
    /// Attach files.
    ATTACH_FILES = 15,
    /// Read what was published earlier.
    READ_MESSAGE_HISTORY = 16,
    /// Mention everyone, here, and roles that are not mentionable by all.
    MENTION_EVERYONE = 17,
    /// Use emojis of other guilds.
    USE_EXTERNAL_EMOJIS = 18,
    /// See the guild's statistics.
    VIEW_GUILD_INSIGHTS = 19,
    /// Join voice.
    CONNECT = 20,
    /// Speak in voice.
    SPEAK = 21,
    /// Mute others in voice.
    MUTE_MEMBERS = 22,
    /// Deafen others in voice.
    DEAFEN_MEMBERS = 23,
    /// Move others between voice channels.
    MOVE_MEMBERS = 24,
    /// Speak without push-to-talk.
    USE_VAD = 25,
    /// Change one's own nick.
    CHANGE_NICKNAME = 26,
    /// Change others' nicks.
    MANAGE_NICKNAMES = 27,
    /// Manage roles below one's own, and channels' overwrites.
    MANAGE_ROLES = 28,
    /// Manage webhooks.
    MANAGE_WEBHOOKS = 29,
    /// Change and delete emojis, stickers and sounds.
    MANAGE_GUILD_EXPRESSIONS = 30,
    /// Use applications' commands.
    USE_APPLICATION_COMMANDS = 31,
    /// Ask to speak on a stage.
    REQUEST_TO_SPEAK = 32,
    /// Change and delete scheduled events.
    MANAGE_EVENTS = 33,
    /// Manage threads.
    MANAGE_THREADS = 34,
    /// Open public threads.
    CREATE_PUBLIC_THREADS = 35,
    /// Open private threads.
    CREATE_PRIVATE_THREADS = 36,
    /// Use stickers of other guilds.
    USE_EXTERNAL_STICKERS = 37,
    /// Publish in threads.
    SEND_MESSAGES_IN_THREADS = 38,
    /// Start activities.
    USE_EMBEDDED_ACTIVITIES = 39,
    /// Time members out.
    MODERATE_MEMBERS = 40,
    /// See role subscription insights.
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 41,
    /// Use the soundboard.
    USE_SOUNDBOARD = 42,
    /// Make emojis, stickers and sounds.
    CREATE_GUILD_EXPRESSIONS = 43,
    /// Make scheduled events.
    CREATE_EVENTS = 44,
    /// Use sounds of other guilds.
    USE_EXTERNAL_SOUNDS = 45,
    /// Send voice messages.
    SEND_VOICE_MESSAGES = 46,
    /// Open polls.
    SEND_POLLS = 49,
    /// Have applications answer in public.
    USE_EXTERNAL_APPS = 50,
    /// Pin messages.
    PIN_MESSAGES = 51,
    /// Publish despite slow mode.
    BYPASS_SLOWMODE = 52,
}

impl Permissions {
    /// No permission at all.
    pub const NONE: Self = Self(0);

    /// Accepts known bits only.
    ///
    /// # Errors
    /// [`UnknownPermissionBits`] names the rest.
    pub const fn from_bits(bits: u64) -> Result<Self, UnknownPermissionBits> {
        match bits & !Self::ALL.0 {
            0 => Ok(Self(bits)),
            unknown => Err(UnknownPermissionBits { unknown }),
        }
    }

    /// The bits, as the public documentation numbers them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether every permission of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Permissions {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Permissions {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The permissions of the left that are not in the right.
impl Sub for Permissions {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Every known permission that is not in the set.
impl Not for Permissions {
    type Output = Self;
    fn not(self) -> Self {
        Self::ALL - self
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("ALL");
        }
        let held = Self::NAMED.iter().filter(|(_, bit)| self.contains(*bit)).map(|(name, _)| *name);
        f.write_str(&held.collect::<Vec<_>>().join("|"))
    }
}

impl Encode for Permissions {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<Context> Decode<Context> for Permissions {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::from_bits(u64::decode(decoder)?).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl_borrow_decode!(Permissions);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_refused_by_name() {
        assert_eq!(Permissions::from_bits(1 << 47 | 1), Err(UnknownPermissionBits { unknown: 1 << 47 }));
        assert_eq!(Permissions::from_bits(u64::MAX).unwrap_err().unknown, !Permissions::ALL.bits());
        assert_eq!(Permissions::from_bits(Permissions::ALL.bits()), Ok(Permissions::ALL));
    }

    #[test]
    fn taking_away_what_is_not_there_changes_nothing() {
        let set = Permissions::VIEW_CHANNEL | Permissions::SPEAK;
        assert_eq!(set - Permissions::CONNECT, set);
        assert_eq!(set - Permissions::SPEAK, Permissions::VIEW_CHANNEL);
        assert_eq!(!Permissions::NONE, Permissions::ALL);
    }
}
