//! All that can happen in a world, and all that hosts say to each other.

use std::sync::Arc;

use guildhall_guild::{Answer, Checkpoint, ScanJob, SessionRequest};
use guildhall_members::{FoldJob, View};
use guildhall_proto::{Actor, ChannelId, Command, Ephemeral, Epoch, Event, GuildId, OpId, Position, SessionId, UserId};

use super::machine::Word;
use super::troubles::Again;
use super::wire::Message;
use crate::check::EarId;
use crate::faults::Trouble;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The workload is asked what comes next.
    Workload,
    /// A fault comes.
    Trouble(Trouble),
    /// Something is well again.
    Well(Again),
    /// A message arrives, unless its connection has broken.
    Arrive(Message),
    /// Both ends notice that their connection has broken.
    LinkLost { backend: usize, node: usize },
    /// An owner's turn begins.
    Turn(Owned),
    /// A worker is done with a job of an owner.
    Done(Owned, Job),
    /// An owner hears from its store.
    Word(Owned, Word),
    /// A claim is settled, and read back.
    Load { node: usize, life: u64, guild: GuildId },
    /// It is looked whether a guild is idle.
    Doze(Owned),
    /// An owner learns that another node has its guild.
    Learn(Owned),
    /// One of a store's writers has its turn at the disk.
    Write { machine: usize, life: u64, log: Which },
    /// A machine whose process ended starts again.
    Restart { machine: usize, life: u64 },
    /// A node that stood still goes on.
    Unpause { node: usize },
    /// A stream session reads.
    Read { backend: usize, seat: EarId },
    /// The batch consumer of a relay reads.
    ReadBatch { at: At },
    /// Time passes for a relay.
    Tick { at: At },
    /// A relay asks for its feed.
    Listen { at: At },
    /// A session does what it is to do next.
    Errand { backend: usize, seat: EarId },
    /// It is noticed that a session's connection broke.
    Noticed { backend: usize, seat: EarId },
    /// A session that was cut has had its time.
    Forgotten { session: SessionId, cuts: u64, backend: usize, seat: EarId },
    /// A caller has waited long enough.
    Deadline { call: u64, attempt: u32 },
    /// A caller tries again.
    Again { call: u64, attempt: u32 },
}

/// One owner of a guild, and nobody after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) node: usize,
    pub(crate) guild: GuildId,
    pub(crate) epoch: Epoch,
}

/// One relay of a backend, and none after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) backend: usize,
    pub(crate) guild: GuildId,
    pub(crate) relay: u64,
}

/// Which of a store's two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Records,
    Checkpoints,
}

/// What a worker does for an owner; carried out when its time is over.
#[derive(Debug)]
pub(crate) enum Job {
    Fold(FoldJob),
    Scan(ScanJob),
    Checkpoint(Checkpoint),
}

/// What one host says to another.
#[derive(Debug)]
pub(crate) enum Body {
    /// A command.
    Call { call: u64, attempt: u32, guild: GuildId, op: OpId, actor: Actor, command: Arc<Command> },
    /// A read of a member, at a position or later.
    Read { call: u64, guild: GuildId, user: UserId, at_least: Position },
    /// The answer to a call.
    Answer { call: u64, attempt: u32, answer: Result<Answer, NoAnswer> },
    /// Somebody types.
    Type { guild: GuildId, user: UserId, channel: ChannelId },
    /// What a session asks of its guild's owner.
    Ask { asked: Asked, guild: GuildId, session: SessionId, request: SessionRequest },
    /// The answer to that.
    Answered { asked: Asked, answer: Result<Answer, NoAnswer> },
    /// A relay wants to be fed: what comes after `from`, if it has come so far.
    Listen { at: At, from: Option<Position> },
    /// A relay is there no more.
    Unlisten { at: At },
    /// A relay has taken what it was fed last.
    Taken { at: At },
    /// What a relay is fed.
    Feed { at: At, feed: Feed },
}

/// By which a seat finds the answer to what it has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) backend: usize,
    pub(crate) seat: EarId,
    pub(crate) errand: u64,
}

/// What a relay is fed.
#[derive(Debug)]
pub(crate) enum Feed {
    /// It begins, or begins again, from a view and the events before it.
    Opened { view: View, past: Vec<Arc<Event>> },
    /// It goes on where it was.
    Continued,
    /// Events, in order, and what is told beside them.
    Events(Vec<Arc<Event>>, Vec<Ephemeral>),
    /// It has fallen out of the owner's ring.
    Fallen { view: View },
    /// The owner is gone; there is to be another.
    Ended,
    /// There is no such guild, or not any more.
    NoGuild,
    /// There is no owner now.
    NotNow,
}

/// Why a request was not answered by a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Another node has the guild; nothing happened.
    Moved,
    /// There was no room for it; nothing happened.
    Overloaded,
    /// The guild could not be loaded, or its owner ended before it came to it; nothing happened.
    Unavailable,
    /// The owner ended before it answered.
    Unknown,
}
