//! What runs under `loom`: the same promises, built on its atomics, so that it may show every value that the memory model allows.
//!
//! `loom` runs one thread at a time and switches at its own atomics only, so what hides behind the standard library's types here
//! is never contended. Visibility is decided by the modelled flag or number alone, with acquire and release: the least that the
//! real types promise.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) use loom::sync::atomic::AtomicU64;

/// A place for one value, written once.
pub(crate) struct Slot<T> {
    written: AtomicBool,
    value: OnceLock<T>,
}

impl<T> Slot<T> {
    pub(crate) fn set(&self, value: T) {
        let written = self.value.set(value).is_ok();
        assert!(written, "one writer writes each slot once");
        self.written.store(true, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.written.load(Ordering::Acquire) { self.value.get() } else { None }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { written: AtomicBool::new(false), value: OnceLock::new() }
    }
}

/// A shared value that is replaced as a whole. All versions are kept: a load may return any that the memory model allows.
pub(crate) struct Published<T> {
    latest: AtomicUsize,
    versions: Mutex<Vec<Arc<T>>>,
}

impl<T> Published<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self { latest: AtomicUsize::new(0), versions: Mutex::new(vec![value]) }
    }

    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + '_ {
        let version_idx = self.latest.load(Ordering::Acquire);
        Loaded(Arc::clone(&self.versions.lock().unwrap_or_else(PoisonError::into_inner)[version_idx]))
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        let version_idx = {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.push(value);
            versions.len() - 1
        };
        self.latest.store(version_idx, Ordering::Release);
    }
}

/// Stands where the real type has its guard.
struct Loaded<T>(Arc<T>);

impl<T> Deref for Loaded<T> {
    type Target = Arc<T>;
    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}
