//! A peer with a good certificate that sends what it likes: each of it is refused under its reason, and costs nothing but its lane.

use std::time::Duration;

use guildhall_proto::frame::{BODY_BYTES_MAX, HEADER_BYTES, Kind};
use guildhall_transport::{CloseReason, Closed, Counter, LaneError, TransportConfig};
use quinn::{Connection, ReadToEndError};
use tokio::time::timeout;

use crate::raw::{answering, connected, framed, greeted, raw, raw_server, sent};
use crate::world::{Node, PATIENCE, all_counted, authority, backend, counted, node, today, until_counted};

/// What is sent as a call's lane, and under which reason it is refused; `None` if it is fine.
struct Case {
    bytes: Vec<u8>,
    refused: Option<Counter>,
}

#[tokio::test]
async fn whatever_is_wrong_on_a_lane_is_counted_under_its_reason_and_ends_that_lane_alone() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let (connection, accepted) = tokio::join!(greeted(&raw, node.address), node.acceptor.accept());
    let accepted = accepted.unwrap();
    for Case { bytes, refused } in cases() {
        let before = node.endpoint.counters().pull();
        let (_send, _receive) = sent(&connection, &bytes, true).await;
        let (_answer, mut request) = accepted.next_call().await.unwrap();
        let read = timeout(PATIENCE, async {
            while request.next().await?.is_some() {}
            Ok::<_, LaneError>(())
        });
        let read = read.await.unwrap();
        let mut after = node.endpoint.counters().pull();
        match refused {
            Some(counter) => {
                assert!(matches!(read, Err(LaneError::Frame(_))), "{read:?}");
                assert_eq!(after[counter.name()], before[counter.name()] + 1, "{}", counter.name());
                after.insert(counter.name(), before[counter.name()]);
            }
            None => read.unwrap(),
        }
        assert_eq!(after, before, "something else was counted");
    }
    assert!(timeout(Duration::ZERO, accepted.closed()).await.is_err(), "the link did not outlive them");
}

#[tokio::test]
async fn half_a_frame_and_then_silence_ends_the_lane_in_time() {
    let (first_frame, frame) = (Duration::from_millis(200), Duration::from_millis(200));
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig { first_frame, frame, ..TransportConfig::default() });
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let (connection, accepted) = tokio::join!(greeted(&raw, node.address), node.acceptor.accept());
    let accepted = accepted.unwrap();
    let whole = framed(Kind::Chunk, &[7; 100]);
    let (ahead, mut count) = (framed(Kind::Request, b"?"), 0);
    for (ahead, cut) in [(&[][..], 1), (&[], HEADER_BYTES), (&[], 60), (&ahead[..], 1), (&ahead, 60), (&ahead, 109)] {
        let frames = usize::from(!ahead.is_empty());
        // The first frame of a lane is a request.
        let half = if frames == 0 { framed(Kind::Request, &[7; 100])[..cut].to_vec() } else { whole[..cut].to_vec() };
        let (_send, mut receive) = sent(&connection, &[ahead, &half].concat(), false).await;
        let (answer, mut request) = accepted.next_call().await.unwrap();
        for _ in 0..frames {
            request.next().await.unwrap().unwrap();
        }
        let error = timeout(PATIENCE, request.next()).await.unwrap().unwrap_err();
        assert!(matches!(error, LaneError::Half), "{error}");
        count += 1;
        assert_eq!(counted(&node.endpoint, Counter::LaneHalf), count);
        drop(answer);
        assert!(matches!(receive.read_to_end(10).await, Err(ReadToEndError::Read(_))), "the peer was not told");
    }
    assert_eq!(counted(&node.endpoint, Counter::LaneSilent), 0);
}

#[tokio::test]
async fn what_is_no_hello_ends_the_link_and_is_told() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let cases = [
        (framed(Kind::Request, b"?"), Some(Counter::FrameMisplaced)),
        (framed(Kind::Hello, &[0; 64]), None),
        (framed(Kind::Hello, b"\x02\x01\x07\x00"), None),
        (header(65, Kind::Hello.number(), 0), Some(Counter::FrameTooLong)),
        (header(0, Kind::Hello.number(), 0), Some(Counter::FrameEmpty)),
        (header(9, Kind::Hello.number(), 1), Some(Counter::FrameWrongVersion)),
        ([framed(Kind::Hello, b"\x01\x01\x07\x00"), vec![0]].concat(), Some(Counter::FrameTrailing)),
        (framed(Kind::Hello, b"\x01\x01\x07\x00")[..12].to_vec(), Some(Counter::FrameCut)),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(Counter::FrameUnknownKind)),
        (Vec::new(), Some(Counter::FrameCut)),
    ];
    let address = node.address;
    for (number, (bytes, counter)) in cases.into_iter().enumerate() {
        let dialing = async {
            let connection = connected(&raw, address).await.unwrap();
            let _lane = sent(&connection, &bytes, true).await;
            Closed::from(connection.closed().await)
        };
        let closed = until_refused(&mut node, dialing).await;
        assert_eq!(closed, Closed::There(CloseReason::Hello), "{bytes:02x?}");
        assert_eq!(counted(&node.endpoint, Counter::HandshakeHello), number as u64 + 1);
        if let Some(counter) = counter {
            assert!(counted(&node.endpoint, counter) > 0, "{:?}", all_counted(&node.endpoint));
        }
    }
}

#[tokio::test]
async fn who_never_says_hello_is_given_up_in_time() {
    let authority = authority("main");
    let mut node =
        node(&authority, TransportConfig { handshake: Duration::from_secs(1), ..TransportConfig::default() });
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let address = node.address;
    let half = framed(Kind::Hello, b"\x01\x01\x07\x00");
    for (count, said) in [None, Some(&half[..8])].into_iter().enumerate() {
        let dialing = async {
            let connection = connected(&raw, address).await.unwrap();
            let _lane = match said {
                Some(said) => Some(sent(&connection, said, false).await),
                None => None,
            };
            Closed::from(connection.closed().await)
        };
        assert_eq!(until_refused(&mut node, dialing).await, Closed::There(CloseReason::Late));
        until_counted(&node.endpoint, Counter::HandshakeLate, count as u64 + 1).await;
    }
}

#[tokio::test]
async fn a_dialer_opens_no_lanes_in_one_direction_and_no_more_than_its_calls() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig { calls_max: 3, ..TransportConfig::default() });
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let (connection, accepted) = tokio::join!(greeted(&raw, node.address), node.acceptor.accept());
    let _accepted = accepted.unwrap();
    // That of hello has ended, and takes no place.
    assert_eq!(opened(&connection).await.len(), 3);
    assert!(timeout(Duration::from_millis(50), connection.open_uni()).await.is_err());
}

#[tokio::test]
async fn who_was_dialed_is_given_up_for_what_is_no_answer_to_hello() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let (address, backend) = (serving.local_addr().unwrap(), backend(&authority, 2));
    let version_2 = framed(Kind::HelloAnswer, b"\x00\x02\x07\x00");
    let none_in_common = framed(Kind::HelloAnswer, b"\x01\x01\x01\x02\x03");
    for (answer, reason, counter) in [
        (framed(Kind::Answer, b"!"), CloseReason::Hello, Counter::DialHello),
        (framed(Kind::HelloAnswer, b"\x02"), CloseReason::Hello, Counter::DialHello),
        (Vec::new(), CloseReason::Hello, Counter::DialHello),
        (version_2, CloseReason::Version, Counter::DialVersion),
        (none_in_common, CloseReason::Version, Counter::DialVersion),
    ] {
        let before = counted(&backend, counter);
        let (dialed, heard) = tokio::join!(backend.dial(address), async {
            Closed::from(answering(&serving, &answer).await.closed().await)
        });
        assert!(dialed.is_err());
        assert_eq!(heard, Closed::There(reason), "{answer:02x?}");
        assert_eq!(counted(&backend, counter), before + 1);
    }
}

#[tokio::test]
async fn what_is_wrong_on_a_lane_that_pushes_ends_the_link() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let (address, backend) = (serving.local_addr().unwrap(), backend(&authority, 2));
    let accepted = framed(Kind::HelloAnswer, b"\x00\x01\x07\x00");
    for (bytes, counter) in [
        ([framed(Kind::Feed, b"1"), framed(Kind::Ephemeral, b"2")].concat(), Counter::FrameMisplaced),
        (framed(Kind::Request, b"?"), Counter::FrameMisplaced),
        (framed(Kind::Feed, b"1")[..5].to_vec(), Counter::FrameCut),
        (header(BODY_BYTES_MAX as u32 + 1, Kind::Feed.number(), 1), Counter::FrameTooLong),
    ] {
        let before = counted(&backend, counter);
        let (dialed, connection) = tokio::join!(backend.dial(address), answering(&serving, &accepted));
        let dialed = dialed.unwrap();
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        let mut receiver = dialed.next_push().await.unwrap();
        let error = loop {
            if let Err(error) = receiver.next().await {
                break error;
            }
        };
        assert!(matches!(error, LaneError::Frame(_)), "{error}");
        assert_eq!(counted(&backend, counter), before + 1);
        assert_eq!(Closed::from(connection.closed().await), Closed::There(CloseReason::Broken));
        assert_eq!(dialed.closed().await, Closed::Here);
    }
}

/// As many lanes as can be opened without waiting for long.
async fn opened(connection: &Connection) -> Vec<(quinn::SendStream, quinn::RecvStream)> {
    let mut lanes = Vec::new();
    while let Ok(lane) = timeout(Duration::from_millis(500), connection.open_bi()).await {
        lanes.push(lane.unwrap());
    }
    lanes
}

/// Has handshakes go on until `dialing` has come to its end; no link may stand.
async fn until_refused<T>(node: &mut Node, dialing: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = timeout(PATIENCE, dialing) => ended.unwrap(),
        link = node.acceptor.accept() => panic!("{link:?} stands"),
    }
}

fn cases() -> Vec<Case> {
    let request = Kind::Request.number();
    let fine = |bytes| Case { bytes, refused: None };
    let refused = |counter, bytes| Case { bytes, refused: Some(counter) };
    let mut wrong_sum = framed(Kind::Request, b"a sum");
    wrong_sum[HEADER_BYTES] ^= 1;
    vec![
        fine(framed(Kind::Request, b"?")),
        fine(framed(Kind::Request, &vec![7; BODY_BYTES_MAX])),
        fine([framed(Kind::Request, b"?"), framed(Kind::Chunk, b"1"), framed(Kind::End, b"")].concat()),
        refused(Counter::FrameEmpty, header(0, request, 1)),
        refused(Counter::FrameTooLong, header(BODY_BYTES_MAX as u32 + 1, request, 1)),
        refused(Counter::FrameTooLong, header(u32::MAX, request, 1)),
        refused(Counter::FrameWrongSum, wrong_sum),
        refused(Counter::FrameUnknownKind, header(1, 0, 1)),
        refused(Counter::FrameUnknownKind, header(1, u8::MAX, 1)),
        refused(Counter::FrameWrongVersion, header(1, request, 0)),
        refused(Counter::FrameWrongVersion, header(1, request, 2)),
        refused(Counter::FrameMisplaced, framed(Kind::Answer, b"!")),
        refused(Counter::FrameMisplaced, [framed(Kind::Request, b"?"), framed(Kind::Request, b"?")].concat()),
        refused(Counter::FrameTrailing, [framed(Kind::Request, b"?"), framed(Kind::End, b""), vec![0]].concat()),
        refused(Counter::FrameCut, Vec::new()),
        refused(Counter::FrameCut, framed(Kind::Request, b"?")[..HEADER_BYTES].to_vec()),
        refused(Counter::FrameCut, [framed(Kind::Request, b"?"), framed(Kind::Chunk, b"1")].concat()),
    ]
}

/// A header with a sum of zeros.
fn header(length: u32, kind: u8, version: u8) -> Vec<u8> {
    [&[0; 4][..], &length.to_le_bytes(), &[kind, version]].concat()
}
