//! Deliveries of 300-byte messages to 10,000 sessions in 1,000 cohorts that all see the channel, in both ways to consume.
//!
//! Paper estimates, for one delivery:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `streams, relay alone` | 15-30 ns | events offered 64 at a time: a wake-up, a lock of its door and the load of the ring (100-200 ns) for each session and 64 events, a bit test and a reference count for each |
//! | `batch, relay alone` | 1-3 ns | 10 tokens a cohort: a bit test and a slice for each cohort, a load for each token |
//! | `streams, a task each` | 30-100 ns | the above, and a task woken and scheduled for every 64 events (about 1 µs), the owner's publish shared by 10,000 |

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::worlds::{NOW, Operations, channel, guild_id, nick, rights, role, user};
use guildhall_node::{Attach as NodeAttach, Call, Clock, Delivery as NodeDelivery, Node, NodeConfig};
use guildhall_proto::{
    Actor, Command, Event, EventKind, Level, MemberFlags, Mentions, Message, Name, NewMember, Payload, Permissions,
    Position, Publish, RoleId, SessionId, Status,
};
use guildhall_relay::{Attach, BatchItem, BatchRead, Delivery, Read, Relay, RelayConfig, SessionKey, Stream, Wait};
use guildhall_store::MemoryStore;

const SESSIONS: u64 = 10_000;
const COHORTS: u64 = 1_000;
/// Events offered before anyone reads.
const BURST: u64 = 64;

/// A role set of its own for each cohort.
fn cohort_roles(number: u64) -> Vec<RoleId> {
    let cohort = number % COHORTS;
    vec![role(cohort % 32), role(32 + cohort / 32)]
}

fn session(number: u64) -> SessionId {
    SessionId::new(number + 1).expect("far from both ends")
}

fn message(at: Position, payload: &Payload) -> Arc<Event> {
    let message = Message {
        channel: channel(0),
        author: None,
        session: None,
        echo: false,
        mentions: Mentions::default(),
        payload: payload.clone(),
    };
    Arc::new(Event { position: at, at: NOW, kind: EventKind::MessagePublished(message) })
}

struct Feed {
    at: Position,
    payload: Payload,
    woken: Vec<SessionKey>,
}

impl Feed {
    fn new() -> Self {
        let payload = Payload::new(vec![7; 300]).expect("300 bytes are a payload");
        Self { at: Position::default(), payload, woken: Vec::new() }
    }

    fn burst(&mut self, relay: &mut Relay) {
        self.woken.clear();
        for _ in 0..BURST {
            self.at = self.at.next();
            relay.apply(message(self.at, &self.payload), &mut self.woken).expect("events come in order");
        }
    }
}

fn attach(number: u64, roles: &[RoleId]) -> Attach<'_> {
    Attach {
        session: session(number),
        accepted: Position::default(),
        user: user(number + 10_000),
        roles,
        members: false,
        level: Level::Active,
        status: Status::Online,
    }
}

fn streams(criterion: &mut Criterion) {
    let (mut relay, _) = Relay::new(RelayConfig::default(), rights(), Position::default());
    let mut streams: Vec<Stream> = (0..SESSIONS)
        .map(|number| relay.attach_stream(attach(number, &cohort_roles(number))).expect("there is room"))
        .collect();
    assert_eq!(relay.cohorts() as u64, COHORTS);
    let mut feed = Feed::new();
    let mut drain = |relay: &mut Relay| {
        let mut heard = 0_u64;
        for stream in &mut streams {
            while stream.read(64, |delivery| heard += u64::from(matches!(delivery, Delivery::Event(_)))) == Read::More {
            }
            assert_eq!(relay.wait(stream), Ok(Wait::Waiting));
        }
        heard
    };
    drain(&mut relay);
    let mut group = criterion.benchmark_group("delivery/10k");
    group.sample_size(20).throughput(Throughput::Elements(BURST * SESSIONS));
    group.bench_function("streams, relay alone", |bencher| {
        bencher.iter(|| {
            feed.burst(&mut relay);
            assert_eq!(feed.woken.len() as u64, SESSIONS);
            assert_eq!(drain(&mut relay), BURST * SESSIONS);
        });
    });
    group.finish();
}

fn batch(criterion: &mut Criterion) {
    let (mut relay, mut batch) = Relay::new(RelayConfig::default(), rights(), Position::default());
    for number in 0..SESSIONS {
        relay.attach_batch(attach(number, &cohort_roles(number)), number).expect("there is room");
    }
    relay.fill(&mut batch);
    let mut feed = Feed::new();
    let mut touched = vec![0_u64; usize::try_from(SESSIONS).expect("sessions are counted in memory")];
    let mut group = criterion.benchmark_group("delivery/10k");
    group.sample_size(20).throughput(Throughput::Elements(BURST * SESSIONS));
    group.bench_function("batch, relay alone", |bencher| {
        bencher.iter(|| {
            feed.burst(&mut relay);
            relay.fill(&mut batch);
            let mut heard = 0;
            while batch.read(64, |item| {
                if let BatchItem::Event { tokens, .. } = item {
                    for token in tokens {
                        touched[*token as usize] += 1;
                    }
                    heard += tokens.len() as u64;
                }
            }) == BatchRead::More
            {}
            assert_eq!(heard, BURST * SESSIONS);
        });
    });
    group.finish();
}

/// The whole way: a call to the owner, its ring, the relay's task, and a task for each session.
fn tasks(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    let config = NodeConfig { clock: Clock::from_fn(|| NOW), ..NodeConfig::default() };
    let node =
        runtime.block_on(async { Node::start(config, Arc::new(MemoryStore::default())) }).expect("workers start");
    let mut operations = Operations::default();
    let mut call = move |command| {
        let call = operations.call(command);
        Call { op: call.op, actor: Actor::System, command: call.command }
    };
    let (heard, mut waiting) = tokio::sync::watch::channel(0_u64);
    let heard = Arc::new(heard);
    runtime.block_on(populate(&node, &mut call, &heard));

    let mut published = 0;
    let mut group = criterion.benchmark_group("delivery/10k");
    group.sample_size(10).measurement_time(Duration::from_secs(10)).throughput(Throughput::Elements(BURST * SESSIONS));
    group.bench_function("streams, a task each", |bencher| {
        bencher.iter_custom(|times| {
            let begin = Instant::now();
            runtime.block_on(async {
                for _ in 0..times * BURST {
                    let payload = Payload::new(vec![7; 300]).expect("300 bytes are a payload");
                    let (mentions, session) = (Mentions::default(), None);
                    let publish = Publish { channel: channel(0), payload, mentions, session, echo: false };
                    drop(node.begin(guild_id(), call(Command::Publish(publish))).expect("the mailbox has room"));
                    published += 1;
                    // As much offered as a ring holds with ease: sessions read whole bursts.
                    if published % (8 * BURST) == 0 {
                        let due = (published - 4 * BURST) * SESSIONS;
                        waiting.wait_for(|heard| *heard >= due).await.expect("sessions are there");
                    }
                }
                waiting.wait_for(|heard| *heard >= published * SESSIONS).await.expect("sessions are there");
            });
            begin.elapsed()
        });
    });
    group.finish();
    runtime.block_on(node.stop());
}

async fn populate(node: &Node, call: &mut impl FnMut(Command) -> Call, heard: &Arc<tokio::sync::watch::Sender<u64>>) {
    let member =
        |number: u64, roles| NewMember { user: user(number), nick: nick(number), roles, flags: MemberFlags::NONE };
    let name = || Name::parse("guild").expect("five letters are a name");
    let everyone = Permissions::VIEW_CHANNEL;
    let create = Command::CreateGuild { name: name(), everyone, owner: member(0, Vec::new()) };
    node.call(guild_id(), call(create)).await.expect("the guild is new");
    for number in 0..64 {
        let role = guildhall_proto::Role {
            id: role(number),
            name: name(),
            position: 1,
            permissions: Permissions::NONE,
            hoist: false,
            mentionable: false,
        };
        node.call(guild_id(), call(Command::CreateRole(role))).await.expect("the role is new");
    }
    let text = guildhall_proto::Channel {
        id: channel(0),
        name: name(),
        kind: guildhall_proto::ChannelKind::Text,
        parent: None,
        position: 0,
    };
    let create = Command::CreateChannel { channel: text, overwrites: Vec::new() };
    node.call(guild_id(), call(create)).await.expect("the channel is new");
    let new = (0..SESSIONS).map(|number| member(number + 10_000, cohort_roles(number))).collect();
    node.call(guild_id(), call(Command::ImportMembers(new))).await.expect("the members are new");
    let backend = node.backend();
    for number in 0..SESSIONS {
        let attach = NodeAttach {
            session: session(number),
            user: user(number + 10_000),
            status: Status::Online,
            members: false,
            level: Level::Active,
        };
        let mut stream = backend.attach(guild_id(), attach).await.expect("the member is there");
        let heard = Arc::clone(heard);
        tokio::spawn(async move {
            // Counted aside, and told in lumps: the count is not what is measured.
            let mut lump = 0;
            while let Some(delivery) = stream.next().await {
                match delivery {
                    NodeDelivery::Event(_) => lump += 1,
                    NodeDelivery::Gap(gap) => panic!("sessions keep up here, but {gap:?}"),
                    NodeDelivery::Unread(_) => panic!("an active session hears all itself"),
                    NodeDelivery::Ephemeral(told) => panic!("nobody types here, but {told:?}"),
                    NodeDelivery::Detached(_) => break,
                }
                if lump == BURST {
                    heard.send_modify(|heard| *heard += lump);
                    lump = 0;
                }
            }
        });
    }
}

criterion_group!(benches, streams, batch, tasks);
criterion_main!(benches);
