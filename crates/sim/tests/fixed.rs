//! The runs that every change must survive: three hundred seeds under mixed faults, and all that ever failed.
//!
//! Half of the seeds have a mixed workload, the others one kind after the other. Together they reach every rare state on the list, or the
//! test fails: a check of what never happens says nothing.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use guildhall_sim::faults::Faults;
use guildhall_sim::run::{Plan, Report, run};
use guildhall_sim::seen::Seen;
use guildhall_sim::workload;

#[test]
fn three_hundred_seeds_under_mixed_faults_break_no_promise_and_reach_every_rare_state() {
    let plans: Vec<Plan> = (0..SEEDS).map(plan).collect();
    let reports = run_all(&plans);
    let broken: Vec<String> = reports.iter().filter_map(words_of).collect();
    assert!(broken.is_empty(), "{} of {SEEDS}:\n{}", broken.len(), broken.join("\n"));

    let mut seen = Seen::default();
    reports.iter().for_each(|report| seen.add(&report.seen));
    let steps: u64 = reports.iter().map(|report| report.steps).sum();
    let seconds = reports.iter().map(|report| report.time.0).sum::<u64>() / 1_000_000;
    println!("{steps} steps, {seconds} s of virtual time, {:#?}", seen.all());
    let never: Vec<&str> = seen.all().into_iter().filter(|(_, times)| *times == 0).map(|(what, _)| what).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[test]
fn a_seed_run_twice_gives_the_same_digest() {
    // One in a hundred, and one of each kind of workload.
    let plans: Vec<Plan> = (0..SEEDS).step_by(100).chain(kinds()).map(plan).collect();
    let digests = |reports: Vec<Report>| -> Vec<_> { reports.into_iter().map(|report| report.digest).collect() };
    assert_eq!(digests(run_all(&plans)), digests(run_all(&plans)));
}

#[test]
fn each_plan_of_faults_can_be_survived() {
    let of = |nth: u64, faults: &str| Plan { faults: faults.to_owned(), ..plan(nth) };
    let plans: Vec<Plan> = Faults::NAMES.iter().flat_map(|faults| kinds().map(move |nth| of(nth, faults))).collect();
    let broken: Vec<String> = run_all(&plans).iter().filter_map(words_of).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_once_failed_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let kept: BTreeMap<_, Plan> =
        files.map(|path| (path.clone(), kept_plan(&fs::read_to_string(path).unwrap()))).collect();
    assert!(!kept.is_empty());
    let plans: Vec<Plan> = kept.into_values().collect();
    let broken: Vec<String> = run_all(&plans).iter().filter_map(words_of).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Seeds that have each kind of workload once.
fn kinds() -> impl Iterator<Item = u64> {
    let count = workload::names().count() as u64;
    (0..count).map(|nth| 2 * nth + 1)
}

/// The plan of a seed.
fn plan(seed: u64) -> Plan {
    let names: Vec<&str> = workload::names().collect();
    let nth = usize::try_from(seed / 2).unwrap() % names.len();
    let workload = if seed.is_multiple_of(2) { "mixed" } else { names[nth] };
    Plan { seed, steps: STEPS, workload: workload.to_owned(), faults: "mixed".to_owned(), without: Vec::new() }
}

/// The arguments of a kept seed, as on a command line; other lines say what it found.
fn kept_plan(text: &str) -> Plan {
    let line = text.lines().find(|line| line.starts_with("--")).expect("a line with arguments");
    line.parse().unwrap()
}

fn words_of(report: &Report) -> Option<String> {
    let breach = report.breach.as_ref()?;
    Some(format!("{}: {breach}", report.plan))
}

/// Runs plans side by side; the reports are in the order of the plans.
fn run_all(plans: &[Plan]) -> Vec<Report> {
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((nth, plan)) = {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    plans.get(nth).map(|plan| (nth, plan))
                } {
                    let report = run(plan).unwrap();
                    reports.lock().unwrap().insert(nth, report);
                }
            });
        }
    });
    reports.into_inner().unwrap().into_values().collect()
}

const SEEDS: u64 = 300;
/// Happenings of a run before it is healed.
const STEPS: u64 = 12_000;
