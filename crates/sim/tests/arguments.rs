//! What the binary is asked for, it does, or it says that it cannot.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::process::{Command, Output};

#[test]
fn seeds_that_there_are_not_are_refused() {
    for arguments in ["--seeds 0", "--seed 18446744073709551615 --seeds 3", "--without thunder"] {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
    }
}

#[test]
fn what_a_shrunk_run_left_out_can_be_left_out() {
    let run = |without| {
        let output = simulate(&format!("--seed 5 --steps 500 --workload everyday --faults mixed {without}"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let all = run("");
    let fewer = run("--without power-cut,kill,disk-error,slow-disk,full-disk,pause,cut-link,partition");
    assert!(all.lines().last().unwrap().starts_with("1 seeds, 0 violations, digest "), "{all}");
    assert_ne!(all, fewer);
}

fn simulate(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guildhall-sim"));
    command.args(arguments.split_whitespace()).output().unwrap()
}
