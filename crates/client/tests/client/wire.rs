//! A way to a node that can be cut while both of its ends live.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Carries one client's packets to a node, and the answers back. While it is cut, they are lost.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    carrying: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(node: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(node).await.unwrap();
        let (address, is_cut) = (near.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let carrying = tokio::spawn(carry(near, far, Arc::clone(&is_cut)));
        Self { address, is_cut, carrying }
    }

    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(near: UdpSocket, far: UdpSocket, is_cut: Arc<AtomicBool>) {
    let (mut there, mut back, mut client) = ([0; 65_536], [0; 65_536], None);
    loop {
        tokio::select! {
            came = near.recv_from(&mut there) => {
                let (bytes, from) = came.unwrap();
                client = Some(from);
                if !is_cut.load(Ordering::SeqCst) {
                    sent(far.send(&there[..bytes]).await);
                }
            }
            came = far.recv(&mut back) => {
                // A node that is not there for a moment is told of as an error: nothing has come then.
                if let (Ok(bytes), Some(client), false) = (came, client, is_cut.load(Ordering::SeqCst)) {
                    sent(near.send_to(&back[..bytes], client).await);
                }
            }
        }
    }
}

/// What is not sent is lost, as on any wire.
fn sent(_lost: io::Result<usize>) {}
