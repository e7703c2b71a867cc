//! What it costs to publish, and how fast sessions beside the node hear it: 300-byte messages to sessions in 1,000 cohorts that all see the channel.
//!
//! The owner has a thread of its own, whose processor time tells what a publish costs it; relays and sessions have two others.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `publish_10k`, `_100k`, `_1m` | 0.7-1 µs | `publish 300 B` of `micro/guild.rs` 300-500 ns, the mailbox's lock and an answer 200 ns, a wake-up of the relay's task a turn of 64 |
//! | `publish_10k_cohorts` | the same as `publish_10k` | a cohort is a bit of an audience, which the relay makes, not the owner |
//! | `publish_100_relays`, `publish_1000_channels` | the same, and 100 × 20 ns to wake relays, a turn | a relay is woken once until it has read |
//! | `deliver_10k` | 20-30 M/s | a wake-up, a lock of its door and the load of the ring (100-200 ns), a task scheduled (100 ns) for each session and all events of a burst; a bit test and a reference count for each |
//! | `deliver_100k`, `deliver_1m` | 5-10 M/s | the same, where each touch of a session misses the caches: task, seat, stream and door, 8-10 lines of 50-100 ns |
//! | `deliver_batch_…` | 50-150 M/s | 10 to 1,000 tokens a cohort: a bit test and a slice for each cohort, a load and a store of the consumer for each token |
//!
//! Measured, once streams were shown their events in place of a reference counted for each: 122-142, 98-103 and 30 M/s to streams (with
//! a reference each 24-25 M/s to 100,000), 300-900 M/s in batches. Sixty-four events a wake-up leave little of its misses to each.
//!
//! Deliveries are counted by the sessions themselves, in lumps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use guildhall_node::{Backend, Pending};
use guildhall_proto::RoleId;
use tokio::runtime::Runtime;

use super::{Bench, Run, alone, count, sample, with_peers};
use crate::hearing::{Heard, LUMP, LUMPS_AHEAD, attach_batches, attach_streams};
use crate::limits;
use crate::machine::thread_cpu;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Caller, World, foundation, guild_id, promptly, runtime};
use crate::worlds::{COHORT_ROLES, COHORTS, cohort_roles, role};

/// Ten thousand sessions.
pub(super) const TEN_K: Bench = Bench {
    rows: &[
        with_peers("publish_10k", &["publish_10k", "publish_kept_10k"]),
        with_peers("deliver_batch_10k", &["deliver_10k", "deliver_kept_10k"]),
        with_peers("deliver_10k", &["deliver_10k", "deliver_kept_10k"]),
    ],
    run: |run| fan_out(run, ["publish_10k", "deliver_batch_10k", "deliver_10k"], 10_000),
};

/// A hundred thousand.
pub(super) const HUNDRED_K: Bench = Bench {
    rows: &[
        with_peers("publish_100k", &["publish_100k", "publish_kept_100k"]),
        with_peers("deliver_batch_100k", &["deliver_100k", "deliver_kept_100k"]),
        with_peers("deliver_100k", &["deliver_100k", "deliver_kept_100k"]),
    ],
    run: |run| fan_out(run, ["publish_100k", "deliver_batch_100k", "deliver_100k"], 100_000),
};

/// A million.
pub(super) const MILLION: Bench = Bench {
    rows: &[
        with_peers("publish_1m", &["publish_1m", "publish_kept_1m"]),
        with_peers("deliver_batch_1m", &["deliver_1m", "deliver_kept_1m"]),
        with_peers("deliver_1m", &["deliver_1m", "deliver_kept_1m"]),
    ],
    run: |run| fan_out(run, ["publish_1m", "deliver_batch_1m", "deliver_1m"], 1_000_000),
};

/// What else a publish must not depend on.
pub(super) const BREADTH: Bench = Bench { rows: &[alone(RELAYS), alone(CHANNELS), alone(COHORTS_MANY)], run: breadth };

const RELAYS: &str = "publish_100_relays";
const CHANNELS: &str = "publish_1000_channels";
const COHORTS_MANY: &str = "publish_10k_cohorts";

/// A guild with its owner on one runtime, and its sessions on another.
struct Stage {
    world: World,
    owner: Runtime,
    sessions: Runtime,
    backend: Backend,
    caller: Caller,
}

impl Stage {
    fn new(channels: u64, members: u64, roles_of: fn(u64) -> Vec<RoleId>) -> Self {
        let (owner, sessions) = (runtime(1), runtime(2));
        let world = World::in_memory(owner.handle());
        let mut caller = world.caller();
        for command in foundation(COHORT_ROLES, channels) {
            world.must(guild_id(1), caller.call(command));
        }
        world.import(guild_id(1), 1..=members, roles_of, &mut caller);
        let backend = world.node.backend();
        Self { world, owner, sessions, backend, caller }
    }

    /// What the owner's thread has taken of a processor.
    fn owner_cpu(&self) -> Duration {
        self.owner.block_on(self.owner.spawn(async { thread_cpu() })).expect("reading a clock does not panic")
    }

    /// Publishes so many lumps of messages back to back, some hundred of them under way, and waits until all are heard, promptly. It stays as near
    /// to those who hear as their relay's ring allows with ease.
    fn publish(&mut self, lumps: u64, channels: u64, heard: &Heard) {
        promptly(|| self.publish_here(lumps, channels, heard));
    }

    fn publish_here(&mut self, lumps: u64, channels: u64, heard: &Heard) {
        let before = heard.complete();
        let mut begun: VecDeque<Pending> = VecDeque::new();
        for lump in 0..lumps {
            for event in lump * LUMP..(lump + 1) * LUMP {
                let call = self.caller.message_to(event % channels);
                begun.push_back(self.world.node.begin(guild_id(1), call).expect("the mailbox has room"));
            }
            if begun.len() == UNDER_WAY {
                begun.drain(..UNDER_WAY / 2).for_each(|pending| self.answered(pending));
            }
            if let Some(behind) = (lump + 1).checked_sub(LUMPS_AHEAD) {
                heard.wait_for(before + behind, self.sessions.handle());
            }
        }
        begun.into_iter().for_each(|pending| self.answered(pending));
        heard.wait_for(before + lumps, self.sessions.handle());
    }

    fn answered(&self, pending: Pending) {
        self.owner.block_on(pending.answer()).expect("the message is accepted");
    }

    /// Microseconds of the owner's thread for each message.
    fn publish_cost(&mut self, lumps: u64, channels: u64, heard: &Heard) -> f64 {
        let before = self.owner_cpu();
        self.publish(lumps, channels, heard);
        (self.owner_cpu() - before).as_nanos() as f64 / 1e3 / (lumps * LUMP) as f64
    }

    fn stop(self) {
        self.world.stop();
    }
}

fn fan_out(run: &mut Run, [publish, batches, streams]: [&str; 3], full: u64) {
    let sessions = run.size(full);
    let sizes = format!(
        "{} sessions in {} cohorts, one relay, 300 bytes a message",
        count(sessions),
        count(COHORTS.min(sessions))
    );
    let runs = run.times(5, 2);
    let lumps = |deliveries: u64, at_least| (deliveries / sessions / LUMP).clamp(at_least, LUMPS_MAX);
    let in_a_run = |lumps: u64| format!("{sizes}, {} messages a run", count(lumps * LUMP));
    if run.wants_any(&[publish, batches]) {
        let (mut stage, heard) = (Stage::new(1, sessions, cohort_roles), Heard::by(1));
        let held = attach_batches(&stage.sessions, &stage.backend, 1..=sessions, &heard);
        let (lumps, mut costs) = (lumps(run.size(BATCH_DELIVERIES), LUMPS_AHEAD), Vec::new());
        let rate = sample(runs, || {
            let begin = Instant::now();
            costs.push(stage.publish_cost(lumps, 1, &heard));
            (lumps * LUMP * sessions) as f64 / begin.elapsed().as_secs_f64()
        });
        stage.stop();
        drop(held);
        // The first warms up.
        let cost = Sample::of(costs.into_iter().skip(1));
        let row = Measured::new(publish, (cost, Unit::Us), in_a_run(lumps), PUBLISHED).reach(1.0);
        let limit = limits::channel_send() / 1e3;
        run.tell(row.limit(limit, "an event of 300 bytes made, sent over a bare tokio channel, and received"));
        let what = "deliveries to sessions consumed as batches: from the first publish until the one consumer has counted every message on every session's own counter";
        let row = Measured::new(batches, (rate, Unit::PerS), in_a_run(lumps), what).reach(50e6);
        let limit = limits::push_deliveries(usize::try_from(sessions).expect("sessions fit"), LIMIT_BURST);
        run.tell(row.limit(limit, "a push to a plain vector each"));
    }
    if run.wants(streams) {
        let (mut stage, heard) = (Stage::new(1, sessions, cohort_roles), Heard::by(sessions));
        attach_streams(&stage.sessions, &stage.backend, sessions, &heard);
        let (lumps, mut busy) = (lumps(run.size(STREAM_DELIVERIES), 1), 0.0);
        let rate = sample(runs, || {
            let (begin, before) = (Instant::now(), stage.owner_cpu());
            stage.publish(lumps, 1, &heard);
            let took = begin.elapsed().as_secs_f64();
            busy = (stage.owner_cpu() - before).as_secs_f64() / took;
            (lumps * LUMP * sessions) as f64 / took
        });
        stage.stop();
        let what = "deliveries to a stream in a task each: from the first publish until every session's task has been shown every message; offered back to back, a woken task reads all there is";
        let row = Measured::new(streams, (rate, Unit::PerS), in_a_run(lumps), what).reach(10e6);
        let limit = promptly(|| limits::task_deliveries(&runtime(2), sessions, LIMIT_BURST as u64));
        let row = row
            .limit(limit, "an Arc by try_send to the bare tokio channel of a task each, its sender busy all the while");
        run.tell(row.note(format!("the owner's thread was busy for {:.1} % of the last run", busy * 100.0)));
    }
}

fn breadth(run: &mut Run) {
    let runs = run.times(11, 3);
    if run.wants(RELAYS) {
        let (mut stage, heard) = (Stage::new(1, SOME, cohort_roles), Heard::by(RELAYS_MANY));
        let mut held = Vec::new();
        for number in 1..=RELAYS_MANY {
            let backend = stage.world.node.backend();
            held.push(attach_batches(&stage.sessions, &backend, number..=number, &heard));
        }
        let cost = sample(runs, || stage.publish_cost(LUMPS, 1, &heard));
        stage.stop();
        drop(held);
        let sizes =
            format!("{RELAYS_MANY} relays with a session and a consumer each, {} messages a run", count(LUMPS * LUMP));
        run.tell(Measured::new(RELAYS, (cost, Unit::Us), sizes, PUBLISHED).reach(1.0));
    }
    if run.wants(CHANNELS) {
        let (mut stage, heard) = (Stage::new(CHANNELS_MANY, SOME, cohort_roles), Heard::by(1));
        let held = attach_batches(&stage.sessions, &stage.backend, 1..=SOME, &heard);
        let cost = sample(runs, || stage.publish_cost(LUMPS, CHANNELS_MANY, &heard));
        stage.stop();
        drop(held);
        let sizes = format!(
            "{} channels in turn, {} sessions, {} messages a run",
            count(CHANNELS_MANY),
            count(SOME),
            count(LUMPS * LUMP)
        );
        run.tell(Measured::new(CHANNELS, (cost, Unit::Us), sizes, PUBLISHED).reach(1.0));
    }
    if run.wants(COHORTS_MANY) {
        let sessions = run.size(10_000);
        let (mut stage, heard) = (Stage::new(1, sessions, own_roles), Heard::by(1));
        let held = attach_batches(&stage.sessions, &stage.backend, 1..=sessions, &heard);
        let cost = sample(runs, || stage.publish_cost(LUMPS, 1, &heard));
        stage.stop();
        drop(held);
        let sizes = format!("{} sessions in as many cohorts, {} messages a run", count(sessions), count(LUMPS * LUMP));
        run.tell(Measured::new(COHORTS_MANY, (cost, Unit::Us), sizes, PUBLISHED).reach(1.0));
    }
}

/// Roles that no other of 16,384 members has together.
fn own_roles(number: u64) -> Vec<RoleId> {
    vec![role(number % 32), role(32 + number / 32 % 32), role(64 + number / 1_024 % 16)]
}

const PUBLISHED: &str = "processor's time of the owner's thread for each message published: mailbox, guild, gate, ring, the relays' wake-ups, answer; hundreds under way, while all sessions hear them through batch consumers";
/// Messages under way at a time.
const UNDER_WAY: usize = 512;
/// Deliveries of a run; but where sessions are many, as many messages for a batch consumer as can be offered without a stop, and a
/// lump for streams.
const BATCH_DELIVERIES: u64 = 200_000_000;
const STREAM_DELIVERIES: u64 = 40_000_000;
const LUMPS_MAX: u64 = 200;
/// Rounds of the bare channels and vectors.
const LIMIT_BURST: usize = 16;
const RELAYS_MANY: u64 = 100;
const CHANNELS_MANY: u64 = 1_000;
/// Members and sessions where it is not them that are many.
const SOME: u64 = 1_000;
/// Lumps where it is not deliveries that count.
const LUMPS: u64 = 100;
