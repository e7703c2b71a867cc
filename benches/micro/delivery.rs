//! A relay's part of deliveries, without owner, tasks and threads: 300-byte messages to 10,000 sessions in 1,000 cohorts that all see the
//! channel, in both ways to consume.
//!
//! Paper estimates, for one delivery:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `streams, relay alone` | 15-30 ns | events offered 64 at a time: a wake-up, a lock of its door and the load of the ring (100-200 ns) for each session and 64 events, a bit test and a reference count for each |
//! | `batch, relay alone` | 1-3 ns | 10 tokens a cohort: a bit test and a slice for each cohort, a load for each token |

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::worlds::{COHORTS, NOW, channel, cohort_roles, rights, user};
use guildhall_proto::{Event, EventKind, Level, Mentions, Message, Payload, Position, RoleId, SessionId, Status};
use guildhall_relay::{Attach, BatchItem, BatchRead, Delivery, Read, Relay, RelayConfig, SessionKey, Stream, Wait};

const SESSIONS: u64 = 10_000;
/// Events offered before anyone reads.
const BURST: u64 = 64;

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

criterion_group!(benches, streams, batch);
criterion_main!(benches);
