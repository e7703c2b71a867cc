//! Guilds at other nodes, as relays here have them: a feed is what a link brings, and whatever is asked is a call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guildhall_cluster::Repeat;
use guildhall_permissions::Rights;
use guildhall_proto::call::{Answer, Ask, EncodedIds, FeedId, Piece, PieceRun, Request, Within};
use guildhall_proto::{
    CallError, CallError as Error, Event, GuildId, Member, Millis, Position, Reply, SessionId, SessionRequest, Sponsor,
    UserId, codec,
};
use guildhall_relay::SecretKeys;
use guildhall_ring::{Cursor, Version};
use guildhall_sessions::{Arrivals, Counted, Feed, Guilds, Members, Opening, Returning, Rings};
use tokio::runtime::Handle;

use crate::call::Terms;
use crate::client::{Held, wall_clock};
use crate::counters::Counter;
use crate::error::{ClientError, Failed, unfit};
use crate::links::Linked;

/// The guilds that a client's links lead to.
#[derive(Debug, Clone)]
pub struct Remote {
    held: Held,
}

/// A feed that is open. Dropped, it is closed at the node too.
#[derive(Debug)]
pub struct Listening {
    feed: Arc<Feed>,
    id: FeedId,
    linked: Arc<Linked>,
    runtime: Handle,
    within: Duration,
}

/// The members that a relay has asked for.
#[derive(Debug)]
pub struct Asked(HashMap<UserId, Member>);

/// What the answer to the opening of a feed brings.
struct Fed {
    listening: Listening,
    at: Position,
    sponsor: Sponsor,
    rights: Rights,
    past: Vec<Arc<Event>>,
    members: HashMap<UserId, Member>,
}

impl Remote {
    pub(crate) const fn new(held: Held) -> Self {
        Self { held }
    }

    fn terms(&self, guild: GuildId) -> Terms {
        Terms { guild, repeat: Repeat::Freely, within: self.held.config.deadline }
    }
}

impl Guilds for Remote {
    type Listening = Listening;
    type Members = Asked;

    async fn open(
        &self,
        guild: GuildId,
        past_max: usize,
        mut users: Vec<UserId>,
        was_at: Option<Position>,
    ) -> Result<Opening<Self>, Error> {
        users.sort_unstable();
        users.dedup();
        let chunks: Arc<Vec<Vec<u8>>> = Arc::new(chunks_of(&users)?);
        let past = u32::try_from(past_max).unwrap_or(u32::MAX);
        let within = self.held.config.deadline;
        let opened = self.held.call(self.terms(guild), |linked, left| {
            let chunks = Arc::clone(&chunks);
            async move { open_at(linked, guild, (past, was_at), &chunks, left, within).await }
        });
        let Fed { listening, at, sponsor, rights, past, members } = opened.await?;
        let events = Cursor::after(at.seq);
        // What comes before the answer belongs to it too: from the beginning of what came here.
        let told = Version::default();
        Ok(Opening { listening, at, rights, past, members: Asked(members), events, told, sponsor })
    }

    async fn session(&self, guild: GuildId, session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        // Repeating an attach or a detach does no harm, but whether one may have come through must be told. A second resume is refused.
        let repeat = match request {
            SessionRequest::Resume { .. } => Repeat::Never,
            SessionRequest::Attach { .. }
            | SessionRequest::Reattach { .. }
            | SessionRequest::SetStatus { .. }
            | SessionRequest::SetLevel { .. }
            | SessionRequest::Detach { .. }
            | SessionRequest::Release { .. } => Repeat::ById,
        };
        let terms = Terms { repeat, ..self.terms(guild) };
        let asked = self.held.call(terms, |linked, within| async move {
            let request = Request::Session { guild, session, request };
            Ok(linked.send(&Ask { within, request }, &[]).await?.0)
        });
        match asked.await {
            Ok(Answer::Reply(reply)) => Ok(reply),
            Ok(answer) => Err(unheard(session, &unfit(&answer))),
            Err(error @ ClientError::Answer(_)) => Err(unheard(session, &error)),
            Err(error) => Err(error.into()),
        }
    }

    fn arrivals(&self) -> Option<&Arrivals> {
        None
    }

    fn now(&self) -> Millis {
        wall_clock()
    }

    fn keys(&self) -> Arc<SecretKeys> {
        let keys = self.held.keys.get().expect("a backend is made once there are keys");
        keys.load_full()
    }

    fn returning(&self) -> Returning {
        self.held.config.returning
    }

    fn rings(&self) -> &Arc<Rings> {
        &self.held.rings
    }

    fn discard(&self, dropped: impl Send + 'static) {
        drop(dropped);
    }

    fn count(&self, what: Counted, by: u64) {
        self.held.counters.add(Counter::from(what), by);
    }
}

/// What is known of a request about a session whose answer says nothing: the owner may have done as it was asked.
fn unheard(session: SessionId, error: &ClientError) -> CallError {
    tracing::warn!(%session, %error, "what a session's owner did is not known");
    CallError::OutcomeUnknown
}

/// Opens a feed over one link.
async fn open_at(
    linked: Arc<Linked>,
    guild: GuildId,
    (past, told_since): (u32, Option<Position>),
    chunks: &[Vec<u8>],
    within: Within,
    closing: Duration,
) -> Result<Fed, Failed> {
    let id = linked.next_feed();
    let request = Request::Feed { guild, feed: id, past, told_since };
    let course = request.course().expect("a feed begins with pieces");
    // Before it is asked for: news may come before the answer. From here on, whatever fails or is cancelled, the drop closes it.
    linked.feeds.expect(guild, id);
    let runtime = Handle::current();
    let mut expected =
        Expected { linked: Arc::clone(&linked), id, is_handed_on: false, within: closing, runtime: runtime.clone() };
    let (answer, mut rest) = linked.send(&Ask { within, request }, chunks).await?;
    let Answer::Fed { at, sponsor } = answer else {
        return Err(Failed::Answer(format!("{answer:?} in place of a feed")));
    };
    let mut run = PieceRun::new(course);
    let (mut settings, mut roles, mut channels, mut events) = (None, Vec::new(), Vec::new(), Vec::new());
    let mut members = HashMap::new();
    let mut pieces = Vec::new();
    while let Some(chunk) = rest.next().await? {
        run.take(&chunk, &mut pieces).map_err(|fault| rest.refused(&fault))?;
        for piece in pieces.drain(..) {
            match piece {
                Piece::Settings(of_guild) => settings = Some(of_guild),
                Piece::Role(role) => roles.push(role),
                Piece::Channel(channel, overwrites) => channels.push((channel, overwrites)),
                Piece::Event(event) => events.push(event),
                Piece::Member(member) => drop(members.insert(member.user, member)),
                Piece::Ban(_) => return Err(rest.refused(&"a ban in a feed")),
            }
        }
    }
    run.end().map_err(|fault| rest.refused(&fault))?;
    let settings = settings.ok_or_else(|| rest.refused(&"a feed without settings"))?;
    let rights = Rights::restore(guild, settings, roles, channels);
    let feed = linked.feeds.open(id, at).ok_or(Failed::Lost)?;
    expected.is_handed_on = true;
    let listening = Listening { feed, id, linked, runtime, within: closing };
    Ok(Fed { listening, at, sponsor, rights, past: events, members })
}

/// A feed that is being opened.
struct Expected {
    linked: Arc<Linked>,
    id: FeedId,
    is_handed_on: bool,
    within: Duration,
    /// Where it is closed, wherever it is dropped.
    runtime: Handle,
}

impl Drop for Expected {
    fn drop(&mut self) {
        if !self.is_handed_on {
            close(&self.linked, self.id, self.within, &self.runtime);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        close(&self.linked, self.id, self.within, &self.runtime);
    }
}

/// Forgets a feed here, and tells the node in the background. If that does not come through, the link has ended, and all its feeds with it; or the
/// node has replaced the feed.
fn close(linked: &Arc<Linked>, id: FeedId, within: Duration, runtime: &Handle) {
    linked.feeds.forget(id);
    let linked = Arc::clone(linked);
    runtime.spawn(async move {
        if let Err(error) = linked.ask(within, Request::CloseFeed { feed: id }).await {
            tracing::debug!(feed = id.0, ?error, "feed not closed");
        }
    });
}

fn chunks_of(users: &[UserId]) -> Result<Vec<Vec<u8>>, Error> {
    let encode = |ids: &[UserId]| codec::encode(&EncodedIds(ids));
    let chunks: Result<_, _> = users.chunks(EncodedIds::CHUNK_IDS_MAX).map(encode).collect();
    chunks.map_err(|error| Error::Unavailable { reason: error.to_string() })
}

impl AsRef<Feed> for Listening {
    fn as_ref(&self) -> &Feed {
        &self.feed
    }
}

impl Members for Asked {
    fn member(&self, user: UserId) -> Option<Member> {
        self.0.get(&user).cloned()
    }

    fn joined_at(&self, user: UserId) -> Option<Millis> {
        self.0.get(&user).map(|member| member.joined_at)
    }
}
