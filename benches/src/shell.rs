//! Nodes to measure on: guilds filled through commands, and callers.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use guildhall_node::{Attach, Call, Clock, DurableError, DurableStore, Node, NodeConfig};
use guildhall_proto::{
    Actor, Channel, ChannelKind, ClientId, Command, GuildId, Level, MemberEdit, MemberFlags, Mentions, Name, NewMember,
    NodeId, OpId, Payload, Permissions, Publish, Role, RoleId, SessionId, Status,
};
use guildhall_store::{Directory, EmbeddedConfig, MemoryStore, OpenError, Store};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::worlds::{channel, nick, role, user};

/// A node, and what it takes to ask it from threads outside its runtime.
pub struct World {
    /// The node.
    pub node: Node,
    /// Of the runtime that its owners run on.
    pub handle: Handle,
    clock: Clock,
    clients: AtomicU64,
}

/// Names operations, as one client: one for each thread or task of calls.
#[derive(Debug, Clone)]
pub struct Caller {
    client: ClientId,
    counter: u64,
    clock: Clock,
}

impl World {
    /// A node over a store in memory.
    pub fn in_memory(handle: &Handle) -> Self {
        Self::over(handle, NodeConfig::default(), Arc::new(MemoryStore::default()))
    }

    /// A node over any store.
    pub fn over(handle: &Handle, config: NodeConfig, store: Arc<dyn Store>) -> Self {
        let clock = config.clock.clone();
        let _inside = handle.enter();
        let node = Node::start(config, store).expect("the workers start");
        // What earlier clients of a store asked is remembered: these are others.
        let clients = AtomicU64::new(Clock::system().now().0);
        Self { node, handle: handle.clone(), clock, clients }
    }

    /// Another client.
    pub fn caller(&self) -> Caller {
        let client = self.clients.fetch_add(1, Ordering::Relaxed);
        Caller { client: ClientId::new(client).expect("not 0"), counter: 0, clock: self.clock.clone() }
    }

    /// Carries out what must be accepted.
    pub fn must(&self, guild: GuildId, call: Call) {
        self.handle.block_on(self.node.call(guild, call)).expect("the world's commands are accepted");
    }

    /// Makes a guild with one channel that everybody sees, so many roles and members, of whom the first owns it and has none.
    pub fn fill(&self, guild: GuildId, roles: u64, members: u64, roles_of: impl Fn(u64) -> Vec<RoleId>) {
        let mut caller = self.caller();
        for command in foundation(roles, 1) {
            self.must(guild, caller.call(command));
        }
        self.import(guild, 1..members, roles_of, &mut caller);
    }

    /// Adds members.
    pub fn import(
        &self,
        guild: GuildId,
        numbers: impl IntoIterator<Item = u64>,
        roles_of: impl Fn(u64) -> Vec<RoleId>,
        caller: &mut Caller,
    ) {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        for numbers in numbers.chunks(IMPORTED_AT_ONCE) {
            let lines = numbers.iter().map(|number| new_member(*number, roles_of(*number))).collect();
            self.must(guild, caller.call(Command::ImportMembers(lines)));
        }
    }

    /// Stops the node.
    pub fn stop(&self) {
        self.handle.block_on(self.node.stop());
    }
}

impl Caller {
    /// The next call.
    pub fn call(&mut self, command: Command) -> Call {
        self.counter += 1;
        let op = OpId { client: self.client, counter: self.counter, issued_at: self.clock.now() };
        Call { op, actor: Actor::System, command }
    }

    /// A message of 300 bytes to the channel of [`World::fill`].
    pub fn message(&mut self) -> Call {
        self.message_to(0)
    }

    /// A message of 300 bytes.
    pub fn message_to(&mut self, number: u64) -> Call {
        let payload = Payload::new(vec![7; 300]).expect("300 bytes are a payload");
        let (channel, mentions) = (channel(number), Mentions::default());
        self.call(Command::Publish(Publish { channel, payload, mentions, session: None, echo: false }))
    }

    /// Another nick for one of so many members, ever another one of them.
    pub fn rename(&mut self, members: u64) -> Call {
        let edit = MemberEdit { nick: Some(nick(self.counter)), ..MemberEdit::default() };
        // Far apart, so that neighbours in time are not neighbours in a page.
        self.call(Command::UpdateMember { user: user(self.counter.wrapping_mul(PRIME) % members), edit })
    }

    /// How many calls it has made.
    pub fn calls(&self) -> u64 {
        self.counter
    }
}

/// A node over a store in a directory.
pub struct Disk {
    /// The node.
    pub world: World,
    /// Its store.
    pub store: DurableStore,
    runtime: Runtime,
}

impl Disk {
    /// Opens the directory's store, or makes one.
    pub fn open(path: &Path, config: NodeConfig) -> Self {
        let runtime = runtime(2);
        let (directory, stored) = (Directory::make(path).expect("a directory"), EmbeddedConfig::default());
        match DurableStore::create(&directory, NodeId::new(1).expect("not 0"), &stored) {
            Ok(()) | Err(DurableError::Open(OpenError::Exists)) => {}
            Err(error) => panic!("{error}"),
        }
        let (store, _) = DurableStore::open(directory, stored, 2).expect("it is whole");
        let world = World::over(runtime.handle(), config, Arc::clone(store.store()) as Arc<dyn Store>);
        Self { world, store, runtime }
    }

    /// What it runs on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// As after a crash, but for the writers, which write what waits: nothing is checkpointed.
    pub fn crash(self) {
        self.runtime.block_on(self.store.stop()).expect("the disk works");
        self.runtime.shutdown_timeout(std::time::Duration::from_secs(10));
    }

    /// In good order.
    pub fn stop(self) {
        self.world.stop();
        self.crash();
    }
}

/// A directory beside this program, removed in the end: a temporary folder in memory has no disk to wait for.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let mut path = std::env::current_exe().expect("this program");
        path.set_file_name(format!("{name}-{}", std::process::id()));
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

/// Does this with each, so many at a time, in tasks of their own; what came of it, in order.
pub fn side_by_side<I, T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    runtime: &Runtime,
    at_once: usize,
    items: impl IntoIterator<Item = I>,
    then: impl Fn(I) -> F,
) -> Vec<T> {
    let (mut under_way, mut done) = (VecDeque::new(), Vec::new());
    runtime.block_on(async {
        for item in items {
            if under_way.len() == at_once
                && let Some(first) = under_way.pop_front()
            {
                done.push(ended(first).await);
            }
            under_way.push_back(tokio::spawn(then(item)));
        }
        for last in under_way {
            done.push(ended(last).await);
        }
        done
    })
}

async fn ended<T>(task: JoinHandle<T>) -> T {
    task.await.expect("a task of the world does not panic")
}

/// A runtime of so many threads, prompt ones as those of `guildhall serve`.
pub fn runtime(threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().on_thread_start(prompt);
    builder.build().expect("threads can be started")
}

/// Has the calling thread be one that answers, or calls.
pub fn prompt() {
    if let Err(error) = guildhall_threads::prompt() {
        eprintln!("a thread waits for workers' slices: {error}");
    }
}

/// Does this on a thread as prompt as those of the runtime: who calls within `guildhall serve` is.
pub fn promptly<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let acting = scope.spawn(|| {
            prompt();
            act()
        });
        acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What makes a guild: itself with its owner, roles that give nothing, and channels that everybody sees.
pub fn foundation(roles: u64, channels: u64) -> Vec<Command> {
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    let create = Command::CreateGuild { name: name(), everyone, owner: new_member(0, Vec::new()) };
    let text = |number| {
        let channel = Channel { id: channel(number), name: name(), kind: ChannelKind::Text, parent: None, position: 0 };
        Command::CreateChannel { channel, overwrites: Vec::new() }
    };
    let roles = (0..roles).map(|number| Command::CreateRole(new_role(number)));
    std::iter::once(create).chain((0..channels).map(text)).chain(roles).collect()
}

/// A guild.
pub fn guild_id(number: u64) -> GuildId {
    GuildId::new(number).expect("not 0")
}

/// A session.
pub fn session(number: u64) -> SessionId {
    SessionId::new(number + 1).expect("far from both ends")
}

/// Its attach, by the user of the same number.
pub fn attach(number: u64, level: Level) -> Attach {
    Attach { session: session(number), user: user(number), status: Status::Online, members: false, level }
}

/// A line of an import.
pub fn new_member(number: u64, roles: Vec<RoleId>) -> NewMember {
    NewMember { user: user(number), nick: nick(number), roles, flags: MemberFlags::NONE }
}

fn name() -> Name {
    Name::parse("guild").expect("five letters are a name")
}

fn new_role(number: u64) -> Role {
    let position = u16::try_from(number).expect("few roles") + 1;
    let permissions = Permissions::NONE;
    Role { id: role(number), name: name(), position, permissions, hoist: false, mentionable: false }
}

/// Members of one import: as many as it may have.
const IMPORTED_AT_ONCE: usize = 10_000;
const PRIME: u64 = 7_919;
