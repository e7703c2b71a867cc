//! Sessions of both levels on a node: who hears of a message itself, and who of its channel.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::sync::Arc;

use guildhall_node::{Attach, Backend, BatchItem, Call, Clock, Delivery, Node, NodeConfig};
use guildhall_proto::{
    Actor, Channel, ChannelId, ChannelKind, ClientId, Command, GuildId, Level, MemberFlags, Mentions, Millis, Name,
    NewMember, Nick, OpId, Payload, Permissions, Position, Publish, SessionId, Status, Unread, UserId,
};
use guildhall_store::MemoryStore;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_passive_session_is_told_of_news_and_of_what_calls_it() {
    let mut stage = Stage::start().await;
    let mut active = stage.attach(1, Level::Active).await;
    let mut passive = stage.attach(2, Level::Passive).await;
    let begun = Instant::now();

    let first = stage.publish(Mentions::default()).await;
    let second = stage.publish(Mentions::default()).await;
    assert_eq!(event(active.next().await), first);
    let unread = |at| Some(Delivery::Unread(Unread { at, channels: vec![hall()] }));
    // The first news is told at once, and the rest together after that.
    match passive.next().await {
        told if told == unread(first) => assert_eq!(passive.next().await, unread(second)),
        told => assert_eq!(told, unread(second)),
    }
    assert!(begun.elapsed().as_secs() <= 5);

    let called = stage.publish(Mentions { users: vec![ada()], ..Mentions::default() }).await;
    assert_eq!(event(passive.next().await), called);
    stage.node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_level_holds_from_the_position_that_is_returned() {
    let mut stage = Stage::start().await;
    let mut session = stage.attach(1, Level::Passive).await;
    let mut batches = stage.backend.batches(guild()).await.unwrap().unwrap();
    let mut served = stage.backend.attach_batch(guild(), attach(2, Level::Passive), 7).await.unwrap();
    let before = stage.publish(Mentions::default()).await;

    assert_eq!(session.set_level(Level::Active).await, Ok(before));
    assert!(served.set_level(Level::Active).await.unwrap() >= before);
    let heard = stage.publish(Mentions::default()).await;

    let mut events = Vec::new();
    while events.is_empty() {
        match session.next().await {
            // Made before the change, of what came while it was passive.
            Some(Delivery::Unread(unread)) => assert_eq!(unread.at, before),
            delivery => events.push(event(delivery)),
        }
    }
    assert_eq!(events, [heard]);
    let mut shown = Vec::new();
    while shown.is_empty() {
        batches
            .read(64, |item| {
                if let BatchItem::Event { event, tokens } = item {
                    assert_eq!(tokens, [7]);
                    shown.push(event.position);
                }
            })
            .await;
    }
    assert_eq!(shown, [heard]);
    stage.node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_decides_whether_here_calls_a_session() {
    let mut stage = Stage::start().await;
    let mut session = stage.attach(1, Level::Passive).await;
    session.set_status(Status::Offline).await.unwrap();
    stage.publish(Mentions { here: true, ..Mentions::default() }).await;
    session.set_status(Status::Idle).await.unwrap();
    let called = stage.publish(Mentions { here: true, ..Mentions::default() }).await;

    let mut events = Vec::new();
    while events.is_empty() {
        match session.next().await {
            Some(Delivery::Unread(_)) => {}
            delivery => events.push(event(delivery)),
        }
    }
    assert_eq!(events, [called]);
    stage.node.stop().await;
}

struct Stage {
    node: Node,
    backend: Backend,
    start: Instant,
    count: u64,
}

impl Stage {
    async fn start() -> Self {
        let start = Instant::now();
        let clock = Clock::from_fn(move || now(start));
        let config = NodeConfig { clock, ..NodeConfig::default() };
        let node = Node::start(config, Arc::new(MemoryStore::default())).unwrap();
        let mut stage = Self { backend: node.backend(), node, start, count: 0 };
        let name = Name::parse("hall").unwrap();
        let owner =
            NewMember { user: ada(), nick: Nick::parse("Ada").unwrap(), roles: Vec::new(), flags: MemberFlags::NONE };
        stage.call(Command::CreateGuild { name: name.clone(), everyone: Permissions::VIEW_CHANNEL, owner }).await;
        let channel = Channel { id: hall(), name, kind: ChannelKind::Text, parent: None, position: 0 };
        stage.call(Command::CreateChannel { channel, overwrites: Vec::new() }).await;
        stage
    }

    async fn attach(&self, session: u64, level: Level) -> guildhall_node::SessionStream {
        self.backend.attach(guild(), attach(session, level)).await.unwrap()
    }

    async fn publish(&mut self, mentions: Mentions) -> Position {
        let payload = Payload::new("hello").unwrap();
        self.call(Command::Publish(Publish { channel: hall(), payload, mentions, session: None, echo: false })).await
    }

    async fn call(&mut self, command: Command) -> Position {
        self.count += 1;
        let client = ClientId::new(1).unwrap();
        let op = OpId { client, counter: self.count, issued_at: now(self.start) };
        self.node.call(guild(), Call { op, actor: Actor::System, command }).await.unwrap().at()
    }
}

fn attach(session: u64, level: Level) -> Attach {
    let session = SessionId::new(session).unwrap();
    Attach { session, user: ada(), status: Status::Online, members: false, level }
}

fn event(delivery: Option<Delivery>) -> Position {
    match delivery {
        Some(Delivery::Event(event)) => event.position,
        other => panic!("{other:?}"),
    }
}

fn now(start: Instant) -> Millis {
    Millis(1_000_000 + u64::try_from(start.elapsed().as_millis()).unwrap())
}

fn guild() -> GuildId {
    GuildId::new(1).unwrap()
}

fn hall() -> ChannelId {
    ChannelId::new(2).unwrap()
}

fn ada() -> UserId {
    UserId::new(7).unwrap()
}
