//! What a link costs: calls, deliveries and scans between two processes on loopback, TLS included, beside bare QUIC of the same bytes in the same run.
//!
//! The guild node is a process of its own, and so is the backend node that is stopped; this one is a backend node.
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `link_member` | 1.05-1.1 × | bare quinn's echo 80-120 µs; two frames encoded, summed and read 1 µs each, a task 1 µs, a route and an attempt 1 µs, a look into a view 0.3 µs |
//! | `link_publish` | 1.2-1.3 × | the same, and the owner's turn: two wake-ups of tasks, 5-20 µs each where no thread is awake |
//! | `link_durable` | ≤ 1.0 × | the gate holds the answer until the record is synced: what a publish takes over a link, and what a commit takes within a node |
//! | `link_64_calls` | 85-90 % of bare | 270,000 calls/s bare: 7 µs of two processors each; ours adds 0.5-1 µs at both ends |
//! | `link_deliver_batch` | 100 M/s | an event crosses once: at 100,000 sessions 1,000 events/s, a hundredth of what a link takes; then as beside the node |
//! | `link_deliver` | 30 M/s | the same |
//! | `link_bytes` | 350-450 B | 300 of text, 60 of the event and its frame, 2-5 of headers in a full datagram, 30-60 in one of its own |
//! | `link_recipients` | 15-20 ms | 8 MB of ids: the scan 1-2 ms, while the first chunks are sent at 0.75-0.96 GB/s, 10 ms, and decoded |
//! | `link_beside_recipients` | ≤ 1.5 × idle | a scan a second takes 2-3 % of the time, so the p99 is of calls beside it: what is under way of its lane, 288 KiB, is read before them in 0.3-0.7 ms, and threads of two processes wait for two processors |
//! | `link_beside_stopped`, `link_heard_beside_stopped` | 1.0 × | its cursors lag; who sends to it waits for room on that link alone |
//! | `link_stopped_memory` | 1-2 MiB | what its feeds' lane sends ahead: 288 KiB, and 0.3 of frames that are gathered; the ring is there anyway |

mod beside;
mod calls;
mod deliveries;
mod stopped;
mod wire;

use std::time::{Duration, Instant};

use guildhall_client::{Client, Guild};
use guildhall_proto::{Actor, Command, MemberEdit, Mentions, Payload, Publish};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

use super::{Bench, Run, alone, count, sample};
use crate::bare::Bare;
use crate::latency::{record, until};
use crate::processes::{Cluster, GuildNode};
use crate::shell::{guild_id, runtime};
use crate::worlds::{channel, nick, user};

pub(super) use beside::SCANS;
pub(super) use calls::{CALLS, DURABLE};
pub(super) use deliveries::DELIVERIES;
pub(super) use stopped::STOPPED;
pub(super) use wire::BYTES;

/// A guild node in another process, and a client of it here.
struct Linked {
    runtime: Runtime,
    node: GuildNode,
    client: Client,
    guild: Guild,
    cluster: Cluster,
    members: u64,
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

    /// Calls of the probe, half of them messages and half changes of members, a thousand a second from their due times; none waits for another.
    fn probe(&self, time: Duration, into: &mut Histogram<u64>, message_due: impl Fn(Instant) -> Vec<u8>) {
        let (begin, mut calls) = (Instant::now(), Vec::new());
        loop {
            let number = u32::try_from(calls.len()).expect("a thousand a second");
            let due = begin + Duration::from_millis(1) * number;
            if due - begin >= time {
                break;
            }
            let (guild, message) = (self.guild.clone(), number.is_multiple_of(2).then(|| message_due(due)));
            until(due);
            calls.push(self.runtime.spawn(async move {
                match message {
                    Some(bytes) => publish_this(&guild, bytes).await,
                    None => rename(&guild, number.into(), 100).await,
                }
                due.elapsed()
            }));
        }
        for call in calls {
            record(self.runtime.block_on(call).expect("the probe is within every quota"), into);
        }
    }
}

async fn publish(guild: &Guild, bytes: usize) {
    publish_this(guild, vec![7; bytes]).await;
}

async fn publish_this(guild: &Guild, bytes: Vec<u8>) {
    let command = Command::Publish(message(bytes));
    guild.call(Actor::System, command).await.expect("the message is accepted");
}

async fn rename(guild: &Guild, number: u64, members: u64) {
    guild.call(Actor::System, renaming(number, members)).await.expect("the member is there");
}

async fn member(guild: &Guild, number: u64) {
    guild.member(user(number)).await.expect("the member is there");
}

fn message(bytes: Vec<u8>) -> Publish {
    let payload = Payload::new(bytes).expect("it is within a payload's bounds");
    Publish { channel: channel(0), payload, mentions: Mentions::default(), session: None, echo: false }
}

fn renaming(number: u64, members: u64) -> Command {
    let edit = MemberEdit { nick: Some(nick(number)), ..MemberEdit::default() };
    // Far apart, so that neighbours in time are not neighbours in a page.
    Command::UpdateMember { user: user(number.wrapping_mul(PRIME) % members), edit }
}

const MEMBERS: u64 = 1_000_000;
const PRIME: u64 = 7_919;
