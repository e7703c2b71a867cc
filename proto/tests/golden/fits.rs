//! The greatest of all that goes in one frame, each number at its widest: it fits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use guildhall_proto::call::{
    Answer, Ask, CallFault, ChunkFault, ChunkFlaw, EncodedEvent, FeedId, FeedNews, Freshness, Malformed, News, Packer,
    PageLimit, Piece, Prefix, Read, Request, Told, Users, Within,
};
use guildhall_proto::codec::{self, Encode};
use guildhall_proto::frame::{self, BODY_BYTES_MAX, Kind};
use guildhall_proto::limits::{
    BULK_MEMBERS_MAX, CHANNELS_MAX, MEMBER_ROLES_MAX, MENTION_ROLES_MAX, MENTION_USERS_MAX, NAME_CHARS_MAX,
    NICK_CHARS_MAX, OVERWRITES_MAX, PAYLOAD_BYTES_MAX, REASON_CHARS_MAX, ROLES_MAX,
};
use guildhall_proto::{
    Actor, AsOf, Attached, Ban, CallError, Channel, ChannelEdit, ChannelId, ChannelKind, ClientId, Command,
    CommandError, Ephemeral, EphemeralKind, Epoch, Event, EventKind, Generation, Grant, GuildEdit, GuildId,
    GuildSettings, Limited, ListedThing, Member, MemberEdit, MemberFlags, Mentions, Message, Millis, Name, NewMember,
    Nick, NodeId, OpId, Overwrite, OverwriteTarget, Payload, Permissions, Position, PruneBy, Publish, Reason, Reply,
    Role, RoleEdit, RoleId, Seq, SessionId, SessionRequest, Status, UserId, Version,
};

use crate::sample::Variants;

/// Members of one batch of a whole-guild change, as the guild cuts them; it has its own proof beside that.
const BATCH_MEMBERS: usize = 256;

#[test]
fn the_greatest_event_of_each_kind_fits_into_a_feeds_frame_and_into_a_chunk() {
    let events: Vec<Event> = kinds().into_iter().map(event).collect();
    assert_eq!(
        events.iter().map(|event| event.kind.variant()).collect::<BTreeSet<_>>(),
        EventKind::VARIANTS.iter().copied().collect()
    );
    for event in events {
        let name = event.kind.variant();
        let encoded = codec::encode(&event).unwrap();
        assert!(encoded.len() <= EncodedEvent::BYTES_MAX, "{name}: {} bytes", encoded.len());
        let feed = FeedId(u64::MAX);
        let forwarded = framed(Kind::Feed, &EncodedEvent { feed, event: &encoded });
        let event = Arc::new(event);
        let news = FeedNews { feed, news: News::Event(Arc::clone(&event)) };
        assert_eq!(forwarded, framed(Kind::Feed, &news), "{name}: an encoded event is another than the event");
        assert_eq!(codec::decode::<FeedNews>(&forwarded).unwrap(), news);
        packed(&Piece::Event(event));
    }
}

#[test]
fn the_greatest_piece_of_each_kind_fits_into_a_chunk() {
    packed(&Piece::Settings(settings()));
    packed(&Piece::Role(role(0)));
    packed(&Piece::Channel(channel(0), overwrites()));
    packed(&Piece::Ban(Ban { user: user(0), reason: Some(reason()) }));
    packed(&Piece::Member(member(0)));
    packed(&new_member(0));
}

#[test]
fn the_greatest_request_fits_but_for_an_import() {
    let (guild, op, actor) = (guild(), op(), Actor::User(user(0)));
    let commands = commands();
    let mut names: BTreeSet<&str> = commands.iter().map(Variants::variant).collect();
    assert!(names.insert("ImportMembers"), "an import goes in chunks");
    assert_eq!(names, Command::VARIANTS.iter().copied().collect());
    for command in commands {
        let (request, lines) = Request::command(guild, op, actor, command);
        assert!(lines.is_empty());
        ask(request);
    }
    let freshness = Freshness::AtLeast(position());
    let users = Users::new((0..BULK_MEMBERS_MAX as u64).map(user).collect()).unwrap();
    let prefix = Prefix::new(&"\u{1f3db}".repeat(NICK_CHARS_MAX)).unwrap();
    ask(Request::Import { guild, op, actor });
    ask(Request::Read { guild, freshness, read: Read::MembersById(users) });
    ask(Request::Read { guild, freshness, read: Read::MembersByPrefix { prefix, limit: PageLimit::MAX } });
    let request = SessionRequest::Resume {
        user: user(0),
        status: Status::Online,
        generation: Generation(u64::MAX),
        known: position(),
    };
    ask(Request::Session { guild, session: session(), request });
}

#[test]
fn the_greatest_answer_fits() {
    let as_of = AsOf { at: position(), stale_for: Some(Duration::MAX) };
    let guilds = (0..u64::from(PageLimit::MAX.get())).map(|nth| GuildId::new(greatest(nth)).unwrap()).collect();
    let attached = Attached {
        at: position(),
        member: member(0),
        generation: Generation(u64::MAX),
        deleted_roles: role_ids(MEMBER_ROLES_MAX),
        deletions_unknown_to: Seq(u64::MAX - 1),
    };
    framed(Kind::Answer, &Answer::Guilds { guilds, more: true });
    framed(Kind::Answer, &Answer::Reply(Reply::Attached(Box::new(attached))));
    framed(Kind::Answer, &Answer::Member { as_of, member: member(0) });
    // Ten times the counters that a node has.
    framed(Kind::Answer, &Answer::Stats(vec![(Name::parse(&"n".repeat(64)).unwrap(), u64::MAX); 1_000]));
}

#[test]
fn every_fault_fits() {
    let calls = [
        CallError::Overloaded { retry_after: Duration::MAX },
        CallError::OutcomeUnknown,
        CallError::Stopping,
        CallError::Unavailable { reason: "\u{1f3db}".repeat(10_000) },
        CallError::Moved { node: NodeId::new(u64::MAX - 1).unwrap(), grant: Grant(u64::MAX) },
        CallError::Denied { reason: "\u{1f3db}".repeat(10_000) },
    ];
    let mut faults = vec![
        CallFault::Malformed(Malformed::Chunk(ChunkFault { at: u64::MAX, flaw: ChunkFlaw::TooMany { max: u32::MAX } })),
        CallFault::FeedsFull { max: u32::MAX },
    ];
    faults.extend(calls.into_iter().chain(refusals().map(CallError::Refused)).map(CallFault::Call));
    for fault in faults {
        framed(Kind::Error, &fault);
    }
}

#[test]
fn the_greatest_ephemeral_fits() {
    let typing = EphemeralKind::Typing { channel: channel_id(0), user: user(0), since: Millis(u64::MAX) };
    let ephemeral = Ephemeral { at: position(), kind: typing };
    framed(Kind::Ephemeral, &Told { feed: FeedId(u64::MAX), ephemeral });
}

fn ask(request: Request) {
    framed(Kind::Request, &Ask { within: Within::MAX, request });
}

/// The body of the value's frame.
fn framed<T: Encode>(kind: Kind, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append_value(kind, Version::new(1).unwrap(), value, &mut bytes).unwrap();
    bytes.split_off(frame::HEADER_BYTES)
}

fn packed<T: Encode>(value: &T) {
    let mut packer = Packer::default();
    assert_eq!(packer.push(value).unwrap(), None);
    assert!(packer.rest().unwrap().len() <= BODY_BYTES_MAX);
}

fn event(kind: EventKind) -> Event {
    Event { position: position(), at: Millis(u64::MAX), kind }
}

fn kinds() -> Vec<EventKind> {
    let roles = || (0..ROLES_MAX as u64).map(|nth| (role_id(nth), u16::MAX)).collect::<Vec<_>>();
    let channels = || (0..CHANNELS_MAX as u64).map(|nth| (channel_id(nth), u16::MAX)).collect::<Vec<_>>();
    vec![
        EventKind::GuildCreated { settings: settings(), everyone: role(0), owner: member(0) },
        EventKind::GuildUpdated { before: settings(), after: settings() },
        EventKind::GuildDeleted,
        EventKind::RoleCreated { role: role(0) },
        EventKind::RoleUpdated { before: role(0), after: role(0) },
        EventKind::RoleDeleted {
            role: role(0),
            overwrites: (0..CHANNELS_MAX as u64).map(|nth| (channel_id(nth), overwrite(0))).collect(),
        },
        EventKind::RolesReordered { before: roles(), after: roles() },
        EventKind::ChannelCreated { channel: channel(0), overwrites: overwrites() },
        EventKind::ChannelUpdated { before: channel(0), after: channel(0) },
        EventKind::ChannelDeleted {
            channel: channel(0),
            overwrites: overwrites(),
            children: (0..CHANNELS_MAX as u64).map(channel_id).collect(),
        },
        EventKind::ChannelsReordered { before: channels(), after: channels() },
        EventKind::OverwriteChanged { channel: channel_id(0), before: Some(overwrite(0)), after: Some(overwrite(0)) },
        EventKind::MemberJoined { member: member(0) },
        EventKind::MembersJoined {
            members: (0..BATCH_MEMBERS as u64).map(|nth| Member { roles: role_ids(10), ..member(nth) }).collect(),
        },
        EventKind::MemberUpdated { before: member(0), after: member(0) },
        EventKind::MemberLeft { member: member(0) },
        EventKind::MessagePublished(Message {
            channel: channel_id(0),
            author: Some(user(0)),
            session: Some(session()),
            echo: true,
            mentions: mentions(),
            payload: payload(),
        }),
        EventKind::MembersLeft { users: (0..BATCH_MEMBERS as u64).map(user).collect() },
        EventKind::UserBanned { user: user(0), reason: Some(reason()) },
        EventKind::UserUnbanned { user: user(0) },
    ]
}

fn commands() -> Vec<Command> {
    let roles = (0..ROLES_MAX as u64).map(|nth| (role_id(nth), u16::MAX)).collect();
    let channels = (0..CHANNELS_MAX as u64).map(|nth| (channel_id(nth), u16::MAX)).collect();
    let (name, permissions) = (Some(name()), Some(Permissions::ALL));
    let (hoist, mentionable) = (Some(true), Some(true));
    vec![
        Command::CreateGuild { name: self::name(), everyone: Permissions::ALL, owner: new_member(0) },
        Command::UpdateGuild(GuildEdit { name: name.clone() }),
        Command::DeleteGuild,
        Command::TransferOwnership { to: user(0) },
        Command::CreateRole(role(0)),
        Command::UpdateRole {
            role: role_id(0),
            edit: RoleEdit { name: name.clone(), permissions, hoist, mentionable },
        },
        Command::DeleteRole { role: role_id(0) },
        Command::ReorderRoles { positions: roles },
        Command::CreateChannel { channel: channel(0), overwrites: overwrites() },
        Command::UpdateChannel {
            channel: channel_id(0),
            edit: ChannelEdit { name, parent: Some(Some(channel_id(1))) },
        },
        Command::DeleteChannel { channel: channel_id(0) },
        Command::ReorderChannels { positions: channels },
        Command::SetOverwrite { channel: channel_id(0), overwrite: overwrite(0) },
        Command::RemoveOverwrite { channel: channel_id(0), target: overwrite(0).target },
        Command::AddMember(new_member(0)),
        Command::UpdateMember {
            user: user(0),
            edit: MemberEdit {
                nick: Some(nick()),
                roles: Some(role_ids(MEMBER_ROLES_MAX)),
                flags: Some(MemberFlags(u16::MAX)),
            },
        },
        Command::RemoveMember { user: user(0) },
        Command::Publish(Publish {
            channel: channel_id(0),
            payload: payload(),
            mentions: mentions(),
            session: Some(session()),
            echo: true,
        }),
        Command::Ban { user: user(0), reason: Some(reason()) },
        Command::Unban { user: user(0) },
        Command::PruneMembers(PruneBy::Absent((0..BULK_MEMBERS_MAX as u64).map(user).collect())),
    ]
}

/// Those with the most in them; the others hold one id or less.
fn refusals() -> impl Iterator<Item = CommandError> {
    let at = position();
    [
        CommandError::UnknownOverwrite { channel: channel_id(0), target: overwrite(0).target },
        CommandError::Duplicate { what: ListedThing::Channel, id: u64::MAX },
        CommandError::LimitExceeded { what: Limited::LongOperationsBytes, got: u32::MAX },
        CommandError::IssuedAhead { op: op(), now: Millis(u64::MAX) },
        CommandError::PositionAhead { got: at, at },
    ]
    .into_iter()
}

const fn greatest(nth: u64) -> u64 {
    u64::MAX - 1 - nth
}

fn user(nth: u64) -> UserId {
    UserId::new(greatest(nth)).unwrap()
}

fn role_id(nth: u64) -> RoleId {
    RoleId::new(greatest(nth)).unwrap()
}

fn role_ids(count: usize) -> Vec<RoleId> {
    (0..count as u64).map(role_id).collect()
}

fn channel_id(nth: u64) -> ChannelId {
    ChannelId::new(greatest(nth)).unwrap()
}

fn guild() -> GuildId {
    GuildId::new(greatest(0)).unwrap()
}

fn session() -> SessionId {
    SessionId::new(greatest(0)).unwrap()
}

fn op() -> OpId {
    OpId { client: ClientId::new(greatest(0)).unwrap(), counter: u64::MAX, issued_at: Millis(u64::MAX) }
}

fn position() -> Position {
    Position { epoch: Epoch(u64::MAX), seq: Seq(u64::MAX - 1) }
}

fn name() -> Name {
    Name::parse(&"\u{1f3db}".repeat(NAME_CHARS_MAX)).unwrap()
}

fn nick() -> Nick {
    Nick::parse(&"\u{1f3db}".repeat(NICK_CHARS_MAX)).unwrap()
}

fn reason() -> Reason {
    Reason::parse(&"\u{1f3db}".repeat(REASON_CHARS_MAX)).unwrap()
}

fn payload() -> Payload {
    Payload::new(vec![b'p'; PAYLOAD_BYTES_MAX]).unwrap()
}

fn mentions() -> Mentions {
    Mentions {
        users: (0..MENTION_USERS_MAX as u64).map(user).collect(),
        roles: role_ids(MENTION_ROLES_MAX),
        everyone: true,
        here: true,
    }
}

fn settings() -> GuildSettings {
    GuildSettings { name: name(), owner: user(0) }
}

fn role(nth: u64) -> Role {
    Role {
        id: role_id(nth),
        name: name(),
        position: u16::MAX,
        permissions: Permissions::ALL,
        hoist: true,
        mentionable: true,
    }
}

fn channel(nth: u64) -> Channel {
    let (kind, parent) = (ChannelKind::Category, Some(channel_id(nth + 1)));
    Channel { id: channel_id(nth), name: name(), kind, parent, position: u16::MAX }
}

fn overwrite(nth: u64) -> Overwrite {
    Overwrite { target: OverwriteTarget::User(user(nth)), allow: Permissions::ALL, deny: Permissions::ALL }
}

fn overwrites() -> Vec<Overwrite> {
    (0..OVERWRITES_MAX as u64).map(overwrite).collect()
}

fn member(nth: u64) -> Member {
    let NewMember { user, nick, roles, flags } = new_member(nth);
    Member { user, nick, roles, joined_at: Millis(u64::MAX), flags }
}

fn new_member(nth: u64) -> NewMember {
    let roles = role_ids(MEMBER_ROLES_MAX);
    NewMember { user: user(nth), nick: nick(), roles, flags: MemberFlags(u16::MAX) }
}
