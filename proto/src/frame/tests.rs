//! Frames as bytes: what is written is read however it is cut, and what is wrong is told by its reason.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Hello, Instance, NodeId, Versions};

const VERSION: Version = Version::new(1).unwrap();

/// Every lane with the kinds of a run that may stand on it.
const RUNS: [(Lane, &[Kind]); 9] = [
    (Lane::Hello(Side::Opener), &[Kind::Hello]),
    (Lane::Hello(Side::Acceptor), &[Kind::HelloAnswer]),
    (Lane::Call(Side::Opener), &[Kind::Request]),
    (Lane::Call(Side::Opener), &[Kind::Request, Kind::Chunk, Kind::Chunk, Kind::End]),
    (Lane::Call(Side::Acceptor), &[Kind::Answer]),
    (Lane::Call(Side::Acceptor), &[Kind::Answer, Kind::Chunk, Kind::Chunk, Kind::End]),
    (Lane::Call(Side::Acceptor), &[Kind::Answer, Kind::Chunk, Kind::Error]),
    (Lane::Push, &[Kind::Feed, Kind::Feed, Kind::Feed]),
    (Lane::Push, &[Kind::Ephemeral, Kind::Ephemeral]),
];

#[test]
fn a_body_of_each_allowed_length_is_read_and_one_byte_more_is_neither_written_nor_read() {
    for kind in Kind::ALL {
        for bytes in [kind.bytes_min(), kind.bytes_max()] {
            let (lane, ahead) = place(kind);
            let mut reader = FrameReader::new(lane, VERSION);
            read_all(&mut reader, &run(ahead)).unwrap();
            let body = vec![7; bytes];
            let frames = read_all(&mut reader, &frame(kind, &body)).unwrap();
            assert_eq!(frames, [Frame { kind, body: body.into() }]);
        }
        let too_long = vec![7; kind.bytes_max() + 1];
        let mut buffer = vec![1, 2, 3];
        let error = FrameError::TooLong { kind, bytes: too_long.len() };
        assert_eq!(append(kind, VERSION, &too_long, &mut buffer), Err(error));
        assert_eq!(buffer, [1, 2, 3]);
    }
}

#[test]
fn a_length_beyond_the_cap_is_refused_by_its_header_alone() {
    for kind in Kind::ALL {
        for bytes in [kind.bytes_max() + 1, u32::MAX as usize] {
            let refused = refusal(kind, &header(bytes, kind.number(), kind.version(VERSION)));
            assert_eq!(refused, FrameError::TooLong { kind, bytes });
        }
    }
}

#[test]
fn an_empty_body_is_refused_but_for_the_end_of_a_run() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::End) {
        assert_eq!(refusal(kind, &header(0, kind.number(), kind.version(VERSION))), FrameError::Empty { kind });
        assert_eq!(append(kind, VERSION, &[], &mut Vec::new()), Err(FrameError::Empty { kind }));
    }
    assert_eq!(frame(Kind::End, &[]).len(), HEADER_BYTES);
}

#[test]
fn an_unknown_kind_and_another_version_are_refused() {
    for number in (0..=u8::MAX).filter(|number| Kind::find(*number).is_none()) {
        assert_eq!(refusal(Kind::Request, &header(1, number, 1)), FrameError::UnknownKind { number });
    }
    for kind in Kind::ALL {
        let want = kind.version(VERSION);
        for got in (0..=u8::MAX).filter(|got| *got != want) {
            let bytes = header(kind.bytes_max(), kind.number(), got);
            assert_eq!(refusal(kind, &bytes), FrameError::WrongVersion { got, want });
        }
    }
}

#[test]
fn any_changed_byte_of_a_frame_is_found() {
    let whole = frame(Kind::Request, b"twelve bytes");
    for at in 0..whole.len() {
        for change in 1..=u8::MAX {
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            let mut reader = FrameReader::new(Lane::Call(Side::Opener), VERSION);
            let read = read_all(&mut reader, &damaged);
            assert!(read.is_err() || reader.end().is_err(), "byte {at} changed by {change} was not noticed");
        }
    }
}

#[test]
fn what_does_not_belong_is_refused_wherever_it_comes() {
    for (lane, kinds) in RUNS {
        for at in 0..=kinds.len() {
            let allowed = lane.next(kinds[..at].last().copied());
            for kind in Kind::ALL.into_iter().filter(|kind| !allowed.contains(kind)) {
                let mut reader = FrameReader::new(lane, VERSION);
                read_all(&mut reader, &run(&kinds[..at])).unwrap();
                let refused = read_all(&mut reader, &frame(kind, &vec![7; kind.bytes_min()])).unwrap_err();
                let told = if allowed.is_empty() {
                    FrameError::Trailing { lane }
                } else {
                    FrameError::Misplaced { kind, lane }
                };
                assert_eq!(refused, told);
            }
        }
    }
}

#[test]
fn a_single_byte_behind_the_last_frame_is_refused() {
    let mut bytes = run(&[Kind::Answer, Kind::End]);
    bytes.push(0);
    let lane = Lane::Call(Side::Acceptor);
    assert_eq!(read_all(&mut FrameReader::new(lane, VERSION), &bytes), Err(FrameError::Trailing { lane }));
}

#[test]
fn a_lane_ends_behind_a_whole_run_and_nowhere_else() {
    for (lane, kinds) in RUNS {
        let bytes = run(kinds);
        let ends: Vec<usize> = (0..=kinds.len())
            .filter(|at| lane.may_end(kinds[..*at].last().copied()))
            .map(|at| run(&kinds[..at]).len())
            .collect();
        assert!(ends.contains(&bytes.len()));
        for cut in 0..=bytes.len() {
            let mut reader = FrameReader::new(lane, VERSION);
            read_all(&mut reader, &bytes[..cut]).unwrap();
            let ended = if ends.contains(&cut) { Ok(()) } else { Err(FrameError::Cut { lane }) };
            assert_eq!(reader.end(), ended, "{lane:?} cut at {cut} of {}", bytes.len());
        }
    }
}

#[test]
fn an_error_stays() {
    let mut reader = FrameReader::new(Lane::Push, VERSION);
    let error = read_all(&mut reader, &header(1, 0, 1)).unwrap_err();
    assert_eq!(reader.read(&mut Bytes::from(frame(Kind::Feed, b"x"))), Err(error));
    assert_eq!(reader.end(), Err(error));
}

#[test]
fn memory_grows_with_what_has_come_and_not_with_what_was_claimed() {
    let mut reader = FrameReader::new(Lane::Push, VERSION);
    let whole = frame(Kind::Feed, &vec![7; BODY_BYTES_MAX]);
    for (at, byte) in whole[..whole.len() - 1].iter().enumerate() {
        assert_eq!(reader.read(&mut Bytes::copy_from_slice(&[*byte])), Ok(None));
        let kept = reader.kept_bytes();
        assert!(kept <= (2 * (at + 1)).max(HEADER_BYTES) && kept <= whole.len(), "{kept} bytes for {}", at + 1);
    }
    let last = reader.read(&mut Bytes::copy_from_slice(&whole[whole.len() - 1..])).unwrap().unwrap();
    assert_eq!(last.body.len(), BODY_BYTES_MAX);
    assert_eq!(reader.kept_bytes(), 0);
}

#[test]
fn a_frame_that_came_whole_is_not_copied() {
    let mut came = Bytes::from([frame(Kind::Feed, b"first"), frame(Kind::Feed, b"second")].concat());
    let at = came.as_ptr();
    let mut reader = FrameReader::new(Lane::Push, VERSION);
    let first = reader.read(&mut came).unwrap().unwrap();
    assert_eq!(first.body.as_ptr() as usize, at as usize + HEADER_BYTES);
    assert_eq!(reader.read(&mut came).unwrap().unwrap().body, &b"second"[..]);
    assert_eq!(reader.read(&mut came), Ok(None));
}

#[test]
fn a_value_is_framed_as_its_encoding_is() {
    let hello = Hello { versions: Versions::SUPPORTED, node: NodeId::MIN, instance: Instance(3) };
    let mut buffer = vec![9];
    append_value(Kind::Hello, VERSION, &hello, &mut buffer).unwrap();
    assert_eq!(buffer[1..], frame(Kind::Hello, &codec::encode(&hello).unwrap()));
    let too_long = vec![1_u8; Kind::Ephemeral.bytes_max()];
    let error = append_value(Kind::Ephemeral, VERSION, &too_long, &mut buffer).unwrap_err();
    assert!(matches!(error, AppendError::Frame(FrameError::TooLong { bytes: 259, .. })), "{error}");
    assert_eq!(buffer.len(), 1 + frame(Kind::Hello, &codec::encode(&hello).unwrap()).len());
}

#[test]
fn every_error_has_a_name_of_its_own() {
    let (kind, lane) = (Kind::Feed, Lane::Push);
    let errors = [
        FrameError::UnknownKind { number: 0 },
        FrameError::Misplaced { kind, lane },
        FrameError::WrongVersion { got: 0, want: 1 },
        FrameError::Empty { kind },
        FrameError::TooLong { kind, bytes: 0 },
        FrameError::WrongSum { kind },
        FrameError::Trailing { lane },
        FrameError::Cut { lane },
    ];
    let names: std::collections::BTreeSet<&str> = errors.iter().map(|error| error.reason()).collect();
    assert_eq!(names.len(), errors.len());
}

proptest! {
    #[test]
    fn frames_are_the_same_however_they_are_cut(
        run_idx in 0..RUNS.len(),
        sizes in vec(0_usize..3_000, 4),
        cuts in vec(1_usize..700, 1..40),
    ) {
        let (lane, kinds) = RUNS[run_idx];
        let bodies: Vec<Vec<u8>> = kinds
            .iter()
            .zip(&sizes)
            .map(|(kind, size)| (0..(*size).clamp(kind.bytes_min(), kind.bytes_max())).map(|at| at as u8).collect())
            .collect();
        let sent: Vec<u8> = kinds.iter().zip(&bodies).flat_map(|(kind, body)| frame(*kind, body)).collect();
        let mut reader = FrameReader::new(lane, VERSION);
        let (mut rest, mut frames) = (&sent[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            frames.extend(read_all(&mut reader, piece).unwrap());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let whole: Vec<Frame> =
            kinds.iter().zip(bodies).map(|(kind, body)| Frame { kind: *kind, body: body.into() }).collect();
        prop_assert_eq!(frames, whole);
        prop_assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn bytes_that_are_no_frames_come_to_the_same_error_however_they_are_cut(
        lane_idx in 0..RUNS.len(),
        noise in vec(any::<u8>(), 0..200),
        cut in 1_usize..50,
    ) {
        let lane = RUNS[lane_idx].0;
        let mut at_once = FrameReader::new(lane, VERSION);
        let whole = read_all(&mut at_once, &noise);
        let mut piecewise = FrameReader::new(lane, VERSION);
        let pieces: Result<Vec<Vec<Frame>>, FrameError> =
            noise.chunks(cut).map(|piece| read_all(&mut piecewise, piece)).collect();
        prop_assert_eq!(pieces.map(|frames| frames.concat()), whole);
        prop_assert_eq!(piecewise.end(), at_once.end());
    }
}

/// Every frame in `bytes`, which are used up.
fn read_all(reader: &mut FrameReader, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    let mut input = Bytes::copy_from_slice(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.read(&mut input)? {
        frames.push(frame);
    }
    assert!(input.is_empty());
    Ok(frames)
}

/// What a reader that expects `kind` next says to these bytes.
fn refusal(kind: Kind, bytes: &[u8]) -> FrameError {
    let (lane, ahead) = place(kind);
    let mut reader = FrameReader::new(lane, VERSION);
    read_all(&mut reader, &run(ahead)).unwrap();
    read_all(&mut reader, bytes).unwrap_err()
}

/// A lane that `kind` may come on, and what comes ahead of it there.
fn place(kind: Kind) -> (Lane, &'static [Kind]) {
    RUNS.into_iter()
        .find_map(|(lane, kinds)| Some((lane, &kinds[..kinds.iter().position(|one| *one == kind)?])))
        .expect("each kind stands in a run")
}

/// The frames of these kinds, with the shortest bodies.
fn run(kinds: &[Kind]) -> Vec<u8> {
    kinds.iter().flat_map(|kind| frame(*kind, &vec![7; kind.bytes_min()])).collect()
}

fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    append(kind, VERSION, body, &mut buffer).unwrap();
    buffer
}

/// A header with a sum of zeros: what is wrong is to be told before that is looked at.
fn header(body: usize, kind: u8, version: u8) -> Vec<u8> {
    let length = u32::try_from(body).unwrap().to_le_bytes();
    [&[0; 4][..], &length, &[kind, version]].concat()
}
