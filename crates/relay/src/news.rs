//! What passive sessions are told of the messages they do not hear: which channels have news.
//!
//! A message costs one note under its channel, whatever the sessions. A summary takes the notes as they are and goes into the slow
//! ring as one entry for all; each session finds its own channels in it, by the audience as of the message and by the cohort that it
//! was in then.
//!
//! Invariants:
//! - one item a channel: of its latest message since the last summary;
//! - whoever changed cohort after an item's message is in `moved`, so that nobody is judged by rights that came later.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::{ChannelId, EventKind, Millis, Position, Seq, SessionId, Unread};

use crate::audience::Audience;
use crate::cohort::Cohort;
use crate::entry::{Entry, Fact, Scope};
use crate::hearing::Listener;
use crate::session::SessionKey;

/// What has come since the last summary.
#[derive(Debug, Default)]
pub(crate) struct News {
    items: BTreeMap<ChannelId, Item>,
    moved: Vec<Moved>,
    last: Option<Millis>,
}

/// A channel's latest message.
#[derive(Debug)]
pub(crate) struct Item {
    channel: ChannelId,
    seq: Seq,
    audience: Arc<Audience>,
    except: Option<SessionId>,
}

/// The cohort in which a session was up to an event.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) session: SessionKey,
    pub(crate) seq: Seq,
    pub(crate) from: Arc<Cohort>,
}

/// The news of one summary.
#[derive(Debug)]
pub(crate) struct Summary {
    items: Box<[Item]>,
    /// Ascending by session, then by event.
    moved: Box<[Moved]>,
}

impl News {
    /// Notes what an entry, about to be appended, is to the next summary.
    pub(crate) fn note(&mut self, entry: &Entry) {
        let Fact::Event(event) = &entry.fact else {
            return;
        };
        if let (EventKind::MessagePublished(message), Scope::Message { audience, except, .. }) =
            (&event.kind, &entry.scope)
        {
            let (channel, audience) = (message.channel, Arc::clone(audience));
            self.items.insert(channel, Item { channel, seq: event.position.seq, audience, except: *except });
        } else if let EventKind::ChannelDeleted { channel, .. } = &event.kind {
            self.items.remove(&channel.id);
        }
    }

    /// Keeps in mind that a session was in another cohort up to an event.
    pub(crate) fn note_moved(&mut self, moved: Moved) {
        if self.items.is_empty() {
            return;
        }
        if self.moved.len() >= MOVED_MAX {
            // Rather a channel missing from a summary than one told to those who did not see it.
            self.clear();
            return;
        }
        self.moved.push(moved);
    }

    /// Forgets what has come.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.moved.clear();
    }

    /// From when on a summary may be made; `None` without news.
    pub(crate) fn due(&self, every: Duration) -> Option<Millis> {
        if self.items.is_empty() {
            return None;
        }
        Some(self.last.map_or(Millis(0), |last| last.plus(every)))
    }

    /// Makes the summary, and begins the next.
    pub(crate) fn summarize(&mut self, now: Millis) -> Summary {
        self.last = Some(now);
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::UnreadDropped.is_on() {
            self.items.pop_first();
        }
        let mut moved = mem::take(&mut self.moved);
        moved.sort_by_key(|moved| (moved.session, moved.seq));
        Summary { items: mem::take(&mut self.items).into_values().collect(), moved: moved.into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.items.len() * size_of::<Item>() * 3 / 2 + self.moved.capacity() * size_of::<Moved>()
    }
}

impl Summary {
    /// The channels with news for a session that is in `cohort` as of the summary, ascending.
    pub(crate) fn channels<'a>(
        &'a self,
        who: &'a Listener,
        cohort: &'a Cohort,
    ) -> impl Iterator<Item = ChannelId> + 'a {
        let from = self.moved.partition_point(|moved| moved.session < who.key);
        let own = &self.moved[from..];
        self.items.iter().filter_map(move |item| {
            let moved = own.iter().take_while(|moved| moved.session == who.key).find(|moved| moved.seq > item.seq);
            let then = moved.map_or(cohort, |moved| &moved.from);
            let is_news = item.seq > who.since && item.except != Some(who.session) && item.audience.sees(then);
            is_news.then_some(item.channel)
        })
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&self.items[..]) + size_of_val(&self.moved[..])
    }

    /// Whether what is news to a session may differ from what is to others of its cohort.
    pub(crate) fn sets_apart(&self, who: &Listener) -> bool {
        self.items.iter().any(|item| item.seq <= who.since || item.except == Some(who.session))
            || self.moved.binary_search_by_key(&who.key, |moved| moved.session).is_ok()
    }

    /// The summary for one session, if there is something for it.
    pub(crate) fn unread(&self, at: Position, who: &Listener, cohort: &Cohort) -> Option<Unread> {
        let channels: Vec<ChannelId> = self.channels(who, cohort).collect();
        (!channels.is_empty()).then_some(Unread { at, channels })
    }
}

/// Changes of cohort kept in mind between two summaries: about 2 MiB.
const MOVED_MAX: usize = 65_536;
