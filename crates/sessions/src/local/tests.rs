//! Relays over guilds that do what the test says: each look at one waits until it may.

use guildhall_permissions::Rights;
use guildhall_proto::{
    Attached, Epoch, Event, EventKind, Generation, GuildSettings, Level, Member, MemberFlags, Millis, Name, Nick,
    Permissions, Reply, SecretKey, Seq, SessionId, SessionRequest, Status,
};
use guildhall_relay::SecretKeys;
use guildhall_ring::{LatestConfig, RingConfig, Writer, latest, ring};

use super::*;
use crate::guilds::Returning;
use crate::rings::Rings;
use crate::{Attach, AttachError, Backend, Delivery};

/// One guild, of which each user is a member.
#[derive(Clone)]
struct Scripted(Arc<State>);

struct State {
    rings: Arc<Rings>,
    keys: Arc<SecretKeys>,
    owner: Mutex<Owner>,
    /// A permit for each look at the guild.
    looks: Semaphore,
}

struct Owner {
    feed: Arc<Feed>,
    ring: Writer<Arc<Event>>,
    rights: Rights,
    /// The users that were asked for, look by look.
    asked: Vec<Vec<UserId>>,
    /// Looks from now on that fail.
    failing: usize,
    generation: u64,
}

struct Held(Arc<Feed>);

struct All;

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn member(user: UserId) -> Member {
    let nick = Nick::parse("ada").unwrap();
    Member { user, nick, roles: Vec::new(), joined_at: Millis(1), flags: MemberFlags::NONE }
}

impl Scripted {
    fn new() -> Self {
        let guild = GuildId::MIN;
        let settings = GuildSettings { name: Name::parse("one").unwrap(), owner: user(1) };
        let rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::NONE));
        let (feed, ring) = epoch(1, Seq(0));
        let owner = Owner { feed, ring, rights, asked: Vec::new(), failing: 0, generation: 0 };
        let keys = SecretKeys::new(SecretKey { number: 1, key: [7; 32] });
        let rings = Rings::new(1 << 20, || ());
        let looks = Semaphore::new(Semaphore::MAX_PERMITS);
        Self(Arc::new(State { rings: Arc::new(rings), keys: Arc::new(keys), owner: Mutex::new(owner), looks }))
    }

    fn backend(&self) -> Backend<Self> {
        let ring = RingConfig { entries_max: 16, ..RingConfig::default() };
        Backend::new(self.clone(), RelayConfig { ring, ..RelayConfig::default() })
    }

    /// Renames the guild, so that everybody hears of it, some times in a row.
    fn rename(&self, times: u64) {
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
    fn next_owner(&self) {
        let mut owner = self.0.owner.lock();
        let last = owner.feed.head();
        let (feed, ring) = epoch(last.epoch.0 + 1, last.seq);
        owner.ring = ring;
        std::mem::replace(&mut owner.feed, feed).end();
    }

    fn asked(&self) -> Vec<Vec<UserId>> {
        self.0.owner.lock().asked.clone()
    }
}

fn epoch(number: u64, last: Seq) -> (Arc<Feed>, Writer<Arc<Event>>) {
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

    async fn open(&self, _guild: GuildId, max: usize, users: Vec<UserId>) -> Result<Opening<Self>, CallError> {
        self.0.owner.lock().asked.push(users);
        self.0.looks.acquire().await.unwrap().forget();
        let mut owner = self.0.owner.lock();
        if owner.failing > 0 {
            owner.failing -= 1;
            return Err(CallError::Unavailable { reason: String::from("as the test says") });
        }
        let at = owner.feed.head();
        let (listening, events, told) = (Held(Arc::clone(&owner.feed)), Cursor::after(at.seq), owner.feed.told.head());
        let past = owner.feed.past(at.seq, max);
        Ok(Opening { listening, at, rights: owner.rights.clone(), past, members: All, events, told })
    }

    async fn session(&self, _guild: GuildId, _session: SessionId, request: SessionRequest) -> Result<Reply, CallError> {
        let mut owner = self.0.owner.lock();
        let at = owner.feed.head();
        match request {
            SessionRequest::Attach { user, .. }
            | SessionRequest::Resume { user, .. }
            | SessionRequest::Reattach { user, .. } => {
                owner.generation += 1;
                let (deleted_roles, deletions_unknown_to) = (Vec::new(), Seq(0));
                let (member, generation) = (member(user), Generation(owner.generation));
                Ok(Reply::Attached(Attached { at, member, generation, deleted_roles, deletions_unknown_to }))
            }
            SessionRequest::SetStatus { .. }
            | SessionRequest::SetLevel { .. }
            | SessionRequest::Detach { .. }
            | SessionRequest::Release { .. } => Ok(Reply::Accepted(at)),
        }
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

    fn count(&self, _what: Counted, _by: u64) {}
}

fn attach_of(number: u64) -> Attach {
    let session = SessionId::new(number).unwrap();
    Attach { session, user: user(number), status: Status::Online, members: false, level: Level::Active }
}

/// Lets all other tasks come to where they wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_relay_begins_again_nobody_is_placed_and_who_comes_then_hears_all_that_follows() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let mut first = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    guilds.0.looks.forget_permits(Semaphore::MAX_PERMITS);
    // More than the ring holds: the relay has to begin again, with the members of those that it has.
    guilds.rename(1_000);
    settle().await;
    assert_eq!(guilds.asked(), [vec![], vec![user(1)]]);

    let coming = tokio::spawn({
        let backend = backend.clone();
        async move { backend.attach(GuildId::MIN, attach_of(2)).await }
    });
    settle().await;
    assert!(!coming.is_finished(), "the relay does not know its member as of where it begins again");
    guilds.0.looks.add_permits(1);
    let mut second = coming.await.unwrap().unwrap();

    guilds.rename(1);
    let last = guilds.0.owner.lock().feed.head();
    let Some(Delivery::Gap(gap)) = first.next().await else { panic!("a thousand renames are not in the ring") };
    assert_eq!(gap.through.seq, Seq(last.seq.0 - 1));
    for session in [&mut first, &mut second] {
        match session.next().await {
            Some(Delivery::Event(event)) => assert_eq!(event.position, last),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_whose_guild_is_not_to_be_had_looks_for_it_at_a_falling_pace_and_goes_on_once_it_is() {
    // A hole is looked behind at once, and then as an owner that is gone: at once, after 10, 20, 40 and 80 ms.
    for (hole, expected) in [(true, 70), (false, 150)] {
        let guilds = Scripted::new();
        let backend = guilds.backend();
        let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
        guilds.0.owner.lock().failing = 4;
        let begun = Instant::now();
        if hole {
            guilds.rename(1_000)
        } else {
            guilds.next_owner()
        }
        assert!(matches!(session.next().await, Some(Delivery::Gap(_))), "hole: {hole}");
        assert_eq!(begun.elapsed().as_millis(), expected, "hole: {hole}");
        guilds.rename(1);
        assert!(matches!(session.next().await, Some(Delivery::Event(_))), "hole: {hole}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_its_turn_or_behind_too_many_is_told_to_come_again_and_then_comes_in() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let (relay, _lease) = backend.relay(GuildId::MIN).await.unwrap();

    let turns: Vec<SemaphorePermit<'_>> = (0..ATTACHING_MAX).map(|_| relay.attaching.try_acquire().unwrap()).collect();
    let begun = Instant::now();
    let refused = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap_err();
    let late = AttachError::Call(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER });
    assert_eq!((refused, begun.elapsed()), (late.clone(), TURN_AFTER_MAX));

    let places = u32::try_from(relay.sessions_max).unwrap();
    let waiting = relay.waiting.try_acquire_many(places).unwrap();
    let begun = Instant::now();
    let refused = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap_err();
    assert_eq!((refused, begun.elapsed()), (late, Duration::ZERO));

    drop((turns, waiting));
    assert!(backend.attach(GuildId::MIN, attach_of(1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_guild_that_ends_again_and_again_is_loaded_at_a_falling_pace() {
    let mut pace = Pace::default();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let pause = pace.pause();
        tokio::time::advance(pause).await;
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    tokio::time::advance(2 * REOPEN_PAUSE_MAX).await;
    assert_eq!(pace.pause(), Duration::ZERO);
}
