//! The names of operations, and how many may be open: of so many a guild keeps the outcomes.
//!
//! A guild keeps the newest outcomes of a client, and forgets the others with their counters: the retry of one that was forgotten is refused, for nobody
//! can say what it came to. So of each guild an operation is begun only while fewer than that many have begun since the oldest that is open.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use guildhall_proto::limits::CLIENT_OUTCOMES_MAX;
use guildhall_proto::{ClientId, GuildId, OpId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::client::wall_clock;

/// The operations of one client.
#[derive(Debug)]
pub(crate) struct Operations {
    client: ClientId,
    next: AtomicU64,
    /// Of each guild, from the oldest that is open on: the counter, and whether it is open.
    begun: Mutex<HashMap<GuildId, VecDeque<(u64, bool)>>>,
    /// Told when the oldest of some guild has ended.
    ended: Notify,
}

/// One that is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    of: &'a Operations,
    guild: GuildId,
    pub(crate) op: OpId,
}

impl Operations {
    pub(crate) fn new(client: ClientId) -> Self {
        Self { client, next: AtomicU64::new(1), begun: Mutex::default(), ended: Notify::new() }
    }

    /// Begins an operation in a guild: waits while too many have begun behind one that is open.
    pub(crate) async fn begin(&self, guild: GuildId) -> Operation<'_> {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Listening begins before the look, so that no end is missed.
            ended.as_mut().enable();
            if let Some(operation) = self.try_begin(guild) {
                return operation;
            }
            ended.await;
        }
    }

    fn try_begin(&self, guild: GuildId) -> Option<Operation<'_>> {
        let mut begun = self.begun.lock();
        let begun = begun.entry(guild).or_default();
        if begun.len() >= CLIENT_OUTCOMES_MAX {
            return None;
        }
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        begun.push_back((counter, true));
        Some(Operation { of: self, guild, op: OpId { client: self.client, counter, issued_at: wall_clock() } })
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let mut begun = self.of.begun.lock();
        let Entry::Occupied(mut of_guild) = begun.entry(self.guild) else { return };
        let list = of_guild.get_mut();
        if let Ok(at) = list.binary_search_by_key(&self.op.counter, |(counter, _)| *counter) {
            list[at].1 = false;
        }
        let before = list.len();
        while list.front().is_some_and(|(_, is_open)| !is_open) {
            list.pop_front();
        }
        let is_shorter = list.len() < before;
        if list.is_empty() {
            of_guild.remove();
        }
        drop(begun);
        if is_shorter {
            self.of.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_are_begun_behind_the_oldest_that_is_open_and_no_more() {
        let operations = Operations::new(ClientId::MIN);
        let (one, other) = (GuildId::new(1).unwrap(), GuildId::new(2).unwrap());
        let oldest = operations.begin(one).await;
        let mut last = oldest.op.counter;
        // All but the oldest end at once.
        for _ in 1..CLIENT_OUTCOMES_MAX {
            let next = operations.begin(one).await.op.counter;
            assert!(next > last);
            last = next;
        }
        assert!(timeout(Duration::from_secs(1), operations.begin(one)).await.is_err());
        // Another guild has outcomes of its own.
        drop(timeout(Duration::from_secs(1), operations.begin(other)).await.unwrap());
        drop(oldest);
        drop(timeout(Duration::from_secs(1), operations.begin(one)).await.unwrap());
        assert!(operations.begun.lock().is_empty());
    }
}
