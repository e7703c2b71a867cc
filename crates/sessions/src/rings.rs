//! One budget for all rings of a node, and how idle ones are made to give back when busy ones are short.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use guildhall_ring::Budget;
use parking_lot::Mutex;

/// Whoever writes rings under the budget.
pub trait Holder: Send + Sync + 'static {
    /// Bytes that its rings have leased.
    fn leased(&self) -> usize;

    /// Has them give back what is beyond their share. Never waits for long.
    fn give_back(&self);
}

/// A node's rings, all within one budget.
pub struct Rings {
    budget: Arc<Budget>,
    /// Told each time that one is told to give back.
    cut_back: Box<dyn Fn() + Send + Sync>,
    /// Those that have leased something, some of them gone.
    holders: Mutex<Vec<Weak<dyn Holder>>>,
    /// How many have said that they go since those who are gone were last taken out.
    leaving: AtomicUsize,
    /// Whether they are just being asked, or were a moment ago.
    asking: AtomicBool,
}

impl Rings {
    /// Rings that together have at most `bytes_max` bytes. `cut_back` is called each time that one is told to give back.
    pub fn new(bytes_max: usize, cut_back: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            budget: Budget::new(bytes_max),
            cut_back: Box::new(cut_back),
            holders: Mutex::default(),
            leaving: AtomicUsize::new(0),
            asking: AtomicBool::new(false),
        }
    }

    /// What they lease their bytes from.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// To be called by a holder that has appended: lists it once it has a lease, and sees to those beyond their share if some ring
    /// is short. A load, once it is listed and if none is short.
    pub fn note<H: Holder>(self: &Arc<Self>, holder: &Arc<H>, listed: &mut bool) {
        if !*listed && holder.leased() > 0 {
            *listed = true;
            let holder: Weak<dyn Holder> = Arc::downgrade(&(Arc::clone(holder) as Arc<dyn Holder>));
            let mut holders = self.holders.lock();
            if holders.len() == holders.capacity() {
                holders.retain(|holder| holder.strong_count() > 0);
            }
            holders.push(holder);
        }
        if self.budget.is_short() && !self.asking.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).ask());
        }
    }

    /// To be called by a holder that is listed and about to go. Its place in the list holds the memory that it lies in, so those who are
    /// gone are taken out when they are about half: O(1), counted over many.
    pub fn leave(&self) {
        let leaving = 1 + self.leaving.fetch_add(1, Ordering::Relaxed);
        let mut holders = self.holders.lock();
        if leaving * 2 > holders.len() {
            self.leaving.store(0, Ordering::Relaxed);
            holders.retain(|holder| holder.strong_count() > 0);
            let kept = 2 * holders.len();
            holders.shrink_to(kept);
        }
    }

    /// Tells those beyond their share, and again after a while as long as some ring within its own is refused.
    async fn ask(self: Arc<Self>) {
        while self.budget.is_short() {
            self.budget.forget_shortage();
            self.tell();
            tokio::time::sleep(ASK_EVERY).await;
        }
        self.asking.store(false, Ordering::Release);
    }

    fn tell(&self) {
        let holders: Vec<Arc<dyn Holder>> = self.holders.lock().iter().filter_map(Weak::upgrade).collect();
        let share = self.budget.share();
        for holder in holders {
            if holder.leased() > share {
                holder.give_back();
                (self.cut_back)();
            }
        }
    }
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rings").field("leased", &self.budget.leased()).finish_non_exhaustive()
    }
}

/// The least time between two rounds of asking.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    struct Leaser;

    impl Holder for Leaser {
        fn leased(&self) -> usize {
            1
        }

        fn give_back(&self) {}
    }

    #[test]
    fn who_is_gone_leaves_the_list() {
        let rings = Arc::new(Rings::new(1, || ()));
        let holders: Vec<_> = (0..1_000).map(|_| Arc::new(Leaser)).collect();
        holders.iter().for_each(|holder| rings.note(holder, &mut false));
        for holder in holders {
            drop(holder);
            rings.leave();
        }
        assert!(rings.holders.lock().capacity() <= 8, "{}", rings.holders.lock().capacity());
    }
}
