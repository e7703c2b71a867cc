//! One run, from its arguments to its report.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use crate::check::{Breach, Promise};
use crate::dice::Dice;
use crate::faults::{Faults, Trouble};
use crate::queue::Micros;
use crate::seen::Seen;
use crate::workload::{self, Workload};
use crate::world::World;

pub use crate::world::Digest;

/// What a run is made from: the same plan gives the same run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many happenings there are before everything is healed.
    pub steps: u64,
    /// The name of the workload.
    pub workload: String,
    /// The name of the plan of faults.
    pub faults: String,
    /// Kinds of trouble that are left out of it.
    pub without: Vec<Trouble>,
}

/// As the arguments of the binary.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, steps, workload, faults, without } = self;
        write!(f, "--seed {seed} --steps {steps} --workload {workload} --faults {faults}")?;
        if !without.is_empty() {
            let kinds: Vec<&str> = without.iter().map(|trouble| trouble.name()).collect();
            write!(f, " --without {}", kinds.join(","))?;
        }
        Ok(())
    }
}

/// The same, read back.
impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self { seed: 0, steps: 0, workload: String::new(), faults: String::new(), without: Vec::new() };
        let mut words = text.split_whitespace();
        while let (Some(name), value) = (words.next(), words.next()) {
            let wrong = || PlanError::Argument(name.to_owned());
            let value = value.ok_or_else(wrong)?;
            match name {
                "--seed" => plan.seed = value.parse().map_err(|_| wrong())?,
                "--steps" => plan.steps = value.parse().map_err(|_| wrong())?,
                "--workload" => value.clone_into(&mut plan.workload),
                "--faults" => value.clone_into(&mut plan.faults),
                "--without" => {
                    let kinds = value.split(',').map(Trouble::named);
                    plan.without = kinds.collect::<Option<_>>().ok_or_else(wrong)?;
                }
                _ => return Err(wrong()),
            }
        }
        Ok(plan)
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// From which plan.
    pub plan: Plan,
    /// How many happenings there were.
    pub steps: u64,
    /// How much virtual time went by.
    pub time: Micros,
    /// A number for all that happened.
    pub digest: Digest,
    /// Which rare states were reached.
    pub seen: Seen,
    /// The promise that was broken, if one was.
    pub breach: Option<Breach>,
    /// What was asked and what went wrong, the latest last.
    pub history: Vec<String>,
}

/// A name that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such workload.
    #[error("there is no workload {0:?}")]
    Workload(String),
    /// No such plan of faults.
    #[error("there is no plan of faults {0:?}")]
    Faults(String),
    /// No such argument, or a value that it does not take.
    #[error("{0} is no argument, or its value is none")]
    Argument(String),
}

/// Runs a plan to its end, or to the first breach.
///
/// # Errors
/// [`PlanError`].
pub fn run(plan: &Plan) -> Result<Report, PlanError> {
    let workload = workload::named(&plan.workload, &mut Dice::new(plan.seed).fork("shape"));
    let workload = workload.ok_or_else(|| PlanError::Workload(plan.workload.clone()))?;
    run_workload(plan, workload)
}

/// The same of a workload that has no name.
///
/// # Errors
/// [`PlanError::Faults`].
pub fn run_workload(plan: &Plan, workload: Box<dyn Workload>) -> Result<Report, PlanError> {
    let faults = Faults::named(&plan.faults).ok_or_else(|| PlanError::Faults(plan.faults.clone()))?;
    let faults = faults.without(&plan.without);
    // Kept outside, so that of a run that panics it is known how far it came.
    let world: RefCell<Option<World>> = RefCell::new(None);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let made = World::new(plan.seed, workload, faults)?;
        world.borrow_mut().insert(made).run(plan.steps)
    }));
    let breach = match ran {
        Ok(ran) => ran.err(),
        Err(panic) => Some(Promise::Panic.breach(words_of(&*panic))),
    };
    let world = world.into_inner();
    Ok(Report {
        plan: plan.clone(),
        steps: world.as_ref().map_or(0, World::steps),
        time: world.as_ref().map_or(Micros(0), World::time),
        digest: world.as_ref().map_or_else(Digest::default, World::digest),
        seen: world.as_ref().map(World::seen).unwrap_or_default(),
        history: world.as_ref().map(World::history).unwrap_or_default(),
        breach,
    })
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_told_as_the_arguments_that_make_it() {
        let without = vec![Trouble::Kill, Trouble::SlowDisk];
        let plan = Plan { seed: 7, steps: 800, workload: "roles".into(), faults: "disk".into(), without };
        let arguments = plan.to_string();
        assert_eq!(arguments, "--seed 7 --steps 800 --workload roles --faults disk --without kill,slow-disk");
        assert_eq!(arguments.parse(), Ok(plan));
        let everything = Plan { without: Trouble::ALL.to_vec(), ..arguments.parse().unwrap() };
        assert_eq!(everything.to_string().parse(), Ok(everything));
        assert_eq!("--without thunder".parse::<Plan>(), Err(PlanError::Argument("--without".to_owned())));
        assert_eq!("--seed".parse::<Plan>(), Err(PlanError::Argument("--seed".to_owned())));
    }
}
