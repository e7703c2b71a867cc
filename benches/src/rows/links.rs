//! What a link costs: calls, deliveries and scans between two processes on loopback, TLS included, beside bare QUIC of the same bytes in the same run.
//!
//! The guild node is a process of its own, and so is the backend node that is stopped; this one is a backend node.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `link_member` | 1.05-1.1 × | bare quinn's echo 80-120 µs; two frames encoded, summed and read 1 µs each, a task 1 µs, a route and an attempt 1 µs, a look into a view 0.3 µs |
//! | `link_publish` | 1.2-1.3 × | the same, and the owner's turn: two wake-ups of tasks, 5-20 µs each where no thread is awake |
//! | `link_durable` | publish + the commit | the gate holds the answer until the record is synced |
//! | `link_64_calls` | 85-90 % of bare | 270,000 calls/s bare: 7 µs of two processors each; ours adds 0.5-1 µs at both ends |
//! | `link_deliver_batch` | 100 M/s | an event crosses once: at 100,000 sessions 1,000 events/s, a hundredth of what a link takes; then as beside the node |
//! | `link_deliver` | 30 M/s | the same |
//! | `link_bytes` | 350-450 B | 300 of text, 60 of the event and its frame, 2-5 of headers in a full datagram, 30-60 in one of its own |
//! | `link_recipients` | 15-20 ms | 8 MB of ids: the scan 1-2 ms, while the first chunks are sent at 0.75-0.96 GB/s, 10 ms, and decoded |
//! | `link_beside_recipients` | ≤ 1.5 × idle | a scan a second takes 2 % of the time, on a worker of low priority and a lane of its own |
//! | `link_beside_stopped` | 1.0 × | its cursors lag; who sends to it waits for room on that link alone |
//! | `link_stopped_memory` | 16-20 MiB | what a link sends ahead: 16 MiB, and 0.3 of frames that are gathered; the ring is there anyway |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guildhall_client::{Client, Guild};
use guildhall_proto::call::{Answer, Ask, Freshness, Read, Request, Within};
use guildhall_proto::frame::{self, Kind};
use guildhall_proto::{
    Actor, AsOf, ClientId, Command, MemberEdit, Mentions, Millis, OpId, Outcome, Payload, Position, Publish, Question,
    Reply, Versions,
};
use hdrhistogram::Histogram;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Bench, Run, alone, count, sample};
use crate::bare::Bare;
use crate::hearing::{Heard, LUMP, LUMPS_AHEAD, attach_batches, attach_streams};
use crate::latency::{Slices, latencies, note, text, until};
use crate::limits;
use crate::machine::Watch;
use crate::processes::{Cluster, GuildNode};
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Scratch, guild_id, runtime};
use crate::worlds::{COHORTS, Random, channel, nick, user};

/// Calls, one at a time and 64.
pub(super) const CALLS: Bench = Bench { rows: &[alone(MEMBER), alone(PUBLISH), alone(MANY)], run: calls };
/// A durable one.
pub(super) const DURABLE: Bench = Bench { rows: &[alone(DURABLY)], run: durable };
/// Deliveries.
pub(super) const DELIVERIES: Bench = Bench { rows: &[alone(BATCHES), alone(STREAMS)], run: deliveries };
/// Bytes on the wire.
pub(super) const BYTES: Bench = Bench { rows: &[alone(ON_THE_WIRE)], run: bytes };
/// Long answers, and calls beside them.
pub(super) const SCANS: Bench = Bench { rows: &[alone(RECIPIENTS), alone(BESIDE_RECIPIENTS)], run: scans };
/// A backend node that stands still.
pub(super) const STOPPED: Bench = Bench { rows: &[alone(BESIDE_STOPPED), alone(STOPPED_MEMORY)], run: stopped };

const MEMBER: &str = "link_member";
const PUBLISH: &str = "link_publish";
const MANY: &str = "link_64_calls";
const DURABLY: &str = "link_durable";
const BATCHES: &str = "link_deliver_batch";
const STREAMS: &str = "link_deliver";
const ON_THE_WIRE: &str = "link_bytes";
const RECIPIENTS: &str = "link_recipients";
const BESIDE_RECIPIENTS: &str = "link_beside_recipients";
const BESIDE_STOPPED: &str = "link_beside_stopped";
const STOPPED_MEMORY: &str = "link_stopped_memory";

/// A guild node in another process, and a client of it here.
struct Linked {
    runtime: Runtime,
    node: GuildNode,
    client: Client,
    guild: Guild,
    cluster: Cluster,
    members: u64,
}

/// Bytes of a call's two frames.
#[derive(Debug, Clone, Copy)]
struct Frames {
    request: usize,
    answer: usize,
}

impl Linked {
    fn new(members: u64) -> Self {
        let (runtime, cluster) = (runtime(2), Cluster::new());
        let node = cluster.guild_node(members, None);
        let client = cluster.client(&runtime, node.address);
        let guild = client.guild(guild_id(1));
        Self { runtime, node, client, guild, cluster, members }
    }

    fn bare(&self) -> Bare {
        Bare::dial(self.runtime.handle(), self.node.bare)
    }

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

    /// Publishes so many lumps of messages, a lump at a time, and waits until all are heard. It stays as near to those who hear as their relay's ring
    /// allows with ease.
    fn publish(&self, lumps: u64, heard: &Heard) {
        let before = heard.complete();
        for lump in 0..lumps {
            self.lump();
            if let Some(behind) = (lump + 1).checked_sub(LUMPS_AHEAD) {
                heard.wait_for(before + behind, self.runtime.handle());
            }
        }
        heard.wait_for(before + lumps, self.runtime.handle());
    }

    /// Publishes a lump of messages at once.
    fn lump(&self) {
        let guild = self.guild.clone();
        let publishing = self.runtime.spawn(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..LUMP {
                let guild = guild.clone();
                tasks.spawn(async move { publish(&guild, 300).await });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("the message is accepted");
            }
        });
        self.runtime.block_on(publishing).expect("the messages are accepted");
    }

    /// Calls of the probe, half of them messages and half changes of members, a thousand a second from their due times.
    fn probe(&self, time: Duration, into: &mut Histogram<u64>) {
        let begin = Instant::now();
        let mut number = 0;
        while begin.elapsed() < time {
            let due = begin + Duration::from_millis(1) * number;
            until(due);
            self.runtime.block_on(async {
                if number % 2 == 0 {
                    publish(&self.guild, 300).await
                } else {
                    rename(&self.guild, number.into(), 100).await
                }
            });
            note(due, into);
            number += 1;
        }
    }

    /// Measures a slice of the probe; what the other processes of the row take is no trouble of others.
    fn slice(&self, time: Duration, others: &[u32], all: &mut Slices) {
        let processes: Vec<u32> = [self.node.process.id()].iter().chain(others).copied().collect();
        let (watch, mut took) = (Watch::begin_with(&processes), latencies());
        self.probe(time, &mut took);
        all.push(took, watch.others());
    }
}

async fn publish(guild: &Guild, bytes: usize) {
    let Publish { channel, payload, mentions, session, echo } = message(bytes);
    let command = Command::Publish(Publish { channel, payload, mentions, session, echo });
    guild.call(Actor::System, command).await.expect("the message is accepted");
}

async fn rename(guild: &Guild, number: u64, members: u64) {
    guild.call(Actor::System, renaming(number, members)).await.expect("the member is there");
}

async fn member(guild: &Guild, number: u64) {
    guild.member(user(number)).await.expect("the member is there");
}

fn message(bytes: usize) -> Publish {
    let payload = Payload::new(vec![7; bytes]).expect("it is within a payload's bounds");
    Publish { channel: channel(0), payload, mentions: Mentions::default(), session: None, echo: false }
}

fn renaming(number: u64, members: u64) -> Command {
    let edit = MemberEdit { nick: Some(nick(number)), ..MemberEdit::default() };
    // Far apart, so that neighbours in time are not neighbours in a page.
    Command::UpdateMember { user: user(number.wrapping_mul(PRIME) % members), edit }
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
    let (times, members, is_publish) = (run.size(5_000), linked.members, name == PUBLISH);
    let frames = if is_publish { Frames::of_call(Command::Publish(message(300))) } else { Frames::of_member() };
    let Frames { request, answer } = frames;
    let (mut ratios, mut all, mut all_bare) = (Vec::new(), latencies_ns(), latencies_ns());
    for round in 0..=run.times(15, 3) {
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
    let (bare, times) = (linked.bare(), run.size(2_000));
    let Frames { request, answer } = Frames::of_call(renaming(1, members));
    let (mut ours, mut bars) = (Vec::new(), Vec::new());
    for round in 0..=run.times(7, 2) {
        let guild = linked.guild.clone();
        let took = linked.one_by_one(times, move |number| {
            let guild = guild.clone();
            async move { rename(&guild, u64::from(round) * times + number, members).await }
        });
        let bare = bare.clone();
        let echo = linked.one_by_one(times, move |_| {
            let bare = bare.clone();
            async move { bare.call(request, answer).await }
        });
        let commit = limits::append_and_sync(&scratch.0, COMMIT_BYTES, times / 2);
        ours.push(took.value_at_quantile(0.5) as f64 / 1e3);
        bars.push(1.5 * echo.value_at_quantile(0.5) as f64 / 1e3 + commit.value_at_quantile(0.5) as f64);
    }
    let [ours, bar] = [ours, bars].map(|runs| Sample::of(runs.into_iter().skip(1)));
    let sizes = format!("{} members, {} calls a run", count(members), count(times));
    let what = "p50 of a member's nick changed by a call to another process, one by one, answered once it is synced";
    let row = Measured::new(DURABLY, (ours, Unit::Us), sizes, what).reach(bar.middle);
    let bound = "1.5 times bare quinn's echo of the same bytes, and the append of 128 bytes to a file with its sync";
    run.tell(row.limit(bar.middle, bound));
}

fn deliveries(run: &mut Run) {
    let sessions = run.size(SESSIONS);
    let linked = Linked::new(sessions + 1);
    let lumps = |deliveries: u64| (deliveries / sessions / LUMP).clamp(1, LUMPS_MAX);
    let sizes = |lumps| {
        let cohorts = count(COHORTS.min(sessions));
        format!(
            "{} sessions in {cohorts} cohorts, one relay, {} messages of 300 bytes a run",
            count(sessions),
            count(lumps * LUMP)
        )
    };
    let runs = run.times(5, 2);
    let backend = linked.client.backend().expect("this is a backend node");
    if run.wants(BATCHES) {
        let heard = Heard::by(1);
        let held = attach_batches(&linked.runtime, &backend, 1..=sessions, &heard);
        let lumps = lumps(run.size(BATCH_DELIVERIES));
        let rate = sample(runs, || rate(&linked, lumps, sessions, &heard));
        detach_all(&linked, held);
        let what = "deliveries to sessions of another process than the guild's, consumed as batches: from the first publish until the one consumer has counted every message on every session's own counter";
        run.tell(Measured::new(BATCHES, (rate, Unit::PerS), sizes(lumps), what).reach(30e6));
    }
    if run.wants(STREAMS) {
        let heard = Heard::by(sessions);
        attach_streams(&linked.runtime, &backend, sessions, &heard);
        let lumps = lumps(run.size(STREAM_DELIVERIES));
        let rate = sample(runs, || rate(&linked, lumps, sessions, &heard));
        let what = "deliveries to a stream in a task each, in another process than the guild's: from the first publish until every session's task has been shown every message";
        run.tell(Measured::new(STREAMS, (rate, Unit::PerS), sizes(lumps), what).reach(8e6));
    }
}

fn rate(linked: &Linked, lumps: u64, sessions: u64, heard: &Heard) -> f64 {
    let begin = Instant::now();
    linked.publish(lumps, heard);
    (lumps * LUMP * sessions) as f64 / begin.elapsed().as_secs_f64()
}

/// What is dropped without a word is kept for its return.
fn detach_all(linked: &Linked, held: Vec<guildhall_client::BatchSession>) {
    crate::shell::side_by_side(&linked.runtime, 1_024, held, |mut session| async move {
        session.detach().await.expect("it is attached");
    });
}

fn bytes(run: &mut Run) {
    let (sessions, lumps) = (run.size(10_000), u64::from(run.times(100, 10)));
    let linked = Linked::new(sessions + 1);
    let measure = |sessions: u64| {
        let wire = Wire::before(&linked.runtime, linked.node.address);
        let client = linked.cluster.client(&linked.runtime, wire.address);
        let backend = client.backend().expect("this is a backend node");
        let heard = Heard::by(1);
        let held = attach_batches(&linked.runtime, &backend, 1..=sessions, &heard);
        let runs = sample(run.times(5, 2), || {
            let before = wire.bytes();
            linked.publish(lumps, &heard);
            (wire.bytes() - before) as f64 / (lumps * LUMP) as f64
        });
        detach_all(&linked, held);
        linked.runtime.block_on(client.close());
        runs
    };
    let (alone, many) = (measure(1), measure(sessions));
    let sizes = format!("{} sessions, messages of 300 bytes, {LUMP} at a time", count(sessions));
    let what = "bytes of datagrams from the guild node to a backend node for each message that all its sessions hear, acknowledgements of what it says itself among them";
    let row = Measured::new(ON_THE_WIRE, (many, Unit::Bytes), sizes, what).reach(1.05 * alone.middle);
    run.tell(row.limit(alone.middle, "with one session; 5 % more are allowed"));
}

/// A wire between a client and a node on which bytes are counted.
struct Wire {
    address: SocketAddr,
    /// From the node.
    bytes: Arc<AtomicU64>,
}

impl Wire {
    fn before(runtime: &Runtime, node: SocketAddr) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let (outer, inner) = runtime.block_on(async {
            let bound = (UdpSocket::bind(local).await, UdpSocket::bind(local).await);
            (Arc::new(bound.0.expect("a port is free")), Arc::new(bound.1.expect("a port is free")))
        });
        let address = outer.local_addr().expect("it is bound");
        let client = Arc::new(parking_lot::Mutex::new(None));
        let to_node = (Arc::clone(&outer), Arc::clone(&inner), Arc::clone(&client));
        runtime.spawn(async move {
            let ((outer, inner, client), mut datagram) = (to_node, vec![0; DATAGRAM_MAX]);
            while let Ok((length, from)) = outer.recv_from(&mut datagram).await {
                *client.lock() = Some(from);
                inner.send_to(&datagram[..length], node).await.expect("loopback takes it");
            }
        });
        let counted = Arc::clone(&bytes);
        runtime.spawn(async move {
            let mut datagram = vec![0; DATAGRAM_MAX];
            while let Ok((length, _)) = inner.recv_from(&mut datagram).await {
                counted.fetch_add(length as u64, Ordering::Relaxed);
                let to = *client.lock();
                outer.send_to(&datagram[..length], to.expect("it dialed")).await.expect("loopback takes it");
            }
        });
        Self { address, bytes }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn scans(run: &mut Run) {
    let linked = Linked::new(run.size(MEMBERS));
    let bare = linked.bare();
    let scan = {
        let guild = linked.guild.clone();
        move || {
            let guild = guild.clone();
            async move {
                let question = Question::Everyone { channel: channel(0) };
                let mut recipients = guild.recipients(question).await.expect("it is asked");
                let mut users = 0;
                while let Some(chunk) = recipients.next().await.expect("it is answered") {
                    users += chunk.len() as u64;
                }
                users
            }
        }
    };
    let users = linked.runtime.block_on(scan());
    assert_eq!(users, linked.members, "all members see the channel");
    if run.wants(RECIPIENTS) {
        let runs = run.times(15, 3);
        let timed = |begin: Instant| begin.elapsed().as_secs_f64() * 1e3;
        let ours = sample(runs, || {
            let begin = Instant::now();
            linked.runtime.block_on(scan());
            timed(begin)
        });
        let length = usize::try_from(users * 8).expect("some megabytes");
        let limit = sample(runs, || {
            let begin = Instant::now();
            linked.runtime.block_on(bare.call(64, length));
            timed(begin)
        });
        let sizes = format!("{} members, who all see the channel", count(linked.members));
        let what = "ids of all whom @everyone reaches in a channel, by a call to another process: from the call to the last id";
        let row = Measured::new(RECIPIENTS, (ours, Unit::Ms), sizes, what).reach(50.0 * users as f64 / MEMBERS as f64);
        run.tell(row.limit(limit.middle, "bare quinn answers as many bytes, and nobody looks at them"));
    }
    if run.wants(BESIDE_RECIPIENTS) {
        let [mut idle, mut beside] = [Slices::default(), Slices::default()];
        let slices = run.times(25, 2);
        for _ in 0..slices {
            linked.slice(SECOND, &[], &mut idle);
            let scanning = linked.runtime.spawn(scan());
            linked.slice(SECOND, &[], &mut beside);
            linked.runtime.block_on(scanning).expect("the scan is answered");
        }
        let sizes = format!("{} members, slices of a second", count(linked.members));
        run.tell(
            compared(
                BESIDE_RECIPIENTS,
                &beside,
                ("idle", &idle),
                &sizes,
                "beside one answer with all members' ids a second",
            )
            .reach(2.0),
        );
    }
}

/// A row that compares the p99 of a probe's slices.
fn compared(name: &str, slices: &Slices, beside: (&str, &Slices), sizes: &str, what: &str) -> Measured {
    let (beside_name, beside) = beside;
    let ratios = slices.p99s().into_iter().map(|p99| p99 as f64 / beside.p99());
    let ours = Sample { middle: slices.p99() / beside.p99(), ..Sample::of(ratios) };
    let note = format!(
        "{} ({}); {beside_name}: {} ({}); p99 of the middle slices {} and {} µs",
        text(&slices.all()),
        slices.quietness(),
        text(&beside.all()),
        beside.quietness(),
        slices.p99(),
        beside.p99(),
    );
    let what = format!(
        "p99 of 1,000 calls a second to another process, open loop, {what}, as a multiple of that {beside_name}"
    );
    Measured::new(name, (ours, Unit::Times), sizes, what).unjudged(Slices::unjudged([slices, beside])).note(note)
}

fn stopped(run: &mut Run) {
    let linked = Linked::new(SOME + 1);
    let other = linked.cluster.backend(linked.node.address, SOME);
    let slices = run.times(40, 8);
    let talking = Talking::begin(&linked);
    let [mut before, mut during] = [Slices::default(), Slices::default()];
    let others = [other.id()];
    (0..slices).for_each(|_| linked.slice(QUARTER, &others, &mut before));
    let resident = linked.node.process.resident();
    other.hold(true);
    let mut most = resident;
    for _ in 0..slices {
        linked.slice(QUARTER, &others, &mut during);
        most = most.max(linked.node.process.resident());
    }
    let sent = talking.end(&linked);
    let sizes = format!(
        "{} sessions at the backend node that stands still, {} slices of {QUARTER:?}; {} MB of messages meanwhile",
        count(SOME),
        slices,
        sent / 2 / 1_000_000
    );
    let what = "while another backend node's process is stopped by SIGSTOP";
    run.tell(compared(BESIDE_STOPPED, &during, ("while it runs", &before), &sizes, what).reach(1.2));
    let grown = (most - resident) as f64 / f64::from(1 << 20);
    let what =
        "resident memory that the guild node gains while a backend node's process is stopped, and messages go on";
    let row = Measured::new(STOPPED_MEMORY, (Sample::once(grown), Unit::MiB), sizes, what).reach(64.0);
    run.tell(row.note(format!("from {} MiB", resident >> 20)));
}

/// Long messages that go on until they are told to end.
struct Talking {
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Talking {
    fn begin(linked: &Linked) -> Self {
        let (is_over, guild) = (Arc::new(AtomicBool::new(false)), linked.guild.clone());
        let over = Arc::clone(&is_over);
        let task = linked.runtime.spawn(async move {
            let (mut ticks, mut bytes) = (tokio::time::interval(TALK_EVERY), 0);
            while !over.load(Ordering::Relaxed) {
                ticks.tick().await;
                publish(&guild, TALK_BYTES).await;
                bytes += TALK_BYTES as u64;
            }
            bytes
        });
        Self { is_over, task }
    }

    /// How many bytes were published.
    fn end(self, linked: &Linked) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        linked.runtime.block_on(self.task).expect("messages are accepted")
    }
}

fn latencies_ns() -> Histogram<u64> {
    Histogram::new(3).expect("3 digits")
}

fn text_ns(all: &Histogram<u64>) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| all.value_at_quantile(quantile) as f64 / 1e3);
    format!("p50 {p50:.1} µs, p99 {p99:.1} µs, max {:.1} µs", all.max() as f64 / 1e3)
}

const MEMBERS: u64 = 1_000_000;
const SESSIONS: u64 = 100_000;
const SOME: u64 = 1_000;
const AT_ONCE: u64 = 64;
/// Deliveries of a run; but where sessions are few, as many messages as are published in a moment.
const BATCH_DELIVERIES: u64 = 200_000_000;
const STREAM_DELIVERIES: u64 = 40_000_000;
const LUMPS_MAX: u64 = 200;
/// About what a record of a changed nick takes in a log.
const COMMIT_BYTES: usize = 128;
/// The greatest datagram.
const DATAGRAM_MAX: usize = 65_536;
const SECOND: Duration = Duration::from_secs(1);
const QUARTER: Duration = Duration::from_millis(250);
/// 200 messages a second of 50 KB: ten seconds' are more than a link, a ring and a row's bound together.
const TALK_EVERY: Duration = Duration::from_millis(5);
const TALK_BYTES: usize = 50_000;
const PRIME: u64 = 7_919;
