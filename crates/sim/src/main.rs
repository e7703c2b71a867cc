//! The `guildhall-sim` binary: many seeds, side by side, each in a thread of its own that knows nothing of the others.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use guildhall_sim::faults::Faults;
use guildhall_sim::run::{Plan, Report, run};
use guildhall_sim::seen::Seen;
use guildhall_sim::workload;

/// Runs Guildhall in one thread from one seed, and watches its promises.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Happenings of a run before everything is healed.
    #[arg(long, default_value_t = 6_000)]
    steps: u64,
    /// Which workload.
    #[arg(long, default_value = "mixed", value_parser = clap::builder::PossibleValuesParser::new(workload::names()))]
    workload: String,
    /// Which plan of faults.
    #[arg(long, default_value = "mixed", value_parser = clap::builder::PossibleValuesParser::new(Faults::NAMES))]
    faults: String,
    /// Threads, each with a seed at a time; by default as many as there are cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Tells which rare states were reached.
    #[arg(long)]
    sometimes: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic within a run is a violation, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let threads = arguments.threads.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let next = AtomicU64::new(arguments.seed);
    let reports: Mutex<Vec<Report>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.seed.saturating_add(arguments.seeds) {
                        break;
                    }
                    let plan = arguments.plan(seed);
                    let report = run(&plan).expect("the arguments name what there is");
                    if let Some(breach) = &report.breach {
                        println!("seed {seed}, step {}: {breach}", report.steps);
                    }
                    reports.lock().expect("a thread that fails ends the process").push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("all threads have ended");
    reports.sort_by_key(|report| report.plan.seed);
    arguments.tell(&reports)
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        Plan { seed, steps: self.steps, workload: self.workload.clone(), faults: self.faults.clone() }
    }

    fn tell(&self, reports: &[Report]) -> ExitCode {
        let mut seen = Seen::default();
        let (mut digest, mut steps, mut micros) = (guildhall_sim::run::Digest::default(), 0, 0);
        for report in reports {
            seen.add(&report.seen);
            digest.note(report.digest.0);
            steps += report.steps;
            micros += report.time.0;
        }
        if self.sometimes {
            for (what, times) in seen.all() {
                println!("{times:>10}  {what}");
            }
        }
        println!("{steps} steps, {} s of virtual time", micros / 1_000_000);
        let violations = reports.iter().filter_map(|report| report.breach.as_ref());
        let first = violations.clone().next();
        println!("{} seeds, {} violations, digest {:016x}", reports.len(), violations.count(), digest.0);
        match first {
            None => ExitCode::SUCCESS,
            Some(breach) => ExitCode::from(FIRST_CODE + breach.promise.number()),
        }
    }
}

/// A violation of promise `n` ends with this and `n`; 2 is what wrong arguments end with.
const FIRST_CODE: u8 = 10;
