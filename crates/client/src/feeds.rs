//! What a link brings of guilds' feeds: each has a ring here that the link fills and the guild's relay reads.
//!
//! News may come before the call that opened the feed is answered, for they take another lane: the first that comes, or the answer, says where the
//! ring begins.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use guildhall_cluster::Place;
use guildhall_proto::call::{FeedEnd, FeedId, FeedNews, News, Told};
use guildhall_proto::frame::Kind;
use guildhall_proto::{Ephemeral, Epoch, Event, GuildId, Position, Subject, codec};
use guildhall_ring::{Cursor, LatestConfig, LatestReader, LatestWriter, RingConfig, Writer, latest, ring_within};
use guildhall_sessions::{Feed, Holder, Rings};
use guildhall_transport::{CloseReason, LaneReceiver};
use parking_lot::Mutex;

use crate::client::Shared;
use crate::counters::Counter;
use crate::links::Linked;

/// The feeds of one link.
#[derive(Debug)]
pub(crate) struct Feeds {
    ring: RingConfig,
    told: LatestConfig,
    rings: Arc<Rings>,
    /// `None` once the link has ended.
    filled: Mutex<Option<HashMap<FeedId, Arc<Filled>>>>,
}

/// One feed, as the link fills it.
#[derive(Debug)]
struct Filled {
    guild: GuildId,
    pen: Mutex<Pen>,
    told: LatestReader<Subject, Ephemeral>,
    /// Set once it is known where it begins.
    feed: OnceLock<Arc<Feed>>,
}

/// What writes one feed.
#[derive(Debug)]
struct Pen {
    told: LatestWriter<Subject, Ephemeral>,
    /// Since it is known where it begins.
    ring: Option<Writer<Arc<Event>>>,
    /// Whether it is among those who are told to give bytes back.
    listed: bool,
}

impl Feeds {
    pub(crate) fn new(ring: RingConfig, told: LatestConfig, rings: Arc<Rings>) -> Self {
        Self { ring, told, rings, filled: Mutex::new(Some(HashMap::new())) }
    }

    /// Makes room for a feed that is about to be opened.
    pub(crate) fn expect(&self, guild: GuildId, id: FeedId) {
        if let Some(filled) = &mut *self.filled.lock() {
            let (writer, told) = latest(self.told);
            let pen = Mutex::new(Pen { told: writer, ring: None, listed: false });
            filled.insert(id, Arc::new(Filled { guild, pen, told, feed: OnceLock::new() }));
        }
    }

    /// The feed that goes on behind `at`; `None` if the link has ended, or what it has brought does not go on there. If that has passed the ring already,
    /// whoever reads it from there is told the gap: to ask again would come to the same as long as so much comes.
    pub(crate) fn open(&self, id: FeedId, at: Position) -> Option<Arc<Feed>> {
        let filled = self.find(id)?;
        let mut pen = filled.pen.lock();
        let ring = self.begin(&filled, &mut pen, at.epoch, Cursor::after(at.seq));
        let goes_on = ring.head() >= Cursor::after(at.seq);
        // Looked for again: a link that ended before there was a feed could not end it.
        self.find(id)?;
        filled.feed.get().filter(|_| goes_on).cloned()
    }

    /// Forgets a feed. What still comes of it is passed over.
    pub(crate) fn forget(&self, id: FeedId) {
        let forgotten = self.filled.lock().as_mut().and_then(|filled| filled.remove(&id));
        if let Some(filled) = forgotten {
            self.gone(&filled);
        }
    }

    /// Ends all feeds with their link.
    pub(crate) fn end(&self) {
        let ended = self.filled.lock().take();
        for filled in ended.into_iter().flat_map(HashMap::into_values) {
            if let Some(feed) = filled.feed.get() {
                feed.end();
            }
            self.gone(&filled);
        }
    }

    fn gone(&self, filled: &Filled) {
        if std::mem::take(&mut filled.pen.lock().listed) {
            self.rings.leave();
        }
    }

    fn find(&self, id: FeedId) -> Option<Arc<Filled>> {
        self.filled.lock().as_ref()?.get(&id).cloned()
    }

    /// The ring of a feed, which begins at `first` if nobody has said where before.
    fn begin<'a>(&self, filled: &Filled, pen: &'a mut Pen, epoch: Epoch, first: Cursor) -> &'a mut Writer<Arc<Event>> {
        pen.ring.get_or_insert_with(|| {
            let (writer, reader) = ring_within(self.rings.budget(), self.ring, first);
            filled.feed.get_or_init(|| Arc::new(Feed::new(epoch, reader, filled.told.clone())));
            writer
        })
    }

    /// Takes news of a feed; `moved` is told where a guild is now whose feed ends for that.
    fn take(&self, FeedNews { feed: id, news }: FeedNews, moved: impl FnOnce(GuildId, Place)) {
        // Otherwise it was closed here while that was on its way.
        let Some(filled) = self.find(id) else { return };
        let mut pen = filled.pen.lock();
        let (epoch, first) = match &news {
            News::Event(event) => (event.position.epoch, Cursor::at(event.position.seq)),
            News::Ended(FeedEnd::GuildDeleted { at }) => (at.epoch, Cursor::after(at.seq)),
            News::Ended(FeedEnd::Gap | FeedEnd::OwnerEnded | FeedEnd::Moved { .. }) => (Epoch(0), Cursor(0)),
        };
        let ring = self.begin(&filled, &mut pen, epoch, first);
        let feed = filled.feed.get().expect("a feed that has its ring has begun");
        match news {
            News::Event(event) if ring.head() == first && feed.epoch == epoch => {
                ring.append(event);
                self.rings.note(&filled, &mut pen.listed);
                feed.tell();
            }
            News::Ended(FeedEnd::Moved { node, grant }) => {
                // Before the relay looks where to open it anew.
                moved(filled.guild, Place { node, grant });
                feed.end();
            }
            // What a node leaves out, the relay asks for by opening the feed anew.
            News::Event(_) | News::Ended(_) => feed.end(),
        }
    }

    fn take_told(&self, Told { feed: id, ephemeral }: Told) {
        let Some(filled) = self.find(id) else { return };
        filled.pen.lock().told.put(ephemeral.subject(), ephemeral);
        if let Some(feed) = filled.feed.get() {
            feed.tell();
        }
    }
}

impl Holder for Filled {
    fn leased(&self) -> usize {
        self.feed.get().map_or(0, |feed| feed.events.leased())
    }

    fn give_back(&self) {
        let evicted = self.pen.lock().ring.as_mut().map(Writer::give_back);
        drop(evicted);
    }
}

/// Takes what a link pushes, until it ends.
pub(crate) async fn receive(shared: &Shared, linked: &Linked) {
    let lane = async || {
        // Otherwise the link has ended.
        if let Ok(lane) = linked.dialed.next_push().await {
            pour(shared, linked, lane).await;
        }
    };
    // One for feeds, one for what is told of now.
    tokio::join!(lane(), lane());
}

async fn pour(shared: &Shared, linked: &Linked, mut lane: LaneReceiver) {
    let moved = |guild, place| {
        shared.routes.lock().moved(guild, linked.node(), place);
    };
    loop {
        let taken = match lane.next().await {
            Ok(Some(frame)) => match frame.kind {
                Kind::Feed => codec::decode(&frame.body)
                    .map(|news| linked.feeds.take(news, moved))
                    .map_err(|error| (Counter::PushesRefusedMalformedNews, error)),
                Kind::Ephemeral => codec::decode(&frame.body)
                    .map(|told| linked.feeds.take_told(told))
                    .map_err(|error| (Counter::PushesRefusedMalformedTold, error)),
                Kind::Hello
                | Kind::HelloAnswer
                | Kind::Request
                | Kind::Answer
                | Kind::Error
                | Kind::Chunk
                | Kind::End => unreachable!("a lane that pushes carries nothing else: {:?}", frame.kind),
            },
            Err(_) => return,
            // Nothing may be lost on it, so it ends with its link alone.
            Ok(None) => {
                linked.dialed.close(CloseReason::Broken);
                return;
            }
        };
        if let Err((reason, error)) = taken {
            linked.counters.add(reason, 1);
            tracing::warn!(node = %linked.node(), %error, "what a node pushed cannot be decoded");
            linked.dialed.close(CloseReason::Broken);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use guildhall_proto::{EventKind, Millis, Seq};
    use guildhall_ring::ReadError;

    use super::*;

    #[test]
    fn a_feed_that_its_ring_has_passed_before_it_is_opened_begins_with_the_gap() {
        let ring = RingConfig { entries_max: 4, bytes_max: 1 << 20 };
        let feeds = Feeds::new(ring, LatestConfig::default(), Arc::new(Rings::new(1 << 20, || ())));
        let (id, epoch) = (FeedId(1), Epoch(3));
        let nowhere = |_, _| panic!("nothing has moved");
        feeds.expect(GuildId::MIN, id);
        for number in 11..=30 {
            let position = Position { epoch, seq: Seq(number) };
            let event = Arc::new(Event { position, at: Millis(1), kind: EventKind::GuildDeleted });
            feeds.take(FeedNews { feed: id, news: News::Event(event) }, nowhere);
        }
        let feed = feeds.open(id, Position { epoch, seq: Seq(10) }).expect("to ask again would come to the same");
        let mut cursor = Cursor::after(Seq(10));
        let read = feed.events.read(&mut cursor, |_, _| std::ops::ControlFlow::Continue(()));
        assert!(matches!(read, Err(ReadError::Gap(_))), "{read:?}");
        // What does not reach back to there is none that goes on.
        feeds.expect(GuildId::MIN, FeedId(2));
        feeds.take(FeedNews { feed: FeedId(2), news: News::Ended(FeedEnd::OwnerEnded) }, nowhere);
        assert!(feeds.open(FeedId(2), Position { epoch, seq: Seq(10) }).is_none());
    }
}
