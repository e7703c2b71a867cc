//! What a relay listens to: one guild's events under one epoch, what is told beside them, and when there is more.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guildhall_proto::{Ephemeral, Epoch, Event, Position, Seq, Subject};
use guildhall_ring::{Cursor, LatestReader, ReadError, Reader};
use tokio::sync::Notify;

/// One guild under one epoch, to be read by cursors. Whoever writes it tells so by [`tell`](Self::tell), and [ends](Self::end) it.
pub struct Feed {
    /// The epoch of all its events.
    pub epoch: Epoch,
    /// The latest events.
    pub events: Reader<Arc<Event>>,
    /// What holds now and has no number of its own.
    pub told: LatestReader<Subject, Ephemeral>,
    news: Notify,
    ended: AtomicBool,
}

impl Feed {
    /// One that somebody is about to write.
    pub fn new(epoch: Epoch, events: Reader<Arc<Event>>, told: LatestReader<Subject, Ephemeral>) -> Self {
        Self { epoch, events, told, news: Notify::new(), ended: AtomicBool::new(false) }
    }

    /// What is notified when there is more, and at the end.
    pub fn news(&self) -> &Notify {
        &self.news
    }

    /// Says that there is more.
    pub fn tell(&self) {
        self.news.notify_waiters();
    }

    /// Whether nothing follows.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Says that nothing follows.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    /// Waits until nothing follows.
    pub async fn ended(&self) {
        loop {
            // Listening begins before the look, so that an end between the two is heard.
            let news = self.news.notified();
            if self.has_ended() {
                return;
            }
            news.await;
        }
    }

    /// The position of the last event that was written.
    pub fn head(&self) -> Position {
        Position { epoch: self.epoch, seq: Seq(self.events.head().0.saturating_sub(1)) }
    }

    /// The events up to a position, oldest first, as far back as the ring reaches, at most `max`.
    pub fn past(&self, through: Seq, max: usize) -> Vec<Arc<Event>> {
        let head = Cursor::after(through);
        let mut past = Vec::new();
        for _ in 0..PAST_READS_MAX {
            past.clear();
            let mut cursor = self.events.tail().max(Cursor(head.0.saturating_sub(max as u64)));
            let read = self.events.read(&mut cursor, |at, event| {
                if at >= head {
                    return ControlFlow::Break(());
                }
                past.push(Arc::clone(event));
                ControlFlow::Continue(())
            });
            match read {
                Ok(_) | Err(ReadError::Ahead { .. }) => break,
                // The ring has moved on between the two looks.
                Err(ReadError::Gap(_)) => {}
            }
        }
        past
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("head", &self.head()).field("ended", &self.has_ended()).finish_non_exhaustive()
    }
}

/// Looks at a ring that moves on at every look, before a relay begins without a past.
const PAST_READS_MAX: usize = 4;
