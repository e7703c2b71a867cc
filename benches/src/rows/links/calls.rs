//! Calls, one at a time and 64, beside bare QUIC's of the same bytes.

use std::time::{Duration, Instant};

use guildhall_node::NodeConfig;
use guildhall_proto::call::{Answer, Ask, Freshness, Read, Request, Within};
use guildhall_proto::frame::{self, Kind};
use guildhall_proto::{Actor, AsOf, ClientId, Command, Millis, OpId, Outcome, Position, Reply, Versions};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{Bench, Linked, MEMBERS, Run, alone, count, member, message, publish, rename, renaming};
use crate::bare::Bare;
use crate::latency::{latencies, note, text};
use crate::limits;
use crate::processes::Cluster;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Disk, Scratch, guild_id, runtime};
use crate::worlds::{COHORT_ROLES, Random, cohort_roles, nick, user};

/// Calls, one at a time and 64.
pub(in crate::rows) const CALLS: Bench = Bench { rows: &[alone(MEMBER), alone(PUBLISH), alone(MANY)], run: calls };
/// A durable one.
pub(in crate::rows) const DURABLE: Bench = Bench { rows: &[alone(DURABLY)], run: durable };

const MEMBER: &str = "link_member";
const PUBLISH: &str = "link_publish";
const MANY: &str = "link_64_calls";
const DURABLY: &str = "link_durable";

/// Bytes of a call's two frames.
#[derive(Debug, Clone, Copy)]
struct Frames {
    request: usize,
    answer: usize,
}

impl Linked {
    /// Has a task on the runtime do that so many times, one after the other: how long each took.
    fn one_by_one<F>(&self, times: u64, act: impl Fn(u64) -> F + Send + 'static) -> Histogram<u64>
    where
        F: Future<Output = ()> + Send,
    {
        let acting = self.runtime.spawn(async move {
            let mut took = Histogram::new(3).expect("3 digits");
            for time in 0..times {
                let begin = Instant::now();
                act(time).await;
                took.record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)).expect("it resizes");
            }
            took
        });
        self.runtime.block_on(acting).expect("a call is answered")
    }

    /// The same by 64 tasks at once, so many times in all: how many a second.
    fn at_once<F>(&self, times: u64, act: impl Fn(u64) -> F + Clone + Send + 'static) -> f64
    where
        F: Future<Output = ()> + Send,
    {
        let begin = Instant::now();
        let acting = self.runtime.spawn(async move {
            let mut tasks = JoinSet::new();
            for task in 0..AT_ONCE {
                let act = act.clone();
                tasks.spawn(async move {
                    for time in 0..times / AT_ONCE {
                        act(task * times + time).await;
                    }
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("a call is answered");
            }
        });
        self.runtime.block_on(acting).expect("a call is answered");
        times as f64 / begin.elapsed().as_secs_f64()
    }
}

impl Frames {
    fn of(request: Request, answer: &Answer) -> Self {
        let within = Within::new(Duration::from_secs(10)).expect("ten seconds are a time");
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        let version = Versions::SUPPORTED.greatest();
        frame::append_value(Kind::Request, version, &Ask { within, request }, &mut asked).expect("it fits");
        frame::append_value(Kind::Answer, version, answer, &mut answered).expect("it fits");
        Self { request: asked.len(), answer: answered.len() }
    }

    fn of_member() -> Self {
        let read = Read::Member(user(1));
        let request = Request::Read { guild: guild_id(1), freshness: Freshness::Latest, read };
        let member = guildhall_proto::Member {
            user: user(1),
            nick: nick(1),
            roles: crate::worlds::cohort_roles(1),
            joined_at: crate::worlds::NOW,
            flags: guildhall_proto::MemberFlags::NONE,
        };
        let as_of = AsOf { at: Position::default(), stale_for: None };
        Self::of(request, &Answer::Member { as_of, member })
    }

    fn of_call(command: Command) -> Self {
        let op = OpId { client: ClientId::MIN, counter: 1 << 40, issued_at: Millis(crate::worlds::NOW.0) };
        let (request, _) = Request::command(guild_id(1), op, Actor::System, command);
        Self::of(request, &Answer::Reply(Reply::Outcome(Outcome::Applied { at: Position::default() })))
    }
}

fn calls(run: &mut Run) {
    let linked = Linked::new(run.size(MEMBERS));
    let bare = linked.bare();
    for name in [MEMBER, PUBLISH].into_iter().filter(|name| run.wants(name)).collect::<Vec<_>>() {
        run.tell(beside_bare(&linked, &bare, run, name));
    }
    if run.wants(MANY) {
        let (times, members) = (run.size(200_000), linked.members);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let Frames { request, answer } = Frames::of_member();
        for _ in 0..=run.times(7, 2) {
            let guild = linked.guild.clone();
            ours.push(linked.at_once(times, move |number| {
                let guild = guild.clone();
                async move { member(&guild, Random(number).draw() % members).await }
            }));
            let bare = bare.clone();
            theirs.push(linked.at_once(times, move |_| {
                let bare = bare.clone();
                async move { bare.call(request, answer).await }
            }));
        }
        // The first warm up.
        let [ours, theirs] = [ours, theirs].map(|rates| Sample::of(rates.into_iter().skip(1)));
        let sizes = format!("{} members, 64 tasks, {} calls a run", count(members), count(times));
        let what = "reads of random members by calls to another process, 64 under way";
        let row = Measured::new(MANY, (ours, Unit::PerS), sizes, what).reach(0.8 * theirs.middle);
        run.tell(row.limit(theirs.middle, "bare quinn's calls of the same bytes; 80 % of it is to be reached"));
    }
}

/// Calls one by one, in turns with bare QUIC: the p50 of each run beside its neighbour's.
fn beside_bare(linked: &Linked, bare: &Bare, run: &Run, name: &'static str) -> Measured {
    // Short turns, for whoever else is on the machine comes and goes.
    let (times, members, is_publish) = (run.size(500), linked.members, name == PUBLISH);
    let frames =
        if is_publish { Frames::of_call(Command::Publish(message(vec![7; 300]))) } else { Frames::of_member() };
    let Frames { request, answer } = frames;
    let (mut ratios, mut all, mut all_bare) = (Vec::new(), latencies_ns(), latencies_ns());
    for round in 0..=run.times(150, 20) {
        let guild = linked.guild.clone();
        let ours = linked.one_by_one(times, move |number| {
            let guild = guild.clone();
            async move {
                if is_publish {
                    publish(&guild, 300).await
                } else {
                    member(&guild, Random(number).draw() % members).await
                }
            }
        });
        let bare = bare.clone();
        let theirs = linked.one_by_one(times, move |_| {
            let bare = bare.clone();
            async move { bare.call(request, answer).await }
        });
        // The first warms up.
        if round > 0 {
            ratios.push(ours.value_at_quantile(0.5) as f64 / theirs.value_at_quantile(0.5) as f64);
            all.add(ours).expect("both resize");
            all_bare.add(theirs).expect("both resize");
        }
    }
    let (reach, what) = match is_publish {
        true => (
            1.5,
            "p50 of a message of 300 bytes published through its owner in another process, one by one, as a multiple of bare quinn's echo of the same bytes",
        ),
        false => (
            1.15,
            "p50 of a read of a random member from a view in another process, one by one, as a multiple of bare quinn's echo of the same bytes",
        ),
    };
    let sizes =
        format!("{} members, {} calls a run; {request} bytes to and {answer} from", count(members), count(times));
    let row = Measured::new(name, (Sample::of(ratios), Unit::Times), sizes, what).reach(reach);
    row.note(format!("ours: {}; bare: {}", text_ns(&all), text_ns(&all_bare)))
}

fn durable(run: &mut Run) {
    let (runtime, cluster, scratch) = (runtime(2), Cluster::new(), Scratch::new("links"));
    let members = run.size(100_000);
    let node = cluster.guild_node(members, Some(scratch.0.join("data")));
    let client = cluster.client(&runtime, node.address);
    let linked = Linked { guild: client.guild(guild_id(1)), client, runtime, node, cluster, members };
    let (bare, times) = (linked.bare(), run.size(200));
    let Frames { request, answer } = Frames::of_call(renaming(1, members));
    let beside = Disk::open(&scratch.0.join("beside"), NodeConfig::default());
    beside.world.fill(guild_id(1), COHORT_ROLES, members, cohort_roles);
    let mut caller = beside.world.caller();
    let (mut ratios, mut ours, mut parts, mut commits, mut appends, mut echoes) =
        (Vec::new(), latencies_ns(), latencies_ns(), latencies(), latencies(), latencies_ns());
    // Short turns, for a disk is faster and slower by the second.
    for round in 0..=run.times(70, 10) {
        let guild = linked.guild.clone();
        let took = linked.one_by_one(times, move |number| {
            let guild = guild.clone();
            async move { rename(&guild, u64::from(round) * times + number, members).await }
        });
        let (mut both, mut commit) = (latencies_ns(), latencies());
        for _ in 0..times {
            let begin = Instant::now();
            beside.world.must(guild_id(1), caller.rename(members));
            let alone = begin.elapsed();
            note(begin, &mut commit);
            // One by one with these, for processors that wait for a disk are slower to wake.
            let echo = linked.one_by_one(1, {
                let bare = bare.clone();
                move |_| {
                    let bare = bare.clone();
                    async move { bare.call(request, answer).await }
                }
            });
            let nanos = alone.as_nanos() as f64 + 1.5 * echo.max() as f64;
            both.record(nanos as u64).expect("it resizes");
        }
        let append = limits::append_and_sync(&scratch.0, COMMIT_BYTES, times);
        let warm = linked.one_by_one(times, {
            let bare = bare.clone();
            move |_| {
                let bare = bare.clone();
                async move { bare.call(request, answer).await }
            }
        });
        // The first warms up.
        if round > 0 {
            ratios.push(took.value_at_quantile(0.5) as f64 / both.value_at_quantile(0.5) as f64);
            ours.add(took).expect("both resize");
            parts.add(both).expect("both resize");
            commits.add(commit).expect("both resize");
            appends.add(append).expect("both resize");
            echoes.add(warm).expect("both resize");
        }
    }
    let sizes = format!("{} members, {} calls a run", count(members), count(times));
    let what = "p50 of a member's nick changed by a call to another process, one by one, answered once it is synced, as a multiple of what the same change takes from within a node, with one and a half of bare quinn's echo of the same bytes behind it";
    let row = Measured::new(DURABLY, (Sample::of(ratios), Unit::Times), sizes, what).reach(1.0);
    let median = |all: &Histogram<u64>| all.value_at_quantile(0.5) as f64 / 1e3;
    let warm = median(&ours) / (commits.value_at_quantile(0.5) as f64 + 1.5 * median(&echoes));
    let (ours, parts, commits, appends, echoes) =
        (text_ns(&ours), text_ns(&parts), text(&commits), text(&appends), text_ns(&echoes));
    run.tell(row.note(format!(
        "ours: {ours}; within a node and the echo: {parts}, of that within the node {commits}; append of {COMMIT_BYTES} bytes to a file, with its sync: {appends}; echoes back to back, in which no processor waits for a disk: {echoes}: with one and a half of these {warm:.2} times"
    )));
    beside.stop();
}

fn latencies_ns() -> Histogram<u64> {
    Histogram::new(3).expect("3 digits")
}

fn text_ns(all: &Histogram<u64>) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| all.value_at_quantile(quantile) as f64 / 1e3);
    format!("p50 {p50:.1} µs, p99 {p99:.1} µs, max {:.1} µs", all.max() as f64 / 1e3)
}

const AT_ONCE: u64 = 64;
/// About what a record of a changed nick takes in a log.
const COMMIT_BYTES: usize = 128;
