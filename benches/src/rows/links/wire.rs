//! Bytes on the wire for each event and backend node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;

use super::deliveries::detach_all;
use super::{Bench, Linked, Run, alone, count, sample};
use crate::hearing::{Heard, LUMP, attach_batches};
use crate::row::{Measured, Unit};

/// Bytes on the wire.
pub(in crate::rows) const BYTES: Bench = Bench { rows: &[alone(ON_THE_WIRE)], run: bytes };

const ON_THE_WIRE: &str = "link_bytes";

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
    let row = Measured::new(ON_THE_WIRE, (many, Unit::Bytes), sizes, what);
    let row = row.reach((1.05 * alone.middle).min(1.5 * MESSAGE_BYTES));
    run.tell(row.limit(
        alone.middle,
        "with one session; 5 % more are allowed, and no more than a message and half of it again",
    ));
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

/// Of each message's text.
const MESSAGE_BYTES: f64 = 300.0;
/// The greatest datagram.
const DATAGRAM_MAX: usize = 65_536;
