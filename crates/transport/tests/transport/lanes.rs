//! What crosses a lane, and what waits: calls, answers in chunks, pushes, priorities, windows, deadlines.

use std::time::Duration;

use guildhall_proto::frame::{BODY_BYTES_MAX, Kind};
use guildhall_transport::{CloseReason, Closed, Counter, LaneError, Priority, TransportConfig};
use tokio::time::timeout;

use crate::world::{PATIENCE, call, counted, pair};

#[tokio::test]
async fn a_call_is_asked_and_answered_in_chunks_both_ways() {
    let pair = pair(TransportConfig::default()).await;
    let chunk = vec![7; BODY_BYTES_MAX];
    let asking = async {
        let (mut request, mut answer) = pair.dialed.call().await?;
        request.append(Kind::Request, b"import")?;
        for _ in 0..40 {
            request.append(Kind::Chunk, &chunk)?;
            request.flush().await?;
        }
        request.append(Kind::End, b"")?;
        request.finish().await?;
        let head = answer.next().await?.unwrap();
        assert_eq!((head.kind, &head.body[..]), (Kind::Answer, &b"40"[..]));
        let mut chunks = 0;
        while let Some(frame) = answer.next().await? {
            chunks += usize::from(frame.kind == Kind::Chunk && frame.body.len() == BODY_BYTES_MAX);
        }
        Ok::<usize, LaneError>(chunks)
    };
    let answering = async {
        let (mut answer, mut request) = pair.accepted.next_call().await?;
        answer.set_priority(Priority::Bulk);
        let mut chunks = 0;
        while let Some(frame) = request.next().await? {
            chunks += usize::from(frame.kind == Kind::Chunk && frame.body == chunk);
        }
        answer.append(Kind::Answer, chunks.to_string().as_bytes())?;
        for _ in 0..30 {
            answer.append(Kind::Chunk, &chunk)?;
            answer.flush().await?;
        }
        answer.append(Kind::End, b"")?;
        answer.finish().await
    };
    let (asked, answered) = tokio::join!(asking, answering);
    answered.unwrap();
    assert_eq!(asked.unwrap(), 30);
}

#[tokio::test]
async fn feeds_and_what_is_told_of_now_have_a_lane_each_and_a_third_waits() {
    let pair = pair(TransportConfig::default()).await;
    let mut senders = Vec::new();
    for kind in [Kind::Feed, Kind::Ephemeral] {
        let mut sender = pair.accepted.push();
        sender.append(kind, b"one").unwrap();
        sender.append(kind, b"two").unwrap();
        assert!(matches!(sender.append(Kind::Answer, b"no"), Err(LaneError::Frame(_))));
        sender.flush().await.unwrap();
        let mut receiver = pair.dialed.next_push().await.unwrap();
        for body in [&b"one"[..], b"two"] {
            let frame = receiver.next().await.unwrap().unwrap();
            assert_eq!((frame.kind, &frame.body[..]), (kind, body));
        }
        senders.push((sender, receiver));
    }
    let mut third = pair.accepted.push();
    third.append(Kind::Feed, b"three").unwrap();
    assert!(timeout(Duration::from_millis(50), third.flush()).await.is_err(), "a third lane was opened");
}

#[tokio::test]
async fn a_lane_that_pushes_is_opened_by_what_is_sent_first_and_not_before() {
    let pair = pair(TransportConfig::default()).await;
    let (silent, mut sender) = (pair.accepted.push(), pair.accepted.push());
    sender.append(Kind::Ephemeral, b"one").unwrap();
    sender.flush().await.unwrap();
    let mut receiver = pair.dialed.next_push().await.unwrap();
    assert_eq!(receiver.next().await.unwrap().unwrap().body, b"one"[..]);
    assert!(timeout(Duration::from_millis(50), pair.dialed.next_push()).await.is_err(), "the first is open");
    silent.finish().await.unwrap();
}

#[tokio::test]
async fn who_sends_is_told_when_nobody_reads_on() {
    let pair = pair(TransportConfig::default()).await;
    let lanes = call(&pair).await;
    let (answer, _request) = lanes.answerer;
    let given_up = answer.given_up();
    drop(lanes.asker.1);
    timeout(PATIENCE, given_up).await.unwrap();
    let lanes = call(&pair).await;
    let given_up = lanes.answerer.0.given_up();
    pair.accepted.close(CloseReason::Done);
    timeout(PATIENCE, given_up).await.unwrap();
}

#[tokio::test]
async fn one_call_more_than_may_be_open_waits_for_another_to_end() {
    let pair = pair(TransportConfig { calls_max: 2, ..TransportConfig::default() }).await;
    let (first, _second) = (call(&pair).await, call(&pair).await);
    assert!(timeout(Duration::from_millis(50), pair.dialed.call()).await.is_err(), "a third call was opened");
    drop(first);
    assert!(timeout(PATIENCE, pair.dialed.call()).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_lane_that_nobody_reads_holds_no_more_than_its_window_and_holds_up_no_other() {
    let config =
        TransportConfig { link_receive_bytes: 2 << 20, lane_receive_bytes: 1 << 20, ..TransportConfig::default() };
    let pair = pair(config).await;
    let (mut stuck, _held) = pair.dialed.call().await.unwrap();
    stuck.append(Kind::Request, b"?").unwrap();
    let chunk = vec![7; BODY_BYTES_MAX];
    let mut flushed = 0;
    loop {
        stuck.append(Kind::Chunk, &chunk).unwrap();
        if timeout(Duration::from_millis(200), stuck.flush()).await.is_err() {
            break;
        }
        flushed += BODY_BYTES_MAX;
        // Not even the sender keeps more of it.
        assert!(flushed <= config.lane_receive_bytes as usize, "{flushed} bytes went into a lane that nobody reads");
    }
    let lanes = timeout(PATIENCE, async {
        let _unread = pair.accepted.next_call().await.unwrap();
        let mut lanes = call(&pair).await;
        lanes.answerer.0.append(Kind::Answer, b"!").unwrap();
        lanes.answerer.0.finish().await.unwrap();
        lanes.asker.1.next().await.unwrap().unwrap()
    });
    assert_eq!(lanes.await.unwrap().body, b"!"[..]);
}

#[tokio::test]
async fn who_gives_up_tells_the_other_end() {
    let pair = pair(TransportConfig::default()).await;
    let mut lanes = call(&pair).await;
    lanes.answerer.0.append(Kind::Answer, b"half of an").unwrap();
    lanes.answerer.0.flush().await.unwrap();
    drop(lanes.answerer.0);
    let read = async {
        loop {
            lanes.asker.1.next().await?;
        }
    };
    let error: Result<(), LaneError> = timeout(PATIENCE, read).await.unwrap();
    assert!(matches!(error, Err(LaneError::GivenUp)), "{error:?}");

    // And a sender whose reader is gone.
    let lanes = call(&pair).await;
    drop(lanes.asker.1);
    let mut answer = lanes.answerer.0;
    answer.append(Kind::Answer, b"!").unwrap();
    let error = timeout(PATIENCE, async {
        loop {
            answer.flush().await?;
            answer.append(Kind::Chunk, b"on and on")?;
            tokio::task::yield_now().await;
        }
    });
    let error: Result<(), LaneError> = error.await.unwrap();
    assert!(matches!(error, Err(LaneError::GivenUp)), "{error:?}");
}

#[tokio::test]
async fn a_lane_may_not_be_finished_where_more_has_to_come() {
    let pair = pair(TransportConfig::default()).await;
    let (mut request, _answer) = pair.dialed.call().await.unwrap();
    request.append(Kind::Request, b"?").unwrap();
    request.append(Kind::Chunk, b"piece").unwrap();
    assert_eq!(request.gathered_bytes(), 2 * 10 + 6);
    let refused = request.finish().await.unwrap_err();
    assert_eq!(refused.to_string(), "Call(Opener) ended where more had to come");
}

#[tokio::test]
async fn a_lane_that_says_nothing_is_given_up_in_time() {
    let first_frame = Duration::from_millis(50);
    let pair = pair(TransportConfig { first_frame, ..TransportConfig::default() }).await;
    // Opening the second lane opens the first as well, which says nothing.
    let (_silent, mut speaking) = (pair.dialed.call().await.unwrap(), pair.dialed.call().await.unwrap());
    speaking.0.append(Kind::Request, b"?").unwrap();
    speaking.0.flush().await.unwrap();
    let (_answer, mut request) = pair.accepted.next_call().await.unwrap();
    let error = timeout(PATIENCE, request.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, LaneError::Silent), "{error}");
    assert_eq!(counted(&pair.node.endpoint, Counter::LaneSilent), 1);
    // An answer has no such deadline: the caller has one of its own.
    let waiting = timeout(first_frame * 3, speaking.1.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
}

#[tokio::test]
async fn lanes_end_with_their_link() {
    let pair = pair(TransportConfig::default()).await;
    let mut lanes = call(&pair).await;
    pair.accepted.close(CloseReason::Broken);
    let error = timeout(PATIENCE, lanes.asker.1.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, LaneError::Closed(Closed::There(CloseReason::Broken))), "{error}");
    assert!(matches!(pair.dialed.call().await.unwrap_err(), LaneError::Closed(_)));
    let mut push = pair.accepted.push();
    push.append(Kind::Feed, b"late").unwrap();
    assert!(matches!(push.flush().await.unwrap_err(), LaneError::Closed(Closed::Here)));
}
