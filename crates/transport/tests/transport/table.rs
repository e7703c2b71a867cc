//! Every frame in every place where it may come, and all that may be wrong with it there: written down once more, beside the reader's own table.
//!
//! Nothing here knows who is sent it: this package's tests send it to endpoints, and those of the node to a node that serves.

use guildhall_proto::frame::{HEADER_BYTES, Kind, Lane, Side};
use guildhall_transport::Counter;

use crate::raw::framed;

/// What is sent on one lane.
pub(crate) struct Case {
    /// For whoever reads that it failed.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Why it is refused; `None` if nothing is wrong with its frames.
    pub(crate) refused: Option<Counter>,
}

/// A place, and the frame that may come there.
struct Place {
    lane: Lane,
    ahead: &'static [Kind],
    kind: Kind,
    bytes_max: u32,
}

const OPENED: Lane = Lane::Call(Side::Opener);
const ANSWERED: Lane = Lane::Call(Side::Acceptor);
const LONG: u32 = 262_144;

const PLACES: [Place; 19] = [
    place(Lane::Hello(Side::Opener), &[], Kind::Hello, 64),
    place(Lane::Hello(Side::Acceptor), &[], Kind::HelloAnswer, 64),
    place(OPENED, &[], Kind::Request, LONG),
    place(OPENED, &[Kind::Request], Kind::Chunk, LONG),
    place(OPENED, &[Kind::Request], Kind::End, 0),
    place(OPENED, &[Kind::Request, Kind::Chunk], Kind::Chunk, LONG),
    place(OPENED, &[Kind::Request, Kind::Chunk], Kind::End, 0),
    place(ANSWERED, &[], Kind::Answer, LONG),
    place(ANSWERED, &[], Kind::Error, 1_024),
    place(ANSWERED, &[Kind::Answer], Kind::Chunk, LONG),
    place(ANSWERED, &[Kind::Answer], Kind::End, 0),
    place(ANSWERED, &[Kind::Answer], Kind::Error, 1_024),
    place(ANSWERED, &[Kind::Answer, Kind::Chunk], Kind::Chunk, LONG),
    place(ANSWERED, &[Kind::Answer, Kind::Chunk], Kind::End, 0),
    place(ANSWERED, &[Kind::Answer, Kind::Chunk], Kind::Error, 1_024),
    place(Lane::Push, &[], Kind::Feed, LONG),
    place(Lane::Push, &[], Kind::Ephemeral, 256),
    place(Lane::Push, &[Kind::Feed], Kind::Feed, LONG),
    place(Lane::Push, &[Kind::Ephemeral], Kind::Ephemeral, 256),
];

const fn place(lane: Lane, ahead: &'static [Kind], kind: Kind, bytes_max: u32) -> Place {
    Place { lane, ahead, kind, bytes_max }
}

/// All cases of these lanes. What stands ahead of a frame has these bodies.
pub(crate) fn cases(lanes: &[Lane], body: impl Fn(Kind) -> Vec<u8>) -> Vec<Case> {
    PLACES.iter().filter(|place| lanes.contains(&place.lane)).flat_map(|place| place.cases(&body)).collect()
}

/// The beginnings of the frames of these lanes, behind what stands ahead of them.
pub(crate) fn halves(lanes: &[Lane], body: impl Fn(Kind) -> Vec<u8>) -> Vec<Case> {
    let half = |place: &Place| {
        let whole = framed(place.kind, &vec![7; place.bytes_max as usize]);
        let cuts = [1, HEADER_BYTES, whole.len() - 1];
        let cuts = cuts.into_iter().filter(|cut| *cut < whole.len());
        cuts.map(|cut| place.case(&body, format!("{cut} bytes"), &whole[..cut], Some(Counter::LaneHalf)))
            .collect::<Vec<_>>()
    };
    PLACES.iter().filter(|place| lanes.contains(&place.lane)).flat_map(half).collect()
}

impl Place {
    fn cases(&self, body: &impl Fn(Kind) -> Vec<u8>) -> Vec<Case> {
        let Self { lane, ahead, kind, bytes_max } = self;
        let (number, version) = (kind.number(), u8::from(!matches!(kind, Kind::Hello | Kind::HelloAnswer)));
        let case = |name: &str, bytes: &[u8], refused| self.case(body, name.to_owned(), bytes, refused);
        let header =
            |length: u32, number: u8, version: u8| [&[0; 4][..], &length.to_le_bytes(), &[number, version]].concat();
        let whole = framed(*kind, &vec![7; (*bytes_max).min(20) as usize]);
        let mut other_sum = whole.clone();
        other_sum[0] ^= 1;
        let mut other_end = whole.clone();
        *other_end.last_mut().unwrap() ^= 1;
        let mut cases = vec![
            case("as long as it may be", &framed(*kind, &vec![7; *bytes_max as usize]), None),
            case("too long by one", &header(bytes_max + 1, number, version), Some(Counter::FrameTooLong)),
            case("far too long", &header(u32::MAX, number, version), Some(Counter::FrameTooLong)),
            case("another sum", &other_sum, Some(Counter::FrameWrongSum)),
            case("another version", &header(1, number, version + 1), Some(Counter::FrameWrongVersion)),
            case("a part of the header", &whole[..HEADER_BYTES - 1], Some(Counter::FrameCut)),
        ];
        if *bytes_max > 0 {
            cases.push(case("no body", &header(0, number, version), Some(Counter::FrameEmpty)));
            cases.push(case("one byte", &framed(*kind, &[7]), None));
            cases.push(case("another end", &other_end, Some(Counter::FrameWrongSum)));
            cases.push(case("a part of the body", &whole[..whole.len() - 1], Some(Counter::FrameCut)));
        }
        for number in [0, 10, u8::MAX] {
            cases.push(case("an unknown kind", &header(1, number, version), Some(Counter::FrameUnknownKind)));
        }
        let here = |other: &Kind| {
            PLACES.iter().any(|place| (place.lane, place.ahead.last(), place.kind) == (*lane, ahead.last(), *other))
        };
        for other in Kind::ALL.into_iter().filter(|other| !here(other)) {
            let bytes = vec![7; usize::from(other != Kind::End)];
            cases.push(case(&format!("{other:?}"), &framed(other, &bytes), Some(Counter::FrameMisplaced)));
        }
        if matches!(kind, Kind::Hello | Kind::HelloAnswer | Kind::End | Kind::Error) {
            let more = [&whole[..], &[0]].concat();
            cases.push(case("a byte behind the last frame", &more, Some(Counter::FrameTrailing)));
            cases.push(case("itself again", &whole.repeat(2), Some(Counter::FrameTrailing)));
        }
        cases
    }

    fn case(&self, body: &impl Fn(Kind) -> Vec<u8>, name: String, bytes: &[u8], refused: Option<Counter>) -> Case {
        let mut all: Vec<u8> = self.ahead.iter().flat_map(|kind| framed(*kind, &body(*kind))).collect();
        all.extend_from_slice(bytes);
        if refused.is_none() && self.kind == Kind::Chunk {
            // A run has an end.
            all.extend(framed(Kind::End, &[]));
        }
        let Self { lane, ahead, kind, .. } = self;
        Case { name: format!("{name} for {kind:?} behind {ahead:?} on {lane:?}"), bytes: all, refused }
    }
}
