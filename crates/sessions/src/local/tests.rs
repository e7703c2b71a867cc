//! Relays that have to begin again.

use std::future::{Future, poll_fn};
use std::task::Poll;

use guildhall_proto::{Seq, SessionRequest};
use guildhall_relay::{Attach, AttachError};
use tokio::sync::Semaphore;

use super::*;
use crate::Delivery;
use crate::scripted::{Panics, Scripted, attach_of, user};
use crate::seat::Seat;

/// Lets all other tasks come to where they wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_relay_begins_again_nobody_is_placed_and_who_comes_then_hears_all_that_follows() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let mut first = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    guilds.0.looks.forget_permits(Semaphore::MAX_PERMITS);
    // More than the ring holds: the relay has to begin again, with the members of those that it has.
    guilds.rename(1_000);
    settle().await;
    assert_eq!(guilds.asked(), [vec![], vec![user(1)]]);

    let coming = tokio::spawn({
        let backend = backend.clone();
        async move { backend.attach(GuildId::MIN, attach_of(2)).await }
    });
    settle().await;
    assert!(!coming.is_finished(), "the relay does not know its member as of where it begins again");
    guilds.0.looks.add_permits(1);
    let mut second = coming.await.unwrap().unwrap();

    guilds.rename(1);
    let last = guilds.0.owner.lock().feed.head();
    let Some(Delivery::Gap(gap)) = first.next().await else { panic!("a thousand renames are not in the ring") };
    assert_eq!(gap.through.seq, Seq(last.seq.0 - 1));
    for session in [&mut first, &mut second] {
        match session.next().await {
            Some(Delivery::Event(event)) => assert_eq!(event.position, last),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_whose_guild_is_not_to_be_had_looks_for_it_at_a_falling_pace_and_goes_on_once_it_is() {
    // A hole is looked behind at once, and then as an owner that is gone: at once, after 10, 20, 40 and 80 ms.
    for (hole, expected) in [(true, 70), (false, 150)] {
        let guilds = Scripted::new();
        let backend = guilds.backend();
        let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
        guilds.0.owner.lock().failing = 4;
        let begun = Instant::now();
        if hole {
            guilds.rename(1_000)
        } else {
            guilds.next_owner()
        }
        assert!(matches!(session.next().await, Some(Delivery::Gap(_))), "hole: {hole}");
        assert_eq!(begun.elapsed().as_millis(), expected, "hole: {hole}");
        guilds.rename(1);
        assert!(matches!(session.next().await, Some(Delivery::Event(_))), "hole: {hole}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_taken_over_and_does_not_know_it_is_not_listened_to() {
    let guilds = Scripted::new();
    let zombie = Arc::clone(&guilds.0.owner.lock().feed);
    let backend = guilds.backend();
    let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    guilds.next_owner();
    assert!(matches!(session.next().await, Some(Delivery::Gap(_))));
    // Looked at once more, it would never end.
    let (zombie, _ring) = crate::scripted::epoch(zombie.epoch.0, zombie.head().seq);
    guilds.0.owner.lock().zombie = Some((zombie, 3));
    guilds.next_owner();
    assert!(matches!(session.next().await, Some(Delivery::Gap(_))));
    guilds.rename(1);
    assert!(matches!(session.next().await, Some(Delivery::Event(_))));
}

#[tokio::test(start_paused = true)]
async fn what_a_new_owner_is_told_and_has_not_answered_it_is_told_again() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    guilds.0.owner.lock().failing_sessions = 5;
    guilds.next_owner();
    assert!(matches!(session.next().await, Some(Delivery::Gap(_))));
    tokio::time::advance(Duration::from_secs(5)).await;
    settle().await;
    let told = |request: &SessionRequest| matches!(request, SessionRequest::Reattach { .. });
    let count = || guilds.0.owner.lock().requests.iter().filter(|request| told(request)).count();
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_is_told_of_all_sessions_again_once_another_speaks_for_them() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    let told = |request: &SessionRequest| matches!(request, SessionRequest::Reattach { .. });
    let count = || guilds.0.owner.lock().requests.iter().filter(|request| told(request)).count();
    // The link was away for so short a time that nothing was released.
    let before = guilds.0.owner.lock().sponsor;
    guilds.next_link(before);
    settle().await;
    guilds.rename(1);
    assert!(matches!(session.next().await, Some(Delivery::Event(_))));
    assert_eq!(count(), 0);
    for again in 1..=2 {
        guilds.next_link(Sponsor(before.0 + again));
        settle().await;
        // An owner that was looked for a moment ago is looked for after a pause.
        tokio::time::advance(REOPEN_PAUSE_MAX).await;
        settle().await;
        guilds.rename(1);
        assert!(matches!(session.next().await, Some(Delivery::Event(_))));
        assert_eq!(count(), again as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_attach_may_have_come_through_is_detached_at_its_owner() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let (_relay, _lease) = backend.relay(GuildId::MIN).await.unwrap();
    guilds.0.owner.lock().failing_sessions = 1;
    assert!(backend.attach(GuildId::MIN, attach_of(1)).await.is_err());
    settle().await;
    let requests = guilds.0.owner.lock().requests.clone();
    assert!(matches!(requests[..], [SessionRequest::Detach { .. }]), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_given_up_while_it_attaches_anew_is_detached_however_its_owner_knows_it_by_then() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let (relay, lease) = backend.relay(GuildId::MIN).await.unwrap();
    let too_old = |_: &mut Core, attach: Attach<'_>| -> Result<(SessionKey, ()), AttachError> {
        Err(AttachError::TooOld { accepted: attach.accepted, at: attach.accepted })
    };
    let mut attaching = Box::pin(Seat::take(relay, lease, attach_of(1), too_old));
    let requests = || guilds.0.owner.lock().requests.clone();
    while requests().len() < 2 {
        let polled = poll_fn(|context| Poll::Ready(attaching.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    // The owner has attached it a second time, and the answer is on its way.
    drop(attaching);
    settle().await;
    assert!(matches!(requests()[..], [_, SessionRequest::Attach { .. }, SessionRequest::Detach { .. }]));
}

#[tokio::test(start_paused = true)]
async fn a_guild_that_ends_again_and_again_is_loaded_at_a_falling_pace() {
    let mut pace = Pace::default();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let pause = pace.pause();
        tokio::time::advance(pause).await;
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    tokio::time::advance(2 * REOPEN_PAUSE_MAX).await;
    assert_eq!(pace.pause(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_fails_fails_for_all_who_waited_and_who_comes_then_begins_the_next() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    guilds.0.looks.forget_permits(Semaphore::MAX_PERMITS);
    guilds.0.owner.lock().failing = 1;
    let attach = |number| {
        let backend = backend.clone();
        tokio::spawn(async move { backend.attach(GuildId::MIN, attach_of(number)).await })
    };
    let first = attach(1);
    settle().await;
    let others = [2, 3, 4].map(attach);
    settle().await;
    // Who came first goes away: the others wait for the same.
    first.abort();
    settle().await;
    guilds.0.looks.add_permits(1);
    for waiting in others {
        assert!(waiting.await.unwrap().is_err());
    }
    assert_eq!((guilds.asked().len(), backend.relays()), (1, 0));
    guilds.0.looks.add_permits(1);
    attach(5).await.unwrap().unwrap();
    assert_eq!(guilds.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_opened_for_nobody_any_more_closes() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    guilds.0.looks.forget_permits(Semaphore::MAX_PERMITS);
    let only = tokio::spawn({
        let backend = backend.clone();
        async move { backend.attach(GuildId::MIN, attach_of(1)).await.map(drop) }
    });
    settle().await;
    only.abort();
    settle().await;
    assert_eq!(backend.relays(), 1, "it is being opened");
    guilds.0.looks.add_permits(1);
    settle().await;
    assert_eq!((backend.relays(), guilds.asked().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attach_waits_for_what_its_relay_has_yet_to_hear() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    // As over a link: what is answered is ahead of what the feed has brought.
    guilds.0.owner.lock().ahead = 1;
    session.detach().await.unwrap();
    let again = tokio::spawn({
        let backend = backend.clone();
        async move { backend.attach(GuildId::MIN, attach_of(1)).await }
    });
    for _ in 0..100 {
        settle().await;
    }
    assert!(!again.is_finished(), "the relay has it still");
    guilds.0.owner.lock().ahead = 0;
    guilds.rename(1);
    assert!(again.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_may_not_listen_any_more_ends_and_who_comes_is_told_why() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
    guilds.0.owner.lock().denies = true;
    guilds.next_owner();
    let ended = tokio::time::timeout(Duration::from_secs(60), session.next()).await;
    assert!(matches!(ended, Ok(None)), "it listens still");
    assert_eq!(guilds.asked().len(), 2, "it is asked once");
    let refused = backend.attach(GuildId::MIN, attach_of(2)).await.unwrap_err();
    let denied = CallError::Denied { reason: String::from("as the test says") };
    assert_eq!(refused, crate::AttachError::Call(denied));
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_relay_that_panics_see_their_end_and_who_comes_gets_another() {
    for panics in [Panics::Look, Panics::Resync] {
        let guilds = Scripted::new();
        let backend = guilds.backend();
        let mut session = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap();
        let (relay, _lease) = backend.relay(GuildId::MIN).await.unwrap();
        guilds.0.owner.lock().panics = Some(panics);
        guilds.next_owner();
        let ended = tokio::time::timeout(Duration::from_secs(60), session.next()).await;
        assert!(matches!(ended, Ok(None)), "{panics:?}: it waits for a task that is gone");
        assert!(matches!(relay.gone(), CallError::Unavailable { .. }));
        guilds.0.owner.lock().panics = None;
        let mut other = backend.attach(GuildId::MIN, attach_of(2)).await.unwrap();
        guilds.rename(1);
        assert!(matches!(other.next().await, Some(Delivery::Event(_))));
    }
}
