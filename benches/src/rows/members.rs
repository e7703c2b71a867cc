//! What a member takes, and what it costs to find one.
//!
//! Paper estimates, of one million members with four roles of 250, a nick of 12 bytes, three in ten online:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `member_bytes_zipf` | 40-48 B | 64-bit id 8, role set 4, joined 8, flags 1, nick 12 with offset and order 4, presence 1; 40,000 role sets of 40 B; a byte for each of four roles among its holders; see the test beside `crates/members/src/members.rs` |
//! | `member_bytes_random` | 58-62 B | the same, and a role set each: four roles in 2 B, an offset, how many have it, 14 B |
//! | `member_resident_…` | 1.2-1.6 × | the same in resident memory of a process that built it member by member: folds leave holes in the heap |
//! | `member_read` | 250-400 ns | fence (4 KiB, in cache), then id, role set, nick and joined columns of one page: one dependent miss, the rest overlap |
//! | `first_100_by_prefix` | 25-35 µs | the order of the whole base, 4 B a member beside the rows above: a binary search of 20 steps, 12 of them two misses each, 4 µs; 100 records with ids and role sets, four misses each, that overlap at 20-30 ns, 10 µs; 200 looks into the overlays, 3 µs; 1,000 changes of 120 B read in order, 10 µs; 100 lists of roles allocated, 5 µs. Without the order, 489 searches of 11 steps, 2-3 ms |
//! | its note | 100-200 ms; 10-15 ms | to make the order: 1 M keys read and sorted, twice as they share their first eight bytes, 16 B an entry. A fold that carries it: ids and nicks of all pages compared, 64 MB, 6 ms; 1 M looks into a table of 4 MB, 5 ms |

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use guildhall_members::{Members, View};
use guildhall_proto::{RoleId, UserId};

use super::{Bench, Name, Run, alone, count, sample, with_peers};
use crate::limits;
use crate::machine::resident;
use crate::row::{Measured, Sample, Unit};
use crate::worlds::{Random, members, members_with, nick, random_roles, user, view, zipf_roles};

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
        "pages {:.1}, role sets {:.1}, their holders {:.1}, what finds them {:.1}, presence {:.1}, overlay {:.1}",
        each(memory.pages),
        each(memory.role_sets),
        each(memory.holders),
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
    let mut members = members(of);
    let view = view(&mut members);
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
    drop(view);
    if run.wants(PREFIX.name) {
        prefixes(run, &mut members, dependent);
    }
}

fn prefixes(run: &mut Run, members: &mut Members, dependent: f64) {
    let of = members.len();
    let mut random = Random(7);
    let folds = |members: &mut Members, random: &mut Random| {
        sample(run.times(5, 3), || {
            change(members, random, CHANGES_A_FOLD);
            let job = members.begin_fold().expect("there are changes");
            let begin = Instant::now();
            let folded = job.run();
            let took = begin.elapsed().as_secs_f64() * 1e3;
            drop(members.install(folded));
            prefix(&view(members), 1);
            took
        })
    };
    let plain = folds(members, &mut random);
    let unordered = view(members);
    let by_page = prefix(&unordered, run.times(50, 10).into());
    let begin = Instant::now();
    unordered.order_nicks();
    let made_ms = begin.elapsed().as_secs_f64() * 1e3;
    let carrying = folds(members, &mut random);
    // As in a guild that lives: half of the changes are being folded, half came since.
    change(members, &mut random, CHANGES / 2);
    let job = members.begin_fold();
    change(members, &mut random, CHANGES / 2);
    let ordered = view(members);
    let memory = members.memory();
    let took = sample(run.times(11, 3), || prefix(&ordered, SEARCHES_A_RUN));
    let what = "the first 100 members by nick prefix from a view whose nicks were ordered: whole records, by folded nick; random prefixes of six letters, each of 1/256 of all members, who lie in all pages";
    let sizes = format!(
        "{} members, {} changes not folded, {} searches a run",
        count(of as u64),
        count(CHANGES),
        count(SEARCHES_A_RUN)
    );
    let each = |bytes: usize| bytes as f64 / of as f64;
    let note = format!(
        "without the order {by_page:.0} us; to make it {made_ms:.0} ms; it takes {:.1} B a member, {:.1} with all else; a fold of {} changes {:.1} ms without it, {:.1} ms carrying it on",
        each(memory.nick_order),
        each(memory.total()),
        count(CHANGES_A_FOLD),
        plain.middle,
        carrying.middle,
    );
    let row = Measured::new(PREFIX.name, (took, Unit::Us), sizes, what).reach(50.0).note(note);
    run.tell(row.limit(dependent * FOUND as f64 / 1e3, "100 dependent reads at random places of 256 MiB"));
    drop(job);
}

/// Changes of a living guild: of ten, six give another role, two another nick, one goes and one comes.
fn change(members: &mut Members, random: &mut Random, changes: u64) {
    let of = members.len() as u64;
    let mut done = 0;
    while done < changes {
        let number = random.below(of);
        let Some(mut member) = members.member(user(number)) else {
            continue;
        };
        match done % 10 {
            0 => drop(members.remove(user(number))),
            1 => {
                let came = of + random.below(of);
                (member.user, member.nick) = (user(came), nick(came));
                members.put(&member);
            }
            2 | 3 => {
                member.nick = nick(random.draw());
                members.put(&member);
            }
            _ => {
                member.roles = zipf_roles(random);
                members.put(&member);
            }
        }
        done += 1;
    }
}

/// Nanoseconds of a read.
fn read(view: &View, users: &[UserId]) -> f64 {
    let begin = Instant::now();
    for user in users {
        let seen = view.with_member(black_box(*user), |member| {
            let roles = member.roles().fold(0, |sum: u64, role| sum.wrapping_add(role.get()));
            (member.nick().len(), member.joined_at, roles)
        });
        black_box(seen.expect("every user below the count is a member"));
    }
    begin.elapsed().as_nanos() as f64 / users.len() as f64
}

/// Microseconds of a search, of so many.
fn prefix(view: &View, searches: u64) -> f64 {
    let mut random = Random(6);
    let begin = Instant::now();
    for _ in 0..searches {
        // Nicks are "nick" and eight hexadecimal digits: each 256th has the same first two.
        let prefix = format!("NICK{:02x}", random.below(256));
        let found = view.by_prefix(black_box(&prefix), FOUND);
        assert_eq!(found.len(), FOUND);
        black_box(found);
    }
    begin.elapsed().as_nanos() as f64 / 1e3 / searches as f64
}

const READS_A_RUN: u64 = 1_000_000;
const SEARCHES_A_RUN: u64 = 200;
const FOUND: usize = 100;
/// Changes that wait for a fold while searches run.
const CHANGES: u64 = 1_000;
/// As many as make a fold due.
const CHANGES_A_FOLD: u64 = 2_048;
