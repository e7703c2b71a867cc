//! A node that serves, whoever dials it, and short words for what is asked.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use guildhall_node::{Counter, Node, NodeConfig, ServeConfig, Serving};
use guildhall_proto::call::{
    Answer, AnswerChunks, Ask, CallFault, EncodedIds, Freshness, IdRun, Packer, Piece, PieceRun, Read, Request, Within,
};
use guildhall_proto::codec;
use guildhall_proto::frame::Kind;
use guildhall_proto::{
    Actor, Channel, ChannelId, ChannelKind, ClientId, Command, GuildId, Hello, Instance, MemberFlags, Mentions, Millis,
    Name, NewMember, Nick, NodeId, OpId, Outcome, Payload, Permissions, Position, Publish, Reply, UserId, Versions,
};
use guildhall_store::{MemoryStore, Store};
use guildhall_transport::pki::{Authority, Issued, Validity};
use guildhall_transport::{
    CloseReason, Credentials, Dialed, Endpoint, LaneError, LaneReceiver, LaneSender, Role, TransportConfig,
};

/// A node that serves links on loopback.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) serving: Serving,
    /// Links stand as long as it does.
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    dialers: AtomicU64,
    operations: AtomicU64,
}

/// One dialer's end of a link.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    link: Dialed,
}

/// What a call came to, chunks and all.
#[derive(Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) users: Vec<UserId>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) bytes: Vec<u8>,
}

/// The channel that every guild here has, and all its members see.
pub(crate) const CHANNEL: u64 = 2;
/// The owner of every guild here.
pub(crate) const ADA: u64 = 1;
pub(crate) const NODE: u64 = 1;
pub(crate) const INSTANCE: Instance = Instance(77);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut NodeConfig, &mut ServeConfig)) -> Self {
        Self::made(|store| store, TransportConfig::default(), change)
    }

    pub(crate) fn with_links(
        transport: TransportConfig,
        change: impl FnOnce(&mut NodeConfig, &mut ServeConfig),
    ) -> Self {
        Self::made(|store| store, transport, change)
    }

    /// Over a store that is `made` of one in memory.
    pub(crate) fn over<S: Store>(
        made: impl FnOnce(Arc<MemoryStore>) -> Arc<S>,
        change: impl FnOnce(&mut NodeConfig, &mut ServeConfig),
    ) -> Self {
        Self::made(made, TransportConfig::default(), change)
    }

    /// The same, with these links.
    pub(crate) fn over_links<S: Store>(
        made: impl FnOnce(Arc<MemoryStore>) -> Arc<S>,
        transport: TransportConfig,
    ) -> Self {
        Self::made(made, transport, |_, _| {})
    }

    fn made<S: Store>(
        made: impl FnOnce(Arc<MemoryStore>) -> Arc<S>,
        transport: TransportConfig,
        change: impl FnOnce(&mut NodeConfig, &mut ServeConfig),
    ) -> Self {
        let store = Arc::new(MemoryStore::default());
        let mut config = NodeConfig { sleep_after: Duration::MAX, ..NodeConfig::default() };
        config.offload.threads = 2;
        let mut serve = ServeConfig::new(NodeId::new(NODE).unwrap(), INSTANCE);
        change(&mut config, &mut serve);
        let node = Node::start(config, made(Arc::clone(&store))).unwrap();
        let authority = Authority::create("main".parse().unwrap(), today()).unwrap().0;
        let credentials = credentials(&authority, Role::GuildNode, "x");
        let hello = hello(NODE, INSTANCE);
        let (endpoint, acceptor) = Endpoint::listening(any(), &credentials, hello, transport).unwrap();
        let address = endpoint.address().unwrap();
        let serving = node.serve(acceptor, serve);
        let (dialers, operations) = (AtomicU64::new(NODE), AtomicU64::new(0));
        Self { node, store, serving, endpoint, address, authority, dialers, operations }
    }

    /// Another dialer, of this role.
    pub(crate) async fn dial(&self, role: Role) -> Dialer {
        self.dial_with(role, TransportConfig::default()).await
    }

    pub(crate) async fn dial_with(&self, role: Role, config: TransportConfig) -> Dialer {
        self.dial_as(role, "x", config).await
    }

    /// A backend of another identity than the others.
    pub(crate) async fn dial_other(&self) -> Dialer {
        self.dial_as(Role::Backend, "y", TransportConfig::default()).await
    }

    async fn dial_as(&self, role: Role, name: &str, config: TransportConfig) -> Dialer {
        let number = 1 + self.dialers.fetch_add(1, Ordering::SeqCst);
        let credentials = credentials(&self.authority, role, name);
        let endpoint = Endpoint::dialing(any(), &credentials, hello(number, Instance(1)), config).unwrap();
        let link = soon(endpoint.dial(self.address)).await.unwrap();
        Dialer { endpoint, link }
    }

    /// Another link of the same run.
    pub(crate) async fn dial_again(&self, dialer: &Dialer) -> Dialer {
        let link = soon(dialer.endpoint.dial(self.address)).await.unwrap();
        Dialer { endpoint: dialer.endpoint.clone(), link }
    }

    /// Who is shown as there.
    pub(crate) async fn online(&self, guild: GuildId) -> usize {
        self.node.view(guild).await.unwrap().online()
    }

    pub(crate) fn op(&self) -> OpId {
        let counter = 1 + self.operations.fetch_add(1, Ordering::SeqCst);
        OpId { client: ClientId::new(1 + counter / 512).unwrap(), counter, issued_at: now() }
    }

    /// Carries a command out beside the links.
    pub(crate) async fn ask(&self, guild: GuildId, command: Command) -> Outcome {
        let call = guildhall_node::Call { op: self.op(), actor: Actor::System, command };
        self.node.call(guild, call).await.unwrap()
    }

    /// Creates a guild with its channel and members up to the number given.
    pub(crate) async fn found(&self, number: u64, members: u64) -> GuildId {
        let guild = GuildId::new(number).unwrap();
        self.ask(guild, create_guild()).await;
        self.ask(guild, create_channel(CHANNEL)).await;
        for first in (2..=members).step_by(10_000) {
            let new = (first..=members.min(first + 9_999)).map(new_member).collect();
            self.ask(guild, Command::ImportMembers(new)).await;
        }
        guild
    }

    /// The request for a command, under an operation of its own.
    pub(crate) fn command(&self, guild: GuildId, command: Command) -> Request {
        Request::Command { guild, op: self.op(), actor: Actor::System, command }
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.node.counts().of(counter)
    }

    /// Waits until that was counted so often: what a task counts behind the scenes has no other sign.
    pub(crate) async fn until_counted(&self, counter: Counter, count: u64) {
        until(|| self.count(counter) >= count).await;
    }
}

impl Deref for Dialer {
    type Target = Dialed;

    fn deref(&self) -> &Dialed {
        &self.link
    }
}

impl Dialer {
    /// Asks, with the whole time.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answered, CallFault> {
        self.ask_with(request, &[]).await
    }

    /// The same with chunks behind the request.
    pub(crate) async fn ask_with(&self, request: Request, chunks: &[Bytes]) -> Result<Answered, CallFault> {
        let asked = request.clone();
        let (send, receive) = self.begin(Ask { within: Within::MAX, request }, chunks).await;
        soon(send.finish()).await.unwrap();
        answered(&asked, receive).await
    }

    /// Sends a request with its chunks, and not yet the end of the lane.
    pub(crate) async fn begin(&self, ask: Ask, chunks: &[Bytes]) -> (LaneSender, LaneReceiver) {
        let (mut send, receive) = soon(self.link.call()).await.unwrap();
        send.append_value(Kind::Request, &ask).unwrap();
        for chunk in chunks {
            send.append(Kind::Chunk, chunk).unwrap();
        }
        if ask.request.chunks().is_some() {
            send.append(Kind::End, &[]).unwrap();
        }
        soon(send.flush()).await.unwrap();
        (send, receive)
    }

    /// The position of what a command came to.
    pub(crate) async fn done(&self, request: Request) -> Position {
        match self.ask(request).await.unwrap().answer {
            Answer::Reply(Reply::Outcome(outcome)) => outcome.at(),
            answer => panic!("not an outcome: {answer:?}"),
        }
    }

    /// Ends the link alone.
    pub(crate) fn hang_up(&self) {
        self.link.close(CloseReason::Done);
    }

    pub(crate) async fn close(self) {
        drop(self.link);
        self.endpoint.close().await;
    }
}

/// Reads a whole answer, which must be one to this request.
pub(crate) async fn answered(asked: &Request, mut receive: LaneReceiver) -> Result<Answered, CallFault> {
    let first = soon(receive.next()).await.unwrap().expect("an answer");
    let answer: Answer = match first.kind {
        Kind::Answer => codec::decode(&first.body).unwrap(),
        Kind::Error => return Err(codec::decode(&first.body).unwrap()),
        other => panic!("{other:?} in place of an answer"),
    };
    assert!(asked.is_answered_by(&answer), "{answer:?} to {asked:?}");
    let mut whole = Answered { users: Vec::new(), pieces: Vec::new(), bytes: Vec::new(), answer };
    let mut ids = IdRun::new(usize::MAX);
    let mut pieces = asked.course().map(PieceRun::new);
    let mut is_whole = whole.answer.chunks().is_none();
    while let Some(frame) = soon(receive.next()).await.unwrap() {
        match (frame.kind, whole.answer.chunks()) {
            (Kind::Chunk, Some(AnswerChunks::Users)) => ids.take(&frame.body, &mut whole.users).unwrap(),
            (Kind::Chunk, Some(AnswerChunks::Pieces)) => {
                pieces.as_mut().unwrap().take(&frame.body, &mut whole.pieces).unwrap();
            }
            (Kind::Chunk, Some(AnswerChunks::Bytes)) => whole.bytes.extend_from_slice(&frame.body),
            (Kind::End, Some(_)) => is_whole = true,
            (Kind::Error, Some(_)) => return Err(codec::decode(&frame.body).unwrap()),
            other => panic!("{other:?} behind an answer"),
        }
    }
    if let Some(pieces) = pieces {
        pieces.end().unwrap();
    }
    assert!(is_whole, "the run has an end");
    Ok(whole)
}

/// What is wrong with a lane on which nothing more comes.
pub(crate) async fn broken(mut receive: LaneReceiver) -> LaneError {
    soon(receive.next()).await.unwrap_err()
}

pub(crate) fn read(guild: GuildId, read: Read) -> Request {
    Request::Read { guild, freshness: Freshness::Latest, read }
}

/// The chunks of an import's lines.
pub(crate) fn lines(members: impl Iterator<Item = NewMember>) -> Vec<Bytes> {
    let mut packer = Packer::default();
    let mut chunks: Vec<Bytes> = members.filter_map(|member| packer.push(&member).unwrap()).map(Bytes::from).collect();
    chunks.extend(packer.rest().map(Bytes::from));
    chunks
}

/// The chunks of these users.
pub(crate) fn ids(users: &[UserId]) -> Vec<Bytes> {
    users.chunks(EncodedIds::CHUNK_IDS_MAX).map(|chunk| codec::encode(&EncodedIds(chunk)).unwrap().into()).collect()
}

fn credentials(authority: &Authority, role: Role, name: &str) -> Credentials {
    let uri = format!("spiffe://main/{role}/{name}");
    let Issued { certificate, key } = authority.issue(uri.parse().unwrap(), today()).unwrap();
    let authority = authority.certificate();
    Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.as_bytes()).unwrap()
}

fn hello(node: u64, instance: Instance) -> Hello {
    Hello { versions: Versions::SUPPORTED, node: NodeId::new(node).unwrap(), instance }
}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// From an hour ago, for two hours.
pub(crate) fn today() -> Validity {
    Validity { from: now().minus(Duration::from_secs(3_600)), lifetime: Duration::from_secs(7_200) }
}

pub(crate) fn now() -> Millis {
    Millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn channel_id(number: u64) -> ChannelId {
    ChannelId::new(number).unwrap()
}

pub(crate) fn new_member(number: u64) -> NewMember {
    let nick = Nick::parse(&format!("user {number}")).unwrap();
    NewMember { user: user(number), nick, roles: Vec::new(), flags: MemberFlags::NONE }
}

pub(crate) fn create_guild() -> Command {
    let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
    Command::CreateGuild { name: Name::parse("guild").unwrap(), everyone, owner: new_member(ADA) }
}

pub(crate) fn create_channel(number: u64) -> Command {
    let name = Name::parse("channel").unwrap();
    let channel = Channel { id: channel_id(number), name, kind: ChannelKind::Text, parent: None, position: 0 };
    Command::CreateChannel { channel, overwrites: Vec::new() }
}

pub(crate) fn message(number: u64) -> Command {
    message_of(number.to_le_bytes().to_vec())
}

pub(crate) fn message_of(payload: Vec<u8>) -> Command {
    Command::Publish(Publish {
        channel: channel_id(CHANNEL),
        payload: Payload::new(payload).unwrap(),
        mentions: Mentions::default(),
        session: None,
        echo: false,
    })
}

/// Waits until something is so. Time does not come into it: whoever is waited for runs meanwhile.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    soon(waiting).await;
}

/// Waits for what must come.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANGS, future).await.expect("it does not hang")
}

/// What takes longer than this never comes.
const HANGS: Duration = Duration::from_secs(60);
