//! All that a guild may be told.

use guildhall_members::Folded;
use guildhall_proto::{
    Actor, BodyHash, ChannelId, Command, CommandError, OpId, SessionId, SessionRequest, Sponsor, UserId,
};

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

/// A command to be answered.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whom to answer.
    pub id: CallId,
    /// What is to be done.
    pub operation: Operation,
}

/// A command with all that decides about it, and the fingerprint by which its retry is known. Whoever asks for it makes that: it takes
/// as long as the command, and all others wait for the guild.
#[derive(Debug, Clone)]
pub struct Operation {
    pub(crate) op: OpId,
    pub(crate) actor: Actor,
    pub(crate) command: Command,
    pub(crate) body: BodyHash,
}

impl Operation {
    /// The operation of that name, the same in a retry, on behalf of `actor`. O(bytes of the command).
    ///
    /// # Errors
    /// [`CommandError::TooLarge`].
    pub fn new(op: OpId, actor: Actor, command: Command) -> Result<Self, CommandError> {
        let body = BodyHash::of(&(actor, &command)).map_err(|_| CommandError::TooLarge)?;
        Ok(Self { op, actor, command, body })
    }

    /// On whose behalf.
    pub const fn actor(&self) -> Actor {
        self.actor
    }

    /// What to do.
    pub const fn command(&self) -> &Command {
        &self.command
    }
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
