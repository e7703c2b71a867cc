//! Sessions that come, hear, change, lag and go, in every way there is.

use std::sync::atomic::{AtomicU64, Ordering};

use guildhall_node::{AttachError, Clock, Counter, Delivery, DetachReason};
use guildhall_proto::{Command, EventKind, Millis, Status};

use crate::store::Mode;
use crate::world::{
    ADA, NOW, World, add_member, attach, attachment, message, number_in, poll_once, settle, soon, until, user,
};

#[tokio::test]
async fn a_dropped_stream_is_detached_and_the_relay_goes_with_the_last() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let first = attach(&backend, guild, 1, 1).await;
    let second = attach(&backend, guild, 2, 2).await;
    assert_eq!((world.online(guild).await, backend.relays()), (2, 1));
    drop(first);
    world.until_online(guild, 1).await;
    assert_eq!(backend.relays(), 1);
    drop(second);
    world.until_online(guild, 0).await;
    until(|| backend.relays() == 0).await;
    assert_eq!(world.count(Counter::SessionsAbandoned), 2);
    // Its id is free again.
    attach(&backend, guild, 1, 1).await;
}

#[tokio::test]
async fn an_attach_cancelled_at_any_point_leaves_nothing_behind() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut finished = false;
    for polls in 1.. {
        let mut attaching = Box::pin(backend.attach(guild, attachment(1, ADA)));
        for _ in 0..polls {
            finished = poll_once(&mut attaching).await.is_ready();
            if finished {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(attaching);
        world.until_online(guild, 0).await;
        until(|| backend.relays() == 0).await;
        if finished {
            break;
        }
    }
    assert!(finished);
    attach(&backend, guild, 1, ADA).await;
}

#[tokio::test]
async fn an_attach_cancelled_while_the_store_holds_is_detached_behind_it() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let keeper = attach(&backend, guild, 9, 2).await;
    world.store.set(Mode::HoldAfter);
    let held = world.post(guild, add_member(50)).unwrap();
    until(|| world.store.held() == 1).await;
    let mut attaching = Box::pin(backend.attach(guild, attachment(1, ADA)));
    assert!(poll_once(&mut attaching).await.is_pending());
    let again = backend.attach(guild, attachment(1, ADA)).await.unwrap_err();
    assert_eq!(again, AttachError::AlreadyAttached { session: crate::world::session_id(1) });
    drop(attaching);
    world.store.release();
    soon(held.answer()).await.unwrap();
    world.until_online(guild, 1).await;
    settle().await;
    assert_eq!((world.online(guild).await, keeper.session()), (1, crate::world::session_id(9)));
}

#[tokio::test]
async fn a_detached_session_hears_all_before_its_detach_and_nothing_after() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, ADA).await;
    for number in 0..200 {
        world.ask(guild, message(number)).await.unwrap();
    }
    let at = soon(stream.detach()).await.unwrap();
    world.ask(guild, message(200)).await.unwrap();
    assert_eq!(world.online(guild).await, 0);

    let mut last = None;
    for number in 0..200 {
        let delivery = soon(stream.next()).await;
        last = crate::world::position_of(&delivery);
        assert_eq!(number_in(delivery), number);
    }
    assert_eq!(last, Some(at));
    assert_eq!(soon(stream.next()).await, Some(Delivery::Detached(DetachReason::Requested)));
    assert_eq!(soon(stream.next()).await, None);
    assert_eq!(soon(stream.next()).await, None);

    // The same id comes back at once, and hears what is new.
    let mut again = attach(&backend, guild, 1, ADA).await;
    world.ask(guild, message(201)).await.unwrap();
    assert_eq!(number_in(soon(again.next()).await), 201);
}

#[tokio::test]
async fn what_is_shown_in_place_is_what_is_handed_out_one_by_one() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, ADA).await;
    for number in 0..200 {
        world.ask(guild, message(number)).await.unwrap();
    }
    soon(stream.detach()).await.unwrap();

    let mut heard: Vec<Delivery> = Vec::new();
    for max in (0..5).cycle() {
        let before = heard.len();
        let goes_on = if max == 4 {
            soon(stream.next()).await.map(|delivery| heard.push(delivery)).is_some()
        } else {
            soon(stream.read(max, |delivery| heard.push(delivery.into()))).await
        };
        assert_eq!(goes_on, heard.len() > before);
        assert!(heard.len() - before <= max.max(1), "{} for {max}", heard.len() - before);
        if !goes_on {
            break;
        }
        if let Some(last) = crate::world::position_of(&heard.last().cloned()) {
            assert_eq!(stream.known(), last);
        }
    }
    assert_eq!(heard.pop(), Some(Delivery::Detached(DetachReason::Requested)));
    assert!(heard.into_iter().map(|delivery| number_in(Some(delivery))).eq(0..200));
    assert!(!soon(stream.read(9, |delivery| panic!("nothing follows, but {delivery:?}"))).await);
    assert_eq!(soon(stream.next()).await, None);
}

#[tokio::test]
async fn an_id_comes_back_though_the_relay_has_not_reached_its_detach() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, ADA).await;
    // All in one turn of the owner: the relay has not run since.
    let pending: Vec<_> = (0..100).map(|number| world.post(guild, message(number)).unwrap()).collect();
    soon(stream.detach()).await.unwrap();
    let mut again = soon(backend.attach(guild, attachment(1, ADA))).await.unwrap();
    for pending in pending {
        soon(pending.answer()).await.unwrap();
    }
    world.ask(guild, message(100)).await.unwrap();
    assert_eq!(number_in(soon(again.next()).await), 100);
    for number in 0..100 {
        assert_eq!(number_in(soon(stream.next()).await), number);
    }
    assert_eq!(soon(stream.next()).await, Some(Delivery::Detached(DetachReason::Requested)));
    drop(stream);
    settle().await;
    assert_eq!(world.online(guild).await, 1);
}

#[tokio::test]
async fn the_sessions_of_a_removed_member_hear_that_last() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let (mut one, mut two) = (attach(&backend, guild, 1, 2).await, attach(&backend, guild, 2, 2).await);
    let mut other = attach(&backend, guild, 3, 3).await;
    world.ask(guild, Command::RemoveMember { user: user(2) }).await.unwrap();
    world.ask(guild, message(1)).await.unwrap();
    for stream in [&mut one, &mut two] {
        let Some(Delivery::Event(event)) = soon(stream.next()).await else { panic!("an event") };
        assert!(matches!(&event.kind, EventKind::MemberLeft { member } if member.user == user(2)));
        assert_eq!(soon(stream.next()).await, Some(Delivery::Detached(DetachReason::MemberLeft)));
        assert_eq!(soon(stream.next()).await, None);
    }
    assert_eq!(number_in(soon(other.next()).await), 1);
    assert_eq!(world.online(guild).await, 1);

    // A member again, with the same session id: the old stream takes nothing of it along.
    world.ask(guild, add_member(2)).await.unwrap();
    let mut back = attach(&backend, guild, 1, 2).await;
    drop((one, two));
    settle().await;
    assert_eq!(world.online(guild).await, 2);
    world.ask(guild, message(2)).await.unwrap();
    assert_eq!(number_in(soon(back.next()).await), 2);
    assert_eq!(world.count(Counter::SessionsAbandoned), 0);
}

#[tokio::test]
async fn all_sessions_of_a_deleted_guild_hear_that_last() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut streams = [attach(&backend, guild, 1, 1).await, attach(&backend, guild, 2, 2).await];
    world.ask(guild, Command::DeleteGuild).await.unwrap();
    for stream in &mut streams {
        let Some(Delivery::Event(event)) = soon(stream.next()).await else { panic!("an event") };
        assert_eq!(event.kind, EventKind::GuildDeleted);
        assert_eq!(soon(stream.next()).await, Some(Delivery::Detached(DetachReason::GuildDeleted)));
        assert_eq!(soon(stream.next()).await, None);
    }
    drop(streams);
    until(|| backend.relays() == 0).await;
    assert!(backend.attach(guild, attachment(3, 3)).await.is_err());
    until(|| backend.relays() == 0).await;
}

#[tokio::test]
async fn a_slow_session_is_told_its_gap_and_hears_on() {
    let world = World::with(|config| config.relay.ring.entries_max = 8);
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut slow = attach(&backend, guild, 1, 1).await;
    let mut quick = attach(&backend, guild, 2, 2).await;
    let mut last = world.view(guild).await.unwrap().position();
    for number in 0..50 {
        last = world.ask(guild, message(number)).await.unwrap().at();
        assert_eq!(number_in(soon(quick.next()).await), number);
    }
    let Some(Delivery::Gap(gap)) = soon(slow.next()).await else { panic!("a gap") };
    assert!(gap.after < gap.through && gap.through <= last);
    let mut known = gap.through;
    while known < last {
        let delivery = soon(slow.next()).await;
        let at = crate::world::position_of(&delivery).expect("a message");
        assert_eq!(at, known.next());
        known = at;
    }
    world.ask(guild, message(50)).await.unwrap();
    assert_eq!(number_in(soon(slow.next()).await), 50);
    assert_eq!(world.count(Counter::RelayResyncs), 0);
}

#[tokio::test]
async fn a_relay_that_falls_out_of_its_guilds_ring_begins_again_from_a_view() {
    let world = World::with(|config| {
        config.ring.entries_max = 8;
        config.turn.inputs_max = 1_000;
        config.turn.micros_max = u64::MAX;
    });
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, 1).await;
    let mut removed = attach(&backend, guild, 2, 2).await;
    // One turn of the owner: when the relay runs, most of it has left the ring.
    let mut pending: Vec<_> = (0..100).map(|number| world.post(guild, message(number)).unwrap()).collect();
    pending.push(world.post(guild, Command::RemoveMember { user: user(2) }).unwrap());
    pending.extend((100..200).map(|number| world.post(guild, message(number)).unwrap()));
    let mut last = None;
    for pending in pending {
        last = Some(soon(pending.answer()).await.unwrap().at());
    }
    let Some(Delivery::Gap(gap)) = soon(stream.next()).await else { panic!("a gap") };
    assert_eq!(Some(gap.through), last);
    assert!(matches!(soon(removed.next()).await, Some(Delivery::Gap(_))));
    assert_eq!(soon(removed.next()).await, Some(Delivery::Detached(DetachReason::MemberLeft)));
    world.ask(guild, message(200)).await.unwrap();
    assert_eq!(number_in(soon(stream.next()).await), 200);
    assert_eq!(world.count(Counter::RelayResyncs), 1);
}

#[tokio::test]
async fn who_left_and_came_back_unseen_by_the_relay_is_a_new_member() {
    let ticks = AtomicU64::new(NOW.0);
    let world = World::with(|config| {
        config.clock = Clock::from_fn(move || Millis(ticks.fetch_add(1, Ordering::SeqCst)));
        config.ring.entries_max = 8;
        config.turn.inputs_max = 1_000;
        config.turn.micros_max = u64::MAX;
    });
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut gone = attach(&backend, guild, 1, 2).await;
    let mut stayed = attach(&backend, guild, 2, 3).await;
    // The second turn takes all: when the relay runs, the first commands have left the ring.
    let commands = [Command::RemoveMember { user: user(2) }, add_member(2)];
    let mut pending: Vec<_> = commands.into_iter().map(|command| world.post(guild, command).unwrap()).collect();
    pending.extend((0..100).map(|number| world.post(guild, message(number)).unwrap()));
    for pending in pending {
        soon(pending.answer()).await.unwrap();
    }
    assert!(matches!(soon(gone.next()).await, Some(Delivery::Gap(_))));
    assert_eq!(soon(gone.next()).await, Some(Delivery::Detached(DetachReason::MemberLeft)));
    assert!(matches!(soon(stayed.next()).await, Some(Delivery::Gap(_))));
    world.ask(guild, message(200)).await.unwrap();
    assert_eq!(number_in(soon(stayed.next()).await), 200);
}

#[tokio::test]
async fn an_attach_under_anothers_session_id_leaves_that_alone_even_if_it_is_cancelled() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let (here, there) = (world.backend(), world.backend());
    let session = attach(&here, guild, 7, 2).await;
    let _other = attach(&there, guild, 8, 3).await;
    assert!(there.attach(guild, attachment(7, 3)).await.is_err());
    assert!(poll_once(&mut Box::pin(there.attach(guild, attachment(7, 3)))).await.is_pending());
    until(|| world.count(Counter::SessionsAbandoned) == 1).await;
    settle().await;
    assert_eq!(world.online(guild).await, 2);
    session.set_status(Status::Idle).await.unwrap();
}

#[tokio::test]
async fn a_user_is_there_as_its_most_present_session_says() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let (mut one, two) = (attach(&backend, guild, 1, ADA).await, attach(&backend, guild, 2, ADA).await);
    let status = async || world.view(guild).await.unwrap().status(user(ADA)).unwrap();
    one.set_status(Status::Idle).await.unwrap();
    assert_eq!(status().await, Status::Online);
    two.set_status(Status::DoNotDisturb).await.unwrap();
    assert_eq!(status().await, Status::DoNotDisturb);
    two.set_status(Status::Offline).await.unwrap();
    assert_eq!((status().await, world.online(guild).await), (Status::Idle, 1));
    one.detach().await.unwrap();
    assert_eq!(world.online(guild).await, 0);
    assert!(one.set_status(Status::Online).await.is_err());
}

#[tokio::test]
async fn a_new_owner_knows_the_sessions_as_they_are_when_it_has_come() {
    let world = World::new();
    let guild = world.found(1, 10).await;
    let backend = world.backend();
    let mut streams = Vec::new();
    for number in 1..=6 {
        streams.push(attach(&backend, guild, number, number).await);
    }
    streams[0].set_status(Status::Idle).await.unwrap();
    let panicked = world.filter(guild, |_, _| panic!("the job of this test panics")).await;
    assert!(panicked.is_err());
    // While the owners change: one is dropped, one detaches, one comes, one is on its way and given up.
    drop(streams.pop());
    let mut leaving = streams.pop().unwrap();
    soon(leaving.detach()).await.unwrap();
    streams.push(attach(&backend, guild, 7, 7).await);
    let mut given_up = Box::pin(backend.attach(guild, attachment(8, 8)));
    assert!(poll_once(&mut given_up).await.is_pending());
    drop(given_up);

    world.until_online(guild, 5).await;
    settle().await;
    let view = world.view(guild).await.unwrap();
    let online: Vec<u64> = (1..=10).filter(|number| view.status(user(*number)).unwrap().is_online()).collect();
    assert_eq!(online, [1, 2, 3, 4, 7]);
    assert_eq!(view.status(user(1)), Some(Status::Idle));
}

#[tokio::test]
async fn a_session_that_ended_unheard_is_no_ghost_at_the_next_owner() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, 2).await;
    world.ask(guild, Command::RemoveMember { user: user(2) }).await.unwrap();
    world.ask(guild, add_member(2)).await.unwrap();
    settle().await;
    assert_eq!(world.online(guild).await, 0);
    let panicked = world.filter(guild, |_, _| panic!("the job of this test panics")).await;
    assert!(panicked.is_err());
    settle().await;
    while soon(stream.next()).await.is_some() {}
    world.until_online(guild, 0).await;
    settle().await;
    assert_eq!(world.online(guild).await, 0);
    drop(stream);
    until(|| backend.relays() == 0).await;
}

#[tokio::test]
async fn a_next_that_is_cancelled_loses_nothing() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, 1).await;
    for number in 0..300 {
        assert!(poll_once(&mut Box::pin(stream.next())).await.is_pending());
        world.ask(guild, message(number)).await.unwrap();
        assert_eq!(number_in(soon(stream.next()).await), number);
    }
}
