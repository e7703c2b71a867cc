//! What the writer and the readers of one ring share, and how a ring is made.
//!
//! Invariants, on which every read rests:
//! - a slot is written before the head passes it, and only once;
//! - a directory with a chunk for an entry is published before the head passes that entry;
//! - a directory's tail is at most the head at the time it is published.
//!
//! So whoever loads the head first and the directory second finds every entry between the directory's tail and that head.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::budget::{Budget, Lease};
use crate::directory::Directory;
use crate::sync::{AtomicU64, Published};
use crate::{Cursor, Reader, Weigh, Writer};

/// How much a ring keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingConfig {
    /// Entries, at most; 0 counts as 1. Default 4,096. Lower and readers meet gaps after short pauses; higher costs a slot an
    /// entry beside the bytes counted, 16 bytes for an `Arc`.
    pub entries_max: usize,
    /// Weight of all entries together, in bytes; one entry that alone weighs more is kept as the only one. Default 1 MiB. Lower
    /// and large events push out all others; higher and every busy guild of a node holds that much.
    pub bytes_max: usize,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self { entries_max: 4_096, bytes_max: 1024 * 1024 }
    }
}

/// Makes an empty ring whose first entry will have the index `first`. The writer is its only one; the reader may be cloned.
pub fn ring<T: Weigh>(config: RingConfig, first: Cursor) -> (Writer<T>, Reader<T>) {
    make(config, first, None)
}

/// The same, under a budget that it shares with other rings: `config.bytes_max` is what it holds if the budget has so much for it.
pub fn ring_within<T: Weigh>(budget: &Arc<Budget>, config: RingConfig, first: Cursor) -> (Writer<T>, Reader<T>) {
    make(config, first, Some(Lease::new(Arc::clone(budget))))
}

fn make<T: Weigh>(config: RingConfig, first: Cursor, lease: Option<Lease>) -> (Writer<T>, Reader<T>) {
    let directory = Published::new(Arc::new(Directory::empty(first)));
    let shared = Arc::new(Shared { head: AtomicU64::new(first.0), directory, lease });
    (Writer::new(Arc::clone(&shared), config, first), Reader::new(shared))
}

/// The meeting place of one writer and its readers.
pub(crate) struct Shared<T> {
    head: AtomicU64,
    directory: Published<Directory<T>>,
    /// After the directory, so that what it covers is gone when it is given back.
    lease: Option<Lease>,
}

impl<T> Shared<T> {
    /// The place behind the newest entry. All below it, as far as a directory loaded later reaches down, can be read.
    pub(crate) fn head(&self) -> Cursor {
        Cursor(self.head.load(Ordering::Acquire))
    }

    /// Shows every entry below `head` to readers; the writer's, once slot and directory are in place.
    pub(crate) fn advance(&self, head: Cursor) {
        // Release: whoever sees this head sees the slots and the directory written before it.
        self.head.store(head.0, Ordering::Release);
    }

    /// Where the entries lie, as published.
    pub(crate) fn directory(&self) -> impl Deref<Target = Arc<Directory<T>>> + '_ {
        self.directory.load()
    }

    /// The ring's part of its budget, if it is under one.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Replaces the directory; the writer's.
    pub(crate) fn publish(&self, directory: Directory<T>) {
        self.directory.store(Arc::new(directory));
    }
}
