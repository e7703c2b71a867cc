//! Whole lanes: frames as they cross a link, one behind the other, and bytes that are refused there, by reason.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use guildhall_proto::frame::{self, FrameError, FrameReader, HEADER_BYTES, Kind, Lane, Side};
use guildhall_proto::{Hello, HelloAnswer, Instance, NodeId, Version, Versions};

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
    ]
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
