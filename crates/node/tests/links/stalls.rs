//! Who does not read on, or does not send on, and what is left for others meanwhile.

use std::time::Duration;

use guildhall_node::Counter;
use guildhall_proto::call::{Ask, CallFault, FeedId, Freshness, PageLimit, Prefix, Read, Request, Within};
use guildhall_proto::{Actor, CallError, GuildId, Question};
use guildhall_transport::{LaneError, LaneReceiver, LaneSender, Role, TransportConfig};

use crate::world::{Dialer, World, answered, ids, lines, new_member, read, soon, until, user};

/// Links whose readers may stall for as long as they like, or for a moment.
fn links(stall: Duration) -> TransportConfig {
    TransportConfig { stall, ..TransportConfig::default() }
}

const FOR_EVER: Duration = Duration::from_secs(10 * 60);

/// A dialer that takes in little that it does not read.
async fn narrow(world: &World) -> Dialer {
    let config =
        TransportConfig { lane_receive_bytes: 16 * 1024, link_receive_bytes: 256 * 1024, ..TransportConfig::default() };
    world.dial_with(Role::Backend, config).await
}

fn everybody(guild: GuildId) -> Request {
    Request::Recipients { guild, freshness: Freshness::Latest, question: Question::All }
}

fn import(world: &World, guild: GuildId) -> Request {
    Request::Import { guild, op: world.op(), actor: Actor::System }
}

/// Asks for everybody, and reads nothing of the answer.
async fn unread(dialer: &Dialer, guild: GuildId) -> LaneReceiver {
    let ask = Ask { within: Within::MAX, request: everybody(guild) };
    let (send, receive) = dialer.begin(ask, &[]).await;
    soon(send.finish()).await.unwrap();
    receive
}

/// Begins an import of more than one chunk, and sends no more of it.
async fn unsent(world: &World, dialer: &Dialer, guild: GuildId, first: u64) -> (LaneSender, LaneReceiver) {
    let (mut send, receive) = soon(dialer.call()).await.unwrap();
    let ask = Ask { within: Within::MAX, request: import(world, guild) };
    send.append_value(guildhall_proto::frame::Kind::Request, &ask).unwrap();
    for number in [first, first + 1] {
        let chunk = lines([new_member(number)].into_iter()).remove(0);
        send.append(guildhall_proto::frame::Kind::Chunk, &chunk).unwrap();
    }
    soon(send.flush()).await.unwrap();
    (send, receive)
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_read_is_given_up_and_its_reader_is_told_why() {
    let world = World::with_links(links(Duration::from_millis(100)), |node, _| node.offload.guild_scans_max = 1);
    let guild = world.found(1, 50_000).await;
    let (stalls, reads) = (narrow(&world).await, world.dial(Role::Backend).await);
    let mut receive = unread(&stalls, guild).await;
    world.until_counted(Counter::CallsStalled, 1).await;
    // Its place is free again.
    assert_eq!(reads.ask(everybody(guild)).await.unwrap().users.len(), 50_000);
    let error = loop {
        match soon(receive.next()).await {
            Ok(frame) => assert!(frame.is_some(), "it is not whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LaneError::Unread), "{error}");
    assert_eq!(world.count(Counter::CallsStalled), 1);
}

#[tokio::test]
async fn one_identity_does_not_take_all_places_for_answers() {
    let world = World::with_links(links(FOR_EVER), |node, serve| {
        (node.offload.guild_scans_max, serve.peer_answers_max) = (3, 2);
    });
    let guild = world.found(1, 200_000).await;
    let (stalls, again, reads) = (narrow(&world).await, narrow(&world).await, world.dial_other().await);
    let _unread = (unread(&stalls, guild).await, unread(&again, guild).await);
    world.until_counted(Counter::CallsRecipients, 2).await;
    let refused = async |request: Request| {
        loop {
            // Over whichever of its links.
            match again.ask(request.clone()).await {
                Err(CallFault::Call(CallError::Overloaded { retry_after })) => return retry_after,
                // One of the others has not come so far.
                Ok(_) => {}
                Err(fault) => panic!("{fault:?}"),
            }
        }
    };
    assert!(!soon(refused(everybody(guild))).await.is_zero());
    assert_eq!(world.count(Counter::RefusedPeerAnswer), 1);
    // Nor for what is read at once, but looked for by workers.
    let (prefix, limit) = (Prefix::new("user 7").unwrap(), PageLimit::new(10).unwrap());
    soon(refused(read(guild, Read::MembersByPrefix { prefix, limit }))).await;
    assert_eq!(world.count(Counter::RefusedPeerAnswer), 2);
    assert_eq!(reads.ask(everybody(guild)).await.unwrap().users.len(), 200_000);
}

#[tokio::test]
async fn one_identity_does_not_take_all_places_with_feeds_and_each_of_them_is_opened_in_its_turn() {
    let world = World::with_links(links(FOR_EVER), |node, serve| {
        (node.offload.guild_scans_max, serve.peer_answers_max) = (3, 2);
    });
    let guild = world.found(1, 20_000).await;
    let another = world.found(2, 20_000).await;
    let (stalls, reads) = (narrow(&world).await, world.dial_other().await);
    let users: Vec<_> = (1..=20_000).map(user).collect();
    let mut unread = Vec::new();
    // The last two wait side by side, and come in any order: of one guild the later would refuse the earlier.
    for (feed, of) in [(1, guild), (2, guild), (3, guild), (4, another)] {
        let request = Request::Feed { guild: of, feed: FeedId(feed), past: 0, told_since: None };
        let (send, receive) = stalls.begin(Ask { within: Within::MAX, request: request.clone() }, &ids(&users)).await;
        soon(send.finish()).await.unwrap();
        unread.push((request, receive));
        // Calls have no order between them, and feeds have.
        if feed <= 2 {
            world.until_counted(Counter::FeedsOpened, feed).await;
        }
    }
    world.until_counted(Counter::CallsFeed, 4).await;
    // Who is asked for many members has a place as long as nobody reads them: the third is free for others, again and again.
    for _ in 0..20 {
        assert_eq!(reads.ask(everybody(guild)).await.unwrap().users.len(), 20_000);
    }
    assert_eq!(world.count(Counter::FeedsOpened), 2);
    // And who waits comes to its turn.
    for (request, receive) in unread {
        assert_eq!(answered(&request, receive).await.unwrap().pieces.len(), 3 + 20_000);
    }
    assert_eq!(world.count(Counter::FeedsOpened), 4);
}

#[tokio::test]
async fn a_long_request_that_stops_in_the_middle_gives_its_place_up() {
    let world = World::with_links(links(Duration::from_millis(100)), |_, serve| serve.long_requests_max = 1);
    let guild = world.found(1, 1).await;
    let (stops, sends) = (world.dial(Role::Backend).await, world.dial(Role::Backend).await);
    let (_send, receive) = unsent(&world, &stops, guild, 100).await;
    world.until_counted(Counter::CallsImport, 1).await;
    let chunks = [200, 201].map(|number| lines([new_member(number)].into_iter()).remove(0));
    soon(sends.ask_with(import(&world, guild), &chunks)).await.unwrap();
    assert!(answered_in_vain(receive).await);
    let view = world.node.view(guild).await.unwrap();
    assert_eq!(view.len(), 3, "nothing of the first was begun");
    let refused = "lanes_refused_total{reason=\"paused\"}";
    let operator = world.dial(Role::Operator).await;
    let guildhall_proto::call::Answer::Stats(stats) = operator.ask(Request::Stats).await.unwrap().answer else {
        panic!("no counters")
    };
    assert!(stats.iter().any(|(name, count)| name.as_str() == refused && *count == 1));
}

async fn answered_in_vain(mut receive: LaneReceiver) -> bool {
    matches!(soon(receive.next()).await, Err(LaneError::GivenUp))
}

#[tokio::test]
async fn one_identity_does_not_take_all_places_for_long_requests() {
    let world = World::with_links(links(FOR_EVER), |_, serve| {
        (serve.long_requests_max, serve.peer_long_requests_max) = (2, 1);
    });
    let guild = world.found(1, 1).await;
    let (stops, again, sends) =
        (world.dial(Role::Backend).await, world.dial(Role::Backend).await, world.dial_other().await);
    let _first = unsent(&world, &stops, guild, 100).await;
    let _second = unsent(&world, &again, guild, 110).await;
    until(|| world.count(Counter::CallsImport) == 2).await;
    let chunks = [200, 201].map(|number| lines([new_member(number)].into_iter()).remove(0));
    let request = import(&world, guild);
    let (send, receive) = sends.begin(Ask { within: Within::MAX, request: request.clone() }, &chunks).await;
    soon(send.finish()).await.unwrap();
    answered(&request, receive).await.unwrap();
    assert_eq!(world.node.view(guild).await.unwrap().len(), 3);
}
