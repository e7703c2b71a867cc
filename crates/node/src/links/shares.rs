//! What the links of one identity share: leave to send long requests, and to have workers look for answers. So whoever has several links has
//! no more of either than with one.
//!
//! Invariants:
//! - of an identity that has a link, or a call that outlives its last, there is one share;
//! - what is kept of identities without any is at most as much as of those with.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use guildhall_transport::Identity;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{ServeConfig, places};

/// The shares of all identities that have links.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_identity: Mutex<HashMap<Identity, Weak<Share>>>,
}

/// What one identity may have at a time.
#[derive(Debug)]
pub(super) struct Share {
    /// Leave to send more than one chunk of a request.
    pub(super) long_requests: Arc<Semaphore>,
    /// Leave to have workers look for an answer.
    pub(super) answers: Arc<Semaphore>,
}

impl Shares {
    /// The share of a link that has come to stand, gone with the last that holds it. O(1), but that each time as many identities have come as
    /// there are, those without a link are forgotten.
    pub(super) fn of(&self, identity: &Identity, config: &ServeConfig) -> Arc<Share> {
        let mut shares = self.by_identity.lock();
        if let Some(share) = shares.get(identity).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() == shares.capacity() {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share {
            long_requests: places(config.peer_long_requests_max),
            answers: places(config.peer_answers_max),
        });
        shares.insert(identity.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::{Instance, NodeId};

    use super::*;

    #[test]
    fn an_identity_has_one_share_as_long_as_it_has_a_link_and_those_that_have_gone_are_forgotten() {
        let (shares, config) = (Shares::default(), ServeConfig::new(NodeId::MIN, Instance(1)));
        let identity = |name: u64| format!("spiffe://main/backend/chat-{name}").parse().unwrap();
        let first = shares.of(&identity(1), &config);
        assert!(Arc::ptr_eq(&first, &shares.of(&identity(1), &config)));
        assert!(!Arc::ptr_eq(&first, &shares.of(&identity(2), &config)));
        for name in 0..1_000 {
            drop(shares.of(&identity(name), &config));
        }
        assert!(shares.by_identity.lock().len() < 100);
        assert!(Arc::ptr_eq(&first, &shares.of(&identity(1), &config)));
    }
}
