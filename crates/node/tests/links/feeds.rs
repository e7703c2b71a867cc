//! Feeds: what they begin with, what they tell, and how they end.

use std::time::Duration;

use guildhall_node::{Counter, RingConfig, SleepError};
use guildhall_proto::call::{Answer, CallFault, FeedEnd, FeedId, FeedNews, Malformed, News, Piece, Request, Told};
use guildhall_proto::codec;
use guildhall_proto::frame::Kind;
use guildhall_proto::{Command, EphemeralKind, Event, EventKind, Grant, GuildId, Position};
use guildhall_store::Store;
use guildhall_transport::{LaneReceiver, Role, TransportConfig};

use crate::world::{ADA, CHANNEL, Dialer, World, channel_id, ids, message, message_of, new_member, soon, until, user};

/// Opens a feed for these users; from which position on, and the pieces.
async fn open(
    dialer: &Dialer,
    guild: GuildId,
    feed: u64,
    (past, users): (u32, &[u64]),
) -> Result<(Position, Vec<Piece>), CallFault> {
    let users: Vec<_> = users.iter().copied().map(user).collect();
    let answered =
        dialer.ask_with(Request::Feed { guild, feed: FeedId(feed), past, told_since: None }, &ids(&users)).await?;
    match answered.answer {
        Answer::Fed { at, .. } => Ok((at, answered.pieces)),
        answer => panic!("{answer:?}"),
    }
}

async fn next(lane: &mut LaneReceiver) -> FeedNews {
    let frame = soon(lane.next()).await.unwrap().expect("the lane goes on");
    assert_eq!(frame.kind, Kind::Feed);
    codec::decode(&frame.body).unwrap()
}

async fn next_event(lane: &mut LaneReceiver, feed: u64) -> Event {
    match next(lane).await {
        FeedNews { feed: of, news: News::Event(event) } if of == FeedId(feed) => (*event).clone(),
        other => panic!("{other:?}"),
    }
}

async fn end_of(lane: &mut LaneReceiver, feed: u64) -> FeedEnd {
    loop {
        match next(lane).await {
            FeedNews { news: News::Event(_), .. } => {}
            FeedNews { feed: of, news: News::Ended(end) } => {
                assert_eq!(of, FeedId(feed));
                return end;
            }
        }
    }
}

#[tokio::test]
async fn a_feed_begins_with_the_guild_as_of_one_view_and_goes_on_exactly_behind_it() {
    let world = World::new();
    let guild = world.found(1, 20).await;
    let dialer = world.dial(Role::Backend).await;
    let mut lane = None;
    for feed in 1..=20 {
        let publish = async {
            for number in 0..100 {
                world.ask(guild, message(number)).await;
            }
        };
        let hear = async {
            let (at, pieces) = open(&dialer, guild, feed, (10, &[3, 7, 99])).await.unwrap();
            assert!(matches!(pieces[..3], [Piece::Settings(_), Piece::Role(_), Piece::Channel(..)]), "{pieces:?}");
            let past: Vec<Position> = pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Event(event) => Some(event.position),
                    _ => None,
                })
                .collect();
            assert_eq!((past.last(), past.windows(2).all(|pair| pair[1] == pair[0].next())), (Some(&at), true));
            let members: Vec<_> = pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Member(member) => Some(member.user.get()),
                    _ => None,
                })
                .collect();
            assert_eq!(members, [3, 7]);
            at
        };
        let ((), at) = tokio::join!(publish, hear);
        world.ask(guild, Command::AddMember(new_member(1_000 + feed))).await;
        let lane = match &mut lane {
            Some(lane) => lane,
            none => none.insert(soon(dialer.next_push()).await.unwrap()),
        };
        let mut expected = at.next();
        loop {
            match next(lane).await {
                FeedNews { feed: of, news: News::Event(event) } if of == FeedId(feed) => {
                    assert_eq!(event.position, expected);
                    expected = expected.next();
                    if matches!(event.kind, EventKind::MemberJoined { .. }) {
                        break;
                    }
                }
                // What was under way of the feed before.
                FeedNews { feed: of, .. } => assert!(of < FeedId(feed)),
            }
        }
    }
    assert_eq!(world.count(Counter::FeedsOpened), 20);
}

#[tokio::test]
async fn many_feeds_of_a_link_share_a_lane_each_in_its_order() {
    let world = World::new();
    let dialer = world.dial(Role::Backend).await;
    let mut expected = Vec::new();
    for number in 1..=50 {
        let guild = world.found(number, 1).await;
        expected.push(open(&dialer, guild, number, (0, &[])).await.unwrap().0);
    }
    let publish = async {
        for round in 0..20 {
            for number in 1..=50 {
                world.ask(GuildId::new(number).unwrap(), message(round)).await;
            }
        }
    };
    let hear = async {
        let mut lane = soon(dialer.next_push()).await.unwrap();
        for _ in 0..50 * 20 {
            let FeedNews { feed, news: News::Event(event) } = next(&mut lane).await else { panic!() };
            let expected = &mut expected[feed.0 as usize - 1];
            *expected = expected.next();
            assert_eq!(event.position, *expected);
        }
    };
    tokio::join!(publish, hear);
    assert_eq!(world.count(Counter::FeedEvents), 1_000);
}

#[tokio::test]
async fn news_of_one_guild_has_the_link_look_at_its_feed_alone() {
    let world = World::new();
    let dialer = world.dial(Role::Backend).await;
    for number in 1..=100 {
        let guild = world.found(number, 1).await;
        open(&dialer, guild, number, (0, &[])).await.unwrap();
    }
    world.until_counted(Counter::FeedTurns, 100).await;
    let before = world.count(Counter::FeedTurns);
    world.ask(GuildId::new(50).unwrap(), message(1)).await;
    next_event(&mut soon(dialer.next_push()).await.unwrap(), 50).await;
    assert!(
        world.count(Counter::FeedTurns) <= before + 2,
        "{} turns for one event",
        world.count(Counter::FeedTurns) - before
    );
}

#[tokio::test]
async fn a_link_that_stalls_is_told_its_gap_and_the_others_hear_everything() {
    let world = World::with(|node, _| node.ring = RingConfig { entries_max: 256, bytes_max: 1024 * 1024 });
    let guild = world.found(1, 1).await;
    let small =
        TransportConfig { lane_receive_bytes: 64 * 1024, link_receive_bytes: 256 * 1024, ..TransportConfig::default() };
    let (stalled, well) = (world.dial_with(Role::Backend, small).await, world.dial(Role::Backend).await);
    let (at, _) = open(&stalled, guild, 1, (0, &[])).await.unwrap();
    let (same, _) = open(&well, guild, 1, (0, &[])).await.unwrap();
    assert_eq!(same, at);
    let events = 8_000;
    let publish = async {
        for _ in 0..events {
            world.ask(guild, message_of(vec![7; 8_000])).await;
        }
    };
    let hear = async {
        let mut lane = soon(well.next_push()).await.unwrap();
        let mut expected = at;
        for _ in 0..events {
            expected = expected.next();
            assert_eq!(next_event(&mut lane, 1).await.position, expected);
        }
    };
    tokio::join!(publish, hear);
    assert_eq!(world.count(Counter::FeedsEndedGap), 0, "it has not been looked at: it is not read");
    let mut lane = soon(stalled.next_push()).await.unwrap();
    let mut expected = at;
    loop {
        match next(&mut lane).await.news {
            News::Event(event) => {
                expected = expected.next();
                assert_eq!(event.position, expected);
            }
            News::Ended(end) => {
                assert_eq!(end, FeedEnd::Gap);
                break;
            }
        }
    }
    assert!(expected.seq.0 < at.seq.0 + events);
    // It opens the feed anew, and goes on.
    let (at, _) = open(&stalled, guild, 2, (0, &[])).await.unwrap();
    world.ask(guild, message(1)).await;
    assert_eq!(next_event(&mut lane, 2).await.position, at.next());
}

#[tokio::test]
async fn a_feed_ends_with_its_guilds_owner_and_a_deletion_is_heard_before() {
    let world = World::new();
    let (first, second, third) = (world.found(1, 1).await, world.found(2, 1).await, world.found(3, 1).await);
    let dialer = world.dial(Role::Backend).await;
    for (feed, guild) in [(1, first), (2, second), (3, third)] {
        open(&dialer, guild, feed, (0, &[])).await.unwrap();
    }
    world.ask(first, Command::DeleteGuild).await;
    let mut lane = soon(dialer.next_push()).await.unwrap();
    assert!(matches!(next_event(&mut lane, 1).await.kind, EventKind::GuildDeleted));
    assert_eq!(end_of(&mut lane, 1).await, FeedEnd::OwnerEnded);
    assert!(matches!(open(&dialer, first, 9, (0, &[])).await, Err(CallFault::Call(_))), "it is gone");
    // The store has another owner: the next record is refused.
    world.store.claim(second, Grant(0)).unwrap();
    let call = guildhall_node::Call {
        op: world.op(),
        actor: guildhall_proto::Actor::System,
        command: Command::AddMember(new_member(9)),
    };
    world.node.call(second, call).await.unwrap();
    assert_eq!(end_of(&mut lane, 2).await, FeedEnd::OwnerEnded);
    let (at, _) = open(&dialer, second, 4, (0, &[])).await.unwrap();
    world.ask(second, message(1)).await;
    assert_eq!(next_event(&mut lane, 4).await.position, at.next());
    soon(world.node.stop()).await;
    let mut ended: Vec<FeedId> = Vec::new();
    while ended.len() < 2 {
        let FeedNews { feed, news } = next(&mut lane).await;
        assert_eq!(news, News::Ended(FeedEnd::OwnerEnded));
        ended.push(feed);
    }
    ended.sort();
    assert_eq!(ended, [FeedId(3), FeedId(4)]);
}

#[tokio::test]
async fn a_feed_keeps_its_guild_awake_until_it_is_closed_or_its_link_ends() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let is_heard = async || matches!(world.node.sleep(guild).await, Err(SleepError::Heard { .. }));
    open(&dialer, guild, 1, (0, &[])).await.unwrap();
    assert!(is_heard().await);
    // Another one in its place.
    open(&dialer, guild, 2, (0, &[])).await.unwrap();
    dialer.ask(Request::CloseFeed { feed: FeedId(1) }).await.unwrap();
    assert!(is_heard().await);
    dialer.ask(Request::CloseFeed { feed: FeedId(2) }).await.unwrap();
    assert!(!is_heard().await);
    open(&dialer, guild, 3, (0, &[])).await.unwrap();
    assert!(is_heard().await);
    dialer.close().await;
    soon(async {
        while is_heard().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_link_has_no_more_feeds_than_it_may_and_each_id_once() {
    let world = World::with(|_, serve| serve.feeds_max = 2);
    let guilds = [world.found(1, 1).await, world.found(2, 1).await, world.found(3, 1).await];
    let dialer = world.dial(Role::Backend).await;
    open(&dialer, guilds[0], 1, (0, &[])).await.unwrap();
    open(&dialer, guilds[1], 2, (0, &[])).await.unwrap();
    assert_eq!(open(&dialer, guilds[2], 3, (0, &[])).await, Err(CallFault::FeedsFull { max: 2 }));
    assert_eq!(open(&dialer, guilds[2], 2, (0, &[])).await, Err(Malformed::FeedIdInUse.into()));
    // In the place of the one of the same guild.
    open(&dialer, guilds[1], 3, (0, &[])).await.unwrap();
    // Asked for earlier, and come later: that would take the place of what the dialer listens to.
    assert_eq!(open(&dialer, guilds[1], 2, (0, &[])).await, Err(Malformed::FeedIdInUse.into()));
    dialer.ask(Request::CloseFeed { feed: FeedId(1) }).await.unwrap();
    open(&dialer, guilds[2], 4, (0, &[])).await.unwrap();
    let other = world.dial(Role::Backend).await;
    assert!(open(&other, guilds[0], 1, (0, &[])).await.is_ok(), "another link has its own");
}

#[tokio::test]
async fn typing_is_told_on_a_lane_of_its_own_with_its_position() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let dialer = world.dial(Role::Backend).await;
    let (at, _) = open(&dialer, guild, 1, (0, &[])).await.unwrap();
    world.node.typing(guild, user(ADA), channel_id(CHANNEL)).await.unwrap();
    let mut told = soon(dialer.next_push()).await.unwrap();
    let mut heard = async || {
        let frame = soon(told.next()).await.unwrap().unwrap();
        assert_eq!(frame.kind, Kind::Ephemeral);
        codec::decode::<Told>(&frame.body).unwrap()
    };
    let Told { feed, ephemeral } = heard().await;
    assert_eq!((feed, ephemeral.at), (FeedId(1), at));
    assert!(matches!(ephemeral.kind, EphemeralKind::Typing { user: who, .. } if who == user(ADA)));
    world.ask(guild, message(1)).await;
    world.node.typing(guild, user(2), channel_id(CHANNEL)).await.unwrap();
    assert_eq!(heard().await.ephemeral.at, at.next());
    let mut events = soon(dialer.next_push()).await.unwrap();
    assert_eq!(next_event(&mut events, 1).await.position, at.next());
    until(|| world.count(Counter::FeedTold) == 2).await;
}

#[tokio::test]
async fn a_feed_whose_opening_nobody_reads_is_closed_again() {
    let world = World::new();
    let guild = world.found(1, 100_000).await;
    let dialer = world.dial(Role::Backend).await;
    let request = Request::Feed { guild, feed: FeedId(1), past: 0, told_since: None };
    let users: Vec<_> = (1..=100_000).map(user).collect();
    let within = guildhall_proto::call::Within::new(Duration::from_secs(2)).unwrap();
    let (send, receive) = dialer.begin(guildhall_proto::call::Ask { within, request }, &ids(&users)).await;
    soon(send.finish()).await.unwrap();
    world.until_counted(Counter::FeedsOpened, 1).await;
    world.until_counted(Counter::CallsUnread, 1).await;
    drop(receive);
    soon(async {
        while world.node.sleep(guild).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_feed_that_was_closed_before_it_came_is_not_opened() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    assert_eq!(dialer.ask(Request::CloseFeed { feed: FeedId(5) }).await.unwrap().answer, Answer::FeedClosed);
    let request = Request::Feed { guild, feed: FeedId(5), past: 0, told_since: None };
    let ask = guildhall_proto::call::Ask { within: guildhall_proto::call::Within::MAX, request };
    let (send, receive) = dialer.begin(ask, &[]).await;
    soon(send.finish()).await.unwrap();
    crate::world::broken(receive).await;
    // Nothing is left of it that keeps the guild awake.
    world.node.sleep(guild).await.unwrap();
    open(&dialer, guild, 6, (0, &[])).await.unwrap();
    assert_eq!(world.count(Counter::FeedsOpened), 1);
}

#[tokio::test]
async fn who_has_come_and_gone_since_a_feed_was_last_open_is_told_and_nothing_else() {
    let world = World::new();
    let guild = world.found(1, 10).await;
    let dialer = world.dial(Role::Backend).await;
    let attach = |number: u64| {
        let (session, user) = (guildhall_proto::SessionId::new(number).unwrap(), user(number));
        let request = guildhall_proto::SessionRequest::Attach { user, status: guildhall_proto::Status::Online };
        dialer.ask(Request::Session { guild, session, request })
    };
    let before = world.node.view(guild).await.unwrap().position();
    attach(3).await.unwrap();
    world.ask(guild, message(1)).await;
    let since = world.node.view(guild).await.unwrap().position();
    attach(4).await.unwrap();
    world.node.typing(guild, user(ADA), channel_id(CHANNEL)).await.unwrap();
    let mut lane = None;
    for (feed, told_since, expected) in
        [(1, Some(before), &[3, 4][..]), (2, Some(since), &[4]), (3, Some(Position::default()), &[]), (4, None, &[])]
    {
        let request = Request::Feed { guild, feed: FeedId(feed), past: 0, told_since };
        dialer.ask_with(request, &[]).await.unwrap();
        // Told from here on, whatever was told before.
        world.node.typing(guild, user(4 + feed), channel_id(CHANNEL)).await.unwrap();
        let lane = match &mut lane {
            Some(lane) => lane,
            None => lane.insert(soon(dialer.next_push()).await.unwrap()),
        };
        let mut there = Vec::new();
        loop {
            let frame = soon(lane.next()).await.unwrap().expect("the lane goes on");
            assert_eq!(frame.kind, Kind::Ephemeral);
            let Told { feed: of, ephemeral } = codec::decode(&frame.body).unwrap();
            assert_eq!(of, FeedId(feed));
            match ephemeral.kind {
                EphemeralKind::Presence { user, .. } => there.push(user.get()),
                EphemeralKind::Typing { user: typist, .. } => {
                    assert_eq!(typist, user(4 + feed));
                    break;
                }
            }
        }
        assert_eq!(there, expected, "since {told_since:?}");
    }
}
