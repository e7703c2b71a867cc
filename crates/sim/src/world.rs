//! The world: hosts, the network between them, those who call, and everyone who looks on.
//!
//! [`World::step`] takes the next happening off the one queue and performs it. Nothing else moves time or hosts; nothing in here reads a
//! clock, or an order that is not the same on every machine.

mod backend;
mod callers;
mod client;
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
use std::time::Duration;

use guildhall_cluster::Coordinator;
use guildhall_guild::{CheckpointConfig, GuildConfig};
use guildhall_members::MembersConfig;
use guildhall_proto::{Actor, Command, GuildEdit, GuildId, SessionId};
use guildhall_relay::{RelayConfig, SecretKey, SecretKeys};
use guildhall_ring::{LatestConfig, RingConfig};
use guildhall_store::EmbeddedConfig;

use crate::check::{Breach, EarId, Promise};
use crate::dice::Dice;
use crate::faults::{Faults, Trouble};
use crate::queue::Micros;
use crate::seen::Seen;
use crate::workload::{CallAs, Doing, Known, KnownSession, KnownStage, Pace, Workload};
use backend::{Backend, Coming, Errand, Holding};
use callers::Callers;
use client::{Client, ClientConfig};
use machine::{End, Machine};
use message::{Body, Happening};
use node::{Node, NodeConfig};
use owner::OwnerConfig;
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
    pub(crate) fn new(seed: u64, workload: Box<dyn Workload>, mut faults: Faults) -> Result<Self, Breach> {
        let dice = Dice::new(seed).fork(workload.name()).fork(faults.name());
        let mut drawn = dice.fork("world");
        let mut tight = dice.fork("tight");
        let setting = workload.setting();
        let mut wire = Wire::new(&dice);
        wire.duplicated_percent = faults.duplicated_percent;
        // Workloads differ in how much happens in a second.
        faults.haste = [1, 4, 16, 48][drawn.index(4).unwrap_or(0)];
        let segment_bytes = [32, 64, 256][drawn.index(3).unwrap_or(0)] * 1024;
        let store = EmbeddedConfig {
            segment_bytes,
            slack_bytes: segment_bytes * drawn.below(3),
            small_bytes: [0, 1_000, 8_000][drawn.index(3).unwrap_or(0)],
            // By no clock: what a run comes to is its seed's alone.
            lost_after: Duration::MAX,
            ..EmbeddedConfig::default()
        };
        let n_machines = drawn.within(1, 3);
        let mut machines = Vec::new();
        for number in 0..usize::try_from(n_machines).unwrap_or(1) {
            machines.push(Machine::new(number, &dice, store.clone())?);
        }
        let config = node_config(&mut drawn, &mut tight, &setting);
        let mut nodes = Vec::new();
        for machine in 0..machines.len() {
            for _ in 0..drawn.within(1, 3) {
                let skew = i64::try_from(drawn.below(200)).unwrap_or(0);
                nodes.push(Node::new(nodes.len(), machine, skew, config.clone()));
            }
        }
        let relay = relay_config(&mut drawn, &mut tight, &setting);
        let backends: Vec<Backend> = (0..setting.backends.max(1)).map(|_| Backend::new(relay)).collect();
        let client_config = ClientConfig::drawn(&mut dice.fork("clients"));
        let client = |_| Client::new(&client_config, machines.len(), Micros(0));
        let clients = (0..1 + backends.len()).map(client).collect();
        let stirred = vec![Micros(0); machines.len()];
        let guilds: Vec<GuildId> =
            (1..=setting.guilds.max(1) as u64).map(|number| GuildId::new(number).expect("from 1 on")).collect();
        let key = std::array::from_fn(|at| u8::try_from(at).expect("there are 32"));
        let mut world = Self {
            watch: Watch::new(&dice),
            config,
            machines,
            nodes,
            backends,
            callers: Callers::default(),
            clients,
            client_config,
            stirred,
            guilds,
            sessions: BTreeMap::new(),
            holdings: BTreeMap::new(),
            keys: SecretKeys::new(SecretKey { number: 1, key }),
            workload_dice: dice.fork("workload"),
            fault_dice: dice.fork("faults"),
            workload,
            faults,
            wire,
            named: 0,
            fresh: Cell::new(FRESH_FROM),
            is_healed: false,
            is_probed: false,
            steps: 0,
            history: VecDeque::new(),
        };
        for machine in 0..world.machines.len() {
            world.join_all(machine)?;
        }
        for client in world.hosts() {
            for node in 0..world.nodes.len() {
                world.wire.dial(client, node, true);
            }
        }
        world.wire.later(Micros(0), Happening::Workload);
        world.begin_troubles();
        Ok(world)
    }

    /// Runs the world for so many happenings, heals it, and sees whether what was promised holds.
    pub(crate) fn run(&mut self, steps: u64) -> Result<(), Breach> {
        while self.steps < steps {
            if !self.step()? {
                break;
            }
        }
        self.heal()?;
        self.settle()?;
        self.probe()?;
        for machine in 0..self.machines.len() {
            self.process_ends(machine, End::PowerCut)?;
        }
        self.settle()?;
        self.probe()?;
        self.rest()
    }

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

    fn ask_workload(&mut self) -> Result<(), Breach> {
        if self.is_healed {
            return Ok(());
        }
        let mut doings = Vec::new();
        let known = Known {
            guilds: &self.guilds,
            backends: self.backends.len(),
            chronicle: &self.watch.ledger.chronicle,
            calls_open: &self.callers.open,
            sessions: &self.sessions,
            fresh: &self.fresh,
        };
        let now = self.wire.clock();
        let next = self.workload.next(now, &mut self.workload_dice, &known, &mut doings);
        for doing in doings {
            self.watch.digest.note(3);
            self.remember(What::Asked(doing.clone()));
            self.carry_out(doing)?;
        }
        if let Some(after) = next {
            self.wire.later(after, Happening::Workload);
        }
        Ok(())
    }

    fn carry_out(&mut self, doing: Doing) -> Result<(), Breach> {
        match doing {
            Doing::Call { guild, actor, command, id } => return self.call(guild, actor, command, id),
            Doing::Retry { guild, nth_last } => return self.retry(guild, nth_last),
            Doing::Read { guild, user } => return self.read(guild, user),
            Doing::Type { guild, user, channel } => return self.typing(guild, user, channel),
            Doing::Attach { session, guild, user, backend, way, level, status, members } => {
                let backend = backend % self.backends.len();
                if !self.sessions.contains_key(&session) {
                    let coming = Coming { session, guild, user, way, members, level, status };
                    return self.take_seat(backend, coming, Errand::Attach, None);
                }
            }
            Doing::Detach(session) => return self.leave(session),
            Doing::Evict { guild, session, user } => return self.evict(guild, session, user),
            Doing::Cut(session) => self.cut_session(session),
            Doing::Resume { session, proof, backend, level, status } => {
                return self.resume(session, proof, backend % self.backends.len(), level, status);
            }
            Doing::SetLevel(session, level) => return self.ask_served(session, Errand::SetLevel(level)),
            Doing::SetStatus(session, status) => return self.ask_served(session, Errand::SetStatus(status)),
            Doing::Pace(session, pace) => {
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.pace = pace;
                    let (backend, seat) = (known.backend, self.holdings[&session].seat);
                    self.set_pace(backend, seat, pace);
                }
            }
            Doing::Move { guild, to } => {
                let nodes = self.nodes_of(self.machine_of(guild));
                let to = to.map(|to| nodes[usize::try_from(to).unwrap_or(0) % nodes.len()]);
                return self.place_guild(guild, to);
            }
            Doing::CutLink { guild, backend } => {
                let client = backend.map_or(Host::Callers, |backend| Host::Backend(backend % self.backends.len()));
                if let Some(node) = self.placed(guild) {
                    self.watch.seen.links_cut += 1;
                    self.wire.cut(client, node, false);
                }
            }
            Doing::Retire { guild } => return self.retire(guild),
        }
        Ok(())
    }

    fn ask_served(&mut self, session: SessionId, errand: Errand) -> Result<(), Breach> {
        match self.sessions.get(&session) {
            Some(known) if known.stage == KnownStage::Served => {
                let (backend, seat) = (known.backend, self.holdings[&session].seat);
                self.ask_seat(backend, seat, errand)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Heals everything: from now on nothing goes wrong, and nobody asks for anything new.
    fn heal(&mut self) -> Result<(), Breach> {
        self.is_healed = true;
        self.remember(What::Healed);
        self.wire.mend_all();
        self.wire.duplicated_percent = 0;
        for machine in 0..self.machines.len() {
            let mended = &mut self.machines[machine];
            mended.slowness = 1;
            mended.empty();
            mended.unrot();
            mended.disarm();
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].hasten();
            self.wire.later(Micros(0), Happening::Unpause { node });
            if self.nodes[node].has_left {
                self.join(node)?;
            }
        }
        let readers: Vec<(usize, EarId)> = (0..self.backends.len())
            .flat_map(|backend| self.backends[backend].seats.keys().map(move |seat| (backend, *seat)))
            .collect();
        for (backend, seat) in readers {
            self.set_pace(backend, seat, Pace::Fast);
        }
        for known in self.sessions.values_mut() {
            known.pace = Pace::Fast;
        }
        Ok(())
    }

    /// Goes on until nothing is under way any more.
    fn settle(&mut self) -> Result<(), Breach> {
        let deadline = self.wire.now.plus(SETTLED_WITHIN);
        let most = self.steps + SETTLED_WITHIN_STEPS;
        loop {
            let unrest = self.unrest();
            let Err(unrest) = unrest else { return self.owners_are_latest() };
            if self.wire.now > deadline || self.steps > most {
                return Err(Promise::Liveness.breach(format!("it does not come to rest: {unrest}")));
            }
            let mut happens = true;
            for _ in 0..64 {
                happens = happens && self.step()?;
            }
            if let Err(unrest) = self.unrest()
                && !happens
            {
                return Err(Promise::Liveness.breach(format!("nothing happens any more: {unrest}")));
            }
        }
    }

    /// At rest every node has heard where guilds are: who goes on as an owner is the latest that its guild has had.
    fn owners_are_latest(&self) -> Result<(), Breach> {
        let owners = self.nodes.iter().flat_map(Node::owners).map(|owner| owner.owned);
        owners.into_iter().try_for_each(|owned| {
            Promise::OneOwner.require(self.watch.ledger.is_latest(owned.guild, owned.epoch), || {
                format!("{owned:?} goes on, and its guild has had a later owner")
            })
        })
    }

    fn unrest(&self) -> Result<(), String> {
        if let Some(down) = self.machines.iter().position(|machine| !machine.is_up()) {
            return Err(format!("machine {down} is down"));
        }
        let calls: usize = self.clients.iter().map(Client::calls).sum();
        if calls > 0 {
            return Err(format!("{calls} calls are under way"));
        }
        if !self.wire.is_whole(&self.hosts(), self.nodes.len()) {
            return Err("a link does not stand".to_owned());
        }
        for node in &self.nodes {
            let placement = self.machines[node.machine].coordinator().map(Coordinator::placement);
            if placement.is_some_and(|placement| placement.revision() != node.placement().revision()) {
                return Err("a node has not heard of the placement".to_owned());
            }
        }
        if let Some(node) = self.nodes.iter().position(|node| !node.is_quiet() || node.is_paused()) {
            return Err(format!("node {node} has something under way"));
        }
        (0..self.backends.len()).try_for_each(|backend| self.is_backend_quiet(backend))
    }

    /// Asks every guild something, and looks at it whole.
    fn probe(&mut self) -> Result<(), Breach> {
        self.is_probed = true;
        for guild in self.guilds.clone() {
            let nothing = Command::UpdateGuild(GuildEdit { name: None });
            self.call(guild, Actor::System, nothing, CallAs::Fresh)?;
        }
        self.settle()?;
        self.is_probed = false;
        for guild in self.guilds.clone() {
            if let Some(owner) = self.placed(guild).and_then(|node| self.nodes[node].owner(guild)) {
                self.watch.ledger.compare(guild, owner.view())?;
            }
        }
        Ok(())
    }

    /// Some time goes by, and what was for a session has been heard.
    fn rest(&mut self) -> Result<(), Breach> {
        let until = self.wire.now.plus(Micros::seconds(6));
        while self.wire.now < until && self.step()? {}
        self.settle()?;
        self.machines.iter().try_for_each(Machine::check_records_at_rest)?;
        let Watch { ledger, ears, .. } = &mut self.watch;
        ledger.chronicle.iter().try_for_each(|(_, annals)| ears.rests(annals))
    }
}

/// Which of so many machines has a guild in its store.
fn machine_of(guild: GuildId, machines: usize) -> usize {
    usize::try_from(guild.get()).unwrap_or(0) % machines
}

fn node_config(dice: &mut Dice, tight: &mut Dice, setting: &crate::workload::Setting) -> NodeConfig {
    let page_members = usize::try_from(dice.within(16, 80)).unwrap_or(16);
    let members = MembersConfig {
        page_members,
        fold_at: usize::try_from(dice.within(8, 72)).unwrap_or(8),
        inline_fold_members: if dice.one_in(2) { 0 } else { 64 },
    };
    let checkpoints = CheckpointConfig { changes_min: dice.within(5, 60), ..CheckpointConfig::default() };
    let ring_events = setting.ring_events.unwrap_or_else(|| RING_EVENTS[dice.index(RING_EVENTS.len()).unwrap_or(0)]);
    let mut owner = OwnerConfig {
        ring: RingConfig { entries_max: ring_events, bytes_max: 1024 * 1024 },
        mailbox_max: [16, 200, 5_000][dice.index(3).unwrap_or(0)],
        inputs_max: usize::try_from(dice.within(1, 40)).unwrap_or(1),
        unsettled_max: usize::try_from(dice.within(2, 24)).unwrap_or(2),
        fold_at: members.fold_at,
        sleep_after: setting.sleep_after,
        turn: Micros(dice.within(5, 800)),
        job: Micros(dice.within(50, 20_000)),
        fold: Micros(0),
        told: told_config(tight),
    };
    let slow = Micros::millis(tight.within(200, 3_000));
    owner.fold = if tight.one_in(SLOW_FOLDS) { slow } else { owner.job };
    NodeConfig { guild: GuildConfig { members, checkpoints }, owner }
}

fn relay_config(dice: &mut Dice, tight: &mut Dice, setting: &crate::workload::Setting) -> RelayConfig {
    let mut events = || setting.ring_events.unwrap_or_else(|| RING_EVENTS[dice.index(RING_EVENTS.len()).unwrap_or(0)]);
    let ring = RingConfig { entries_max: events(), bytes_max: 1024 * 1024 };
    let slow_ring = RingConfig { entries_max: events(), bytes_max: 256 * 1024 };
    let unread_every = std::time::Duration::from_millis(dice.within(200, 5_000));
    let pending_max = [3, 100, 65_536][dice.index(3).unwrap_or(0)];
    RelayConfig { ring, slow_ring, told: told_config(tight), unread_every, pending_max, ..RelayConfig::default() }
}

/// What a keep-latest map of typing and presence holds: next to nothing in some runs, so that it is full.
fn told_config(tight: &mut Dice) -> LatestConfig {
    let mut below = |most: usize| tight.index(most).unwrap_or(0);
    match below(SMALL_MAPS) {
        0 => LatestConfig { subjects_max: 1 + below(8), ..LatestConfig::default() },
        1 => LatestConfig { bytes_max: below(1_000), ..LatestConfig::default() },
        _ => LatestConfig::default(),
    }
}

/// What a ring holds: mostly enough that readers who lag hear what they have missed.
const RING_EVENTS: [usize; 6] = [12, 40, 200, 1_000, 1_000, 1_000];
/// In one of so many runs folds take longer than anything else, so that changes come faster than they are folded.
const SLOW_FOLDS: u64 = 4;
/// In two of so many, keep-latest maps are small: one for their subjects, one for their bytes.
const SMALL_MAPS: usize = 6;
/// How long everything may take to come to rest once nothing goes wrong.
const SETTLED_WITHIN: Micros = Micros::seconds(240);
/// The same, in happenings.
const SETTLED_WITHIN_STEPS: u64 = 400_000;
/// Numbers that workloads are told begin here: above those that they choose themselves.
const FRESH_FROM: u64 = 1_000_000;
/// Of what led to a breach, so much is kept: the rest is for the seed to tell.
const HISTORY_KEPT: usize = 40;
/// A line of it.
const HISTORY_CHARS: usize = 300;
