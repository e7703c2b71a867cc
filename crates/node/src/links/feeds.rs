//! The feeds of one link: which there are, and the two tasks that send what they tell.
//!
//! A feed is a cursor on its guild's ring ([`OpenFeed`]); what nobody has sent lies there, and nowhere else. The news of a guild puts the feed on a
//! list of those that are to be looked at, so a link with many feeds has no work for those of which there is no news. The tasks take the feeds off
//! their lists in turn, a bounded run each; what they gather goes out in one write, and while the other end does not take that, cursors lag.
//!
//! Invariants:
//! - of a guild there is at most one feed, of an id one that is open, and of all at most `feeds_max`;
//! - on each list a feed stands at most once, beside the turn that it may be having;
//! - once the link has ended there is no feed, and there will be none.

mod open;
mod ready;
mod sender;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::mem::take;
use std::sync::Arc;

use guildhall_proto::call::{CallFault, FeedId, Malformed};
use guildhall_proto::{GuildId, Position};
use guildhall_ring::{Cursor, Version};
use parking_lot::Mutex;

use super::unanswered::Unanswered;
use crate::live::Listening;
use open::OpenFeed;
use ready::Ready;
pub(super) use sender::{send_events, send_told};

/// The feeds of one link.
#[derive(Debug)]
pub(super) struct Feeds {
    feeds_max: u32,
    table: Mutex<Table>,
    /// Those with events, maybe.
    events: Arc<Ready<Arc<OpenFeed>>>,
    /// Those of which something is told, maybe.
    told: Arc<Ready<Arc<OpenFeed>>>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<FeedId, Arc<OpenFeed>>,
    by_guild: HashMap<GuildId, FeedId>,
    /// Closed while there was none, the highest ids of these: a close may overtake what it closes, for each is a call of its own.
    closed_before: BTreeSet<FeedId>,
    has_ended: bool,
}

/// Where a feed begins.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) listening: Listening,
    /// The first event to be sent.
    pub(super) events: Cursor,
    /// What was told up to here is not sent,
    pub(super) told: Version,
    /// but for who is there, from this position on.
    pub(super) told_since: Option<Position>,
}

/// A feed whose opening is being answered: closed again if that comes to nothing.
#[derive(Debug)]
pub(super) struct Opened {
    feeds: Arc<Feeds>,
    id: FeedId,
    is_kept: bool,
}

impl Feeds {
    pub(super) fn new(feeds_max: u32) -> Arc<Self> {
        let (table, events, told) = (Mutex::default(), Arc::default(), Arc::default());
        Arc::new(Self { feeds_max, table, events, told })
    }

    /// What stands against such a feed, before anything is done for it.
    pub(super) fn check(&self, guild: GuildId, id: FeedId) -> Result<(), CallFault> {
        self.table.lock().check(guild, id, self.feeds_max)
    }

    /// Opens a feed, in the place of the one that the link has of the guild, if it has one.
    pub(super) fn open(
        self: &Arc<Self>,
        guild: GuildId,
        id: FeedId,
        beginning: Beginning,
    ) -> Result<Opened, Unanswered> {
        let feed = Arc::new(OpenFeed::new(id, beginning, Arc::clone(&self.events), Arc::clone(&self.told)));
        let replaced = {
            let mut table = self.table.lock();
            if table.has_ended {
                return Err(Unanswered::Left);
            }
            table.check(guild, id, self.feeds_max)?;
            if table.closed_before.remove(&id) {
                return Err(Unanswered::Left);
            }
            let replaced = table.by_guild.insert(guild, id).and_then(|before| table.by_id.remove(&before));
            table.by_id.insert(id, Arc::clone(&feed));
            replaced
        };
        if let Some(replaced) = replaced {
            replaced.close();
        }
        feed.call();
        Ok(Opened { feeds: Arc::clone(self), id, is_kept: false })
    }

    /// Closes a feed as its dialer asks; if there is none (yet), none is opened of this id.
    pub(super) fn close_for_good(&self, id: FeedId) {
        if !self.close(id) {
            self.table.lock().note_closed(id);
        }
    }

    /// Closes a feed; whether there was one.
    pub(super) fn close(&self, id: FeedId) -> bool {
        let closed = self.table.lock().remove(id);
        closed.map(|closed| closed.close()).is_some()
    }

    /// Closes all, for the link has ended.
    pub(super) fn end(&self) {
        let feeds = {
            let mut table = self.table.lock();
            table.has_ended = true;
            table.by_guild = HashMap::new();
            take(&mut table.by_id)
        };
        feeds.into_values().for_each(|feed| feed.close());
        self.events.end();
        self.told.end();
    }
}

impl Table {
    fn check(&self, guild: GuildId, id: FeedId, feeds_max: u32) -> Result<(), CallFault> {
        // Ids ascend, so what was asked for earlier and comes later does not take the place of what its dialer listens to.
        if self.by_id.contains_key(&id) || self.by_guild.get(&guild).is_some_and(|open| *open > id) {
            return Err(Malformed::FeedIdInUse.into());
        }
        let is_more = !self.by_guild.contains_key(&guild);
        if is_more && self.by_id.len() >= feeds_max as usize {
            return Err(CallFault::FeedsFull { max: feeds_max });
        }
        Ok(())
    }

    fn note_closed(&mut self, id: FeedId) {
        self.closed_before.insert(id);
        if self.closed_before.len() > CLOSED_BEFORE_MAX {
            // Ids ascend, so the lowest has been on its way for longest.
            self.closed_before.pop_first();
        }
    }

    fn remove(&mut self, id: FeedId) -> Option<Arc<OpenFeed>> {
        let feed = self.by_id.remove(&id)?;
        if let Entry::Occupied(of_guild) = self.by_guild.entry(feed.guild())
            && *of_guild.get() == id
        {
            of_guild.remove();
        }
        Some(feed)
    }
}

impl Opened {
    /// It stays open.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.is_kept {
            self.feeds.close(self.id);
        }
    }
}

/// Most are of feeds that had ended by themselves. More than calls that are under way on a link at a time, so that one that has overtaken its feed is still
/// there when that comes; some 20 bytes each.
const CLOSED_BEFORE_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_of_feeds_that_never_come_are_bounded_and_the_latest_stay() {
        let mut table = Table::default();
        for id in 0..10 * CLOSED_BEFORE_MAX as u64 {
            table.note_closed(FeedId(id));
        }
        assert_eq!(table.closed_before.len(), CLOSED_BEFORE_MAX);
        assert!(table.closed_before.contains(&FeedId(10 * CLOSED_BEFORE_MAX as u64 - 1)));
    }
}
