//! What it costs to publish, and how fast sessions beside the node hear it: 300-byte messages to sessions in 1,000 cohorts that all see the channel.
//!
//! The owner has a thread of its own, whose processor time tells what a publish costs it; relays and sessions have two others.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `publish_10k`, `_100k`, `_1m` | 0.7-1 µs | `publish 300 B` of `micro/guild.rs` 400-600 ns, the mailbox's lock and an answer 200 ns, a wake-up of the relay's task a turn of 64 |
//! | `publish_100_relays`, `publish_1000_channels` | the same, and 100 × 20 ns to wake relays, a turn | a relay is woken once until it has read |
//! | `deliver_10k` | 20-30 M/s | a wake-up, a lock of its door and the load of the ring (100-200 ns), a task scheduled (100 ns) for each session and all events of a burst; a bit test and a reference count for each |
//! | `deliver_100k`, `deliver_1m` | 5-10 M/s | the same, where each touch of a session misses the caches: task, seat, stream and door, 8-10 lines of 50-100 ns |
//! | `deliver_batch_…` | 50-150 M/s | 10 to 1,000 tokens a cohort: a bit test and a slice for each cohort, a load and a store of the consumer for each token |
//!
//! Deliveries are counted by the sessions themselves, in lumps.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guildhall_node::{Backend, BatchItem, BatchSession, Delivery, Pending, SessionStream};
use guildhall_proto::Level;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

use super::{Bench, Run, alone, count, sample, with_peers};
use crate::limits;
use crate::machine::thread_cpu;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Caller, World, attach, foundation, guild_id, runtime, side_by_side};
use crate::worlds::{COHORTS, cohort_roles};

/// Ten thousand sessions.
pub(super) const TEN_K: Bench = Bench {
    rows: &[
        with_peers("publish_10k", &["publish_10k"]),
        with_peers("deliver_batch_10k", &["deliver_10k"]),
        with_peers("deliver_10k", &["deliver_10k"]),
    ],
    run: |run| fan_out(run, ["publish_10k", "deliver_batch_10k", "deliver_10k"], 10_000),
};

/// A hundred thousand.
pub(super) const HUNDRED_K: Bench = Bench {
    rows: &[
        with_peers("publish_100k", &["publish_100k"]),
        with_peers("deliver_batch_100k", &["deliver_100k"]),
        with_peers("deliver_100k", &["deliver_100k"]),
    ],
    run: |run| fan_out(run, ["publish_100k", "deliver_batch_100k", "deliver_100k"], 100_000),
};

/// A million.
pub(super) const MILLION: Bench = Bench {
    rows: &[
        with_peers("publish_1m", &["publish_1m"]),
        with_peers("deliver_batch_1m", &["deliver_1m"]),
        with_peers("deliver_1m", &["deliver_1m"]),
    ],
    run: |run| fan_out(run, ["publish_1m", "deliver_batch_1m", "deliver_1m"], 1_000_000),
};

/// What else a publish must not depend on.
pub(super) const BREADTH: Bench = Bench { rows: &[alone(RELAYS), alone(CHANNELS)], run: breadth };

const RELAYS: &str = "publish_100_relays";
const CHANNELS: &str = "publish_1000_channels";

/// A guild with its owner on one runtime, and its sessions on another.
struct Stage {
    world: World,
    owner: Runtime,
    sessions: Runtime,
    backend: Backend,
    caller: Caller,
}

impl Stage {
    fn new(channels: u64, members: u64) -> Self {
        let (owner, sessions) = (runtime(1), runtime(2));
        let world = World::in_memory(owner.handle());
        let mut caller = world.caller();
        for command in foundation(COHORT_ROLES, channels) {
            world.must(guild_id(1), caller.call(command));
        }
        world.import(guild_id(1), 1..=members, cohort_roles, &mut caller);
        let backend = world.node.backend();
        Self { world, owner, sessions, backend, caller }
    }

    /// What the owner's thread has taken of a processor.
    fn owner_cpu(&self) -> Duration {
        self.owner.block_on(self.owner.spawn(async { thread_cpu() })).expect("reading a clock does not panic")
    }

    /// Publishes so many back to back, a turn's worth under way at a time. If those who hear are named, it stays as near to them as their
    /// relay's ring allows with ease.
    fn publish(&mut self, events: u64, channels: u64, hearing: Option<(&Heard, u64)>) {
        let mut begun: Vec<Pending> = Vec::new();
        let heard_before = hearing.map_or(0, |(heard, _)| heard.count());
        for event in 0..events {
            let call = self.caller.message_to(event % channels);
            begun.push(self.world.node.begin(guild_id(1), call).expect("the mailbox has room"));
            if begun.len() == TURN {
                self.answered(&mut begun);
                if let Some((heard, sessions)) = hearing
                    && let Some(behind) = (event + 1).checked_sub(AHEAD)
                {
                    heard.wait_for(heard_before + behind * sessions, self.sessions.handle());
                }
            }
        }
        self.answered(&mut begun);
        if let Some((heard, sessions)) = hearing {
            heard.wait_for(heard_before + events * sessions, self.sessions.handle());
        }
    }

    fn answered(&self, begun: &mut Vec<Pending>) {
        for pending in begun.drain(..) {
            self.owner.block_on(pending.answer()).expect("the message is accepted");
        }
    }

    /// Nanoseconds of the owner's thread for each event.
    fn publish_cost(&mut self, events: u64, channels: u64, hearing: Option<(&Heard, u64)>) -> f64 {
        let before = self.owner_cpu();
        self.publish(events, channels, hearing);
        (self.owner_cpu() - before).as_nanos() as f64 / events as f64
    }

    fn stop(self) {
        self.world.stop();
    }
}

/// How many deliveries were heard, and a bell for who waits for a number of them.
#[derive(Default)]
struct Heard {
    count: AtomicU64,
    due: AtomicU64,
    reached: Notify,
}

impl Heard {
    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn add(&self, lump: u64) {
        let before = self.count.fetch_add(lump, Ordering::SeqCst);
        let due = self.due.load(Ordering::SeqCst);
        if before < due && before + lump >= due {
            self.reached.notify_one();
        }
    }

    /// Waits until so many were heard in all.
    fn wait_for(&self, deliveries: u64, handle: &Handle) {
        self.due.store(deliveries, Ordering::SeqCst);
        while self.count() < deliveries {
            // A bell of an earlier wait may have been left over.
            let bell = async { tokio::time::timeout(WAITED_MAX, self.reached.notified()).await };
            handle.block_on(bell).expect("sessions that lose events are told a gap, and end this row");
        }
    }
}

fn fan_out(run: &mut Run, [publish, batches, streams]: [&str; 3], full: u64) {
    let sessions = run.size(full);
    let sizes = format!(
        "{} sessions in {} cohorts, one relay, 300 bytes a message",
        count(sessions),
        count(COHORTS.min(sessions))
    );
    let events = (DELIVERIES / sessions).max(256).next_multiple_of(TURN as u64);
    if run.wants_any(&[publish, batches]) {
        let mut stage = Stage::new(1, sessions);
        let heard = Arc::new(Heard::default());
        let held = attach_batches(&stage.sessions, &stage.backend, 1..=sessions, &heard);
        let mut costs = Vec::new();
        let rate = sample(run.times(5, 2), || {
            let begin = Instant::now();
            costs.push(stage.publish_cost(events, 1, Some((&heard, sessions))));
            (events * sessions) as f64 / begin.elapsed().as_secs_f64()
        });
        let cost = Sample::of(costs.into_iter().skip(1));
        let what = "processor's time of the owner's thread for each message published: mailbox, guild, gate, ring, the relay's wake-up, answer; 64 under way at a time, while all sessions hear them through one batch consumer";
        let row = Measured::new(publish, (cost.map(|ns| ns / 1e3), Unit::Us), &sizes, what).reach(1.0);
        run.tell(
            row.limit(limits::channel_send() / 1e3, "an event of 300 bytes made and sent over a bare tokio channel"),
        );
        let what = "deliveries to sessions consumed as batches: from the first publish until the one consumer has counted every event on every session's own counter";
        let row =
            Measured::new(batches, (rate, Unit::PerS), format!("{sizes}, {} messages a run", count(events)), what);
        let limit = limits::push_deliveries(usize::try_from(sessions).expect("sessions fit"), LIMIT_BURST);
        run.tell(row.reach(50e6).limit(limit, "a push to a plain vector each"));
        stage.stop();
        drop(held);
    }
    if run.wants(streams) {
        let mut stage = Stage::new(1, sessions);
        let heard = Arc::new(Heard::default());
        attach_streams(&stage.sessions, &stage.backend, sessions, &heard);
        let events = (STREAM_DELIVERIES / sessions).max(TURN as u64).next_multiple_of(TURN as u64);
        let mut busy = 0.0;
        let rate = sample(run.times(5, 2), || {
            let (begin, before) = (Instant::now(), stage.owner_cpu());
            stage.publish(events, 1, Some((&heard, sessions)));
            let took = begin.elapsed().as_secs_f64();
            busy = (stage.owner_cpu() - before).as_secs_f64() / took;
            (events * sessions) as f64 / took
        });
        let what = "deliveries to a stream in a task each: from the first publish until every session has handed out every event; offered back to back, a woken task reads all there is";
        let row =
            Measured::new(streams, (rate, Unit::PerS), format!("{sizes}, {} messages a run", count(events)), what);
        stage.stop();
        let limit = limits::task_deliveries(&runtime(2), sessions, LIMIT_BURST as u64);
        let row = row
            .limit(limit, "an Arc by try_send to the bare tokio channel of a task each, its sender busy all the while");
        run.tell(
            row.reach(10e6).note(format!("the owner's thread was busy for {:.1} % of the last run", busy * 100.0)),
        );
    }
}

fn breadth(run: &mut Run) {
    let what = |of: &str| {
        format!("processor's time of the owner's thread for each message published, {of}; as publish_10k otherwise")
    };
    if run.wants(RELAYS) {
        let mut stage = Stage::new(1, SOME);
        let heard = Arc::new(Heard::default());
        let mut held = Vec::new();
        for number in 1..=RELAYS_MANY {
            let backend = stage.world.node.backend();
            held.push(attach_batches(&stage.sessions, &backend, number..=number, &heard));
        }
        let cost = sample(run.times(11, 3), || stage.publish_cost(EVENTS, 1, Some((&heard, RELAYS_MANY))) / 1e3);
        let sizes = format!(
            "{RELAYS_MANY} relays with a session and a consumer each, {} members, {} messages a run",
            count(SOME),
            count(EVENTS)
        );
        run.tell(Measured::new(RELAYS, (cost, Unit::Us), sizes, what("to many relays")).reach(1.0));
        stage.stop();
        drop(held);
    }
    if run.wants(CHANNELS) {
        let mut stage = Stage::new(CHANNELS_MANY, SOME);
        let heard = Arc::new(Heard::default());
        let held = attach_batches(&stage.sessions, &stage.backend, 1..=SOME, &heard);
        let cost = sample(run.times(11, 3), || stage.publish_cost(EVENTS, CHANNELS_MANY, Some((&heard, SOME))) / 1e3);
        let sizes = format!(
            "{} channels in turn, {} sessions, {} messages a run",
            count(CHANNELS_MANY),
            count(SOME),
            count(EVENTS)
        );
        run.tell(Measured::new(CHANNELS, (cost, Unit::Us), sizes, what("each to another channel")).reach(1.0));
        stage.stop();
        drop(held);
    }
}

/// Attaches these sessions and has one consumer serve them.
fn attach_batches(
    runtime: &Runtime,
    backend: &Backend,
    numbers: RangeInclusive<u64>,
    heard: &Arc<Heard>,
) -> Vec<BatchSession> {
    let first = *numbers.start();
    runtime.block_on(consume(backend, numbers.clone().count(), Arc::clone(heard)));
    side_by_side(runtime, ATTACHING, numbers, |number| {
        let (backend, attach) = (backend.clone(), attach(number, Level::Active));
        async move { backend.attach_batch(guild_id(1), attach, number - first).await.expect("there is room") }
    })
}

/// Attaches so many sessions, and has a task read each.
fn attach_streams(runtime: &Runtime, backend: &Backend, sessions: u64, heard: &Arc<Heard>) {
    side_by_side(runtime, ATTACHING, 1..=sessions, |number| {
        let (backend, heard) = (backend.clone(), Arc::clone(heard));
        async move {
            let stream = backend.attach(guild_id(1), attach(number, Level::Active)).await.expect("there is room");
            tokio::spawn(listen(stream, heard));
        }
    });
}

async fn consume(backend: &Backend, sessions: usize, heard: Arc<Heard>) {
    let batches = backend.batches(guild_id(1)).await.expect("the guild is there");
    let mut batches = batches.expect("it is the only consumer");
    tokio::spawn(async move {
        let mut touched = vec![0_u64; sessions];
        loop {
            let mut lump = 0;
            let goes_on = batches.read(TURN, |item| match item {
                BatchItem::Event { tokens, .. } => {
                    for token in tokens {
                        touched[*token as usize] += 1;
                    }
                    lump += tokens.len() as u64;
                }
                BatchItem::Gap { gap, .. } => panic!("the consumer keeps up here, but {gap:?}"),
                BatchItem::Unread { .. } | BatchItem::Ephemeral { .. } | BatchItem::Detached { .. } => {}
            });
            if !goes_on.await {
                return;
            }
            heard.add(lump);
        }
    });
}

async fn listen(mut stream: SessionStream, heard: Arc<Heard>) {
    let mut lump = 0;
    while let Some(delivery) = stream.next().await {
        match delivery {
            Delivery::Event(_) => lump += 1,
            Delivery::Gap(gap) => panic!("sessions keep up here, but {gap:?}"),
            Delivery::Unread(_) | Delivery::Ephemeral(_) | Delivery::Detached(_) => {}
        }
        if lump == TURN as u64 {
            heard.add(lump);
            lump = 0;
        }
    }
}

/// Messages under way at a time, and what a session counts in one lump: all runs are whole numbers of it.
const TURN: usize = 64;
/// Messages that sessions may be behind: an eighth of their relay's ring.
const AHEAD: u64 = 512;
/// Deliveries of a run.
const DELIVERIES: u64 = 200_000_000;
const STREAM_DELIVERIES: u64 = 40_000_000;
/// Rounds of the bare channels and vectors.
const LIMIT_BURST: usize = 16;
/// The roles that [`cohort_roles`] draws on.
const COHORT_ROLES: u64 = 64;
/// Attaches under way at a time.
const ATTACHING: usize = 1_024;
const RELAYS_MANY: u64 = 100;
const CHANNELS_MANY: u64 = 1_000;
/// Members and sessions where it is not them that are many.
const SOME: u64 = 1_000;
const EVENTS: u64 = 6_400;
const WAITED_MAX: Duration = Duration::from_secs(120);
