//! Who is reached by a ping: `@here` and `@everyone` over all members.
//!
//! 250 roles, four a member, 100 channels, three members in ten online; asked of a channel that is hidden from everyone and shown to
//! four roles and two users, as the peers are, and (`wide`) of one that is hidden from two roles which few hold: nearly all see it. Paper estimates for 1 M members and one worker (one core; 13 ns an independent cache miss, 10 GB/s copied):
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `here_one_zipf` | 0.6-0.9 ms | 489 pages × 4 roles × lists of 3-4 lines (13 ns each) = 0.1 ms; 185 k holders united at 1 ns; 16 k words of the online bitmap, 10 ns each with the decision; 55 k ids in 45 k lines, 5-7 ns each as they are fetched ahead, and 2 ns each to take |
//! | `here_wide_zipf` | 0.8-1.2 ms | few holders; all lines of ids, 8 MB at 19 GB/s; 300 k ids taken at 1-2 ns |
//! | `here_one_random` | 0.3-0.5 ms | 63 k holders, 19 k ids in 18 k lines |
//! | `everyone_one_zipf` | 0.7-1.1 ms | 185 k holders; all lines of ids, 8 MB at 19 GB/s; 185 k ids taken at 1-2 ns |
//! | `everyone_one_random` | 0.5-0.7 ms | 63 k holders, 63 k ids in 50 k lines |
//! | `everyone_wide_…` | 1-1.5 ms | few holders; 8 MB read and 8 MB written into a cache, 16 k words of which most have a gap: 64 ids copied one by one, 20-25 ns |
//! | `…_two_…` | 0.55 × | chunks of 16,384 members, shared by two threads with their caches and one memory |
//! | `…_10m` | 10-12 × | 45 MB of holders and 80 MB of ids: no cache holds either, at 1 M the larger ones do |
//! | `everyone_recipients` | 2-4 ms | two workers at the lowest priority, with 8 MB of fresh memory: 2,000 page faults of 0.25 µs, and eight hand-overs of 20-50 µs, which run beside the next window |
//!
//! Chunks of ids go to a consumer that counts them, on the worker, in a buffer that is kept: a worker waits for its consumer. In
//! `everyone_recipients` the consumer is another thread's: workers fill chunks ahead of it, a window at most.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use guildhall_members::{MembersConfig, Question, View};
use guildhall_proto::{OverwriteTarget, RoleId, UserId};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Bench, Name, Run, alone, count, sample, with_peers};
use crate::limits;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{World, guild_id, runtime};
use crate::worlds::{ROLES, Random, channel, members_with, random_roles, view, zipf_roles};

/// A guild with few role sets.
pub(super) const ZIPF: Bench = Bench {
    rows: &[
        with_peers("here_one_zipf", HERE_ONE),
        with_peers("here_two_zipf", HERE_TWO),
        with_peers("everyone_one_zipf", EVERYONE_ONE),
        alone("everyone_two_zipf"),
        alone("here_wide_zipf"),
        alone("everyone_wide_zipf"),
    ],
    run: |run| scans(run, ZIPF.rows, MILLION, ("in at most 40,000 sets, by Zipf", zipf_roles)),
};

/// A guild in which nearly every member has a role set of its own.
pub(super) const RANDOM: Bench = Bench {
    rows: &[
        with_peers("here_one_random", HERE_ONE),
        with_peers("here_two_random", HERE_TWO),
        with_peers("everyone_one_random", EVERYONE_ONE),
        alone("everyone_two_random"),
        alone("here_wide_random"),
        alone("everyone_wide_random"),
    ],
    run: |run| scans(run, RANDOM.rows, MILLION, ("any", random_roles)),
};

/// A guild ten times as large.
pub(super) const TEN: Bench = Bench {
    rows: &[
        alone("here_one_10m"),
        alone("here_two_10m"),
        alone("everyone_one_10m"),
        alone("everyone_two_10m"),
        alone("here_wide_10m"),
        alone("everyone_wide_10m"),
    ],
    run: |run| scans(run, TEN.rows, 10 * MILLION, ("in at most 40,000 sets, by Zipf", zipf_roles)),
};

/// What the node hands over.
pub(super) const NODE: Bench = Bench { rows: &[alone(RECIPIENTS)], run: recipients };

const RECIPIENTS: &str = "everyone_recipients";
const HERE_ONE: &[&str] = &["here_one"];
/// The best of all there is on that side.
const HERE_TWO: &[&str] = &["here_two", "here_online_table", "here_online_heap"];
const EVERYONE_ONE: &[&str] = &["everyone_one"];
const MILLION: u64 = 1_000_000;
/// A channel that is hidden from everyone and shown to four roles and two users.
const HIDDEN: u64 = 1;
/// Where a role's list begins and ends on a page.
const LIST_PLACE_BYTES: usize = 2 * size_of::<u32>();
/// Ids in a line of the cache.
const IDS_A_LINE: usize = 64 / size_of::<UserId>();
/// A channel that nearly all see, though it has overwrites of two roles and two users.
const WIDE: u64 = 2;

/// How a row asks.
#[derive(Debug, Clone, Copy)]
struct Asking {
    is_here: bool,
    channel: u64,
    workers: usize,
    /// Milliseconds to reach for 1 M members.
    reach: Option<f64>,
}

/// As each bench lists its rows.
const ASKING: [Asking; 6] = [
    Asking { is_here: true, channel: HIDDEN, workers: 1, reach: Some(2.0) },
    Asking { is_here: true, channel: HIDDEN, workers: 2, reach: Some(1.1) },
    Asking { is_here: false, channel: HIDDEN, workers: 1, reach: Some(4.0) },
    Asking { is_here: false, channel: HIDDEN, workers: 2, reach: None },
    Asking { is_here: true, channel: WIDE, workers: 1, reach: Some(2.0) },
    Asking { is_here: false, channel: WIDE, workers: 1, reach: Some(4.0) },
];

fn scans(run: &mut Run, rows: &[Name], of: u64, (sets, draw): (&str, fn(&mut Random) -> Vec<RoleId>)) {
    let of = run.size(of);
    let view = view(&mut members_with(of, draw));
    let (memcpy, read) = (limits::memcpy(), limits::read());
    let pool = ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    for (row, asking) in rows.iter().zip(ASKING) {
        if !run.wants(row.name) {
            continue;
        }
        let channel = channel(asking.channel);
        let question = if asking.is_here { Question::Here { channel } } else { Question::Everyone { channel } };
        let mut reached = 0;
        let took = sample(run.times(15, 5), || {
            let begin = Instant::now();
            reached = if asking.workers == 1 { by_one(&view, question) } else { by_two(&pool, &view, question) };
            begin.elapsed().as_secs_f64() * 1e3
        });
        let moved = Moved::by(&view, question);
        assert_eq!(moved.written, 8.0 * reached as f64, "whoever was found is written");
        let limit = moved.bytes() / 2.0 / memcpy * 1e3;
        let what = format!(
            "ids of {} who can see a channel {}: {}, from the question to the last id, chunks of ascending ids in a kept buffer of each worker, each handed to a consumer on it that counts them",
            if asking.is_here { "the online members" } else { "all members" },
            if asking.channel == HIDDEN {
                "shown to four roles and two users"
            } else {
                "hidden from two roles that few hold"
            },
            if asking.workers == 1 { "one worker" } else { "two workers sharing chunks" },
        );
        let sizes = format!(
            "{} members, four roles of 250, {sets}; {} online, {} reached, {} chunks",
            count(of),
            count(view.online() as u64),
            count(reached as u64),
            view.scan(question).expect("the channel is there").chunks()
        );
        let limit_what = format!(
            "{moved} at the speed of a copy, which reads and writes each byte ({:.1} GB/s; {:.1} GB/s are read in order)",
            memcpy / 1e9,
            read / 1e9
        );
        let row = Measured::new(row.name, (took, Unit::Ms), sizes, what).limit(limit, limit_what);
        let scaled = asking.reach.map(|reach| reach * of as f64 / MILLION as f64);
        run.tell(match scaled {
            // `@everyone` is to take no longer than three such copies either.
            Some(reach) if !asking.is_here => row.reach(reach.min(3.0 * limit)),
            Some(reach) => row.reach(reach),
            None => row,
        });
    }
}

/// Bytes that a scan moves between memory and the processor, as members lie now: what its numbers are bound to.
#[derive(Debug, Default)]
struct Moved {
    /// Roles that decide, and the lists of those who hold them.
    roles: usize,
    lists: f64,
    /// Two bits of each member, where it matters who is online.
    presence: f64,
    /// Memory is read in lines: those with the id of somebody who is found.
    ids: f64,
    /// 8 bytes for each who is found.
    written: f64,
}

impl Moved {
    fn by(view: &View, question: Question) -> Self {
        let ids_of = |question| view.scan(question).expect("channel and role are there").run();
        let (all, found) = (ids_of(Question::All), ids_of(question));
        let pages = all.len().div_ceil(MembersConfig::default().page_members);
        let rows = all.len() / pages;
        // A byte for each holder and for each 255 members between two, or a bit for each member; and where the list lies on each page.
        let list = |holders: usize| {
            let skips = if holders == 0 { 0 } else { rows / 255 };
            (holders / pages + skips).min(rows / 8) + LIST_PLACE_BYTES
        };
        let overwrites = question.channel().and_then(|channel| view.rights().overwrites(channel));
        let everyone = RoleId::everyone(view.rights().guild());
        let deciding =
            overwrites.into_iter().flat_map(|overwrites| overwrites.as_slice()).filter_map(|overwrite| match overwrite
                .target
            {
                OverwriteTarget::Role(role) => (role != everyone).then_some(role),
                OverwriteTarget::User(_) => None,
            });
        let lists: Vec<usize> =
            deciding.map(|role| list(ids_of(Question::Role { role, channel: None }).len()) * pages).collect();
        let (mut place, mut lines, mut last) = (0, 0, None);
        for user in &found {
            // Both ascend.
            place += all[place..].iter().take_while(|other| *other < user).count();
            let line = place / IDS_A_LINE;
            lines += usize::from(last.replace(line) != Some(line));
        }
        Self {
            roles: lists.len(),
            lists: lists.iter().sum::<usize>() as f64,
            presence: if question.is_online_only() { all.len() as f64 / 4.0 } else { 0.0 },
            ids: (lines * IDS_A_LINE * size_of::<UserId>()) as f64,
            written: (found.len() * size_of::<UserId>()) as f64,
        }
    }

    fn bytes(&self) -> f64 {
        self.lists + self.presence + self.ids + self.written
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [all, lists, presence, ids, written] =
            [self.bytes(), self.lists, self.presence, self.ids, self.written].map(|bytes| bytes / 1e6);
        write!(
            f,
            "{all:.2} MB ({lists:.2} read of who holds the {} roles that decide, {presence:.2} of who is online, ",
            self.roles
        )?;
        write!(f, "{ids:.2} of ids in lines of 64 bytes; ids written {written:.2})")
    }
}

fn by_one(view: &View, question: Question) -> usize {
    let scan = view.scan(black_box(question)).expect("the channel is there");
    let (mut ids, mut found) = (Vec::new(), 0);
    for chunk in 0..scan.chunks() {
        ids.clear();
        scan.run_chunk(chunk, &mut ids);
        found += black_box(&ids).len();
    }
    found
}

fn by_two(pool: &ThreadPool, view: &View, question: Question) -> usize {
    pool.install(|| {
        let scan = view.scan(black_box(question)).expect("the channel is there");
        let found = AtomicUsize::new(0);
        (0..scan.chunks()).into_par_iter().for_each_init(Vec::new, |ids, chunk| {
            ids.clear();
            scan.run_chunk(chunk, ids);
            found.fetch_add(black_box(&*ids).len(), Ordering::Relaxed);
        });
        found.into_inner()
    })
}

fn recipients(run: &mut Run) {
    let of = run.size(MILLION);
    let runtime = runtime(2);
    let world = World::in_memory(runtime.handle());
    let mut random = Random(1);
    let roles: Vec<_> = (0..of).map(|_| zipf_roles(&mut random)).collect();
    world.fill(guild_id(1), ROLES, of, |number| roles[usize::try_from(number).expect("members fit")].clone());
    let took: Sample = sample(run.times(15, 5), || {
        let begin = Instant::now();
        let question = Question::Everyone { channel: channel(0) };
        let reached = runtime.block_on(async {
            let mut found = world.node.recipients(guild_id(1), question).await.expect("the channel is there");
            let mut reached = 0;
            while let Some(ids) = found.next().await.expect("nothing panics") {
                reached += black_box(ids).len();
            }
            reached
        });
        let took = begin.elapsed().as_secs_f64() * 1e3;
        assert_eq!(reached as u64, of);
        took
    });
    world.stop();
    let what = "ids of all members who can see a channel, asked of the node: on all of its workers, in fresh memory, as chunks to a consumer on another thread that they wait for; from the call to the last id";
    // No role decides: ids are read and written.
    let bytes = 16.0 * of as f64;
    let limit = bytes / 2.0 / limits::memcpy() * 1e3;
    let sizes = format!("{} members who all see it, in at most 40,000 role sets, two workers", count(of));
    let row = Measured::new(RECIPIENTS, (took, Unit::Ms), sizes, what);
    run.tell(row.limit(limit, format!("{:.1} MB read and written at the speed of a copy", bytes / 1e6)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::{fold, members_with};

    #[test]
    fn what_a_scan_moves_is_counted_as_members_lie() {
        let mut members = members_with(20_000, |_| vec![crate::worlds::role(0)]);
        fold(&mut members);
        let view = view(&mut members);
        let moved = |channel_number: u64, is_here: bool| {
            let channel = channel(channel_number);
            Moved::by(&view, if is_here { Question::Here { channel } } else { Question::Everyone { channel } })
        };
        // Nobody but the users of an overwrite of their own and the owner sees the one, everybody the other.
        let all = moved(0, false);
        assert_eq!((all.roles, all.lists, all.presence, all.ids, all.written), (0, 0.0, 0.0, 160e3, 160e3));
        let here = moved(0, true);
        assert_eq!((here.presence, here.written), (5e3, 8.0 * view.online() as f64));
        assert!((100e3..160e3).contains(&here.ids), "{} of three in ten, at random", here.ids);
        let hidden = moved(HIDDEN, false);
        assert_eq!((hidden.roles, hidden.written), (4, 24.0));
        // Nobody has the roles that show it: each is looked for on ten pages.
        assert_eq!(hidden.lists, 4.0 * 10.0 * 8.0);
    }
}
