//! Whose turn it is to attach to a relay, or to come back to it: a few sessions at a time, in the order they came.
//!
//! A storm of attaches is as many tasks as there are clients. All of them at once would have other guilds' turns wait behind that many
//! tasks that are ready. How soon one comes after the other is for the node's [`Arrivals`] to say.
//!
//! Invariant: of the places each is free or held by a [`Turn`].

use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::CallError;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::arrivals::Arrivals;
use crate::guilds::Guilds;
use crate::seat::LAGGING_RETRY_AFTER;

/// The turns of one relay.
pub(crate) struct Turns<G: Guilds> {
    guilds: G,
    places: Semaphore,
    /// Leave to wait for one of them: as many as there may be sessions.
    waiting: Semaphore,
}

/// Leave to attach one session, or have one come back. To be given back by its drop.
pub(crate) struct Turn<G: Guilds>(Arc<Turns<G>>);

impl<G: Guilds> Turns<G> {
    pub(crate) fn new(guilds: G, sessions_max: usize) -> Arc<Self> {
        let waiting_max = sessions_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { guilds, places: Semaphore::new(AT_A_TIME), waiting: Semaphore::new(waiting_max) })
    }

    /// Waits until it is one more session's turn.
    ///
    /// # Errors
    /// `Overloaded` if as many wait as there may be sessions, or if it takes too long: those before it do not come to an end, or are too many.
    pub(crate) async fn next(self: &Arc<Self>) -> Result<Turn<G>, CallError> {
        timeout(TURN_AFTER_MAX, self.turn()).await.unwrap_or(Err(LATE))
    }

    async fn turn(self: &Arc<Self>) -> Result<Turn<G>, CallError> {
        let arrival = self.guilds.arrivals().map(Arrivals::wait);
        let turn = self.place().await?;
        if let Some(arrival) = arrival {
            arrival.step().await;
            turn.make_way();
        }
        Ok(turn)
    }

    async fn place(self: &Arc<Self>) -> Result<Turn<G>, CallError> {
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let _waiting = self.waiting.try_acquire().map_err(|_| LATE)?;
                self.places.acquire().await.expect("it is never closed")
            }
        };
        place.forget();
        Ok(Turn(Arc::clone(self)))
    }
}

impl<G: Guilds> Turn<G> {
    /// Lets others go first on this core if there is a storm while somebody calls: before the owner is asked, and behind its answer.
    pub(crate) fn make_way(&self) {
        if let Some(arrivals) = self.0.guilds.arrivals() {
            arrivals.make_way();
        }
    }
}

impl<G: Guilds> Drop for Turn<G> {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

const LATE: CallError = CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER };
/// Sessions that attach or come back at a time: enough to fill a turn of the owner.
const AT_A_TIME: usize = 32;
/// How long a session waits for its turn: a hundred thousand at one relay have had theirs in two fifths of that, in steps.
const TURN_AFTER_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
