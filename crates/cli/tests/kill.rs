//! The built binary, killed at its work: what it had acknowledged is there afterwards, once.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

/// Counts of faults: all of them zero if nothing is wrong.
const FAULTS: [&str; 6] = ["lost", "doubled", "phantoms", "epochs_not_risen", "failed", "ended"];

#[test]
fn what_was_acknowledged_outlasts_twenty_kills() {
    let output = guildhall(&["crash", "--rounds", "20", "--json"]);
    let totals: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let number = |key: &str| totals[key].as_u64().unwrap_or(u64::MAX);
    let faults = FAULTS.map(number);
    assert!(faults == [0; 6] && output.status.success(), "{totals} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(number("kills"), 20);
    // The kills came in the middle of something.
    assert!(number("acknowledged") > 1_000 && number("unanswered") > 50, "{totals}");
    assert!(number("unanswered_cut") > 10 && number("unanswered_kept") > 10, "{totals}");
    assert!(number("unclean_starts") > 2, "{totals}");
    assert!(number("retried") > 500 && number("seen") > 500 && number("slept") > 0, "{totals}");
}

#[test]
fn a_run_of_kills_is_gone_on_with_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let path = state.to_str().unwrap();
    assert!(guildhall(&["crash", "--rounds", "1", "--state", path]).status.success());
    let first: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    assert_eq!(first["kills"], 1);
    // As many as were asked for are done.
    let output = guildhall(&["crash", "--rounds", "1", "--state", path, "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), first);
    assert!(guildhall(&["crash", "--rounds", "2", "--state", path]).status.success());
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(&state).unwrap()).unwrap()["kills"], 2);
}

/// The switch that shows that the kills would find it: with the feature `defects` alone.
#[cfg(feature = "defects")]
#[test]
fn faults_in_the_killed_process_are_found() {
    for defect in ["acknowledged-early", "tail-cut", "epoch-not-raised"] {
        let found = (1..=4).any(|seed| {
            let seed = format!("--seed={seed}");
            !guildhall(&["crash", "--rounds", "10", &seed, "--defect", defect]).status.success()
        });
        assert!(found, "{defect}");
    }
}

fn guildhall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_guildhall")).args(args).output().unwrap()
}
