//! What durability costs: member changes acknowledged after the sync, one alone, and a large guild that starts cold.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `durable_changes` | ≥ 80 % of bare, or 50,000/s | 2,000 calls under way in 8 guilds; while one group is synced, the next gathers. Bare: the same bytes in the same groups, appended and synced with fdatasync by a loop, 0.25-0.4 ms a group |
//! | `durable_call` | bare + 60 µs | three wake-ups of 20 µs: owner, writer, owner; then the caller |
//! | `cold_start` | ≤ 500 ms | 1 M members, tail of 100,000: 45 MB read and checked 20 ms, decoded and summed 120 ms on two threads, 100,000 records read 50 ms and replayed 150 ms |
//!
//! Measured twice on two shared cores. With some other work beside it: bare 409,000/s in groups of 84, acknowledged 207,000/s, 0.51 of bare; one
//! alone 202 µs beside 145 µs bare; cold start 276 ms. Alone, while the host took up to a quarter of both cores: bare 185,000/s in groups of 77,
//! acknowledged 147,000/s, 0.80 of bare; one alone 353 µs beside 197 µs bare; cold start 417 ms. A third time, with 6 % taken by the host: bare 179,000/s in
//! groups of 55, acknowledged 104,000/s, 0.58 of bare; one alone 273 µs beside 193 µs; cold start 478 ms (345-620). Bare appends take an assumed 220 bytes a
//! record, so the ratio is a rough one.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guildhall_guild::{CheckpointConfig, GuildConfig};
use guildhall_node::NodeConfig;
use guildhall_proto::RoleId;

use super::{Bench, Run, alone, count};
use crate::latency::{latencies, note, text};
use crate::limits::append_and_sync;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Disk, Scratch, guild_id};
use crate::worlds::role;

/// Many at a time.
pub(super) const CHANGES: Bench = Bench { rows: &[alone("durable_changes")], run: changes };

/// One at a time.
pub(super) const CALL: Bench = Bench { rows: &[alone("durable_call")], run: call };

/// From nothing.
pub(super) const COLD: Bench = Bench { rows: &[alone("cold_start")], run: cold_start };

fn roles(_: u64) -> Vec<RoleId> {
    (0..ROLES).map(role).collect()
}

/// Member changes acknowledged a second, and what the same bytes cost without Guildhall.
fn changes(run: &mut Run) {
    let time = Duration::from_secs(if run.is_quick() { 1 } else { 4 });
    let directory = Scratch::new("changes");
    let disk = Disk::open(&directory.0, NodeConfig::default());
    (1..=GUILDS).for_each(|guild| disk.world.fill(guild_id(guild), ROLES, GUILD_MEMBERS, roles));
    let (mut rates, mut bares, mut all, mut group) = (Vec::new(), Vec::new(), latencies(), 0.0);
    let times = run.times(5, 2);
    for time_idx in 0..=times {
        let (rate, took, a_group) = acknowledged(&disk, time);
        // In turns, so that both meet the same disk; groups are as long as they just were.
        let bytes = (a_group * RECORD_BYTES as f64) as usize;
        let bare = append_and_sync(&directory.0, bytes, 1_000);
        if time_idx > 0 {
            rates.push(rate);
            bares.push(1e6 / bare.mean() * a_group);
            all += took;
            group = a_group;
        }
    }
    disk.stop();
    let (rate, bare) = (Sample::of(rates), Sample::of(bares));
    let what = "member changes acknowledged a second, each after its record was synced with its group";
    let sizes = format!(
        "{GUILDS} guilds of {} members, {} calls under way, groups of {group:.1} records, {time:?} a run",
        count(GUILD_MEMBERS),
        count(UNDER_WAY)
    );
    let row = Measured::new("durable_changes", (rate, Unit::PerS), sizes, what);
    let limit = format!(
        "an assumed {RECORD_BYTES} bytes a record, in groups as long, appended with fdatasync by a loop; taking turns"
    );
    let note = format!("{:.2} of bare; calls: {}", rate.middle / bare.middle, text(&all));
    run.tell(row.limit(bare.middle, limit).reach((0.8 * bare.middle).min(50_000.0)).note(note));
}

/// Changes a second, how long calls took, and records in a group.
fn acknowledged(disk: &Disk, time: Duration) -> (f64, hdrhistogram::Histogram<u64>, f64) {
    let before = disk.store.store().counts();
    let is_over = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let callers: Vec<_> = (0..UNDER_WAY)
        .map(|number| {
            let (node, is_over, mut caller) = (disk.world.node.clone(), Arc::clone(&is_over), disk.world.caller());
            disk.runtime().spawn(async move {
                let mut took = latencies();
                while !is_over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    let call = caller.rename(GUILD_MEMBERS);
                    node.call(guild_id(1 + number % GUILDS), call).await.expect("within every bound");
                    note(begin, &mut took);
                }
                took
            })
        })
        .collect();
    thread::sleep(time);
    is_over.store(true, Ordering::Relaxed);
    let mut all = latencies();
    for caller in callers {
        all += disk.runtime().block_on(caller).expect("a caller ends well");
    }
    let took = begin.elapsed().as_secs_f64();
    let groups = disk.store.store().counts().groups - before.groups;
    let records = all.len() as f64;
    (records / took, all, records / groups as f64)
}

/// One call after the other, and one append after the other.
fn call(run: &mut Run) {
    let directory = Scratch::new("call");
    let disk = Disk::open(&directory.0, NodeConfig::default());
    disk.world.fill(guild_id(1), ROLES, GUILD_MEMBERS, roles);
    let mut caller = disk.world.caller();
    let (mut took, mut bare) = (latencies(), latencies());
    let mut middles = Vec::new();
    // In turns, so that both meet the same disk.
    for _ in 0..run.times(50, 10) {
        let mut turn = latencies();
        for _ in 0..IN_TURN {
            let begin = Instant::now();
            disk.world.must(guild_id(1), caller.rename(GUILD_MEMBERS));
            note(begin, &mut turn);
        }
        middles.push(turn.value_at_quantile(0.5) as f64);
        took += turn;
        bare += append_and_sync(&directory.0, RECORD_BYTES, IN_TURN);
    }
    disk.stop();
    let ours = Sample { middle: took.value_at_quantile(0.5) as f64, ..Sample::of(middles) };
    let what = "p50 of a member change, from the call to its acknowledgement after the sync, one call after the other";
    let sizes = format!("a guild of {} members, {} calls", count(GUILD_MEMBERS), count(took.len()));
    let row = Measured::new("durable_call", (ours, Unit::Us), sizes, what).note(format!(
        "{}; bare: {}",
        text(&took),
        text(&bare)
    ));
    let limit = format!("p50 of an append of {RECORD_BYTES} bytes with fdatasync, taking turns");
    run.tell(row.limit(bare.value_at_quantile(0.5) as f64, limit));
}

/// From nothing to the first read: the store opened, the guild claimed, its pages read and its tail replayed.
fn cold_start(run: &mut Run) {
    let (members, tail) = (run.size(MEMBERS), run.size(TAIL));
    let directory = Scratch::new("cold");
    // Checkpoints only where this row wants one.
    let checkpoints = CheckpointConfig { changes_min: u64::MAX, changes_max: u64::MAX, ..CheckpointConfig::default() };
    let config =
        || NodeConfig { guild: GuildConfig { checkpoints, ..GuildConfig::default() }, ..NodeConfig::default() };
    let disk = Disk::open(&directory.0, NodeConfig::default());
    disk.world.fill(guild_id(1), ROLES, members, roles);
    disk.stop();
    let disk = Disk::open(&directory.0, config());
    let mut caller = disk.world.caller();
    disk.world.must(guild_id(1), caller.rename(members));
    for _ in 0..tail.div_ceil(AT_ONCE) {
        let begin = |_| disk.world.node.begin(guild_id(1), caller.rename(members)).expect("within every bound");
        let pending: Vec<_> = (0..AT_ONCE).map(begin).collect();
        for pending in pending {
            disk.runtime().block_on(pending.answer()).expect("accepted");
        }
    }
    disk.crash();

    let mut opened = Vec::new();
    // Each start reads the same: the crash leaves the tail as it is, but for a claim.
    let took = super::sample(run.times(5, 2), || {
        let begin = Instant::now();
        let disk = Disk::open(&directory.0, config());
        opened.push(begin.elapsed().as_secs_f64() * 1e3);
        let view = disk.runtime().block_on(disk.world.node.view(guild_id(1))).expect("it is there");
        let took = begin.elapsed().as_secs_f64() * 1e3;
        assert_eq!(view.len() as u64, members);
        drop(view);
        disk.crash();
        took
    });
    let bytes = read_all(&directory.0);
    let read = super::sample(3, || {
        let begin = Instant::now();
        read_all(&directory.0);
        begin.elapsed().as_secs_f64() * 1e3
    });
    let what = "from opening the store's directory to the first view of the guild: logs surveyed, guild claimed, pages read and checked, tail replayed; files in the page cache";
    let sizes =
        format!("{} members, a tail of {} records, {:.0} MB of files", count(members), count(tail), bytes as f64 / 1e6);
    let row = Measured::new("cold_start", (took, Unit::Ms), sizes, what);
    let note = format!("of which {:.0} ms to open the store", Sample::of(opened).middle);
    let reach = 500.0 * members as f64 / MEMBERS as f64;
    run.tell(row.limit(read.middle, "the directory's files read into memory").reach(reach).note(note));
}

/// Reads all files below a directory: how many bytes they have.
fn read_all(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("readable").path());
    entries.map(|path| if path.is_dir() { read_all(&path) } else { fs::read(path).expect("readable").len() }).sum()
}

/// Guilds that are changed side by side.
const GUILDS: u64 = 8;
/// Members of each.
const GUILD_MEMBERS: u64 = 1_000;
/// Roles that each member has.
const ROLES: u64 = 5;
/// Calls under way at any time.
const UNDER_WAY: u64 = 2_000;
/// Of the large guild.
const MEMBERS: u64 = 1_000_000;
const TAIL: u64 = 100_000;
/// Calls to one guild at once: within its mailbox's quota.
const AT_ONCE: u64 = 500;
/// About what the record of a member change with five roles takes in the log: before and after, and the head.
const RECORD_BYTES: usize = 220;
/// Calls, and appends, one after the other before it is the other's turn.
const IN_TURN: u64 = 100;
