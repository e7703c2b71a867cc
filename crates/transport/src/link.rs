//! A link: one authenticated connection between two nodes, seen from the end that dialed it or from the one that was dialed.
//!
//! What an end may do with it is a matter of types: who dialed makes calls and is sent feeds ([`Dialed`]); who was dialed takes calls and sends
//! feeds ([`Accepted`]).

use std::ops::Deref;
use std::sync::Arc;

use guildhall_proto::frame::{Lane, Side};
use guildhall_proto::{Instance, NodeId, Version};

use crate::counters::Counters;
use crate::lane::{LaneReceiver, LaneSender};
use crate::register::{Seat, Standing};
use crate::{CloseReason, Closed, Identity, LaneError, TransportConfig};

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Who it is, by its certificate.
    pub identity: Identity,
    /// Which node it says it is. Only as good as its identity, which several nodes may share.
    pub node: NodeId,
    /// Which run of that node.
    pub instance: Instance,
}

/// What both ends have. Closes when the last handle is dropped, and all its lanes with it.
#[derive(Debug)]
pub struct Link {
    connection: quinn::Connection,
    peer: Peer,
    version: Version,
    config: TransportConfig,
    counters: Arc<Counters>,
    /// The place that an accepted link takes.
    seat: Option<Seat>,
}

/// A link at the end that dialed it.
#[derive(Debug, Clone)]
pub struct Dialed(Arc<Link>);

/// A link at the end that was dialed.
#[derive(Debug, Clone)]
pub struct Accepted(Arc<Link>);

impl Link {
    pub(crate) const fn new(
        connection: quinn::Connection,
        peer: Peer,
        version: Version,
        config: TransportConfig,
        counters: Arc<Counters>,
        seat: Option<Seat>,
    ) -> Self {
        Self { connection, peer, version, config, counters, seat }
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The version of the protocol that is spoken.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Closes it at once, lanes and all, and tells the other end why.
    pub fn close(&self, reason: CloseReason) {
        self.connection.close(reason.code(), reason.name().as_bytes());
    }

    /// Waits for its end, and tells how it came.
    pub async fn closed(&self) -> Closed {
        self.connection.closed().await.into()
    }

    fn receiver(&self, stream: quinn::RecvStream, lane: Lane, is_opened_there: bool) -> LaneReceiver {
        // Who opens a lane sends at once; who answers on one may take its time, for which the caller has a deadline.
        let first_within = is_opened_there.then_some(self.config.first_frame);
        LaneReceiver::new(stream, lane, self.version, first_within, &self.config, Arc::clone(&self.counters))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let closed = self.connection.close_reason().map_or(Closed::Here, Closed::from);
        self.counters.bump((&closed).into());
        self.close(CloseReason::Done);
    }
}

impl Dialed {
    pub(crate) fn new(link: Link) -> Self {
        Self(Arc::new(link))
    }

    /// Opens a lane for one call; waits while as many are open as the other end allows.
    ///
    /// # Errors
    /// [`LaneError::Closed`].
    pub async fn call(&self) -> Result<(LaneSender, LaneReceiver), LaneError> {
        let (send, receive) = self.connection.open_bi().await.map_err(Closed::from)?;
        let sender = LaneSender::new(send, Lane::Call(Side::Opener), self.version);
        Ok((sender, self.receiver(receive, Lane::Call(Side::Acceptor), false)))
    }

    /// Waits for the other end to open its next lane in one direction: one for feeds, one for what is told of now. What is wrong on one of these ends
    /// the link.
    ///
    /// # Errors
    /// [`LaneError::Closed`].
    pub async fn next_push(&self) -> Result<LaneReceiver, LaneError> {
        let receive = self.connection.accept_uni().await.map_err(Closed::from)?;
        Ok(self.receiver(receive, Lane::Push, true).ending(self.connection.clone()))
    }
}

impl Accepted {
    pub(crate) fn new(link: Link) -> Self {
        Self(Arc::new(link))
    }

    /// Waits for the next call. Who takes it reads its request, compares it with the peer's role ([`crate::Role::may_ask`]), and answers.
    ///
    /// # Errors
    /// [`LaneError::Closed`].
    pub async fn next_call(&self) -> Result<(LaneSender, LaneReceiver), LaneError> {
        let (send, receive) = self.connection.accept_bi().await.map_err(Closed::from)?;
        let sender = LaneSender::new(send, Lane::Call(Side::Acceptor), self.version).within(self.config.stall);
        Ok((sender, self.receiver(receive, Lane::Call(Side::Opener), true)))
    }

    /// Whether it stands, for whoever goes on with what came over it and does not keep it.
    pub fn standing(&self) -> Standing {
        self.0.seat.as_ref().expect("a link that was accepted has its place").standing()
    }

    /// A lane in one direction, opened when something is sent on it: the other end gives up one that stays silent. It allows for two: one for feeds,
    /// one for what is told of now.
    pub fn push(&self) -> LaneSender {
        LaneSender::unopened(self.connection.clone(), Lane::Push, self.version)
    }
}

impl Deref for Dialed {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Deref for Accepted {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}
