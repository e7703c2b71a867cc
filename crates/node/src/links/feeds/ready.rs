//! The feeds that are to be looked at, in the order in which they came to be.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One list, of which one task takes. Who puts a feed there sees to it that it is not there yet.
#[derive(Debug)]
pub(super) struct Ready<T> {
    /// `None` once the link has ended: a feed that was put there then would keep its list, and that the feed.
    feeds: Mutex<Option<VecDeque<T>>>,
    news: Notify,
}

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Self { feeds: Mutex::new(Some(VecDeque::new())), news: Notify::new() }
    }
}

impl<T> Ready<T> {
    pub(super) fn push(&self, feed: T) {
        if let Some(feeds) = &mut *self.feeds.lock() {
            feeds.push_back(feed);
        }
        self.news.notify_one();
    }

    /// The first, once there is one.
    pub(super) async fn next(&self) -> T {
        loop {
            if let Some(feed) = self.pop() {
                return feed;
            }
            // A push after the look has left word.
            self.news.notified().await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.feeds.lock().as_ref().is_none_or(VecDeque::is_empty)
    }

    /// Lets go of all that stand there, and of all that come.
    pub(super) fn end(&self) {
        let feeds = self.feeds.lock().take();
        // Without the lock: who is dropped may be the last to hold a guild.
        drop(feeds);
    }

    fn pop(&self) -> Option<T> {
        self.feeds.lock().as_mut()?.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_put_on_the_list_of_a_link_that_has_ended_is_let_go() {
        let (ready, feed) = (Ready::default(), Arc::new(()));
        ready.push(Arc::clone(&feed));
        ready.end();
        // As by a feed that was opened while the link ended.
        ready.push(Arc::clone(&feed));
        assert_eq!((Arc::strong_count(&feed), ready.is_empty()), (1, true));
    }
}
