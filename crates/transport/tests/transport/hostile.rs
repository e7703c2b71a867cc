//! A peer with a good certificate that sends what it likes: each of it is refused under its reason, and costs nothing but its lane.

use std::collections::BTreeMap;
use std::time::Duration;

use guildhall_proto::frame::{Kind, Lane, Side};
use guildhall_transport::{
    CloseReason, Closed, Counter, DialError, Endpoint, LaneError, LaneReceiver, TransportConfig,
};
use quinn::{Connection, ReadToEndError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::raw::{answering, connected, framed, greeted, raw, raw_server, sent};
use crate::table::{Case, cases, halves};
use crate::world::{Node, PATIENCE, Pair, authority, backend, backend_with, counted, node, pair, today, until_counted};

#[tokio::test]
async fn whatever_is_wrong_on_a_calls_lane_is_counted_under_its_reason_and_ends_that_lane_alone() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let (connection, accepted) = tokio::join!(greeted(&raw, node.address), node.acceptor.accept());
    let accepted = accepted.unwrap();
    for case in cases(&[Lane::Call(Side::Opener)], body) {
        let before = node.endpoint.counters().pull();
        let (_send, _receive) = sent(&connection, &case.bytes, true).await;
        let (_answer, request) = accepted.next_call().await.unwrap();
        check(&case, read(request).await, before, &node.endpoint);
    }
    assert!(timeout(Duration::ZERO, accepted.closed()).await.is_err(), "the link did not outlive them");
}

#[tokio::test]
async fn whatever_is_wrong_in_an_answer_is_counted_under_its_reason_and_ends_its_lane_alone() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let (address, backend) = (serving.local_addr().unwrap(), backend(&authority, 2));
    let accepted = framed(Kind::HelloAnswer, b"\x00\x01\x07\x00");
    let (dialed, connection) = tokio::join!(backend.dial(address), answering(&serving, &accepted));
    let dialed = dialed.unwrap();
    for case in cases(&[Lane::Call(Side::Acceptor)], body) {
        let before = backend.counters().pull();
        let (mut ask, answer) = dialed.call().await.unwrap();
        ask.append(Kind::Request, b"?").unwrap();
        ask.finish().await.unwrap();
        let (mut send, _asked) = connection.accept_bi().await.unwrap();
        send.write_all(&case.bytes).await.unwrap();
        send.finish().unwrap();
        check(&case, read(answer).await, before, &backend);
    }
    assert!(timeout(Duration::ZERO, dialed.closed()).await.is_err(), "the link did not outlive them");
}

/// Reads a lane to its end.
async fn read(mut lane: LaneReceiver) -> Result<(), LaneError> {
    let read = timeout(PATIENCE, async {
        while lane.next().await?.is_some() {}
        Ok(())
    });
    read.await.unwrap()
}

/// What was read of a case, and that its reason was counted and nothing else.
fn check(case: &Case, read: Result<(), LaneError>, mut before: BTreeMap<&'static str, u64>, endpoint: &Endpoint) {
    match case.refused {
        Some(counter) => {
            assert!(matches!(read, Err(LaneError::Frame(_))), "{}: {read:?}", case.name);
            *before.get_mut(counter.name()).unwrap() += 1;
        }
        None => read.unwrap_or_else(|error| panic!("{}: {error}", case.name)),
    }
    assert_eq!(endpoint.counters().pull(), before, "{}", case.name);
}

fn body(_: Kind) -> Vec<u8> {
    b"?".to_vec()
}

#[tokio::test]
async fn half_a_frame_and_then_silence_ends_its_lane_in_time() {
    let (first_frame, frame) = (Duration::from_millis(200), Duration::from_millis(200));
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig { first_frame, frame, ..TransportConfig::default() });
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let (connection, accepted) = tokio::join!(greeted(&raw, node.address), node.acceptor.accept());
    let (accepted, mut count) = (accepted.unwrap(), 0);
    for case in halves(&[Lane::Call(Side::Opener)], body) {
        let (_send, mut receive) = sent(&connection, &case.bytes, false).await;
        let (answer, request) = accepted.next_call().await.unwrap();
        let error = read(request).await.unwrap_err();
        assert!(matches!(error, LaneError::Half), "{}: {error}", case.name);
        count += 1;
        assert_eq!(counted(&node.endpoint, Counter::LaneHalf), count);
        drop(answer);
        assert!(matches!(receive.read_to_end(10).await, Err(ReadToEndError::Read(_))), "the peer was not told");
    }
    assert_eq!(counted(&node.endpoint, Counter::LaneSilent), 0);
}

#[tokio::test]
async fn the_time_for_a_first_frame_is_not_counted_from_a_later_one() {
    let first_frame = Duration::from_millis(50);
    let Pair { dialed, accepted, .. } = pair(TransportConfig { first_frame, ..TransportConfig::default() }).await;
    let mut push = accepted.push();
    push.append(Kind::Feed, b"one").unwrap();
    push.flush().await.unwrap();
    // A lane is seen once something of it has come, so its first frame is waited for no more.
    let mut pushed = dialed.next_push().await.unwrap();
    assert_eq!(pushed.next().await.unwrap().unwrap().body, b"one"[..]);
    timeout(4 * first_frame, pushed.next()).await.expect_err("what is quiet is left alone");
    push.append(Kind::Feed, b"two").unwrap();
    push.flush().await.unwrap();
    assert_eq!(pushed.next().await.unwrap().unwrap().body, b"two"[..]);
}

#[tokio::test]
async fn what_is_no_hello_ends_the_link_and_is_told() {
    let authority = authority("main");
    let mut node = node(&authority, TransportConfig::default());
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let refused =
        cases(&[Lane::Hello(Side::Opener)], body).into_iter().map(|Case { bytes, refused, .. }| (bytes, refused));
    let cases = refused.chain([
        // Frames that are fine, and no hello.
        (framed(Kind::Hello, &[0; 64]), None),
        (framed(Kind::Hello, b"\x02\x01\x07\x00"), None),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(Counter::FrameUnknownKind)),
        (Vec::new(), Some(Counter::FrameCut)),
    ]);
    let address = node.address;
    for (number, (bytes, counter)) in cases.enumerate() {
        let before = node.endpoint.counters().pull();
        let dialing = async {
            let connection = connected(&raw, address).await.unwrap();
            let _lane = sent(&connection, &bytes, true).await;
            Closed::from(connection.closed().await)
        };
        let closed = until_refused(&mut node, dialing).await;
        assert_eq!(closed, Closed::There(CloseReason::Hello), "{bytes:02x?}");
        assert_eq!(counted(&node.endpoint, Counter::HandshakeHello), number as u64 + 1);
        if let Some(counter) = counter {
            assert_eq!(counted(&node.endpoint, counter), before[counter.name()] + 1, "{bytes:02x?}");
        }
    }
}

#[tokio::test]
async fn half_an_answer_and_then_silence_ends_its_lane_in_time_and_that_alone() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let frame = Duration::from_millis(200);
    let backend = backend_with(&authority, 2, TransportConfig { frame, ..TransportConfig::default() });
    let accepted = framed(Kind::HelloAnswer, b"\x00\x01\x07\x00");
    let address = serving.local_addr().unwrap();
    let (dialed, connection) = tokio::join!(backend.dial(address), answering(&serving, &accepted));
    let dialed = dialed.unwrap();
    let (halves, mut lanes) = (halves(&[Lane::Call(Side::Acceptor)], body), Vec::new());
    for case in &halves {
        let (mut ask, answer) = dialed.call().await.unwrap();
        ask.append(Kind::Request, b"?").unwrap();
        ask.finish().await.unwrap();
        let (mut send, asked) = connection.accept_bi().await.unwrap();
        send.write_all(&case.bytes).await.unwrap();
        lanes.push((case, answer, send, asked));
    }
    for (case, answer, mut send, _asked) in lanes {
        let error = read(answer).await.unwrap_err();
        assert!(matches!(error, LaneError::Half), "{}: {error}", case.name);
        assert!(timeout(PATIENCE, send.stopped()).await.unwrap().unwrap().is_some(), "the peer was not told");
        send.reset(0_u32.into()).unwrap();
    }
    assert_eq!(counted(&backend, Counter::LaneHalf), halves.len() as u64);
    assert!(timeout(Duration::ZERO, dialed.closed()).await.is_err(), "the link did not outlive them");
}

#[tokio::test]
async fn half_of_what_is_pushed_and_then_silence_ends_the_link_in_time() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let (first_frame, frame) = (Duration::from_millis(200), Duration::from_millis(200));
    let config = TransportConfig { first_frame, frame, ..TransportConfig::default() };
    let backend = backend_with(&authority, 2, config);
    let (address, accepted) = (serving.local_addr().unwrap(), framed(Kind::HelloAnswer, b"\x00\x01\x07\x00"));
    for (count, case) in (1..).zip(halves(&[Lane::Push], body)) {
        let (dialed, connection) = tokio::join!(backend.dial(address), answering(&serving, &accepted));
        let dialed = dialed.unwrap();
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(&case.bytes).await.unwrap();
        let error = read(dialed.next_push().await.unwrap()).await.unwrap_err();
        assert!(matches!(error, LaneError::Half), "{}: {error}", case.name);
        assert_eq!(counted(&backend, Counter::LaneHalf), count);
        assert_eq!(Closed::from(connection.closed().await), Closed::There(CloseReason::Broken));
    }
}

#[tokio::test]
async fn who_never_says_hello_or_half_of_it_is_given_up_in_time() {
    let authority = authority("main");
    let mut node =
        node(&authority, TransportConfig { handshake: Duration::from_secs(1), ..TransportConfig::default() });
    let raw = raw(&authority, "spiffe://main/backend/chat");
    let address = node.address;
    let said: Vec<Option<Vec<u8>>> = [None]
        .into_iter()
        .chain(halves(&[Lane::Hello(Side::Opener)], body).into_iter().map(|case| Some(case.bytes)))
        .collect();
    let (mut dialing, count) = (JoinSet::new(), said.len() as u64);
    for said in said {
        let raw = raw.clone();
        dialing.spawn(async move {
            let connection = connected(&raw, address).await.unwrap();
            let _lane = match said {
                Some(said) => Some(sent(&connection, &said, false).await),
                None => None,
            };
            Closed::from(connection.closed().await)
        });
    }
    let closed = until_refused(&mut node, dialing.join_all()).await;
    assert!(closed.iter().all(|closed| *closed == Closed::There(CloseReason::Late)), "{closed:?}");
    until_counted(&node.endpoint, Counter::HandshakeLate, count).await;
    // The next is served.
    let (_greeted, accepted) = tokio::join!(greeted(&raw, address), node.acceptor.accept());
    assert!(accepted.is_some());
}

#[tokio::test]
async fn who_was_dialed_and_answers_half_a_hello_is_given_up_in_time() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let address = serving.local_addr().unwrap();
    let handshake = Duration::from_secs(1);
    let backend = backend_with(&authority, 2, TransportConfig { handshake, ..TransportConfig::default() });
    for (count, case) in (1..).zip(halves(&[Lane::Hello(Side::Acceptor)], body)) {
        let answering = async {
            let connection = serving.accept().await.unwrap().await.unwrap();
            let (mut send, mut receive) = connection.accept_bi().await.unwrap();
            receive.read_to_end(1_000).await.unwrap();
            send.write_all(&case.bytes).await.unwrap();
            let closed = Closed::from(connection.closed().await);
            (closed, send)
        };
        let (dialed, (closed, _send)) = tokio::join!(backend.dial(address), answering);
        assert!(matches!(dialed, Err(DialError::Late)), "{}: {dialed:?}", case.name);
        assert_eq!(closed, Closed::There(CloseReason::Late), "{}", case.name);
        assert_eq!(counted(&backend, Counter::DialLate), count);
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
    let refused = cases(&[Lane::Hello(Side::Acceptor)], body).into_iter();
    let refused = refused.map(|Case { bytes, refused, .. }| (bytes, CloseReason::Hello, Counter::DialHello, refused));
    for (answer, reason, counter, refused) in refused.chain([
        (framed(Kind::HelloAnswer, b"\x02"), CloseReason::Hello, Counter::DialHello, None),
        (Vec::new(), CloseReason::Hello, Counter::DialHello, Some(Counter::FrameCut)),
        (version_2, CloseReason::Version, Counter::DialVersion, None),
        (none_in_common, CloseReason::Version, Counter::DialVersion, None),
    ]) {
        let frames = |counter: Option<Counter>| counter.map_or(0, |counter| counted(&backend, counter));
        let (before, frames_before) = (counted(&backend, counter), frames(refused));
        let (dialed, heard) = tokio::join!(backend.dial(address), async {
            Closed::from(answering(&serving, &answer).await.closed().await)
        });
        assert!(dialed.is_err());
        assert_eq!(heard, Closed::There(reason), "{answer:02x?}");
        assert_eq!(counted(&backend, counter), before + 1);
        assert_eq!(frames(refused), frames_before + u64::from(refused.is_some()), "{answer:02x?}");
    }
}

#[tokio::test]
async fn what_is_wrong_on_a_lane_that_pushes_ends_the_link() {
    let authority = authority("main");
    let serving = raw_server(&authority.issue("spiffe://main/guild-node/a".parse().unwrap(), today()).unwrap());
    let (address, backend) = (serving.local_addr().unwrap(), backend(&authority, 2));
    let accepted = framed(Kind::HelloAnswer, b"\x00\x01\x07\x00");
    for Case { name, bytes, refused, .. } in cases(&[Lane::Push], body) {
        // What is fine may go on for ever.
        let Some(counter) = refused else { continue };
        let before = counted(&backend, counter);
        let (dialed, connection) = tokio::join!(backend.dial(address), answering(&serving, &accepted));
        let dialed = dialed.unwrap();
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        let error = read(dialed.next_push().await.unwrap()).await.unwrap_err();
        assert!(matches!(error, LaneError::Frame(_)), "{name}: {error}");
        assert_eq!(counted(&backend, counter), before + 1, "{name}");
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
