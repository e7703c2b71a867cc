//! What another guild's callers feel of trouble beside them.
//!
//! Rounds of three slices of the [probe](super::probe) are interleaved: *idle*, the probe alone; *trouble*; and *burnt*, where threads
//! outside Guildhall burn as much CPU as the trouble took in this round, in pieces as long. What trouble costs beyond the CPU that anything
//! takes is the ratio of the last two.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `beside_hot_guild` | p99 ≤ 1.5 × burnt | 100,000 messages/s are 60 % of a core in turns of at most 250 µs; the probe's guild has a turn of its own between two of them |
//! | `beside_panicking_job` | ≤ 1.5 × | a job panics in a worker, its guild is loaded again on workers: neither is the probe's thread |
//! | `beside_reader`, `beside_batch` that never read | ≤ 1.5 × | a cursor that nobody moves: nothing is done for it |
//!
//! Measured on two shared cores, compared by middle slices, in two full runs: hot guild 1.04, 1.03; panicking job 1.29, 0.67; reader 1.26, 1.32;
//! batch 3.08, 1.18, and alone 1.03, 0.95. The middle p99 without trouble was 1.6 to 3.8 ms in these, for the host takes cores away. Before owners and
//! relays had an allocator that frees for other threads without a lock, the batch was missed each time: 1.76, 1.85. In all these each round left a relay of
//! its own, which went on for a minute; with one for all rounds: reader 0.67, batch 1.13.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guildhall_node::{Backend, Node};
use guildhall_proto::{CallError, Level};

use super::probe::{PROBE_RATE, Probed, QUIET, Running, SLICE};
use super::{Bench, Run, alone};
use crate::latency::Slices;
use crate::machine::cpu;
use crate::shell::{Caller, World, attach, guild_id, runtime};

/// Trouble in one guild, felt in another.
pub(super) const BENCH: Bench = Bench {
    rows: &[
        alone(Trouble::HotGuild.name()),
        alone(Trouble::PanickingJob.name()),
        alone(Trouble::Reader.name()),
        alone(Trouble::Batch.name()),
    ],
    run,
};

#[derive(Debug, Clone, Copy)]
enum Trouble {
    HotGuild,
    PanickingJob,
    Reader,
    Batch,
}

impl Trouble {
    const ALL: [Self; 4] = [Self::HotGuild, Self::PanickingJob, Self::Reader, Self::Batch];

    const fn name(self) -> &'static str {
        match self {
            Self::HotGuild => "beside_hot_guild",
            Self::PanickingJob => "beside_panicking_job",
            Self::Reader => "beside_reader",
            Self::Batch => "beside_batch",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::HotGuild => "while another guild is offered 100 times the load",
            Self::PanickingJob => "while a job of another guild panics every 10 ms, and the guild is loaded again",
            Self::Reader => "while another guild is offered 100 times the load and has a stream that never reads",
            Self::Batch => "while another guild is offered 100 times the load and has a batch that is never read",
        }
    }

    fn rhythm(self) -> Rhythm {
        match self {
            // Turns and runs of events, on both cores.
            Self::HotGuild | Self::Reader | Self::Batch => Rhythm { every: Duration::from_micros(500), threads: 2 },
            // The guild is loaded again, in one go.
            Self::PanickingJob => Rhythm { every: PANIC_EVERY, threads: 1 },
        }
    }
}

fn run(run: &mut Run) {
    let quiet = run.times(QUIET, 2);
    let runtime = runtime(2);
    let world = World::in_memory(runtime.handle());
    let probed = Probed::new(&world, run);
    // One for all rounds: who is cut may come back for a time, and until then its relay goes on.
    let backend = world.node.backend();
    for number in [PROBED, HIT] {
        probed.world.fill(guild_id(number), 0, GUILD_MEMBERS, |_| Vec::new());
    }
    for trouble in Trouble::ALL.into_iter().filter(|trouble| run.wants(trouble.name())).collect::<Vec<_>>() {
        let [idle, hit, burnt] = compare(&probed, &backend, trouble, quiet);
        let sizes =
            format!("two guilds of 1,000 members, rounds of three slices of {SLICE:?}; p99 idle {} µs", idle.p99());
        let beside = "while the same CPU is burnt outside";
        run.tell(probed.row(trouble.name(), &hit, (beside, &burnt), (&sizes, trouble.what())).reach(1.5));
    }
    world.stop();
}

/// Idle, trouble and burnt, in turns.
fn compare(probed: &Probed<'_>, backend: &Backend, trouble: Trouble, quiet: u32) -> [Slices; 3] {
    let probe = |into: &mut _| probed.probe(guild_id(PROBED), SLICE, into);
    probed.in_turns(quiet, u64::MAX, |_, [idle, hit, burnt]| {
        let alone = probed.slice(idle, |into| cpu_of(|| probe(into)));
        let troubled = probed.slice(hit, |into| {
            cpu_of(|| {
                let trouble = begin(probed.world, backend, trouble);
                probe(into);
                trouble.end();
            })
        });
        let share = (troubled.saturating_sub(alone)).as_secs_f64() / SLICE.as_secs_f64();
        probed.slice(burnt, |into| {
            let burning = burn(share, trouble.rhythm());
            probe(into);
            burning.end();
        });
    })
}

fn begin(world: &World, backend: &Backend, trouble: Trouble) -> Running {
    let (node, handle, mut caller) = (world.node.clone(), world.handle.clone(), world.caller());
    match trouble {
        Trouble::HotGuild => Running::spawn([move |is_over: &AtomicBool| hot(&node, &mut caller, is_over)]),
        Trouble::PanickingJob => Running::spawn([move |is_over: &AtomicBool| {
            // What panics here is meant to; everybody else's panics are to be seen again behind this row.
            let shown = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            while !is_over.load(Ordering::Relaxed) {
                let panicked = handle.block_on(node.filter(guild_id(HIT), |_, _| panic!("as this row wants")));
                assert!(panicked.is_err(), "it cannot succeed");
                thread::sleep(PANIC_EVERY);
            }
            std::panic::set_hook(shown);
        }]),
        Trouble::Reader => {
            let stream = handle.block_on(backend.attach(guild_id(HIT), attach(0, Level::Active)));
            let stream = stream.expect("there is room");
            Running::spawn([move |is_over: &AtomicBool| {
                hot(&node, &mut caller, is_over);
                black_box(&stream);
            }])
        }
        Trouble::Batch => {
            let session = handle.block_on(backend.attach_batch(guild_id(HIT), attach(0, Level::Active), 1));
            let session = session.expect("there is room");
            Running::spawn([move |is_over: &AtomicBool| {
                hot(&node, &mut caller, is_over);
                black_box(&session);
            }])
        }
    }
}

/// Publishes at the hot guild's rate, whatever becomes of it.
fn hot(node: &Node, caller: &mut Caller, is_over: &AtomicBool) {
    let begin = Instant::now();
    let mut offered = 0;
    while !is_over.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * (PROBE_RATE * HOT) as f64) as u64;
        while offered < due {
            match node.begin(guild_id(HIT), caller.message()) {
                Ok(pending) => drop(pending),
                Err(CallError::Overloaded { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            offered += 1;
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// Burns so many cores' time, in pieces as long as the trouble's own.
fn burn(cores: f64, rhythm: Rhythm) -> Running {
    let spin = rhythm.every.mul_f64((cores / rhythm.threads as f64).clamp(0.0, 1.0));
    Running::spawn((0..rhythm.threads).map(|_| {
        move |is_over: &AtomicBool| {
            while !is_over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                while begin.elapsed() < spin {
                    black_box(begin);
                }
                thread::sleep(rhythm.every.saturating_sub(begin.elapsed()));
            }
        }
    }))
}

/// How the CPU time of a trouble is spread.
struct Rhythm {
    every: Duration,
    threads: usize,
}

/// What the process takes of the processors meanwhile.
fn cpu_of(work: impl FnOnce()) -> Duration {
    let before = cpu();
    work();
    cpu().saturating_sub(before)
}

const PANIC_EVERY: Duration = Duration::from_millis(10);
/// A hot guild's load, as a multiple of the probe's.
const HOT: u64 = 100;
const PROBED: u64 = 1;
const HIT: u64 = 2;
const GUILD_MEMBERS: u64 = 1_000;
