//! Where relays have their guilds from: owners in the same process, or links to the nodes that have them.

use std::sync::Arc;
use std::time::Duration;

use guildhall_permissions::Rights;
use guildhall_proto::{
    CallError, Event, GuildId, Member, Millis, Position, Reply, SessionId, SessionRequest, Sponsor, UserId,
};
use guildhall_relay::SecretKeys;
use guildhall_ring::{Cursor, Version};

use crate::arrivals::Arrivals;
use crate::feed::Feed;
use crate::rings::Rings;

/// The guilds that sessions may attach to, wherever they are. Clones are of the same guilds.
pub trait Guilds: Clone + Send + Sync + 'static {
    /// A guild's feed, held: while it is, its guild does not fall asleep.
    type Listening: AsRef<Feed> + Send + Sync;
    /// Members as of a relay's beginning.
    type Members: Members;

    /// Begins to listen to a guild as it is now, with at most `past_max` of the events before that, and with the members of those `users`
    /// who are some. To a relay that `was_at` a position before, and has heard nothing since, is told who has come and gone from there on. Waits for a guild that sleeps, or has no owner now.
    ///
    /// # Errors
    /// `Refused` if there is no such guild; `Stopping` or `Denied` if it is in vain for good; otherwise it may be tried again.
    fn open(
        &self,
        guild: GuildId,
        past_max: usize,
        users: Vec<UserId>,
        was_at: Option<Position>,
    ) -> impl Future<Output = Result<Opening<Self>, CallError>> + Send;

    /// Asks a guild's owner something about a session, as often as owners come and go meanwhile: it may be asked twice. What is answered is what
    /// the request calls for.
    ///
    /// # Errors
    /// As the owner answers; `Stopping` or `Denied` if it is in vain for good.
    fn session(
        &self,
        guild: GuildId,
        session: SessionId,
        request: SessionRequest,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// The pace at which sessions come, if owners are in this process too.
    fn arrivals(&self) -> Option<&Arrivals>;

    /// The time by the guilds' clock.
    fn now(&self) -> Millis;

    /// The keys that sessions' secrets are signed with.
    fn keys(&self) -> Arc<SecretKeys>;

    /// How sessions come back.
    fn returning(&self) -> Returning;

    /// What relays' rings lease their bytes from.
    fn rings(&self) -> &Arc<Rings>;

    /// Drops something large, aside.
    fn discard(&self, dropped: impl Send + 'static);

    /// Counts what has happened.
    fn count(&self, what: Counted, by: u64);
}

/// What a relay begins with.
#[derive(Debug)]
pub struct Opening<G: Guilds> {
    /// What it is fed from.
    pub listening: G::Listening,
    /// Up to where all that follows is true.
    pub at: Position,
    /// The guild's rights.
    pub rights: Rights,
    /// The events up to there, oldest first.
    pub past: Vec<Arc<Event>>,
    /// The members asked for.
    pub members: G::Members,
    /// The first event to be read.
    pub events: Cursor,
    /// What was told up to here was told before that.
    pub told: Version,
    /// On whose word the guild's owner knows the relay's sessions from here on. If it is another than before, the owner may have released those that it
    /// knew: it is told of all again.
    pub sponsor: Sponsor,
}

/// Some of a guild's members, as of one position.
pub trait Members: Send {
    /// One of those asked for; `None` if the user is no member.
    fn member(&self, user: UserId) -> Option<Member>;

    /// When one of them joined.
    fn joined_at(&self, user: UserId) -> Option<Millis>;
}

/// How long sessions may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returning {
    /// After their connection broke. With zero none does.
    pub within: Duration,
    /// How long a secret is good from when it is made.
    pub secret_lifetime: Duration,
}

/// What happens at relays and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A subject left a relay's full keep-latest map for a newer one: who had not read it misses it.
    EphemeralPushedOut,
    /// A relay fell out of its feed, or met a new owner, and began again from a view.
    Resync,
    /// A session ended that was dropped without a detach and did not come back in time.
    SessionAbandoned,
    /// A session was dropped without a detach, and may come back.
    SessionCut,
    /// A session came back.
    SessionResumed,
    /// It was told a gap first: what it had missed was not to be had any more.
    SessionResumedWithGap,
}
