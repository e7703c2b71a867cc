//! Storms of attaches, with calls and without.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use guildhall_proto::GuildId;

use super::*;
use crate::arrivals::{OF_LATE, PER_WORKER, STEP};
use crate::scripted::{Scripted, attach_of};
use crate::{AttachError, Backend};

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_its_turn_or_behind_too_many_is_told_to_come_again_and_then_comes_in() {
    let backend = Scripted::new().backend();
    let (relay, _lease) = backend.relay(GuildId::MIN).await.unwrap();

    let mut turns = Vec::new();
    for _ in 0..AT_A_TIME {
        turns.push(relay.turns.next().await.unwrap());
    }
    let begun = Instant::now();
    let refused = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap_err();
    let late = AttachError::Call(CallError::Overloaded { retry_after: LAGGING_RETRY_AFTER });
    assert_eq!((refused, begun.elapsed()), (late.clone(), TURN_AFTER_MAX));

    let places = u32::try_from(relay.turns.waiting.available_permits()).unwrap();
    let waiting = relay.turns.waiting.try_acquire_many(places).unwrap();
    let begun = Instant::now();
    let refused = backend.attach(GuildId::MIN, attach_of(1)).await.unwrap_err();
    assert_eq!((refused, begun.elapsed()), (late, Duration::ZERO));

    drop((turns, waiting));
    assert!(backend.attach(GuildId::MIN, attach_of(1)).await.is_ok());
}

/// How long so many attaches take, all at once, at several backends' relays in turn.
async fn storm(backends: &[Backend<Scripted>]) -> Duration {
    let begun = Instant::now();
    let attaching = (1..=STORM).zip(backends.iter().cycle()).map(|(number, backend)| {
        let backend = backend.clone();
        tokio::spawn(async move { backend.attach(GuildId::MIN, attach_of(number)).await.unwrap() })
    });
    for session in attaching.collect::<Vec<_>>() {
        session.await.unwrap().detach().await.unwrap();
    }
    begun.elapsed()
}

const STEPS: u64 = 4;
const STORM: u64 = STEPS * PER_WORKER as u64;

#[tokio::test(start_paused = true)]
async fn a_storm_comes_in_steps_while_somebody_calls_at_however_many_relays_and_else_does_not() {
    let guilds = Scripted::new();
    for relays in [1, 4] {
        let backends: Vec<_> = std::iter::repeat_with(|| guilds.backend()).take(relays).collect();
        assert_eq!(storm(&backends).await, Duration::ZERO);

        guilds.0.calls.fetch_add(1, Ordering::Relaxed);
        let took = storm(&backends).await;
        let steps = STEP * (STEPS as u32 - 1);
        assert!((steps..=2 * steps).contains(&took), "{took:?} at {relays}");
        tokio::time::advance(OF_LATE).await;
        assert_eq!(storm(&backends).await, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn few_attaches_do_not_wait_for_a_step_though_somebody_calls() {
    let guilds = Scripted::new();
    let backend = guilds.backend();
    let begun = Instant::now();
    for number in 1..=STORM {
        guilds.0.calls.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(PER_WORKER as u64) {
            tokio::time::advance(STEP).await;
        }
        drop(backend.attach(GuildId::MIN, attach_of(number)).await.unwrap());
    }
    assert_eq!(begun.elapsed(), STEP * STEPS as u32);
}
