//! Takes on links that others dial, also while somebody tries to keep it busy.
//!
//! Invariants:
//! - at most `handshakes_max` handshakes are under way; one more takes the place of the oldest, so that who never finishes keeps nobody out: a
//!   handshake that goes on has only to be quicker than as many others need to come;
//! - from `handshakes_trusted` on, who dials must first show that it receives at its address, which takes no memory here; so whoever only
//!   pretends to be many others gets no further places;
//! - nobody is asked anything, nor told who this node is beyond its certificate, before its identity was seen.

use std::collections::VecDeque;
use std::sync::Arc;

use guildhall_proto::frame::{Kind, Side};
use guildhall_proto::{Hello, HelloAnswer, Version, codec};
use quinn::Incoming;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use crate::counters::{Counter, Counters};
use crate::link::{Accepted, Peer};
use crate::register::Seat;
use crate::{CloseReason, LaneError, Role};

/// Where links come from. Whoever dials is taken on, and a link that has come to stand handed out, only while [`Acceptor::accept`] is polled; handshakes that have begun go on
/// meanwhile, each in a task of its own. When this is dropped they end, and nobody gets in any more; links that stand stay.
#[derive(Debug)]
pub struct Acceptor {
    shared: Arc<Shared>,
    handshakes: JoinSet<Option<Accepted>>,
    /// Those under way, and perhaps some that are over.
    oldest_first: VecDeque<AbortHandle>,
}

impl Acceptor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, handshakes: JoinSet::new(), oldest_first: VecDeque::new() }
    }

    /// Waits for the next link that stands; `None` once the endpoint is closed. May be dropped while it waits, and asked again.
    pub async fn accept(&mut self) -> Option<Accepted> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => {
                    // One that was displaced ends without a result.
                    if let Ok(Some(link)) = done {
                        self.shared.counters.bump(Counter::LinksAccepted);
                        return Some(link);
                    }
                }
                incoming = self.shared.quic.accept() => self.take_on(incoming?),
            }
        }
    }

    /// What the endpoint counts.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    fn take_on(&mut self, incoming: Incoming) {
        self.oldest_first.retain(|handshake| !handshake.is_finished());
        let (under_way, config) = (self.oldest_first.len(), &self.shared.config);
        if under_way >= config.handshakes_trusted && !incoming.remote_address_validated() {
            self.shared.counters.bump(Counter::Retries);
            // Who has not shown its address may always be told to.
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            return;
        }
        if under_way >= config.handshakes_max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.shared.counters.bump(Counter::HandshakeDisplaced);
            oldest.abort();
        }
        let handshake = Arc::clone(&self.shared).take_on(incoming);
        self.oldest_first.push_back(self.handshakes.spawn(handshake));
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Nobody takes on what comes from here on, so it is not to wait.
        self.shared.quic.set_server_config(None);
    }
}

impl Shared {
    /// Handshake and hello. What goes wrong is counted here and told to the other end; the caller has no use for it.
    async fn take_on(self: Arc<Self>, incoming: Incoming) -> Option<Accepted> {
        let deadline = Instant::now() + self.config.handshake;
        let Ok(connecting) = incoming.accept() else {
            self.counters.bump(Counter::HandshakeFailed);
            return None;
        };
        let Ok(connected) = timeout_at(deadline, connecting).await else {
            self.counters.bump(Counter::HandshakeLate);
            return None;
        };
        let Ok(connection) = connected else {
            self.counters.bump(Counter::HandshakeFailed);
            return None;
        };
        let greeted = match timeout_at(deadline, self.be_greeted(&connection)).await {
            Ok(greeted) => greeted,
            Err(_) => {
                self.counters.bump(Counter::HandshakeLate);
                Err(CloseReason::Late)
            }
        };
        match greeted {
            Ok((peer, version, seat)) => Some(Accepted::new(self.link(connection, peer, version, Some(seat)))),
            Err(reason) => {
                connection.close(reason.code(), reason.name().as_bytes());
                None
            }
        }
    }

    /// Answers the hello of who dialed. Fails, counted, with what that is to be told.
    async fn be_greeted(&self, connection: &quinn::Connection) -> Result<(Peer, Version, Seat), CloseReason> {
        let identity = self.welcome(connection, None::<Role>).map_err(|_| CloseReason::Identity)?;
        let wrong = |error| {
            let has_ended = matches!(error, LaneError::Closed(_));
            self.counters.bump(if has_ended { Counter::HandshakeFailed } else { Counter::HandshakeHello });
            CloseReason::Hello
        };
        let streams = connection.accept_bi().await.map_err(|error| wrong(LaneError::Closed(error.into())))?;
        let (mut sender, mut receiver) = self.hello_lane(streams, Side::Acceptor);
        let frame = receiver.only().await.map_err(wrong)?;
        let hello: Hello = codec::decode(&frame.body).map_err(|error| wrong(error.into()))?;
        let answer = hello.answer(&self.hello);
        sender.append_value(Kind::HelloAnswer, &answer).map_err(wrong)?;
        match answer {
            HelloAnswer::Accepted { version, .. } => {
                let seat = self.register.take(&identity, hello.node, connection, &self.counters)?;
                sender.finish().await.map_err(wrong)?;
                Ok((Peer { identity, node: hello.node, instance: hello.instance }, version, seat))
            }
            HelloAnswer::NoCommonVersion { .. } => {
                self.counters.bump(Counter::HandshakeVersion);
                // Closed at once, the link would take the answer with it. Whether it was heard is the other end's matter.
                sender.finish_and_wait().await.ok();
                Err(CloseReason::Version)
            }
        }
    }
}
