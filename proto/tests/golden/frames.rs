//! Whole lanes: frames as they cross a link, one behind the other, and bytes that are refused there, by reason.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use guildhall_proto::call::{
    Answer, Ask, CallFault, ChunkFault, ChunkFlaw, EncodedEvent, EncodedIds, FeedEnd, FeedId, FeedNews, Freshness,
    Malformed, News, Piece, Read, Request, Told, Within,
};
use guildhall_proto::codec;
use guildhall_proto::frame::{self, FrameError, FrameReader, HEADER_BYTES, Kind, Lane, Side};
use guildhall_proto::{
    Actor, Ephemeral, EphemeralKind, Hello, HelloAnswer, Instance, Millis, NodeId, UserId, Version, Versions,
};

use crate::calls::{as_of, event, feed_request, guild, line};
use crate::values::{channel_id, general, moderators, op, position, role_overwrite, settings, user};
use crate::{bless_if_asked, difference, read};

/// The bytes of one lane of version 1, from its beginning to its end.
struct Sent {
    name: &'static str,
    lane: Lane,
    bytes: Vec<u8>,
    /// The kinds of its frames, or why they are refused.
    read: Result<Vec<Kind>, &'static str>,
}

#[test]
fn every_lane_has_the_bytes_of_its_vector() {
    let lanes = lanes();
    let computed: BTreeMap<String, Vec<u8>> =
        lanes.iter().map(|sent| (sent.name.to_owned(), sent.bytes.clone())).collect();
    assert_eq!(computed.len(), lanes.len(), "two lanes have one name");
    bless_if_asked(FILE, lanes.iter().map(|sent| (sent.name, sent.bytes.clone())));
    assert_eq!(difference(&read(FILE), &computed), Vec::<String>::new());
}

#[test]
fn every_lane_is_read_or_refused_as_its_name_says() {
    for Sent { name, lane, bytes, read } in lanes() {
        assert_eq!(read_lane(lane, bytes).map_err(FrameError::reason), read, "{name}");
        if let Err(reason) = read {
            assert!(name.starts_with(&format!("refused/{reason}/")), "{name} is refused for {reason}");
        }
    }
}

#[test]
fn the_specification_has_the_row_of_every_kind_and_the_name_of_every_reason() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SPEC.md")).unwrap();
    for kind in Kind::ALL {
        let bytes = if kind.bytes_max() == 0 {
            "none".to_owned()
        } else {
            format!("{} to {}", kind.bytes_min(), kind.bytes_max())
        };
        let row = format!("\n| {} | `{kind:?}` | {bytes} |", kind.number());
        assert!(text.contains(&row), "SPEC.md lacks the row {row:?}");
        assert!(lanes().iter().any(|sent| sent.read.as_ref().is_ok_and(|kinds| kinds.contains(&kind))), "{kind:?}");
    }
    for reason in lanes().iter().filter_map(|sent| sent.read.as_ref().err()) {
        assert!(text.contains(&format!("\n| `{reason}` |")), "SPEC.md does not tell of {reason}");
    }
}

fn lanes() -> Vec<Sent> {
    let (asks, answers) = (Lane::Call(Side::Opener), Lane::Call(Side::Acceptor));
    let (dialer, dialed) = (Lane::Hello(Side::Opener), Lane::Hello(Side::Acceptor));
    let (node, instance) = (NodeId::new(7).unwrap(), Instance(300));
    let hello = value(Kind::Hello, &Hello { versions: Versions::SUPPORTED, node, instance });
    let accepted = value(Kind::HelloAnswer, &HelloAnswer::Accepted { version: VERSION, node, instance });
    let kept = |name, lane, bytes, kinds: &[Kind]| Sent { name, lane, bytes, read: Ok(kinds.to_vec()) };
    let refused = |name, lane, bytes, reason| Sent { name, lane, bytes, read: Err(reason) };
    vec![
        kept("Hello/hello", dialer, hello.clone(), &[Kind::Hello]),
        kept("Hello/answer", dialed, accepted, &[Kind::HelloAnswer]),
        kept("Call/request", asks, frame(Kind::Request, b"?"), &[Kind::Request]),
        kept(
            "Call/request in chunks",
            asks,
            [frame(Kind::Request, b"?"), frame(Kind::Chunk, b"ab"), frame(Kind::Chunk, b"c"), frame(Kind::End, b"")]
                .concat(),
            &[Kind::Request, Kind::Chunk, Kind::Chunk, Kind::End],
        ),
        kept("Call/answer", answers, frame(Kind::Answer, b"!"), &[Kind::Answer]),
        kept("Call/error", answers, frame(Kind::Error, b"no"), &[Kind::Error]),
        kept(
            "Call/answer that breaks off",
            answers,
            [frame(Kind::Answer, b"!"), frame(Kind::Chunk, b"ab"), frame(Kind::Error, b"no")].concat(),
            &[Kind::Answer, Kind::Chunk, Kind::Error],
        ),
        kept(
            "Push/feed",
            Lane::Push,
            [frame(Kind::Feed, b"one"), frame(Kind::Feed, b"two")].concat(),
            &[Kind::Feed, Kind::Feed],
        ),
        kept("Push/ephemeral", Lane::Push, frame(Kind::Ephemeral, b"typing"), &[Kind::Ephemeral]),
    ]
    .into_iter()
    .chain(spoken())
    .chain([
        refused("refused/unknown_kind/0", asks, changed(frame(Kind::Request, b"?"), 8, 0), "unknown_kind"),
        refused("refused/misplaced/answer by who asks", asks, frame(Kind::Answer, b"!"), "misplaced"),
        refused(
            "refused/misplaced/feed among ephemerals",
            Lane::Push,
            [frame(Kind::Ephemeral, b"a"), frame(Kind::Feed, b"b")].concat(),
            "misplaced",
        ),
        refused("refused/wrong_version/2", asks, changed(frame(Kind::Request, b"?"), 9, 2), "wrong_version"),
        refused("refused/wrong_version/hello of 1", dialer, changed(hello, 9, 1), "wrong_version"),
        refused("refused/empty/request", asks, changed(frame(Kind::Request, b"?"), 4, 0), "empty"),
        refused("refused/too_long/one more", dialer, header(Kind::Hello.bytes_max() as u32 + 1, 1, 0), "too_long"),
        refused("refused/too_long/greatest", asks, header(u32::MAX, 3, 1), "too_long"),
        refused(
            "refused/too_long/end with a body",
            asks,
            [frame(Kind::Request, b"?"), header(1, Kind::End.number(), 1), vec![0]].concat(),
            "too_long",
        ),
        refused("refused/wrong_sum/body", asks, changed(frame(Kind::Request, b"?"), HEADER_BYTES, b'!'), "wrong_sum"),
        refused("refused/wrong_sum/sum", asks, changed(frame(Kind::Request, b"?"), 0, 0), "wrong_sum"),
        refused("refused/trailing/behind an error", answers, [frame(Kind::Error, b"no"), vec![0]].concat(), "trailing"),
        refused("refused/cut/within a header", asks, frame(Kind::Request, b"?")[..9].to_vec(), "cut"),
        refused("refused/cut/within a body", asks, frame(Kind::Request, b"??")[..HEADER_BYTES + 1].to_vec(), "cut"),
        refused(
            "refused/cut/chunks without an end",
            answers,
            [frame(Kind::Answer, b"!"), frame(Kind::Chunk, b"ab")].concat(),
            "cut",
        ),
        refused("refused/cut/nothing", answers, Vec::new(), "cut"),
    ])
    .collect()
}

/// Lanes whose frames hold what calls and feeds say.
fn spoken() -> Vec<Sent> {
    let (asks, answers) = (Lane::Call(Side::Opener), Lane::Call(Side::Acceptor));
    let within = Within::new(Duration::from_secs(5)).unwrap();
    let ask = |request| value(Kind::Request, &Ask { within, request });
    let users = |ids: &[u64]| {
        let ids: Vec<UserId> = ids.iter().copied().map(user).collect();
        value(Kind::Chunk, &EncodedIds(&ids))
    };
    let read = Request::Read { guild: guild(), freshness: Freshness::Latest, read: Read::Show };
    let import = Request::Import { guild: guild(), op: op(), actor: Actor::System };
    let pieces = (Piece::Settings(settings("Guild")), Piece::Role(moderators()));
    let fault = CallFault::Malformed(Malformed::Chunk(ChunkFault { at: 2, flaw: ChunkFlaw::Disordered }));
    let typing = EphemeralKind::Typing { channel: channel_id(30), user: user(7), since: Millis(1_700_000_000_000) };
    let told = Told { feed: FeedId(300), ephemeral: Ephemeral { at: position(3, 1_000), kind: typing } };
    let end = FeedNews { feed: FeedId(300), news: News::Ended(FeedEnd::OwnerEnded) };
    let encoded = codec::encode(&event()).unwrap();
    let in_chunks = [Kind::Request, Kind::Chunk, Kind::Chunk, Kind::End];
    [
        ("Call/ping", asks, vec![ask(Request::Ping)], vec![Kind::Request]),
        ("Call/show", asks, vec![ask(read)], vec![Kind::Request]),
        (
            "Call/shown",
            answers,
            vec![
                value(Kind::Answer, &Answer::Pieces { as_of: as_of(), members: 1, online: 0, bans: 0 }),
                value(Kind::Chunk, &pieces),
                value(Kind::Chunk, &Piece::Channel(general(), vec![role_overwrite()])),
                frame(Kind::End, b""),
            ],
            vec![Kind::Answer, Kind::Chunk, Kind::Chunk, Kind::End],
        ),
        (
            "Call/import of three",
            asks,
            vec![
                ask(import),
                value(Kind::Chunk, &(line(), line())),
                value(Kind::Chunk, &line()),
                frame(Kind::End, b""),
            ],
            in_chunks.to_vec(),
        ),
        (
            "Call/feed for four users",
            asks,
            vec![ask(feed_request()), users(&[7, 8, 300]), users(&[4_294_967_296]), frame(Kind::End, b"")],
            in_chunks.to_vec(),
        ),
        (
            "Call/recipients",
            answers,
            vec![value(Kind::Answer, &Answer::Recipients(as_of())), users(&[7, 8]), frame(Kind::End, b"")],
            vec![Kind::Answer, Kind::Chunk, Kind::End],
        ),
        ("Call/fault", answers, vec![value(Kind::Error, &fault)], vec![Kind::Error]),
        (
            "Push/feed's event and end",
            Lane::Push,
            vec![value(Kind::Feed, &EncodedEvent { feed: FeedId(300), event: &encoded }), value(Kind::Feed, &end)],
            vec![Kind::Feed, Kind::Feed],
        ),
        ("Push/typing", Lane::Push, vec![value(Kind::Ephemeral, &told)], vec![Kind::Ephemeral]),
    ]
    .map(|(name, lane, frames, kinds)| Sent { name, lane, bytes: frames.concat(), read: Ok(kinds) })
    .into()
}

fn read_lane(lane: Lane, bytes: Vec<u8>) -> Result<Vec<Kind>, FrameError> {
    let (mut reader, mut input) = (FrameReader::new(lane, VERSION), Bytes::from(bytes));
    let mut kinds = Vec::new();
    while let Some(frame) = reader.read(&mut input)? {
        kinds.push(frame.kind);
    }
    reader.end()?;
    Ok(kinds)
}

fn value<T: guildhall_proto::codec::Encode>(kind: Kind, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append_value(kind, VERSION, value, &mut bytes).unwrap();
    bytes
}

fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(kind, VERSION, body, &mut bytes).unwrap();
    bytes
}

/// A header with a sum of zeros: a length is refused before the sum could be looked at.
fn header(length: u32, kind: u8, version: u8) -> Vec<u8> {
    [&[0; 4][..], &length.to_le_bytes(), &[kind, version]].concat()
}

fn changed(mut bytes: Vec<u8>, at: usize, to: u8) -> Vec<u8> {
    assert_ne!(bytes[at], to);
    bytes[at] = to;
    bytes
}

const FILE: &str = "frames.hex";

const VERSION: Version = Version::new(1).unwrap();
