//! Each seeded defect is found on a seed that has found it before.
//!
//! Where a change of the simulation shifts what seeds do, `guildhall-sim --defects` says which find what now.

use std::sync::Mutex;
use std::thread;

use guildhall_proto::Defect;
use guildhall_proto::defects::switch_on;
use guildhall_sim::defects::hunt;
use guildhall_sim::run::{Plan, run};
use guildhall_sim::shrink::shrink;

#[test]
fn every_defect_is_found_by_a_check_of_a_promise_that_it_breaks() {
    // A defect may break an assertion of the product first: that is told as a breach too.
    let left = Mutex::new(Defect::ALL.to_vec());
    let unfound: Mutex<Vec<&str>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(defect) = { left.lock().unwrap().pop() } {
                    let plan = plan(seed_of(defect));
                    match hunt(defect, &plan, 1).unwrap() {
                        Some(_) => {}
                        None => unfound.lock().unwrap().push(defect.name()),
                    }
                }
            });
        }
    });
    let unfound = unfound.into_inner().unwrap();
    assert!(unfound.is_empty(), "{}", unfound.join("\n"));
}

#[test]
fn a_run_that_breaks_a_promise_is_shrunk_to_a_shorter_one_that_breaks_the_same() {
    let _on = switch_on(Defect::LeakAfterRevoke);
    let broken = run(&plan(seed_of(Defect::LeakAfterRevoke))).unwrap();
    let promise = broken.breach.as_ref().map(|breach| breach.promise);
    let (steps, kinds) = (broken.steps, broken.plan.without.len());

    let shortest = shrink(broken).unwrap();

    assert_eq!(shortest.breach.as_ref().map(|breach| breach.promise), promise);
    assert!(shortest.steps < steps || shortest.plan.without.len() > kinds);
    assert!(!shortest.history.is_empty());
    assert_eq!(run(&shortest.plan).unwrap(), shortest);
}

fn plan(seed: u64) -> Plan {
    Plan { seed, steps: 8_000, workload: "mixed".to_owned(), faults: "mixed".to_owned(), without: Vec::new() }
}

fn seed_of(defect: Defect) -> u64 {
    let found = CAUGHT.iter().find(|(name, _)| *name == defect.name());
    found.unwrap_or_else(|| panic!("{} has no seed: run `guildhall-sim --defects --steps 8000`", defect.name())).1
}

/// Each defect with the first seed that finds it.
const CAUGHT: &[(&str, u64)] = &[
    ("acknowledged-early", 0),
    ("any-generation", 0),
    ("begun-early", 0),
    ("begun-late", 0),
    ("body-ignored", 1),
    ("checkpoint-too-far", 0),
    ("cohort-of-now", 13),
    ("deny-wins", 7),
    ("epoch-not-raised", 0),
    ("expired-applied", 1),
    ("failure-ignored", 3),
    ("fence-unchecked", 3),
    ("floor-not-raised", 59),
    ("fold-over-newer", 1),
    ("forgotten-early", 0),
    ("gap-dropped", 0),
    ("gate-open", 0),
    ("generations-anew", 0),
    ("grant-may-fall", 3),
    ("heard-after-leaving", 0),
    ("hearsay-taken", 0),
    ("hole-untold", 0),
    ("import-unfinished", 0),
    ("issue-time-ignored", 1),
    ("latest-unbounded", 0),
    ("leak-after-revoke", 1),
    ("live-given-back", 3),
    ("member-turned-away", 0),
    ("mention-lost", 1),
    ("name-sync-skipped", 1),
    ("needless-gap", 5),
    ("newer-forgotten", 1),
    ("outcomes-forgotten", 0),
    ("outcomes-unbounded", 59),
    ("outlived-forgotten", 4),
    ("overlay-unbounded", 4),
    ("page-lost", 0),
    ("pending-unbounded", 0),
    ("presence-lost", 8),
    ("prune-unfinished", 4),
    ("refusal-dropped", 0),
    ("replay-by-today", 1),
    ("retry-applied-again", 0),
    ("ring-unbounded", 0),
    ("role-unmasked", 0),
    ("roles-taken-late", 0),
    ("room-ignored", 14),
    ("segments-kept", 2),
    ("seq-reused", 0),
    ("signature-unchecked", 5),
    ("sleep-unsaved", 2),
    ("structure-too-late", 0),
    ("superseded-acts", 1),
    ("sync-skipped", 0),
    ("tail-cut", 0),
    ("taken-back-wrongly", 12),
    ("told-ahead", 1),
    ("tombstone-forgotten", 0),
    ("typist-unasked", 0),
    ("unclean-trusted", 0),
    ("unread-dropped", 0),
    ("view-after-answer", 0),
    ("view-before-gate", 0),
    ("waiters-forgotten", 11),
    ("wake-too-few", 0),
    ("works-unbounded", 13),
    ("foreign-publisher", 1),
];
