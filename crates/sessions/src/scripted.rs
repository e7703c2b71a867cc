//! Guilds that do what a test says: each look at one waits until it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guildhall_permissions::Rights;
use guildhall_proto::{
    Attached, CallError, Epoch, Event, EventKind, Generation, GuildId, GuildSettings, Level, Member, MemberFlags,
    Millis, Name, Nick, Permissions, Position, Reply, SecretKey, Seq, SessionId, SessionRequest, Sponsor, Status,
    UserId,
};
use guildhall_relay::{RelayConfig, SecretKeys};
use guildhall_ring::{Cursor, LatestConfig, RingConfig, Writer, latest, ring};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::arrivals::Arrivals;
use crate::feed::Feed;
use crate::guilds::{Counted, Guilds, Members, Opening, Returning};
use crate::rings::Rings;
use crate::{Attach, Backend};

/// One guild, of which each user is a member.
#[derive(Clone)]
pub(crate) struct Scripted(pub(crate) Arc<State>);

pub(crate) struct State {
    rings: Arc<Rings>,
    keys: Arc<SecretKeys>,
    pub(crate) owner: Mutex<Owner>,
    /// Calls that owners have handled, as the test says.
    pub(crate) calls: Arc<AtomicU64>,
    arrivals: Arrivals,
    /// A permit for each look at the guild.
    pub(crate) looks: Semaphore,
}

pub(crate) struct Owner {
    pub(crate) feed: Arc<Feed>,
    ring: Writer<Arc<Event>>,
    rights: Rights,
    /// The users that were asked for, look by look.
    asked: Vec<Vec<UserId>>,
    /// Whether whoever looks may not.
    pub(crate) denies: bool,
    /// By how many events what is answered about sessions is ahead of the feed.
    pub(crate) ahead: u64,
    /// What panics from now on.
    pub(crate) panics: Option<Panics>,
    /// Looks from now on that fail.
    pub(crate) failing: usize,
    /// Requests of sessions from now on that fail.
    pub(crate) failing_sessions: usize,
    /// What is looked at in place of the feed, so many times: of an owner that does not know that it was taken over.
    pub(crate) zombie: Option<(Arc<Feed>, usize)>,
    /// What was asked about sessions, and answered.
    pub(crate) requests: Vec<SessionRequest>,
    generation: u64,
    /// Whom openings name from now on.
    pub(crate) sponsor: Sponsor,
}

/// What may panic in a relay's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panics {
    /// A look at the guild.
    Look,
    /// What follows it, under the relay's lock.
    Resync,
}

pub(crate) struct Held(Arc<Feed>);

pub(crate) struct All;

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn member(user: UserId) -> Member {
    let nick = Nick::parse("ada").unwrap();
    Member { user, nick, roles: Vec::new(), joined_at: Millis(1), flags: MemberFlags::NONE }
}

impl Scripted {
    pub(crate) fn new() -> Self {
        let guild = GuildId::MIN;
        let settings = GuildSettings { name: Name::parse("one").unwrap(), owner: user(1) };
        let rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::NONE));
        let (feed, ring) = epoch(1, Seq(0));
        let owner = Owner {
            feed,
            ring,
            rights,
            asked: Vec::new(),
            denies: false,
            panics: None,
            ahead: 0,
            failing: 0,
            failing_sessions: 0,
            zombie: None,
            requests: Vec::new(),
            generation: 0,
            sponsor: Sponsor(1),
        };
        let keys = SecretKeys::new(SecretKey { number: 1, key: [7; 32] });
        let rings = Rings::new(1 << 20, || ());
        let looks = Semaphore::new(Semaphore::MAX_PERMITS);
        let calls = Arc::new(AtomicU64::new(0));
        let handled = Arc::clone(&calls);
        Self(Arc::new(State {
            rings: Arc::new(rings),
            keys: Arc::new(keys),
            owner: Mutex::new(owner),
            calls,
            arrivals: Arrivals::new(1, move || handled.load(Ordering::Relaxed)),
            looks,
        }))
    }

    pub(crate) fn backend(&self) -> Backend<Self> {
        let ring = RingConfig { entries_max: 16, ..RingConfig::default() };
        Backend::new(self.clone(), RelayConfig { ring, ..RelayConfig::default() })
    }

    /// Renames the guild, so that everybody hears of it, some times in a row.
    pub(crate) fn rename(&self, times: u64) {
        let mut owner = self.0.owner.lock();
        for _ in 0..times {
            let before = owner.rights.settings().clone();
            let position = Position { epoch: owner.feed.epoch, seq: Seq(owner.ring.head().0) };
            let kind = EventKind::GuildUpdated { before: before.clone(), after: before };
            owner.ring.append(Arc::new(Event { position, at: Millis(1), kind }));
        }
        owner.feed.tell();
    }

    /// The owner goes, and another comes.
    pub(crate) fn next_owner(&self) {
        let mut owner = self.0.owner.lock();
        let last = owner.feed.head();
        let (feed, ring) = epoch(last.epoch.0 + 1, last.seq);
        owner.ring = ring;
        std::mem::replace(&mut owner.feed, feed).end();
    }

    /// The link to the owner goes, and another comes, on this sponsor's word.
    pub(crate) fn next_link(&self, sponsor: Sponsor) {
        let mut owner = self.0.owner.lock();
        let last = owner.feed.head();
        let (feed, ring) = epoch(last.epoch.0, last.seq);
        (owner.ring, owner.sponsor) = (ring, sponsor);
        std::mem::replace(&mut owner.feed, feed).end();
    }

    pub(crate) fn asked(&self) -> Vec<Vec<UserId>> {
        self.0.owner.lock().asked.clone()
    }
}

impl Owner {
    fn answer(&mut self, request: SessionRequest) -> Result<Reply, CallError> {
        if self.failing_sessions > 0 {
            self.failing_sessions -= 1;
            return Err(CallError::OutcomeUnknown);
        }
        self.requests.push(request);
        let head = self.feed.head();
        let at = Position { seq: Seq(head.seq.0 + self.ahead), ..head };
        match request {
            SessionRequest::Attach { user, .. }
            | SessionRequest::Resume { user, .. }
            | SessionRequest::Reattach { user, .. } => {
                self.generation += 1;
                let (deleted_roles, deletions_unknown_to) = (Vec::new(), Seq(0));
                let (member, generation) = (member(user), Generation(self.generation));
                let attached = Attached { at, member, generation, deleted_roles, deletions_unknown_to };
                Ok(Reply::Attached(Box::new(attached)))
            }
            SessionRequest::SetStatus { .. }
            | SessionRequest::SetLevel { .. }
            | SessionRequest::Detach { .. }
            | SessionRequest::Release { .. } => Ok(Reply::Accepted(at)),
        }
    }
}

pub(crate) fn epoch(number: u64, last: Seq) -> (Arc<Feed>, Writer<Arc<Event>>) {
    let config = RingConfig { entries_max: 16, ..RingConfig::default() };
    let (writer, reader) = ring(config, Cursor::after(last));
    let (_, told) = latest(LatestConfig::default());
    (Arc::new(Feed::new(Epoch(number), reader, told)), writer)
}

impl AsRef<Feed> for Held {
    fn as_ref(&self) -> &Feed {
        &self.0
    }
}

impl Members for All {
    fn member(&self, user: UserId) -> Option<Member> {
        Some(member(user))
    }

    fn joined_at(&self, _user: UserId) -> Option<Millis> {
        Some(Millis(1))
    }
}

impl Guilds for Scripted {
    type Listening = Held;
    type Members = All;

    async fn open(
        &self,
        _guild: GuildId,
        max: usize,
        users: Vec<UserId>,
        _was_at: Option<Position>,
    ) -> Result<Opening<Self>, CallError> {
        self.0.owner.lock().asked.push(users);
        self.0.looks.acquire().await.unwrap().forget();
        let mut owner = self.0.owner.lock();
        assert_ne!(owner.panics, Some(Panics::Look), "as the test says");
        if owner.denies {
            return Err(CallError::Denied { reason: String::from("as the test says") });
        }
        if owner.failing > 0 {
            owner.failing -= 1;
            return Err(CallError::Unavailable { reason: String::from("as the test says") });
        }
        let feed = match &mut owner.zombie {
            Some((zombie, looks)) if *looks > 0 => {
                *looks -= 1;
                Arc::clone(zombie)
            }
            Some(_) | None => Arc::clone(&owner.feed),
        };
        let at = feed.head();
        let (events, told, past) = (Cursor::after(at.seq), feed.told.head(), feed.past(at.seq, max));
        let listening = Held(feed);
        Ok(Opening {
            listening,
            at,
            rights: owner.rights.clone(),
            past,
            members: All,
            events,
            told,
            sponsor: owner.sponsor,
        })
    }

    async fn session(&self, _guild: GuildId, _session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        let answer = self.0.owner.lock().answer(request);
        // Who goes away while it waits has been handled all the same.
        tokio::task::yield_now().await;
        answer
    }

    fn arrivals(&self) -> Option<&Arrivals> {
        Some(&self.0.arrivals)
    }

    fn now(&self) -> Millis {
        Millis(1)
    }

    fn keys(&self) -> Arc<SecretKeys> {
        Arc::clone(&self.0.keys)
    }

    fn returning(&self) -> Returning {
        Returning { within: Duration::ZERO, secret_lifetime: Duration::from_secs(60) }
    }

    fn rings(&self) -> &Arc<Rings> {
        &self.0.rings
    }

    fn discard(&self, dropped: impl Send + 'static) {
        drop(dropped);
    }

    fn count(&self, what: Counted, _by: u64) {
        let panics = what == Counted::Resync && self.0.owner.lock().panics == Some(Panics::Resync);
        assert!(!panics, "as the test says");
    }
}

pub(crate) fn attach_of(number: u64) -> Attach {
    let session = SessionId::new(number).unwrap();
    Attach { session, user: user(number), status: Status::Online, members: false, level: Level::Active }
}
