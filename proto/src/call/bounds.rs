//! Numbers and lists of a request that are bounded by themselves: checked once, where they are made or decoded.

use std::time::Duration;

use smol_str::SmolStr;

use crate::UserId;
use crate::codec::{
    Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, decode_list, decode_text, impl_borrow_decode,
};
use crate::limits::{BULK_MEMBERS_MAX, NICK_CHARS_MAX};

/// How long a caller waits: 1 ms to 10 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Within(u32);

/// How many of something at most: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageLimit(u32);

/// The beginning of a nick: at most 32 characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(SmolStr);

/// No nick begins so, for none is so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix of {chars} characters; at most {max} are allowed", max = NICK_CHARS_MAX)]
pub struct PrefixTooLong {
    /// Its characters.
    pub chars: usize,
}

/// Users, ascending, none twice, at most 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Users(Vec<UserId>);

/// More users than one request may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{users} users; at most {max} are allowed", max = BULK_MEMBERS_MAX)]
pub struct TooManyUsers {
    /// How many.
    pub users: usize,
}

impl Within {
    /// The longest that a caller may wait.
    pub const MAX: Self = Self(600_000);

    /// What is left of a caller's time, in whole milliseconds and [`MAX`](Self::MAX) at most; `None` if not even one is.
    pub fn new(left: Duration) -> Option<Self> {
        let millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).min(Self::MAX.0);
        (millis > 0).then_some(Self(millis))
    }

    /// The time that is left.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

impl PageLimit {
    /// The greatest.
    pub const MAX: Self = Self(1_000);

    /// Any number from 1 to 1,000.
    pub const fn new(limit: u32) -> Option<Self> {
        if limit > 0 && limit <= Self::MAX.0 { Some(Self(limit)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Prefix {
    /// Takes `text` as it is.
    ///
    /// # Errors
    /// [`PrefixTooLong`] past the length of a nick.
    pub fn new(text: &str) -> Result<Self, PrefixTooLong> {
        match text.chars().count() {
            0..=NICK_CHARS_MAX => Ok(Self(SmolStr::new(text))),
            chars => Err(PrefixTooLong { chars }),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Users {
    /// Takes users in any order, also some twice.
    ///
    /// # Errors
    /// [`TooManyUsers`] if more than 10,000 are left that differ.
    pub fn new(mut users: Vec<UserId>) -> Result<Self, TooManyUsers> {
        users.sort_unstable();
        users.dedup();
        match users.len() {
            0..=BULK_MEMBERS_MAX => Ok(Self(users)),
            count => Err(TooManyUsers { users: count }),
        }
    }

    /// The users, ascending.
    pub fn as_slice(&self) -> &[UserId] {
        &self.0
    }

    pub(super) const fn count(&self) -> u32 {
        // At most 10,000.
        self.0.len() as u32
    }
}

impl Encode for Within {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<Context> Decode<Context> for Within {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let within = Self(u32::decode(decoder)?);
        let is_allowed = (Self(1)..=Self::MAX).contains(&within);
        is_allowed.then_some(within).ok_or(DecodeError::Other("a caller waits for 1 to 600,000 milliseconds"))
    }
}

impl_borrow_decode!(Within);

impl Encode for PageLimit {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<Context> Decode<Context> for PageLimit {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::new(u32::decode(decoder)?).ok_or(DecodeError::Other("the limit of a page is 1 to 1,000"))
    }
}

impl_borrow_decode!(PageLimit);

impl Encode for Prefix {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.as_str().encode(encoder)
    }
}

impl<Context> Decode<Context> for Prefix {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let text = decode_text(decoder, NICK_CHARS_MAX * char::MAX_LEN_UTF8)?;
        Self::new(&text).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl_borrow_decode!(Prefix);

impl Encode for Users {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<Context> Decode<Context> for Users {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let users: Vec<UserId> = decode_list(decoder, BULK_MEMBERS_MAX)?;
        if !users.is_sorted_by(|before, after| before < after) {
            return Err(DecodeError::Other("users ascend"));
        }
        Self::new(users).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

impl_borrow_decode!(Users);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_callers_time_is_rounded_down_and_bounded() {
        let within = |micros| Within::new(Duration::from_micros(micros)).map(Within::duration);
        assert_eq!(within(999), None);
        assert_eq!(within(1_999), Some(Duration::from_millis(1)));
        assert_eq!(Within::new(Duration::MAX), Some(Within::MAX));
        assert_eq!(Within::MAX.duration(), Duration::from_secs(600));
    }

    #[test]
    fn users_are_put_in_order_and_counted_once() {
        let user = |id| UserId::new(id).unwrap();
        assert_eq!(Users::new(vec![user(9), user(7), user(9)]).unwrap().as_slice(), [user(7), user(9)]);
        let many = |count| (1..=count).flat_map(|id| [user(id), user(id)]).collect();
        assert!(Users::new(many(10_000)).is_ok());
        assert_eq!(Users::new(many(10_001)), Err(TooManyUsers { users: 10_001 }));
    }

    #[test]
    fn a_prefix_is_as_long_as_a_nick_at_most() {
        assert_eq!(Prefix::new(&"ä".repeat(32)).unwrap().as_str(), "ä".repeat(32));
        assert_eq!(Prefix::new(&"a".repeat(33)), Err(PrefixTooLong { chars: 33 }));
    }
}
