//! The shortest run that still breaks the same promise: with fewer kinds of trouble, and fewer happenings before everything is healed.
//!
//! A seed's run is one thing: to leave something out of it changes what comes after. So each attempt is a run of its own, and counts only if it
//! breaks the same promise, as the same check tells it.

use std::cmp::Reverse;

use crate::check::Breach;
use crate::faults::Faults;
use crate::run::{Plan, PlanError, Report, run};

/// Shrinks a run that has broken a promise. Returns the report of the shortest found, the run itself if none is shorter.
///
/// # Errors
/// [`PlanError`].
pub fn shrink(broken: Report) -> Result<Report, PlanError> {
    let Some(breach) = broken.breach.clone() else { return Ok(broken) };
    let kinds = Faults::named(&broken.plan.faults).map(|faults| faults.kinds()).unwrap_or_default();
    let mut shortest = broken;
    for kind in kinds {
        let mut plan = shortest.plan.clone();
        plan.without.push(kind);
        shortest = shorter(shortest, &plan, &breach)?;
    }
    // What comes before the breach may not all be needed; what comes after it is not.
    for eighths in [4, 2, 1, 1, 1, 1] {
        loop {
            let steps = shortest.plan.steps.min(shortest.steps);
            let plan = Plan { steps: steps - steps * eighths / 8, ..shortest.plan.clone() };
            let before = (shortest.plan.steps, shortest.steps);
            shortest = shorter(shortest, &plan, &breach)?;
            if (shortest.plan.steps, shortest.steps) == before {
                break;
            }
        }
    }
    Ok(shortest)
}

/// The report of a plan if it breaks the promise in the same way and is no longer; else that of before.
fn shorter(before: Report, plan: &Plan, broken: &Breach) -> Result<Report, PlanError> {
    let report = run(plan)?;
    let breaks =
        report.breach.as_ref().is_some_and(|breach| breach.promise == broken.promise && breach.by == broken.by);
    let rank = |report: &Report| (report.steps, Reverse(report.plan.without.len()));
    let is_shorter = rank(&report) < rank(&before);
    Ok(if breaks && is_shorter { report } else { before })
}
