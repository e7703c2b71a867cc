//! A guild node with a good certificate that sends half a frame and then nothing, or whole frames of which the bodies cannot be read: each way that it can
//! costs what it is on, and nothing else, and is counted under its reason.

use std::time::Duration;

use guildhall_client::{Client, ClientConfig, ClientError, Counter, ImportError, LinkCounter, TransportConfig};
use guildhall_proto::call::{Answer, Ask, Read, Request};
use guildhall_proto::codec;
use guildhall_proto::frame::{self, Kind};
use guildhall_proto::{
    Actor, AsOf, ChannelId, Command, Epoch, Member, MemberFlags, Millis, NewMember, Nick, Outcome, Position, Question,
    Reply, SecretKey, Seq,
};
use guildhall_transport::pki::Authority;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};

use crate::raw::{VERSION, answering, framed, raw_server};
use crate::world::{GUILD, LOOPBACK, credentials, message, soon, today, user};

/// A node that speaks bare QUIC, and who dials it.
struct Bare {
    serving: Endpoint,
    authority: Authority,
}

/// One call as it came.
struct Asked {
    request: Request,
    send: SendStream,
    _receive: RecvStream,
}

impl Bare {
    fn new() -> Self {
        let (authority, _) = Authority::create("main".parse().unwrap(), today()).unwrap();
        let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
        Self { serving, authority }
    }

    /// Of a client that soon gives up what is not whole.
    fn config(&self) -> ClientConfig {
        let backend = credentials(&self.authority, "spiffe://main/backend/chat");
        let (handshake, soon) = (Duration::from_secs(2), Duration::from_millis(200));
        ClientConfig {
            bind: LOOPBACK,
            transport: TransportConfig { handshake, first_frame: soon, frame: soon, ..TransportConfig::default() },
            ..ClientConfig::new(vec![self.serving.local_addr().unwrap()], backend)
        }
    }

    /// The next link that is dialed, past hello and the keys of sessions.
    async fn linked(&self) -> Connection {
        let connection = answering(&self.serving, &framed(Kind::HelloAnswer, b"\x00\x01\x07\x00")).await;
        let mut asked = next(&connection).await;
        assert_eq!(asked.request, Request::SecretKeys);
        let current = SecretKey { number: 1, key: [7; 32] };
        asked.send.write_all(&answer(&Answer::SecretKeys { current, previous: None })).await.unwrap();
        asked.send.finish().unwrap();
        connection
    }

    async fn client(&self) -> (Client, Connection) {
        let (client, connection) = soon(async { tokio::join!(Client::connect(self.config()), self.linked()) }).await;
        (client.unwrap(), connection)
    }
}

async fn next(connection: &Connection) -> Asked {
    let (send, mut receive) = connection.accept_bi().await.unwrap();
    let bytes = receive.read_to_end(1_000).await.unwrap();
    let Ask { request, .. } = codec::decode(&bytes[frame::HEADER_BYTES..]).unwrap();
    Asked { request, send, _receive: receive }
}

fn answer(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append_value(Kind::Answer, VERSION, answer, &mut bytes).unwrap();
    bytes
}

/// The member that is asked for.
fn member() -> Answer {
    let nick = Nick::parse("Cy").unwrap();
    let member = Member { user: user(3), nick, roles: Vec::new(), joined_at: Millis(1), flags: MemberFlags::NONE };
    Answer::Member { as_of: as_of(), member }
}

fn as_of() -> AsOf {
    AsOf { at: at(1), stale_for: None }
}

/// A position in the guild.
fn at(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

/// What a lane says that is reset because nobody read what was sent on it.
const UNREAD: VarInt = VarInt::from_u32(1);

/// Answers the next call, for the member, as it has to be.
async fn answer_member(connection: &Connection) {
    let mut asked = next(connection).await;
    assert!(matches!(asked.request, Request::Read { read: Read::Member(_), .. }), "{:?}", asked.request);
    asked.send.write_all(&answer(&member())).await.unwrap();
    asked.send.finish().unwrap();
}

#[tokio::test]
async fn a_call_of_which_half_an_answer_comes_is_made_again_on_the_same_link() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let guild = client.guild(GUILD);
    for cut in [1, frame::HEADER_BYTES, answer(&member()).len() - 1] {
        let before = client.link_counters().of(LinkCounter::LaneHalf);
        let node = async {
            let mut asked = next(&connection).await;
            asked.send.write_all(&answer(&member())[..cut]).await.unwrap();
            // Held open while it is made again.
            answer_member(&connection).await;
            assert!(asked.send.stopped().await.unwrap().is_some(), "the node was not told");
        };
        let (answered, ()) = soon(async { tokio::join!(guild.member(user(3)), node) }).await;
        assert_eq!(answered.unwrap().1.nick.as_str(), "Cy");
        assert_eq!(client.link_counters().of(LinkCounter::LaneHalf), before + 1, "{cut} bytes");
    }
    assert_eq!(connection.close_reason(), None, "the link did not outlive them");
}

#[tokio::test]
async fn a_command_whose_answer_was_given_up_unread_is_made_again_under_its_id() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let guild = client.guild(GUILD);
    let node = async {
        let mut first = next(&connection).await;
        // The node has carried it out, and found nobody to read what came of it.
        first.send.reset(UNREAD).unwrap();
        let mut again = next(&connection).await;
        assert_eq!(again.request, first.request, "under the same id");
        let outcome = Answer::Reply(Reply::Outcome(Outcome::Applied { at: at(7) }));
        again.send.write_all(&answer(&outcome)).await.unwrap();
        again.send.finish().unwrap();
    };
    let delete = guild.call(Actor::System, Command::DeleteGuild);
    let (outcome, ()) = soon(async { tokio::join!(delete, node) }).await;
    assert_eq!(outcome.unwrap(), Outcome::Applied { at: at(7) });
    // A message is known by no id: nobody knows.
    let node = async { next(&connection).await.send.reset(UNREAD).unwrap() };
    let publish = guild.call(Actor::System, message(1));
    let (outcome, ()) = soon(async { tokio::join!(publish, node) }).await;
    assert_eq!(outcome.unwrap_err(), ClientError::OutcomeUnknown);
}

#[tokio::test]
async fn who_reads_a_long_answer_that_stops_in_the_middle_is_told_so_in_time() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let guild = client.guild(GUILD);
    let node = async {
        let mut asked = next(&connection).await;
        let head = Answer::Pieces { as_of: as_of(), members: 1, online: 0, bans: 0 };
        let chunk = framed(Kind::Chunk, &[7; 100]);
        asked.send.write_all(&[&answer(&head)[..], &chunk[..50]].concat()).await.unwrap();
        asked
    };
    let (pieces, _held) = soon(async { tokio::join!(guild.show(), node) }).await;
    let broken = soon(pieces.unwrap().next()).await.unwrap_err();
    assert_eq!(broken, ClientError::OutcomeUnknown);
    assert_eq!(client.link_counters().of(LinkCounter::LaneHalf), 1);
    let (answered, ()) = soon(async { tokio::join!(guild.member(user(3)), answer_member(&connection)) }).await;
    answered.unwrap();
}

#[tokio::test]
async fn who_reads_a_long_answer_of_which_nothing_more_comes_is_told_so_by_the_calls_deadline() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let guild = client.guild(GUILD).within(Duration::from_millis(300));
    let node = async {
        let mut asked = next(&connection).await;
        let head = Answer::Pieces { as_of: as_of(), members: 1, online: 0, bans: 0 };
        asked.send.write_all(&answer(&head)).await.unwrap();
        asked
    };
    let (members, _held) = soon(async { tokio::join!(guild.members(None, None), node) }).await;
    assert_eq!(soon(members.unwrap().next()).await.unwrap_err(), ClientError::Late);
}

#[tokio::test]
async fn an_answer_that_is_none_fails_its_call_alone() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let guild = client.guild(GUILD);
    for (bytes, reason) in [
        (framed(Kind::Answer, &UNREADABLE), Counter::CallsFailedMalformedAnswer),
        // All of it has to be read.
        (
            framed(Kind::Answer, &[&codec::encode(&member()).unwrap()[..], &[0]].concat()),
            Counter::CallsFailedMalformedAnswer,
        ),
        (framed(Kind::Error, &UNREADABLE), Counter::CallsFailedMalformedError),
        (answer(&Answer::FeedClosed), Counter::CallsFailedOtherAnswer),
    ] {
        let before = client.counters().of(reason);
        let node = respond(&connection, bytes);
        let (answered, ()) = soon(async { tokio::join!(guild.member(user(3)), node) }).await;
        assert!(matches!(answered, Err(ClientError::Answer(_))), "{reason:?}: {answered:?}");
        assert_eq!(client.counters().of(reason), before + 1, "{reason:?}");
    }
    let (answered, ()) = soon(async { tokio::join!(guild.member(user(3)), answer_member(&connection)) }).await;
    answered.unwrap();
    assert_eq!(refused(&client), 4, "each is counted once: {:?}", client.counters());
    assert_eq!(connection.close_reason(), None, "the link did not outlive them");
}

#[tokio::test]
async fn an_import_that_is_answered_as_another_command_is_refused() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let import = async {
        let mut import = client.guild(GUILD).import(Actor::System);
        let (user, nick) = (user(3), Nick::parse("Cy").unwrap());
        import.push(NewMember { user, nick, roles: Vec::new(), flags: MemberFlags::NONE }).await.unwrap();
        import.end().await
    };
    let node = async {
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        // The request, and its lines in chunks.
        receive.read_to_end(1_000).await.unwrap();
        let applied = Outcome::Applied { at: as_of().at };
        send.write_all(&answer(&Answer::Reply(Reply::Outcome(applied)))).await.unwrap();
        send.finish().unwrap();
    };
    let (imported, ()) = soon(async { tokio::join!(import, node) }).await;
    assert!(matches!(imported, Err(ImportError::Call(ClientError::Answer(_)))), "{imported:?}");
    assert_eq!((client.counters().of(Counter::CallsFailedOtherAnswer), refused(&client)), (1, 1));
}

#[tokio::test]
async fn what_follows_an_answer_and_cannot_be_read_ends_it() {
    let bare = Bare::new();
    let (client, connection) = bare.client().await;
    let guild = client.guild(GUILD);
    // Pieces of a guild, and ids of users.
    let pieces = Answer::Pieces { as_of: as_of(), members: 1, online: 0, bans: 0 };
    for (follows, reason) in [
        (framed(Kind::Chunk, &UNREADABLE), Counter::CallsFailedMalformedChunk),
        // Without settings it is no guild.
        (framed(Kind::End, &[]), Counter::CallsFailedMalformedChunk),
        (framed(Kind::Error, &UNREADABLE), Counter::CallsFailedMalformedError),
    ] {
        let before = client.counters().of(reason);
        let node = respond(&connection, [answer(&pieces), follows].concat());
        let (shown, ()) = soon(async { tokio::join!(guild.show(), node) }).await;
        let broken = soon(shown.unwrap().next()).await.unwrap_err();
        assert!(matches!(broken, ClientError::Answer(_)), "{reason:?}: {broken:?}");
        assert_eq!(client.counters().of(reason), before + 1, "{reason:?}");
    }
    let ids = [answer(&Answer::Recipients(as_of())), framed(Kind::Chunk, &UNREADABLE)].concat();
    let everyone = Question::Everyone { channel: ChannelId::MIN };
    let (recipients, ()) = soon(async { tokio::join!(guild.recipients(everyone), respond(&connection, ids)) }).await;
    let broken = soon(recipients.unwrap().next()).await.unwrap_err();
    assert!(matches!(broken, ClientError::Answer(_)), "{broken:?}");
    assert_eq!((client.counters().of(Counter::CallsFailedMalformedChunk), refused(&client)), (3, 4));
    assert_eq!(connection.close_reason(), None, "the link did not outlive them");
}

#[tokio::test]
async fn what_is_pushed_and_cannot_be_read_ends_the_link_and_the_next_one_serves() {
    for (kind, reason) in
        [(Kind::Feed, Counter::PushesRefusedMalformedNews), (Kind::Ephemeral, Counter::PushesRefusedMalformedTold)]
    {
        let bare = Bare::new();
        let (client, connection) = bare.client().await;
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(&[closed_feed(kind), framed(kind, &UNREADABLE)].concat()).await.unwrap();
        let again = soon(bare.linked()).await;
        assert_eq!((client.counters().of(reason), refused(&client)), (1, 1), "{kind:?}");
        soon(connection.closed()).await;
        let guild = client.guild(GUILD);
        let (answered, ()) = soon(async { tokio::join!(guild.member(user(3)), answer_member(&again)) }).await;
        answered.unwrap();
    }
}

/// Answers the next call by these bytes.
async fn respond(connection: &Connection, bytes: Vec<u8>) {
    let mut asked = next(connection).await;
    asked.send.write_all(&bytes).await.unwrap();
    asked.send.finish().unwrap();
}

/// How often the client has refused a body, for whichever reason.
fn refused(client: &Client) -> u64 {
    let counts = client.counters().pull();
    let of_bodies =
        counts.iter().filter(|(name, _)| name.starts_with("calls_failed") || name.starts_with("pushes_refused"));
    of_bodies.map(|(_, count)| count).sum()
}

/// A body of no kind.
const UNREADABLE: [u8; 3] = [200; 3];

#[tokio::test]
async fn half_of_what_is_pushed_ends_the_link_and_the_next_one_serves() {
    for kind in [Kind::Feed, Kind::Ephemeral] {
        for whole_before in [false, true] {
            let bare = Bare::new();
            let (client, connection) = bare.client().await;
            let mut send = connection.open_uni().await.unwrap();
            let frame = framed(kind, &[7; 100]);
            let ahead = if whole_before { closed_feed(kind) } else { Vec::new() };
            send.write_all(&[&ahead[..], &frame[..50]].concat()).await.unwrap();
            // It is dialed anew.
            let again = soon(bare.linked()).await;
            assert_eq!(client.link_counters().of(LinkCounter::LaneHalf), 1, "{kind:?}");
            soon(connection.closed()).await;
            let guild = client.guild(GUILD);
            let (answered, ()) = soon(async { tokio::join!(guild.member(user(3)), answer_member(&again)) }).await;
            answered.unwrap();
        }
    }
}

/// A whole frame of that kind, about a feed that the client has closed.
fn closed_feed(kind: Kind) -> Vec<u8> {
    use guildhall_proto::call::{FeedEnd, FeedId, FeedNews, News, Told};
    use guildhall_proto::{Ephemeral, EphemeralKind, Status};

    let (feed, mut bytes) = (FeedId(9), Vec::new());
    if kind == Kind::Feed {
        let news = FeedNews { feed, news: News::Ended(FeedEnd::Gap) };
        frame::append_value(kind, VERSION, &news, &mut bytes).unwrap();
    } else {
        let kind_of = EphemeralKind::Presence { user: user(3), status: Status::Online };
        let told = Told { feed, ephemeral: Ephemeral { at: as_of().at, kind: kind_of } };
        frame::append_value(kind, VERSION, &told, &mut bytes).unwrap();
    }
    bytes
}

#[tokio::test]
async fn a_node_that_says_half_a_hello_is_dialed_again() {
    let bare = Bare::new();
    let node = async {
        let connection = bare.serving.accept().await.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        receive.read_to_end(1_000).await.unwrap();
        send.write_all(&framed(Kind::HelloAnswer, b"\x00\x01\x07\x00")[..8]).await.unwrap();
        connection.closed().await;
        bare.linked().await
    };
    let (client, _again) = soon(async { tokio::join!(Client::connect(bare.config()), node) }).await;
    assert_eq!(client.unwrap().link_counters().of(LinkCounter::DialHello), 1);
}
