//! A loaded guild as everyone but its owner sees it: where to post, where to read, what to listen to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use guildhall_guild::{Operation, Reply, Scanned, SessionRequest, TurnId};
use guildhall_members::{Folded, View};
use guildhall_proto::{
    Actor, CallError, ChannelId, Command, CommandError, Ephemeral, Epoch, Event, Grant, GuildId, OpId, SessionId,
    Sponsor, Subject, UserId,
};
use guildhall_ring::{LatestReader, Reader};
use guildhall_sessions::{Feed, Holder};
use guildhall_store::StoreError;
use tokio::sync::oneshot;

use crate::counters::{Counter, Counters};
use crate::last::Last;
use crate::mailbox::{Class, Mailbox, Refused};
use crate::offload::{JobPanicked, Offload};
use crate::owner::Bedtime;

/// One guild under one epoch. Lives as long as somebody holds it; [ends](Self::has_ended) with its owner.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) guild: GuildId,
    /// By which it was claimed.
    pub(crate) grant: Grant,
    pub(crate) mailbox: Mailbox<Posted, Control>,
    /// What readers read; `None` if the guild does not exist.
    pub(crate) view: ArcSwapOption<View>,
    /// What relays listen to. Ends with the owner.
    pub(crate) feed: Feed,
    handled_all: AtomicBool,
    /// Scans of the guild that run or wait.
    scans: AtomicU32,
    /// Who listens to the feed.
    listeners: AtomicU32,
    /// In which round of the node's sweeps somebody last asked for the guild.
    used: AtomicU32,
    offload: Offload,
}

/// Somebody who listens to a guild's feed, and so keeps it awake.
#[derive(Debug)]
pub struct Listening(Arc<Live>);

/// What is posted to an owner.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Reply, NoReply>>,
}

impl Posted {
    /// Answers. A caller that went away needs no answer.
    pub(crate) fn reply(self, answer: Result<Reply, NoReply>) {
        drop(self.reply.send(answer));
    }
}

/// Why a request was not carried out. The guild is unchanged in every case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The guild refused it.
    Refused(CommandError),
    /// The owner ended before it came to the request: ask the next one.
    Unhandled,
    /// The node stops.
    Stopping,
}

#[derive(Debug)]
pub(crate) enum Request {
    Command(Operation),
    Session { session: SessionId, sponsor: Sponsor, request: SessionRequest },
    SponsorGone { sponsor: Sponsor },
    Typing { user: UserId, channel: ChannelId },
}

/// What overtakes requests in a mailbox.
#[derive(Debug)]
pub(crate) enum Control {
    /// The store has taken a turn's records, or not.
    Settled(TurnId, Result<(), StoreError>),
    /// A fold is done.
    Folded(Box<Folded>),
    /// A search for members to prune is done.
    Scanned(Box<Scanned>),
    /// A checkpoint is written, or was not taken.
    CheckpointDone { stored: bool },
    /// One of the guild's jobs panicked.
    JobPanicked(JobPanicked),
    /// The store has another owner.
    Fenced(StoreError),
    /// Nobody has asked for the guild for a while: keep no room for the next turn.
    Tidy,
    /// The guild is to fall asleep.
    Sleep(Bedtime),
    /// Other guilds' rings are short of bytes: give back what the ring has beyond its share.
    GiveBack,
    /// The node stops, or the guild is to be elsewhere: take nothing more, and let out what is under way. Who waits is told so.
    Stop(NoReply),
    /// After that: hand the store a last checkpoint, and end. Told to a few guilds at a time.
    Leave,
}

/// The answer to a posted request, to be waited for.
pub(crate) type Answer = oneshot::Receiver<Result<Reply, NoReply>>;

impl Holder for Live {
    fn leased(&self) -> usize {
        self.feed.events.leased()
    }

    fn give_back(&self) {
        self.mailbox.post_control(Control::GiveBack);
    }
}

impl Live {
    pub(crate) fn new(
        guild: GuildId,
        (grant, epoch): (Grant, Epoch),
        mailbox: Mailbox<Posted, Control>,
        view: Option<View>,
        events: Reader<Arc<Event>>,
        told: LatestReader<Subject, Ephemeral>,
        offload: Offload,
    ) -> Self {
        let view = ArcSwapOption::new(view.map(Arc::new));
        Self {
            guild,
            grant,
            mailbox,
            view,
            feed: Feed::new(epoch, events, told),
            handled_all: AtomicBool::new(false),
            scans: AtomicU32::new(0),
            listeners: AtomicU32::new(0),
            used: AtomicU32::new(0),
            offload,
        }
    }

    /// Posts a request; the answer comes when the owner has handled it and its outcome may be seen.
    ///
    /// # Errors
    /// `Ok(None)` stands for an owner that has ended: the caller looks the guild up anew. `Overloaded` if there is no room.
    pub(crate) fn post(&self, request: Request, counters: &Counters) -> Result<Option<Answer>, CallError> {
        let (reply, answer) = oneshot::channel();
        let (class, bytes) = (request.class(), request.weight_bytes());
        let posted = self.mailbox.post(class, bytes, Posted { request, reply });
        Ok(taken(posted, class, counters)?.map(|()| answer))
    }

    /// Makes an operation of a command, and posts it as [`post`](Self::post) does. A large one only if there is room now: who is refused is refused at once.
    ///
    /// # Errors
    /// As [`post`](Self::post); `TooLarge`.
    pub(crate) fn post_command(
        &self,
        op: OpId,
        actor: Actor,
        command: Command,
        counters: &Counters,
    ) -> Result<Option<Answer>, CallError> {
        let (class, bytes) = (Class::of(&command), command.weight_bytes());
        if bytes > LARGE_BYTES && taken(self.mailbox.require_room(class, bytes), class, counters)?.is_none() {
            return Ok(None);
        }
        let operation = Operation::new(op, actor, command).map_err(CallError::Refused)?;
        self.post(Request::Command(operation), counters)
    }

    /// The latest view that may be seen.
    ///
    /// # Errors
    /// `UnknownGuild` if the guild does not exist.
    pub(crate) fn view(&self) -> Result<Arc<View>, CallError> {
        self.view.load_full().ok_or(CallError::Refused(CommandError::UnknownGuild))
    }

    /// What is to be read once the owner is gone before its time; `None` if the guild does not exist.
    pub(crate) fn last(&self) -> Option<Last> {
        self.view.load_full().map(|view| Last::new(view, self.offload.clone()))
    }

    /// The scans that run or wait over the guild's views.
    pub(crate) fn scans(&self) -> &AtomicU32 {
        &self.scans
    }

    /// Waits until the owner is gone.
    pub(crate) async fn ended(&self) {
        self.feed.ended().await;
    }

    /// Has a guild end that was told to stop, and waits until it has.
    pub(crate) async fn leave(self: Arc<Self>) {
        self.mailbox.post_control(Control::Leave);
        self.ended().await;
    }

    /// Has the guild take nothing more, which is `told` to who waits, then end, and waits until it has.
    pub(crate) async fn stop(self: Arc<Self>, told: NoReply) {
        self.mailbox.post_control(Control::Stop(told));
        self.leave().await;
    }

    /// Whether the owner is gone and has handled all it ever took: its guild fell asleep, or there is none.
    pub(crate) fn handled_all(&self) -> bool {
        self.handled_all.load(Ordering::Acquire)
    }

    /// Says that all is handled, and the mailbox closed; the [end](Self::end) follows.
    pub(crate) fn set_handled_all(&self) {
        self.handled_all.store(true, Ordering::Release);
    }

    /// Whether a relay listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.listeners.load(Ordering::Acquire) > 0
    }

    /// Notes that somebody asks for the guild in this round. Writes once a round, so that readers do not wait for each other's.
    pub(crate) fn touch(&self, round: u32) {
        if self.used.load(Ordering::Relaxed) != round {
            self.used.store(round, Ordering::Relaxed);
        }
    }

    /// Rounds that have begun since somebody asked for the guild.
    pub(crate) fn idle_rounds(&self, round: u32) -> u32 {
        round.wrapping_sub(self.used.load(Ordering::Relaxed))
    }

    /// Says that the owner is gone.
    pub(crate) fn end(&self) {
        self.feed.end();
    }
}

impl Listening {
    pub(crate) fn to(live: &Arc<Live>) -> Self {
        live.listeners.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(live))
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0
    }
}

impl AsRef<Feed> for Listening {
    fn as_ref(&self) -> &Feed {
        &self.0.feed
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The last view outlives the owner, for those who still read it; it too dies on a worker.
impl Drop for Live {
    fn drop(&mut self) {
        if let Some(view) = self.view.swap(None) {
            self.offload.discard(view);
        }
    }
}

impl Class {
    fn of(command: &Command) -> Self {
        if command.is_durable() { Self::Durable } else { Self::Message }
    }
}

/// What the mailbox said to a request of that class: `None` if its owner has ended.
fn taken(said: Result<(), Refused>, class: Class, counters: &Counters) -> Result<Option<()>, CallError> {
    match said {
        Ok(()) => Ok(Some(())),
        Err(Refused::Closed) => Ok(None),
        Err(Refused::Full { retry_after }) => {
            counters.bump(match class {
                Class::Durable => Counter::RefusedDurable,
                Class::Message => Counter::RefusedMessage,
                Class::Session => Counter::RefusedSession,
                Class::Ephemeral => Counter::RefusedEphemeral,
            });
            Err(CallError::Overloaded { retry_after })
        }
    }
}

/// A command whose fingerprint takes longer than a look at the mailbox: a microsecond.
const LARGE_BYTES: usize = 4 * 1024;

impl Request {
    fn class(&self) -> Class {
        match self {
            Self::Command(operation) => Class::of(operation.command()),
            Self::Session { .. } | Self::SponsorGone { .. } => Class::Session,
            Self::Typing { .. } => Class::Ephemeral,
        }
    }

    fn weight_bytes(&self) -> usize {
        match self {
            Self::Command(operation) => operation.command().weight_bytes(),
            Self::Session { .. } | Self::SponsorGone { .. } | Self::Typing { .. } => size_of::<Posted>(),
        }
    }
}
