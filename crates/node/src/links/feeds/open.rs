//! One feed: its place in what its guild lets out, and how it comes to be looked at.
//!
//! It listens to its guild's news while it is open, without a task: it is the waker itself, and puts itself on a list.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use guildhall_proto::call::{FeedEnd, FeedId, FeedNews, News, Told};
use guildhall_proto::frame::Kind;
use guildhall_proto::{Ephemeral, EphemeralKind, GuildId, Position};
use guildhall_ring::{Cursor, ReadError, Version};
use guildhall_transport::{LaneError, LaneSender};
use parking_lot::Mutex;

use super::Beginning;
use super::ready::Ready;
use crate::live::{Listening, Live};
use crate::node::Node;

/// One feed that is open, or was.
pub(super) struct OpenFeed {
    id: FeedId,
    guild: GuildId,
    /// `None` once it is closed.
    place: Mutex<Option<Place>>,
    /// Whether it stands on the list of those with events, and on that of those of which something is told.
    is_called: AtomicBool,
    is_told: AtomicBool,
    events: Arc<Ready<Arc<OpenFeed>>>,
    told: Arc<Ready<Arc<OpenFeed>>>,
}

struct Place {
    listening: Listening,
    events: Cursor,
    told: Version,
    again: Option<Again>,
    /// The guild's next news.
    news: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What is told though it was told before.
struct Again {
    /// What was told up to here,
    through: Version,
    /// of who is there, from this position on.
    since: Position,
}

/// What came of a look at a feed's events.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// So many were appended, and all are.
    AtHead(u64),
    /// So many were appended, and there are more.
    More(u64),
    /// So many were appended, and then its end.
    Ended(u64, FeedEnd),
    /// It was closed.
    Closed,
}

impl OpenFeed {
    pub(super) fn new(
        id: FeedId,
        beginning: Beginning,
        to_send: Arc<Ready<Arc<OpenFeed>>>,
        to_tell: Arc<Ready<Arc<OpenFeed>>>,
    ) -> Self {
        let Beginning { listening, events, told: through, told_since } = beginning;
        // An owner that began since has told its relays nothing before they came.
        let since = told_since.filter(|since| since.epoch == listening.live().feed.epoch);
        let again = since.map(|since| Again { through, since });
        let told = if again.is_some() { Version::default() } else { through };
        let guild = listening.live().guild;
        let news = news(listening.live());
        Self {
            id,
            guild,
            place: Mutex::new(Some(Place { listening, events, told, again, news })),
            is_called: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            events: to_send,
            told: to_tell,
        }
    }

    pub(super) const fn id(&self) -> FeedId {
        self.id
    }

    pub(super) const fn guild(&self) -> GuildId {
        self.guild
    }

    /// Lets go of the guild. Nothing is sent any more that is not gathered yet.
    pub(super) fn close(&self) {
        let place = self.place.lock().take();
        drop(place);
    }

    /// Has it looked at for events.
    pub(super) fn call(self: &Arc<Self>) {
        if !self.is_called.swap(true, Ordering::AcqRel) {
            self.events.push(Arc::clone(self));
        }
    }

    fn call_to_tell(self: &Arc<Self>) {
        if !self.is_told.swap(true, Ordering::AcqRel) {
            self.told.push(Arc::clone(self));
        }
    }

    /// Appends the next events, a bounded run of them; where they end with the owner, that, and where the guild is by what `node` knows.
    pub(super) fn look(self: &Arc<Self>, lane: &mut LaneSender, node: &Node) -> Result<Looked, LaneError> {
        // Before the look, so that whatever comes after it calls again.
        self.is_called.store(false, Ordering::Release);
        let mut place = self.place.lock();
        let Some(open) = place.as_mut() else {
            return Ok(Looked::Closed);
        };
        open.listen(&Waker::from(Arc::clone(self)));
        let live = Arc::clone(open.listening.live());
        let feed = &live.feed;
        let is_over = feed.has_ended();
        let (mut appended, mut failed) = (0, None);
        let read = feed.events.read(&mut open.events, |_, event| {
            if appended == RUN_EVENTS || lane.gathered_bytes() >= RUN_BYTES {
                return ControlFlow::Break(());
            }
            let news = FeedNews { feed: self.id, news: News::Event(Arc::clone(event)) };
            match lane.append_value(Kind::Feed, &news) {
                Ok(()) => appended += 1,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if open.told < feed.told.head() {
            self.call_to_tell();
        }
        let end = match read {
            // Where the ring has not passed the deletion, the relay hears that first, and this end is an owner's.
            Err(ReadError::Gap(_)) if live.view().is_err() => Some(FeedEnd::GuildDeleted { at: feed.head() }),
            Err(ReadError::Gap(_)) => Some(FeedEnd::Gap),
            Ok(read) if read.at_head && is_over => Some(match node.elsewhere(self.guild) {
                Some((node, grant)) => FeedEnd::Moved { node, grant },
                None => FeedEnd::OwnerEnded,
            }),
            Ok(read) if !read.at_head => return Ok(Looked::More(appended)),
            // Where the cursor is ahead, the view was let out before the ring reached it; it will.
            Ok(_) | Err(ReadError::Ahead { .. }) => None,
        };
        let Some(end) = end else {
            return Ok(Looked::AtHead(appended));
        };
        lane.append_value(Kind::Feed, &FeedNews { feed: self.id, news: News::Ended(end) })?;
        Ok(Looked::Ended(appended, end))
    }

    /// Appends what is told of now, a bounded run of it; how much that was.
    pub(super) fn tell(self: &Arc<Self>, lane: &mut LaneSender) -> Result<u64, LaneError> {
        self.is_told.store(false, Ordering::Release);
        let mut run = Vec::new();
        {
            let mut place = self.place.lock();
            let Some(open) = place.as_mut() else {
                return Ok(0);
            };
            let told = &open.listening.live().feed.told;
            let again = &open.again;
            told.read(&mut open.told, |version, ephemeral| {
                if run.len() == RUN_TOLD {
                    return ControlFlow::Break(());
                }
                if again.as_ref().is_none_or(|again| again.tells(version, ephemeral)) {
                    run.push(*ephemeral);
                }
                ControlFlow::Continue(())
            });
            if run.len() == RUN_TOLD {
                self.call_to_tell();
            }
        }
        for ephemeral in &run {
            lane.append_value(Kind::Ephemeral, &Told { feed: self.id, ephemeral: *ephemeral })?;
        }
        Ok(run.len() as u64)
    }
}

impl Again {
    fn tells(&self, version: Version, told: &Ephemeral) -> bool {
        let is_there = matches!(told.kind, EphemeralKind::Presence { .. });
        version > self.through || is_there && told.at >= self.since
    }
}

impl Place {
    /// Has the guild's next news wake.
    fn listen(&mut self, waker: &Waker) {
        let mut context = Context::from_waker(waker);
        while self.news.as_mut().poll(&mut context).is_ready() {
            self.news = news(self.listening.live());
        }
    }
}

impl Wake for OpenFeed {
    fn wake(self: Arc<Self>) {
        self.call();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}

impl fmt::Debug for OpenFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFeed").field("id", &self.id).field("guild", &self.guild).finish_non_exhaustive()
    }
}

/// Waits for a guild's next news, from when it is first polled.
fn news(live: &Arc<Live>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let live = Arc::clone(live);
    Box::pin(async move { live.feed.news().notified().await })
}

/// Events of one turn, while other feeds wait for theirs: some tens of microseconds.
const RUN_EVENTS: u64 = 64;
/// Bytes that may be gathered before a turn ends; the last event of it may go beyond.
pub(super) const RUN_BYTES: usize = 128 * 1024;
/// What is told of now in one turn.
const RUN_TOLD: usize = 64;
