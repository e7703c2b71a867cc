//! What durability costs: member changes acknowledged after the sync, one alone, and a large guild that starts cold.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | changes/s, bare | – | the same bytes in the same groups, appended and synced with fdatasync by a loop: 0.25-0.4 ms a group |
//! | changes/s, acknowledged | ≥ 80 % of bare, or 50,000/s | 2,000 calls under way in 8 guilds; while one group is synced, the next gathers |
//! | one call, p50 | bare + 60 µs | three wake-ups of 20 µs: owner, writer, owner; then the caller |
//! | cold start, 1 M members, tail of 100,000 | ≤ 0.5 s | 45 MB read and checked 20 ms, decoded and summed 120 ms on two threads, 100,000 records read 50 ms and replayed 150 ms |
//!
//! Measured twice on two shared cores. With some other work beside it: bare 409,000/s in groups of 84, acknowledged 207,000/s, 0.51 of bare; one
//! alone 202 µs beside 145 µs bare; cold start 276 ms. Alone, while the host took up to a quarter of both cores: bare 185,000/s in groups of 77,
//! acknowledged 147,000/s, 0.80 of bare; one alone 353 µs beside 197 µs bare; cold start 417 ms. Bare appends take an assumed 220 bytes a
//! record, so the ratio is a rough one.
//!
//! `cargo bench -p guildhall-benches --bench durable [-- [--quick] [ROW…]]`; its directory is made under the target folder, for a
//! temporary folder in memory has no disk to wait for.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guildhall_benches::worlds::{nick, role, user};
use guildhall_guild::{CheckpointConfig, GuildConfig};
use guildhall_node::{Call, DurableError, DurableStore, Node, NodeConfig};
use guildhall_proto::{
    Actor, ClientId, Command, GuildId, MemberEdit, MemberFlags, Millis, Name, NewMember, NodeId, OpId, Permissions,
    Role, RoleId,
};
use guildhall_store::{Directory, EmbeddedConfig, OpenError, Store};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

/// Guilds that are changed side by side.
const GUILDS: u64 = 8;
/// Members of each.
const GUILD_MEMBERS: u64 = 1_000;
/// Calls under way at any time.
const UNDER_WAY: u64 = 2_000;
/// Of the large guild.
const MEMBERS: u64 = 1_000_000;
const TAIL: u64 = 100_000;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let rows: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| rows.is_empty() || rows.iter().any(|row| name.contains(row.as_str()));
    let time = if quick { Duration::from_secs(2) } else { Duration::from_secs(10) };
    if is_wanted("changes") {
        changes(time);
    }
    if is_wanted("alone") {
        alone(if quick { 500 } else { 5_000 });
    }
    if is_wanted("cold start") {
        cold_start(if quick { MEMBERS / 10 } else { MEMBERS }, if quick { TAIL / 10 } else { TAIL });
    }
}

/// A node over a store in a directory of its own.
struct World {
    runtime: Runtime,
    node: Node,
    store: DurableStore,
    clients: AtomicU64,
}

impl World {
    fn open(path: &Path, guild: GuildConfig) -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let (directory, config) = (Directory::make(path).expect("a directory"), EmbeddedConfig::default());
        match DurableStore::create(&directory, NodeId::new(1).expect("not 0"), &config) {
            Ok(()) | Err(DurableError::Open(OpenError::Exists)) => {}
            Err(error) => panic!("{error}"),
        }
        let (store, _) = DurableStore::open(directory, config, 2).expect("it is whole");
        let inside = runtime.enter();
        let config = NodeConfig { guild, ..NodeConfig::default() };
        let node = Node::start(config, Arc::clone(store.store()) as Arc<dyn Store>).expect("the workers start");
        drop(inside);
        // What earlier clients of the directory asked is remembered: these are others.
        Self { runtime, node, store, clients: AtomicU64::new(now().0) }
    }

    fn caller(&self) -> Caller {
        let client = self.clients.fetch_add(1, Ordering::Relaxed);
        Caller { client: ClientId::new(client).expect("not 0"), counter: 0 }
    }

    fn must(&self, guild: u64, call: Call) {
        self.runtime.block_on(self.node.call(guild_id(guild), call)).expect("the world's commands are accepted");
    }

    /// Makes a guild of so many members with five roles each.
    fn fill(&self, guild: u64, members: u64) {
        let mut caller = self.caller();
        let create =
            Command::CreateGuild { name: name(), everyone: Permissions::VIEW_CHANNEL, owner: new_member(0, &[]) };
        self.must(guild, caller.call(create));
        let roles: Vec<RoleId> = (0..5).map(role).collect();
        for number in 0..5 {
            self.must(guild, caller.call(Command::CreateRole(new_role(number))));
        }
        let numbers: Vec<u64> = (1..members).collect();
        for numbers in numbers.chunks(10_000) {
            let lines = numbers.iter().map(|number| new_member(*number, &roles)).collect();
            self.must(guild, caller.call(Command::ImportMembers(lines)));
        }
    }

    /// As after a crash, but for the writers, which write what waits: nothing is checkpointed.
    fn crash(self) {
        self.runtime.block_on(self.store.stop()).expect("the disk works");
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }

    fn stop(self) {
        self.runtime.block_on(self.node.stop());
        self.crash();
    }
}

/// Names operations; one for each thread of calls.
#[derive(Debug)]
struct Caller {
    client: ClientId,
    counter: u64,
}

impl Caller {
    fn call(&mut self, command: Command) -> Call {
        self.counter += 1;
        let op = OpId { client: self.client, counter: self.counter, issued_at: now() };
        Call { op, actor: Actor::System, command }
    }

    fn rename(&mut self, members: u64) -> Call {
        let edit = MemberEdit { nick: Some(nick(self.counter)), ..MemberEdit::default() };
        self.call(Command::UpdateMember { user: user(self.counter * 7_919 % members), edit })
    }
}

/// Member changes acknowledged a second, and what the same bytes cost without Guildhall.
fn changes(time: Duration) {
    let directory = Scratch::new("changes");
    let world = World::open(&directory.0, GuildConfig::default());
    (1..=GUILDS).for_each(|guild| world.fill(guild, GUILD_MEMBERS));
    let before = world.store.store().counts();
    let is_over = Arc::new(AtomicBool::new(false));
    let callers = (0..UNDER_WAY).map(|number| {
        let (node, is_over, mut caller) = (world.node.clone(), Arc::clone(&is_over), world.caller());
        world.runtime.spawn(async move {
            let mut took = Histogram::<u64>::new(3).expect("3 digits");
            while !is_over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let call = caller.rename(GUILD_MEMBERS);
                node.call(guild_id(1 + number % GUILDS), call).await.expect("within every bound");
                took.record(micros(begin)).expect("it resizes");
            }
            took
        })
    });
    let begin = Instant::now();
    let callers: Vec<_> = callers.collect();
    thread::sleep(time);
    is_over.store(true, Ordering::Relaxed);
    let mut all = Histogram::new(3).expect("3 digits");
    for caller in callers {
        all += world.runtime.block_on(caller).expect("a caller ends well");
    }
    let took = begin.elapsed().as_secs_f64();
    let after = world.store.store().counts();
    let (groups, records) = (after.groups - before.groups, all.len());
    world.stop();

    let group_bytes = usize::try_from(records * RECORD_BYTES / groups).expect("a group fits into memory");
    let bare = bare(&directory.0, group_bytes, groups.min(2_000));
    let bare_rate = 1e6 / mean(&bare) * (records as f64 / groups as f64);
    let rate = records as f64 / took;
    println!(
        "changes/s, bare               {bare_rate:>10.0}   groups of {:.1}, {}",
        records as f64 / groups as f64,
        text(&bare)
    );
    println!("changes/s, acknowledged       {rate:>10.0}   {:.2} of bare; {}", rate / bare_rate, text(&all));
}

/// One call after the other, and one append after the other.
fn alone(calls: u64) {
    let directory = Scratch::new("alone");
    let world = World::open(&directory.0, GuildConfig::default());
    world.fill(1, GUILD_MEMBERS);
    let mut caller = world.caller();
    let mut took = Histogram::<u64>::new(3).expect("3 digits");
    let mut bare_took = Histogram::<u64>::new(3).expect("3 digits");
    // In turns, so that both meet the same disk.
    for _ in 0..calls.div_ceil(ALONE_IN_TURN) {
        for _ in 0..ALONE_IN_TURN {
            let begin = Instant::now();
            world.must(1, caller.rename(GUILD_MEMBERS));
            took.record(micros(begin)).expect("it resizes");
        }
        bare_took += bare(&directory.0, usize::try_from(RECORD_BYTES).expect("small"), ALONE_IN_TURN);
    }
    world.stop();
    println!("one alone, bare               {}", text(&bare_took));
    println!("one alone, call               {}", text(&took));
}

/// From nothing to the first read: the store opened, the guild claimed, its pages read and its tail replayed.
fn cold_start(members: u64, tail: u64) {
    let directory = Scratch::new("cold");
    // Checkpoints only where this row wants one.
    let checkpoints = CheckpointConfig { changes_min: u64::MAX, changes_max: u64::MAX, ..CheckpointConfig::default() };
    let guild = GuildConfig { checkpoints, ..GuildConfig::default() };
    let world = World::open(&directory.0, GuildConfig::default());
    world.fill(1, members);
    world.stop();
    let world = World::open(&directory.0, guild.clone());
    let mut caller = world.caller();
    world.must(1, caller.rename(members));
    for _ in 0..tail.div_ceil(AT_ONCE) {
        let pending: Vec<_> = (0..AT_ONCE)
            .map(|_| world.node.begin(guild_id(1), caller.rename(members)).expect("within every bound"))
            .collect();
        for pending in pending {
            world.runtime.block_on(pending.answer()).expect("accepted");
        }
    }
    world.crash();

    let begin = Instant::now();
    let world = World::open(&directory.0, guild);
    let opened = begin.elapsed();
    let view = world.runtime.block_on(world.node.view(guild_id(1))).expect("it is there");
    let took = begin.elapsed();
    assert_eq!(view.len() as u64, members);
    println!(
        "cold start, {members} members, tail of {tail}: {} ms, of which {} to open",
        took.as_millis(),
        opened.as_millis()
    );
    drop(view);
    world.crash();
}

/// So many appends of so many bytes, each synced.
fn bare(directory: &Path, bytes: usize, times: u64) -> Histogram<u64> {
    let path = directory.join("bare");
    let mut file = File::create(&path).expect("a file");
    let bytes = vec![7; bytes];
    let mut took = Histogram::new(3).expect("3 digits");
    for _ in 0..times {
        let begin = Instant::now();
        file.write_all(&bytes).expect("written");
        file.sync_data().expect("synced");
        took.record(micros(begin)).expect("it resizes");
    }
    fs::remove_file(path).expect("removed");
    took
}

/// A directory beside the build's, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let mut path = std::env::current_exe().expect("this program");
        path.pop();
        path.push(format!("durable-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

fn text(all: &Histogram<u64>) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| all.value_at_quantile(quantile));
    format!("p50 {p50} µs, p99 {p99} µs, max {} µs", all.max())
}

fn mean(all: &Histogram<u64>) -> f64 {
    all.mean()
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Millis(u64::try_from(since.as_millis()).expect("before the year 500 million"))
}

fn guild_id(number: u64) -> GuildId {
    GuildId::new(number).expect("not 0")
}

fn name() -> Name {
    Name::parse("guild").expect("five letters are a name")
}

fn new_member(number: u64, roles: &[RoleId]) -> NewMember {
    NewMember { user: user(number), nick: nick(number), roles: roles.to_vec(), flags: MemberFlags::NONE }
}

fn new_role(number: u64) -> Role {
    let position = u16::try_from(number).expect("few roles") + 1;
    Role { id: role(number), name: name(), position, permissions: Permissions::NONE, hoist: false, mentionable: false }
}

/// Calls to one guild at once: within its mailbox's quota.
const AT_ONCE: u64 = 500;
/// About what the record of a member change with five roles takes in the log: before and after, and the head.
const RECORD_BYTES: u64 = 220;
/// Calls, and appends, one after the other before it is the other's turn.
const ALONE_IN_TURN: u64 = 100;
