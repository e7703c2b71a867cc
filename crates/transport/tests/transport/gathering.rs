//! Calls that are made side by side go in few datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use guildhall_proto::frame::Kind;
use guildhall_transport::TransportConfig;
use tokio::task::JoinSet;

use crate::world::{any, authority, backend, node};

/// Hands on what one dialer sends and what it is answered, and counts the datagrams from it.
struct Between {
    address: SocketAddr,
    counted: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Between {
    fn new(node: SocketAddr) -> Self {
        let [near, far] = [any(), any()].map(|address| UdpSocket::bind(address).unwrap());
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        far.connect(node).unwrap();
        let between = Self { address: near.local_addr().unwrap(), counted: Arc::default(), is_over: Arc::default() };
        let (counted, over) = (Arc::clone(&between.counted), Arc::clone(&between.is_over));
        let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        thread::spawn(move || {
            let (mut bytes, mut back) = ([0; 2_048], None);
            while !over.load(Ordering::Relaxed) {
                if let Ok((length, dialer)) = from.recv_from(&mut bytes) {
                    counted.fetch_add(1, Ordering::Relaxed);
                    // A datagram may be lost.
                    to.send(&bytes[..length]).ok();
                    if back.replace(dialer).is_none() {
                        answer(to.try_clone().unwrap(), from.try_clone().unwrap(), dialer, Arc::clone(&over));
                    }
                }
            }
        });
        between
    }
}

fn answer(from: UdpSocket, to: UdpSocket, dialer: SocketAddr, over: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut bytes = [0; 2_048];
        while !over.load(Ordering::Relaxed) {
            if let Ok(length) = from.recv(&mut bytes) {
                to.send_to(&bytes[..length], dialer).ok();
            }
        }
    });
}

impl Drop for Between {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// With one worker, where whoever is woken runs right behind who woke it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_side_by_side_share_datagrams() {
    let authority = authority("main");
    let (mut node, backend) = (node(&authority, TransportConfig::default()), backend(&authority, 2));
    let between = Between::new(node.address);
    let (dialed, accepted) = tokio::join!(backend.dial(between.address), node.acceptor.accept());
    let (dialed, accepted) = (Arc::new(dialed.unwrap()), accepted.unwrap());
    let answering = tokio::spawn(async move {
        while let Ok((mut sender, mut receiver)) = accepted.next_call().await {
            tokio::spawn(async move {
                receiver.next().await.unwrap().unwrap();
                sender.append(Kind::Answer, b"!").unwrap();
                sender.finish().await.unwrap();
            });
        }
    });
    let before = between.counted.load(Ordering::Relaxed);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let dialed = Arc::clone(&dialed);
        callers.spawn(async move {
            for _ in 0..CALLS {
                let (mut sender, mut receiver) = dialed.call().await.unwrap();
                sender.append(Kind::Request, b"?").unwrap();
                sender.finish().await.unwrap();
                assert_eq!(receiver.next().await.unwrap().unwrap().kind, Kind::Answer);
            }
        });
    }
    while let Some(called) = callers.join_next().await {
        called.unwrap();
    }
    let sent = between.counted.load(Ordering::Relaxed) - before;
    // A thousand to 2,500; more than 6,500 if each that is woken runs at once.
    assert!(sent < u64::from(CALLERS * CALLS) * 3 / 4, "{sent} datagrams for {} calls", CALLERS * CALLS);
    answering.abort();
}

const CALLERS: u32 = 64;
const CALLS: u32 = 100;
