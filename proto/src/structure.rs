//! All of a guild's durable state but its members: what a checkpoint holds beside the pages.

use crate::codec::{Decode, Encode};
use crate::{AppliedOp, Channel, ClientId, GuildSettings, Millis, Overwrite, Position, Reason, Role, UserId};

/// A guild's durable state at one position, without its members.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Structure {
    /// The position of the last event it holds.
    pub position: Position,
    /// The number of the last record it holds, 0 if there was none: those up to it are no longer needed.
    pub records: u64,
    /// The owner's clock then; the next owner's never shows less.
    pub clock: Millis,
    /// The latest joining of anyone who has left: who joins after that does so later.
    pub departed: Millis,
    /// Whether the guild exists, and what it is made of.
    pub standing: Standing,
    /// The outcomes that retries may still ask for, ascending by client.
    pub operations: Vec<KeptClient>,
}

/// Whether a guild exists.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Standing {
    /// It was never created.
    Uncreated,
    /// It exists.
    Alive {
        /// Its own record.
        settings: GuildSettings,
        /// Its roles, everyone among them, ascending by id.
        roles: Vec<Role>,
        /// Its channels with their overwrites, ascending by id and by target.
        channels: Vec<(Channel, Vec<Overwrite>)>,
        /// Who is kept out, ascending by user.
        bans: Vec<Ban>,
    },
    /// It was deleted, and is not created again.
    Deleted,
}

/// A user kept out of a guild.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ban {
    /// Who.
    pub user: UserId,
    /// Why, if that was said.
    pub reason: Option<Reason>,
}

/// What is kept of one client's operations.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeptClient {
    /// Whose operations.
    pub client: ClientId,
    /// A counter at or under this was forgotten, unless it stands in `operations`.
    pub floor: u64,
    /// No operation forgotten under `floor` was issued later than this.
    pub floor_issued_at: Millis,
    /// The outcomes kept, ascending by counter.
    pub operations: Vec<AppliedOp>,
}
