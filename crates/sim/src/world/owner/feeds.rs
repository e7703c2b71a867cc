//! What an owner sends to relays: for each link a cursor on its ring, one message under way at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_members::View;
use guildhall_proto::call::FeedId;
use guildhall_proto::{CommandError, Event, Position};
use guildhall_ring::{Cursor, ReadError, Version};

use super::{Around, End, Owner};
use crate::world::message::{Answered, At, Body, Calling, News, NoAnswer};
use crate::world::wire::{End as LinkEnd, Lane, LinkId, Wire};

/// One relay's place.
#[derive(Debug)]
pub(super) struct Feeding {
    at: At,
    feed: FeedId,
    events: Cursor,
    told: Version,
    /// Whether it has not taken what it was sent last.
    is_busy: bool,
}

impl Owner {
    /// A relay wants to be fed; what comes after `from`, if it has come so far.
    pub(super) fn listen(
        &mut self,
        calling: Calling,
        at: At,
        feed: FeedId,
        from: Option<Position>,
        around: &mut Around<'_>,
    ) {
        let told = self.told.head();
        let answer = match &self.view {
            None => Answered::Reply(Err(CommandError::UnknownGuild)),
            Some(view) => {
                let is_of_this = |from: &Position| {
                    #[cfg(feature = "defects")]
                    if guildhall_proto::Defect::FeedOverEpochs.is_on() {
                        return true;
                    }
                    from.epoch == self.owned.epoch
                };
                let reaches = |from: &Position| {
                    let next = Cursor::after(from.seq);
                    is_of_this(from) && next >= self.events.tail() && next <= self.events.head()
                };
                let is_passed = |from: &Position| is_of_this(from) && Cursor::after(from.seq) < self.events.tail();
                around.watch.seen.feeds_passed += u64::from(from.as_ref().is_some_and(is_passed));
                let (events, answer) = match from.filter(reaches) {
                    Some(from) => (Cursor::after(from.seq), Answered::Continued),
                    None => {
                        let past = self.past_of(view);
                        (Cursor::after(view.position().seq), Answered::Opened { view: view.clone(), past })
                    }
                };
                around.watch.seen.feeds_continued += u64::from(matches!(answer, Answered::Continued));
                self.feeds.insert(calling.link, Feeding { at, feed, events, told, is_busy: true });
                answer
            }
        };
        let body = Body::Answer { calling, answer: Ok(answer) };
        // Its news come behind it.
        around.wire.send(calling.link, LinkEnd::Client, Lane::Ordered, body);
    }

    /// The events up to a view, oldest first, as far back as the ring reaches.
    fn past_of(&self, view: &View) -> Vec<Arc<Event>> {
        let head = Cursor::after(view.position().seq);
        let mut past = Vec::new();
        let mut cursor = self.events.tail();
        // Beginning at the tail of a ring that nobody else writes, it meets no gap.
        let _ = self.events.read(&mut cursor, |at, event| {
            if at >= head {
                return ControlFlow::Break(());
            }
            past.push(Arc::clone(event));
            ControlFlow::Continue(())
        });
        past
    }

    /// A feed is not listened to any more, or all of its link are not.
    pub(crate) fn unlisten(&mut self, link: LinkId, feed: Option<FeedId>) {
        if feed.is_none_or(|feed| self.feeds.get(&link).is_some_and(|feeding| feeding.feed == feed)) {
            self.feeds.remove(&link);
        }
        #[cfg(feature = "defects")]
        if feed.is_none() && guildhall_proto::Defect::LinkEndsNext.is_on() {
            self.feeds.retain(|other, _| other.client != link.client);
        }
        if self.is_leaving() {
            self.next().retain(|posted| !posted.is_for(link, feed));
        }
    }

    /// A relay has taken what it was sent last.
    pub(crate) fn taken(&mut self, link: LinkId, feed: FeedId, around: &mut Around<'_>) {
        if let Some(feeding) = self.feeds.get_mut(&link).filter(|feeding| feeding.feed == feed) {
            feeding.is_busy = false;
            self.feed(link, around);
        }
    }

    pub(super) fn feed_all(&mut self, around: &mut Around<'_>) {
        let links: Vec<LinkId> = self.feeds.keys().copied().collect();
        for link in links {
            self.feed(link, around);
        }
    }

    /// Sends a relay what comes next, if it waits for that.
    fn feed(&mut self, link: LinkId, around: &mut Around<'_>) {
        let Some(feeding) = self.feeds.get_mut(&link).filter(|feeding| !feeding.is_busy) else { return };
        let mut events = Vec::new();
        let read = self.events.read(&mut feeding.events, |_, event| {
            if events.len() == FEED_EVENTS {
                return ControlFlow::Break(());
            }
            events.push(Arc::clone(event));
            ControlFlow::Continue(())
        });
        let news = match read {
            Ok(_) => {
                let mut told = Vec::new();
                self.told.read(&mut feeding.told, |_, ephemeral| {
                    told.push(*ephemeral);
                    ControlFlow::Continue(())
                });
                if events.is_empty() && told.is_empty() {
                    return;
                }
                News::Events(events, told)
            }
            Err(ReadError::Gap(_)) => {
                around.watch.seen.fallen_out += 1;
                let Some(view) = &self.view else { return };
                feeding.events = Cursor::after(view.position().seq);
                News::Fallen { view: view.clone() }
            }
            Err(ReadError::Ahead { .. }) => return,
        };
        feeding.is_busy = true;
        send(around.wire, link, feeding, news);
    }

    /// Whether every relay has taken all there is.
    pub(super) fn is_fed(&self) -> bool {
        let head = self.events.head();
        self.feeds.values().all(|feeding| !feeding.is_busy && feeding.events == head)
    }

    /// Sends what is left in the ring, and that the owner is gone.
    pub(super) fn end_feeds(&mut self, end: &End, wire: &mut Wire) {
        for (link, feeding) in std::mem::take(&mut self.feeds) {
            let mut events = Vec::new();
            let mut cursor = feeding.events;
            let read = self.events.read(&mut cursor, |_, event| {
                events.push(Arc::clone(event));
                ControlFlow::Continue(())
            });
            if read.is_ok() && !events.is_empty() {
                send(wire, link, &feeding, News::Events(events, Vec::new()));
            }
            let news = match end {
                End::NoGuild => News::NoGuild,
                End::Gone(Some(NoAnswer::Moved(place))) => News::Moved(*place),
                End::Gone(_) | End::Asleep | End::StoreFailed(_) | End::Retired => News::Ended,
            };
            send(wire, link, &feeding, news);
        }
    }
}

fn send(wire: &mut Wire, link: LinkId, to: &Feeding, news: News) {
    let body = Body::Feed { at: to.at, feed: to.feed, news };
    wire.send(link, LinkEnd::Client, Lane::Ordered, body);
}

/// Events of one message.
const FEED_EVENTS: usize = 64;
