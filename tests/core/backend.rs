//! One relay under test, with what is known of its rings.

use std::sync::Arc;

use guildhall_members::View;
use guildhall_proto::{Event, Subject};
use guildhall_relay::{Batch, Relay, RelayConfig};
use guildhall_ring::{Cursor, RingConfig};

use crate::history::Told;
use crate::places::Places;

pub(crate) struct Backend {
    pub(crate) relay: Relay,
    pub(crate) batch: Batch,
    /// Its place in the owner's ring.
    pub(crate) cursor: Cursor,
    pub(crate) places: Places,
    pub(crate) pending_max: usize,
    /// How much it has taken of what the owner let out to be told.
    pub(crate) told_version: u64,
    /// What it was told, but for what is over, and how much in all.
    pub(crate) told: Vec<Told>,
    pub(crate) told_count: u64,
    /// When the last summary was made.
    pub(crate) summarized: Option<u64>,
    /// Set when it fell out of the owner's ring and the guild is gone: there is no view to start again from.
    pub(crate) is_lost: bool,
}

/// How much a relay holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) entries_max: usize,
    pub(crate) slow_max: usize,
    pub(crate) pending_max: usize,
}

impl Backend {
    pub(crate) fn new(view: &View, told_version: u64, Size { entries_max, slow_max, pending_max }: Size) -> Self {
        let ring = RingConfig { entries_max, bytes_max: usize::MAX };
        let slow_ring = RingConfig { entries_max: slow_max, bytes_max: usize::MAX };
        let config = RelayConfig { ring, slow_ring, pending_max, ..RelayConfig::default() };
        let position = view.position();
        let (relay, batch) = Relay::new(config, view.rights().clone(), position);
        let places = Places::new(position, entries_max, slow_max);
        let cursor = Cursor::after(position.seq);
        let (told, told_count) = (Vec::new(), 0);
        Self {
            relay,
            batch,
            cursor,
            places,
            pending_max,
            told_version,
            told,
            told_count,
            summarized: None,
            is_lost: false,
        }
    }

    /// Nothing more is to be told of these.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(Subject) -> bool) {
        self.told.retain(|told| !is_gone(told.ephemeral.subject()));
    }

    /// Hands over to the batch consumer.
    pub(crate) fn fill(&mut self) {
        self.relay.fill(&mut self.batch);
        self.places.fill();
    }

    /// Lets the rings hold nothing beyond their newest entry, or as much as before.
    pub(crate) fn squeeze(&mut self, is_squeezed: bool) {
        let bytes_max = if is_squeezed { 0 } else { usize::MAX };
        self.relay.set_bytes_max(bytes_max, bytes_max);
        self.places.squeeze(is_squeezed);
    }
}

/// The events that a session's end must be looked for in, when it is attached in the past.
pub(crate) fn between(events: &[Arc<Event>], after: u64, through: u64) -> &[Arc<Event>] {
    &events[after as usize..through as usize]
}
