//! The latest value of each subject, in the order in which they were put: a ring in which a value leaves when a later one of its
//! subject comes.
//!
//! Invariants:
//! - versions rise with every put; a subject has one value, under the version of its latest put;
//! - `order` and `versions` name the same subjects;
//! - the head moves after its value lies in the map: whoever sees a head finds all that was put up to it and not replaced;
//! - within the bounds, but for one value that alone weighs more.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::Weigh;

/// How much a keep-latest map keeps. The oldest subjects go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestConfig {
    /// Subjects, at most; 0 counts as 1. Default 4,096. Lower and slow readers miss subjects that changed in between; higher costs
    /// about 100 bytes a subject beside the bytes counted.
    pub subjects_max: usize,
    /// Weight of all values together, in bytes. Default 1 MiB. As with their number.
    pub bytes_max: usize,
}

impl Default for LatestConfig {
    fn default() -> Self {
        Self { subjects_max: 4_096, bytes_max: 1024 * 1024 }
    }
}

/// The number of a put, from 1 on; and the place of a reader that has read all up to that put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

/// How much a keep-latest map holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestHeld {
    /// Subjects that have a value.
    pub subjects: usize,
    /// Weight of all values together, in bytes.
    pub bytes: usize,
}

/// Makes an empty keep-latest map. The writer is its only one; the reader may be cloned.
pub fn latest<K: Ord + Clone, V: Weigh>(config: LatestConfig) -> (LatestWriter<K, V>, LatestReader<K, V>) {
    let map = Map { order: BTreeMap::new(), versions: BTreeMap::new(), bytes: 0 };
    let shared = Arc::new(Shared { head: AtomicU64::new(0), map: RwLock::new(map) });
    (LatestWriter { shared: Arc::clone(&shared), config }, LatestReader { shared })
}

/// The one writer of a keep-latest map.
pub struct LatestWriter<K, V> {
    shared: Arc<Shared<K, V>>,
    config: LatestConfig,
}

/// Leave to read one keep-latest map. Cheap to clone and to send. It keeps working when the writer is gone.
pub struct LatestReader<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    head: AtomicU64,
    map: RwLock<Map<K, V>>,
}

struct Map<K, V> {
    order: BTreeMap<u64, Kept<K, V>>,
    versions: BTreeMap<K, u64>,
    bytes: usize,
}

struct Kept<K, V> {
    subject: K,
    value: V,
    bytes: usize,
}

impl<K: Ord + Clone, V: Weigh> LatestWriter<K, V> {
    /// Puts a value in the place of its subject's last one, and returns how many other subjects had to leave for it. O(log n) in
    /// subjects, and as much for each that leaves; waits for readers that are just looking.
    pub fn put(&mut self, subject: K, value: V) -> usize {
        let bytes = value.weight_bytes();
        let version = self.head().0 + 1;
        let mut map = self.shared.map.write();
        if let Some(before) = map.versions.insert(subject.clone(), version) {
            map.take_out(before);
        }
        map.bytes += bytes;
        map.order.insert(version, Kept { subject, value, bytes });
        let mut left = 0;
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::LatestUnbounded.is_on() {
            self.shared.head.store(version, Ordering::Release);
            return left;
        }
        while map.order.len() > self.config.subjects_max.max(1)
            || map.bytes > self.config.bytes_max && map.order.len() > 1
        {
            map.pop_oldest();
            left += 1;
        }
        // Release: whoever sees this head sees the value, also where it does not take the lock for it.
        self.shared.head.store(version, Ordering::Release);
        left
    }

    /// Takes away the subjects from `first` on while `is_gone` says so. O((1 + those taken away) log n).
    pub fn remove(&mut self, first: &K, is_gone: impl Fn(&K) -> bool) {
        let mut map = self.shared.map.write();
        loop {
            let next = map.versions.range::<K, _>((Bound::Included(first), Bound::Unbounded)).next();
            let Some((subject, version)) = next.filter(|(subject, _)| is_gone(subject)) else {
                return;
            };
            let (subject, version) = (subject.clone(), *version);
            map.versions.remove(&subject);
            map.take_out(version);
        }
    }
}

impl<K, V> LatestWriter<K, V> {
    /// The version of the latest put; 0 before the first.
    pub fn head(&self) -> Version {
        self.shared.head()
    }

    /// Weight of all values in the map, and of its own nodes, in bytes.
    pub fn bytes(&self) -> usize {
        let map = self.shared.map.read();
        // A node of either tree is about two thirds full.
        let nodes = size_of::<Kept<K, V>>() + size_of::<K>() + 2 * size_of::<u64>();
        map.bytes + map.order.len() * nodes * 3 / 2
    }
}

impl<K: Ord, V> LatestReader<K, V> {
    /// The version of the latest put: where a reader begins that wants only what comes from now on. A load.
    #[inline]
    pub fn head(&self) -> Version {
        self.shared.head()
    }

    /// Visits the subjects put after `version`, each with its latest value, in the order of these puts, while the visitor says
    /// `Continue`.
    ///
    /// `Continue` takes the value: `version` moves to its put. `Break` leaves it for the next read. A read that comes to its end
    /// leaves `version` at the head. The writer waits meanwhile: a visitor copies out what it wants and does its work later. A
    /// visitor that reads the same map may wait for ever. At the head one load, otherwise O(log n + visited).
    pub fn read(&self, version: &mut Version, mut visit: impl FnMut(Version, &V) -> ControlFlow<()>) {
        if *version == self.head() {
            return;
        }
        let map = self.shared.map.read();
        let head = self.head();
        for (at, kept) in map.order.range((Bound::Excluded(version.0), Bound::Unbounded)) {
            if visit(Version(*at), &kept.value).is_break() {
                return;
            }
            *version = Version(*at);
        }
        *version = head.max(*version);
    }

    /// The subject's value, if it has one. O(log n).
    pub fn get(&self, subject: &K) -> Option<V>
    where
        V: Clone,
    {
        let map = self.shared.map.read();
        let version = map.versions.get(subject)?;
        Some(map.order[version].value.clone())
    }

    /// How much there is, as the bounds count it.
    pub fn held(&self) -> LatestHeld {
        let map = self.shared.map.read();
        LatestHeld { subjects: map.order.len(), bytes: map.bytes }
    }

    /// Subjects that have a value.
    pub fn len(&self) -> usize {
        self.shared.map.read().order.len()
    }

    /// Whether no subject has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, V> Shared<K, V> {
    #[inline]
    fn head(&self) -> Version {
        Version(self.head.load(Ordering::Acquire))
    }
}

impl<K: Ord, V> Map<K, V> {
    fn take_out(&mut self, version: u64) {
        let kept = self.order.remove(&version).expect("a subject's version is in the order");
        self.bytes -= kept.bytes;
    }

    fn pop_oldest(&mut self) {
        if let Some((_, kept)) = self.order.pop_first() {
            self.bytes -= kept.bytes;
            self.versions.remove(&kept.subject);
        }
    }
}

impl<K, V> Clone for LatestReader<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V> fmt::Debug for LatestWriter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatestWriter").field("config", &self.config).field("head", &self.head()).finish()
    }
}

impl<K, V> fmt::Debug for LatestReader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatestReader").field("head", &self.shared.head()).finish()
    }
}
