//! The `guildhall-sim` binary: many seeds, side by side, each in a thread of its own that knows nothing of the others.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use guildhall_sim::faults::{Faults, Trouble};
use guildhall_sim::run::{Plan, Report, run};
use guildhall_sim::seen::Seen;
use guildhall_sim::shrink::shrink;
use guildhall_sim::workload;

/// Runs Guildhall in one thread from one seed, and watches its promises.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Happenings of a run before everything is healed.
    #[arg(long, default_value_t = 6_000)]
    steps: u64,
    /// Which workload.
    #[arg(long, default_value = "mixed", value_parser = PossibleValuesParser::new(workload::names()))]
    workload: String,
    /// Which plan of faults.
    #[arg(long, default_value = "mixed", value_parser = PossibleValuesParser::new(Faults::NAMES))]
    faults: String,
    /// Kinds of trouble that are left out of it.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(kinds()))]
    without: Vec<String>,
    /// Threads, each with a seed at a time; by default as many as there are cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Tells which rare states were reached.
    #[arg(long)]
    sometimes: bool,
    /// Switches each seeded defect on, and tells who finds it, and after how many seeds.
    #[cfg(feature = "defects")]
    #[arg(long)]
    defects: bool,
    /// The same for one of them.
    #[cfg(feature = "defects")]
    #[arg(long, value_parser = PossibleValuesParser::new(defects()))]
    defect: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::checked();
    // A panic within a run is a violation, and told as one: here is where.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            println!("a panic at {place}");
        }
    }));
    #[cfg(feature = "defects")]
    if arguments.defects || arguments.defect.is_some() {
        return hunts::hunt_all(&arguments);
    }
    let threads = arguments.threads.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let next = AtomicU64::new(0);
    let reports: Mutex<Vec<Report>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        // No more than there is work for.
        for _ in 0..threads.min(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)).max(1) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= arguments.seeds {
                        break;
                    }
                    let plan = arguments.plan(arguments.seed + nth);
                    let report = run(&plan).expect("the arguments name what there is");
                    if let Some(breach) = &report.breach {
                        println!("seed {}, step {}: {breach}", report.plan.seed, report.steps);
                        tell_shortest(report.clone());
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

/// Tells the shortest run found that breaks the same promise, and what led to it.
fn tell_shortest(broken: Report) {
    let shortest = shrink(broken).expect("the arguments name what there is");
    let breach = shortest.breach.as_ref().map(ToString::to_string).unwrap_or_default();
    let history = shortest.history.join("\n");
    println!("{history}\nshrunk to {} steps by {}: {breach}", shortest.steps, shortest.plan);
}

#[cfg(feature = "defects")]
fn defects() -> impl Iterator<Item = &'static str> {
    guildhall_proto::Defect::ALL.iter().map(|defect| defect.name())
}

fn kinds() -> impl Iterator<Item = &'static str> {
    Trouble::ALL.iter().map(|trouble| trouble.name())
}

impl Arguments {
    /// Those of the command line; the process ends if there are no such seeds.
    fn checked() -> Self {
        let arguments = Self::parse();
        if arguments.seed.checked_add(arguments.seeds).is_none() {
            let words = format!("there are no {} seeds from {} on", arguments.seeds, arguments.seed);
            Self::command().error(ErrorKind::ValueValidation, words).exit();
        }
        arguments
    }

    fn plan(&self, seed: u64) -> Plan {
        let (workload, faults) = (self.workload.clone(), self.faults.clone());
        let without = self.without.iter().filter_map(|name| Trouble::named(name)).collect();
        Plan { seed, steps: self.steps, workload, faults, without }
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

/// Hunting seeded defects.
#[cfg(feature = "defects")]
mod hunts {
    use std::process::ExitCode;
    use std::sync::Mutex;
    use std::thread;

    use guildhall_proto::Defect;
    use guildhall_sim::defects::hunt;

    use super::Arguments;

    /// Hunts each defect, side by side, and tells who was caught.
    pub(super) fn hunt_all(arguments: &Arguments) -> ExitCode {
        let asked = |defect: &&Defect| arguments.defect.as_deref().is_none_or(|name| name == defect.name());
        let all: Vec<Defect> = Defect::ALL.iter().filter(asked).copied().collect();
        let (left, caught) = (Mutex::new(all.clone()), Mutex::new(0));
        let threads = arguments.threads.or_else(|| thread::available_parallelism().ok().map(usize::from));
        thread::scope(|scope| {
            for _ in 0..threads.unwrap_or(1).max(1) {
                scope.spawn(|| {
                    loop {
                        let next = left.lock().expect("a thread that fails ends the process").pop();
                        let Some(defect) = next else { break };
                        let found = hunt(defect, &arguments.plan(arguments.seed), arguments.seeds.max(SEEDS));
                        match found.expect("the arguments name what there is") {
                            Some(found) => {
                                *caught.lock().expect("a thread that fails ends the process") += 1;
                                let (by, seeds, seed) = (found.breach.promise, found.seeds, found.plan.seed);
                                let what: String = found.breach.what.chars().take(WORDS).collect();
                                println!("{:<22} {by:?} after {seeds} seeds, seed {seed}: {what}", defect.name());
                            }
                            None => println!("{:<22} NOT CAUGHT", defect.name()),
                        }
                    }
                });
            }
        });
        let caught = caught.into_inner().expect("all threads have ended");
        println!("{caught} of {} caught", all.len());
        if caught == all.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Seeds after which a defect counts as not caught.
    const SEEDS: u64 = 500;
    /// Of what the checks say, so much is shown.
    const WORDS: usize = 160;
}

/// A violation of promise `n` ends with this and `n`; 2 is what wrong arguments end with.
const FIRST_CODE: u8 = 10;
