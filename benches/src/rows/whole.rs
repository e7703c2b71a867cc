//! What a guild's own callers feel of what is done with all of it, and what that takes of its owner at a time.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `call_p99_idle` | 30-60 µs | two wake-ups of 20 µs, to the owner and back, and some µs for the call |
//! | `call_p99_scan` | 2 × idle | workers run at the lowest priority, and owners on prompt threads: one that wakes takes its core from them, and finds its caches cold |
//! | `during_scans`, `during_folds` | p99 ≤ 2 × idle | the same: scans, folds and the death of views are workers' |
//! | `during_checkpoints` | p99 ≤ 2 × idle | a checkpoint takes pointers to pages of its owner; a worker encodes and hashes 45 MB, 30-60 ms, and the store's thread writes what is new, in scattered changes nearly all: 200 MB/s, beside which the sync of a call's record waits for the disk |
//! | `during_prune` | p99 ≤ 2 × idle | a batch of 96 holds the owner for 50-180 µs, and behind it the owner rests for a millisecond: one call in ten waits for the rest of a batch, none for two |
//! | `during_role_deletion`, `during_everyone_change` | 1-1.5 × | O(1) for the owner; the fold that cleans a role out is a worker's |
//! | `turn_prune` | 110-180 µs | for each of 96 members two lookups 300 ns and a removal 800 ns; one event, one record |
//! | `turn_role_deletion`, `turn_everyone_change` | 5-20 µs | a path of two small maps, a hash, one event; its share of the digest is one subtraction |
//!
//! Measured on two shared cores, compared by middle slices, in two full runs: prune 1.65, 1.06; role deletion 1.23, 0.30; @everyone 1.05, 0.68; the
//! longest turn 317 µs of a prune, 3.4 and 2.1 µs of the others. Workers of the scheduler's idle class in place of nice ones did not help the prune:
//! p99 1.4-6.5 ms beside 1.6-2.3 ms. What helped was that a removal costs less.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guildhall_guild::{Call, CheckpointConfig, GuildConfig, Input};
use guildhall_node::{Counter, NodeConfig, Question};
use guildhall_proto::{Command, GuildId, Permissions, PruneBy, RoleEdit, RoleId};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

use super::probe::{Probed, QUIET, Running, SLICE};
use super::{Bench, Run, alone, count, with_peers};
use crate::latency::{Slices, latencies, text};
use crate::limits;
use crate::machine::thread_cpu;
use crate::owner::Owner;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Disk, Scratch, World, foundation, guild_id, promptly, runtime};
use crate::worlds::{self, Operations, channel, role};

/// What callers feel.
pub(super) const CALLS: Bench = Bench {
    rows: &[
        with_peers(CALL_IDLE, &[CALL_IDLE]),
        with_peers(CALL_SCAN, &[CALL_SCAN]),
        alone(Load::Scans.name()),
        alone(Load::Folds.name()),
        alone(Load::Checkpoints.name()),
        alone(Change::Prune.name()),
        alone(Change::DeleteRole.name()),
        alone(Change::Everyone.name()),
    ],
    run: calls,
};

/// What an owner takes.
pub(super) const TURNS: Bench = Bench {
    rows: &[alone(Change::Prune.turn()), alone(Change::DeleteRole.turn()), alone(Change::Everyone.turn())],
    run: turns,
};

const CALL_IDLE: &str = "call_p99_idle";
const CALL_SCAN: &str = "call_p99_scan";
const MEMBERS: u64 = 1_000_000;

#[derive(Debug, Clone, Copy)]
enum Load {
    Scans,
    Folds,
    Checkpoints,
}

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Scans => "during_scans",
            Self::Folds => "during_folds",
            Self::Checkpoints => "during_checkpoints",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Scans => "while the ids of @everyone are asked for back to back, on all workers",
            Self::Folds => {
                "while 20,000 random members a second change, which are folded on workers, and views of the last 100 ms die"
            }
            Self::Checkpoints => {
                "while 20,000 random members a second change, and the guild is checkpointed again for each 5,000 of them, to the disk on which records are synced"
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Prune,
    DeleteRole,
    Everyone,
}

impl Change {
    const ALL: [Self; 3] = [Self::Prune, Self::DeleteRole, Self::Everyone];

    const fn name(self) -> &'static str {
        match self {
            Self::Prune => "during_prune",
            Self::DeleteRole => "during_role_deletion",
            Self::Everyone => "during_everyone_change",
        }
    }

    const fn turn(self) -> &'static str {
        match self {
            Self::Prune => "turn_prune",
            Self::DeleteRole => "turn_role_deletion",
            Self::Everyone => "turn_everyone_change",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Prune => "while one member in ten is pruned",
            Self::DeleteRole => "while a role that all hold is deleted",
            Self::Everyone => "while the permissions of @everyone change",
        }
    }

    /// Of this kind, one of many.
    fn command(self, guild: GuildId, time: u64) -> Command {
        match self {
            Self::Prune => Command::PruneMembers(PruneBy::Role(role(HELD))),
            Self::DeleteRole => Command::DeleteRole { role: role(time) },
            Self::Everyone => {
                let permissions = Permissions::VIEW_CHANNEL
                    | if time.is_multiple_of(2) { Permissions::NONE } else { Permissions::SEND_MESSAGES };
                let edit = RoleEdit { permissions: Some(permissions), ..RoleEdit::default() };
                Command::UpdateRole { role: RoleId::everyone(guild), edit }
            }
        }
    }
}

/// The roles of a member of so many: all have [`HELD`], the last tenth one more.
fn roles_of(number: u64, members: u64) -> Vec<RoleId> {
    let held = if number >= members - members / 10 { HELD + 1 } else { HELD };
    (0..held).map(role).collect()
}

fn calls(run: &mut Run) {
    let runtime = runtime(2);
    let mut others = CALLS.rows.iter().filter(|row| row.name != Load::Checkpoints.name());
    if others.any(|row| run.wants(row.name)) {
        calls_over(&World::in_memory(runtime.handle()), &runtime, run);
    }
    if run.wants(Load::Checkpoints.name()) {
        calls_beside_checkpoints(run);
    }
}

/// Over a store on a disk, for which a checkpoint is more than a pointer. Slices count during which parts of one were written, and idle ones
/// during which none was.
fn calls_beside_checkpoints(run: &mut Run) {
    let directory = Scratch::new("checkpoints");
    let checkpoints = CheckpointConfig { changes_max: CHANGES_A_CHECKPOINT, ..CheckpointConfig::default() };
    let config = NodeConfig { guild: GuildConfig { checkpoints, ..GuildConfig::default() }, ..NodeConfig::default() };
    let disk = Disk::open(&directory.0, config);
    let members = fill(&disk.world, run);
    let probed = Probed::new(&disk.world, run);
    // Checkpoints, and parts of them.
    let stored = || {
        let counts = disk.store.store().counts();
        (counts.checkpoints, counts.parts_written)
    };
    let (before, _) = stored();
    let mut beside = 0;
    let [idle, during] = probed.in_turns(run.times(QUIET, 3), u64::MAX, |_, [idle, during]| {
        settle(&disk);
        probed.slice_if(idle, |into| {
            let before = stored();
            probed.probe(large(), SLICE, into);
            stored() == before
        });
        let (_, before) = stored();
        let running = begin(&disk.world, Load::Checkpoints, members);
        wait_for("a checkpoint", || stored().1 > before);
        probed.slice_if(during, |into| {
            let (_, before) = stored();
            probed.probe(large(), SLICE, into);
            let parts = stored().1 - before;
            beside += parts;
            parts > 0
        });
        running.end();
    });
    let checkpoints = stored().0 - before;
    assert!(checkpoints > 0 && beside > 0, "{checkpoints} checkpoints were stored, {beside} parts beside the calls");
    assert!(idle.measured() > 0, "checkpoints were written beside all calls that were to be without");
    let sizes = format!(
        "{}, {checkpoints} checkpoints stored, {} parts of them within the slices",
        sizes(members, &during),
        count(beside)
    );
    let about = (&*sizes, Load::Checkpoints.what());
    run.tell(probed.row(Load::Checkpoints.name(), &during, ("idle", &idle), about).reach(2.0));
    disk.stop();
}

/// Waits until the store has every checkpoint that it was handed, and is handed no more for some calls to the owner.
fn settle(disk: &Disk) {
    let (mut caller, mut calls) = (disk.world.caller(), 0);
    wait_for("the last checkpoint", || {
        disk.world.must(large(), caller.message());
        let counts = disk.world.node.counts();
        let handed = counts.of(Counter::Checkpoints) - counts.of(Counter::CheckpointsFailed);
        calls = if disk.store.store().counts().checkpoints == handed { calls + 1 } else { 0 };
        calls > SETTLED_CALLS
    });
}

/// Looks once a millisecond.
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < WAIT_MAX, "{what} is waited for in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Fills a world with a large guild, and says how many members that has.
fn fill(world: &World, run: &Run) -> u64 {
    let members = run.size(MEMBERS);
    world.fill(large(), HELD + 1, members, |number| roles_of(number, members));
    members
}

fn sizes(members: u64, slices: &Slices) -> String {
    format!("{} members, {} slices", count(members), slices.measured())
}

fn calls_over(world: &World, runtime: &Runtime, run: &mut Run) {
    let (quiet, changes) = (run.times(QUIET, 3), run.times(6, 2));
    let members = fill(world, run);
    let probed = Probed::new(world, run);
    let sizes = |slices: &Slices| sizes(members, slices);
    if run.wants_any(&[CALL_IDLE, CALL_SCAN, Load::Scans.name()]) {
        let [idle, during] = under_load(&probed, Load::Scans, members, quiet);
        let [bare_idle, bare_beside] = probed.in_turns(run.times(QUIET / 3, 3), u64::MAX, |_, [idle, during]| {
            probed.slice(idle, |into| promptly(|| limits::echo(runtime, SLICE, into)));
            probed.slice(during, |into| {
                let running = begin(world, Load::Scans, members);
                promptly(|| limits::echo(runtime, SLICE, into));
                running.end();
            });
        });
        let what = "p99 of 1,000 calls a second from their due times, messages and member changes in turns; of the middle slice";
        let row = Measured::new(CALL_IDLE, (p99(&idle), Unit::Us), sizes(&idle), what).note(text(&idle.all()));
        let row = row.limit(bare_idle.p99(), "the same over bare tokio channels, to a task that only answers");
        run.tell(row.unjudged(Slices::unjudged([&idle])));
        let what = format!("the same {}", Load::Scans.what());
        let row = Measured::new(CALL_SCAN, (p99(&during), Unit::Us), sizes(&during), what).note(text(&during.all()));
        let row = row
            .limit(bare_beside.p99(), "the same over bare tokio channels, beside these scans")
            .reach(2.0 * idle.p99());
        run.tell(row.unjudged(Slices::unjudged([&during, &idle])));
        let about = (&*sizes(&during), Load::Scans.what());
        run.tell(probed.row(Load::Scans.name(), &during, ("idle", &idle), about).reach(2.0));
    }
    if run.wants(Load::Folds.name()) {
        let [idle, during] = under_load(&probed, Load::Folds, members, quiet);
        let about = (&*sizes(&during), Load::Folds.what());
        run.tell(probed.row(Load::Folds.name(), &during, ("idle", &idle), about).reach(2.0));
    }
    for change in Change::ALL.into_iter().filter(|change| run.wants(change.name())).collect::<Vec<_>>() {
        let [idle, during] = around(&probed, change, members, changes);
        run.tell(probed.row(change.name(), &during, ("idle", &idle), (&sizes(&during), change.what())).reach(2.0));
    }
    world.stop();
}

fn p99(slices: &Slices) -> Sample {
    Sample { middle: slices.p99(), ..Sample::of(slices.p99s().into_iter().map(|p99| p99 as f64)) }
}

/// The guild's own callers, without and with a load, in turns.
fn under_load(probed: &Probed<'_>, load: Load, members: u64, quiet: u32) -> [Slices; 2] {
    probed.in_turns(quiet, u64::MAX, |_, [idle, during]| {
        probed.slice(idle, |into| probed.probe(large(), SLICE, into));
        probed.slice(during, |into| {
            let running = begin(probed.world, load, members);
            probed.probe(large(), SLICE, into);
            running.end();
        });
    })
}

fn begin(world: &World, load: Load, members: u64) -> Running {
    let (node, handle, mut caller) = (world.node.clone(), world.handle.clone(), world.caller());
    match load {
        Load::Scans => Running::spawn([move |is_over: &AtomicBool| {
            while !is_over.load(Ordering::Relaxed) {
                let everyone = Question::Everyone { channel: channel(0) };
                let mut found = handle.block_on(node.recipients(large(), everyone)).expect("there is room for a scan");
                let mut chunks = 0;
                while handle.block_on(found.next()).expect("nothing panics").is_some() {
                    chunks += 1;
                }
                assert!(chunks > 0);
            }
        }]),
        Load::Folds | Load::Checkpoints => Running::spawn([move |is_over: &AtomicBool| {
            let (begin, mut offered) = (Instant::now(), 0);
            let (mut begun, mut views) = (VecDeque::new(), VecDeque::new());
            while !is_over.load(Ordering::Relaxed) {
                let due = (begin.elapsed().as_secs_f64() * CHANGES_A_SECOND) as u64;
                while offered < due {
                    begun.push_back(node.begin(large(), caller.rename(members)).expect("the mailbox has room"));
                    offered += 1;
                    // Room is left for the probe, also while the overlay is as large as it may be, and waits for its fold.
                    if begun.len() > BEGUN_MAX
                        && let Some(first) = begun.pop_front()
                    {
                        handle.block_on(first.answer()).expect("the change is accepted");
                    }
                }
                views.push_back(handle.block_on(node.view(large())).expect("the guild is awake"));
                if views.len() > VIEWS_KEPT {
                    views.pop_front();
                }
                thread::sleep(Duration::from_millis(1));
            }
        }]),
    }
}

/// The guild's own callers, without and during a change to all of it.
fn around(probed: &Probed<'_>, change: Change, members: u64, quiet: u32) -> [Slices; 2] {
    let world = probed.world;
    let mut caller = world.caller();
    // There is a role to delete for each.
    probed.in_turns(quiet, HELD - 1, |time, [idle, during]| {
        probed.slice(idle, |into| probed.probe(large(), CHANGE_SLICE, into));
        probed.slice(during, |into| {
            let pending = world.node.begin(large(), caller.call(change.command(large(), time))).expect("there is room");
            probed.probe(large(), CHANGE_SLICE, into);
            world.handle.block_on(pending.answer()).expect("the change is accepted");
        });
        if matches!(change, Change::Prune) {
            world.import(large(), members - members / 10..members, |number| roles_of(number, members), &mut caller);
        }
    })
}

/// The owner's time for a change, turn by turn, without mailbox, task and store.
fn turns(run: &mut Run) {
    let members = run.size(MEMBERS);
    let mut operations = Operations::default();
    let guild = worlds::filled(&mut operations, foundation(HELD + 1, 1), members, |number| roles_of(number, members));
    let mut owner = Owner::new(guild);
    for change in Change::ALL.into_iter().filter(|change| run.wants(change.turn())).collect::<Vec<_>>() {
        let (mut turns, mut longest) = (latencies(), Vec::new());
        for time in 0..u64::from(run.times(7, 3)) {
            let worst =
                change_in_turns(&mut owner, operations.call(change.command(worlds::guild_id(), time)), &mut turns);
            longest.push(worst.as_secs_f64() * 1e6);
            if matches!(change, Change::Prune) {
                let again = members - members / 10..members;
                worlds::import(&mut operations, &mut owner.guild, again, |number| roles_of(number, members));
            }
        }
        let what = format!(
            "the owner's time in the longest of its turns {}: inputs handled, a batch, view, gate, ring; processor's time of the thread",
            change.what()
        );
        let sizes = format!("{} members, {} turns in {} changes", count(members), turns.len(), longest.len());
        let row = Measured::new(change.turn(), (Sample::of(longest), Unit::Us), sizes, what);
        run.tell(row.reach(1_000.0).note(format!("turns: {}", text(&turns))));
    }
}

/// Carries a change out, and says how long its longest turn was.
fn change_in_turns(owner: &mut Owner, call: Call, turns: &mut Histogram<u64>) -> Duration {
    let (mut inputs, mut worst) = (vec![Input::Command(call)], Duration::ZERO);
    while !inputs.is_empty() || owner.guild.has_work() {
        let begin = thread_cpu();
        let aside = owner.turn(inputs.drain(..));
        let took = thread_cpu() - begin;
        turns.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).expect("it resizes");
        worst = worst.max(took);
        inputs = aside.run();
    }
    worst
}

/// Roles that every member of the worlds here holds; the next is held by one in ten.
const HELD: u64 = 12;
/// Less than a prune takes while somebody calls.
const CHANGE_SLICE: Duration = Duration::from_millis(500);
/// Four times a second, in the place of once in five.
const CHANGES_A_CHECKPOINT: u64 = 5_000;
const CHANGES_A_SECOND: f64 = 20_000.0;
/// Calls to the owner, a millisecond apart, within which a fold that is under way has become a checkpoint.
const SETTLED_CALLS: u32 = 100;
/// Longer than any disk should take for the largest guild.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A quarter of what the mailbox takes.
const BEGUN_MAX: usize = 2_000;
/// One a millisecond.
const VIEWS_KEPT: usize = 100;

fn large() -> GuildId {
    guild_id(3)
}
