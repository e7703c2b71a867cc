//! What a member takes, and what it costs to find one.
//!
//! Paper estimates, of one million members with four roles of 250, a nick of 12 bytes, three in ten online:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `member_bytes_zipf` | 40-48 B | 64-bit id 8, role set 4, joined 8, flags 1, nick 12 with offset and order 4, presence 1; 40,000 role sets of 40 B; see the test beside `crates/members/src/members.rs` |
//! | `member_bytes_random` | 60-64 B | the same, and a role set each: four roles in 2 B, an offset and what finds it, some 24 B |
//! | `member_resident_…` | 1.2-1.6 × | the same in resident memory of a process that built it member by member: folds leave holes in the heap |
//! | `member_read` | 250-400 ns | fence (4 KiB, in cache), then id, role set, nick and joined columns of one page: one dependent miss, the rest overlap |
//! | `first_100_by_prefix` | 200-300 µs | a heap over 489 pages and a binary search in each one's nick order: 11 steps, most of them misses, 0.3-0.5 µs each; 100 records copied, 20 µs |

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use guildhall_members::View;
use guildhall_proto::{RoleId, UserId};

use super::{Bench, Name, Run, alone, count, sample, with_peers};
use crate::limits;
use crate::machine::resident;
use crate::row::{Measured, Sample, Unit};
use crate::worlds::{Random, members, members_with, random_roles, user, view, zipf_roles};

const ZIPF: [&str; 2] = ["member_bytes_zipf", "member_resident_zipf"];
const RANDOM: [&str; 2] = ["member_bytes_random", "member_resident_random"];

/// What a member takes where role sets are few.
pub(super) const BYTES_ZIPF: Bench = Bench {
    rows: &[with_peers(ZIPF[0], PEER_BYTES), alone(ZIPF[1])],
    run: |run| bytes(run, ZIPF, ("four roles of 250 in at most 40,000 sets, by Zipf", zipf_roles), 48.0),
};

/// What it takes where each has a role set of its own.
pub(super) const BYTES_RANDOM: Bench = Bench {
    rows: &[with_peers(RANDOM[0], PEER_BYTES), alone(RANDOM[1])],
    run: |run| bytes(run, RANDOM, ("any four roles of 250", random_roles), 64.0),
};

/// What it costs to find members.
pub(super) const READS: Bench = Bench { rows: &[with_peers("member_read", &["member_read"]), PREFIX], run: reads };

const PREFIX: Name = alone("first_100_by_prefix");
const PEER_BYTES: &[&str] = &["member_bytes"];
const MEMBERS: u64 = 1_000_000;

fn bytes(
    run: &mut Run,
    [by_account, by_resident]: [&str; 2],
    (roles, draw): (&str, fn(&mut Random) -> Vec<RoleId>),
    reach: f64,
) {
    let of = run.size(MEMBERS);
    let before = resident();
    let held = members_with(of, draw);
    let gained = resident() - before;
    let memory = held.memory();
    let each = |bytes: usize| bytes as f64 / of as f64;
    let sizes = format!("{} members, {roles}; nicks of 12 bytes, 3 in 10 online", count(of));
    let by_parts = format!(
        "pages {:.1}, role sets {:.1}, what finds them {:.1}, presence {:.1}, overlay {:.1}",
        each(memory.pages),
        each(memory.role_sets),
        each(memory.role_lookup),
        each(memory.presence),
        each(memory.overlay)
    );
    let what = "bytes a member by account: base, overlay, role sets, presence";
    let total = Sample::once(each(memory.total()));
    run.tell(Measured::new(by_account, (total, Unit::Bytes), &sizes, what).reach(reach).note(by_parts));
    let what =
        "bytes a member that the process has gained in resident memory by building it, holes in the heap among them";
    let gained = Sample::once(gained as f64 / of as f64);
    run.tell(Measured::new(by_resident, (gained, Unit::Bytes), sizes, what).limit(total.middle, "by account"));
}

fn reads(run: &mut Run) {
    let of = run.size(MEMBERS);
    let view = view(&mut members(of));
    let dependent = limits::random_read(256 << 20);
    if run.wants("member_read") {
        let times = run.times(11, 3);
        let (elsewhere, mut random) = (view.clone(), Random(2));
        let users: Vec<UserId> = (0..READS_A_RUN).map(|_| user(random.below(of))).collect();
        let reading = thread::spawn(move || sample(times, || read(&elsewhere, &users)));
        let took = reading.join().expect("it does not panic");
        let what = "a read of a random member from a view on another thread than the one that made it: its roles summed, length of its nick, joined time; ids random, drawn before";
        let sizes = format!("{} members, {} reads a run", count(of), count(READS_A_RUN));
        let row = Measured::new("member_read", (took, Unit::Ns), sizes, what);
        run.tell(row.limit(dependent, "a dependent read at a random place of 256 MiB").reach_times_peer(2.5, 727.0));
    }
    if run.wants(PREFIX.name) {
        let took = sample(run.times(11, 3), || prefix(&view));
        let what = "the first 100 members by nick prefix from a view: whole records, by folded nick; random prefixes of six letters, each of 1/256 of all members, who lie in all pages";
        let sizes = format!("{} members, {} searches a run", count(of), count(SEARCHES_A_RUN));
        let row = Measured::new(PREFIX.name, (took, Unit::Us), sizes, what).reach(50.0);
        run.tell(row.limit(dependent * FOUND as f64 / 1e3, "100 dependent reads at random places of 256 MiB"));
    }
}

/// Nanoseconds of a read.
fn read(view: &View, users: &[UserId]) -> f64 {
    let begin = Instant::now();
    for user in users {
        let seen = view.with_member(black_box(*user), |member| {
            let roles = member.roles().fold(0, |sum: u64, role| sum.wrapping_add(role.get()));
            (member.nick.len(), member.joined_at, roles)
        });
        black_box(seen.expect("every user below the count is a member"));
    }
    begin.elapsed().as_nanos() as f64 / users.len() as f64
}

/// Microseconds of a search.
fn prefix(view: &View) -> f64 {
    let mut random = Random(6);
    let begin = Instant::now();
    for _ in 0..SEARCHES_A_RUN {
        // Nicks are "nick" and eight hexadecimal digits: each 256th has the same first two.
        let prefix = format!("NICK{:02x}", random.below(256));
        let found = view.by_prefix(black_box(&prefix), FOUND);
        assert_eq!(found.len(), FOUND);
        black_box(found);
    }
    begin.elapsed().as_nanos() as f64 / 1e3 / SEARCHES_A_RUN as f64
}

const READS_A_RUN: u64 = 1_000_000;
const SEARCHES_A_RUN: u64 = 200;
const FOUND: usize = 100;
