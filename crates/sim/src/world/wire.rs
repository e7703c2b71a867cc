//! What carries things through virtual time: the one queue, and the links between clients and nodes.
//!
//! A link can end at any moment. What is under way over it is lost then, in both directions; each of its ends learns of that for itself, sooner
//! or later, and until it does goes on as if the link stood. The client dials anew once it knows, whether the node knows or not. An answer goes
//! over the link of its call, a feed over the link that it was asked for on, so neither comes to a later one.
//! A *lane* keeps its order; everything else arrives when it arrives, so that calls overtake each other and the events of a feed.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_proto::Millis;

use super::message::{Body, Happening};
use crate::dice::Dice;
use crate::queue::{Micros, Queue};

/// Who speaks over links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    /// All who ask for nothing but commands and reads.
    Callers,
    /// A backend.
    Backend(usize),
}

/// One link of a client to a node, and none after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId {
    pub(crate) client: Host,
    pub(crate) node: usize,
    number: u64,
}

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Node,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) link: LinkId,
    pub(crate) to: End,
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

/// The links of a client to a node, one after the other.
#[derive(Debug, Default)]
struct Line {
    /// Of the latest; 0 if there was none.
    number: u64,
    /// Whether anything passes over it.
    passes: bool,
    /// Whether the client takes it for standing.
    is_trusted: bool,
    /// Those whose end the node has not noticed.
    unnoticed: BTreeSet<u64>,
    is_dialing: bool,
    /// Whether none comes to stand.
    is_blocked: bool,
    /// By the end that it goes to, when the last of the lane arrives.
    lane_ends: [Micros; 2],
}

/// How a link came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) link: LinkId,
    /// Whether its node still takes the one before for standing.
    pub(crate) is_ahead: bool,
}

/// Time, and the network.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) now: Micros,
    /// How far all clocks have jumped ahead of the time that went by.
    pub(crate) ahead: Millis,
    queue: Queue<Happening>,
    lines: BTreeMap<(Host, usize), Line>,
    dice: Dice,
    /// What a message takes at least, and at most as long as nothing is wrong.
    delays: (Micros, Micros),
    /// How many of a hundred durable calls are made twice.
    pub(crate) duplicated_percent: u64,
    /// Counted for the checks.
    pub(crate) lost: u64,
    turn: usize,
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
            lines: BTreeMap::new(),
            dice,
            delays: (Micros(least), Micros(most)),
            duplicated_percent: 0,
            lost: 0,
            turn: 0,
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

    /// Sends a message to one end of a link. It is lost if the link has ended, which whoever sends it may not know.
    pub(crate) fn send(&mut self, link: LinkId, to: End, lane: Lane, body: Body) {
        let delay = Micros(self.dice.within(self.delays.0.0, self.delays.1.0));
        let line = self.lines.entry((link.client, link.node)).or_default();
        if !line.passes || line.number != link.number {
            self.lost += 1;
            return;
        }
        let mut at = self.now.plus(delay);
        if lane == Lane::Ordered {
            let lane_end = &mut line.lane_ends[to as usize];
            at = at.max(*lane_end);
            *lane_end = at;
        }
        self.queue.put(at, Happening::Arrive(Message { link, to, body }));
    }

    /// Whether a message that arrives now was not lost on its way.
    pub(crate) fn arrives(&mut self, message: &Message) -> bool {
        let LinkId { client, node, number } = message.link;
        let arrives = self.lines.get(&(client, node)).is_some_and(|line| line.passes && line.number == number);
        self.lost += u64::from(!arrives);
        arrives
    }

    /// The link that a client has to a node, as far as the client knows.
    pub(crate) fn link(&self, client: Host, node: usize) -> Option<LinkId> {
        let line = self.lines.get(&(client, node)).filter(|line| line.is_trusted)?;
        Some(LinkId { client, node, number: line.number })
    }

    /// Any of these nodes that a client has a link to, in turn.
    pub(crate) fn any(&mut self, client: Host, nodes: &[usize]) -> Option<usize> {
        let linked: Vec<usize> = nodes.iter().copied().filter(|node| self.link(client, *node).is_some()).collect();
        self.turn = self.turn.wrapping_add(1);
        linked.get(self.turn % linked.len().max(1)).copied()
    }

    /// Ends the link of a client to a node. None comes to stand until that is [mended](Self::mend), if `stays_down`.
    pub(crate) fn cut(&mut self, client: Host, node: usize, stays_down: bool) {
        let line = self.lines.entry((client, node)).or_default();
        line.is_blocked |= stays_down;
        if std::mem::take(&mut line.passes) {
            line.unnoticed.insert(line.number);
            let link = LinkId { client, node, number: line.number };
            for end in [End::Client, End::Node] {
                let most = if self.dice.one_in(LATE_NOTICES) { 2_000_000 } else { 300_000 };
                let notice = Micros(self.dice.within(1_000, most));
                self.later(notice, Happening::LinkOver { link, end });
            }
        }
    }

    /// One end of a link notices that it has ended. Whether the other has known it before; `None` if this one has.
    pub(crate) fn notices(&mut self, link: LinkId, end: End) -> Option<bool> {
        let line = self.lines.get_mut(&(link.client, link.node))?;
        let is_latest = line.number == link.number;
        match end {
            End::Client => {
                (is_latest && std::mem::take(&mut line.is_trusted)).then_some(!line.unnoticed.contains(&link.number))
            }
            End::Node => line.unnoticed.remove(&link.number).then_some(!(is_latest && line.is_trusted)),
        }
    }

    /// A node has ended itself: whatever it would have noticed of its links is nobody's any more.
    pub(crate) fn node_ends(&mut self, node: usize) {
        for (_, line) in self.lines.iter_mut().filter(|((_, of), _)| *of == node) {
            line.unnoticed.clear();
        }
    }

    /// A client forgets its links to a node: it has ended itself.
    pub(crate) fn forget(&mut self, client: Host, node: usize) {
        if let Some(line) = self.lines.get_mut(&(client, node)) {
            line.is_trusted = false;
        }
    }

    /// Has a client dial a node by and by.
    pub(crate) fn dial_later(&mut self, client: Host, node: usize) {
        let line = self.lines.entry((client, node)).or_default();
        if !std::mem::replace(&mut line.is_dialing, true) {
            let pause = Micros(self.dice.within(2_000, 300_000));
            self.later(pause, Happening::Dial { client, node });
        }
    }

    /// A client dials a node. If nobody answers, it dials again by and by.
    pub(crate) fn dial(&mut self, client: Host, node: usize, is_answered: bool) -> Option<Stands> {
        let line = self.lines.entry((client, node)).or_default();
        line.is_dialing = false;
        if line.is_trusted {
            return None;
        }
        if line.is_blocked || !is_answered {
            self.dial_later(client, node);
            return None;
        }
        let is_ahead = !line.unnoticed.is_empty();
        line.number += 1;
        (line.passes, line.is_trusted, line.lane_ends) = (true, true, [Micros(0); 2]);
        Some(Stands { link: LinkId { client, node, number: line.number }, is_ahead })
    }

    /// Whether every link of these clients stands, as both its ends know.
    pub(crate) fn is_whole(&self, clients: &[Host], nodes: usize) -> bool {
        let stands = |line: &Line| line.is_trusted && line.passes && line.unnoticed.is_empty();
        clients.iter().all(|client| (0..nodes).all(|node| self.lines.get(&(*client, node)).is_some_and(stands)))
    }

    pub(crate) fn mend(&mut self, client: Host, node: usize) {
        if let Some(line) = self.lines.get_mut(&(client, node)) {
            line.is_blocked = false;
        }
    }

    pub(crate) fn mend_all(&mut self) {
        self.lines.values_mut().for_each(|line| line.is_blocked = false);
    }

    /// Whether a durable call is to be made twice.
    pub(crate) fn duplicates(&mut self) -> bool {
        self.dice.percent(self.duplicated_percent)
    }

    /// A time between two, of this world's dice.
    pub(crate) fn between(&mut self, from: Micros, to: Micros) -> Micros {
        Micros(self.dice.within(from.0, to.0))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.dice.number()
    }
}

/// One in so many ends of a link is noticed late.
const LATE_NOTICES: u64 = 4;
