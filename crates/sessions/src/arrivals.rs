//! How fast sessions come, or come back, through all relays beside a node together.
//!
//! A storm keeps cores busy for as long as it lasts, and then whatever wakes waits for the scheduler to take a core away: up to a tick of its
//! clock, 4 ms, where the whole call takes 0.1. So while somebody calls the node's owners, sessions come in steps: a few at once, and then
//! the cores have nothing to do until the next step. Within a step each offers its core to others before it goes to its owner, and again when the
//! owner has answered. Where nobody calls a storm is taken without a pause.
//!
//! There is one line for all relays, in the order in which their turns came, and only its head looks at the clock: who leaves it, or has left, leaves
//! nothing behind.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// The pace at which sessions come to a node, whatever relay they come to.
pub struct Arrivals {
    /// How many calls the node's owners have handled since some time.
    calls: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Workers of the node's runtime.
    workers: usize,
    /// Sessions that wait to come.
    waiting: AtomicUsize,
    /// One permit: its holder is at the head of the line.
    head: Semaphore,
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
    /// When the latest step began, and how many may still come in it.
    step: Instant,
    left: usize,
}

impl Arrivals {
    /// `calls` tells how many calls the node's owners have handled since some time: sessions make way for these. `workers` is how many
    /// its runtime has.
    pub fn new(workers: usize, calls: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let pace = Pace::new(PER_WORKER * workers, Instant::now());
        Self {
            calls: Box::new(calls),
            workers,
            waiting: AtomicUsize::new(0),
            head: Semaphore::new(1),
            pace: Mutex::new(pace),
        }
    }

    /// One more session waits to come.
    pub(crate) fn wait(&self) -> Arrival<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Arrival(self)
    }

    /// Offers this core to whoever else has something to do on it, if sessions wait to come while somebody calls.
    pub(crate) fn make_way(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 && self.pace.lock().is_called(Instant::now()) {
            thread::yield_now();
        }
    }

    /// Takes a place in this step, if one is needed. Otherwise the next step begins then.
    fn place(&self) -> Result<(), Instant> {
        if self.waiting.load(Ordering::Relaxed) > WAITING_MAX * self.workers {
            return Ok(());
        }
        let (now, calls) = (Instant::now(), (self.calls)());
        self.pace.lock().place(now, calls)
    }
}

impl Arrival<'_> {
    /// Waits for a step that has a place.
    pub(crate) async fn step(self) {
        let Self(arrivals) = self;
        let _head = arrivals.head.acquire().await.expect("it is never closed");
        while let Err(next) = arrivals.place() {
            sleep_until(next).await;
        }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    fn new(places: usize, now: Instant) -> Self {
        Self { places, calls: 0, called: None, step: now, left: places }
    }

    fn place(&mut self, now: Instant, calls: u64) -> Result<(), Instant> {
        if calls != self.calls {
            (self.calls, self.called) = (calls, Some(now));
        }
        if !self.is_called(now) {
            return Ok(());
        }
        let since = now.saturating_duration_since(self.step);
        if since >= STEP * BEHIND_MAX {
            (self.step, self.left) = (now, self.places);
        } else if self.left == 0 && since >= STEP {
            self.step += STEP;
            self.left = self.places;
        }
        if self.left == 0 {
            return Err(self.step + STEP);
        }
        self.left -= 1;
        Ok(())
    }

    fn is_called(&self, now: Instant) -> bool {
        self.called.is_some_and(|called| now.saturating_duration_since(called) < OF_LATE)
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("pace", &*self.pace.lock()).finish_non_exhaustive()
    }
}

/// The timers of the runtime do not tell shorter times apart.
pub(crate) const STEP: Duration = Duration::from_millis(1);
/// How many steps late a timer may be: what could have come meanwhile comes at once.
const BEHIND_MAX: u32 = 3;
/// Places at a step for each worker: what is done with these takes a sixth of it. With two workers a hundred thousand come in 3.6 s.
pub(crate) const PER_WORKER: usize = 14;
/// With more who wait for each worker, what is more comes as fast as it can: the last would wait longer than 4 s.
const WAITING_MAX: usize = 4_000 * PER_WORKER;
/// Who calls more rarely meets a few sessions that come, and no more.
pub(crate) const OF_LATE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 5;

    #[tokio::test(start_paused = true)]
    async fn a_step_has_so_many_places_and_the_next_begins_a_step_later_however_late_somebody_looks() {
        let now = Instant::now();
        let mut pace = Pace::new(PLACES, now);
        // How many are taken, and when the next step begins.
        let mut taken = |at: Duration| {
            (0..)
                .find_map(|taken| pace.place(now + at, 1).err().map(|next| (taken, next)))
                .expect("a step becomes full")
        };
        assert_eq!(taken(STEP / 4), (PLACES, now + STEP));
        assert_eq!(taken(STEP / 2), (0, now + STEP));
        assert_eq!(taken(2 * STEP + STEP / 2), (2 * PLACES, now + 3 * STEP));
        assert_eq!(taken(3 * STEP), (PLACES, now + 4 * STEP));
        // After so long it is not made up for.
        assert_eq!(taken(3 * STEP + BEHIND_MAX * STEP), (PLACES, now + 4 * STEP + BEHIND_MAX * STEP));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_nobody_calls_is_not_held_up() {
        let now = Instant::now();
        let mut pace = Pace::new(PLACES, now);
        let mut are_held_up = |at: Instant, calls| (0..3 * PLACES).any(|_| pace.place(at, calls).is_err());
        assert!(!are_held_up(now, 0));
        assert!(are_held_up(now, 1));
        assert!(are_held_up(now + STEP / 2, 1));
        assert!(!are_held_up(now + OF_LATE, 1));
    }

    /// How long so many take, one behind the other.
    async fn coming(arrivals: &Arrivals, so_many: usize) -> Duration {
        let begun = Instant::now();
        for _ in 0..so_many {
            arrivals.wait().step().await;
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn with_too_many_who_wait_nobody_waits_for_a_step() {
        let arrivals = Arrivals::new(1, || 1);
        let few = 3 * PER_WORKER;
        assert_eq!(coming(&arrivals, few).await, 2 * STEP);
        let waiting: Vec<Arrival<'_>> = (0..WAITING_MAX).map(|_| arrivals.wait()).collect();
        assert_eq!(coming(&arrivals, few).await, Duration::ZERO);
        drop(waiting);
        assert!(coming(&arrivals, few).await >= 2 * STEP);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_leaves_its_place_to_the_next() {
        let arrivals = Arrivals::new(1, || 1);
        assert_eq!(coming(&arrivals, PER_WORKER).await, Duration::ZERO);
        for _ in 0..100 * PER_WORKER {
            let step = tokio::time::timeout(Duration::ZERO, arrivals.wait().step());
            assert!(step.await.is_err(), "the step was full");
        }
        assert_eq!(arrivals.waiting.load(Ordering::Relaxed), 0);
        assert!(coming(&arrivals, 1).await <= STEP);
    }
}
