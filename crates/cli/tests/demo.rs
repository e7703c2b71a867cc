//! The built binary, running small demos: what it reports, that it finds what is broken on purpose, and what it refuses.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::process::{Command, Output};

use serde_json::Value;

/// Counts of faults: all of them zero if nothing is wrong.
const FAULTS: [&str; 11] = [
    "lost",
    "duplicated",
    "reordered",
    "leaked",
    "altered",
    "late",
    "strange_gaps",
    "untold_gaps",
    "unexplained",
    "failed",
    "wrong_answers",
];

#[test]
fn a_small_guild_is_worked_hard_and_nothing_is_wrong() {
    let report = demo(&["--members", "3000", "--sessions", "1000", "--seconds", "2"], 0);
    for fault in FAULTS {
        assert_eq!(report[fault], 0, "{fault}: {report}");
    }
    let killed = &report["killed"];
    for fault in ["lost", "doubled", "phantoms", "epochs_not_risen", "failed", "ended"] {
        assert_eq!(killed[fault], 0, "{fault}: {report}");
    }
    assert_eq!(killed["kills"], 3);
    assert!(killed["acknowledged"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["passed"], true);
    let number = |key: &str| report[key].as_u64().unwrap();
    assert_eq!((number("members"), number("sessions"), number("roles")), (3_000, 1_002, 250));
    assert_eq!((number("channels"), number("seed")), (100, 1));
    assert!(number("relays") >= 3, "{report}");
    // The steady rate, and at least what pushes a reader out of a ring.
    assert!(number("messages") >= 2_000 && number("events") > 5_000, "{report}");
    assert!(number("pruned") > 200 && number("ended") > 50, "{report}");
    assert!(number("told") > 100, "{report}");
    assert!((70..=120).contains(&number("resumed")), "{report}");
    assert_eq!((number("slept"), number("woken")), (1_000, 1_000));
    // One in three was placed with the next of three nodes while it slept, and calls found it there.
    assert_eq!((number("nodes"), number("moved")), (3, 334));
    assert!(number("redirected") > 0, "{report}");
    // All that was due arrived, but for what the reader that stopped has missed.
    assert!(number("missed") > 1_000 && number("gaps") >= 1, "{report}");
    assert_eq!(number("due"), number("deliveries") + number("missed"));
    assert!(number("deliveries") > 100_000, "{report}");

    for (kind, least) in [
        ("attach", 1_002),
        ("resume", 70),
        ("publish", 2_000),
        ("member_change", 1_000),
        ("rights_change", 10),
        ("level", 1),
        ("presence", 1),
        ("typing", 40),
        ("prune", 1),
        ("import", 1),
        ("sleep", 1_000),
        ("wake", 1_000),
        ("scan_everyone", 2),
        ("scan_here", 2),
        ("read", 100),
    ] {
        let times = &report["operations"][kind];
        assert!(times["count"].as_u64().unwrap() >= least, "{kind}: {times}");
        let of = |key: &str| times[key].as_f64().unwrap();
        assert!(0.0 < of("p50_us"), "{kind}: {times}");
        let all = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(of);
        assert!(all.is_sorted(), "{kind}: {times}");
    }
    assert!(report["seconds"]["run"].as_f64().unwrap() >= 2.0);
    for part in ["pages", "role_sets", "presence", "relays", "checker"] {
        assert!(report["memory_bytes"][part].as_u64().unwrap() > 500, "{part}: {report}");
    }
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn what_is_broken_on_purpose_is_found_and_nothing_else() {
    for broken in ["lost", "duplicated", "reordered", "altered", "leaked"] {
        let report = demo(&["--members", "300", "--sessions", "40", "--seconds", "1", "--tamper", broken], 1);
        for fault in FAULTS {
            assert_eq!(report[fault], u64::from(fault == broken), "{broken}, {fault}: {report}");
        }
        assert_eq!(report["passed"], false);
    }
}

#[test]
fn guilds_of_any_size_can_be_shown() {
    for (members, sessions) in [("1", "0"), ("1", "62"), ("2", "1"), ("10", "100")] {
        let report = demo(&["--members", members, "--sessions", sessions, "--seconds", "1", "--seed", "9"], 0);
        assert_eq!(report["passed"], true, "{members} {sessions}: {report}");
        assert!(report["deliveries"].as_u64().unwrap() > 1_000, "{members} {sessions}: {report}");
    }
}

#[test]
fn without_json_people_get_tables() {
    let output = run(&["--members", "50", "--sessions", "20", "--seconds", "1"]);
    let table = String::from_utf8(output.stdout).unwrap();
    for told in ["members", "p99", "publish", "peak of the process", "leaked"] {
        assert!(table.contains(told), "{told}: {table}");
    }
    assert!(table.ends_with("Every session heard exactly what it had to, in order.\n"), "{table}");
    // Bars are for terminals.
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    for (args, said) in [
        (&["--members", "0"][..], "0 is not in 1..=10000000"),
        (&["--members", "10000001"], "not in 1..=10000000"),
        (&["--members", "many"], "invalid digit"),
        (&["--seconds", "0"], "0 is not in 1..=3600"),
        (&["--sessions", "-1"], "unexpected argument"),
        (&["--tamper", "everything"], "possible values: lost, duplicated, reordered, altered, leaked"),
        (&["--members", "1", "--sessions", "63"], "63 sessions are too many for a guild of 1: at most 62"),
        (&["--members", "3", "--sessions", "125"], "125 sessions are too many for a guild of 3: at most 124"),
        (&["--sessions", "600000"], "600000 sessions are too many to be checked for 10 seconds: at most 200000"),
        (&["--members", "5", "--sessions", "0", "--seconds", "1", "--tamper", "leaked"], "take more sessions"),
    ] {
        let output = run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{args:?}");
    }
}

#[test]
fn help_tells_what_is_reported() {
    let output = run(&["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for told in FAULTS.iter().chain(&["Examples:", "Exit codes:", "--tamper <WHAT>", "1000000", "peak_memory_bytes"]) {
        assert!(help.contains(told), "{told}: {help}");
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_guildhall")).arg("demo").args(args).output().unwrap()
}

/// Runs a demo and returns its report.
fn demo(args: &[&str], exit_code: i32) -> Value {
    let output = run(&[args, &["--json"]].concat());
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), stderr.as_str()), (Some(exit_code), ""), "{args:?}: {stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}
