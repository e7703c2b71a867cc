//! A backend node that stands still, and what another one notices of it.
//!
//! In turns: slices while there is no other backend node, and slices while one is stopped whose sessions are due all that these are. When it has been stopped,
//! more is said at once than might be kept for it, so that it lags behind its link, and out of its guild's ring; messages go on, and once it goes on itself, it
//! has to catch up, over the same link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guildhall_client::{BatchSession, Client, Guild};
use guildhall_node::BatchItem;
use guildhall_proto::limits::PAYLOAD_BYTES_MAX;
use guildhall_proto::{EventKind, Level};
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::super::probe::compared;
use super::{Bench, Linked, Run, alone, count, publish_this};
use crate::latency::{Slices, latencies, note};
use crate::machine::Watch;
use crate::processes::{CaughtUp, saying_now};
use crate::row::{Measured, Sample, Unit};
use crate::shell::{attach, guild_id, side_by_side};

/// A backend node that stands still.
pub(in crate::rows) const STOPPED: Bench = Bench { rows: &[alone(CALLS), alone(HEARD), alone(MEMORY)], run: stopped };

const CALLS: &str = "link_beside_stopped";
const HEARD: &str = "link_heard_beside_stopped";
const MEMORY: &str = "link_stopped_memory";

/// Slices of calls, and of what is heard meanwhile.
#[derive(Default)]
struct Both {
    calls: Slices,
    heard: Slices,
}

/// The sessions of this process, and how long after it was due each message of the probe is heard by them.
struct Hearing {
    took: Arc<Mutex<Histogram<u64>>>,
    epoch: Instant,
    /// How often the consumer was too late, as where the host takes the machine away for long.
    gaps: Arc<AtomicU64>,
    _sessions: Vec<BatchSession>,
}

fn stopped(run: &mut Run) {
    let linked = Linked::new(2 * SOME + 1);
    let (hearing, talking) = (Hearing::begin(&linked), Talking::begin(&linked));
    let observer = linked.cluster.observer(&linked.runtime, linked.node.address);
    let (rounds, slices) = (run.times(4, 1), run.times(20, 6));
    let [mut without, mut during] = [Both::default(), Both::default()];
    let (mut resident, mut most) = (None, 0);
    for _ in 0..rounds {
        (0..slices).for_each(|_| linked.slice_of_both(&hearing, &mut without));
        let other = linked.cluster.backend(linked.node.address, SOME);
        let stood = links_ended(&linked, &observer);
        let before = *resident.get_or_insert_with(|| linked.node.process.resident());
        other.hold(true);
        linked.runtime.block_on(talking.much(&linked.guild));
        most = most.max(linked.node.process.resident().saturating_sub(before));
        for _ in 0..slices {
            linked.slice_of_both(&hearing, &mut during);
            most = most.max(linked.node.process.resident().saturating_sub(before));
        }
        other.hold(false);
        let CaughtUp { sessions, resyncs } = other.end();
        assert_eq!(sessions, SOME, "every session of the other goes on");
        assert!(resyncs > 0, "what stood still was to fall behind");
        // It has just ended its own, of which the node hears.
        let begin = Instant::now();
        while links_ended(&linked, &observer) == stood {
            assert!(begin.elapsed() < HEARD_WITHIN, "a link that is closed ends");
        }
        assert_eq!(links_ended(&linked, &observer), stood + 1, "its link stood all the while");
    }
    let sent = talking.bytes();
    talking.end(&linked);
    // What was not heard would have no time.
    assert_eq!(hearing.gaps.load(Ordering::Relaxed), 0, "whoever goes on hears all");
    let sizes = format!(
        "{} sessions at each backend node, {} slices of {QUARTER:?} each; {} MB of messages in all",
        count(SOME),
        slices * rounds,
        sent / 1_000_000
    );
    let while_stopped = "while another backend node's process is stopped by SIGSTOP and its sessions' messages go on";
    let what = format!("p99 of 1,000 calls a second to another process, open loop, {while_stopped}");
    let beside = ("without it", &without.calls);
    run.tell(compared(CALLS, &during.calls, beside, &sizes, &what).reach(1.2));
    let what =
        format!("p99 from when a message is due to when it is heard in this process, 500 a second, {while_stopped}");
    let beside = ("without it", &without.heard);
    run.tell(compared(HEARD, &during.heard, beside, &sizes, &what).reach(1.2));
    let grown = most as f64 / f64::from(1 << 20);
    let what =
        "resident memory that the guild node gains while a backend node's process is stopped, and messages go on";
    let row = Measured::new(MEMORY, (Sample::once(grown), Unit::MiB), sizes, what).reach((GROWN_MAX >> 20) as f64);
    run.tell(row.note(format!("from {} MiB, before the first stop", resident.unwrap_or_default() >> 20)));
}

impl Linked {
    /// Measures a slice of the probe; what the guild node takes is no trouble of others.
    fn slice_of_both(&self, hearing: &Hearing, all: &mut Both) {
        let watch = Watch::begin_with(&[self.node.process.id()]);
        let mut took = latencies();
        drop(hearing.take());
        self.probe(QUARTER, &mut took, |due| hearing.telling(due));
        let others = watch.others();
        all.calls.push(took, others);
        all.heard.push(hearing.take(), others);
    }
}

/// How many links of the guild node have ended.
fn links_ended(linked: &Linked, observer: &Client) -> u64 {
    let stats = linked.runtime.block_on(observer.stats()).expect("an observer may ask");
    stats.iter().filter(|(name, _)| name.as_str().starts_with("links_ended_total")).map(|(_, links)| links).sum()
}

impl Hearing {
    fn begin(linked: &Linked) -> Self {
        let (took, epoch) = (Arc::new(Mutex::new(latencies())), Instant::now());
        let backend = linked.client.backend().expect("this is a backend node");
        let batches = linked.runtime.block_on(backend.batches(guild_id(1))).expect("the guild is there");
        let (mut batches, noted) = (batches.expect("it is the only consumer"), Arc::clone(&took));
        let gaps = Arc::<AtomicU64>::default();
        let late = Arc::clone(&gaps);
        linked.runtime.spawn(async move {
            let hear = |item: BatchItem<'_>| match item {
                BatchItem::Event { event, .. } => {
                    if let EventKind::MessagePublished(message) = &event.kind
                        && let Some(due) = due(message.payload.bytes())
                    {
                        note(epoch + due, &mut noted.lock());
                    }
                }
                BatchItem::Gap { .. } => drop(late.fetch_add(1, Ordering::Relaxed)),
                BatchItem::Unread { .. } | BatchItem::Ephemeral { .. } | BatchItem::Detached { .. } => {}
            };
            while batches.read(READ_AT_ONCE, hear).await {}
        });
        let sessions = side_by_side(&linked.runtime, 64, SOME + 1..=2 * SOME, |number| {
            let (backend, attach) = (backend.clone(), attach(number, Level::Active));
            async move { backend.attach_batch(guild_id(1), attach, number).await.expect("there is room") }
        });
        Self { took, epoch, gaps, _sessions: sessions }
    }

    /// A message's bytes, which tell when it is due.
    fn telling(&self, due: Instant) -> Vec<u8> {
        let nanos = u64::try_from(due.duration_since(self.epoch).as_nanos()).expect("a bench ends");
        let mut bytes = vec![0; PROBE_BYTES];
        bytes[..8].copy_from_slice(&nanos.to_le_bytes());
        bytes
    }

    /// What has been heard since the last time.
    fn take(&self) -> Histogram<u64> {
        std::mem::replace(&mut self.took.lock(), latencies())
    }
}

/// When a message of the probe was due; `None` of others.
fn due(bytes: &[u8]) -> Option<Duration> {
    let (nanos, _) = bytes.split_first_chunk()?;
    (bytes.len() == PROBE_BYTES).then(|| Duration::from_nanos(u64::from_le_bytes(*nanos)))
}

/// Long messages that go on until they are told to end.
struct Talking {
    is_over: Arc<AtomicBool>,
    /// Published so far.
    bytes: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Talking {
    fn begin(linked: &Linked) -> Self {
        let (is_over, bytes, guild) = (Arc::new(AtomicBool::new(false)), Arc::default(), linked.guild.clone());
        let (over, said) = (Arc::clone(&is_over), Arc::<AtomicU64>::clone(&bytes));
        let task = linked.runtime.spawn(async move {
            let mut ticks = tokio::time::interval(TALK_EVERY);
            while !over.load(Ordering::Relaxed) {
                ticks.tick().await;
                publish_this(&guild, saying_now()).await;
                said.fetch_add(PAYLOAD_BYTES_MAX as u64, Ordering::Relaxed);
            }
        });
        Self { is_over, bytes, task }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says as much as it can at once, more than might be kept for who stands still.
    async fn much(&self, guild: &Guild) {
        const BYTES: u64 = MUCH * PAYLOAD_BYTES_MAX as u64;
        const { assert!(BYTES > 2 * GROWN_MAX, "it could be kept") };
        for _ in 0..MUCH {
            publish_this(guild, saying_now()).await;
        }
        self.bytes.fetch_add(BYTES, Ordering::Relaxed);
    }

    fn end(self, linked: &Linked) {
        self.is_over.store(true, Ordering::Relaxed);
        linked.runtime.block_on(self.task).expect("messages are accepted");
    }
}

const SOME: u64 = 1_000;
const QUARTER: Duration = Duration::from_millis(250);
/// Within which a node hears that a link is closed.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// As long as other rows' messages.
const PROBE_BYTES: usize = 300;
/// 125 messages a second as long as may be, 8 MB.
const TALK_EVERY: Duration = Duration::from_millis(8);
/// Messages that are said one after the other while nobody is measured: 160 MB.
const MUCH: u64 = 2_500;
/// What the guild node may gain meanwhile.
const GROWN_MAX: u64 = 64 << 20;
/// Items that the consumer reads at once.
const READ_AT_ONCE: usize = 64;
