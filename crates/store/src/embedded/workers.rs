//! Who helps to read a large guild: the store starts no thread, so its caller brings them.

use std::fmt;

use parking_lot::Mutex;

/// Carries out the pieces of one job, side by side if it can.
pub trait Workers: fmt::Debug + Send + Sync {
    /// Calls `job` with each number below `n`, once, in any order, on any thread, and returns when all calls have returned.
    fn for_each(&self, n: usize, job: &(dyn Fn(usize) + Sync));
}

/// The caller itself, one piece after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Workers for Alone {
    fn for_each(&self, n: usize, job: &(dyn Fn(usize) + Sync)) {
        for piece_idx in 0..n {
            job(piece_idx);
        }
    }
}

/// What each piece of a job came to, in order, or the first error in that order.
pub(crate) fn gather<T: Send, E: Send>(
    workers: &dyn Workers,
    n: usize,
    job: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let slots: Vec<Mutex<Option<Result<T, E>>>> = (0..n).map(|_| Mutex::new(None)).collect();
    workers.for_each(n, &|piece_idx| *slots[piece_idx].lock() = Some(job(piece_idx)));
    slots.into_iter().map(|slot| slot.into_inner().expect("workers carry out every piece")).collect()
}
