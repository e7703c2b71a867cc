//! Sessions that come back: on this backend or another, with the secret that they were given.

use guildhall_proto::{CallError, Generation, GuildId, Position};
use guildhall_relay::{Gap, Secret, SecretError};

use crate::guilds::Guilds;
use crate::{Attach, AttachError, Backend, BatchSession, SessionStream};

/// A session that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The session as it is to be from now on. Level and wish for other members' changes hold for what it has missed too; id and user
    /// are those that the secret was made for.
    pub attach: Attach,
    /// The secret that the session was given last.
    pub secret: Secret,
    /// The last position that it knows: it hears what came after.
    pub known: Position,
}

/// A session that has come back.
#[derive(Debug)]
pub struct Resumed<S> {
    /// The session. Its secret is a new one: the one before is used up.
    pub session: S,
    /// What it is told first, if all that it has missed is not to be had any more: the events under the gap are lost to it.
    pub gap: Option<Gap>,
}

/// Why a session did not come back. After `Overloaded` or `Full` of [`Attach`](Self::Attach) the secret is as good as before: come again.
/// Otherwise it never will: attach it anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The secret is not taken.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The guild, or the relay, did not take the session. `Refused` is by `SessionSuperseded` if the secret was used before,
    /// `UnknownSession` if the session was detached, or cut for too long, or if its backend had no link to the owner's node for too long, or if its owner has
    /// ended unclean since the secret's session
    /// was attached or came back (what that owner knew of used secrets is lost), or if the relay had no room for it for some seconds
    /// after the owner had taken it; `UnknownMember`, `UnknownGuild` if these are gone; `PositionAhead` if `known` is of the future.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

impl From<CallError> for ResumeError {
    fn from(error: CallError) -> Self {
        Self::Attach(error.into())
    }
}

impl<G: Guilds> Backend<G> {
    /// Has a session come back that reads for itself: it hears, in order and once, what it would have heard since `resume.known`, by
    /// its rights as of each event, and goes on.
    ///
    /// Once the owner has taken it, it is carried to its end even if this is dropped while it waits: the session is cut again then.
    ///
    /// An old connection of the session that still stands ends with [`DetachReason::Superseded`](guildhall_relay::DetachReason): on this backend
    /// at once, on another when it next changes its status or level, which is refused by `SessionSuperseded`. Until then it hears on, by its
    /// member's rights, what the new one hears too; it changes nothing, its detach or drop does not end the new one, and its secret is
    /// good for nothing. If the new one has ended before that, a change is refused by `UnknownSession`, and a new owner takes the old
    /// connection for the session again, until it goes.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub async fn resume(&self, guild: GuildId, resume: Resume) -> Result<Resumed<SessionStream<G>>, ResumeError> {
        let generation = self.verify(guild, &resume)?;
        let (relay, lease) = self.relay(guild).await?;
        let coming = tokio::spawn(SessionStream::resume(relay, lease, resume, generation));
        coming.await.unwrap_or(Err(CallError::Stopping.into()))
    }

    /// The same for a session that is served by this backend's [`batches`](Self::batches) of the guild, under a `token` of the
    /// caller's.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub async fn resume_batch(
        &self,
        guild: GuildId,
        resume: Resume,
        token: u64,
    ) -> Result<Resumed<BatchSession<G>>, ResumeError> {
        let generation = self.verify(guild, &resume)?;
        let (relay, lease) = self.relay(guild).await?;
        let coming = tokio::spawn(BatchSession::resume(relay, lease, resume, generation, token));
        coming.await.unwrap_or(Err(CallError::Stopping.into()))
    }

    fn verify(&self, guild: GuildId, resume: &Resume) -> Result<Generation, SecretError> {
        let Attach { session, user, .. } = resume.attach;
        let guilds = &self.shared.guilds;
        guilds.keys().verify(&resume.secret, guild, session, user, guilds.now())
    }
}
