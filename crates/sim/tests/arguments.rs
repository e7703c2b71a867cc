//! What the binary is asked for, it does, or it says that it cannot.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::process::{Command, Output};

use guildhall_sim::faults::Faults;
use guildhall_sim::workload;

#[test]
fn seeds_that_there_are_not_are_refused() {
    for arguments in ["--seeds 0", "--seed 18446744073709551615 --seeds 3", "--without thunder"] {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
    }
}

#[test]
fn the_long_run_has_all_workloads_and_plans_of_faults() {
    let soak = include_str!("../../../ops/soak");
    let list = |name: &str| -> Vec<&str> {
        let line =
            soak.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("=(")?.strip_suffix(')')).unwrap();
        line.split_whitespace().collect()
    };
    let kinds: Vec<&str> = workload::names().filter(|name| *name != "mixed").collect();
    assert_eq!(list("KINDS"), kinds);
    let mut plans = list("FAULTS");
    plans.push("none");
    plans.sort_unstable();
    let mut all = Faults::NAMES.to_vec();
    all.sort_unstable();
    assert_eq!(plans, all);
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
