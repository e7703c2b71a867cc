//! The feeds that are to be looked at, in the order in which they came to be.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::open::OpenFeed;

/// One list, of which one task takes. Who puts a feed there sees to it that it is not there yet.
#[derive(Debug, Default)]
pub(super) struct Ready {
    feeds: Mutex<VecDeque<Arc<OpenFeed>>>,
    news: Notify,
}

impl Ready {
    pub(super) fn push(&self, feed: Arc<OpenFeed>) {
        self.feeds.lock().push_back(feed);
        self.news.notify_one();
    }

    /// The first, once there is one.
    pub(super) async fn next(&self) -> Arc<OpenFeed> {
        loop {
            if let Some(feed) = self.pop() {
                return feed;
            }
            // A push after the look has left word.
            self.news.notified().await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.feeds.lock().is_empty()
    }

    pub(super) fn clear(&self) {
        let feeds = std::mem::take(&mut *self.feeds.lock());
        // Without the lock: who is dropped may be the last to hold a guild.
        drop(feeds);
    }

    fn pop(&self) -> Option<Arc<OpenFeed>> {
        self.feeds.lock().pop_front()
    }
}
