//! A backend: its relays, and the seats of its sessions.
//!
//! A *seat* is one time that a session listens here; the checks know it by the same number. What a seat has to ask of its guild's owner it
//! asks one thing after the other ([`seats`]), so that no answer meets another's question.

mod reading;
mod relays;
mod seats;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use guildhall_proto::call::FeedId;
use guildhall_proto::{Epoch, Generation, GuildId, Level, Millis, Position, SessionId, Status, UserId};
use guildhall_relay::{Batch, Relay, RelayConfig, Secret, SessionKey, Stream};
use guildhall_ring::Budget;

use super::World;
use super::message::At;
use super::wire::LinkId;
use crate::check::{Breach, EarId, Reach};
use crate::workload::{KnownStage, Pace, Way};
pub(super) use seats::{Coming, Errand};

pub(crate) struct Backend {
    pub(crate) relays: BTreeMap<GuildId, RelayHost>,
    pub(crate) seats: BTreeMap<EarId, Seat>,
    pub(crate) config: RelayConfig,
    pub(crate) budget: Arc<Budget>,
}

/// One relay, and whoever reads it.
pub(crate) struct RelayHost {
    pub(crate) at: At,
    pub(super) core: Option<Core>,
    pub(super) feed: Feed,
    /// Whether there is no such guild, or not any more.
    pub(super) is_over: bool,
    /// Told ahead of the events applied.
    pub(super) ahead: Vec<guildhall_proto::Ephemeral>,
    /// Of the owner that it was last fed by.
    pub(super) epoch: Epoch,
    pub(super) keys: BTreeMap<SessionKey, EarId>,
    pub(super) pace: Pace,
    pub(super) is_batch_called: bool,
    pub(super) is_ticking: bool,
    /// How often it has begun again lately.
    pub(super) reopened: u64,
    pub(super) fills: u64,
    /// From where on nothing was lost to the relay but by its rings' bounds; `None` once others have told it of its guild's end.
    pub(super) whole_from: Option<Position>,
    /// What the batch consumer has read up to.
    pub(super) batch_at: Position,
}

/// What a relay is fed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// Nothing.
    None,
    /// It asks for it, by this call.
    Asked(u64),
    /// What comes over this link under that name.
    Open(LinkId, FeedId),
}

/// The relay itself, once there was a view to begin with.
pub(super) struct Core {
    pub(super) relay: Relay,
    pub(super) batch: Batch,
}

/// One time that a session listens at a backend.
pub(crate) struct Seat {
    pub(super) session: SessionId,
    pub(super) guild: GuildId,
    pub(super) user: UserId,
    pub(super) way: Way,
    pub(super) members: bool,
    pub(super) level: Level,
    pub(super) status: Status,
    pub(super) pace: Pace,
    pub(super) generation: Option<Generation>,
    pub(super) joined_at: Millis,
    /// What it knew, if it comes back and is to be accepted anew.
    pub(super) known_again: Option<Position>,
    pub(super) key: Option<SessionKey>,
    pub(super) stream: Option<Stream>,
    /// Whether its client is still there to hear.
    pub(super) is_heard: bool,
    pub(super) is_cut: bool,
    pub(super) is_leaving: bool,
    /// Whether it is to be read soon.
    pub(super) is_called: bool,
    pub(super) todo: VecDeque<Errand>,
    /// The call whose answer is awaited.
    pub(super) asked: Option<u64>,
}

/// What a session's client holds, wherever it is connected.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(super) seat: EarId,
    pub(super) secret: Option<Secret>,
    /// The one before, if it has come back.
    pub(super) secret_before: Option<Secret>,
    /// The last position that it knows.
    pub(super) known: Position,
    pub(super) members: bool,
    /// How often it was cut.
    pub(super) cuts: u64,
    pub(super) generation: Option<Generation>,
}

impl RelayHost {
    /// How far back sessions that are served in this way can be told what they have not heard.
    fn reach(&self, way: Way, config: &RelayConfig) -> Option<Reach> {
        let relay = &self.core.as_ref()?.relay;
        let RelayConfig { ring, slow_ring, .. } = config;
        let read_to = match way {
            Way::Stream => relay.position(),
            Way::Batch => self.batch_at,
        };
        Some(Reach {
            from: self.whole_from?,
            read_to,
            at: relay.position(),
            events: ring.entries_max.min(slow_ring.entries_max),
            bytes: ring.bytes_max.min(slow_ring.bytes_max),
            sessions: relay.sessions(),
        })
    }
}

impl Backend {
    pub(crate) fn new(config: RelayConfig) -> Self {
        Self { relays: BTreeMap::new(), seats: BTreeMap::new(), config, budget: Budget::new(usize::MAX / 4) }
    }

    /// The relay of this name, if it is still there.
    fn relay(&mut self, at: At) -> Option<&mut RelayHost> {
        self.relays.get_mut(&at.guild).filter(|host| host.at == at)
    }
}

impl World {
    /// A seat is over, and with it its session, unless that goes on elsewhere.
    pub(super) fn seat_over(&mut self, backend: usize, seat: EarId) -> Result<(), Breach> {
        let Some(over) = self.backends[backend].seats.remove(&seat) else { return Ok(()) };
        if over.is_heard {
            self.watch.ears.cut(seat);
        }
        if let Some(host) = self.backends[backend].relays.get_mut(&over.guild)
            && let Some(key) = over.key
        {
            host.keys.remove(&key);
        }
        if self.holdings.get(&over.session).is_some_and(|holding| holding.seat == seat)
            && self.sessions.get(&over.session).is_some_and(|known| known.stage != KnownStage::Cut)
        {
            self.holdings.remove(&over.session);
            self.sessions.remove(&over.session);
        }
        self.close_if_empty(backend, over.guild)
    }

    /// Notes how far a session is, if this is its seat.
    pub(super) fn note_stage(&mut self, session: SessionId, seat: EarId, stage: KnownStage) {
        if self.holdings.get(&session).is_some_and(|holding| holding.seat == seat)
            && let Some(known) = self.sessions.get_mut(&session)
        {
            known.stage = stage;
        }
    }

    /// Whether all relays are fed, and all seats have nothing to ask and nothing to read.
    pub(super) fn is_backend_quiet(&self, backend: usize) -> Result<(), String> {
        let Backend { relays, seats, .. } = &self.backends[backend];
        for (guild, host) in relays {
            let owner = self.placed(*guild).and_then(|node| self.nodes[node].owner(*guild));
            let position = owner.map(super::owner::Owner::position);
            let at = host.core.as_ref().map(|core| core.relay.position());
            if !host.is_over && (position.is_none() || at != position) || host.is_batch_called {
                return Err(format!(
                    "the relay of guild {guild} at backend {backend} is at {at:?}, its owner at {position:?}; \
                     it has {:?}, its batch is to read: {}",
                    host.feed, host.is_batch_called
                ));
            }
        }
        for (seat, held) in seats {
            let is_reading = held.is_called && !held.is_cut;
            if is_reading || held.asked.is_some() || !held.todo.is_empty() || held.is_leaving {
                let Seat { session, guild, user, todo, asked, .. } = held;
                return Err(format!(
                    "{session:?} of {user:?} in guild {guild}, seat {seat:?} at backend {backend}: \
                     reading {is_reading}, asks {asked:?}, is to do {todo:?}"
                ));
            }
        }
        Ok(())
    }
}
