//! The table of frames: each kind with its cap, and each lane with what may come on it, from whom, and behind what.

use super::BODY_BYTES_MAX;
use crate::Version;
use crate::limits::{BULK_MEMBERS_MAX, MENTION_ROLES_MAX, MENTION_USERS_MAX, PAYLOAD_BYTES_MAX};

/// What a frame is. Kinds join at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`crate::Hello`].
    Hello = 1,
    /// A [`crate::HelloAnswer`].
    HelloAnswer = 2,
    /// What a call asks: a [`crate::call::Ask`].
    Request = 3,
    /// What a call came to, or the head of an answer in chunks: a [`crate::call::Answer`].
    Answer = 4,
    /// Why a call came to nothing, or an answer in chunks breaks off: a [`crate::call::CallFault`].
    Error = 5,
    /// A piece of a long request or answer.
    Chunk = 6,
    /// Behind the last chunk, without a body: tells a run of chunks that is complete from one that was cut.
    End = 7,
    /// What one guild's feed tells its relay: [`crate::call::FeedNews`].
    Feed = 8,
    /// What is told of now in one guild, typing or presence: a [`crate::call::Told`].
    Ephemeral = 9,
}

/// An ordered stream of a link, seen from whoever sends: who opened it, or who answers on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The one that the dialer of a link opens first: hello, and its answer.
    Hello(Side),
    /// One short lane for each call.
    Call(Side),
    /// A lane in one direction: feeds, or what is told of now. Its first frame decides which of the two it is for good.
    Push,
}

/// Which of a lane's two ends sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who opened it.
    Opener,
    /// Who took it on.
    Acceptor,
}

impl Kind {
    /// All of them, by number.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::HelloAnswer,
        Self::Request,
        Self::Answer,
        Self::Error,
        Self::Chunk,
        Self::End,
        Self::Feed,
        Self::Ephemeral,
    ];

    /// The number in a header; never 0.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number; `None` if there is none.
    pub fn find(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The most bytes that a body of this kind may have.
    pub const fn bytes_max(self) -> usize {
        match self {
            // Frozen for ever, and less than 30 bytes.
            Self::Hello | Self::HelloAnswer => 64,
            Self::Request | Self::Answer | Self::Chunk | Self::Feed => BODY_BYTES_MAX,
            Self::Error => 1024,
            Self::End => 0,
            Self::Ephemeral => 256,
        }
    }

    /// The fewest bytes that a body of this kind may have.
    pub const fn bytes_min(self) -> usize {
        match self {
            Self::End => 0,
            Self::Hello
            | Self::HelloAnswer
            | Self::Request
            | Self::Answer
            | Self::Error
            | Self::Chunk
            | Self::Feed
            | Self::Ephemeral => 1,
        }
    }

    /// The version that a header of this kind bears where `agreed` was agreed: hello and its answer are from before that.
    pub(super) const fn version(self, agreed: Version) -> u8 {
        match self {
            Self::Hello | Self::HelloAnswer => 0,
            Self::Request | Self::Answer | Self::Error | Self::Chunk | Self::End | Self::Feed | Self::Ephemeral => {
                agreed.get()
            }
        }
    }
}

impl Lane {
    /// The kinds that may follow behind `last`, or come first if that is `None`; empty if nothing may follow.
    pub const fn next(self, last: Option<Kind>) -> &'static [Kind] {
        match (self, last) {
            (Self::Hello(Side::Opener), None) => &[Kind::Hello],
            (Self::Hello(Side::Acceptor), None) => &[Kind::HelloAnswer],
            (Self::Call(Side::Opener), None) => &[Kind::Request],
            (Self::Call(Side::Opener), Some(Kind::Request | Kind::Chunk)) => &[Kind::Chunk, Kind::End],
            (Self::Call(Side::Acceptor), None) => &[Kind::Answer, Kind::Error],
            (Self::Call(Side::Acceptor), Some(Kind::Answer | Kind::Chunk)) => &[Kind::Chunk, Kind::End, Kind::Error],
            (Self::Push, None) => &[Kind::Feed, Kind::Ephemeral],
            (Self::Push, Some(Kind::Feed)) => &[Kind::Feed],
            (Self::Push, Some(Kind::Ephemeral)) => &[Kind::Ephemeral],
            (Self::Hello(_) | Self::Call(_) | Self::Push, Some(_)) => &[],
        }
    }

    /// Whether the lane may end behind `last`, or without any frame if that is `None`.
    pub const fn may_end(self, last: Option<Kind>) -> bool {
        match (self, last) {
            (Self::Push, _) => true,
            (Self::Hello(_) | Self::Call(_), None) => false,
            // What was begun in chunks has an end, or says why not.
            (Self::Hello(_) | Self::Call(_), Some(kind)) => !matches!(kind, Kind::Chunk),
        }
    }
}

// The longest list of a command but an import's, and the longest message, with room for what stands around them.
const _: () = assert!(BULK_MEMBERS_MAX * 9 + 1024 <= BODY_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX + (MENTION_USERS_MAX + MENTION_ROLES_MAX) * 9 + 1024 <= BODY_BYTES_MAX);
