//! The queue of loads: a few at a time, in order of arrival.
//!
//! Full: one more is refused, with a pause measured from how fast loads are done.
//!
//! Invariant: `queued` tickets are out, of which at most `at_once` have their turn.

use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::CallError;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LoadConfig;
use crate::counters::{Counter, Counters};
use crate::pace::Pace;

#[derive(Debug)]
pub(super) struct Queue {
    turns: Arc<Semaphore>,
    queued_max: usize,
    counters: Arc<Counters>,
    length: Mutex<Length>,
}

#[derive(Debug, Default)]
struct Length {
    queued: usize,
    pace: Pace,
}

/// A load's place in the queue, given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    queue: Arc<Queue>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Queue {
    pub(super) fn new(config: &LoadConfig, counters: Arc<Counters>) -> Self {
        let at_once = config.at_once.max(1);
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            queued_max: at_once.saturating_add(config.waiting_max),
            counters,
            length: Mutex::default(),
        }
    }

    /// Takes the last place.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Ticket, CallError> {
        let mut length = self.length.lock();
        if length.queued >= self.queued_max {
            let retry_after = length.retry_after();
            drop(length);
            self.counters.bump(Counter::RefusedLoad);
            return Err(CallError::Overloaded { retry_after });
        }
        if length.queued == 0 {
            length.pace.took(1);
        }
        length.queued += 1;
        drop(length);
        Ok(Ticket { queue: Arc::clone(self), turn: None })
    }

    /// When all that is queued now should be loaded.
    pub(super) fn retry_after(&self) -> Duration {
        self.length.lock().retry_after()
    }

    /// Nobody gets a turn any more.
    pub(super) fn close(&self) {
        self.turns.close();
    }
}

impl Length {
    fn retry_after(&self) -> Duration {
        self.pace.retry_after(self.queued, self.pace.handling_for())
    }
}

impl Ticket {
    /// Waits for the turn of this one; whether it ever comes.
    pub(super) async fn turn(&mut self) -> bool {
        let turns = &self.queue.turns;
        self.turn = match Arc::clone(turns).try_acquire_owned() {
            Ok(turn) => Some(turn),
            Err(_) => {
                self.queue.counters.bump(Counter::LoadsWaited);
                Arc::clone(turns).acquire_owned().await.ok()
            }
        };
        self.turn.is_some()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut length = self.queue.length.lock();
        length.queued -= 1;
        match (length.queued, &self.turn) {
            (0, Some(_)) => length.pace.pause(),
            (0, None) => length.pace.rest(),
            (_, Some(_)) => length.pace.took(1),
            // It was given up where it stood.
            (_, None) => {}
        }
    }
}
