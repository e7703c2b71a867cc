//! Power cuts over the whole durable core: guilds with their gates over the embedded store on a disk in memory, without a runtime.
//!
//! Each history is a seed. Several guilds are claimed, take commands (imports and prunes over several turns among them), fold, make checkpoints,
//! fall asleep and wake, retire and come back, while the two writers of the store are stepped by hand ([`history`]). At some
//! operation of the disk, or between two, the power goes: what was not synced is lost or torn; then the store is opened again, often to be cut once more in
//! the midst of that. A [`ledger`] for each guild, which sees only what was asked and what came out, then holds against what is
//! there: what was answered, or shown in an event or a view, is there exactly once; what was not is there whole or not at all;
//! epochs rise; a retry is answered as before; and the state is that of a naive [`model`].
//!
//! `GUILDHALL_POWER_CUTS` says how many power cuts there are to be, 300 unless it is set; `GUILDHALL_SEED` from which seed on. A
//! failure prints its seed; with a limit of no cuts that seed alone is run again.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod checks;
mod commands;
mod disk;
mod history;
mod ledger;
mod model;
mod owner;
mod seen;

use std::panic::{AssertUnwindSafe, catch_unwind};

use history::{Cheat, History};
use seen::Seen;

#[test]
fn what_was_acknowledged_is_there_once_after_any_power_cut_and_nothing_was_seen_that_is_not() {
    let (cuts, first) = (number("GUILDHALL_POWER_CUTS", 300), number("GUILDHALL_SEED", 0));
    let mut seen = Seen::default();
    let mut seed = first;
    while seen.power_cuts < cuts || seed == first {
        if catch_unwind(AssertUnwindSafe(|| History::new(seed, Cheat::None).run(&mut seen))).is_err() {
            panic!("seed {seed} failed: run it with GUILDHALL_SEED={seed} GUILDHALL_POWER_CUTS=0");
        }
        seed += 1;
    }
    println!("{} histories from seed {first} on: {seen:#?}", seed - first);
    let too_rare = seen.too_rare();
    assert!(cuts < 300 || too_rare.is_empty(), "hardly ever happened: {too_rare:?}");
}

#[test]
fn the_checks_bite_if_syncs_do_nothing() {
    assert_bites(Cheat::IgnoredSyncs);
}

#[test]
fn the_checks_bite_if_a_turn_is_let_out_before_its_records_are_synced() {
    assert_bites(Cheat::EarlyAnswers);
}

/// Most of a few histories must fail.
fn assert_bites(cheat: Cheat) {
    let fails = |seed: &u64| catch_unwind(|| History::new(*seed, cheat).run(&mut Seen::default())).is_err();
    let failed = (0..30).filter(fails).count();
    assert!(failed >= 20, "{failed} of 30 histories failed");
}

fn number(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
