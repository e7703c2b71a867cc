//! The library's own tasks, which let what is ready beside them go first, as long as that gathers work for them.
//!
//! A task of tokio that is woken by another runs right behind it, so a link's driver, woken by the first of many calls, would send a datagram for each of
//! them; one round of the queue later there are many in one, for which the system and the ciphers are asked once. Who calls alone would only wait: so a
//! driver waits at each turn as long as it was woken meanwhile and the round was short, and otherwise twice as many turns as the last time pass, at most
//! [`PAUSE_MAX`], before it tries again, and [`LONG_PAUSE_MAX`] as long as rounds are long.

use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::time::Instant;

/// tokio, with drivers that gather.
#[derive(Debug)]
pub(super) struct Gathering;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Runtime for Gathering {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(Driver::new(task));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}

/// A task that may wait a round before its turn.
struct Driver {
    task: Task,
    woken: Option<Arc<Woken>>,
    /// Since when it lets others go first.
    waits: Option<Instant>,
    /// Turns that pass between two waits. None while they gather something.
    pause: u32,
    /// How many of these have passed.
    passed: u32,
}

/// Hands on what wakes a task, and notes it.
struct Woken {
    by: Waker,
    meanwhile: AtomicBool,
}

impl Driver {
    const fn new(task: Task) -> Self {
        Self { task, woken: None, waits: None, pause: 0, passed: 0 }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { task, woken, waits, pause, passed } = &mut *self;
        let woken = match woken {
            Some(woken) if woken.by.will_wake(context.waker()) => woken,
            _ => woken.insert(Arc::new(Woken { by: context.waker().clone(), meanwhile: AtomicBool::new(false) })),
        };
        if let Some(since) = waits.take() {
            *passed = 0;
            *pause = if since.elapsed() >= ROUND_MAX {
                (*pause * 2).clamp(1, LONG_PAUSE_MAX)
            } else if woken.meanwhile.load(Ordering::Relaxed) {
                0
            } else {
                (*pause * 2).clamp(1, PAUSE_MAX)
            };
        } else if *passed < *pause {
            *passed += 1;
        } else {
            woken.meanwhile.store(false, Ordering::Relaxed);
            *waits = Some(Instant::now());
            // Behind all that are ready: who wakes itself is no guest of the task that runs.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(woken));
        task.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.meanwhile.store(true, Ordering::Relaxed);
        self.by.wake_by_ref();
    }
}

/// Turns that pass at most before a driver that gathered nothing tries again: some ten calls of one who calls alone.
const PAUSE_MAX: u32 = 32;
/// A longer round costs more time than what it gathers is worth: the queue is full of others' work, or the thread had no processor for a moment.
const ROUND_MAX: Duration = Duration::from_millis(1);
/// Turns that pass at most behind longer rounds, so that by far less than one call of a hundred waits for a queue that stays full.
const LONG_PAUSE_MAX: u32 = 4_096;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU32;

    use tokio::time::advance;

    use super::*;

    /// A driver that is polled by hand.
    struct ByHand {
        driver: Driver,
        /// How often its task had its turn.
        turns: Arc<AtomicU32>,
        /// What wakes that task.
        waker: Arc<Mutex<Option<Waker>>>,
    }

    impl ByHand {
        fn new() -> Self {
            let (turns, waker) = (Arc::<AtomicU32>::default(), Arc::<Mutex<Option<Waker>>>::default());
            let (counted, kept) = (Arc::clone(&turns), Arc::clone(&waker));
            let task = poll_fn(move |context| {
                counted.fetch_add(1, Ordering::Relaxed);
                *kept.lock().unwrap() = Some(context.waker().clone());
                Poll::Pending
            });
            Self { driver: Driver::new(Box::pin(task)), turns, waker }
        }

        /// Polls it: whether its task had its turn.
        fn has_its_turn(&mut self) -> bool {
            let before = self.turns.load(Ordering::Relaxed);
            assert!(Pin::new(&mut self.driver).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            self.turns.load(Ordering::Relaxed) > before
        }

        fn wake(&self) {
            self.waker.lock().unwrap().as_ref().expect("it had a turn").wake_by_ref();
        }

        /// Has it find that waiting gathers something.
        fn gather(&mut self) {
            while !self.has_its_turn() {}
            while self.has_its_turn() {}
            self.wake();
            assert!(self.has_its_turn(), "it waits no longer than a round");
        }
    }

    #[tokio::test]
    async fn a_driver_that_gathers_nothing_waits_at_ever_fewer_turns() {
        let mut driver = ByHand::new();
        let mut waited = |polls: u32| (0..polls).filter(|_| !driver.has_its_turn()).count();
        // At first, then after 1, 2, 4 and so on.
        assert_eq!(waited(2 * PAUSE_MAX), 6);
        assert_eq!(waited(10 * (PAUSE_MAX + 2)), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_waits_as_long_as_that_gathers_something() {
        let mut driver = ByHand::new();
        driver.gather();
        for _ in 0..100 {
            assert!(!driver.has_its_turn(), "it waits at each turn");
            driver.wake();
            assert!(driver.has_its_turn());
        }
        assert!(!driver.has_its_turn());
        assert!(driver.has_its_turn(), "nothing was gathered");
        assert!(driver.has_its_turn(), "so it does not wait at the next");
        assert!(!driver.has_its_turn(), "and tries at the one behind that");
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_does_not_wait_for_long_rounds() {
        let mut driver = ByHand::new();
        driver.gather();
        assert!(!driver.has_its_turn());
        driver.wake();
        advance(ROUND_MAX).await;
        assert!(driver.has_its_turn(), "the round was too long");
        for _ in 0..20 {
            while driver.has_its_turn() {}
            driver.wake();
            advance(ROUND_MAX).await;
            assert!(driver.has_its_turn());
        }
        for _ in 0..LONG_PAUSE_MAX {
            assert!(driver.has_its_turn(), "rounds are ever too long");
        }
        assert!(!driver.has_its_turn(), "it tries again");
    }
}
