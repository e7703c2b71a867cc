//! What idle things take in memory: resident bytes of a process that holds many of them, divided by how many there are.
//!
//! Each row runs in a process of its own, so that no row's freed memory hides another's need.
//!
//! Paper estimates, and what was measured on 2 cores with glibc's allocator:
//!
//! | Row | Estimate | From | Measured |
//! |---|---|---|---|
//! | `member of 1 M` | 40-48 B | see the test beside `crates/members/src/members.rs`: 64-bit id, set, times, nick of 12 bytes, presence | 39 B |
//! | `guild, state alone` | 2.5-3.0 KB | the page of 20 members 0.9 KB, its directory 0.3 KB, three roles and three channels 0.8 KB with the leaves of their maps 0.6 KB, the struct 0.7 KB | 3.6 KB |
//! | `guild awake, created` | 9-11 KB | the woken one, and in the ring what created it, its 20 members among that: 4 KB | 13.6 KB |
//! | `guild asleep` | 2.5-3.0 KB | what the store in memory has of it, base and structure; nothing of it is the node's | 3.2 KB |
//! | `guild awake, woken` | 6-7 KB | the state 3 KB, of which the store shares the base; the store's structure 1.5 KB; owner, task, mailbox, view and ring 1.8 KB | 7.7 KB |
//! | `guild asleep, on disk` | 60-150 B | a row of the store: epoch, and where its checkpoint lies, in a map; DESIGN asks for 400 B |
//! | `guild awake, on disk` | 4-5 KB | as woken, without what the store in memory has; DESIGN asks for 4 KB |
//! | `session, stream` | 0.9-1.2 KB | a task 0.4 KB with the stream in it, a seat 0.2 KB, a session at the relay 0.3 KB and at the owner 0.1 KB | 2.1 KB |
//! | `session, batch` | 0.5-0.7 KB | the same without task and stream | 1.8 KB |
//!
//! What is measured beyond the estimates are holes in the heap, rounded sizes, and the half-full nodes of ordered maps.

use std::env;
use std::fs;
use std::process::{self, Command as Process};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guildhall_benches::worlds::{NOW, Operations, channel, guild_id, members, nick, role, user};
use guildhall_guild::{Effect, Guild, GuildConfig};
use guildhall_node::{Attach, Call, Clock, DurableStore, Node, NodeConfig};
use guildhall_proto::limits::OUTCOME_KEPT;
use guildhall_proto::{
    Actor, Channel, ChannelKind, ClientId, Command, Epoch, GuildEdit, GuildId, Level, MemberFlags, Millis, Name,
    NewMember, NodeId, OpId, Permissions, Role, SessionId, Status,
};
use guildhall_store::{Directory, EmbeddedConfig, MemoryStore, Store};
use tokio::task::JoinSet;

/// Guilds of one row.
const GUILDS: u64 = 20_000;
/// Guilds of a row on a disk, and how many of them are made side by side.
const GUILDS_ON_DISK: u64 = 100_000;
const AT_A_TIME: u64 = 100;
/// Members of each.
const GUILD_MEMBERS: u64 = 20;
/// Sessions of one row.
const SESSIONS: u64 = 100_000;
/// Members of the large guild.
const MEMBERS: u64 = 1_000_000;

/// Of the node's looks for idle guilds: longer than it takes to wake all.
const ROUND: Duration = Duration::from_secs(2);
/// To wake them all takes a minute, and none is to sleep again meanwhile.
const ROUND_ON_DISK: Duration = Duration::from_secs(20);

/// How many of what a row holds, and how many bytes the process has gained by it.
struct Held {
    count: u64,
    bytes: u64,
}

type Row = (&'static str, fn() -> Held);

const ROWS: &[Row] = &[
    ("member of 1 M", member),
    ("guild, state alone", state_alone),
    ("guild awake, created", || idle_guilds(Stage::Created)),
    ("guild asleep", || idle_guilds(Stage::Asleep)),
    ("guild awake, woken", || idle_guilds(Stage::Woken)),
    ("guild asleep, on disk", || on_disk(Stage::Asleep)),
    ("guild awake, on disk", || on_disk(Stage::Woken)),
    ("session, stream", || sessions(Way::Stream)),
    ("session, batch", || sessions(Way::Batch)),
];

fn main() {
    let row = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(row) = row else {
        for (name, _) in ROWS {
            // Its own process prints the row.
            let child = Process::new(env::current_exe().expect("this program")).arg(name).status();
            assert!(child.is_ok_and(|status| status.success()), "{name}");
        }
        return;
    };
    let (name, run) = ROWS.iter().find(|(name, _)| *name == row).expect("a row is named as in the table");
    let Held { count, bytes } = run();
    println!("{name:<24} {:>8} B each, {:>6.1} MiB for {count}", bytes / count, bytes as f64 / (1 << 20) as f64);
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells what is resident");
    let line = status.lines().find(|line| line.starts_with("Rss:")).expect("a line for it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") * 1024
}

fn member() -> Held {
    let before = resident();
    let held = members(MEMBERS);
    let bytes = held.memory().total() as u64;
    assert!(resident() > before);
    // By the store's own account: what built it has left its holes in the heap.
    Held { count: MEMBERS, bytes }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a short text is a name")
}

/// What makes a small guild: two roles, three channels, twenty members.
fn small_guild() -> Vec<Command> {
    let member = |number| NewMember { user: user(number), nick: nick(number), roles: vec![], flags: MemberFlags::NONE };
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    let mut commands = vec![Command::CreateGuild { name: name("small guild"), everyone, owner: member(0) }];
    commands.extend((1..=2).map(|number| {
        let position = u16::try_from(number).expect("1 or 2");
        let permissions = Permissions::NONE;
        Command::CreateRole(Role {
            id: role(number),
            name: name("role"),
            position,
            permissions,
            hoist: false,
            mentionable: false,
        })
    }));
    commands.extend((1..=3).map(|number| {
        let channel =
            Channel { id: channel(number), name: name("channel"), kind: ChannelKind::Text, parent: None, position: 0 };
        Command::CreateChannel { channel, overwrites: vec![] }
    }));
    commands.push(Command::ImportMembers((1..GUILD_MEMBERS).map(member).collect()));
    commands
}

fn state_alone() -> Held {
    let before = resident();
    let held: Vec<Guild> = (0..GUILDS).map(|_| woken()).collect();
    Held { count: held.len() as u64, bytes: resident() - before }
}

/// A small guild as it comes back from a store.
fn woken() -> Guild {
    let (config, id) = (GuildConfig::default(), guild_id());
    let mut state = Guild::new(config.clone(), id, Epoch(1));
    let mut operations = Operations::default();
    for command in small_guild() {
        operations.run(&mut state, command);
    }
    // The last command has brought on a checkpoint of its own.
    operations.run(&mut state, Command::UpdateGuild(GuildEdit { name: Some(name("another name")) }));
    let mut effects = Vec::new();
    state.checkpoint(&mut effects);
    let checkpoint = effects.into_iter().find_map(|effect| match effect {
        Effect::Checkpoint(checkpoint) => Some(checkpoint),
        Effect::Fold(_)
        | Effect::Scan(_)
        | Effect::Discard(_)
        | Effect::Record(_)
        | Effect::Append(_)
        | Effect::Tell(_)
        | Effect::Answer(..) => None,
    });
    let checkpoint = checkpoint.expect("something has changed, and no fold is in the way");
    let mut structure = checkpoint.structure.structure();
    structure.operations = Vec::new();
    Guild::restore(config, id, structure, checkpoint.base)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Created,
    Asleep,
    Woken,
}

/// A node whose clock is the caller's, and what it takes to ask it. A clone is another client.
struct World {
    node: Node,
    now: Arc<AtomicU64>,
    clients: Arc<AtomicU64>,
    client: u64,
    asked: u64,
    under_way: JoinSet<()>,
}

impl World {
    fn start() -> Self {
        Self::over(Arc::new(MemoryStore::default()), ROUND)
    }

    fn over(store: Arc<dyn Store>, round: Duration) -> Self {
        let now = Arc::new(AtomicU64::new(NOW.0));
        let clock = Arc::clone(&now);
        let clock = Clock::from_fn(move || Millis(clock.load(Ordering::Relaxed)));
        // Guilds are tidy after a quarter of it, and the row is over before they sleep.
        let config = NodeConfig { clock, sleep_after: 8 * round, ..NodeConfig::default() };
        let node = Node::start(config, store).expect("the workers start");
        Self { node, now, clients: Arc::new(AtomicU64::new(2)), client: 1, asked: 0, under_way: JoinSet::new() }
    }

    fn other(&self) -> Self {
        Self {
            node: self.node.clone(),
            now: Arc::clone(&self.now),
            clients: Arc::clone(&self.clients),
            client: self.clients.fetch_add(1, Ordering::Relaxed),
            asked: 0,
            under_way: JoinSet::new(),
        }
    }

    async fn ask(&mut self, guild: GuildId, command: Command) {
        self.asked += 1;
        let client = ClientId::new(self.client).expect("1 and more are ids");
        let op = OpId { client, counter: self.asked, issued_at: Millis(self.now.load(Ordering::Relaxed)) };
        self.node.call(guild, Call { op, actor: Actor::System, command }).await.expect("accepted");
    }

    /// Does this with each of the guilds, side by side.
    async fn each<F: Future<Output = ()> + Send + 'static>(&mut self, first: u64, then: impl Fn(Self, GuildId) -> F) {
        for number in first..first + AT_A_TIME {
            let guild = GuildId::new(number).expect("far from both ends");
            self.under_way.spawn(then(self.other(), guild));
        }
        while let Some(done) = self.under_way.join_next().await {
            done.expect("it ends well");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime")
}

fn idle_guilds(stage: Stage) -> Held {
    runtime().block_on(async {
        let mut world = World::start();
        let before = resident();
        let guild = |number| GuildId::new(number).expect("far from both ends");
        for number in 1..=GUILDS {
            for command in small_guild() {
                world.ask(guild(number), command).await;
            }
            if stage != Stage::Created {
                // Long enough for its outcomes to be forgotten.
                world.now.fetch_add(OUTCOME_KEPT.as_millis() as u64 + 1, Ordering::Relaxed);
                world.node.sleep(guild(number)).await.expect("nobody needs it");
            }
        }
        if stage == Stage::Woken {
            for number in 1..=GUILDS {
                world.node.view(guild(number)).await.expect("it wakes");
            }
        }
        tokio::time::sleep(4 * ROUND).await;
        let bytes = resident() - before;
        let expected = if stage == Stage::Asleep { 0 } else { GUILDS };
        assert_eq!(world.node.awake() as u64, expected);
        world.node.stop().await;
        Held { count: GUILDS, bytes }
    })
}

/// The same with the store on a disk, many at a time for the sake of its syncs.
fn on_disk(stage: Stage) -> Held {
    let mut path = env::current_exe().expect("this program");
    path.set_file_name(format!("memory-{}", process::id()));
    let held = runtime().block_on(async {
        let config = EmbeddedConfig::default();
        let directory = Directory::make(&path).expect("a directory");
        DurableStore::create(&directory, NodeId::new(1).expect("not 0"), &config).expect("nothing is there");
        let (durable, _) = DurableStore::open(directory, config, 2).expect("it was just made");
        let mut world = World::over(Arc::clone(durable.store()) as Arc<dyn Store>, ROUND_ON_DISK);
        let before = resident();
        let batches = (1..=GUILDS_ON_DISK).step_by(AT_A_TIME as usize);
        for first in batches.clone() {
            let create = |mut world: World, guild| async move {
                for command in small_guild() {
                    world.ask(guild, command).await;
                }
            };
            world.each(first, create).await;
            // Long enough for its outcomes to be forgotten.
            world.now.fetch_add(OUTCOME_KEPT.as_millis() as u64 + 1, Ordering::Relaxed);
            world
                .each(first, |world, guild| async move { world.node.sleep(guild).await.expect("nobody needs it") })
                .await;
        }
        if stage == Stage::Woken {
            for first in batches {
                world
                    .each(first, |world, guild| async move { drop(world.node.view(guild).await.expect("it wakes")) })
                    .await;
            }
        }
        tokio::time::sleep(4 * ROUND_ON_DISK).await;
        let bytes = resident() - before;
        let expected = if stage == Stage::Asleep { 0 } else { GUILDS_ON_DISK };
        assert_eq!(world.node.awake() as u64, expected);
        world.node.stop().await;
        durable.stop().await.expect("the disk works");
        Held { count: GUILDS_ON_DISK, bytes }
    });
    fs::remove_dir_all(&path).expect("it is ours");
    held
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Stream,
    Batch,
}

fn sessions(way: Way) -> Held {
    runtime().block_on(async {
        let mut world = World::start();
        let guild = guild_id();
        for command in small_guild() {
            world.ask(guild, command).await;
        }
        for first in (GUILD_MEMBERS..SESSIONS).step_by(10_000) {
            let new =
                |number| NewMember { user: user(number), nick: nick(number), roles: vec![], flags: MemberFlags::NONE };
            world.ask(guild, Command::ImportMembers((first..SESSIONS.min(first + 10_000)).map(new).collect())).await;
        }
        let backend = world.node.backend();
        let mut batches = backend.batches(guild).await.expect("a guild").expect("the only consumer");
        let mut tasks = Vec::with_capacity(SESSIONS as usize);
        let mut held = Vec::with_capacity(SESSIONS as usize);
        let before = resident();
        for number in 0..SESSIONS {
            let attach = Attach {
                session: SessionId::new(number + 1).expect("far from both ends"),
                user: user(number),
                status: Status::Online,
                members: false,
                level: Level::Passive,
            };
            match way {
                Way::Stream => {
                    let mut stream = backend.attach(guild, attach).await.expect("attached");
                    tasks.push(tokio::spawn(async move { while stream.next().await.is_some() {} }));
                }
                Way::Batch => held.push(backend.attach_batch(guild, attach, number).await.expect("attached")),
            }
        }
        if way == Way::Batch {
            world.ask(guild, Command::UpdateGuild(GuildEdit { name: Some(name("another name")) })).await;
            batches.read(usize::MAX, |_| {}).await;
        }
        let bytes = resident() - before;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        world.node.stop().await;
        Held { count: SESSIONS, bytes }
    })
}
