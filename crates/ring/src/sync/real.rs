//! What runs in production: the standard library's atomics and `OnceLock`, and `arc-swap`.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

pub(crate) use std::sync::atomic::AtomicU64;

/// A place for one value, written once.
pub(crate) struct Slot<T>(OnceLock<T>);

impl<T> Slot<T> {
    pub(crate) fn set(&self, value: T) {
        let written = self.0.set(value).is_ok();
        assert!(written, "one writer writes each slot once");
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

/// A shared value that is replaced as a whole; a load takes no lock and, as a rule, touches no reference count.
pub(crate) struct Published<T>(ArcSwap<T>);

impl<T> Published<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(ArcSwap::new(value))
    }

    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + '_ {
        self.0.load()
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        self.0.store(value);
    }
}
