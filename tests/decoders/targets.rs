//! Each decoder that is given bytes from outside, as a plain function of bytes: it must not panic, must keep within its memory, and what it
//! accepts must be a value like any other. It tells whether it accepted anything.

use bytes::Bytes;
use guildhall_proto::call::{
    Answer, Ask, CallFault, Course, EncodedIds, FeedNews, IdRun, LineRun, Packer, PageLimit, PieceRun, Told,
};
use guildhall_proto::codec::{self, Decode, Encode};
use guildhall_proto::frame::{self, Frame, FrameError, FrameReader, HEADER_BYTES, Lane, Side};
use guildhall_proto::{
    Command, Ephemeral, Event, Generation, GuildId, Hello, HelloAnswer, Millis, Outcome, SecretKey, SessionId, UserId,
    Version,
};
use guildhall_relay::{Claims, Secret, SecretKeys};
use guildhall_transport::{Identity, pki};

/// One decoder.
pub(crate) struct Target {
    /// Its name, and that of its folder in the corpus.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]) -> bool,
}

pub(crate) const TARGETS: [Target; 18] = [
    Target { name: "frames", run: frames },
    Target { name: "hello", run: value::<Hello> },
    Target { name: "hello_answer", run: value::<HelloAnswer> },
    Target { name: "command", run: value::<Command> },
    Target { name: "outcome", run: value::<Outcome> },
    Target { name: "event", run: value::<Event> },
    Target { name: "ephemeral", run: value::<Ephemeral> },
    Target { name: "ask", run: value::<Ask> },
    Target { name: "answer", run: value::<Answer> },
    Target { name: "call_fault", run: value::<CallFault> },
    Target { name: "feed_news", run: value::<FeedNews> },
    Target { name: "told", run: value::<Told> },
    Target { name: "ids", run: ids },
    Target { name: "lines", run: lines },
    Target { name: "pieces", run: pieces },
    Target { name: "certificate", run: certificate },
    Target { name: "identity", run: identity },
    Target { name: "secret", run: secret },
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

/// The first byte is how many may come.
fn ids(bytes: &[u8]) -> bool {
    let [max, bytes @ ..] = bytes else { return false };
    let (mut run, mut users) = (IdRun::new(usize::from(*max)), Vec::new());
    let taken = run.take(bytes, &mut users);
    assert!(users.len() <= usize::from(*max) && users.is_sorted_by(|before, after| before < after));
    let encoded = codec::encode(&EncodedIds(&users)).expect("what was decoded can be encoded");
    assert!(bytes.starts_with(&encoded), "users were read that were not there");
    assert!(taken.is_err() || bytes.len() == encoded.len(), "a rest was taken for nothing");
    taken.is_ok()
}

fn lines(bytes: &[u8]) -> bool {
    let mut run = LineRun::default();
    if run.take(bytes).is_err() {
        return false;
    }
    let Command::ImportMembers(lines) = run.command() else { panic!("lines are an import's") };
    let mut again = LineRun::default();
    for chunk in packed(&lines) {
        again.take(&chunk).expect("what was read can be read again");
    }
    assert_eq!(again.command(), Command::ImportMembers(lines));
    true
}

/// The first byte chooses what was asked for.
fn pieces(bytes: &[u8]) -> bool {
    let [course, bytes @ ..] = bytes else { return false };
    let course = COURSES[usize::from(*course) % COURSES.len()];
    let (mut run, mut pieces) = (PieceRun::new(course), Vec::new());
    if run.take(bytes, &mut pieces).and_then(|()| run.end()).is_err() {
        return false;
    }
    let (mut run, mut again) = (PieceRun::new(course), Vec::new());
    for chunk in packed(&pieces) {
        run.take(&chunk, &mut again).expect("what was read can be read again");
    }
    run.end().expect("and ends where it ended");
    assert_eq!(again, pieces);
    true
}

fn packed<T: Encode>(values: &[T]) -> Vec<Vec<u8>> {
    let mut packer = Packer::default();
    let push = |value| packer.push(value).expect("what was decoded can be encoded");
    let mut chunks: Vec<Vec<u8>> = values.iter().filter_map(push).collect();
    chunks.extend(packer.rest());
    chunks
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

/// Bytes, or digits: users of a client give both, as they have them from whoever says to be a session.
fn secret(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let (digits, plain) = (text.parse::<Secret>(), Secret::from_bytes(bytes));
    if let Ok(secret) = digits {
        assert_eq!(secret.to_string(), text.to_ascii_lowercase(), "other digits were read");
    }
    if let Ok(secret) = plain {
        assert_eq!(secret.as_bytes(), bytes, "other bytes were read");
    }
    let keys = SecretKeys::new(SecretKey { number: 1, key: [7; 32] });
    let (guild, session, user) = (GuildId::MIN, SessionId::MIN, UserId::MIN);
    let claims = Claims { guild, session, user, generation: Generation(3), expires_at: Millis(1_000) };
    for secret in [digits, plain].into_iter().flatten() {
        if keys.verify(&secret, guild, session, user, Millis(999)).is_ok() {
            assert_eq!(secret, keys.sign(&claims), "taken, and never signed");
        }
    }
    digits.is_ok() || plain.is_ok()
}

const COURSES: [Course; 5] = [
    Course::Show,
    Course::Members { limit: Some(2) },
    Course::Found { limit: PageLimit::MAX },
    Course::Feed { past: 2 },
    Course::Export,
];

const LANES: [Lane; 5] = [
    Lane::Hello(Side::Opener),
    Lane::Hello(Side::Acceptor),
    Lane::Call(Side::Opener),
    Lane::Call(Side::Acceptor),
    Lane::Push,
];

const VERSION: Version = Version::new(1).unwrap();
