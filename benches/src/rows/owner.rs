//! What one command costs the owner, and its caller.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `member_change` | 1.2-1.6 M/s | one outcome kept 50 ns, one event and one record of about 300 bytes made 80 ns, the member found 150 ns (fence, samples, and four lines of memory fetched side by side with those of 31 others), its record read and copied 60 ns, a put 200 ns (two hashes, a record written, an entry sorted into a short run and merged later), a 64th of a view and of the newest run 10 ns, the gate and the ring 80 ns |
//! | `call` | 0.6-1.0 µs | the same, and the body encoded and hashed by the caller 100 ns, the mailbox's lock 50 ns, an answer's channel made and freed 60 ns, a wake-up of 20 µs of either side shared by some 200; the caller's side and the owner's on a core each, a checkpoint every 1,250 changes on both |
//! | `call_1m` | 1-2 µs | the same with caches that miss, on cores that workers share: a fold writes rows and order of all pages, 5-10 ms of a core and a third of a microsecond a change, and takes as many changes as came during the one before |
//!
//! A member change is dearer than what the peer's rows do, a write to a table: it is checked, numbered, recorded, and kept under its operation id.

use std::time::{Duration, Instant};

use guildhall_guild::Input;
use guildhall_proto::{Command, MemberEdit};
use tokio::runtime::Runtime;

use super::{Bench, Run, count, sample, with_peers};
use crate::limits;
use crate::machine::thread_cpu;
use crate::owner::Owner;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{World, guild_id, runtime};
use crate::worlds::{Operations, Random, guild, nick, user, zipf_roles};

/// The owner alone.
pub(super) const CHANGES: Bench = Bench { rows: &[with_peers(CHANGE, &["member_write"])], run: changes };

/// The same, asked by others.
pub(super) const CALLS: Bench =
    Bench { rows: &[with_peers(CALL, &["call"]), with_peers(CALL_LARGE, &["call"])], run: calls };

const CHANGE: &str = "member_change";
const CALL: &str = "call";
const CALL_LARGE: &str = "call_1m";

fn changes(run: &mut Run) {
    let members = run.size(LARGE_MEMBERS);
    let mut owner = Owner::new(guild(members));
    let mut operations = Operations::default();
    // Counters that the world has used are answered, not applied.
    (0..1_000).for_each(|_| drop(operations.call(Command::DeleteGuild)));
    let mut random = Random(5);
    let mut worker = Worker::default();
    let rate = sample(run.times(11, 3), || {
        let before = worker.now;
        for _ in 0..TURNS {
            let inputs: Vec<Input> = (0..TURN_INPUTS)
                .map(|_| {
                    let edit = MemberEdit { nick: Some(nick(random.draw())), ..MemberEdit::default() };
                    Input::Command(operations.call(Command::UpdateMember { user: user(random.below(members)), edit }))
                })
                .collect();
            worker.turn(&mut owner, inputs);
        }
        (TURNS * TURN_INPUTS) as f64 / (worker.now - before).as_secs_f64()
    });
    let what = "member changes (another nick for a random member, whom an operator names) that the owner applies a second, in turns of 64, fingerprints made before by who asks: outcome kept, event and record made, overlay changed, view made, gate and ring passed; processor's time of the owner, and its waits for a worker that folds beside it";
    let sizes = format!("{} members, {} changes a run", count(members), count(TURNS * TURN_INPUTS));
    let changes = (TURNS * TURN_INPUTS) as f64 * f64::from(run.times(11, 3) + 1);
    let each = |time: Duration| time.as_nanos() as f64 / changes;
    let note = format!(
        "a worker took {:.0} ns a change, most of it for folds; the owner waited {:.0} ns a change for them, which is counted",
        each(worker.worked),
        each(worker.waited),
    );
    run.tell(Measured::new(CHANGE, (rate, Unit::PerS), sizes, what).reach(1e6).note(note));
}

/// An owner's time, and a worker beside it, as on another core: what it is asked takes none of that time, and is done as much later as it
/// takes.
#[derive(Default)]
struct Worker {
    now: Duration,
    /// What the guild is to be told of a fold, and when.
    folded: Option<(Vec<Input>, Duration)>,
    worked: Duration,
    waited: Duration,
}

impl Worker {
    /// A turn of the owner, and one more if a fold is done by then, or must be waited for because changes come faster.
    fn turn(&mut self, owner: &mut Owner, inputs: Vec<Input>) {
        let begin = thread_cpu();
        let aside = owner.turn(inputs);
        let begin_aside = thread_cpu();
        self.now += begin_aside - begin;
        let folds = aside.has_fold();
        let told = aside.run();
        let worked = thread_cpu() - begin_aside;
        self.worked += worked;
        if folds {
            self.folded = Some((told, self.now + worked));
        }
        let is_due = |done: &Duration| self.now >= *done || owner.guild.is_congested();
        if let Some((told, done)) = self.folded.take_if(|(_, done)| is_due(done)) {
            let waited = done.saturating_sub(self.now);
            self.waited += waited;
            self.now += waited;
            self.turn(owner, told);
        }
    }
}

fn calls(run: &mut Run) {
    let runtime = runtime(2);
    let limit = run.wants_any(&[CALL, CALL_LARGE]).then(|| limits::channel_call(&runtime, CALLERS, AT_ONCE, CALLED));
    for (name, members) in [(CALL, SMALL_MEMBERS), (CALL_LARGE, run.size(LARGE_MEMBERS))] {
        if !run.wants(name) {
            continue;
        }
        let world = World::in_memory(runtime.handle());
        let mut random = Random(1);
        let roles: Vec<_> = (0..members).map(|_| zipf_roles(&mut random)).collect();
        let index = |number: u64| usize::try_from(number).expect("members are counted in memory");
        world.fill(guild_id(1), crate::worlds::ROLES, members, |number| roles[index(number)].clone());
        let took = calls_of(&runtime, &world, members, run.times(7, 3));
        world.stop();
        let what = "a call that changes a member, wall clock by calls: tasks on the owner's runtime, each with many calls under way, each call waiting for its own answer; over a store in memory";
        let sizes = format!(
            "{} members, {CALLERS} callers, {AT_ONCE} calls of each under way, {} calls a run",
            count(members),
            count(CALLED)
        );
        let row = Measured::new(name, (took, Unit::Ns), sizes, what).reach(1_000.0);
        run.tell(match limit {
            Some(limit) => row.limit(limit, "the same over bare tokio channels, where nothing is done with a call"),
            None => row,
        });
    }
}

fn calls_of(runtime: &Runtime, world: &World, members: u64, times: u32) -> Sample {
    sample(times, || {
        let begin = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (node, mut caller) = (world.node.clone(), world.caller());
                runtime.spawn(async move {
                    for _ in 0..CALLED / (CALLERS * AT_ONCE) {
                        let begun: Vec<_> = (0..AT_ONCE)
                            .map(|_| node.begin(guild_id(1), caller.rename(members)).expect("the mailbox has room"))
                            .collect();
                        for pending in begun {
                            pending.answer().await.expect("the change is accepted");
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            runtime.block_on(caller).expect("a caller ends well");
        }
        begin.elapsed().as_nanos() as f64 / CALLED as f64
    })
}

const LARGE_MEMBERS: u64 = 1_000_000;
const SMALL_MEMBERS: u64 = 10_000;
const TURN_INPUTS: u64 = 64;
/// So many make some dozens of folds.
const TURNS: u64 = 1_000;
const CALLERS: u64 = 4;
const AT_ONCE: u64 = 250;
const CALLED: u64 = 200_000;
