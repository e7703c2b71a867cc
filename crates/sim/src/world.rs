//! The world: hosts, the network between them, those who call, and everyone who looks on.
//!
//! [`World::step`] takes the next happening off the one queue and performs it. Nothing else moves time or hosts; nothing in here reads a
//! clock, or an order that is not the same on every machine.

mod asked;
mod backend;
mod callers;
mod client;
mod drawn;
mod ending;
mod machine;
mod message;
mod node;
mod owner;
mod troubles;
mod watch;
mod wire;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use guildhall_proto::{GuildId, SessionId};
use guildhall_relay::SecretKeys;

use crate::check::Breach;
use crate::dice::Dice;
use crate::faults::{Faults, Trouble};
use crate::queue::Micros;
use crate::seen::Seen;
use crate::workload::{Doing, KnownSession, Workload};
use backend::{Backend, Holding};
use callers::Callers;
use client::{Client, ClientConfig};
use machine::{End, Machine};
use message::{Body, Happening};
use node::{Node, NodeConfig};
pub use watch::Digest;
use watch::Watch;
use wire::{End as LinkEnd, Host, LinkId, Message, Wire};

/// Everything that there is in a run.
pub(crate) struct World {
    wire: Wire,
    watch: Watch,
    config: NodeConfig,
    machines: Vec<Machine>,
    nodes: Vec<Node>,
    backends: Vec<Backend>,
    callers: Callers,
    /// That of all callers, then those of backends.
    clients: Vec<Client>,
    client_config: ClientConfig,
    /// When anything last happened, in the cluster of each machine, that calls may miss their guild by.
    stirred: Vec<Micros>,
    guilds: Vec<GuildId>,
    sessions: BTreeMap<SessionId, KnownSession>,
    holdings: BTreeMap<SessionId, Holding>,
    keys: SecretKeys,
    workload: Box<dyn Workload>,
    workload_dice: Dice,
    faults: Faults,
    fault_dice: Dice,
    /// Rises with everything that needs a name of its own.
    named: u64,
    fresh: Cell<u64>,
    /// Whether everything is to be well from now on.
    is_healed: bool,
    /// Whether all guilds are asked something, each of which is to be answered.
    is_probed: bool,
    steps: u64,
    /// What was asked and what went wrong, lately.
    history: VecDeque<(Micros, What)>,
}

/// What may have led to a breach.
enum What {
    Asked(Doing),
    WentWrong(Trouble),
    Ended { machine: usize, end: End },
    Healed,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(doing) => write!(f, "{doing:?}"),
            Self::WentWrong(trouble) => write!(f, "{trouble:?}"),
            Self::Ended { machine, end } => write!(f, "machine {machine} ends: {end:?}"),
            Self::Healed => write!(f, "everything is healed"),
        }
    }
}

impl World {
    /// The machine whose store has a guild.
    fn machine_of(&self, guild: GuildId) -> usize {
        machine_of(guild, self.machines.len())
    }

    /// The nodes of a machine.
    fn nodes_of(&self, machine: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].machine == machine).collect()
    }

    /// All clients.
    fn hosts(&self) -> Vec<Host> {
        [Host::Callers].into_iter().chain((0..self.backends.len()).map(Host::Backend)).collect()
    }

    /// How many happenings there were.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Virtual time so far.
    pub(crate) fn time(&self) -> Micros {
        self.wire.now
    }

    /// What happened.
    pub(crate) fn seen(&self) -> Seen {
        let tally = self.watch.ears.tally();
        Seen {
            replayed: tally.replayed,
            replayed_hidden: tally.replayed_hidden,
            hidden_meanwhile: tally.hidden_meanwhile,
            calls: tally.calls,
            missed: tally.missed,
            epochs_over_gaps: tally.epochs_over_gaps,
            left: tally.left,
            superseded_heard: tally.superseded,
            ..self.watch.seen.clone()
        }
    }

    /// What was asked and what went wrong, the latest last.
    pub(crate) fn history(&self) -> Vec<String> {
        let line = |(at, what): &(Micros, What)| format!("{:>12} µs  {what}", at.0);
        self.history.iter().map(line).map(|line| line.chars().take(HISTORY_CHARS).collect()).collect()
    }

    fn remember(&mut self, what: What) {
        if self.history.len() >= HISTORY_KEPT {
            self.history.pop_front();
        }
        self.history.push_back((self.wire.now, what));
    }

    /// A number for all that happened.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = self.watch.digest;
        digest.note(self.steps);
        digest.note(self.wire.now.0);
        digest.note(self.wire.lost);
        digest
    }

    /// Performs the next happening; false if there is none.
    fn step(&mut self) -> Result<bool, Breach> {
        let Some(happening) = self.wire.next() else { return Ok(false) };
        self.steps += 1;
        match self.standing_still(&happening) {
            Some(node) => self.nodes[node].postpone(happening),
            None => self.perform(happening)?,
        }
        Ok(true)
    }

    /// The node that stands still and that this is for.
    fn standing_still(&self, happening: &Happening) -> Option<usize> {
        let node = match happening {
            Happening::Turn(owned) | Happening::Done(owned, _) | Happening::Word(owned, _) | Happening::Doze(owned) => {
                owned.node
            }
            Happening::Load { node, .. } | Happening::Bell { node, .. } => *node,
            Happening::LinkOver { link, end: LinkEnd::Node }
            | Happening::Arrive(Message { link, to: LinkEnd::Node, .. }) => link.node,
            Happening::Workload
            | Happening::Trouble(_)
            | Happening::Arrive(_)
            | Happening::LinkOver { .. }
            | Happening::Dial { .. }
            | Happening::Silent { .. }
            | Happening::Write { .. }
            | Happening::Restart { .. }
            | Happening::Unpause { .. }
            | Happening::Read { .. }
            | Happening::ReadBatch { .. }
            | Happening::Tick { .. }
            | Happening::Listen { .. }
            | Happening::Errand { .. }
            | Happening::Noticed { .. }
            | Happening::Forgotten { .. }
            | Happening::Due { .. }
            | Happening::Well(_) => return None,
        };
        self.nodes[node].is_paused().then_some(node)
    }

    fn perform(&mut self, happening: Happening) -> Result<(), Breach> {
        match happening {
            Happening::Workload => return self.ask_workload(),
            Happening::Trouble(trouble) => return self.trouble(trouble),
            Happening::Well(again) => return self.well_again(again),
            Happening::Arrive(message) => {
                if self.wire.arrives(&message) {
                    return match message.to {
                        LinkEnd::Node => self.arrive_at_node(message.link, message.body),
                        LinkEnd::Client => self.arrive_at_client(message.link, message.body),
                    };
                }
            }
            Happening::LinkOver { link, end } => return self.link_over(link, end),
            Happening::Dial { client, node } => return self.dial(client, node),
            Happening::Silent { node } => self.silent(node),
            Happening::Turn(owned) => return self.turn(owned),
            Happening::Done(owned, job) => return self.job_done(owned, job),
            Happening::Word(owned, word) => return self.word(owned, word),
            Happening::Load { node, life, guild } => return self.loaded(node, life, guild),
            Happening::Doze(owned) => return self.doze(owned),
            Happening::Bell { node, life } => return self.hear_bell(node, life),
            Happening::Write { machine, life, log } => return self.write(machine, life, log),
            Happening::Restart { machine, life } => return self.restart(machine, life),
            Happening::Unpause { node } => return self.unpause(node),
            Happening::Read { backend, seat } => return self.read_stream(backend, seat),
            Happening::ReadBatch { at } => return self.read_batch(at),
            Happening::Tick { at } => self.tick(at),
            Happening::Listen { at } => return self.listen(at),
            Happening::Errand { backend, seat } => return self.errand(backend, seat),
            Happening::Noticed { backend, seat } => self.cut_seat(backend, seat),
            Happening::Forgotten { session, cuts, backend, seat } => {
                return self.forgotten(session, cuts, backend, seat);
            }
            Happening::Due { client, call } => return self.call_due(client, call),
        }
        Ok(())
    }

    fn arrive_at_client(&mut self, link: LinkId, body: Body) -> Result<(), Breach> {
        match body {
            Body::Answer { calling, answer } => self.call_answered(calling, answer),
            Body::Feed { at, feed, news } => self.fed(link, at, feed, news),
            Body::Ask { .. } | Body::Unlisten { .. } | Body::Taken { .. } => unreachable!("it is not said to a client"),
        }
    }

    /// One end of a link notices that it has ended.
    fn link_over(&mut self, link: LinkId, end: LinkEnd) -> Result<(), Breach> {
        let LinkId { client, node, .. } = link;
        self.stir(self.nodes[node].machine);
        let Some(was_known) = self.wire.notices(link, end) else { return Ok(()) };
        match end {
            LinkEnd::Node => {
                self.watch.seen.nodes_knew_first += u64::from(!was_known);
                self.end_feeds_of(link);
            }
            LinkEnd::Client => {
                self.watch.seen.clients_knew_first += u64::from(!was_known);
                if let Host::Backend(backend) = client {
                    self.feeds_lost(backend, link);
                }
                self.calls_lost(link)?;
                self.wire.dial_later(client, node);
            }
        }
        Ok(())
    }

    fn dial(&mut self, client: Host, node: usize) -> Result<(), Breach> {
        let dialed = &self.nodes[node];
        let is_answered = self.machines[dialed.machine].is_up() && !dialed.is_paused() && !dialed.has_left;
        let Some(stands) = self.wire.dial(client, node, is_answered) else { return Ok(()) };
        self.watch.seen.dialed_ahead += u64::from(stands.is_ahead);
        self.link_stands(client, node)
    }
}

/// Which of so many machines has a guild in its store.
fn machine_of(guild: GuildId, machines: usize) -> usize {
    usize::try_from(guild.get()).unwrap_or(0) % machines
}

/// Of what led to a breach, so much is kept: the rest is for the seed to tell.
const HISTORY_KEPT: usize = 40;
/// A line of it.
const HISTORY_CHARS: usize = 300;
