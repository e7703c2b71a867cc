//! The seeded defects, one after the other, and who finds them: the proof that the checks bite.

use guildhall_proto::Defect;
use guildhall_proto::defects::switch_on;

use crate::check::{Breach, Promise};
use crate::run::{Plan, PlanError, run};

/// A defect that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// How many seeds it took.
    pub seeds: u64,
    /// The plan of the last of them.
    pub plan: Plan,
    /// What the checks said.
    pub breach: Breach,
}

/// Runs seeds from the plan's on under a defect, at most so many, until one finds it: breaks a promise that the defect is known to
/// break, and breaks none without the defect.
///
/// # Errors
/// [`PlanError`].
pub fn hunt(defect: Defect, plan: &Plan, seeds: u64) -> Result<Option<Caught>, PlanError> {
    for nth in 0..seeds {
        let Some(seed) = plan.seed.checked_add(nth) else { break };
        let plan = Plan { seed, ..plan.clone() };
        let on = switch_on(defect);
        let breach = run(&plan)?.breach;
        drop(on);
        if let Some(breach) = breach.filter(|breach| is_meant(defect, breach.promise))
            && run(&plan)?.breach.is_none()
        {
            return Ok(Some(Caught { seeds: nth + 1, plan, breach }));
        }
    }
    Ok(None)
}

fn is_meant(defect: Defect, promise: Promise) -> bool {
    defect.promises().contains(&promise.number())
}
