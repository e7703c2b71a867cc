//! Hello: the first that both ends of a link say, by which they agree on a protocol version.
//!
//! These forms are frozen for ever, for they are read before anything is agreed. Whatever else an end must be told at the start (keys, say)
//! comes behind them on lanes of its own, in frames of the version agreed. Who the other end is, its certificate says, and nothing here.

use std::fmt;
use std::num::NonZeroU8;

use crate::NodeId;
use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, impl_borrow_decode};

/// The version of the protocol in which frames are written after hello. Never 0: hello itself bears that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU8);

/// The versions that an end can speak, without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    least: Version,
    greatest: Version,
}

/// What the dialer of a link says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The versions that it can speak.
    pub versions: Versions,
    /// Which node it is.
    pub node: NodeId,
    /// Which run of that node.
    pub instance: Instance,
}

/// One run of a node's process: random, chosen at its start. Tells a node that was started anew from one whose link broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Instance(pub u64);

/// What is answered to a [`Hello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum HelloAnswer {
    /// The link stands.
    Accepted {
        /// In which version all frames are from here on: the highest that both can speak.
        version: Version,
        /// Which node answers.
        node: NodeId,
        /// Which run of that node.
        instance: Instance,
    },
    /// The two cannot speak with each other; the link ends.
    NoCommonVersion {
        /// What the dialer can speak, as it was understood.
        asked: Versions,
        /// What the other can speak.
        supported: Versions,
    },
}

impl Version {
    /// Any number but 0.
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number; never 0.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl Versions {
    /// What this build can speak.
    pub const SUPPORTED: Self = Self { least: Version(NonZeroU8::MIN), greatest: Version(NonZeroU8::MIN) };

    /// From `least` to `greatest`, both included; `None` if the range is empty.
    pub const fn new(least: Version, greatest: Version) -> Option<Self> {
        if least.get() <= greatest.get() { Some(Self { least, greatest }) } else { None }
    }

    /// The lowest of them.
    pub const fn least(self) -> Version {
        self.least
    }

    /// The highest of them.
    pub const fn greatest(self) -> Version {
        self.greatest
    }

    /// The highest that is in both; `None` if none is.
    pub fn highest_common(self, other: Self) -> Option<Version> {
        let highest = self.greatest.min(other.greatest);
        (highest >= self.least.max(other.least)).then_some(highest)
    }

    /// Whether `version` is one of them.
    pub fn contains(self, version: Version) -> bool {
        (self.least..=self.greatest).contains(&version)
    }
}

impl Hello {
    /// What `answering`, which describes the other end as that would itself, answers to this.
    pub fn answer(&self, answering: &Self) -> HelloAnswer {
        let (asked, supported) = (self.versions, answering.versions);
        match asked.highest_common(supported) {
            Some(version) => HelloAnswer::Accepted { version, node: answering.node, instance: answering.instance },
            None => HelloAnswer::NoCommonVersion { asked, supported },
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.0)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.least.get(), self.greatest.get())
    }
}

impl Encode for Version {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.get().encode(encoder)
    }
}

impl<Context> Decode<Context> for Version {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::new(u8::decode(decoder)?).ok_or(DecodeError::Other("version 0 is hello's own"))
    }
}

impl_borrow_decode!(Version);

impl Encode for Versions {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.least.encode(encoder)?;
        self.greatest.encode(encoder)
    }
}

impl<Context> Decode<Context> for Versions {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (least, greatest) = (Version::decode(decoder)?, Version::decode(decoder)?);
        Self::new(least, greatest).ok_or(DecodeError::Other("a range of versions must hold one"))
    }
}

impl_borrow_decode!(Versions);

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(least: u8, greatest: u8) -> Versions {
        Versions::new(Version::new(least).unwrap(), Version::new(greatest).unwrap()).unwrap()
    }

    fn hello(node: u64, versions: Versions) -> Hello {
        Hello { versions, node: NodeId::new(node).unwrap(), instance: Instance(node * 100) }
    }

    #[test]
    fn the_highest_version_that_both_speak_is_agreed() {
        for (asked, supported, agreed) in [
            ((1, 1), (1, 1), 1),
            ((1, 3), (2, 5), 3),
            ((2, 5), (1, 3), 3),
            ((1, 9), (4, 4), 4),
            ((255, 255), (1, 255), 255),
        ] {
            let answering = hello(2, versions(supported.0, supported.1));
            let answer = hello(1, versions(asked.0, asked.1)).answer(&answering);
            let version = Version::new(agreed).unwrap();
            assert_eq!(answer, HelloAnswer::Accepted { version, node: answering.node, instance: answering.instance });
        }
    }

    #[test]
    fn a_refusal_names_what_both_could_speak() {
        for (asked, supported) in [((1, 1), (2, 2)), ((7, 9), (2, 6))] {
            let (asked, supported) = (versions(asked.0, asked.1), versions(supported.0, supported.1));
            let answer = hello(1, asked).answer(&hello(2, supported));
            assert_eq!(answer, HelloAnswer::NoCommonVersion { asked, supported });
        }
    }

    #[test]
    fn every_two_ranges_agree_on_a_version_of_both_or_share_none() {
        let all: Vec<Versions> =
            (1..=6).flat_map(|least| (least..=6).map(move |greatest| versions(least, greatest))).collect();
        for a in &all {
            for b in &all {
                let mut common =
                    (1..=6).filter_map(Version::new).filter(|version| a.contains(*version) && b.contains(*version));
                assert_eq!(a.highest_common(*b), common.next_back());
                assert_eq!(a.highest_common(*b), b.highest_common(*a));
            }
        }
    }
}
