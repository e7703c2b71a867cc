//! The keys that sessions' secrets are signed with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use guildhall_relay::{SecretKey, SecretKeys};

/// The keys in force. Read without waiting, replaced as a whole.
#[derive(Debug)]
pub(crate) struct Keys(ArcSwap<SecretKeys>);

/// The system gives no randomness, which a key is made of.
#[derive(Debug, thiserror::Error)]
#[error("no randomness for a session key: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

impl Keys {
    /// The keys given, or new ones.
    pub(crate) fn new(given: Option<SecretKeys>) -> Result<Self, NoRandomness> {
        let keys = match given {
            Some(keys) => keys,
            None => SecretKeys::new(random()?),
        };
        Ok(Self(ArcSwap::from_pointee(keys)))
    }

    pub(crate) fn load(&self) -> Arc<SecretKeys> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, keys: SecretKeys) {
        self.0.store(Arc::new(keys));
    }
}

fn random() -> Result<SecretKey, NoRandomness> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(SecretKey { number: 1, key })
}
