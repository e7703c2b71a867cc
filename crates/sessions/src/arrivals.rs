//! How fast sessions come, or come back, through all relays beside a node together.
//!
//! A storm keeps cores busy for as long as it lasts, and then whatever wakes waits for the scheduler to take a core away: up to a tick of its
//! clock, 4 ms, where the whole call takes 0.1. So while somebody calls the node's owners, sessions come in steps: a few at once, and then
//! the cores have nothing to do until the next step. Within a step each offers its core to others before it goes to its owner, and again when the
//! owner has answered. Where nobody calls a storm is taken without a pause.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// The pace at which sessions come to a node, whatever relay they come to.
pub struct Arrivals {
    /// How many calls the node's owners have handled since some time.
    calls: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Threads that sessions come on.
    workers: usize,
    /// Sessions that wait to come.
    waiting: AtomicUsize,
    pace: Mutex<Pace>,
}

/// A session that waits to come.
pub(crate) struct Arrival<'a>(&'a Arrivals);

#[derive(Debug)]
struct Pace {
    /// Places at a step.
    places: usize,
    /// Calls that owners had handled at the last look.
    calls: u64,
    /// When there were last more of them than at the look before.
    called: Option<Instant>,
    /// When the latest step begins that somebody has a place in, and how many have.
    step: Instant,
    placed: usize,
}

impl Arrivals {
    /// `calls` tells how many calls the node's owners have handled since some time: sessions make way for these. `workers` is how many
    /// threads sessions come on.
    pub fn new(workers: usize, calls: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let pace = Pace::new(PER_WORKER * workers, Instant::now());
        Self { calls: Box::new(calls), workers, waiting: AtomicUsize::new(0), pace: Mutex::new(pace) }
    }

    /// One more session waits to come.
    pub(crate) fn wait(&self) -> Arrival<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Arrival(self)
    }

    /// Offers this core to whoever else has something to do on it, if somebody calls.
    pub(crate) fn make_way(&self) {
        if self.pace.lock().is_called(Instant::now()) {
            thread::yield_now();
        }
    }
}

impl Arrival<'_> {
    /// Waits for the next step that has a place, if the last of those who wait does not wait too long then.
    pub(crate) async fn step(self) {
        let Self(arrivals) = self;
        if arrivals.waiting.load(Ordering::Relaxed) > WAITING_MAX * arrivals.workers {
            return;
        }
        let now = Instant::now();
        let calls = (arrivals.calls)();
        let step = arrivals.pace.lock().place(now, calls);
        if step > now {
            sleep_until(step).await;
        }
        arrivals.make_way();
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    fn new(places: usize, now: Instant) -> Self {
        Self { places, calls: 0, called: None, step: now, placed: 0 }
    }

    /// Takes a place in the first step that has one, and tells when that begins: now if nobody has called of late.
    fn place(&mut self, now: Instant, calls: u64) -> Instant {
        if calls != self.calls {
            (self.calls, self.called) = (calls, Some(now));
        }
        if !self.is_called(now) {
            return now;
        }
        if now >= self.step + STEP {
            (self.step, self.placed) = (now, 0);
        }
        if self.placed >= self.places {
            self.step += STEP;
            self.placed = 0;
        }
        self.placed += 1;
        self.step
    }

    fn is_called(&self, now: Instant) -> bool {
        self.called.is_some_and(|called| now - called < OF_LATE)
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("pace", &*self.pace.lock()).finish_non_exhaustive()
    }
}

/// The timers of the runtime do not tell shorter times apart.
pub(crate) const STEP: Duration = Duration::from_millis(1);
/// Places at a step for each worker: what is done with these takes a seventh of it. With two workers a hundred thousand come in 3.6 s.
pub(crate) const PER_WORKER: usize = 14;
/// With more who wait for each worker they come as fast as they can: the last would wait longer than 4 s.
const WAITING_MAX: usize = 4_000 * PER_WORKER;
/// Who calls more rarely meets a few sessions that come, and no more.
pub(crate) const OF_LATE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 5;

    #[tokio::test(start_paused = true)]
    async fn a_step_has_so_many_places_and_the_next_begins_a_step_later() {
        let now = Instant::now();
        let mut pace = Pace::new(PLACES, now);
        let steps: Vec<Instant> = (0..3 * PLACES).map(|_| pace.place(now, 1)).collect();
        let expected: Vec<Instant> = (0..3).flat_map(|step| std::iter::repeat_n(now + step * STEP, PLACES)).collect();
        assert_eq!(steps, expected);
        let later = now + 2 * STEP + STEP / 2;
        assert_eq!(pace.place(later, 2), now + 3 * STEP, "the step that has begun is full");
        let much_later = now + 9 * STEP;
        assert_eq!(pace.place(much_later, 3), much_later);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_nobody_calls_is_not_held_up() {
        let now = Instant::now();
        let mut pace = Pace::new(PLACES, now);
        assert!((0..3 * PLACES).all(|_| pace.place(now, 0) == now));
        assert!((0..3 * PLACES).any(|_| pace.place(now, 1) > now));
        let later = now + OF_LATE;
        assert!((0..3 * PLACES).all(|_| pace.place(later, 1) == later));
    }

    #[tokio::test(start_paused = true)]
    async fn with_too_many_who_wait_nobody_waits_for_a_step() {
        let arrivals = &Arrivals::new(1, || 1);
        let coming = |so_many| async move {
            let begun = Instant::now();
            for _ in 0..so_many {
                arrivals.wait().step().await;
            }
            begun.elapsed()
        };
        let few = 3 * PER_WORKER;
        assert_eq!(coming(few).await, 2 * STEP);
        let waiting: Vec<Arrival<'_>> = (0..WAITING_MAX).map(|_| arrivals.wait()).collect();
        assert_eq!(coming(few).await, Duration::ZERO);
        drop(waiting);
        assert!(coming(few).await >= 2 * STEP);
    }
}
