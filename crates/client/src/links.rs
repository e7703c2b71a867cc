//! The links to guild nodes: one to each, dialed anew whenever it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guildhall_proto::NodeId;
use guildhall_proto::call::FeedId;
use guildhall_transport::{CloseReason, Dialed, Redial};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::client::Shared;
use crate::counters::Counters;
use crate::feeds::{self, Feeds};

/// The links that stand.
#[derive(Debug, Default)]
pub(crate) struct Links {
    standing: Mutex<BTreeMap<NodeId, Arc<Linked>>>,
    /// Told when one comes to stand.
    pub(crate) news: Notify,
    /// What kept the last one from standing.
    failure: Mutex<Option<String>>,
    /// Counted up with each choice, so that nodes are chosen in turn.
    turn: AtomicU64,
}

/// One link that stands, or did.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) dialed: Dialed,
    pub(crate) feeds: Feeds,
    pub(crate) counters: Arc<Counters>,
    next_feed: AtomicU64,
}

impl Links {
    pub(crate) fn find(&self, node: NodeId) -> Option<Arc<Linked>> {
        self.standing.lock().get(&node).cloned()
    }

    /// Any of them, in turn.
    pub(crate) fn any(&self) -> Option<Arc<Linked>> {
        let standing = self.standing.lock();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        standing.values().nth(turn % standing.len().max(1)).cloned()
    }

    /// Notes why a link did not come to stand.
    fn failed(&self, why: Option<String>) {
        *self.failure.lock() = why;
    }

    /// Why the last link did not come to stand.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    fn stands(&self, linked: &Arc<Linked>) {
        self.standing.lock().insert(linked.node(), Arc::clone(linked));
        self.news.notify_waiters();
    }

    fn ended(&self, linked: &Arc<Linked>) {
        let mut standing = self.standing.lock();
        // The node may be linked anew already, by its other address.
        if standing.get(&linked.node()).is_some_and(|current| Arc::ptr_eq(current, linked)) {
            standing.remove(&linked.node());
        }
    }
}

impl Linked {
    pub(crate) fn node(&self) -> NodeId {
        self.dialed.peer().node
    }

    /// A name that no feed of this link has had.
    pub(crate) fn next_feed(&self) -> FeedId {
        FeedId(self.next_feed.fetch_add(1, Ordering::Relaxed))
    }
}

/// Asks for the keys again and again, for they change.
async fn refresh_keys(shared: &Shared, linked: &Linked) {
    loop {
        tokio::time::sleep(KEYS_EVERY).await;
        if let Err(error) = shared.fetch_keys(linked).await {
            tracing::warn!(node = %linked.node(), %error, "session keys not asked for again");
        }
    }
}

/// How old a client's keys may be: far less than a key is told of before it signs, and than the one before is taken.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// Keeps the link to one address, until it is aborted.
pub(crate) async fn keep(shared: Arc<Shared>, address: SocketAddr, seed: u64) {
    let mut redial = Redial::new(shared.endpoint.clone(), address, shared.config.redial, seed);
    loop {
        let Some(dialed) = redial.attempt().await else {
            shared.links.failed(redial.failed().map(ToString::to_string));
            continue;
        };
        let feeds = Feeds::new(shared.config.feed, shared.config.told, Arc::clone(&shared.rings));
        let counters = Arc::clone(&shared.counters);
        let linked = Arc::new(Linked { dialed, feeds, counters, next_feed: AtomicU64::new(1) });
        // A task of its own, which ends with this one: a fault in what is made of a node's bytes ends that link, and not the keeping of it.
        let mut holding = JoinSet::new();
        holding.spawn(hold(Arc::clone(&shared), Arc::clone(&linked), address));
        if let Some(Err(error)) = holding.join_next().await {
            tracing::error!(%address, node = %linked.node(), %error, "a link is given up");
            shared.links.failed(Some(error.to_string()));
            linked.dialed.close(CloseReason::Broken);
        }
        shared.links.ended(&linked);
        shared.routes.lock().doubt(linked.node());
        linked.feeds.end();
    }
}

/// Has calls made over a link, and takes what it brings, until its end.
async fn hold(shared: Arc<Shared>, linked: Arc<Linked>, address: SocketAddr) {
    tracing::info!(%address, node = %linked.node(), "linked");
    // A backend serves no session without the keys of their secrets.
    if let Err(error) = shared.fetch_keys(&linked).await {
        tracing::warn!(%address, %error, "no session keys from this node");
        shared.links.failed(Some(error.to_string()));
        return;
    }
    shared.links.stands(&linked);
    let closed = tokio::select! {
        closed = linked.dialed.closed() => closed,
        () = feeds::receive(&shared, &linked) => linked.dialed.closed().await,
        () = refresh_keys(&shared, &linked) => linked.dialed.closed().await,
    };
    tracing::info!(%address, node = %linked.node(), %closed, "link ended");
}
