//! Many sessions that come at once, or come back.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `attach_100k` | 0.5-1 s | a task, a mailbox, an answer and a seat: 5-10 µs each on two threads; four relays with a lock each |
//! | `resume_100k` | 1-2 s | the same, a secret signed and one verified (an HMAC of two blocks 1 µs each), a task more, and a look at the past |
//! | `beside_attach` | ≤ 2 × idle | 32 attaches, 6 µs each on two threads, then a rest of a millisecond: one call in twelve meets them, and waits for 100 µs; the burst in which a thousand tasks are begun is 3 % of the time |
//!
//! Measured on two shared cores that were busy with other work, in turns with what attached all at once: attach 2.2 and 2.5 s (before 0.9 and 1.0),
//! resume 2.2 (1.6 and 2.0); beside 1.43 and 1.56 with a p50 of 0.13-0.17 ms (2.5 and 3.2, p50 0.7-1.1 ms), and 2.6 in a third run whose idle p99 was 10 ms.
//! Later, attaches being four times as fast, beside them 3.8 ms where idle was 0.28 (five slices); with a rest behind each 32 attaches 1.86 ms and 0.26 (19 quiet
//! slices), nearly all slow calls in the bursts in which the next thousand tasks are begun.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use guildhall_node::{Backend, Resume, Secret, SessionStream};
use guildhall_proto::{Level, Position};
use tokio::runtime::Runtime;

use super::probe::{Probed, QUIET, Running, SLICE};
use super::{Bench, Run, alone, count};
use crate::limits;
use crate::machine::resident;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{World, attach, guild_id, runtime, side_by_side};

/// Sessions by the hundred thousand.
pub(super) const BENCH: Bench = Bench { rows: &[alone(ATTACH), alone(RESUME), alone(BESIDE)], run };

const ATTACH: &str = "attach_100k";
const RESUME: &str = "resume_100k";
const BESIDE: &str = "beside_attach";

fn run(run: &mut Run) {
    let sessions = run.size(SESSIONS);
    let runtime = runtime(2);
    let world = World::in_memory(runtime.handle());
    let probed = Probed::new(&world, run);
    probed.world.fill(guild_id(PROBED), 0, 1_000, |_| Vec::new());
    probed.world.fill(guild_id(LARGE), 0, sessions, |_| Vec::new());
    if run.wants_any(&[ATTACH, RESUME]) {
        come_and_come_back(run, &runtime, &world, sessions);
    }
    if run.wants(BESIDE) {
        let [idle, during] = probed.in_turns(run.times(QUIET, 3), u64::MAX, |_, [idle, during]| {
            probed.slice(idle, |into| probed.probe(guild_id(PROBED), SLICE, into));
            probed.slice(during, |into| {
                let storm = storm(&world, sessions);
                probed.probe(guild_id(PROBED), SLICE, into);
                storm.end();
            });
        });
        let sizes = format!("{} sessions of another guild, slices of {SLICE:?}", count(sessions));
        let what = "while sessions attach to another guild and detach again, a thousand at a time, back to back";
        run.tell(probed.row(BESIDE, &during, ("idle", &idle), (&sizes, what)).reach(2.0));
    }
    world.stop();
}

fn come_and_come_back(run: &mut Run, runtime: &Runtime, world: &World, sessions: u64) {
    let backends: Vec<Backend> = (0..LINKS).map(|_| world.node.backend()).collect();
    let backend = |number: u64| backends[usize::try_from(number % LINKS).expect("few")].clone();
    let (mut attached, mut resumed, mut gained) = (Vec::new(), Vec::new(), None);
    for _ in 0..=run.times(5, 1) {
        let (before, begin) = (resident(), Instant::now());
        let streams = side_by_side(runtime, AT_ONCE, 0..sessions, |number| {
            let backend = backend(number);
            async move { backend.attach(guild_id(LARGE), attach(number, Level::Active)).await.expect("there is room") }
        });
        attached.push(begin.elapsed().as_secs_f64());
        // Later rounds use again what the first has freed.
        gained = gained.or(Some(resident().saturating_sub(before)));
        let known: Vec<(u64, Secret, Position)> =
            (0..).zip(&streams).map(|(number, stream)| (number, stream.secret(), stream.known())).collect();
        // All connections break: each session is cut, and may come back.
        drop(streams);
        let begin = Instant::now();
        let streams = side_by_side(runtime, AT_ONCE, known, |(number, secret, known)| {
            let (backend, attach) = (backend(number), attach(number, Level::Active));
            async move {
                let resume = Resume { attach, secret, known };
                backend.resume(guild_id(LARGE), resume).await.expect("it was cut a moment ago").session
            }
        });
        resumed.push(begin.elapsed().as_secs_f64());
        side_by_side(runtime, AT_ONCE, streams, detach);
    }
    let sizes = format!(
        "{} sessions of as many members, {LINKS} backends, {} at a time",
        count(sessions),
        count(AT_ONCE as u64)
    );
    // The first warms up.
    let [attached, resumed] = [attached, resumed].map(|runs| Sample::of(runs.into_iter().skip(1)));
    let reach = 5.0 * sessions as f64 / SESSIONS as f64;
    let what = "active sessions with a stream each attach to one guild: from the first call to the last answer";
    let bare = limits::channel_call(runtime, LINKS, AT_ONCE as u64 / LINKS, 100_000) * sessions as f64 / 1e9;
    let limit = "as many calls over bare tokio channels, where nothing is done with a call";
    let note =
        format!("{:.0} B of resident memory gained for each, at first", gained.unwrap_or(0) as f64 / sessions as f64);
    run.tell(Measured::new(ATTACH, (attached, Unit::S), &sizes, what).reach(reach).limit(bare, limit).note(note));
    let what =
        "as many whose connections all broke come back, each with its secret: from the first call to the last answer";
    run.tell(Measured::new(RESUME, (resumed, Unit::S), sizes, what).reach(reach).limit(bare, limit));
}

/// Sessions that attach to the large guild and detach again, until it is over.
fn storm(world: &World, sessions: u64) -> Running {
    let (backend, handle) = (world.node.backend(), world.handle.clone());
    Running::spawn([move |is_over: &AtomicBool| {
        for first in (0..sessions).step_by(AT_ONCE).cycle() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            handle.block_on(async {
                let some = first..sessions.min(first + AT_ONCE as u64);
                let coming: Vec<_> = some
                    .map(|number| {
                        let (backend, attach) = (backend.clone(), attach(number, Level::Active));
                        tokio::spawn(async move {
                            detach(backend.attach(guild_id(LARGE), attach).await.expect("there is room")).await;
                        })
                    })
                    .collect();
                for one in coming {
                    one.await.expect("an attach does not panic");
                }
            });
        }
    }])
}

async fn detach(mut stream: SessionStream) {
    stream.detach().await.expect("it is attached");
}

const SESSIONS: u64 = 100_000;
/// Backends that they come through.
const LINKS: u64 = 4;
/// Attaches under way at a time.
const AT_ONCE: usize = 1_024;
const PROBED: u64 = 1;
const LARGE: u64 = 2;
