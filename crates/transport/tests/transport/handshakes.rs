//! Many who begin a handshake and never finish it: they take no more than their places, and keep nobody out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use guildhall_transport::{Counter, TransportConfig};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::raw::raw_with;
use crate::world::{Node, PATIENCE, all_counted, any, authority, backend, counted, node, until_counted};

#[tokio::test]
async fn first_packets_from_addresses_that_never_answer_keep_nobody_out() {
    let authority = authority("main");
    let config = TransportConfig { handshakes_max: 16, handshakes_trusted: 4, ..TransportConfig::default() };
    let mut node = node(&authority, config);
    let packets = first_packets(100).await;
    let mut sources = Vec::new();
    // Not all at once: a socket keeps only so much.
    for packets in packets.chunks(20) {
        for packet in packets {
            let source = UdpSocket::bind(any()).await.unwrap();
            source.send_to(packet, node.address).await.unwrap();
            sources.push(source);
        }
        go_on_until(&mut node, Counter::Retries, sources.len() as u64 - 4).await;
    }
    // The good one shows its address first, like everybody now, and gets in while all of the others still wait.
    let backend = backend(&authority, 2);
    let (dialed, accepted) =
        timeout(PATIENCE, async { tokio::join!(backend.dial(node.address), node.acceptor.accept()) }).await.unwrap();
    assert!(dialed.is_ok() && accepted.is_some(), "{dialed:?}");
    let told = all_counted(&node.endpoint);
    assert_eq!(counted(&node.endpoint, Counter::Retries), 100 - 4 + 1, "{told:?}");
    assert_eq!(counted(&node.endpoint, Counter::HandshakeDisplaced), 0, "{told:?}");
    assert_eq!(counted(&node.endpoint, Counter::HandshakeLate), 0, "{told:?}");
}

#[tokio::test]
async fn handshakes_of_proven_addresses_that_stop_half_way_give_way_to_the_newest() {
    const HALF_OPEN: u64 = 40;
    let authority = authority("main");
    let config = TransportConfig { handshakes_max: 8, handshakes_trusted: 0, ..TransportConfig::default() };
    let mut node = node(&authority, config);
    let mut held = Vec::new();
    for _ in 0..HALF_OPEN {
        let half_open = HalfOpen::new(node.address).await;
        tokio::select! {
            () = half_open.relay() => {}
            link = node.acceptor.accept() => panic!("{link:?} stands"),
        }
        held.push(half_open);
    }
    go_on_until(&mut node, Counter::HandshakeDisplaced, HALF_OPEN - 8).await;
    let backend = backend(&authority, 2);
    let (dialed, accepted) =
        timeout(PATIENCE, async { tokio::join!(backend.dial(node.address), node.acceptor.accept()) }).await.unwrap();
    assert!(dialed.is_ok() && accepted.is_some(), "{dialed:?}");
    assert_eq!(counted(&node.endpoint, Counter::HandshakeDisplaced), HALF_OPEN - 8 + 1);
    assert_eq!(counted(&node.endpoint, Counter::HandshakeLate), 0);
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_given_up_in_time() {
    let authority = authority("main");
    let config = TransportConfig { handshake: Duration::from_millis(100), ..TransportConfig::default() };
    let mut node = node(&authority, config);
    let source = UdpSocket::bind(any()).await.unwrap();
    source.send_to(&first_packets(1).await[0], node.address).await.unwrap();
    go_on_until(&mut node, Counter::HandshakeLate, 1).await;
}

#[tokio::test]
async fn packets_that_are_none_are_nobody_s_handshake() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    let source = UdpSocket::bind(any()).await.unwrap();
    let packet = first_packets(1).await.remove(0);
    for length in [0, 1, 20, 100, 1_199] {
        source.send_to(&packet[..length.min(packet.len())], node.address).await.unwrap();
    }
    let mut changed = packet.clone();
    for at in (0..1_200).step_by(7) {
        changed[at] ^= 0x55;
        source.send_to(&changed, node.address).await.unwrap();
        changed[at] = packet[at];
    }
    let backend = backend(&authority, 2);
    let (dialed, accepted) =
        timeout(PATIENCE, async { tokio::join!(backend.dial(node.address), node.acceptor.accept()) }).await.unwrap();
    assert!(dialed.is_ok() && accepted.is_some(), "{dialed:?}");
}

/// The first packet of as many handshakes, each of which could go on.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind(any()).await.unwrap();
    let raw = raw_with(None);
    let (mut dialing, mut packets) = (Vec::new(), BTreeMap::new());
    for _ in 0..count {
        // Kept, for the last packet of one that is dropped would look like a first one.
        dialing.push(raw.connect(nobody.local_addr().unwrap(), "anybody").unwrap());
        while packets.len() < dialing.len() {
            let mut packet = vec![0; 2_000];
            let (length, _) = nobody.recv_from(&mut packet).await.unwrap();
            packet.truncate(length);
            // Told apart from one that is sent again by the id that is dialed, which stands there with its length ahead.
            let id = packet[6..6 + usize::from(packet[5])].to_vec();
            packets.entry(id).or_insert(packet);
        }
    }
    packets.into_values().collect()
}

/// Somebody who dials through a relay that passes on its first packet, what is answered to that, and its second; and then nothing more. The
/// answer tells it to show its address, and its second packet does.
struct HalfOpen {
    inside: UdpSocket,
    outside: UdpSocket,
    /// Goes on as long as it is not dropped.
    _dialing: (quinn::Endpoint, quinn::Connecting),
}

impl HalfOpen {
    async fn new(node: SocketAddr) -> Self {
        let (inside, outside) = (UdpSocket::bind(any()).await.unwrap(), UdpSocket::bind(any()).await.unwrap());
        outside.connect(node).await.unwrap();
        let raw = raw_with(None);
        let dialing = raw.connect(inside.local_addr().unwrap(), "anybody").unwrap();
        Self { inside, outside, _dialing: (raw, dialing) }
    }

    async fn relay(&self) {
        let mut packet = vec![0; 2_000];
        let (length, dialer) = self.inside.recv_from(&mut packet).await.unwrap();
        self.outside.send(&packet[..length]).await.unwrap();
        let length = self.outside.recv(&mut packet).await.unwrap();
        self.inside.send_to(&packet[..length], dialer).await.unwrap();
        let (length, _) = self.inside.recv_from(&mut packet).await.unwrap();
        self.outside.send(&packet[..length]).await.unwrap();
    }
}

/// Has handshakes go on until that was counted so often; no link may stand.
async fn go_on_until(node: &mut Node, counter: Counter, count: u64) {
    tokio::select! {
        () = until_counted(&node.endpoint, counter, count) => {}
        link = node.acceptor.accept() => panic!("{link:?} stands"),
    }
}
