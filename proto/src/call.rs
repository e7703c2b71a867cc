//! What the frames of a link hold behind hello: calls with their answers, and the feeds of guilds.
//!
//! | Frame | Body |
//! |---|---|
//! | `Request` | an [`Ask`] |
//! | `Answer` | an [`Answer`] |
//! | `Error` | a [`CallFault`] |
//! | `Chunk` of a request | a run of users ([`EncodedIds`], [`IdRun`]), or of an import's lines, by [`Request::chunks`] |
//! | `Chunk` of an answer | a run of users, of [`Piece`]s, or of bytes, by [`Answer::chunks`] |
//! | `Feed` | [`FeedNews`], in which an event that was encoded before may stand as it is ([`EncodedEvent`]) |
//! | `Ephemeral` | [`Told`] |
//!
//! Here is what they say, and what can be wrong with it; who may ask for what is the transport's table of roles by [`Call`], and when to ask
//! again is the client's.
//!
//! ```
//! use guildhall_proto::call::{Answer, Ask, Course, Freshness, Packer, Piece, PieceRun, Read, Request, Within};
//! use guildhall_proto::{AsOf, GuildId, GuildSettings, Name, Position, UserId, codec};
//!
//! // Who asks:
//! let request = Request::Read { guild: GuildId::new(1)?, freshness: Freshness::Latest, read: Read::Show };
//! let asked = codec::encode(&Ask { within: Within::MAX, request })?; // A `Request` frame.
//!
//! // Who answers:
//! let Ask { request, .. } = codec::decode(&asked)?;
//! let answer = Answer::Pieces { as_of: AsOf { at: Position::default(), stale_for: None }, members: 1, online: 0, bans: 0 };
//! assert!(request.is_answered_by(&answer)); // An `Answer` frame; then as many `Chunk`s as it takes, and `End`.
//! let mut packer = Packer::default();
//! let settings = Piece::Settings(GuildSettings { name: Name::parse("Ada's")?, owner: UserId::new(7)? });
//! assert_eq!(packer.push(&settings)?, None, "the chunk is not full");
//! let chunk = packer.rest().expect("something was pushed");
//!
//! // Who asked:
//! let (mut run, mut pieces) = (PieceRun::new(request.course().expect("it is answered in pieces")), Vec::new());
//! run.take(&chunk, &mut pieces)?;
//! run.end()?;
//! assert_eq!(pieces, [settings]);
//! # assert_eq!(request.course(), Some(Course::Show));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod bounds;
mod chunk;
mod fault;
mod feed;
mod request;

pub use answer::Answer;
pub use bounds::{PageLimit, Prefix, PrefixTooLong, TooManyUsers, Users, Within};
pub use chunk::{AnswerChunks, Course, EncodedIds, IdRun, LineRun, Packer, Piece, PieceRun, RequestChunks};
pub use fault::{CallFault, ChunkFault, ChunkFlaw, Malformed};
pub use feed::{EncodedEvent, FeedEnd, FeedId, FeedNews, News, Told};
pub use request::{Ask, Freshness, Read, Request};

use crate::Command;

/// What may be asked over a link. A link is dialed by whoever asks, so a row is about the dialer's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Whether the node answers, and since when it runs.
    Ping,
    /// Its counters.
    Stats,
    /// Which guilds there are.
    ListGuilds,
    /// A durable change of a guild, its roles, channels or members, a prune among them.
    Command,
    /// Many members at once, as a stream.
    Import,
    /// A message.
    Publish,
    /// That somebody types.
    Typing,
    /// What a guild, a member or a right is: `can`, `members`.
    Read,
    /// Whom a ping reaches, as a stream of ids.
    Recipients,
    /// Attaching, detaching and resuming sessions, their levels and status.
    Sessions,
    /// The events of a guild, for a relay.
    Feed,
    /// A whole guild, as a stream.
    Export,
    /// A backup of the store.
    Backup,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Ping,
        Self::Stats,
        Self::ListGuilds,
        Self::Command,
        Self::Import,
        Self::Publish,
        Self::Typing,
        Self::Read,
        Self::Recipients,
        Self::Sessions,
        Self::Feed,
        Self::Export,
        Self::Backup,
    ];

    /// What it is called, here and in the table of roles.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "Ping",
            Self::Stats => "Stats",
            Self::ListGuilds => "ListGuilds",
            Self::Command => "Command",
            Self::Import => "Import",
            Self::Publish => "Publish",
            Self::Typing => "Typing",
            Self::Read => "Read",
            Self::Recipients => "Recipients",
            Self::Sessions => "Sessions",
            Self::Feed => "Feed",
            Self::Export => "Export",
            Self::Backup => "Backup",
        }
    }

    /// The row of a command.
    pub const fn of(command: &Command) -> Self {
        match command {
            Command::Publish(_) => Self::Publish,
            Command::ImportMembers(_) => Self::Import,
            Command::CreateGuild { .. }
            | Command::UpdateGuild(_)
            | Command::DeleteGuild
            | Command::TransferOwnership { .. }
            | Command::CreateRole(_)
            | Command::UpdateRole { .. }
            | Command::DeleteRole { .. }
            | Command::ReorderRoles { .. }
            | Command::CreateChannel { .. }
            | Command::UpdateChannel { .. }
            | Command::DeleteChannel { .. }
            | Command::ReorderChannels { .. }
            | Command::SetOverwrite { .. }
            | Command::RemoveOverwrite { .. }
            | Command::AddMember(_)
            | Command::UpdateMember { .. }
            | Command::RemoveMember { .. }
            | Command::Ban { .. }
            | Command::Unban { .. }
            | Command::PruneMembers(_) => Self::Command,
        }
    }
}
