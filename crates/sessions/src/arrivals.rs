//! How fast sessions come, or come back, through all relays beside a node together.
//!
//! A storm keeps cores busy for as long as it lasts, and then whatever wakes waits for the scheduler to take a core away: up to a tick of its
//! clock, 4 ms, where the whole call takes 0.1. So while somebody calls the node's owners, sessions come in steps: a few at once, and then
//! the cores have nothing to do until the next step. While others wait each offers its core before it goes to its owner, and again when the
//! owner has answered. Where nobody calls a storm is taken without a pause.
//!
//! Nobody holds a place before it comes, and each who waits has a timer of its own: about when it will be its turn, by how many wait already. So who gives
//! up, or is not polled, keeps nobody waiting.

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
    /// Workers of the node's runtime.
    workers: usize,
    /// Sessions that wait to come.
    waiting: AtomicUsize,
    /// Those of them whom their relays would have come, and who wait for a step.
    ready: AtomicUsize,
    pace: Mutex<Pace>,
}

/// A session that waits to come.
pub(crate) struct Arrival<'a> {
    arrivals: &'a Arrivals,
    _waiting: Counted<'a>,
}

/// One of those in a count, until it is dropped.
struct Counted<'a> {
    count: &'a AtomicUsize,
    /// How many were there before it.
    ahead: usize,
}

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
            ready: AtomicUsize::new(0),
            pace: Mutex::new(pace),
        }
    }

    /// One more session waits to come.
    pub(crate) fn wait(&self) -> Arrival<'_> {
        Arrival { arrivals: self, _waiting: Counted::new(&self.waiting) }
    }

    /// Offers this core to whoever else has something to do on it, if sessions wait to come while somebody calls.
    pub(crate) fn make_way(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 && self.pace.lock().is_called(Instant::now()) {
            thread::yield_now();
        }
    }

    /// Takes a place in this step, if one is needed. Otherwise the next step begins then.
    fn place(&self, is_behind: bool) -> Result<(), Instant> {
        let (now, calls) = (Instant::now(), (self.calls)());
        let place = self.pace.lock().place(now, calls, is_behind);
        if self.waiting.load(Ordering::Relaxed) > WAITING_MAX * self.workers { Ok(()) } else { place }
    }
}

impl Arrival<'_> {
    /// Waits for a step that has a place.
    pub(crate) async fn step(self) {
        let ready = Counted::new(&self.arrivals.ready);
        let mut steps = ready.ahead / (PER_WORKER * self.arrivals.workers);
        let mut is_behind = ready.ahead > 0;
        while let Err(next) = self.arrivals.place(is_behind) {
            sleep_until(next + STEP * u32::try_from(steps).unwrap_or(u32::MAX)).await;
            (steps, is_behind) = (0, true);
        }
    }
}

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, ahead: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    fn new(places: usize, now: Instant) -> Self {
        Self { places, calls: 0, called: None, step: now, left: places }
    }

    /// With `is_behind` somebody waited while steps went by, and what could have come in these is made up for.
    fn place(&mut self, now: Instant, calls: u64, is_behind: bool) -> Result<(), Instant> {
        if calls != self.calls {
            (self.calls, self.called) = (calls, Some(now));
        }
        if !self.is_called(now) {
            return Ok(());
        }
        let since = now.saturating_duration_since(self.step);
        if !is_behind && since >= STEP {
            (self.step, self.left) = (now, self.places);
        } else if self.left == 0 && since >= STEP {
            self.step += STEP.max(since.saturating_sub(STEP * BEHIND_MAX));
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
/// How many steps late a timer may be, a tick of the scheduler's clock: what could have come meanwhile comes at once.
const BEHIND_MAX: u32 = 4;
/// Places at a step for each worker: what is done with these takes a sixth of it. With two workers a hundred thousand come in 3.6 s.
pub(crate) const PER_WORKER: usize = 14;
/// With more who wait for each worker, what is more comes as fast as it can: the last would wait longer than 4 s.
const WAITING_MAX: usize = 4_000 * PER_WORKER;
/// Who calls more rarely meets a storm as if nobody called.
pub(crate) const OF_LATE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    const PLACES: usize = 5;

    #[tokio::test(start_paused = true)]
    async fn a_step_has_so_many_places_and_the_next_begins_a_step_later_however_late_somebody_looks() {
        let now = Instant::now();
        let mut pace = Pace::new(PLACES, now);
        // How many are taken, and when the next step begins.
        let mut taken = |at: Duration| {
            (0..)
                .find_map(|taken| pace.place(now + at, 1 + at.as_micros() as u64, true).err().map(|next| (taken, next)))
                .expect("a step becomes full")
        };
        assert_eq!(taken(STEP / 4), (PLACES, now + STEP));
        assert_eq!(taken(STEP / 2), (0, now + STEP));
        assert_eq!(taken(2 * STEP + STEP / 2), (2 * PLACES, now + 3 * STEP));
        assert_eq!(taken(3 * STEP), (PLACES, now + 4 * STEP));
        // Of what is longer ago no more is made up for.
        let behind = BEHIND_MAX as usize;
        assert_eq!(taken(20 * STEP), ((behind + 1) * PLACES, now + 21 * STEP));
        // Nor where nobody waited.
        let mut fresh =
            || (0..).find_map(|taken| pace.place(now + 40 * STEP, 1, false).err().map(|next| (taken, next)));
        assert_eq!(fresh(), Some((PLACES, now + 41 * STEP)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_nobody_calls_is_not_held_up() {
        let now = Instant::now();
        let mut pace = Pace::new(PLACES, now);
        let mut are_held_up = |at: Instant, calls| (0..3 * PLACES).any(|_| pace.place(at, calls, true).is_err());
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
    async fn who_gives_up_or_is_not_polled_keeps_nobody_waiting() {
        let arrivals = Arrivals::new(1, || 1);
        assert_eq!(coming(&arrivals, PER_WORKER).await, Duration::ZERO);
        for _ in 0..100 * PER_WORKER {
            let step = tokio::time::timeout(Duration::ZERO, arrivals.wait().step());
            assert!(step.await.is_err(), "the step was full");
        }
        let counts = (&arrivals.waiting, &arrivals.ready);
        assert_eq!((counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed)), (0, 0));

        let mut parked = Box::pin(arrivals.wait().step());
        assert!(std::future::poll_fn(|context| Poll::Ready(parked.as_mut().poll(context).is_pending())).await);
        assert!(coming(&arrivals, PER_WORKER).await <= 2 * STEP);
        drop(parked);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_together_come_a_step_behind_the_other() {
        let arrivals = Arrivals::new(2, || 1);
        let begun = Instant::now();
        let all = (0..10 * PER_WORKER).map(|_| async {
            arrivals.wait().step().await;
            begun.elapsed()
        });
        let mut came = futures_of(all).await;
        came.sort_unstable();
        for (step, came) in (0..).zip(came.chunks(2 * PER_WORKER)) {
            assert_eq!((came[0], came[came.len() - 1]), (STEP * step, STEP * step));
        }
    }

    /// All at once.
    async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut done = Vec::new();
        std::future::poll_fn(|context| {
            all.retain_mut(|one| match one.as_mut().poll(context) {
                Poll::Ready(value) => {
                    done.push(value);
                    false
                }
                Poll::Pending => true,
            });
            if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        done
    }
}
