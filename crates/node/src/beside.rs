//! The node's guilds as relays in its own process have them: from the owners' rings and published views.

use std::sync::Arc;

use guildhall_members::View;
use guildhall_proto::{
    CallError, GuildId, Member, Millis, Position, Reply, SessionId, SessionRequest, Sponsor, UserId,
};
use guildhall_relay::SecretKeys;
use guildhall_ring::Cursor;
use guildhall_sessions::{Arrivals, Counted, Guilds, Members, Opening, Returning, Rings};

use crate::counters::Counter;
use crate::live::Listening;
use crate::node::Node;
use crate::reads::ViewRef;

/// Sessions in a guild node's own process. Clones share their relays.
pub type Backend = guildhall_sessions::Backend<Node>;
/// One of a [`Backend`]'s sessions, which reads for itself.
pub type SessionStream = guildhall_sessions::SessionStream<Node>;
/// One of a [`Backend`]'s sessions, which [`Batches`] serves.
pub type BatchSession = guildhall_sessions::BatchSession<Node>;
/// What all [`BatchSession`]s of one guild at a [`Backend`] hear.
pub type Batches = guildhall_sessions::Batches<Node>;

impl Guilds for Node {
    type Listening = Listening;
    type Members = ViewRef;

    /// The members are those of a view, which knows all: `users` does not matter. Nor does where a relay was: of one owner it listens on to the same feed.
    async fn open(
        &self,
        guild: GuildId,
        past_max: usize,
        _users: Vec<UserId>,
        _was_at: Option<Position>,
    ) -> Result<Opening<Self>, CallError> {
        let live = self.live(guild).await?;
        // Before the view: what is told from here on may be missing from it.
        let told = live.feed.told.head();
        let view = self.view_of(&live)?;
        let at = view.position();
        let past = if past_max == 0 { Vec::new() } else { live.feed.past(at.seq, past_max) };
        let (listening, rights, events) = (Listening::to(&live), view.rights().clone(), Cursor::after(at.seq));
        let sponsor = Sponsor::HERE;
        Ok(Opening { listening, at, rights, past, members: view, events, told, sponsor })
    }

    async fn session(&self, guild: GuildId, session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        self.ask_of_session(guild, session, request).await
    }

    fn arrivals(&self) -> Option<&Arrivals> {
        Some(self.all_arrivals())
    }

    fn now(&self) -> Millis {
        self.time()
    }

    fn keys(&self) -> Arc<SecretKeys> {
        self.session_keys()
    }

    fn returning(&self) -> Returning {
        let resume = self.resume_config();
        Returning { within: resume.within, secret_lifetime: resume.secret_lifetime }
    }

    fn rings(&self) -> &Arc<Rings> {
        self.all_rings()
    }

    fn discard(&self, dropped: impl Send + 'static) {
        self.offload().discard(dropped);
    }

    fn count(&self, what: Counted, by: u64) {
        self.counters().add(counter(what), by);
    }
}

impl Members for ViewRef {
    fn member(&self, user: UserId) -> Option<Member> {
        View::member(self, user)
    }

    fn joined_at(&self, user: UserId) -> Option<Millis> {
        self.with_member(user, |member| member.joined_at)
    }
}

const fn counter(what: Counted) -> Counter {
    match what {
        Counted::EphemeralPushedOut => Counter::EphemeralsPushedOut,
        Counted::Resync => Counter::RelayResyncs,
        Counted::SessionAbandoned => Counter::SessionsAbandoned,
        Counted::SessionCut => Counter::SessionsCut,
        Counted::SessionResumed => Counter::SessionsResumed,
        Counted::SessionResumedWithGap => Counter::SessionsResumedWithGap,
    }
}
