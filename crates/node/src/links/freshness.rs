//! As of when a read is true: where to read, so that it is as fresh as it was asked to be.

use std::pin::pin;
use std::sync::Arc;

use guildhall_proto::call::Freshness;
use guildhall_proto::{CallError, GuildId, Position};

use crate::last::Readable;
use crate::live::Live;
use crate::node::Node;

impl Node {
    /// Where a guild can be read: every view of it from now on is as fresh as that. Waits for a position as long as it is let.
    ///
    /// # Errors
    /// As the guild is loaded; `Unavailable` if the store does not confirm the guild's owner.
    pub(super) async fn readable_as(&self, guild: GuildId, freshness: Freshness) -> Result<Readable, CallError> {
        match freshness {
            Freshness::Latest => self.readable(guild).await,
            Freshness::AtLeast(at) => self.readable_at(guild, at).await,
            Freshness::Strong => self.confirmed(guild).await,
        }
    }

    async fn readable_at(&self, guild: GuildId, at: Position) -> Result<Readable, CallError> {
        loop {
            let live = match self.readable(guild).await? {
                Readable::Live(live) => live,
                Readable::Last(last) => {
                    let last = Readable::Last(last);
                    if last.view()?.0.position() >= at {
                        return Ok(last);
                    }
                    self.live(guild).await?
                }
            };
            if comes_to(&live, at).await? {
                return Ok(Readable::Live(live));
            }
        }
    }
}

/// Waits until a guild can be read at a position; `false` if its owner ends before.
async fn comes_to(live: &Arc<Live>, at: Position) -> Result<bool, CallError> {
    loop {
        // Listening begins before the look, so that nothing that comes between the two is missed.
        let mut news = pin!(live.feed.news().notified());
        news.as_mut().enable();
        let is_over = live.feed.has_ended();
        if live.view()?.position() >= at {
            return Ok(true);
        }
        if is_over {
            return Ok(false);
        }
        news.await;
    }
}
