//! Each decoder that is given bytes from outside, as a plain function of bytes: it must not panic, must keep within its memory, and what it
//! accepts must be a value like any other. It tells whether it accepted anything.

use bytes::Bytes;
use guildhall_proto::codec::{self, Decode, Encode};
use guildhall_proto::frame::{self, Frame, FrameError, FrameReader, HEADER_BYTES, Lane, Side};
use guildhall_proto::{Command, Ephemeral, Event, Hello, HelloAnswer, Outcome, Version};
use guildhall_transport::{Identity, pki};

/// One decoder.
pub(crate) struct Target {
    /// Its name, and that of its folder in the corpus.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]) -> bool,
}

pub(crate) const TARGETS: [Target; 9] = [
    Target { name: "frames", run: frames },
    Target { name: "hello", run: value::<Hello> },
    Target { name: "hello_answer", run: value::<HelloAnswer> },
    Target { name: "command", run: value::<Command> },
    Target { name: "outcome", run: value::<Outcome> },
    Target { name: "event", run: value::<Event> },
    Target { name: "ephemeral", run: value::<Ephemeral> },
    Target { name: "certificate", run: certificate },
    Target { name: "identity", run: identity },
];

/// The first byte chooses the lane, the second how the rest is cut.
fn frames(bytes: &[u8]) -> bool {
    let [lane, cut, bytes @ ..] = bytes else { return false };
    let lane = LANES[usize::from(*lane) % LANES.len()];
    let (whole, end) = read(lane, bytes, bytes.len().max(1));
    assert_eq!(read(lane, bytes, usize::from(*cut).max(1)), (whole.clone(), end), "a cut changes what is read");
    let mut again = Vec::new();
    for frame in &whole {
        frame::append(frame.kind, VERSION, &frame.body, &mut again).expect("what was read can be written");
    }
    assert!(bytes.starts_with(&again), "frames were read that were not there");
    !whole.is_empty()
}

/// All frames, and how it ended.
fn read(lane: Lane, bytes: &[u8], cut: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut reader = FrameReader::new(lane, VERSION);
    let mut frames = Vec::new();
    for piece in bytes.chunks(cut) {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match reader.read(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
            assert!(reader.kept_bytes() <= (2 * bytes.len()).max(HEADER_BYTES), "more is kept than has come");
        }
    }
    (frames, reader.end())
}

fn value<T: Encode + Decode<()> + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = codec::decode::<T>(bytes) else { return false };
    let encoded = codec::encode(&value).expect("what was decoded can be encoded");
    assert_eq!(codec::decode::<T>(&encoded).expect("and decoded again"), value);
    true
}

fn certificate(bytes: &[u8]) -> bool {
    let identity = Identity::from_certificate(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        pki::show(text).ok();
    }
    identity.is_ok_and(|identity| identity.to_string().parse() == Ok(identity))
}

fn identity(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(identity) = text.parse::<Identity>() else { return false };
    assert_eq!(identity.to_string(), text, "something else was taken for an identity");
    true
}

const LANES: [Lane; 5] = [
    Lane::Hello(Side::Opener),
    Lane::Hello(Side::Acceptor),
    Lane::Call(Side::Opener),
    Lane::Call(Side::Acceptor),
    Lane::Push,
];

const VERSION: Version = Version::new(1).unwrap();
