//! What carries things through virtual time: the one queue, and the network between hosts.
//!
//! A link between two hosts is up or down. What is under way when it breaks is lost. A *lane* keeps its order; everything else arrives when
//! it arrives, so that calls overtake each other and the events of a feed.

use std::collections::BTreeMap;

use guildhall_proto::Millis;

use super::message::{Body, Happening};
use crate::dice::Dice;
use crate::queue::{Micros, Queue};

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// A guild node.
    Node(usize),
    /// A backend.
    Backend(usize),
    /// All callers of commands, each call over a connection of its own.
    Callers,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: Host,
    pub(crate) to: Host,
    /// Which of the link's connections carries it.
    connection: u64,
    pub(crate) body: Body,
}

/// Whether a message keeps its place among those of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It arrives after those sent before it.
    Ordered,
    /// It arrives when it arrives.
    Loose,
}

#[derive(Debug, Default)]
struct Link {
    connection: u64,
    is_down: bool,
    /// By direction, when the last of the lane arrives.
    lane_ends: [Micros; 2],
}

/// Time, and the network.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) now: Micros,
    /// How far all clocks have jumped ahead of the time that went by.
    pub(crate) ahead: Millis,
    queue: Queue<Happening>,
    links: BTreeMap<(Host, Host), Link>,
    dice: Dice,
    /// What a message takes at least, and at most as long as nothing is wrong.
    delays: (Micros, Micros),
    /// How many of a hundred durable calls arrive twice.
    pub(crate) duplicated_percent: u64,
    /// Counted for the checks.
    pub(crate) lost: u64,
}

impl Wire {
    pub(crate) fn new(dice: &Dice) -> Self {
        let mut dice = dice.fork("wire");
        let least = dice.within(20, 400);
        let most = least + dice.within(50, 20_000);
        Self {
            now: Micros(0),
            ahead: Millis(0),
            queue: Queue::default(),
            links: BTreeMap::new(),
            dice,
            delays: (Micros(least), Micros(most)),
            duplicated_percent: 0,
            lost: 0,
        }
    }

    /// What the clocks of the world show.
    pub(crate) fn clock(&self) -> Millis {
        Millis(self.now.clock().0 + self.ahead.0)
    }

    /// Has something happen after a time.
    pub(crate) fn later(&mut self, after: Micros, happening: Happening) {
        self.queue.put(self.now.plus(after), happening);
    }

    /// The next thing to happen; time goes on to it.
    pub(crate) fn next(&mut self) -> Option<Happening> {
        let (at, happening) = self.queue.pop()?;
        self.now = at.max(self.now);
        Some(happening)
    }

    /// Sends a message; false if there is no link, and it is lost.
    pub(crate) fn send(&mut self, from: Host, to: Host, lane: Lane, body: Body) -> bool {
        let delay = Micros(self.dice.within(self.delays.0.0, self.delays.1.0));
        let (now, is_first) = (self.now, from < to);
        let link = self.links.entry(ends(from, to)).or_default();
        if link.is_down {
            self.lost += 1;
            return false;
        }
        let mut at = now.plus(delay);
        if lane == Lane::Ordered {
            let lane_end = &mut link.lane_ends[usize::from(is_first)];
            at = at.max(*lane_end);
            *lane_end = at;
        }
        let connection = link.connection;
        self.queue.put(at, Happening::Arrive(Message { from, to, connection, body }));
        true
    }

    /// Whether a message that arrives now was not lost on its way.
    pub(crate) fn arrives(&mut self, message: &Message) -> bool {
        let link = self.links.entry(ends(message.from, message.to)).or_default();
        let arrives = !link.is_down && link.connection == message.connection;
        self.lost += u64::from(!arrives);
        arrives
    }

    /// Breaks a link: what is under way is lost. It is down until it is [mended](Self::mend), if `stays_down`.
    pub(crate) fn cut(&mut self, one: Host, other: Host, stays_down: bool) {
        let link = self.links.entry(ends(one, other)).or_default();
        link.connection += 1;
        link.is_down |= stays_down;
        link.lane_ends = [Micros(0); 2];
        if let (Host::Node(node), Host::Backend(backend)) | (Host::Backend(backend), Host::Node(node)) = (one, other) {
            let notice = Micros(self.dice.within(1_000, 300_000));
            self.later(notice, Happening::LinkLost { backend, node });
        }
    }

    pub(crate) fn mend(&mut self, one: Host, other: Host) {
        if let Some(link) = self.links.get_mut(&ends(one, other)) {
            link.is_down = false;
        }
    }

    pub(crate) fn mend_all(&mut self) {
        self.links.values_mut().for_each(|link| link.is_down = false);
    }

    /// Whether a durable call is to arrive twice.
    pub(crate) fn duplicates(&mut self) -> bool {
        self.dice.percent(self.duplicated_percent)
    }

    /// A time between two, of this world's dice.
    pub(crate) fn between(&mut self, from: Micros, to: Micros) -> Micros {
        Micros(self.dice.within(from.0, to.0))
    }
}

fn ends(one: Host, other: Host) -> (Host, Host) {
    (one.min(other), one.max(other))
}
