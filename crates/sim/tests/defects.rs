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
    ("any-generation", 15),
    ("begun-early", 0),
    ("begun-late", 0),
    ("body-ignored", 6),
    ("budget-unspent", 1),
    ("checkpoint-too-far", 0),
    ("cohort-of-now", 2),
    ("deadline-passed", 0),
    ("deleted-forgotten", 77),
    ("deny-wins", 8),
    ("doubt-forgotten", 0),
    ("doubted-followed", 0),
    ("epoch-not-raised", 0),
    ("expired-applied", 0),
    ("expired-believed", 0),
    ("failure-ignored", 41),
    ("feed-over-epochs", 1),
    ("fence-unchecked", 79),
    ("floor-not-raised", 61),
    ("fold-over-newer", 0),
    ("foreign-publisher", 16),
    ("forgotten-early", 0),
    ("gap-dropped", 0),
    ("gate-open", 1),
    ("generations-anew", 0),
    ("grant-borrowed", 0),
    ("grant-falls", 0),
    ("grant-may-fall", 7),
    ("heard-after-leaving", 0),
    ("hearsay-taken", 10),
    ("hole-untold", 0),
    ("import-unfinished", 0),
    ("issue-time-ignored", 6),
    ("latest-unbounded", 0),
    ("leak-after-revoke", 0),
    ("link-ends-next", 1),
    ("live-given-back", 1),
    ("member-turned-away", 1),
    ("mention-lost", 0),
    ("message-repeated", 0),
    ("moved-after-applied", 353),
    ("moved-kept", 1),
    ("name-sync-skipped", 0),
    ("needless-gap", 2),
    ("newer-forgotten", 1),
    ("outcomes-forgotten", 0),
    ("outcomes-unbounded", 35),
    ("outlived-forgotten", 0),
    ("overlay-unbounded", 0),
    ("page-lost", 0),
    ("pending-unbounded", 1),
    ("presence-lost", 17),
    ("prune-unfinished", 0),
    ("refusal-dropped", 0),
    ("replay-by-today", 23),
    ("retry-applied-again", 0),
    ("ring-unbounded", 0),
    ("role-unmasked", 6),
    ("roles-taken-late", 8),
    ("room-ignored", 26),
    ("routes-unbounded", 0),
    ("segments-kept", 5),
    ("seq-reused", 0),
    ("signature-unchecked", 34),
    ("sleep-unsaved", 2),
    ("stale-followed", 34),
    ("structure-too-late", 3),
    ("superseded-acts", 0),
    ("sync-skipped", 0),
    ("tail-cut", 0),
    ("taken-back-wrongly", 3),
    ("told-ahead", 1),
    ("tombstone-forgotten", 1),
    ("typist-unasked", 1),
    ("unclean-trusted", 0),
    ("unread-dropped", 0),
    ("view-after-answer", 0),
    ("view-before-gate", 0),
    ("waiters-forgotten", 7),
    ("wake-too-few", 0),
    ("works-unbounded", 7),
];
