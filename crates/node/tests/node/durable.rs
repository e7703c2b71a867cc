//! A node over the store on a disk: what was acknowledged outlives it, however it ends, and a failing disk is told.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guildhall_log::MemoryFiles;
use guildhall_log::files::{Failure, Fault, Files, Site};
use guildhall_node::{Call, Clock, Counter, DurableError, DurableStore, Node, NodeConfig, WriterFailure};
use guildhall_proto::{
    Actor, CallError, ClientId, Command, CommandError, Epoch, GuildId, NodeId, OpId, Outcome, Permissions,
};
use guildhall_store::{Directory, DirectoryError, EmbeddedConfig, OpenError, OpenReport};

use crate::world::{ADA, NOW, add_member, create_channel, message, name, new_member, soon, until, until_async, user};

/// A node, and the store that it runs over.
pub(crate) struct World {
    node: Node,
    pub(crate) durable: DurableStore,
    report: OpenReport,
    /// The operations of one process are not those of the next.
    client: ClientId,
    operations: AtomicU64,
}

impl Deref for World {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl World {
    fn at(path: &Path, client: u64) -> Self {
        Self::over(Directory::make(path).unwrap(), EmbeddedConfig::default(), client)
    }

    pub(crate) fn over(directory: Directory, config: EmbeddedConfig, client: u64) -> Self {
        Self::with(directory, config, client, |_| {})
    }

    pub(crate) fn with(
        directory: Directory,
        config: EmbeddedConfig,
        client: u64,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        match DurableStore::create(&directory, NodeId::MIN, &config) {
            Ok(()) | Err(DurableError::Open(OpenError::Exists)) => {}
            Err(error) => panic!("{error}"),
        }
        let (durable, report) = DurableStore::open(directory, config, 2).unwrap();
        let clock = Clock::from_fn(|| NOW);
        let mut config = NodeConfig { clock, sleep_after: Duration::MAX, ..NodeConfig::default() };
        config.offload.threads = 2;
        change(&mut config);
        let node = Node::start(config, Arc::clone(durable.store()) as Arc<_>).unwrap();
        Self { node, durable, report, client: ClientId::new(client).unwrap(), operations: AtomicU64::new(1) }
    }

    pub(crate) fn operation(&self, command: Command) -> Call {
        let counter = self.operations.fetch_add(1, Ordering::Relaxed);
        let op = OpId { client: self.client, counter, issued_at: NOW };
        Call { op, actor: Actor::System, command }
    }

    pub(crate) async fn ask(&self, guild: GuildId, command: Command) -> Result<Outcome, CallError> {
        soon(self.node.call(guild, self.operation(command))).await
    }

    pub(crate) async fn found(&self, guild: GuildId, members: u64) {
        let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let create = Command::CreateGuild { name: name("guild"), everyone, owner: new_member(ADA) };
        self.ask(guild, create).await.unwrap();
        self.ask(guild, create_channel(2)).await.unwrap();
        self.ask(guild, Command::ImportMembers((2..=members).map(new_member).collect())).await.unwrap();
    }

    pub(crate) async fn stop(self) -> Result<(), WriterFailure> {
        soon(self.node.stop()).await;
        soon(self.durable.stop()).await
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.node.counts().of(counter)
    }
}

fn guild() -> GuildId {
    GuildId::MIN
}

/// The three directories of a store, in memory.
#[derive(Clone, Default)]
pub(crate) struct Disk([MemoryFiles; 3]);

impl Disk {
    pub(crate) fn directory(&self) -> Directory {
        let [root, records, checkpoints] = self.0.clone().map(|files| Arc::new(files) as Arc<dyn Files>);
        Directory::new(root, records, checkpoints)
    }

    pub(crate) fn records(&self) -> &MemoryFiles {
        &self.0[1]
    }

    pub(crate) fn checkpoints(&self) -> &MemoryFiles {
        &self.0[2]
    }

    pub(crate) fn power_cut(&self, seed: u64) {
        self.0.iter().zip(seed..).for_each(|(files, seed)| files.power_cut(seed, 512));
    }
}

#[tokio::test]
async fn a_node_that_stopped_leaves_its_guilds_to_the_next_and_its_directory_free() {
    let temp = tempfile::tempdir().unwrap();
    let first = World::at(temp.path(), 1);
    assert_eq!(first.report.guilds, 0);
    first.found(guild(), 5_000).await;
    let last = first.ask(guild(), message(1)).await.unwrap().at();
    let before = soon(first.view(guild())).await.unwrap();
    let refused = Directory::make(temp.path()).unwrap_err();
    assert!(matches!(refused, DirectoryError::InUse { .. }), "{refused}");
    first.stop().await.unwrap();

    // The last jobs of the workers may hold the store for a moment more.
    until(|| Directory::make(temp.path()).is_ok()).await;
    let next = World::at(temp.path(), 2);
    assert_eq!(next.report.guilds, 1);
    let after = soon(next.view(guild())).await.unwrap();
    assert_eq!((after.position().epoch, after.position().seq), (Epoch(2), last.seq), "nothing was to be replayed");
    assert_eq!(after.range(None, usize::MAX), before.range(None, usize::MAX));
    assert_eq!(after.rights(), before.rights());
    next.ask(guild(), add_member(9_000)).await.unwrap();
    next.stop().await.unwrap();
}

#[test]
fn what_was_acknowledged_outlives_a_node_that_ends_without_a_word() {
    let temp = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let dying = runtime();
    let durable = dying.block_on(async {
        let world = World::at(temp.path(), 1);
        world.found(guild(), 100).await;
        for number in 200..300 {
            world.ask(guild(), add_member(number)).await.unwrap();
        }
        world.durable
    });
    // Its owners end where they stand.
    dying.shutdown_timeout(Duration::from_secs(10));
    runtime().block_on(async {
        durable.stop().await.unwrap();
        drop(durable);
        until(|| Directory::make(temp.path()).is_ok()).await;
        let next = World::at(temp.path(), 2);
        assert_eq!(soon(next.view(guild())).await.unwrap().len(), 200);
        next.stop().await.unwrap();
    });
}

#[tokio::test]
async fn a_guild_sleeps_and_wakes_from_the_disk() {
    let temp = tempfile::tempdir().unwrap();
    let world = World::at(temp.path(), 1);
    world.found(guild(), 3_000).await;
    for round in 1..=5 {
        world.ask(guild(), add_member(10_000 + round)).await.unwrap();
        let before = soon(world.view(guild())).await.unwrap();
        soon(world.sleep(guild())).await.unwrap();
        assert_eq!(world.awake(), 0);
        let after = soon(world.view(guild())).await.unwrap();
        assert_eq!((after.position().epoch, after.position().seq), (Epoch(1 + round), before.position().seq));
        assert_eq!(after.range(None, usize::MAX), before.range(None, usize::MAX));
    }
    world.stop().await.unwrap();
}

#[tokio::test]
async fn a_guild_whose_owner_panicked_is_as_it_was_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let world = World::at(temp.path(), 1);
    world.found(guild(), 100).await;
    let panicked = soon(world.filter(guild(), |_, _| panic!("the job of this test panics"))).await;
    assert!(panicked.is_err());
    until(|| world.count(Counter::RetiredByJob) == 1).await;
    assert!(soon(world.view(guild())).await.unwrap().as_of().stale_for.is_some());
    until_async(async || world.view(guild()).await.unwrap().as_of().stale_for.is_none()).await;
    assert_eq!(soon(world.view(guild())).await.unwrap().len(), 100);
    world.stop().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_is_told_reads_go_on_and_the_next_start_has_all_that_was_acknowledged() {
    let disk = Disk::default();
    let world = World::over(disk.directory(), EmbeddedConfig::default(), 1);
    world.found(guild(), 100).await;
    disk.records().fail(Fault { site: Site::Sync, after: 0, times: 1, failure: Failure::Error(EIO) });
    let refused = world.ask(guild(), add_member(500)).await.unwrap_err();
    assert!(matches!(refused, CallError::OutcomeUnknown | CallError::Unavailable { .. }), "{refused}");
    let failure = soon(world.durable.failed()).await;
    assert!(matches!(failure, WriterFailure::Disk(_)), "{failure}");
    assert_eq!(soon(world.durable.failed()).await, failure, "whoever asks is told");

    let view = soon(world.view(guild())).await.unwrap();
    assert!(view.as_of().stale_for.is_some() && view.len() == 100 && view.member(user(500)).is_none());
    assert!(world.ask(guild(), add_member(501)).await.is_err());
    assert_eq!(world.stop().await, Err(failure));

    disk.power_cut(7);
    disk.records().mend();
    let next = World::over(disk.directory(), EmbeddedConfig::default(), 2);
    let members = soon(next.view(guild())).await.unwrap().len();
    assert!((100..=101).contains(&members), "{members}: who was not acknowledged may be there");
    next.ask(guild(), add_member(502)).await.unwrap();
    next.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_durable_and_nothing_else_until_there_is_room() {
    let disk = Disk::default();
    let config = EmbeddedConfig { segment_bytes: 256 * 1024, ..EmbeddedConfig::default() };
    let world = World::over(disk.directory(), config, 1);
    world.found(guild(), 3).await;
    disk.records().set_capacity(0);
    let mut added = 0;
    let refused = loop {
        match world.ask(guild(), add_member(10 + added)).await {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
        assert!(added < 10_000);
    };
    assert_eq!(refused, CallError::Refused(CommandError::StoreFull));
    assert!(world.count(Counter::RefusedStoreFull) > 0);
    world.ask(guild(), message(1)).await.unwrap();
    let full = world.ask(GuildId::new(2).unwrap(), Command::DeleteGuild).await;
    assert_eq!(full, Err(CallError::Refused(CommandError::UnknownGuild)));
    assert_eq!(soon(world.current_view(guild())).await.unwrap().len(), 3 + added as usize);

    disk.records().set_capacity(u64::MAX);
    until_async(async || world.ask(guild(), add_member(50_000)).await.is_ok()).await;
    assert_eq!(soon(world.current_view(guild())).await.unwrap().len(), 4 + added as usize);
    world.stop().await.unwrap();
}

pub(crate) const EIO: i32 = 5;
