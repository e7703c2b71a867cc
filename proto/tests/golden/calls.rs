//! Samples of what calls ask and answer, and of what feeds tell.

use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::call::{
    Answer, Ask, CallFault, ChunkFault, ChunkFlaw, FeedEnd, FeedId, FeedNews, Freshness, Malformed, News, PageLimit,
    Piece, Prefix, Read, Request, RequestChunks, Told, Users, Within,
};
use guildhall_proto::{
    Actor, AsOf, Attached, Ban, CallError, Command, CommandError, Ephemeral, EphemeralKind, Event, EventKind,
    Generation, Grant, GuildId, Instance, Level, Millis, NewMember, NodeId, Outcome, Permissions, Question, Reply,
    SecretKey, Seq, SessionRequest, Sponsor, Status,
};

use crate::sample::{Sample, Variants, variants, variants_of};
use crate::values::{
    ada, channel_id, general, moderators, name, op, position, reason, role_id, role_overwrite, session, settings, user,
    user_overwrite,
};

variants!(Request:
    Ping, Stats, Guilds, Command, Import, Typing, Read, Recipients, Session, SecretKeys, Feed, CloseFeed, Export,
    Backup,
);
variants!(Freshness: Latest, AtLeast, Strong);
variants!(Read: Member, Can, Show, Members, MembersById, MembersByPrefix);
variants!(Question: All, Everyone, Here, Role);
variants!(SessionRequest: Attach, Resume, Reattach, SetStatus, SetLevel, Detach, Release);
variants!(Answer:
    Pong, Stats, Guilds, Reply, SecretKeys, Member, Can, Pieces, Recipients, Fed, FeedClosed, Archive,
);
variants!(Reply: Outcome, Attached, Accepted);
variants!(Piece: Settings, Role, Channel, Ban, Event, Member);
variants!(CallFault: Call, Denied, Malformed, TooLate, FeedsFull);
variants!(CallError: Refused, Overloaded, OutcomeUnknown, Stopping, Unavailable, Moved, Denied);
variants!(Malformed: Request, Chunks, Chunk, FeedIdInUse);
variants!(ChunkFlaw: Undecodable, Misplaced, Disordered, TooMany, Incomplete);
variants!(News: Event, Ended);
variants!(FeedEnd: Gap, OwnerEnded, Moved, GuildDeleted);

pub(crate) fn variants() -> Vec<String> {
    variants_of::<Request>()
        .chain(variants_of::<Freshness>())
        .chain(variants_of::<Read>())
        .chain(variants_of::<Question>())
        .chain(variants_of::<SessionRequest>())
        .chain(variants_of::<Answer>())
        .chain(variants_of::<Reply>())
        .chain(variants_of::<Piece>())
        .chain(variants_of::<CallFault>())
        .chain(variants_of::<CallError>())
        .chain(variants_of::<Malformed>())
        .chain(variants_of::<ChunkFlaw>())
        .chain(variants_of::<News>())
        .chain(variants_of::<FeedEnd>())
        .collect()
}

pub(crate) fn samples() -> Vec<Sample> {
    [requests(), reads(), sessions(), answers(), pieces(), faults(), feeds()].into_iter().flatten().collect()
}

/// Each request; the note tells it from others of its variant.
fn asked() -> Vec<(&'static str, Request)> {
    let (op, actor, freshness) = (op(), Actor::User(user(7)), Freshness::Latest);
    let (guild, limit) = (guild(), PageLimit::MAX);
    let question = Question::Here { channel: channel_id(30) };
    let request = SessionRequest::Detach { user: user(7) };
    vec![
        ("", Request::Ping),
        ("", Request::Stats),
        ("first page", Request::Guilds { after: None, limit }),
        ("next page", Request::Guilds { after: Some(guild), limit }),
        ("", Request::Command { guild, op, actor, command: Command::DeleteGuild }),
        ("", Request::Import { guild, op, actor: Actor::System }),
        ("", Request::Typing { guild, user: user(7), channel: channel_id(30) }),
        ("", Request::Read { guild, freshness, read: Read::Show }),
        ("", Request::Recipients { guild, freshness, question }),
        ("", Request::Session { guild, session: session(40), request }),
        ("", Request::SecretKeys),
        ("", feed_request()),
        ("", Request::CloseFeed { feed: FeedId(300) }),
        ("", Request::Export { guild, freshness: Freshness::Strong }),
        ("", Request::Backup),
    ]
}

fn requests() -> Vec<Sample> {
    let within = Within::new(Duration::from_secs(5)).unwrap();
    let mut samples = vec![
        Sample::plain("Within/least", Within::new(Duration::from_millis(1)).unwrap()),
        Sample::plain("Within/greatest", Within::MAX),
        Sample::plain("PageLimit/least", PageLimit::new(1).unwrap()),
        Sample::plain("PageLimit/greatest", PageLimit::MAX),
        Sample::plain("Ask", Ask { within, request: Request::Ping }),
    ];
    samples.extend(asked().into_iter().map(|(note, request)| Sample::variant(note, request)));
    samples
}

fn reads() -> Vec<Sample> {
    let (user, channel, role) = (user(7), channel_id(30), role_id(20));
    let prefix = |text: &str| Prefix::new(text).unwrap();
    let users = |ids: Vec<u64>| Users::new(ids.into_iter().map(crate::values::user).collect()).unwrap();
    vec![
        Sample::variant("", Freshness::Latest),
        Sample::variant("", Freshness::AtLeast(position(3, 1_000))),
        Sample::variant("", Freshness::Strong),
        Sample::variant("", Read::Member(user)),
        Sample::variant("in the guild", Read::Can { user, channel: None }),
        Sample::variant("in a channel", Read::Can { user, channel: Some(channel) }),
        Sample::variant("", Read::Show),
        Sample::variant("all", Read::Members { after: None, limit: None }),
        Sample::variant("some", Read::Members { after: Some(user), limit: Some(1_000) }),
        Sample::variant("", Read::MembersById(users(vec![8, 7]))),
        Sample::variant("", Read::MembersByPrefix { prefix: prefix("Ad"), limit: PageLimit::new(25).unwrap() }),
        Sample::plain("Users/none", users(Vec::new())),
        Sample::plain("Users/two", users(vec![300, 7, 300])),
        Sample::plain("Prefix/empty", prefix("")),
        Sample::plain("Prefix/with a blank", prefix("Ada ")),
        Sample::variant("", Question::All),
        Sample::variant("", Question::Everyone { channel }),
        Sample::variant("", Question::Here { channel }),
        Sample::variant("anywhere", Question::Role { role, channel: None }),
        Sample::variant("who see a channel", Question::Role { role, channel: Some(channel) }),
    ]
}

fn sessions() -> Vec<Sample> {
    let (user, status, generation, known) = (user(7), Status::Online, Generation(300), position(3, 1_000));
    vec![
        Sample::plain("Generation/least", Generation(1)),
        Sample::plain("Generation/greatest", Generation(u64::MAX)),
        Sample::plain("Sponsor", Sponsor(300)),
        Sample::variant("", SessionRequest::Attach { user, status }),
        Sample::variant("", SessionRequest::Resume { user, status, generation, known }),
        Sample::variant("", SessionRequest::Reattach { user, status, generation }),
        Sample::variant("", SessionRequest::SetStatus { user, status: Status::Idle, generation }),
        Sample::variant("", SessionRequest::SetLevel { user, level: Level::Passive, generation }),
        Sample::variant("", SessionRequest::Detach { user }),
        Sample::variant("", SessionRequest::Release { user, generation }),
        Sample::plain("Attached", attached()),
        Sample::variant("", Reply::Outcome(Outcome::Applied { at: known })),
        Sample::variant("", Reply::Attached(Box::new(attached()))),
        Sample::variant("", Reply::Accepted(known)),
    ]
}

fn answers() -> Vec<Sample> {
    let (as_of, at) = (as_of(), position(3, 1_000));
    let key = |number| SecretKey { number, key: [0xab; 32] };
    let (node, instance) = (NodeId::new(7).unwrap(), Instance(300));
    let (started, now) = (Millis(1_700_000_000_000), Millis(1_700_000_000_005));
    vec![
        Sample::plain("AsOf/with an owner", as_of),
        Sample::plain("AsOf/without", AsOf { stale_for: Some(Duration::from_millis(250)), ..as_of }),
        Sample::plain("SecretKey", key(300)),
        Sample::variant("", Answer::Pong { node, instance, started, now }),
        Sample::variant("", Answer::Stats(vec![(name("loads"), 300), (name("sessions"), 0)])),
        Sample::variant("", Answer::Guilds { guilds: vec![GuildId::new(999).unwrap(), guild()], more: true }),
        Sample::variant("", Answer::Reply(Reply::Accepted(at))),
        Sample::variant("first", Answer::SecretKeys { current: key(1), previous: None }),
        Sample::variant("rotated", Answer::SecretKeys { current: key(2), previous: Some(key(1)) }),
        Sample::variant("", Answer::Member { as_of, member: ada() }),
        Sample::variant("", Answer::Can { as_of, permissions: Permissions::VIEW_CHANNEL }),
        Sample::variant("", Answer::Pieces { as_of, members: 1_000_000, online: 300, bans: 2 }),
        Sample::variant("", Answer::Recipients(as_of)),
        Sample::variant("", Answer::Fed { at, sponsor: Sponsor(300) }),
        Sample::variant("", Answer::FeedClosed),
        Sample::variant("", Answer::Archive),
    ]
}

fn pieces() -> Vec<Sample> {
    let ban = Ban { user: user(8), reason: Some(reason("spam")) };
    vec![
        Sample::variant("", Piece::Settings(settings("Guild"))),
        Sample::variant("", Piece::Role(moderators())),
        Sample::variant("", Piece::Channel(general(), vec![role_overwrite(), user_overwrite()])),
        Sample::variant("", Piece::Ban(ban)),
        Sample::variant("", Piece::Event(Arc::new(event()))),
        Sample::variant("", Piece::Member(ada())),
    ]
}

fn faults() -> Vec<Sample> {
    let fault = ChunkFault { at: 300, flaw: ChunkFlaw::Disordered };
    let overloaded = CallError::Overloaded { retry_after: Duration::from_millis(300) };
    let flaws = [
        ChunkFlaw::Undecodable,
        ChunkFlaw::Misplaced,
        ChunkFlaw::Disordered,
        ChunkFlaw::TooMany { max: 10_000 },
        ChunkFlaw::Incomplete,
    ];
    let malformed = [Malformed::Request, Malformed::Chunks, Malformed::Chunk(fault), Malformed::FeedIdInUse];
    let mut samples = vec![
        Sample::plain("ChunkFault", fault),
        Sample::variant("", CallError::Refused(CommandError::UnknownMember { user: user(7) })),
        Sample::variant("", overloaded.clone()),
        Sample::variant("", CallError::OutcomeUnknown),
        Sample::variant("", CallError::Stopping),
        Sample::variant("", CallError::Unavailable { reason: String::from("the store is busy") }),
        Sample::variant("longest", CallError::Unavailable { reason: "r".repeat(CallError::REASON_BYTES_MAX) }),
        Sample::variant("", CallError::Moved { node: NodeId::new(7).unwrap(), grant: Grant(300) }),
        Sample::variant("", CallError::Denied { reason: String::from("that is not for this role") }),
        Sample::variant("", CallFault::Call(overloaded)),
        Sample::variant("", CallFault::Denied),
        Sample::variant("", CallFault::Malformed(Malformed::Request)),
        Sample::variant("", CallFault::TooLate),
        Sample::variant("", CallFault::FeedsFull { max: 100_000 }),
    ];
    samples.extend(flaws.map(|flaw| Sample::variant("", flaw)));
    samples.extend(malformed.map(|malformed| Sample::variant("", malformed)));
    samples
}

fn feeds() -> Vec<Sample> {
    let (feed, at) = (FeedId(300), position(3, 1_000));
    let kind = EphemeralKind::Presence { user: user(7), status: Status::Online };
    let ends = [
        FeedEnd::Gap,
        FeedEnd::OwnerEnded,
        FeedEnd::Moved { node: NodeId::new(7).unwrap(), grant: Grant(300) },
        FeedEnd::GuildDeleted { at },
    ];
    let mut samples = vec![
        Sample::plain("FeedId/300", feed),
        Sample::plain("FeedNews/event", news()),
        Sample::plain("FeedNews/end", FeedNews { feed, news: News::Ended(FeedEnd::Gap) }),
        Sample::plain("Told", Told { feed, ephemeral: Ephemeral { at, kind } }),
        Sample::variant("", News::Event(Arc::new(event()))),
        Sample::variant("", News::Ended(FeedEnd::OwnerEnded)),
    ];
    samples.extend(ends.map(|end| Sample::variant("", end)));
    samples
}

pub(crate) fn guild() -> GuildId {
    GuildId::new(1_000).unwrap()
}

pub(crate) fn feed_request() -> Request {
    Request::Feed { guild: guild(), feed: FeedId(300), past: 4_096, told_since: Some(position(3, 1_000)) }
}

pub(crate) fn as_of() -> AsOf {
    AsOf { at: position(3, 1_000), stale_for: None }
}

pub(crate) fn event() -> Event {
    let kind = EventKind::MemberJoined { member: ada() };
    Event { position: position(3, 1_000), at: Millis(1_700_000_000_005), kind }
}

pub(crate) fn news() -> FeedNews {
    FeedNews { feed: FeedId(300), news: News::Event(Arc::new(event())) }
}

pub(crate) fn line() -> NewMember {
    let member = ada();
    NewMember { user: member.user, nick: member.nick, roles: member.roles, flags: member.flags }
}

fn attached() -> Attached {
    Attached {
        at: position(3, 1_000),
        member: ada(),
        generation: Generation(300),
        deleted_roles: vec![role_id(21)],
        deletions_unknown_to: Seq(900),
    }
}

#[test]
fn the_specification_tells_the_row_and_the_run_of_every_request() {
    let text = include_str!("../../SPEC.md");
    for (_, request) in asked() {
        let name = request.variant();
        let row = text.lines().find(|line| line.contains(&format!("| `{name}` | ")) && line.matches('|').count() == 7);
        let cells: Vec<&str> = row.unwrap_or_else(|| panic!("no row for {name}")).split('|').map(str::trim).collect();
        assert!(cells[4].contains(&format!("`{:?}`", request.call())), "{name}: {}", cells[4]);
        let run = match request.chunks() {
            None => "–",
            Some(RequestChunks::Lines) => "lines",
            Some(RequestChunks::Users) => "users",
        };
        assert_eq!(cells[5], run, "{name}");
    }
}
