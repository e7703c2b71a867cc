//! What is held of a guild, and when it is not any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Weak};
use std::time::Duration;

use guildhall_members::View;
use guildhall_proto::{
    Actor, CallError, ClientId, Command, GuildId, Level, MemberFlags, Millis, Name, NewMember, Nick, OpId, Permissions,
    SessionId, Status, UserId,
};
use guildhall_store::MemoryStore;
use tokio::sync::oneshot;

use super::Bedtime;
use crate::live::{Control, Live};
use crate::{Attach, Call, Clock, Node, NodeConfig};

/// A node with a guild, large enough for folds on workers and for a ring with a lease.
struct World {
    node: Node,
    store: Arc<MemoryStore>,
    operations: AtomicU64,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(tune: impl FnOnce(&mut NodeConfig)) -> Self {
        let clock = Clock::from_fn(|| Millis(1));
        let mut config = NodeConfig { clock, sleep_after: Duration::MAX, ..NodeConfig::default() };
        tune(&mut config);
        let store = Arc::new(MemoryStore::default());
        let node = Node::start(config, Arc::clone(&store) as Arc<_>).unwrap();
        Self { node, store, operations: AtomicU64::new(1) }
    }

    async fn found(&self) {
        let name = Name::parse("guild").unwrap();
        let owner = member(1);
        self.ask(Command::CreateGuild { name, everyone: Permissions::VIEW_CHANNEL, owner }).await;
        for first in (2..5_000).step_by(1_000) {
            self.ask(Command::ImportMembers((first..first + 1_000).map(member).collect())).await;
        }
    }

    async fn ask(&self, command: Command) {
        let counter = self.operations.fetch_add(1, Ordering::Relaxed);
        let op = OpId { client: ClientId::MIN, counter, issued_at: Millis(1) };
        self.node.call(GuildId::MIN, Call { op, actor: Actor::System, command }).await.unwrap();
    }

    /// Has the guild's owner parked, whatever is under way first.
    async fn park(&self) {
        let live = self.node.live(GuildId::MIN).await.unwrap();
        let is_parked = async || {
            let is_parked = live.mailbox.is_left();
            if !is_parked {
                live.mailbox.post_control(Control::Tidy);
            }
            is_parked
        };
        until(is_parked).await;
    }

    async fn watch(&self) -> (Weak<Live>, Weak<View>) {
        let live = self.node.live(GuildId::MIN).await.unwrap();
        (Arc::downgrade(&live), Arc::downgrade(&live.view().unwrap()))
    }
}

fn member(user: u64) -> NewMember {
    let nick = Nick::parse("nick").unwrap();
    NewMember { user: UserId::new(user).unwrap(), nick, roles: vec![], flags: MemberFlags::NONE }
}

/// Waits until something is so: what is large dies on a worker.
async fn until(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it comes to be so");
}

#[tokio::test]
async fn of_a_sleeping_guild_nothing_is_held_but_by_the_store() {
    let world = World::new();
    let holders = Arc::strong_count(&world.store);
    world.found().await;
    let backend = world.node.backend();
    let (session, user) = (SessionId::MIN, UserId::new(1).unwrap());
    let attach = Attach { session, user, status: Status::Online, members: true, level: Level::Active };
    let mut stream = backend.attach(GuildId::MIN, attach).await.unwrap();
    let (live, view) = world.watch().await;
    assert!(world.node.ring_bytes() > 0);
    stream.detach().await.unwrap();
    drop(stream);
    // The relay is still there for a moment.
    until(async || world.node.sleep(GuildId::MIN).await.is_ok()).await;
    until(async || (live.strong_count(), view.strong_count()) == (0, 0)).await;
    until(async || (world.node.awake(), world.node.ring_bytes(), backend.relays()) == (0, 0, 0)).await;
    until(async || Arc::strong_count(&world.store) == holders).await;
}

#[tokio::test]
async fn what_a_fold_has_replaced_is_not_held_by_views_of_before_though_no_checkpoint_is_made() {
    let world = World::new();
    world.found().await;
    let (_, view) = world.watch().await;
    // Two changes of a view are too few to have it buried, and enough for a fold.
    for first in [10_000, 20_000] {
        world.ask(Command::ImportMembers((first..first + 1_500).map(member).collect())).await;
    }
    until(async || view.strong_count() == 0).await;
}

#[tokio::test]
async fn a_parked_owner_comes_back_for_a_call_and_for_the_stop() {
    let world = World::new();
    world.found().await;
    world.park().await;
    world.ask(Command::ImportMembers((10_000..10_010).map(member).collect())).await;
    let live = world.node.live(GuildId::MIN).await.unwrap();
    assert_eq!(live.view().unwrap().len(), 5_011);
    world.park().await;
    world.node.stop().await;
    assert!(live.feed.has_ended());
}

#[tokio::test]
async fn who_asks_an_owner_to_sleep_that_has_just_ended_is_told_so_though_it_holds_the_guild() {
    let world = World::new();
    world.found().await;
    let live = world.node.live(GuildId::MIN).await.unwrap();
    world.node.sleep(GuildId::MIN).await.unwrap();
    assert!(live.feed.has_ended());
    let (tell, told) = oneshot::channel();
    live.mailbox.post_control(Control::Sleep(Bedtime::Asked(vec![tell])));
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told");
    assert!(told.is_err(), "without a word: it looks for the guild anew");
}

#[test]
fn of_a_guild_whose_owner_is_just_being_parked_when_its_runtime_ends_nothing_is_held() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (armed, entered) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let clock = {
        let (armed, entered) = (Arc::clone(&armed), Arc::clone(&entered));
        Clock::from_fn(move || {
            if armed.swap(false, Ordering::SeqCst) {
                // Once when the owner is here, and once when it may go on.
                entered.wait();
                entered.wait();
            }
            Millis(1)
        })
    };
    let (node, store, live, view) = runtime.block_on(async {
        let world = World::with(|config| config.clock = clock);
        world.found().await;
        let live = world.node.live(GuildId::MIN).await.unwrap();
        // Whatever is under way comes first, so that the next is the one that parks it.
        world.park().await;
        live.mailbox.call_back();
        armed.store(true, Ordering::SeqCst);
        live.mailbox.post_control(Control::Tidy);
        let (live, view) = world.watch().await;
        (world.node, world.store, live, view)
    });
    entered.wait();
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        let unknown = GuildId::new(2).unwrap();
        until(async || matches!(node.view(unknown).await, Err(CallError::Stopping))).await;
        drop(node);
        entered.wait();
        until(async || (live.strong_count(), view.strong_count(), Arc::strong_count(&store)) == (0, 0, 1)).await;
    });
}

#[tokio::test]
async fn an_owner_that_only_the_node_has_called_back_is_parked_again_though_it_is_heard() {
    let world = World::with(|config| config.sleep_after = Duration::from_millis(400));
    world.found().await;
    let backend = world.node.backend();
    let (session, user) = (SessionId::MIN, UserId::new(1).unwrap());
    let attach = Attach { session, user, status: Status::Online, members: false, level: Level::Active };
    let _stream = backend.attach(GuildId::MIN, attach).await.unwrap();
    let live = world.node.live(GuildId::MIN).await.unwrap();
    until(async || live.mailbox.is_left()).await;
    live.mailbox.post_control(Control::GiveBack);
    assert!(!live.mailbox.is_left());
    until(async || live.mailbox.is_left()).await;
}

#[test]
fn of_a_parked_guild_nothing_is_held_once_its_runtime_has_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (store, live, view) = runtime.block_on(async {
        let world = World::new();
        world.found().await;
        world.park().await;
        let (live, view) = world.watch().await;
        (Arc::clone(&world.store), live, view)
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        until(async || (live.strong_count(), view.strong_count(), Arc::strong_count(&store)) == (0, 0, 1)).await;
    });
}
