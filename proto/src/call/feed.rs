//! The feed of a guild to the relay at the other end of a link, and what is told of now beside it.

use std::sync::Arc;

use crate::codec::{self, Decode, Encode, EncodeError, Encoder, Writer};
use crate::frame::BODY_BYTES_MAX;
use crate::{Ephemeral, Event, Grant, NodeId, Position};

/// Names a feed on its link. Chosen by whoever opens it, and used once on a link: what was sent under an older one cannot be taken for
/// news of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct FeedId(pub u64);

/// The body of a `Feed` frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeedNews {
    /// Of which feed.
    pub feed: FeedId,
    /// What there is.
    pub news: News,
}

/// What a feed tells.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum News {
    /// The next event.
    Event(Arc<Event>),
    /// The feed has ended; nothing follows under its id.
    Ended(FeedEnd),
}

/// Why a feed has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum FeedEnd {
    /// Events are missing: the link was so far behind that the guild's ring has passed it. The relay opens the feed anew.
    Gap,
    /// The guild's owner has ended. The relay opens the feed anew, which brings the next owner.
    OwnerEnded,
    /// The guild has moved; the relay opens its feed there.
    Moved {
        /// Where it is now.
        node: NodeId,
        /// By which leave; a lower one than is known is old news.
        grant: Grant,
    },
    /// The guild was deleted, and the event that says so is not to be had any more.
    GuildDeleted {
        /// The position of its last event.
        at: Position,
    },
}

/// The body of an `Ephemeral` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    /// Of which feed.
    pub feed: FeedId,
    /// What is told of now. It waits for the event of its position, which comes on the other lane.
    pub ephemeral: Ephemeral,
}

/// [`FeedNews`] of an event that was encoded before, as it may be once for all links: the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct EncodedEvent<'a> {
    /// Of which feed.
    pub feed: FeedId,
    /// One encoded [`Event`].
    pub event: &'a [u8],
}

impl EncodedEvent<'_> {
    /// Bytes of the greatest event that fits into a frame. Every event does: a guild cuts whole-guild changes into batches.
    pub const BYTES_MAX: usize = BODY_BYTES_MAX - HEAD_BYTES_MAX;
}

impl codec::Encode for EncodedEvent<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.feed.encode(encoder)?;
        EVENT.encode(encoder)?;
        encoder.writer().write(self.event)
    }
}

/// The number of [`News::Event`].
const EVENT: u32 = 0;
/// A feed's id, and the number of [`News::Event`].
const HEAD_BYTES_MAX: usize = 9 + 1;
