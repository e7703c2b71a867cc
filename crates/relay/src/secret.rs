//! The secret by which a session comes back on any backend node, without a store: signed with a key that the cluster shares.
//!
//! A secret names a session of a user in a guild, the [`Generation`] that holds it, and when it expires, and bears an HMAC-SHA-256
//! (RFC 2104) of all that, in the form that `proto/SPEC.md` §7 writes down. Whoever has the keys can tell a true one, in constant
//! time; that it is used once is the guild's part, which knows the generation. Keys rotate: the one before the present one is still
//! taken, or the one that comes next already is.
//!
//! ```
//! use guildhall_proto::{Generation, GuildId, Millis, SessionId, UserId};
//! use guildhall_relay::{Claims, SecretError, SecretKey, SecretKeys};
//!
//! let keys = SecretKeys::new(SecretKey { number: 1, key: [7; 32] }); // From the system's randomness, in earnest.
//! let (guild, session, user) = (GuildId::new(1)?, SessionId::new(9)?, UserId::new(7)?);
//! let claims = Claims { guild, session, user, generation: Generation(3), expires_at: Millis(60_000) };
//!
//! let text = keys.sign(&claims).to_string(); // To the client, and back.
//! let secret = text.parse()?;
//! assert_eq!(keys.verify(&secret, guild, session, user, Millis(59_999))?, Generation(3));
//! assert_eq!(keys.verify(&secret, guild, session, user, Millis(60_000)), Err(SecretError::Expired { at: Millis(60_000) }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::str::FromStr;

use guildhall_proto::{Generation, GuildId, Millis, SecretKey, SessionId, UserId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The keys of a cluster: what is signed with either is taken, and the current one signs. The other is the one before, for as long as what it has
/// signed is good; or the next one, for as long as it takes until all have it who are shown what it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKeys {
    current: SecretKey,
    previous: Option<SecretKey>,
}

/// What a secret says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// In which guild.
    pub guild: GuildId,
    /// Which session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// As which the session is held.
    pub generation: Generation,
    /// From when on the secret is not taken any more.
    pub expires_at: Millis,
}

/// A session's secret: opaque bytes, or twice as many hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; Secret::BYTES]);

/// Why a secret is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No secret of this version looks so.
    #[error("{bytes} bytes that are no session's secret of version {VERSION}")]
    Malformed {
        /// How many bytes, or pairs of digits, there are.
        bytes: usize,
    },
    /// It was signed with a key that has been rotated away, or never was a key here.
    #[error("signed with key {number}, which is neither the current nor the previous one")]
    UnknownKey {
        /// The key's number.
        number: u32,
    },
    /// It was not signed with that key, or changed since.
    #[error("the signature is wrong")]
    BadSignature,
    /// It was given out too long ago.
    #[error("expired at {}", at.0)]
    Expired {
        /// When.
        at: Millis,
    },
    /// It is a true one, of another session, user or guild.
    #[error("given to {session:?} of {user:?} in {guild:?}")]
    Foreign {
        /// Of which guild.
        guild: GuildId,
        /// Of which session.
        session: SessionId,
        /// Of which user.
        user: UserId,
    },
}

impl SecretKeys {
    /// Keys without a previous one.
    pub fn new(current: SecretKey) -> Self {
        Self { current, previous: None }
    }

    /// Keys as the cluster has them.
    pub fn with_previous(current: SecretKey, previous: Option<SecretKey>) -> Self {
        Self { current, previous }
    }

    /// The keys before `next` becomes the current one, so that what it signs then is taken by whoever has these. What was signed before the present
    /// one is not taken any more.
    #[must_use]
    pub fn announcing(&self, next: SecretKey) -> Self {
        Self { current: self.current.clone(), previous: Some(next) }
    }

    /// The keys after `next` has become the current one: what was signed before the present one is not taken any more.
    #[must_use]
    pub fn rotated(&self, next: SecretKey) -> Self {
        Self { current: next, previous: Some(self.current.clone()) }
    }

    /// The key that signs.
    pub fn current(&self) -> &SecretKey {
        &self.current
    }

    /// The one before it, which is still taken, or the one behind it, which is taken already.
    pub fn previous(&self) -> Option<&SecretKey> {
        self.previous.as_ref()
    }

    /// Makes a secret.
    pub fn sign(&self, claims: &Claims) -> Secret {
        let mut bytes = [0; Secret::BYTES];
        let Claims { guild, session, user, generation, expires_at } = *claims;
        let (said, signature) = bytes.split_at_mut(SAID_BYTES);
        said[0] = VERSION;
        said[1..NUMBERS_AT].copy_from_slice(&self.current.number.to_le_bytes());
        let numbers = [guild.get(), session.get(), user.get(), generation.0, expires_at.0];
        for (place, number) in said[NUMBERS_AT..].chunks_exact_mut(size_of::<u64>()).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        signature.copy_from_slice(&mac(&self.current, said).finalize().into_bytes());
        Secret(bytes)
    }

    /// The generation that a secret of this session was made for, if it is a true one and still good at `now`. The signature is
    /// compared in constant time, and before anything that the secret says is believed.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn verify(
        &self,
        secret: &Secret,
        guild: GuildId,
        session: SessionId,
        user: UserId,
        now: Millis,
    ) -> Result<Generation, SecretError> {
        let (said, signature) = secret.0.split_at(SAID_BYTES);
        let malformed = SecretError::Malformed { bytes: Secret::BYTES };
        if said[0] != VERSION {
            return Err(malformed);
        }
        let number = u32::from_le_bytes(array(&said[1..NUMBERS_AT]));
        let mut keys = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        let key = keys.find(|key| key.number == number).ok_or(SecretError::UnknownKey { number })?;
        let verified = mac(key, said).verify_slice(signature).map_err(|_| SecretError::BadSignature);
        #[cfg(feature = "defects")]
        let verified = if guildhall_proto::Defect::SignatureUnchecked.is_on() { Ok(()) } else { verified };
        verified?;

        let mut numbers =
            said[NUMBERS_AT..].chunks_exact(size_of::<u64>()).map(|place| u64::from_le_bytes(array(place)));
        let mut next = || numbers.next().ok_or(malformed);
        let (of_guild, of_session, of_user) = (
            GuildId::new(next()?).map_err(|_| malformed)?,
            SessionId::new(next()?).map_err(|_| malformed)?,
            UserId::new(next()?).map_err(|_| malformed)?,
        );
        let (generation, at) = (Generation(next()?), Millis(next()?));
        if now >= at {
            return Err(SecretError::Expired { at });
        }
        if (of_guild, of_session, of_user) != (guild, session, user) {
            return Err(SecretError::Foreign { guild: of_guild, session: of_session, user: of_user });
        }
        Ok(generation)
    }
}

impl Secret {
    /// How long a secret is.
    pub const BYTES: usize = SAID_BYTES + SIGNATURE_BYTES;

    /// The secret of these bytes.
    ///
    /// # Errors
    /// [`SecretError::Malformed`] unless they are [`BYTES`](Self::BYTES).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        bytes.try_into().map(Self).map_err(|_| SecretError::Malformed { bytes: bytes.len() })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let malformed = SecretError::Malformed { bytes: text.len() / 2 };
        if text.len() != 2 * Self::BYTES {
            return Err(malformed);
        }
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; Self::BYTES];
        for (place, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *place = digit(pair[0]).ok_or(malformed)? << 4 | digit(pair[1]).ok_or(malformed)?;
        }
        Ok(Self(bytes))
    }
}

/// Shows no secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn mac(key: &SecretKey, said: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.key).expect("a key of any length will do");
    mac.update(said);
    mac
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the places of a secret are as long as their numbers")
}

/// The form that a secret has here.
const VERSION: u8 = 1;
/// Version and key number come first.
const NUMBERS_AT: usize = 1 + size_of::<u32>();
/// Then guild, session, user, generation, expiry.
const SAID_BYTES: usize = NUMBERS_AT + 5 * size_of::<u64>();
const SIGNATURE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(number: u32) -> SecretKeys {
        SecretKeys::new(key(number))
    }

    fn key(number: u32) -> SecretKey {
        SecretKey { number, key: [number as u8; 32] }
    }

    fn claims() -> Claims {
        let (guild, session, user) = (GuildId::MIN, SessionId::new(9).unwrap(), UserId::new(7).unwrap());
        Claims { guild, session, user, generation: Generation(3), expires_at: Millis(1_000) }
    }

    fn verify(keys: &SecretKeys, secret: &Secret, claims: &Claims) -> Result<Generation, SecretError> {
        keys.verify(secret, claims.guild, claims.session, claims.user, Millis(0))
    }

    #[test]
    fn a_secret_is_taken_until_the_key_after_the_next() {
        let first = keys(1);
        let secret = first.sign(&claims());
        assert_eq!(verify(&first, &secret, &claims()), Ok(Generation(3)));
        let second = first.rotated(key(2));
        assert_eq!(verify(&second, &secret, &claims()), Ok(Generation(3)));
        assert_ne!(second.sign(&claims()), secret);
        let third = second.rotated(key(3));
        assert_eq!(verify(&third, &secret, &claims()), Err(SecretError::UnknownKey { number: 1 }));
    }

    #[test]
    fn what_the_next_key_signs_is_taken_by_whoever_was_told_of_it_and_by_nobody_else() {
        let (first, before) = (keys(1), keys(1).sign(&claims()));
        let told = first.announcing(key(2));
        assert_eq!(told.sign(&claims()), before, "it does not sign yet");
        let second = told.rotated(key(2));
        assert_eq!(second.previous(), Some(first.current()));
        let secret = second.sign(&claims());
        assert_eq!(verify(&told, &secret, &claims()), Ok(Generation(3)));
        assert_eq!(verify(&first, &secret, &claims()), Err(SecretError::UnknownKey { number: 2 }));
        assert_eq!(verify(&second, &before, &claims()), Ok(Generation(3)));
    }

    #[test]
    fn no_bit_of_a_secret_can_be_changed() {
        let (keys, secret) = (keys(1).rotated(key(2)), keys(1).rotated(key(2)).sign(&claims()));
        for bit in 0..Secret::BYTES * 8 {
            let mut changed = secret;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&keys, &changed, &claims()).is_err(), "bit {bit}");
        }
        let forged = keys.rotated(SecretKey { number: 2, key: [9; 32] }).sign(&claims());
        assert_eq!(verify(&keys, &forged, &claims()), Err(SecretError::BadSignature));
    }

    #[test]
    fn a_secret_is_good_for_its_session_user_and_guild_until_it_expires() {
        let (keys, own) = (keys(1), claims());
        let secret = keys.sign(&own);
        let foreign = Err(SecretError::Foreign { guild: own.guild, session: own.session, user: own.user });
        for other in [
            Claims { guild: GuildId::new(2).unwrap(), ..own },
            Claims { session: SessionId::new(8).unwrap(), ..own },
            Claims { user: UserId::new(8).unwrap(), ..own },
        ] {
            assert_eq!(verify(&keys, &secret, &other), foreign);
        }
        let at = |now| keys.verify(&secret, own.guild, own.session, own.user, Millis(now));
        assert_eq!(at(999), Ok(Generation(3)));
        assert_eq!(at(1_000), Err(SecretError::Expired { at: Millis(1_000) }));
    }

    #[test]
    fn text_that_is_no_secret_is_refused_and_a_secret_survives_it() {
        let secret = keys(1).sign(&claims());
        assert_eq!(secret.to_string().parse(), Ok(secret));
        assert_eq!(Secret::from_bytes(secret.as_bytes()), Ok(secret));
        for text in
            [String::new(), "00".repeat(Secret::BYTES - 1), "0g".repeat(Secret::BYTES), "ä".repeat(Secret::BYTES)]
        {
            assert_eq!(text.parse::<Secret>(), Err(SecretError::Malformed { bytes: text.len() / 2 }));
        }
        let nothing = Secret::from_bytes(&[0; Secret::BYTES]).unwrap();
        assert_eq!(verify(&keys(1), &nothing, &claims()), Err(SecretError::Malformed { bytes: Secret::BYTES }));
    }

    /// The secret that the specification shows under this name.
    fn written(name: &str) -> Secret {
        let text = include_str!("../../../proto/SPEC.md");
        let (_, secret) = text.split_once(&format!("\n| {name} | ")).expect("SPEC.md has the row");
        secret.split_once(' ').unwrap().0.parse().unwrap()
    }

    #[test]
    fn secrets_are_as_the_specification_shows_them() {
        let key = std::array::from_fn(|at| at as u8);
        let keys = keys(1).announcing(SecretKey { number: 258, key });
        let claims = Claims {
            guild: GuildId::new(72_623_859_790_382_856).unwrap(),
            session: SessionId::new(1_009).unwrap(),
            user: UserId::new(7).unwrap(),
            generation: Generation(1_782_579_200_000_000_003),
            expires_at: Millis(1_700_000_600_000),
        };
        let (taken, refused) = (written("taken"), written("refused"));
        assert_eq!(verify(&keys, &taken, &claims), Ok(claims.generation));
        assert_eq!(SecretKeys::new(SecretKey { number: 258, key }).sign(&claims), taken);
        assert_eq!(verify(&keys, &refused, &claims), Err(SecretError::BadSignature));
        let expired = keys.verify(&taken, claims.guild, claims.session, claims.user, claims.expires_at);
        assert_eq!(expired, Err(SecretError::Expired { at: claims.expires_at }));
    }

    #[test]
    fn the_signature_is_the_published_one() {
        // As another implementation makes it.
        let key = SecretKey { number: 1, key: [0x0b; 32] };
        let mac = mac(&key, b"what do ya want for nothing?").finalize().into_bytes();
        assert_eq!(mac[..8], [0xc3, 0xf2, 0x64, 0x9c, 0x34, 0xea, 0x24, 0xe4]);
    }

    #[test]
    fn neither_keys_nor_secrets_are_shown() {
        let shown = format!("{:?} {:?}", keys(7), keys(7).sign(&claims()));
        assert_eq!(shown, "SecretKeys { current: SecretKey { number: 7, .. }, previous: None } Secret(..)");
    }
}
