//! All that can happen in a world, and all that hosts say to each other.

use std::sync::Arc;
use std::time::Duration;

use guildhall_cluster::Place;
use guildhall_guild::{Answer, Checkpoint, ScanJob, SessionRequest};
use guildhall_members::{FoldJob, View};
use guildhall_proto::call::FeedId;
use guildhall_proto::{Actor, ChannelId, Command, Ephemeral, Epoch, Event, GuildId, OpId, Position, SessionId, UserId};

use super::machine::Word;
use super::troubles::Again;
use super::wire::{End, Host, LinkId, Message};
use crate::check::EarId;
use crate::faults::Trouble;
use crate::queue::Micros;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The workload is asked what comes next.
    Workload,
    /// A fault comes.
    Trouble(Trouble),
    /// Something is well again.
    Well(Again),
    /// A message arrives, unless its link has ended.
    Arrive(Message),
    /// One end of a link notices that it has ended.
    LinkOver { link: LinkId, end: End },
    /// A client without a link to a node dials it.
    Dial { client: Host, node: usize },
    /// A node has said nothing for so long that its links end.
    Silent { node: usize },
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
    /// A node hears that the placement has changed.
    Bell { node: usize, life: u64 },
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
    /// A call of a client is due: its pause or its time is over.
    Due { client: Host, call: u64 },
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
    /// A call of a client's.
    Ask { calling: Calling, guild: GuildId, ask: Ask },
    /// The answer to one.
    Answer { calling: Calling, answer: Result<Answered, NoAnswer> },
    /// A feed is not listened to any more.
    Unlisten { guild: GuildId, feed: FeedId },
    /// A relay has taken what it was fed last.
    Taken { guild: GuildId, feed: FeedId },
    /// What a relay is fed.
    Feed { at: At, feed: FeedId, news: News },
}

/// By which an answer finds its call, and the link that it goes over: that of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calling {
    pub(crate) link: LinkId,
    pub(crate) call: u64,
    /// When nobody waits for it any more.
    pub(crate) deadline: Micros,
}

/// What a client asks of a guild.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// To carry out a command.
    Command { op: OpId, actor: Actor, command: Arc<Command> },
    /// For a member, at a position or later.
    Read { user: UserId, at_least: Position },
    /// To tell that somebody types.
    Typing { user: UserId, channel: ChannelId },
    /// Something about a session.
    Session { session: SessionId, request: SessionRequest },
    /// To be fed: what comes after `from`, if it has come so far.
    Feed { at: At, feed: FeedId, from: Option<Position> },
}

/// What a node answers.
#[derive(Debug)]
pub(crate) enum Answered {
    /// What a guild said.
    Reply(Answer),
    /// A feed begins, or begins again, from a view and the events before it.
    Opened { view: View, past: Vec<Arc<Event>> },
    /// A feed goes on where its relay was.
    Continued,
}

/// What a relay is fed.
#[derive(Debug)]
pub(crate) enum News {
    /// Events, in order, and what is told beside them.
    Events(Vec<Arc<Event>>, Vec<Ephemeral>),
    /// It has fallen out of the owner's ring.
    Fallen { view: View },
    /// The owner is gone; there is to be another.
    Ended,
    /// The owner is gone, for the guild is elsewhere.
    Moved(Place),
    /// The guild is not there any more.
    NoGuild,
}

/// Why a request was not answered by a guild. Nothing happened, but where it is said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Another node has the guild.
    Moved(Place),
    /// There was no room for it.
    Overloaded { retry_after: Duration },
    /// The guild could not be loaded, or its owner ended before it came to it.
    Unavailable,
    /// The node is about to stop.
    Stopping,
    /// Its caller's time was over when it came.
    TooLate,
    /// The owner ended before it answered: it may have been carried out.
    Unknown,
}
