//! The other processes of rows over links: a guild node, and a backend node. This program starts itself, tells the other by one line of JSON what to
//! be, and is told by one when it is ready; the other ends when its standard input does.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use guildhall_client::{Client, ClientConfig, Counter, DeliveryRef, SessionStream};
use guildhall_node::{NodeConfig, ServeConfig};
use guildhall_proto::limits::PAYLOAD_BYTES_MAX;
use guildhall_proto::{EventKind, Hello, Instance, Level, Millis, NodeId, Versions};
use guildhall_transport::pki::{Authority, Issued, Validity};
use guildhall_transport::{Credentials, Endpoint, TransportConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bare;
use crate::machine;
use crate::shell::{Disk, World, attach, guild_id, runtime, side_by_side};
use crate::worlds::{COHORT_ROLES, cohort_roles};

/// A cluster's authority, for as long as a bench.
pub struct Cluster {
    authority: Authority,
    validity: Validity,
}

/// What a process shows of itself: PEM files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Papers {
    certificate: String,
    key: String,
    authority: String,
}

/// What a guild node is to be.
#[derive(Debug, Serialize, Deserialize)]
struct GuildNodeOrder {
    papers: Papers,
    /// Of its guild, with sessions' cohorts as their roles.
    members: u64,
    /// Where its store lies; in memory, if nowhere.
    data: Option<PathBuf>,
}

/// Where a guild node is.
#[derive(Debug, Serialize, Deserialize)]
struct GuildNodeReady {
    address: SocketAddr,
    bare: SocketAddr,
}

/// What a backend node is to be.
#[derive(Debug, Serialize, Deserialize)]
struct BackendOrder {
    papers: Papers,
    node: SocketAddr,
    sessions: u64,
}

/// What a backend node says at its end.
#[derive(Debug, Serialize, Deserialize)]
pub struct CaughtUp {
    /// How many of its sessions have heard something that was said after it was told to end.
    pub sessions: u64,
    /// How often it fell out of its feed and began again.
    pub resyncs: u64,
}

/// What sessions of a backend node that is told to end have still to hear.
struct CatchingUp {
    /// A permit for each that has.
    by: Semaphore,
    /// Something that was said after this, in nanoseconds since 1970.
    since: AtomicU64,
}

/// A process that was started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// A guild node in a process of its own, over a guild of members in 1,000 cohorts, with one channel that everybody sees.
#[derive(Debug)]
pub struct GuildNode {
    /// It.
    pub process: Process,
    /// Where it serves links.
    pub address: SocketAddr,
    /// Where it answers calls over bare QUIC.
    pub bare: SocketAddr,
}

impl Cluster {
    /// A new one.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_secs() * 1_000;
        let validity = Validity { from: Millis(now - 60_000), lifetime: Duration::from_secs(86_400) };
        let (authority, _) = Authority::create("bench".parse().expect("a label"), validity).expect("it can be made");
        Self { authority, validity }
    }

    /// Papers for somebody, as `backend/b`.
    pub fn papers(&self, who: &str) -> Papers {
        let identity = format!("spiffe://bench/{who}").parse().expect("an identity");
        let Issued { certificate, key } = self.authority.issue(identity, self.validity).expect("it can be issued");
        Papers { certificate, key, authority: self.authority.certificate().to_owned() }
    }

    /// Starts a guild node.
    pub fn guild_node(&self, members: u64, data: Option<PathBuf>) -> GuildNode {
        let order = GuildNodeOrder { papers: self.papers("guild-node/a"), members, data };
        let (process, ready) = Process::start("guild-node", &order);
        let GuildNodeReady { address, bare } = ready;
        GuildNode { process, address, bare }
    }

    /// Starts a backend node with so many sessions that read for themselves.
    pub fn backend(&self, node: SocketAddr, sessions: u64) -> Process {
        let order = BackendOrder { papers: self.papers("backend/other"), node, sessions };
        Process::start::<()>("backend", &order).0
    }

    /// A client in this process, who may look at the node's counters.
    pub fn observer(&self, runtime: &Runtime, node: SocketAddr) -> Client {
        connect(runtime, node, &self.papers("observer/this"))
    }

    /// A client in this process, as a backend node.
    pub fn client(&self, runtime: &Runtime, node: SocketAddr) -> Client {
        connect(runtime, node, &self.papers("backend/this"))
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Papers {
    fn credentials(&self) -> Credentials {
        let Self { certificate, key, authority } = self;
        let credentials = Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.as_bytes());
        credentials.expect("the papers are in order")
    }
}

impl Process {
    fn start<R: DeserializeOwned>(what: &str, order: &impl Serialize) -> (Self, R) {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["process", what]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut order = serde_json::to_string(order).expect("an order is JSON");
        order.push('\n');
        let mut stdin = stdin.take().expect("it is piped");
        stdin.write_all(order.as_bytes()).expect("it reads its order");
        let stdout = BufReader::new(stdout.expect("it is piped"));
        let mut process = Self { child, stdin: Some(stdin), stdout };
        let ready = process.hear();
        (process, ready)
    }

    /// Tells it to end, and waits until it has: what it says then.
    pub fn end<R: DeserializeOwned>(mut self) -> R {
        drop(self.stdin.take());
        let said = self.hear();
        self.child.wait().expect("it ends");
        said
    }

    fn hear<R: DeserializeOwned>(&mut self) -> R {
        let mut said = String::new();
        self.stdout.read_line(&mut said).expect("it speaks");
        serde_json::from_str(&said).expect("it says what was asked")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it holds resident, in bytes.
    pub fn resident(&self) -> u64 {
        machine::resident_of(self.id())
    }

    /// Stops it where it stands, or has it go on.
    pub fn hold(&self, is_held: bool) {
        machine::hold(self.id(), is_held);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also one that stands still. What it had is of no more use.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Is such a process, as standard input says, until that ends.
///
/// # Errors
/// An order that cannot be read.
pub fn be(what: &str) -> anyhow::Result<()> {
    let mut order = String::new();
    io::stdin().lock().read_line(&mut order).context("no order")?;
    match what {
        "guild-node" => be_guild_node(serde_json::from_str(&order)?),
        "backend" => be_backend(serde_json::from_str(&order)?),
        other => anyhow::bail!("there is no process {other:?}"),
    }
}

fn be_guild_node(order: GuildNodeOrder) -> anyhow::Result<()> {
    let GuildNodeOrder { papers, members, data } = order;
    match data {
        Some(path) => {
            let disk = Disk::open(&path, NodeConfig::default());
            serve(&disk.world, &papers, members)?;
            disk.stop();
        }
        None => {
            let runtime = runtime(2);
            let world = World::in_memory(runtime.handle());
            serve(&world, &papers, members)?;
            world.stop();
        }
    }
    Ok(())
}

fn serve(world: &World, papers: &Papers, members: u64) -> anyhow::Result<()> {
    world.fill(guild_id(1), COHORT_ROLES, members, cohort_roles);
    let _inside = world.handle.enter();
    let hello = Hello { versions: Versions::SUPPORTED, node: NodeId::new(1)?, instance: Instance(1) };
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let (endpoint, acceptor) = Endpoint::listening(local, &papers.credentials(), hello, TransportConfig::default())?;
    let serving = world.node.serve(acceptor, ServeConfig::new(hello.node, hello.instance));
    let bare = bare::answer(&world.handle, &papers.certificate, &papers.key);
    tell(&GuildNodeReady { address: endpoint.address()?, bare })?;
    wait_for_the_end()?;
    world.handle.block_on(serving.stop());
    Ok(())
}

fn be_backend(order: BackendOrder) -> anyhow::Result<()> {
    let BackendOrder { papers, node, sessions } = order;
    let runtime = runtime(2);
    let client = connect(&runtime, node, &papers);
    let backend = client.backend().context("it is a backend")?;
    let attached = side_by_side(&runtime, 64, 1..=sessions, |number| {
        let (backend, attach) = (backend.clone(), attach(number, Level::Active));
        async move { backend.attach(guild_id(1), attach).await }
    });
    // A permit for each session that has caught up.
    let caught_up = Arc::new(CatchingUp { by: Semaphore::new(0), since: AtomicU64::new(u64::MAX) });
    let (stop, stopping) = watch::channel(false);
    let mut hearing = JoinSet::new();
    for session in attached {
        let session = session.context("a session is not attached")?;
        hearing.spawn_on(hear(session, Arc::clone(&caught_up), stopping.clone()), runtime.handle());
    }
    tell(&())?;
    wait_for_the_end()?;
    caught_up.since.store(unix_nanos(), Ordering::Relaxed);
    let all = caught_up.by.acquire_many(u32::try_from(sessions).context("too many sessions")?);
    let all = runtime.block_on(async { timeout(CAUGHT_UP_WITHIN, all).await });
    let sessions = all.map_or(caught_up.by.available_permits() as u64, |_| sessions);
    stop.send_replace(true);
    runtime.block_on(hearing.join_all());
    let resyncs = client.counters().of(Counter::RelayResyncs);
    runtime.block_on(client.close());
    tell(&CaughtUp { sessions, resyncs })
}

/// Whatever it hears, until it is to stop: where others are slow it may be a gap.
async fn hear(mut session: SessionStream, caught_up: Arc<CatchingUp>, mut stopping: watch::Receiver<bool>) {
    let mut has_caught_up = false;
    loop {
        let read = session.read(READ_AT_ONCE, |delivery| {
            if let DeliveryRef::Event(event) = delivery
                && let EventKind::MessagePublished(message) = &event.kind
                && let Some(said) = said_at(message.payload.bytes())
                && said > caught_up.since.load(Ordering::Relaxed)
                && !std::mem::replace(&mut has_caught_up, true)
            {
                caught_up.by.add_permits(1);
            }
        });
        tokio::select! {
            goes_on = read => if !goes_on {
                return;
            },
            _ = stopping.changed() => break,
        }
    }
    session.detach().await.expect("it is attached");
}

fn connect(runtime: &Runtime, node: SocketAddr, papers: &Papers) -> Client {
    let mut config = ClientConfig::new(vec![node], papers.credentials());
    config.deadline = Duration::from_secs(60);
    runtime.block_on(Client::connect(config)).expect("the node is there")
}

fn tell(ready: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, ready)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn wait_for_the_end() -> anyhow::Result<()> {
    let mut rest = Vec::new();
    io::stdin().lock().read_to_end(&mut rest).context("standard input cannot be read")?;
    Ok(())
}

/// Deliveries that a session of a backend node reads at once.
const READ_AT_ONCE: usize = 64;

/// A message as long as may be, which tells when it is said.
pub fn saying_now() -> Vec<u8> {
    let mut bytes = vec![7; PAYLOAD_BYTES_MAX];
    bytes[..8].copy_from_slice(&unix_nanos().to_le_bytes());
    bytes
}

/// When such a message was said, in nanoseconds since 1970; `None` of another.
fn said_at(bytes: &[u8]) -> Option<u64> {
    let (nanos, _) = bytes.split_first_chunk()?;
    (bytes.len() == PAYLOAD_BYTES_MAX).then(|| u64::from_le_bytes(*nanos))
}

fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(now.as_nanos()).expect("until the year 2554")
}

/// How long that may take.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);
