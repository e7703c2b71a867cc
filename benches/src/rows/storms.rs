//! Many sessions that come at once, or come back, and what another guild's callers feel of it: both of the same storms.
//!
//! A hundred thousand sessions attach to one guild through four relays, a thousand at a time, while the [probe](super::probe) calls another
//! guild on the same node; then all their connections break, and all come back; then they go. Slices of the probe without a storm stand before each.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `attach_100k` | 3.6 s | two workers take 28 a millisecond while somebody calls; without a pace a task, a mailbox, an answer and a seat, 5-10 µs each on two threads |
//! | `resume_100k` | 3.6 s | the same, a secret signed and one verified (an HMAC of two blocks 1 µs each), a task more, and a look at the past |
//! | `beside_attach`, `beside_resume` | ≤ 2 × idle | 28 attaches a millisecond, 6 µs each on two threads, each of which offers its core twice: a sixth of the time, in which a call waits for one of them; the burst in which a thousand tasks are begun is 3 % of it |
//! | `attach_memory` | 90-110 MiB | 25-30 MiB for rings, tasks and heaps; a stream that is held without a task 410 B (`session_bytes_held`), its row at the owner and its seat; 1,024 tasks that attach |
//!
//! Measured, p99 of the middle slices beside attaches in place of that idle: without a pace 3.8 and 0.28 ms; with a rest behind each 32 attaches of a relay 0.85-1.0 and 0.12 (attached in
//! 1.6 s); in steps of all relays together, 32 a millisecond, 0.57-0.78 and 0.13 (3.1 s); with cores offered too 0.16-0.26 and 0.10-0.15; with 28 a millisecond 0.14-0.22 and 0.08-0.12
//! (3.6 s), with 24 0.16-0.22 and 0.10-0.15 (4.2 s), with 64 0.4-0.5 and 0.13 (1.6 s).

use std::thread;
use std::time::Instant;

use guildhall_node::{Backend, Resume, Secret, SessionStream};
use guildhall_proto::{Level, Position};
use tokio::runtime::Runtime;

use super::probe::{Probed, QUIET, SLICE};
use super::{Bench, Run, alone, count};
use crate::latency::Slices;
use crate::limits;
use crate::machine::resident;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{World, attach, guild_id, runtime, side_by_side};

/// Sessions by the hundred thousand.
pub(super) const BENCH: Bench =
    Bench { rows: &[alone(ATTACH), alone(RESUME), alone(BESIDE_ATTACH), alone(BESIDE_RESUME), alone(MEMORY)], run };

const ATTACH: &str = "attach_100k";
const RESUME: &str = "resume_100k";
const BESIDE_ATTACH: &str = "beside_attach";
const BESIDE_RESUME: &str = "beside_resume";
const MEMORY: &str = "attach_memory";

/// Who comes, through which relays, and what it takes.
struct Storms<'a> {
    runtime: &'a Runtime,
    probed: &'a Probed<'a>,
    backends: Vec<Backend>,
    sessions: u64,
    /// Resident memory before the first came, and the most there was since.
    before: u64,
    most: u64,
}

/// Seconds that the storms of a round took.
struct Took {
    attach: f64,
    resume: f64,
}

impl Storms<'_> {
    /// All come, break off, come back and go.
    fn round(&mut self, attaching: &mut Slices, resuming: &mut Slices) -> Took {
        let (runtime, sessions, backends) = (self.runtime, self.sessions, self.backends.clone());
        let backend = |number: u64| backends[usize::try_from(number % LINKS).expect("few")].clone();
        let (streams, attach_s) = self.storm(attaching, || {
            side_by_side(runtime, AT_ONCE, 0..sessions, |number| {
                let (backend, attach) = (backend(number), attach(number, Level::Active));
                async move { backend.attach(guild_id(LARGE), attach).await.expect("there is room") }
            })
        });
        let known: Vec<(u64, Secret, Position)> =
            (0..).zip(&streams).map(|(number, stream)| (number, stream.secret(), stream.known())).collect();
        // All connections break: each session is cut, and may come back.
        drop(streams);
        let (streams, resume_s) = self.storm(resuming, || {
            side_by_side(runtime, AT_ONCE, known, |(number, secret, known)| {
                let (backend, attach) = (backend(number), attach(number, Level::Active));
                async move {
                    let resume = Resume { attach, secret, known };
                    backend.resume(guild_id(LARGE), resume).await.expect("it was cut a moment ago").session
                }
            })
        });
        side_by_side(runtime, AT_ONCE, streams, detach);
        Took { attach: attach_s, resume: resume_s }
    }

    /// Sessions that come by `come`, which another thread begins, while the probe goes on: slices that are over before the storm is. What
    /// they are, and how many seconds they took.
    fn storm(
        &mut self,
        slices: &mut Slices,
        come: impl FnOnce() -> Vec<SessionStream> + Send,
    ) -> (Vec<SessionStream>, f64) {
        thread::scope(|scope| {
            let coming = scope.spawn(|| {
                let begin = Instant::now();
                (come(), begin.elapsed().as_secs_f64())
            });
            while !coming.is_finished() {
                // Of a storm of few sessions none is.
                let is_first = slices.measured() == 0;
                self.probed.slice_if(slices, |into| {
                    self.probed.probe(guild_id(PROBED), SLICE, into);
                    is_first || !coming.is_finished()
                });
                self.most = self.most.max(resident());
            }
            coming.join().expect("sessions come without a panic")
        })
    }
}

fn run(run: &mut Run) {
    let sessions = run.size(SESSIONS);
    let runtime = runtime(2);
    let world = World::in_memory(runtime.handle());
    world.fill(guild_id(PROBED), 0, 1_000, |_| Vec::new());
    world.fill(guild_id(LARGE), 0, sessions, |_| Vec::new());
    let probed = Probed::new(&world, run);
    let backends = (0..LINKS).map(|_| world.node.backend()).collect();
    let before = resident();
    let mut storms = Storms { runtime: &runtime, probed: &probed, backends, sessions, before, most: before };
    // The first warms up.
    let [mut aside, mut beside] = [(); 2].map(|()| Slices::default());
    storms.round(&mut aside, &mut beside);
    let (mut attached, mut resumed) = (Vec::new(), Vec::new());
    let [idle, attaching, resuming] =
        probed.in_turns(run.times(QUIET, 3), u64::MAX, |_, [idle, attaching, resuming]| {
            for _ in 0..IDLE_SLICES {
                probed.slice(idle, |into| probed.probe(guild_id(PROBED), SLICE, into));
            }
            let took = storms.round(attaching, resuming);
            attached.push(took.attach);
            resumed.push(took.resume);
        });
    let (before, most) = (storms.before, storms.most);
    let relays = format!("{LINKS} relays, {} at a time", count(AT_ONCE as u64));
    let sizes = format!("{} sessions of as many members, {relays}", count(sessions));
    let reach = 5.0 * sessions as f64 / SESSIONS as f64;
    let bare = limits::channel_call(&runtime, LINKS, AT_ONCE as u64 / LINKS, 100_000) * sessions as f64 / 1e9;
    let limit = "as many calls over bare tokio channels, where nothing is done with a call";
    let what = "active sessions with a stream each attach to one guild, while another guild is called: from the first call to the last answer";
    run.tell(Measured::new(ATTACH, (Sample::of(attached), Unit::S), &sizes, what).reach(reach).limit(bare, limit));
    let what = "as many whose connections all broke come back, each with its secret, while another guild is called: from the first call to the last answer";
    run.tell(Measured::new(RESUME, (Sample::of(resumed), Unit::S), &sizes, what).reach(reach).limit(bare, limit));
    let sizes = format!("{sizes}; the storms of `{ATTACH}` and `{RESUME}`, slices of {SLICE:?}");
    for (name, slices, what) in [
        (BESIDE_ATTACH, &attaching, "while sessions attach to another guild"),
        (BESIDE_RESUME, &resuming, "while sessions whose connections broke come back to another guild"),
    ] {
        run.tell(probed.row(name, slices, ("idle", &idle), (&sizes, what)).reach(2.0));
    }
    world.stop();
    let gained = most - before;
    let what = "resident memory gained by them, at the most in any of these storms, looked at between slices; from before the first came";
    let (each, mib) = (gained as f64 / sessions as f64, 1_048_576.0);
    let bound = WHOEVER_COMES_BYTES_MAX + SESSION_BYTES_MAX * sessions;
    let row = Measured::new(MEMORY, (Sample::once(gained as f64 / mib), Unit::MiB), sizes, what);
    run.tell(row.reach(bound as f64 / mib).note(format!("{each:.0} B a session")));
    assert!(gained <= 2 * bound, "{each:.0} B a session: what storms take is not bounded by them");
}

async fn detach(mut stream: SessionStream) {
    stream.detach().await.expect("it is attached");
}

const SESSIONS: u64 = 100_000;
/// Backends that they come through, each a relay of the guild.
const LINKS: u64 = 4;
/// Attaches under way at a time.
const AT_ONCE: usize = 1_024;
/// Slices without a storm in each round: about as many as a storm has.
const IDLE_SLICES: u32 = 8;
/// However many come: rings of the guild and of four relays, tasks and answers of 1,024 at a time, threads' heaps.
const WHOEVER_COMES_BYTES_MAX: u64 = 32 << 20;
/// Twice what an idle session may take: half of it for what is only there while it comes.
const SESSION_BYTES_MAX: u64 = 1_024;
const PROBED: u64 = 1;
const LARGE: u64 = 2;
