//! Whose turn it is to attach to a relay, or to come back to it: a few sessions at a time, in the order they came.
//!
//! A storm of attaches is as many tasks as there are clients. All of them at once would have other guilds' turns wait behind that many
//! tasks that are ready. A few at a time, one after the other without a pause, still keep all cores busy for as long as the storm lasts, and then
//! whatever wakes waits for the scheduler to take a core away: up to a tick of its clock, 4 ms, where the whole call takes 0.1. So while
//! somebody calls owners in this process, a place that was used is free again only behind a rest, in which the cores have nothing to do. Where nobody calls
//! a storm is taken without rest.
//!
//! Invariant: of the places each is free, held by a [`Turn`], or counted in `Pace::resting`, which is more than none only while a task is to
//! free them.

use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::CallError;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::guilds::Guilds;
use crate::seat::LAGGING_RETRY_AFTER;

/// The turns of one relay.
pub(crate) struct Turns<G: Guilds> {
    guilds: G,
    runtime: Handle,
    places: Semaphore,
    /// Leave to wait for one of them: as many as there may be sessions.
    waiting: Semaphore,
    waiting_max: usize,
    pace: Mutex<Pace>,
}

/// Leave to attach one session, or have one come back. To be given back by its drop.
pub(crate) struct Turn<G: Guilds>(Arc<Turns<G>>);

#[derive(Debug, Default)]
struct Pace {
    /// Calls that owners had handled at the last look.
    calls: u64,
    /// When there were last more of them than at the look before.
    called: Option<Instant>,
    /// Places that were used, and are free again after the rest.
    resting: usize,
}

impl<G: Guilds> Turns<G> {
    pub(crate) fn new(guilds: G, sessions_max: usize) -> Arc<Self> {
        let waiting_max = sessions_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            guilds,
            runtime: Handle::current(),
            places: Semaphore::new(AT_A_TIME),
            waiting: Semaphore::new(waiting_max),
            waiting_max,
            pace: Mutex::default(),
        })
    }

    /// Waits until it is one more session's turn.
    ///
    /// # Errors
    /// `Overloaded` if as many wait as there may be sessions, or if it takes too long: those before it do not come to an end.
    pub(crate) async fn next(self: &Arc<Self>) -> Result<Turn<G>, CallError> {
        if let Ok(place) = self.places.try_acquire() {
            place.forget();
            return Ok(Turn(Arc::clone(self)));
        }
        let late = CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER };
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(late);
        };
        match timeout(TURN_AFTER_MAX, self.places.acquire()).await {
            Ok(place) => {
                place.expect("it is never closed").forget();
                Ok(Turn(Arc::clone(self)))
            }
            Err(_elapsed) => Err(late),
        }
    }

    /// Whether somebody waits while others call.
    fn wants_rest(&self, pace: &mut Pace) -> bool {
        let waiting = self.waiting_max - self.waiting.available_permits();
        if waiting == 0 || waiting > RESTED_MAX {
            return false;
        }
        let (now, calls) = (Instant::now(), self.guilds.calls());
        if calls != pace.calls {
            (pace.calls, pace.called) = (calls, Some(now));
        }
        pace.called.is_some_and(|called| now - called < OF_LATE)
    }
}

impl<G: Guilds> Drop for Turn<G> {
    fn drop(&mut self) {
        let Self(turns) = self;
        let mut pace = turns.pace.lock();
        if !turns.wants_rest(&mut pace) {
            drop(pace);
            turns.places.add_permits(1);
            return;
        }
        pace.resting += 1;
        if pace.resting == 1 {
            let turns = Arc::clone(turns);
            turns.runtime.clone().spawn(async move {
                sleep(REST).await;
                let rested = std::mem::take(&mut turns.pace.lock().resting);
                turns.places.add_permits(rested);
            });
        }
    }
}

/// Sessions that attach or come back at a time: enough to fill a turn of the owner.
const AT_A_TIME: usize = 32;
/// What is done with that many takes a tenth of it on each of two cores. The timers of the runtime do not tell shorter times apart.
const REST: Duration = Duration::from_millis(1);
/// With more who wait there is no rest: it would keep the last of them waiting for more than 4 s.
const RESTED_MAX: usize = 64 * 1024;
/// Who calls more rarely meets a few attaches that are under way, and no more.
const OF_LATE: Duration = Duration::from_millis(10);
/// How long a session waits for its turn: a hundred thousand at one relay have had theirs in half of that, with rests.
const TURN_AFTER_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
