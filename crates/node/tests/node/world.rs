//! A node to be tested, and short words for what is asked of it.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use guildhall_node::{
    Attach, Backend, Call, Clock, Counter, Delivery, Node, NodeConfig, Pending, Question, SessionStream,
};
use guildhall_proto::{
    Actor, CallError, Channel, ChannelId, ChannelKind, ClientId, Command, Event, EventKind, GuildId, Level,
    MemberFlags, Mentions, Millis, Name, NewMember, Nick, OpId, Outcome, Payload, Permissions, Position, Publish,
    SessionId, Status, UserId,
};

use crate::store::TestStore;

pub(crate) struct World {
    node: Node,
    pub(crate) store: Arc<TestStore>,
    operations: AtomicU64,
}

impl Deref for World {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// The channel that every guild here has, and all its members see.
pub(crate) const CHANNEL: u64 = 2;
/// The owner of every guild here.
pub(crate) const ADA: u64 = 1;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut NodeConfig)) -> Self {
        Self::over(Arc::default(), change)
    }

    /// A node over a store that another one may have used.
    pub(crate) fn over(store: Arc<TestStore>, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let clock = Clock::from_fn(|| NOW);
        // Paused time runs on while workers work: only who asks for it has guilds fall asleep.
        let mut config = NodeConfig { clock, sleep_after: Duration::MAX, ..NodeConfig::default() };
        config.offload.threads = 2;
        // Who is dropped is gone, unless a test is about coming back.
        config.resume.within = Duration::ZERO;
        change(&mut config);
        let node = Node::start(config, Arc::clone(&store) as Arc<_>).unwrap();
        // Operations of a later world over the same store are not those of an earlier one.
        let operations = AtomicU64::new(1_000_000 * store.claims() as u64);
        Self { node, store, operations }
    }

    pub(crate) fn operation(&self, command: Command) -> Call {
        let counter = 1 + self.operations.fetch_add(1, Ordering::SeqCst);
        // A client has few operations open; each thousand is another client's.
        let client = ClientId::new(1 + counter / 512).unwrap();
        Call { op: OpId { client, counter, issued_at: NOW }, actor: Actor::System, command }
    }

    pub(crate) async fn ask(&self, guild: GuildId, command: Command) -> Result<Outcome, CallError> {
        self.node.call(guild, self.operation(command)).await
    }

    /// Begins a command on a loaded guild; it takes its place in the order at once.
    pub(crate) fn post(&self, guild: GuildId, command: Command) -> Result<Pending, CallError> {
        self.node.begin(guild, self.operation(command))
    }

    /// Creates a guild with its channel and members up to the number given.
    pub(crate) async fn found(&self, number: u64, members: u64) -> GuildId {
        let guild = GuildId::new(number).unwrap();
        let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let create = Command::CreateGuild { name: name("guild"), everyone, owner: new_member(ADA) };
        self.ask(guild, create).await.unwrap();
        self.ask(guild, create_channel(CHANNEL)).await.unwrap();
        for first in (2..=members).step_by(10_000) {
            let new = (first..=members.min(first + 9_999)).map(new_member).collect();
            self.ask(guild, Command::ImportMembers(new)).await.unwrap();
        }
        guild
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.node.counts().of(counter)
    }

    /// Everybody's ids, as a scan finds them.
    pub(crate) async fn everybody(&self, guild: GuildId) -> Result<Vec<UserId>, CallError> {
        self.node.recipients(guild, Question::All).await?.all().await
    }

    pub(crate) async fn online(&self, guild: GuildId) -> usize {
        self.node.view(guild).await.unwrap().online()
    }

    pub(crate) async fn is_member(&self, guild: GuildId, number: u64) -> bool {
        self.node.view(guild).await.unwrap().member(user(number)).is_some()
    }

    /// Waits until so many are online.
    pub(crate) async fn until_online(&self, guild: GuildId, online: usize) {
        until_async(async || self.online(guild).await == online).await;
    }
}

pub(crate) async fn attach(backend: &Backend, guild: GuildId, session: u64, number: u64) -> SessionStream {
    backend.attach(guild, attachment(session, number)).await.unwrap()
}

pub(crate) fn attachment(session: u64, number: u64) -> Attach {
    let (status, level) = (Status::Online, Level::Active);
    Attach { session: session_id(session), user: user(number), status, members: false, level }
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn session_id(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

pub(crate) fn channel_id(number: u64) -> ChannelId {
    ChannelId::new(number).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn new_member(number: u64) -> NewMember {
    let nick = Nick::parse(&format!("user {number}")).unwrap();
    NewMember { user: user(number), nick, roles: Vec::new(), flags: MemberFlags::NONE }
}

pub(crate) fn add_member(number: u64) -> Command {
    Command::AddMember(new_member(number))
}

pub(crate) fn create_channel(number: u64) -> Command {
    let channel =
        Channel { id: channel_id(number), name: name("channel"), kind: ChannelKind::Text, parent: None, position: 0 };
    Command::CreateChannel { channel, overwrites: Vec::new() }
}

pub(crate) fn message(number: u64) -> Command {
    message_in(CHANNEL, number)
}

pub(crate) fn message_in(channel: u64, number: u64) -> Command {
    Command::Publish(Publish {
        channel: channel_id(channel),
        payload: Payload::new(number.to_le_bytes().to_vec()).unwrap(),
        mentions: Mentions::default(),
        session: None,
        echo: false,
    })
}

/// The number in a message; `None` for another event.
pub(crate) fn number_of(event: &Event) -> Option<u64> {
    let EventKind::MessagePublished(message) = &event.kind else {
        return None;
    };
    let bytes: &[u8] = message.payload.bytes();
    Some(u64::from_le_bytes(bytes.try_into().unwrap()))
}

/// The number in the message that comes next.
pub(crate) fn number_in(delivery: Option<Delivery>) -> u64 {
    match delivery {
        Some(Delivery::Event(event)) => number_of(&event).expect("a message"),
        other => panic!("not a message: {other:?}"),
    }
}

pub(crate) fn position_of(delivery: &Option<Delivery>) -> Option<Position> {
    let Some(Delivery::Event(event)) = delivery else {
        return None;
    };
    Some(event.position)
}

/// Waits until something is so. Time does not come into it: whoever is waited for runs meanwhile.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    until_async(async || is_so()).await;
}

pub(crate) async fn until_async(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, waiting).await.expect("it comes to be so");
}

/// Waits for what must come.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANGS, future).await.expect("it does not hang")
}

/// Polls once.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))).await
}

/// Lets every other task run until it waits.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A small generator, the same on each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

pub(crate) const NOW: Millis = Millis(1_700_000_000_000);
/// What takes longer than this never comes.
const HANGS: Duration = Duration::from_secs(60);
