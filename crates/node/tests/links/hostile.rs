//! Calls that are none.

use std::time::Duration;

use bytes::Bytes;
use guildhall_node::Counter;
use guildhall_proto::call::{Ask, CallFault, ChunkFault, ChunkFlaw, FeedId, Malformed, Read, Request, Within};
use guildhall_proto::codec;
use guildhall_proto::frame::{Kind, Lane, Side};
use guildhall_proto::{Actor, GuildId};
use guildhall_transport::{Counter as LinkCounter, LaneError, Role, TransportConfig};
use quinn::ReadToEndError;

use crate::raw::{self, framed, greeted};
use crate::table::{cases, halves};
use crate::world::{Dialer, World, answered, lines, new_member, read, soon};

/// Sends these frames and the end of the lane, and reads what comes back.
async fn sent(dialer: &Dialer, frames: &[(Kind, Bytes)]) -> CallFault {
    let (mut send, receive) = soon(dialer.call()).await.unwrap();
    for (kind, body) in frames {
        send.append(*kind, body).unwrap();
    }
    soon(send.finish()).await.unwrap();
    answered(&Request::Ping, receive).await.unwrap_err()
}

fn asked(request: Request) -> Bytes {
    codec::encode(&Ask { within: Within::MAX, request }).unwrap().into()
}

#[tokio::test]
async fn what_is_no_call_is_told_so_and_counted_and_nothing_has_happened() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let before = world.node.view(guild).await.unwrap().position();
    let dialer = world.dial(Role::Backend).await;
    let ping = asked(Request::Ping);
    for body in [&[0_u8][..], &[0xFF; 100], &[&ping[..], &[0]].concat(), &ping[..ping.len() - 1]] {
        let told = sent(&dialer, &[(Kind::Request, Bytes::copy_from_slice(body))]).await;
        assert_eq!(told, Malformed::Request.into());
    }
    assert_eq!(world.count(Counter::CallsFailedMalformedRequest), 4);

    let import = || asked(Request::Import { guild, op: world.op(), actor: Actor::System });
    let line = lines([new_member(9)].into_iter()).remove(0);
    let end = || (Kind::End, Bytes::new());
    let chunk = |body: &Bytes| (Kind::Chunk, body.clone());
    let command = asked(world.command(guild, guildhall_proto::Command::AddMember(new_member(9))));
    for frames in [
        // None where they must be, and some where there are none.
        &[(Kind::Request, import())][..],
        &[(Kind::Request, command.clone()), end()],
        &[(Kind::Request, command), chunk(&line), end()],
    ] {
        assert_eq!(sent(&dialer, frames).await, Malformed::Chunks.into());
    }
    assert_eq!(world.count(Counter::CallsFailedMalformedChunks), 3);
    let cut = line.slice(..line.len() - 1);
    let fault = ChunkFault { at: 1, flaw: ChunkFlaw::Undecodable };
    let told = sent(&dialer, &[(Kind::Request, import()), chunk(&line), chunk(&cut), end()]).await;
    assert_eq!(told, Malformed::Chunk(fault).into());
    let feed = asked(Request::Feed { guild, feed: FeedId(1), past: 0, told_since: None });
    let fault = ChunkFault { at: 0, flaw: ChunkFlaw::Undecodable };
    let told = sent(&dialer, &[(Kind::Request, feed), (Kind::Chunk, Bytes::from_static(&[1; 7])), end()]).await;
    assert_eq!(told, Malformed::Chunk(fault).into());
    assert_eq!(world.count(Counter::CallsFailedMalformedChunk), 2);
    assert_eq!(world.node.view(guild).await.unwrap().position(), before);
}

#[tokio::test]
async fn whatever_is_wrong_on_a_lane_is_counted_under_its_reason_and_the_others_are_served() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let peer = raw::raw(&world.authority, "spiffe://main/backend/raw");
    let connection = greeted(&peer, world.address).await;
    let dialer = world.dial(Role::Backend).await;
    // Behind a request that is none nothing is read.
    let line = lines([new_member(9)].into_iter()).remove(0);
    let body = |kind| match kind {
        Kind::Request => asked(Request::Import { guild, op: world.op(), actor: Actor::System }).to_vec(),
        Kind::Chunk => line.to_vec(),
        other => unreachable!("{other:?} stands ahead of nothing that is asked"),
    };
    let mut known = world.endpoint.counters().pull();
    for case in cases(&[Lane::Call(Side::Opener)], body) {
        let (_send, mut receive) = raw::sent(&connection, &case.bytes, true).await;
        // An answer, a fault, or the lane's end: by then it has been counted.
        drop(soon(receive.read_to_end(1024)).await);
        if let Some(counter) = case.refused {
            *known.get_mut(counter.name()).unwrap() += 1;
        }
        assert_eq!(world.endpoint.counters().pull(), known, "{}", case.name);
        assert!(dialer.ask(read(guild, Read::Show)).await.is_ok(), "{}", case.name);
    }
    let (_send, mut receive) = raw::sent(&connection, &framed(Kind::Request, &asked(Request::Ping)), true).await;
    assert!(soon(receive.read_to_end(1024)).await.is_ok(), "the link did not outlive them");
}

#[tokio::test]
async fn half_a_frame_and_then_silence_in_a_request_of_any_length_is_given_up_in_time_and_the_others_are_served() {
    let (first_frame, frame) = (Duration::from_millis(300), Duration::from_millis(300));
    let world = World::with_links(TransportConfig { first_frame, frame, ..TransportConfig::default() }, |_, _| {});
    let guild = world.found(1, 1).await;
    let peer = raw::raw(&world.authority, "spiffe://main/backend/raw");
    let connection = greeted(&peer, world.address).await;
    let dialer = world.dial(Role::Backend).await;
    let line = lines([new_member(9)].into_iter()).remove(0);
    let body = |kind| match kind {
        Kind::Request => asked(Request::Import { guild, op: world.op(), actor: Actor::System }).to_vec(),
        Kind::Chunk => line.to_vec(),
        other => unreachable!("{other:?} stands ahead of nothing that is asked"),
    };
    let halves = halves(&[Lane::Call(Side::Opener)], body);
    let mut lanes = Vec::new();
    for case in &halves {
        lanes.push((case, raw::sent(&connection, &case.bytes, false).await));
    }
    assert!(dialer.ask(read(guild, Read::Show)).await.is_ok(), "while they are there");
    for (case, (mut send, mut receive)) in lanes {
        assert!(matches!(soon(receive.read_to_end(10)).await, Err(ReadToEndError::Read(_))), "{}", case.name);
        assert!(soon(send.stopped()).await.unwrap().is_some(), "{}: the peer was not told", case.name);
        send.reset(0_u32.into()).unwrap();
    }
    assert_eq!(world.endpoint.counters().of(LinkCounter::LaneHalf), halves.len() as u64);
    world
        .until_counted(Counter::CallsLeft, halves.iter().filter(|case| !case.name.contains("behind []")).count() as u64)
        .await;
    // Nothing of them was begun, and their link goes on.
    assert_eq!(world.node.view(guild).await.unwrap().len(), 1);
    let (_send, mut receive) = raw::sent(&connection, &framed(Kind::Request, &asked(Request::Ping)), true).await;
    assert!(soon(receive.read_to_end(1024)).await.is_ok(), "the link did not outlive them");
}

#[tokio::test]
async fn a_long_request_that_stops_in_the_middle_of_a_chunk_is_given_up_when_it_stalls() {
    let stall = Duration::from_millis(200);
    let world = World::with_links(TransportConfig { stall, ..TransportConfig::default() }, |_, _| {});
    let guild = world.found(1, 1).await;
    let peer = raw::raw(&world.authority, "spiffe://main/backend/raw");
    let connection = greeted(&peer, world.address).await;
    let mut bytes = framed(Kind::Request, &asked(Request::Import { guild, op: world.op(), actor: Actor::System }));
    for number in [100, 101, 102] {
        bytes.extend(framed(Kind::Chunk, &lines([new_member(number)].into_iter())[0]));
    }
    bytes.pop();
    let (send, _receive) = raw::sent(&connection, &bytes, false).await;
    assert!(soon(send.stopped()).await.unwrap().is_some(), "the peer was not told");
    assert_eq!(world.endpoint.counters().of(LinkCounter::LanePaused), 1);
    world.until_counted(Counter::CallsLeft, 1).await;
    assert_eq!(world.node.view(guild).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_that_breaks_off_costs_its_lane_alone() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let import = Request::Import { guild, op: world.op(), actor: Actor::System };
    let (mut send, receive) = soon(dialer.call()).await.unwrap();
    send.append(Kind::Request, &asked(import.clone())).unwrap();
    send.append(Kind::Chunk, &lines([new_member(9)].into_iter())[0]).unwrap();
    soon(send.flush()).await.unwrap();
    world.until_counted(Counter::CallsImport, 1).await;
    drop(send);
    world.until_counted(Counter::CallsLeft, 1).await;
    assert!(matches!(crate::world::broken(receive).await, LaneError::GivenUp));
    let unknown = dialer.ask(read(GuildId::new(2).unwrap(), Read::Show)).await;
    assert!(matches!(unknown, Err(CallFault::Call(_))));
    assert_eq!(world.node.view(guild).await.unwrap().len(), 1);
}
