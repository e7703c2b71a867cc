//! What a backend that goes away leaves behind.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use guildhall_node::Counter;
use guildhall_proto::call::{Answer, Ask, FeedId, Request, Within};
use guildhall_proto::{Attached, Epoch, Grant, GuildId, Reply, SessionId, SessionRequest, Sponsor, Status};
use guildhall_store::{Batch, Claim, Known, MemoryStore, Store, StoreError, Stored, StoredCheckpoint};
use guildhall_transport::Role;
use parking_lot::Mutex;

use crate::world::{Dialer, World, ids, soon, until, user};

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

/// Has the session of that number, of the user of that number, ask something.
async fn ask(dialer: &Dialer, guild: GuildId, number: u64, request: SessionRequest) -> Reply {
    match dialer.ask(Request::Session { guild, session: session(number), request }).await.unwrap().answer {
        Answer::Reply(reply) => reply,
        answer => panic!("{answer:?}"),
    }
}

async fn attach(dialer: &Dialer, guild: GuildId, number: u64) -> Attached {
    match ask(dialer, guild, number, SessionRequest::Attach { user: user(number), status: Status::Online }).await {
        Reply::Attached(attached) => *attached,
        reply => panic!("{reply:?}"),
    }
}

/// Whom the guild's owner takes the word of a link for.
async fn sponsor(dialer: &Dialer, guild: GuildId, feed: u64) -> Sponsor {
    let request = Request::Feed { guild, feed: FeedId(feed), past: 0, told_since: None };
    match dialer.ask_with(request, &ids(&[])).await.unwrap().answer {
        Answer::Fed { sponsor, .. } => sponsor,
        answer => panic!("{answer:?}"),
    }
}

/// Waits until so many are shown as there.
async fn until_online(world: &World, guild: GuildId, online: usize) {
    let falls = async {
        while world.online(guild).await != online {
            tokio::task::yield_now().await;
        }
    };
    soon(falls).await;
}

#[tokio::test]
async fn the_sessions_of_a_backend_that_does_not_come_back_are_released_in_all_its_guilds() {
    let world = World::with(|_, serve| serve.sessions_kept = Duration::from_millis(20));
    let (gone, stays) = (world.dial(Role::Backend).await, world.dial(Role::Backend).await);
    let (one, two) = (world.found(1, 400).await, world.found(2, 10).await);
    for number in 1..=300 {
        attach(&gone, one, number).await;
    }
    attach(&gone, two, 1).await;
    for number in 301..=310 {
        attach(&stays, one, number).await;
    }
    assert_eq!((world.online(one).await, world.online(two).await), (310, 1));
    gone.close().await;
    until_online(&world, one, 10).await;
    until_online(&world, two, 0).await;
    assert_eq!((world.count(Counter::SessionsForsaken), world.count(Counter::SponsorsGone)), (301, 1));
    // Nothing is left that keeps the guild awake.
    world.node.sleep(two).await.unwrap();
}

#[tokio::test]
async fn sessions_stay_as_long_as_their_backend_has_a_link_or_has_one_again_in_time() {
    let world = World::with(|_, serve| serve.sessions_kept = Duration::from_secs(3));
    let guild = world.found(1, 10).await;
    let (first, other) = (world.dial(Role::Backend).await, world.dial(Role::Backend).await);
    let before = sponsor(&first, guild, 1).await;
    let attached = attach(&first, guild, 1).await;
    attach(&other, guild, 2).await;
    first.hang_up();
    first.closed().await;
    let second = world.dial_again(&first).await;
    // Whose link ends later is waited for until later: once its session is gone, the first has been looked for.
    other.close().await;
    until_online(&world, guild, 1).await;
    assert_eq!(world.count(Counter::SessionsForsaken), 1);
    assert_eq!(sponsor(&second, guild, 1).await, before);
    let Attached { at: known, generation, .. } = attached;
    let resume = SessionRequest::Resume { user: user(1), status: Status::Online, generation, known };
    assert!(matches!(ask(&second, guild, 1, resume).await, Reply::Attached(_)));
}

#[tokio::test]
async fn a_backend_that_comes_back_too_late_is_another_sponsor_and_tells_of_its_sessions_again() {
    let world = World::with(|_, serve| serve.sessions_kept = Duration::ZERO);
    let guild = world.found(1, 10).await;
    let first = world.dial(Role::Backend).await;
    let before = sponsor(&first, guild, 1).await;
    let Attached { generation, .. } = attach(&first, guild, 1).await;
    first.hang_up();
    until_online(&world, guild, 0).await;

    let second = world.dial_again(&first).await;
    assert_ne!(sponsor(&second, guild, 1).await, before);
    let reattach = SessionRequest::Reattach { user: user(1), status: Status::Idle, generation };
    assert!(matches!(ask(&second, guild, 1, reattach).await, Reply::Accepted(_)));
    assert_eq!(world.online(guild).await, 1);
}

#[tokio::test]
async fn a_session_that_has_come_back_elsewhere_is_not_released_with_the_backend_that_it_left() {
    let world = World::with(|_, serve| serve.sessions_kept = Duration::from_millis(20));
    let guild = world.found(1, 10).await;
    let (first, second) = (world.dial(Role::Backend).await, world.dial(Role::Backend).await);
    let Attached { generation, at: known, .. } = attach(&first, guild, 1).await;
    attach(&first, guild, 2).await;
    let resume = SessionRequest::Resume { user: user(1), status: Status::Online, generation, known };
    assert!(matches!(ask(&second, guild, 1, resume).await, Reply::Attached(_)));
    first.close().await;
    until_online(&world, guild, 1).await;
    assert_eq!(world.count(Counter::SessionsForsaken), 1);
    let detach = SessionRequest::Detach { user: user(1) };
    assert!(matches!(ask(&second, guild, 1, detach).await, Reply::Accepted(_)));
}

/// A store in memory whose claims wait while somebody holds the door.
struct Waiting {
    store: Arc<MemoryStore>,
    door: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

impl Store for Waiting {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        self.store.knows(guild)
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        self.store.list(after, limit)
    }

    fn confirm(&self, guild: GuildId, epoch: Epoch, confirmed: Stored) {
        self.store.confirm(guild, epoch, confirmed);
    }

    fn claim(&self, guild: GuildId, grant: Grant) -> Result<Claim, StoreError> {
        let door = self.door.lock().take();
        if let Some(door) = door {
            // It is opened by dropping the other end.
            assert!(door.recv().is_err());
        }
        self.store.claim(guild, grant)
    }

    fn append(&self, batch: Batch, stored: Stored) {
        self.store.append(batch, stored);
    }

    fn checkpoint(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint, stored: Stored) {
        self.store.checkpoint(guild, epoch, checkpoint, stored);
    }

    fn has_room(&self) -> bool {
        self.store.has_room()
    }
}

#[tokio::test]
async fn what_waits_to_be_said_of_a_session_is_not_said_any_more_once_its_link_was_followed_by_another() {
    let door = Arc::default();
    let store = |store| Arc::new(Waiting { store, door: Arc::clone(&door) });
    let world = World::over(store, |_, _| {});
    let (guild, other) = (world.found(1, 10).await, world.found(2, 10).await);
    world.node.sleep(guild).await.unwrap();
    let (opens, held) = mpsc::channel();
    *door.lock() = Some(held);

    let first = world.dial(Role::Backend).await;
    // So its sponsor outlives the link.
    attach(&first, other, 1).await;
    let attaching = SessionRequest::Attach { user: user(1), status: Status::Online };
    let request = Request::Session { guild, session: session(1), request: attaching };
    let (send, _answer) = first.begin(Ask { within: Within::MAX, request }, &[]).await;
    soon(send.finish()).await.unwrap();
    // It waits for the guild, which is loaded.
    world.until_counted(Counter::CallsSessions, 1).await;
    until(|| door.lock().is_none()).await;
    let second = world.dial_again(&first).await;
    drop(opens);
    world.until_counted(Counter::CallsFailedUnavailable, 1).await;
    assert_eq!(world.online(guild).await, 0);
    // Over the link that stands it is.
    attach(&second, guild, 1).await;
    assert_eq!(world.online(guild).await, 1);
}
