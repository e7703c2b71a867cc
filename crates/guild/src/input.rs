//! All that a guild may be told.

use guildhall_members::Folded;
use guildhall_proto::{Actor, ChannelId, Command, OpId, SessionId, SessionRequest, Sponsor, UserId};

use crate::scan::Scanned;

/// One thing that a guild is told.
#[derive(Debug)]
pub enum Input {
    /// A command, to be answered.
    Command(Call),
    /// Something about a session, to be answered.
    Session(SessionCall),
    /// That nobody speaks for some sessions any more, to be answered.
    SponsorGone(SponsorGone),
    /// That a member types, to be answered.
    Typing(TypingCall),
    /// The fold that the guild asked for is done.
    FoldDone(Folded),
    /// A search that the guild asked for is done.
    ScanDone(Scanned),
}

/// Names one call, so that its answer finds the caller. Chosen by the shell; means nothing to the guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A command with all that decides about it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whom to answer.
    pub id: CallId,
    /// The operation's name, the same in a retry.
    pub op: OpId,
    /// On whose behalf.
    pub actor: Actor,
    /// What to do.
    pub command: Command,
}

/// That a member types in a channel: told to those who may hear it, neither stored nor numbered, so that it needs no operation id.
#[derive(Debug, Clone, Copy)]
pub struct TypingCall {
    /// Whom to answer.
    pub id: CallId,
    /// Who types; must be a member who may publish there.
    pub user: UserId,
    /// Where.
    pub channel: ChannelId,
}

/// A session's request.
#[derive(Debug, Clone, Copy)]
pub struct SessionCall {
    /// Whom to answer.
    pub id: CallId,
    /// Which session.
    pub session: SessionId,
    /// On whose word: the session is that sponsor's as soon as it is attached, or told of.
    pub sponsor: Sponsor,
    /// What it wants. None needs an operation id: asked again, it comes to the same, or is refused.
    pub request: SessionRequest,
}

/// A sponsor is gone for good, and says nothing any more. Accepted at once; the sessions that it told of last are released in the turns that follow.
#[derive(Debug, Clone, Copy)]
pub struct SponsorGone {
    /// Whom to answer.
    pub id: CallId,
    /// Who.
    pub sponsor: Sponsor,
}
