//! The whole core against a naive model: guild, gate, ring, relays and sessions through random histories, without a runtime.
//!
//! Each history is a list of numbers ([`steps`]): commands by the system and by members, retries, sessions that change their level and
//! status, members that type, turns, stores and folds that finish late, owners that end, rings that shrink and grow, relays that lag
//! and start again, sessions that read or do not. After each step the product must say what the model says: members, presence and views
//! ([`compare`]), who may do what and who hears what ([`model`]), in which order, with gaps only where something was lost
//! ([`listener`], [`places`]).
//!
//! `GUILDHALL_HISTORIES` says how many histories are run, 10,000 unless it is set; `GUILDHALL_SEED` from which seed on. A failure
//! prints its seed and the shortest list of numbers found that still fails; it goes into [`FAILED_BEFORE`].

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod backend;
mod compare;
mod failed_before;
mod history;
mod listener;
mod model;
mod owner;
mod places;
mod seen;
mod shrink;
mod steps;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use failed_before::FAILED_BEFORE;
use history::History;
use seen::Seen;

#[test]
fn members_visibility_and_deliveries_are_those_of_the_model_at_every_step() {
    let (histories, first) = (number("GUILDHALL_HISTORIES", 10_000), number("GUILDHALL_SEED", 0));
    let (next, seen) = (AtomicU64::new(first), Mutex::new(Seen::default()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            let mut own = Seen::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + histories {
                    break;
                }
                own += shrink::run_or_shrink(seed, &words_of(seed));
            }
            *seen.lock().unwrap() += own;
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in running {
            worker.join().expect("a history failed: see above");
        }
    });
    let seen = seen.into_inner().unwrap();
    println!("{histories} histories: {seen:#?}");
    let too_rare = seen.too_rare(histories);
    assert!(histories < 100 || too_rare.is_empty(), "hardly ever happened: {too_rare:?}");
}

#[test]
fn what_failed_once_does_not_fail_again() {
    for (setting, words) in FAILED_BEFORE {
        History::new(*setting).run(words);
    }
}

/// The steps of a seed's history: 200 to 263.
fn words_of(seed: u64) -> Vec<u64> {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D);
    let steps = 200 + seed % 64;
    (0..steps).map(|_| split_mix(&mut state)).collect()
}

/// The setting of a seed's history.
fn setting_of(seed: u64) -> u64 {
    split_mix(&mut seed.wrapping_add(0x5851_F42D_4C95_7F2D))
}

/// SplitMix64, as published by Steele, Lea and Flood (2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn number(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
