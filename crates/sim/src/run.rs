//! One run, from its arguments to its report.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
