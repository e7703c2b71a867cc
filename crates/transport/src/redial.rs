//! Keeps one link to one peer: dials again, after a pause, whenever the last link has ended.

use std::net::SocketAddr;

use tokio::time::{Instant, sleep_until};

use crate::{Backoff, BackoffConfig, DialError, Dialed, Endpoint};

/// One peer to be linked with. There is one link at a time as long as whoever asks for the next has seen the end of the last.
#[derive(Debug)]
pub struct Redial {
    endpoint: Endpoint,
    address: SocketAddr,
    backoff: Backoff,
    failed: Option<DialError>,
}

impl Redial {
    /// For the guild node at `address`. `seed` should differ from node to node.
    pub const fn new(endpoint: Endpoint, address: SocketAddr, config: BackoffConfig, seed: u64) -> Self {
        Self { endpoint, address, backoff: Backoff::new(config, seed), failed: None }
    }

    /// Dials until a link stands: the first time at once, then after a pause that grows as long as none lasts. May be dropped while it waits, and
    /// asked again: no pause is cut short by that.
    pub async fn link(&mut self) -> Dialed {
        loop {
            if let Some(link) = self.attempt().await {
                return link;
            }
        }
    }

    /// Dials once, when it is time. `None` if no link came of it: [`failed`](Self::failed) tells why. May be dropped while it waits.
    pub async fn attempt(&mut self) -> Option<Dialed> {
        self.backoff.ended(now());
        if let Some(due) = self.backoff.due() {
            sleep_until(Instant::from_std(due)).await;
        }
        self.backoff.begun(now());
        match self.endpoint.dial(self.address).await {
            Ok(link) => {
                self.backoff.stands(now());
                self.failed = None;
                Some(link)
            }
            Err(error) => {
                self.backoff.failed(now());
                self.failed = Some(error);
                None
            }
        }
    }

    /// Why the last attempt failed, if it did.
    pub const fn failed(&self) -> Option<&DialError> {
        self.failed.as_ref()
    }
}

/// The runtime's time, which tests may hold.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
