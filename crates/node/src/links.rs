//! The node's side of links: it takes calls on them, and sends feeds.
//!
//! A link has a task that takes its calls, one task for each of these that is long or has to wait, and two that send: events, and what is told of now. Who asks for what its
//! role does not allow is refused before anything else ([`Role::may_ask`]); then a call has as long as its caller waits.
//!
//! Bounds: of links and of the calls of each, transport's; of feeds [`ServeConfig::feeds_max`] a link; of long requests
//! [`ServeConfig::long_requests_max`] a node and [`ServeConfig::peer_long_requests_max`] an identity, whatever its links; of answers that workers look for
//! [`ServeConfig::peer_answers_max`] an identity; of backups one a node. What nobody reads stays with whoever would send it, until the caller's time is over, or
//! nothing has been read for too long.

mod answers;
mod archive;
mod audit;
mod calls;
mod feeds;
mod freshness;
mod pieces;
mod requests;
mod shares;
mod unanswered;

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::Duration;

use guildhall_proto::{Instance, Millis, NodeId};
use guildhall_transport::{Accepted, Acceptor, CloseReason, Counters as LinkCounters, Identity, Role, Standing};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet, yield_now};

use crate::node::Node;
use crate::sponsors::Sponsoring;
use feeds::Feeds;
use shares::{Share, Shares};

pub use audit::AUDIT;

/// How a node serves links.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Which node this is, as its hello says.
    pub node: NodeId,
    /// Which run of it, likewise.
    pub instance: Instance,
    /// Feeds that one link may have (default 65,536, some 400 bytes each beside the guild that is kept awake). Past it a feed is refused. Fewer:
    /// a backend node cannot hear all guilds of its users. More: memory.
    pub feeds_max: u32,
    /// Requests of more than one chunk that are taken in at a time, of all links: imports, and feeds for many users (default 16, each at most some
    /// 64 MiB). One more waits, and its sender with it. Fewer: who sends slowly holds up the others. More: memory.
    pub long_requests_max: usize,
    /// The same of one identity, of all its links together (default 4). One more waits. Fewer: a backend node that begins again in many guilds takes longer. More: one
    /// can keep all others waiting. Backend nodes that share a certificate share these too.
    pub peer_long_requests_max: usize,
    /// Answers of one identity that workers look for while they are read, recipients, many members, exports, and its searches by prefix, of all its links
    /// together (default 32). One more is refused as overloaded; a feed for many users waits. Fewer: a backend node with many pings waits for its own. More: one can
    /// take all places of a guild, or of the node. Backend nodes that share a certificate share these too.
    pub peer_answers_max: usize,
    /// How long the sessions that a backend has told of stay attached when its last link has ended (default 30 s), counted from when that is
    /// noticed here. Shorter: who is connected to it is shown as gone for what was a short failure of the network, and cannot resume. Longer: who was
    /// connected to one that has died seems to be there for as long.
    pub sessions_kept: Duration,
    /// What the process counts beside the node, by name: told with the node's own counters (default none).
    pub also_counted: Vec<(&'static str, Arc<AtomicU64>)>,
}

impl ServeConfig {
    /// The defaults, for this node.
    pub fn new(node: NodeId, instance: Instance) -> Self {
        Self {
            node,
            instance,
            feeds_max: 65_536,
            long_requests_max: 16,
            peer_long_requests_max: 4,
            peer_answers_max: 32,
            sessions_kept: Duration::from_secs(30),
            also_counted: Vec::new(),
        }
    }
}

/// A node that serves links, until it is stopped. Dropped, it stops likewise, and nobody waits for that.
#[derive(Debug)]
pub struct Serving {
    /// Its drop tells all tasks to end.
    stop: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

/// What all links have in common.
struct Served {
    node: Node,
    config: ServeConfig,
    since: Millis,
    links: Arc<LinkCounters>,
    /// Leave to take in a request of more than one chunk.
    long_requests: Arc<Semaphore>,
    /// Leave to write a backup.
    backups: Arc<Semaphore>,
    shares: Shares,
}

/// Whoever dialed one link.
struct Dialer {
    served: Arc<Served>,
    role: Role,
    /// Who is on record with each call: an operator.
    operator: Option<Arc<Identity>>,
    feeds: Arc<Feeds>,
    /// On whose word it asks about sessions.
    sponsoring: Arc<Sponsoring>,
    /// Whether it may still: a newer link of its node has taken the place of one that has ended.
    standing: Standing,
    /// What it may have at a time with all its links.
    share: Arc<Share>,
}

impl Node {
    /// Takes links on, and serves each, until that is stopped. Must be called within a tokio runtime. The node goes on when it is stopped; a node that
    /// stops is no reason to stop this: who calls is told so.
    pub fn serve(&self, acceptor: Acceptor, config: ServeConfig) -> Serving {
        let (stop, stopped) = watch::channel(());
        let served = Arc::new(Served {
            node: self.clone(),
            since: self.time(),
            links: Arc::clone(acceptor.counters()),
            long_requests: places(config.long_requests_max),
            backups: places(archive::BACKUPS_MAX),
            shares: Shares::default(),
            config,
        });
        Serving { stop, accepting: tokio::spawn(accept(served, acceptor, stopped)) }
    }
}

impl Serving {
    /// Takes on no link any more, closes all, and waits until they are. What was asked for and is under way goes on; nobody hears what it comes to.
    pub async fn stop(self) {
        drop(self.stop);
        // It fails only with its runtime, and then there is nothing left to wait for.
        drop(self.accepting.await);
    }
}

async fn accept(served: Arc<Served>, mut acceptor: Acceptor, stopped: watch::Receiver<()>) {
    let mut links = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            biased;
            // Nothing is ever sent: it is the sender's drop.
            _ = stop.changed() => break,
            Some(ended) = links.join_next() => note(ended),
            accepted = acceptor.accept() => match accepted {
                Some(link) => drop(links.spawn(serve(Arc::clone(&served), link, stopped.clone()))),
                None => break,
            }
        }
    }
    drop(acceptor);
    // One by one: what has become of one keeps nobody from waiting for the others.
    while let Some(ended) = links.join_next().await {
        note(ended);
    }
}

/// Tells of a link's task that has panicked; nobody else would.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a link has ended before its time");
    }
}

/// Serves one link until its end.
async fn serve(served: Arc<Served>, link: Accepted, mut stop: watch::Receiver<()>) {
    let peer = link.peer().clone();
    tracing::info!(peer = %peer.identity, node = %peer.node, "link taken on");
    let feeds = Feeds::new(served.config.feeds_max);
    let mut senders = JoinSet::new();
    senders.spawn(feeds::send_events(Arc::clone(&feeds), served.node.clone(), link.push()));
    senders.spawn(feeds::send_told(Arc::clone(&feeds), served.node.clone(), link.push()));
    let (node, sessions_kept) = (served.node.clone(), served.config.sessions_kept);
    let sponsoring = node.sponsors().linked(&peer);
    let dialer = Arc::new(Dialer {
        role: peer.identity.role,
        operator: (peer.identity.role == Role::Operator).then(|| Arc::new(peer.identity.clone())),
        feeds: Arc::clone(&feeds),
        sponsoring,
        standing: link.standing(),
        share: served.shares.of(&peer.identity, &served.config),
        served,
    });
    // Made once: to wait for these anew with each call would take the link's lock.
    let (mut stopped, mut ended) = (pin!(stop.changed()), pin!(link.closed()));
    let mut begun = 0_u32;
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => {
                link.close(CloseReason::Done);
                break;
            }
            _ = &mut ended => break,
            // Who reads no feeds any more would not be told of that.
            Some(_) = senders.join_next() => link.close(CloseReason::Broken),
            Ok((answer, request)) = link.next_call() => {
                begin(Box::pin(Arc::clone(&dialer).take(answer, request))).await;
                begun = begun.wrapping_add(1);
                if begun.is_multiple_of(BEGUN_AT_ONCE) {
                    yield_now().await;
                }
            }
        }
    }
    feeds.end();
    let closed = link.closed().await;
    tracing::info!(peer = %peer.identity, node = %peer.node, %closed, "link ended");
    node.link_ended(peer, sessions_kept);
}

/// Calls that a link begins before whatever these have woken goes on, an owner or what sends their answers: some 50 µs, and one datagram of short answers.
const BEGUN_AT_ONCE: u32 = 16;

/// Takes a call as far as it goes without waiting, which for most that is read is to its end: to wake a task of its own would take longer. What has to wait goes
/// on in one, which does not hold the link: what was begun goes on without it.
async fn begin(mut call: Pin<Box<impl Future<Output = ()> + Send + 'static>>) {
    // One that panics ends alone, as it would in its task.
    let begun = poll_fn(|context| Poll::Ready(catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))))).await;
    if let Ok(Poll::Pending) = begun {
        tokio::spawn(call);
    }
}

fn places(max: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)))
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("role", &self.role).finish_non_exhaustive()
    }
}
