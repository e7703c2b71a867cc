//! When and where: milliseconds, a guild's event numbers, and its ownership numbers.

use std::fmt;
use std::time::Duration;

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, impl_borrow_decode};

/// Milliseconds since the Unix epoch. Guildhall's cores never read a clock: `Millis` comes in as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Millis(pub u64);

impl Millis {
    /// This time moved `by` into the future, stopping at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// This time moved `by` into the past, stopping at the Unix epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// The time from `earlier` to this; zero if `earlier` is the later of the two.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A guild's event number: dense within an epoch, kept across handoff, 0 before the first event. None is decoded behind which no other can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode)]
pub struct Seq(pub u64);

impl<Context> Decode<Context> for Seq {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        match u64::decode(decoder)? {
            u64::MAX => Err(DecodeError::Other("no event is numbered 2^64 - 1")),
            number => Ok(Self(number)),
        }
    }
}

impl_borrow_decode!(Seq);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A guild's ownership number: raised at every claim; whoever holds an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Epoch(pub u64);

/// The coordinator's leave to claim a guild: its revision when it gave the guild to a node. Never falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Grant(pub u64);

/// Where in a guild's history: an epoch, and an event number in it. `(guild, epoch, seq)` names one event for ever.
///
/// Positions compare by epoch first, so that an owner's takeover never looks like a step back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Position {
    /// The ownership number under which the event was made.
    pub epoch: Epoch,
    /// The event's number.
    pub seq: Seq,
}

impl Position {
    /// The position of the next event of the same epoch.
    #[must_use]
    pub fn next(self) -> Self {
        Self { epoch: self.epoch, seq: self.seq.next() }
    }
}

/// When a read is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf {
    /// The position up to which it has everything.
    pub at: Position,
    /// `None` if the guild had an owner when it was read: it was the latest that may be seen. Otherwise how long it had none then; its
    /// next owner, who is on the way, may find more in the store.
    pub stale_for: Option<Duration>,
}

impl Encode for AsOf {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.at.encode(encoder)?;
        self.stale_for.map(wire_millis).encode(encoder)
    }
}

impl<Context> Decode<Context> for AsOf {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (at, stale_for) = (Position::decode(decoder)?, Option::<u32>::decode(decoder)?);
        Ok(Self { at, stale_for: stale_for.map(from_wire_millis) })
    }
}

impl_borrow_decode!(AsOf);

/// A length of time as it crosses the wire: whole milliseconds, rounded up, so that nobody comes too early who waits for it; 49 days at most,
/// so that whoever adds it to a time overflows nothing.
pub(crate) fn wire_millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The same from the wire.
pub(crate) fn from_wire_millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.seq.0)
    }
}
