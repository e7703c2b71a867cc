//! One bound in bytes over many rings.
//!
//! A ring under a budget holds [`FREE_BYTES`] as it likes. For more it takes a lease, in steps that double, and evicts its oldest entries
//! where it gets none. So the rings that are really busy share the budget, and idle ones cost it nothing.
//!
//! Invariants:
//! - `leased` is the sum of all leases, and at most `bytes_max`;
//! - `claimants` counts the rings that ever asked for a lease and are still there;
//! - a lease lives as long as anything of its ring does: its bytes are given back when the last reader is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What a ring holds without a lease. An idle guild's ring stays below, so it asks nobody.
pub const FREE_BYTES: usize = 4 * 1024;

/// What the rings of one node may hold together. They hold at most this, and [`FREE_BYTES`] each, and each one newest entry that alone
/// weighs more.
///
/// **Fairness.** A ring within its share (the budget, divided by the rings that ever wanted a lease) gets what there is. One beyond it
/// gets more only while an eighth of the budget stays free, and gives the excess back, when it is next appended to, once a ring within
/// its share has been refused. A ring that is not appended to gives back when it is [told to](crate::Writer::give_back), which is
/// what [`Budget::is_short`] is for.
///
/// All operations are a few atomic ones, and are called once in a doubling of a ring.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    leased: AtomicUsize,
    claimants: AtomicUsize,
    refusals: AtomicU64,
    /// A ring within its share was refused, and little has been given back since, nor was it forgotten.
    is_short: AtomicBool,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            leased: AtomicUsize::new(0),
            claimants: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        })
    }

    /// What the rings may lease together, in bytes.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What they have leased, in bytes.
    pub fn leased(&self) -> usize {
        self.leased.load(Ordering::Relaxed)
    }

    /// Leases refused so far. After each the ring that asked evicted what it could have kept, had the budget been larger.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// An equal part of the budget for each ring that ever asked for a lease and is still there, in bytes.
    pub fn share(&self) -> usize {
        self.bytes_max / self.claimants.load(Ordering::Relaxed).max(1)
    }

    /// Whether a ring within its share was refused, and neither much was given back since nor was this
    /// [forgotten](Self::forget_shortage): then those beyond their share are to be told to [give back](crate::Writer::give_back),
    /// the idle ones among them. A load.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// To be called before the rings are told to give back: whether it was enough the next refusal shows.
    pub fn forget_shortage(&self) {
        self.is_short.store(false, Ordering::Relaxed);
    }

    fn take(&self, held: usize, bytes: usize) -> bool {
        let is_within = held.saturating_add(bytes) <= self.share();
        let max = if is_within { self.bytes_max } else { self.comfortable() };
        let taken = self.leased.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |leased| {
            leased.checked_add(bytes).filter(|leased| *leased <= max)
        });
        if taken.is_err() && is_within {
            self.is_short.store(true, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn put_back(&self, bytes: usize) {
        let before = self.leased.fetch_sub(bytes, Ordering::Relaxed);
        if before - bytes <= self.comfortable() {
            self.is_short.store(false, Ordering::Relaxed);
        }
    }

    /// What may be leased before only rings within their share get more.
    fn comfortable(&self) -> usize {
        self.bytes_max - self.bytes_max / 8
    }
}

/// One ring's part of a budget.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    /// Written by the ring's writer alone.
    bytes: AtomicUsize,
    /// Whether the ring is counted among those that want a part.
    claims: AtomicBool,
}

impl Lease {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: AtomicUsize::new(0), claims: AtomicBool::new(false) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What the ring may hold.
    pub(crate) fn allows(&self) -> usize {
        FREE_BYTES.saturating_add(self.bytes())
    }

    /// Asks for as much that the ring may hold `wanted` bytes, or at least `needed`; whether it got the latter.
    pub(crate) fn grow(&self, needed: usize, wanted: usize) -> bool {
        if !self.claims.swap(true, Ordering::Relaxed) {
            self.budget.claimants.fetch_add(1, Ordering::Relaxed);
        }
        let held = self.bytes();
        let is_grown = [wanted, needed].into_iter().any(|allowed| {
            let bytes = allowed.saturating_sub(held + FREE_BYTES);
            let is_taken = self.budget.take(held, bytes);
            if is_taken {
                self.bytes.store(held + bytes, Ordering::Relaxed);
            }
            is_taken
        });
        if !is_grown {
            self.budget.refusals.fetch_add(1, Ordering::Relaxed);
        }
        is_grown
    }

    /// Whether other rings are short of bytes.
    pub(crate) fn is_short(&self) -> bool {
        self.budget.is_short()
    }

    /// What the ring is to keep when others are short.
    pub(crate) fn share(&self) -> usize {
        self.budget.share()
    }

    /// Gives back what is above `bytes`. The ring holds no more than that by now.
    pub(crate) fn shrink(&self, bytes: usize) {
        let held = self.bytes();
        let back = held.saturating_sub(bytes);
        if back > 0 {
            self.bytes.store(held - back, Ordering::Relaxed);
            self.budget.put_back(back);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink(0);
        if *self.claims.get_mut() {
            self.budget.claimants.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
