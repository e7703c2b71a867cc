//! What a world begins with, drawn by its seed: hosts, how they are kept, and bounds that are met in some runs.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use guildhall_guild::{CheckpointConfig, GuildConfig};
use guildhall_members::MembersConfig;
use guildhall_proto::GuildId;
use guildhall_relay::{RelayConfig, SecretKey, SecretKeys};
use guildhall_ring::{LatestConfig, RingConfig};
use guildhall_store::EmbeddedConfig;

use super::World;
use super::backend::Backend;
use super::callers::Callers;
use super::client::{Client, ClientConfig};
use super::machine::Machine;
use super::message::Happening;
use super::node::{Node, NodeConfig};
use super::owner::OwnerConfig;
use super::watch::Watch;
use super::wire::Wire;
use crate::check::Breach;
use crate::dice::Dice;
use crate::faults::Faults;
use crate::queue::Micros;
use crate::workload::{Setting, Workload};

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
}

fn node_config(dice: &mut Dice, tight: &mut Dice, setting: &Setting) -> NodeConfig {
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

fn relay_config(dice: &mut Dice, tight: &mut Dice, setting: &Setting) -> RelayConfig {
    let mut events = || setting.ring_events.unwrap_or_else(|| RING_EVENTS[dice.index(RING_EVENTS.len()).unwrap_or(0)]);
    let ring = RingConfig { entries_max: events(), bytes_max: 1024 * 1024 };
    let slow_ring = RingConfig { entries_max: events(), bytes_max: 256 * 1024 };
    let unread_every = Duration::from_millis(dice.within(200, 5_000));
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
/// Numbers that workloads are told begin here: above those that they choose themselves.
const FRESH_FROM: u64 = 1_000_000;
