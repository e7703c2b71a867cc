//! What idle things take in memory: resident bytes that a process has gained by them, divided by how many there are.
//!
//! Each row runs in a process of its own, so that no row's freed memory hides another's need.
//!
//! | Row | Estimate | From | Measured on 2 cores with glibc's allocator |
//! |---|---|---|---|
//! | `guild_bytes_state` | 2.0-2.3 KB | the page of 20 members 0.9 KB, its directory 0.1 KB, the lists of three roles and three channels 0.5 KB, the struct 0.5 KB | 3.6 KB with trees for lists |
//! | `guild_bytes_created` | 9-11 KB | the woken one, and in the ring what created it, its 20 members among that: 4 KB | 13.6 KB |
//! | `guild_bytes_asleep` | 2.5-3.0 KB | what the store in memory has of it, base and structure; nothing of it is the node's | 3.2 KB |
//! | `guild_bytes_woken` | 6-7 KB | the state 3 KB, of which the store shares the base; the store's structure 1.5 KB; owner, task, mailbox, view and ring 1.8 KB | 7.7 KB |
//! | `guilds_asleep_100k` | 6-15 MiB | 60-150 B each: a row of the store, epoch, and where its checkpoint lies, in a map | 25 MiB with mimalloc, 46 with it and huge pages, 21 with glibc |
//! | `guilds_awake_100k` | 320-380 MiB | 3.3 KB each in use: the state 2.1 KB, what the owner is made from beside it 0.1 KB, mailbox and what readers share 0.4 KB, view 0.2 KB, ring and what is told 0.2 KB, places and the store's rows 0.25 KB; and what the allocator adds to 30 allocations | 373 MiB with mimalloc and huge pages; 635 MiB with glibc and a task each, trees for lists, and all that is kept for the next turn |
//! | `guild_wake_p99` | 1-2 ms | two reads of pages that are cached, a claim synced with those of its neighbours 0.3-0.6 ms, decoding 20 µs, three hand-overs of 20 µs | 4 ms over all of five quiet seconds, 1.8-3.2 in the middle slice; median 0.49 ms: the claim synced 0.28 (the sync 0.21 of it), read 0.04, recovered 0.01, hand-overs 0.15 |
//! | `session_bytes_stream` | 0.7-0.8 KB | a task of 384 or 512 B with the stream in it, its waker and its door 110 B, else as a batch's | 0.8-1.0 KB (before 1.9-3.2) |
//! | `session_bytes_held` | 0.5-0.6 KB | the same with a stream of 220 B in the place of the task | 530-680 B |
//! | `session_bytes_batch` | 330-400 B | rows: the owner's 32 B, the backend's 64, the relay's 56, the batch's 68; indexes of those 40; what its holder has 48 | 1.0 KB while nobody read the batch (before 1.7-3.3); 325 B of live heap |
//!
//! Sessions were measured with mimalloc, beside other work on both cores; the figures before, in turns with them, with glibc's allocator.
//! What is measured beyond the estimates are holes in the heap, rounded sizes, and the half-full nodes of ordered maps.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use guildhall_guild::{Effect, Guild, GuildConfig};
use guildhall_node::{Backend, Batches, Clock, NodeConfig};
use guildhall_proto::limits::OUTCOME_KEPT;
use guildhall_proto::{Command, Epoch, GuildEdit, GuildId, Level, Millis, Name};
use guildhall_store::MemoryStore;
use hdrhistogram::Histogram;

use super::{Bench, Run, alone, count};
use crate::latency::{Slices, at_rate, latencies, text};
use crate::limits::append_and_sync_when_due;
use crate::machine::{Watch, resident};
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Disk, Scratch, World, attach, foundation, guild_id, new_member, runtime, side_by_side};
use crate::worlds::{self, NOW, Operations, Random};

const STATE: &str = "guild_bytes_state";
const CREATED: &str = "guild_bytes_created";
const ASLEEP: &str = "guild_bytes_asleep";
const WOKEN: &str = "guild_bytes_woken";
const ASLEEP_100K: &str = "guilds_asleep_100k";
const AWAKE_100K: &str = "guilds_awake_100k";
const WAKE: &str = "guild_wake_p99";
const STREAM: &str = "session_bytes_stream";
const HELD: &str = "session_bytes_held";
const BATCH: &str = "session_bytes_batch";

/// A process for each.
pub(super) const BENCHES: [Bench; 9] = [
    Bench { rows: &[alone(STATE)], run: state_alone },
    Bench { rows: &[alone(CREATED)], run: |run| in_memory(run, CREATED, Stage::Created) },
    Bench { rows: &[alone(ASLEEP)], run: |run| in_memory(run, ASLEEP, Stage::Asleep) },
    Bench { rows: &[alone(WOKEN)], run: |run| in_memory(run, WOKEN, Stage::Woken) },
    Bench { rows: &[alone(ASLEEP_100K), alone(WAKE)], run: |run| on_disk(run, Stage::Asleep) },
    Bench { rows: &[alone(AWAKE_100K)], run: |run| on_disk(run, Stage::Woken) },
    Bench { rows: &[alone(STREAM)], run: |run| sessions(run, Way::Stream) },
    Bench { rows: &[alone(HELD)], run: |run| sessions(run, Way::Held) },
    Bench { rows: &[alone(BATCH)], run: |run| sessions(run, Way::Batch) },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Created,
    Asleep,
    Woken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A stream in a task of its own.
    Stream,
    /// One of many streams of one task.
    Held,
    Batch,
}

/// What makes a small guild: two roles, three channels, twenty members.
fn small_guild() -> Vec<Command> {
    let members = (1..GUILD_MEMBERS).map(|number| new_member(number, Vec::new())).collect();
    foundation(2, 3).into_iter().chain([Command::ImportMembers(members)]).collect()
}

fn state_alone(run: &mut Run) {
    let guilds = run.size(GUILDS);
    let before = resident();
    let held: Vec<Guild> = (0..guilds).map(|_| woken()).collect();
    let bytes = (resident() - before) / held.len() as u64;
    let what = "resident bytes of a small guild's state alone, as it comes back from a store";
    run.tell(Measured::new(STATE, (Sample::once(bytes as f64), Unit::Bytes), sizes(guilds), what));
}

/// A small guild as it comes back from a store.
fn woken() -> Guild {
    let (config, id) = (GuildConfig::default(), worlds::guild_id());
    let mut state = Guild::new(config.clone(), id, Epoch(1));
    let mut operations = Operations::default();
    for command in small_guild() {
        operations.run(&mut state, command);
    }
    // The last command has brought on a checkpoint of its own.
    operations.run(&mut state, rename());
    let mut effects = Vec::new();
    state.checkpoint(&mut effects);
    let checkpoint = effects.into_iter().find_map(|effect| match effect {
        Effect::Checkpoint(checkpoint) => Some(checkpoint),
        Effect::Fold(_)
        | Effect::Scan(_)
        | Effect::Discard(_)
        | Effect::Record(_)
        | Effect::Append(_)
        | Effect::Tell(_)
        | Effect::Answer(..) => None,
    });
    let checkpoint = checkpoint.expect("something has changed, and no fold is in the way");
    let mut structure = checkpoint.structure.structure();
    structure.operations = Vec::new();
    Guild::restore(config, id, structure, checkpoint.base)
}

fn rename() -> Command {
    let name = Name::parse("another name").expect("a short text is a name");
    Command::UpdateGuild(GuildEdit { name: Some(name) })
}

/// A clock that is told the time.
#[derive(Clone)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW.0)))
    }

    /// Long enough for outcomes to be forgotten.
    fn pass(&self) {
        self.0.fetch_add(OUTCOME_KEPT.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Of a node whose guilds are tidy after two of these rounds, and do not sleep by themselves before eight.
    fn config(&self, round: Duration) -> NodeConfig {
        let now = Arc::clone(&self.0);
        let clock = Clock::from_fn(move || Millis(now.load(Ordering::Relaxed)));
        NodeConfig { clock, sleep_after: 8 * round, ..NodeConfig::default() }
    }
}

fn in_memory(run: &mut Run, name: &str, stage: Stage) {
    let guilds = run.size(GUILDS);
    let round = if run.is_quick() { ROUND / 8 } else { ROUND };
    let (runtime, time) = (runtime(2), Time::new());
    let world = World::over(runtime.handle(), time.config(round), Arc::new(MemoryStore::default()));
    let before = resident();
    let mut caller = world.caller();
    for number in 1..=guilds {
        for command in small_guild() {
            world.must(guild_id(number), caller.call(command));
        }
        if stage != Stage::Created {
            time.pass();
            runtime.block_on(world.node.sleep(guild_id(number))).expect("nobody needs it");
        }
    }
    if stage == Stage::Woken {
        for number in 1..=guilds {
            runtime.block_on(world.node.view(guild_id(number))).expect("it wakes");
        }
    }
    let bytes = idle(&world, stage, guilds, round) - before;
    world.stop();
    let what = match stage {
        Stage::Created => "resident bytes of a small guild that is idle since it was created, node and store in memory",
        Stage::Asleep => "resident bytes of a small guild that sleeps, all of them the store's in memory",
        Stage::Woken => "resident bytes of a small guild that is idle since it woke, node and store in memory",
    };
    run.tell(Measured::new(name, (Sample::once((bytes / guilds) as f64), Unit::Bytes), sizes(guilds), what));
}

/// Resident bytes once all is tidy.
fn idle(world: &World, stage: Stage, guilds: u64, round: Duration) -> u64 {
    // The sweep frees what turns leave behind, two rounds after them: nothing tells that it has. Who sleeps has left nothing.
    std::thread::sleep(round * if stage == Stage::Asleep { 1 } else { 4 });
    let bytes = resident();
    assert_eq!(world.node.awake() as u64, if stage == Stage::Asleep { 0 } else { guilds });
    bytes
}

/// Many guilds with the store on a disk, a hundred at a time for the sake of its syncs.
fn on_disk(run: &mut Run, stage: Stage) {
    let guilds = run.size(GUILDS_ON_DISK);
    // To wake them all takes a minute, and none is to sleep again meanwhile.
    let round = if run.is_quick() { ROUND / 2 } else { 10 * ROUND };
    let (directory, time) = (Scratch::new("memory"), Time::new());
    let disk = Disk::open(&directory.0, time.config(round));
    let (world, runtime) = (&disk.world, disk.runtime());
    let before = resident();
    for first in (1..=guilds).step_by(AT_A_TIME) {
        let some = first..=guilds.min(first + AT_A_TIME as u64 - 1);
        side_by_side(runtime, AT_A_TIME, some.clone(), |number| {
            let (node, mut caller) = (world.node.clone(), world.caller());
            async move {
                for command in small_guild() {
                    node.call(guild_id(number), caller.call(command)).await.expect("accepted");
                }
            }
        });
        // Between the calls: what is issued before it expires by it.
        time.pass();
        side_by_side(runtime, AT_A_TIME, some, |number| {
            let node = world.node.clone();
            async move { node.sleep(guild_id(number)).await.expect("nobody needs it") }
        });
    }
    if stage == Stage::Woken {
        side_by_side(runtime, AT_A_TIME, 1..=guilds, |number| {
            let node = world.node.clone();
            async move { drop(node.view(guild_id(number)).await.expect("it wakes")) }
        });
    }
    let bytes = (idle(world, stage, guilds, round) - before) as f64;
    let (name, what, reach) = match stage {
        Stage::Asleep => {
            (ASLEEP_100K, "resident memory that sleeping small guilds take, node and store on a disk", 40.0)
        }
        Stage::Created | Stage::Woken => (
            AWAKE_100K,
            "resident memory of small guilds that are idle since they woke, node and store on a disk",
            400.0,
        ),
    };
    let row = Measured::new(name, (Sample::once(bytes / (1 << 20) as f64), Unit::MiB), sizes(guilds), what);
    let each = format!("{:.0} B each", bytes / guilds as f64);
    run.tell(row.reach(reach * guilds as f64 / GUILDS_ON_DISK as f64).note(each));
    if run.wants(WAKE) && stage == Stage::Asleep {
        wakes(run, &disk, guilds);
    }
    disk.stop();
}

/// Guilds that sleep are read, each from its due time, in slices of half a second in turns with bare syncs.
fn wakes(run: &mut Run, disk: &Disk, guilds: u64) {
    let wakes = run.size(WAKES);
    // Any of a hundredth of them, each hundredth once: none is awake already.
    let (share, mut random) = (guilds / wakes, Random(9));
    let mut sleeping = (0..wakes).map(|wake| guild_id(1 + wake * share + random.below(share)));
    let directory = Scratch::new("wake");
    let [mut ours, mut bare] = [(); 2].map(|()| Slices::default());
    for _ in 0..WAKE_SLICES {
        let slice = wakes / WAKE_SLICES;
        let watch = Watch::begin();
        let woken = woken_when_due(disk, slice, || sleeping.next().expect("each slice has its share"));
        ours.push(woken, watch.others());
        let watch = Watch::begin();
        bare.push(append_and_sync_when_due(&directory.0, CLAIM_BYTES, slice, WAKES_A_SECOND), watch.others());
    }
    let millis = |micros: u64| micros as f64 / 1e3;
    let p99 = Sample { middle: ours.p99() / 1e3, ..Sample::of(ours.p99s().into_iter().map(millis)) };
    let what = "p99 of a read of a guild that sleeps, until it has its view, from the due time, in the middle slice: claim synced, checkpoint read";
    let sizes = format!("{}, {} of them woken, {WAKES_A_SECOND} a second, open loop", sizes(guilds), count(wakes));
    let row = Measured::new(WAKE, (p99, Unit::Ms), sizes, what).reach(5.0);
    let note =
        format!("{} ({}); bare: {} ({})", text(&ours.all()), ours.quietness(), text(&bare.all()), bare.quietness());
    run.tell(row.note(note).unjudged(Slices::unjudged([&ours])).limit(
        bare.p99() / 1e3,
        "p99 of appends of as many bytes as a claim has, with fdatasync, as many a second from their due times in slices in turn with ours, the middle slice",
    ));
}

/// How long each took of so many wakes of ever other guilds.
fn woken_when_due(disk: &Disk, wakes: u64, mut next: impl FnMut() -> GuildId) -> Histogram<u64> {
    let (tell, told) = mpsc::channel();
    at_rate(wakes, WAKES_A_SECOND, |due| {
        let (node, guild, tell) = (disk.world.node.clone(), next(), tell.clone());
        disk.runtime().spawn(async move {
            drop(node.view(guild).await.expect("it wakes"));
            tell.send(due.elapsed()).expect("somebody counts");
        });
    });
    drop(tell);
    let mut took = latencies();
    for one in told {
        took.record(u64::try_from(one.as_micros()).unwrap_or(u64::MAX)).expect("it resizes");
    }
    took
}

fn sessions(run: &mut Run, way: Way) {
    let sessions = run.size(SESSIONS);
    let runtime = runtime(2);
    let world = World::in_memory(runtime.handle());
    let guild = guild_id(1);
    world.fill(guild, 2, sessions, |_| Vec::new());
    let backend = world.node.backend();
    let batches = runtime.block_on(backend.batches(guild)).expect("a guild").expect("the only consumer");
    let bytes = match way {
        Way::Stream => runtime.block_on(in_tasks(&backend, guild, sessions)),
        Way::Held => runtime.block_on(held(&backend, guild, sessions)),
        Way::Batch => runtime.block_on(in_batch(&backend, guild, sessions, batches)),
    };
    world.stop();
    let (name, what) = match way {
        Way::Stream => {
            (STREAM, "resident bytes of an idle passive session: a task with a stream of its own, seat, relay, owner")
        }
        Way::Held => (
            HELD,
            "resident bytes of an idle passive session whose stream is one of many of one task: stream, seat, relay, owner",
        ),
        Way::Batch => (BATCH, "resident bytes of an idle passive session of a batch consumer: seat, relay, owner"),
    };
    let sizes = format!("{} sessions of as many members of one guild", count(sessions));
    let each = Sample::once((bytes / sessions) as f64);
    run.tell(Measured::new(name, (each, Unit::Bytes), sizes, what).reach(512.0));
}

async fn in_tasks(backend: &Backend, guild: GuildId, sessions: u64) -> u64 {
    let mut tasks = Vec::with_capacity(usize::try_from(sessions).expect("sessions fit"));
    let before = resident();
    for number in 0..sessions {
        let mut stream = backend.attach(guild, attach(number, Level::Passive)).await.expect("attached");
        tasks.push(tokio::spawn(async move { while stream.next().await.is_some() {} }));
    }
    let bytes = resident() - before;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    bytes
}

async fn held(backend: &Backend, guild: GuildId, sessions: u64) -> u64 {
    let mut streams = Vec::with_capacity(usize::try_from(sessions).expect("sessions fit"));
    let before = resident();
    for number in 0..sessions {
        let mut stream = backend.attach(guild, attach(number, Level::Passive)).await.expect("attached");
        let polled = poll_fn(|context| Poll::Ready(stream.poll_next(context))).await;
        assert!(polled.is_pending(), "nothing happens");
        streams.push(stream);
    }
    resident() - before
}

/// The consumer reads all the while, as any does.
async fn in_batch(backend: &Backend, guild: GuildId, sessions: u64, mut batches: Batches) -> u64 {
    let mut held = Vec::with_capacity(usize::try_from(sessions).expect("sessions fit"));
    let reading = tokio::spawn(async move { while batches.read(usize::MAX, |_| {}).await {} });
    let before = resident();
    for number in 0..sessions {
        let session = backend.attach_batch(guild, attach(number, Level::Passive), number).await;
        held.push(session.expect("attached"));
    }
    let bytes = resident() - before;
    reading.abort();
    bytes
}

fn sizes(guilds: u64) -> String {
    format!("{} guilds of {GUILD_MEMBERS} members, three roles and three channels", count(guilds))
}

/// Guilds of one row.
const GUILDS: u64 = 20_000;
/// Guilds of a row on a disk, and how many of them are made side by side.
const GUILDS_ON_DISK: u64 = 100_000;
const AT_A_TIME: usize = 100;
/// Members of each.
const GUILD_MEMBERS: u64 = 20;
/// Sessions of one row.
const SESSIONS: u64 = 100_000;
/// Guilds that are woken one by one.
const WAKES: u64 = 5_000;
const WAKES_A_SECOND: u32 = 1_000;
/// Each of half a second, in a full run. On a shared machine every run has slices in which its host, or the kernel's own work, takes a core for tens of
/// milliseconds: with one such in five seconds it would be the p99.
const WAKE_SLICES: u64 = 10;
/// About what a claim takes in the log.
const CLAIM_BYTES: usize = 100;
/// Of the node's looks for idle guilds: longer than it takes to wake all.
const ROUND: Duration = Duration::from_secs(2);
