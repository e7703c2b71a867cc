//! Ids: 64-bit snowflakes as newtypes, so that two of them cannot be confused.
//!
//! 0 and the maximum are refused everywhere: they are what uninitialised and saturated counters look like.

use std::fmt;
use std::num::NonZeroU64;

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, impl_borrow_decode};

/// Why a number is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not a {kind} id: 0 and {max} are reserved", max = u64::MAX)]
pub struct IdError {
    /// Which kind of id was asked for, as written in the documentation (`user`, `role`, …).
    pub kind: &'static str,
    /// The number refused.
    pub value: u64,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The smallest id there is; the lower end of a range that leaves nothing out.
            pub const MIN: Self = Self(NonZeroU64::MIN);

            /// Accepts any number but 0 and the maximum.
            ///
            /// # Errors
            /// [`IdError`] for one of those two.
            pub const fn new(value: u64) -> Result<Self, IdError> {
                match NonZeroU64::new(value) {
                    Some(value) if value.get() != u64::MAX => Ok(Self(value)),
                    Some(_) | None => Err(IdError { kind: $kind, value }),
                }
            }

            /// The number itself, never 0 nor the maximum.
            pub const fn get(self) -> u64 {
                self.0.get()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, ":{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = IdError;

            fn try_from(value: u64) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                self.get().encode(encoder)
            }
        }

        impl<Context> Decode<Context> for $name {
            fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
                Self::new(u64::decode(decoder)?).map_err(|error| DecodeError::OtherString(error.to_string()))
            }
        }

        impl_borrow_decode!($name);
    };
}

id!(
    /// A person, in whatever guilds.
    UserId,
    "user"
);
id!(
    /// A community.
    GuildId,
    "guild"
);
id!(
    /// A channel or category of one guild.
    ChannelId,
    "channel"
);
id!(
    /// A role of one guild. The everyone role bears its guild's number: see [`RoleId::everyone`].
    RoleId,
    "role"
);
id!(
    /// One connected client of a user.
    SessionId,
    "session"
);
id!(
    /// One participant of the cluster.
    NodeId,
    "node"
);
id!(
    /// Whoever numbers operations: one instance of a chat backend's process, new at each of its starts.
    ClientId,
    "client"
);

/// Which of the times that a session was attached or came back: only the latest holds it. Rises with each; chosen by the guild's owner, who numbers
/// them from one: from a peer none is decoded that is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode)]
pub struct Generation(pub u64);

impl<Context> Decode<Context> for Generation {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        match u64::decode(decoder)? {
            0 => Err(DecodeError::Other("generations are numbered from 1")),
            number => Ok(Self(number)),
        }
    }
}

impl_borrow_decode!(Generation);

/// On whose word an owner knows a session: one run of a backend node, for as long as its links to the owner's node do not stay away too long. Chosen by
/// the owner's node; means nothing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Sponsor(pub u32);

impl Sponsor {
    /// The owner's own process: it is there as long as the owner.
    pub const HERE: Self = Self(0);
}

impl RoleId {
    /// The role that every member of `guild` has without holding it.
    pub const fn everyone(guild: GuildId) -> Self {
        Self(guild.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn zero_and_the_maximum_are_no_ids() {
        assert_eq!(UserId::new(0), Err(IdError { kind: "user", value: 0 }));
        assert_eq!(UserId::new(u64::MAX), Err(IdError { kind: "user", value: u64::MAX }));
        assert_eq!(UserId::new(1).unwrap().get(), 1);
        assert_eq!(UserId::new(u64::MAX - 1).unwrap().get(), u64::MAX - 1);
    }

    #[test]
    fn a_reserved_number_from_a_peer_is_refused_by_the_codec() {
        for reserved in [0, u64::MAX] {
            let bytes = codec::encode(&reserved).unwrap();
            assert!(codec::decode::<RoleId>(&bytes).is_err());
        }
    }
}
