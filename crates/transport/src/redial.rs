//! Keeps one link to one peer: dials again, after a pause, whenever the last link has ended.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{Backoff, BackoffConfig, DialError, Dialed, Endpoint};

/// One peer to be linked with. There is one link at a time as long as whoever asks for the next has seen the end of the last.
#[derive(Debug)]
pub struct Redial {
    endpoint: Endpoint,
    address: SocketAddr,
    backoff: Backoff,
    /// A link that lived as long as this had nothing wrong with it when it stood.
    lasting: Duration,
    /// When the last link stood first.
    stood_at: Option<Instant>,
    /// Drawn ahead of the last attempt, for what comes behind it.
    pause: Duration,
    /// Not before then is dialed again.
    next_at: Instant,
    failed: Option<DialError>,
}

impl Redial {
    /// For the guild node at `address`. `seed` should differ from node to node.
    pub fn new(endpoint: Endpoint, address: SocketAddr, config: BackoffConfig, seed: u64) -> Self {
        let backoff = Backoff::new(config, seed);
        let (pause, next_at) = (Duration::ZERO, Instant::now());
        Self { endpoint, address, backoff, lasting: config.most, stood_at: None, pause, next_at, failed: None }
    }

    /// Dials until a link stands: the first time at once, then after a pause that grows as long as none lasts. May be dropped while it waits, and
    /// asked again: no pause is cut short by that.
    pub async fn link(&mut self) -> Dialed {
        if let Some(stood_at) = self.stood_at.take() {
            if stood_at.elapsed() >= self.lasting {
                self.backoff.reset();
                self.pause = self.backoff.draw();
            }
            self.next_at = Instant::now() + self.pause;
        }
        loop {
            sleep_until(self.next_at).await;
            // Ahead of the attempt too, so that one which is dropped half-way counts as well.
            self.pause = self.backoff.draw();
            self.next_at = Instant::now() + self.pause;
            match self.endpoint.dial(self.address).await {
                Ok(link) => {
                    self.stood_at = Some(Instant::now());
                    self.failed = None;
                    return link;
                }
                Err(error) => {
                    self.failed = Some(error);
                    self.next_at = Instant::now() + self.pause;
                }
            }
        }
    }

    /// Why the last attempt failed, if it did.
    pub const fn failed(&self) -> Option<&DialError> {
        self.failed.as_ref()
    }
}
