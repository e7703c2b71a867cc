//! Nicks, names and reasons: short text that people choose, checked once and then trusted.

use std::fmt;

use smol_str::SmolStr;

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, decode_text, impl_borrow_decode};
use crate::limits::{NAME_CHARS_MAX, NICK_CHARS_MAX, REASON_CHARS_MAX};

/// Why a text is no nick, name or reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing is left after trimming.
    #[error("a {what} may not be blank")]
    Blank {
        /// What it was to be: a nick, a name, a reason.
        what: &'static str,
    },
    /// More characters than allowed are left after trimming.
    #[error("a {what} of {chars} characters; at most {max} are allowed")]
    TooLong {
        /// What it was to be.
        what: &'static str,
        /// Characters after trimming.
        chars: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A control character stands in it, other than a line feed in a reason.
    #[error("a {what} may hold no control character; one stands at byte {at}")]
    Control {
        /// What it was to be.
        what: &'static str,
        /// Its byte offset after trimming.
        at: usize,
    },
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:ident, $forbidden:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// Trims `text` of white space at both ends and checks what is left.
            ///
            /// # Errors
            /// [`TextError`] says which rule is broken, and the limit.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                let text = text.trim();
                if text.is_empty() {
                    return Err(TextError::Blank { what: $what });
                }
                let forbidden: fn(char) -> bool = $forbidden;
                if let Some((at, _)) = text.char_indices().find(|(_, character)| forbidden(*character)) {
                    return Err(TextError::Control { what: $what, at });
                }
                // Bytes bound characters from above, so most texts are never counted.
                if text.len() > $max {
                    let chars = text.chars().count();
                    if chars > $max {
                        return Err(TextError::TooLong { what: $what, chars, max: $max });
                    }
                }
                Ok(Self(SmolStr::new(text)))
            }

            /// The same for a text that was parsed before and has only been kept since: it is not looked at again.
            pub fn parsed(text: &str) -> Self {
                debug_assert_eq!(Self::parse(text).as_ref().map(Self::as_str), Ok(text));
                Self(SmolStr::new(text))
            }

            /// The text: trimmed, not blank, of allowed characters.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Bytes that it takes beside itself: none if it is short. A clone shares them.
            pub fn heap_bytes(&self) -> usize {
                if self.0.is_heap_allocated() { self.0.len() } else { 0 }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                self.as_str().encode(encoder)
            }
        }

        impl<Context> Decode<Context> for $name {
            fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
                let text = decode_text(decoder, $max * char::MAX_LEN_UTF8)?;
                let parsed = Self::parse(&text).map_err(|error| DecodeError::OtherString(error.to_string()))?;
                // One value, one encoding: an untrimmed text would decode to what encodes otherwise.
                if parsed.as_str().len() != text.len() {
                    return Err(DecodeError::Other(concat!("a ", $what, " must be trimmed")));
                }
                Ok(parsed)
            }
        }

        impl_borrow_decode!($name);
    };
}

text!(
    /// How a member is called in one guild: 1 to 32 characters, trimmed, without control characters.
    Nick,
    "nick",
    NICK_CHARS_MAX,
    char::is_control
);
text!(
    /// How a guild, role or channel is called: 1 to 100 characters, trimmed, without control characters.
    Name,
    "name",
    NAME_CHARS_MAX,
    char::is_control
);
text!(
    /// Why a user was banned: 1 to 512 characters, trimmed, without control characters but line feeds. For moderators' eyes.
    Reason,
    "reason",
    REASON_CHARS_MAX,
    |character| character.is_control() && character != '\n'
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn a_nick_is_trimmed_before_it_is_measured() {
        let longest = "ä".repeat(NICK_CHARS_MAX);
        assert_eq!(Nick::parse(&format!("  {longest}\t")).unwrap().as_str(), longest);
        assert_eq!(Nick::parse(&format!("{longest}x")), Err(TextError::TooLong { what: "nick", chars: 33, max: 32 }));
    }

    #[test]
    fn blank_nicks_and_control_characters_are_refused() {
        assert_eq!(Nick::parse(" \t "), Err(TextError::Blank { what: "nick" }));
        assert_eq!(Nick::parse("a\u{7}b"), Err(TextError::Control { what: "nick", at: 1 }));
    }

    #[test]
    fn a_reason_may_have_several_lines_but_no_other_control_character() {
        let longest = "ä".repeat(REASON_CHARS_MAX);
        assert_eq!(Reason::parse(&format!(" {longest}\n")).unwrap().as_str(), longest);
        assert_eq!(Reason::parse("spam\nagain").unwrap().as_str(), "spam\nagain");
        assert_eq!(Reason::parse("a\r\nb"), Err(TextError::Control { what: "reason", at: 1 }));
        assert_eq!(Reason::parse("\n"), Err(TextError::Blank { what: "reason" }));
        let over = TextError::TooLong { what: "reason", chars: 513, max: 512 };
        assert_eq!(Reason::parse(&format!("{longest}x")), Err(over));
    }

    #[test]
    fn an_untrimmed_nick_from_a_peer_is_refused() {
        let bytes = codec::encode(&String::from(" ada")).unwrap();
        assert!(codec::decode::<Nick>(&bytes).is_err());
    }
}
