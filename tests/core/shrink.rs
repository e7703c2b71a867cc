//! A failing history made short: whatever can be left out is.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::history::History;
use crate::seen::Seen;
use crate::setting_of;
use crate::steps::Step;

/// Runs the history of a seed; if it fails, shortens it, prints what is left, and fails with that.
pub(crate) fn run_or_shrink(seed: u64, words: &[u64]) -> Seen {
    let setting = setting_of(seed);
    if let Ok(seen) = attempt(setting, words) {
        return seen;
    }
    let mut shortest = words.to_vec();
    let mut chunk = shortest.len() / 2;
    let mut attempts = 0;
    while chunk > 0 {
        let (mut at, mut is_shorter) = (0, false);
        while at < shortest.len() && attempts < ATTEMPTS_MAX {
            let mut without = shortest.clone();
            without.drain(at..(at + chunk).min(shortest.len()));
            attempts += 1;
            if attempt(setting, &without).is_err() {
                shortest = without;
                is_shorter = true;
            } else {
                at += chunk;
            }
        }
        if !is_shorter || chunk > 1 {
            chunk /= 2;
        }
    }
    let steps: Vec<Step> = shortest.iter().copied().map(Step::of).collect();
    println!("seed {seed} fails in {} steps: ({setting}, &{shortest:?})", shortest.len());
    steps.iter().for_each(|step| println!("    {step:?}"));
    History::new(setting).run(&shortest)
}

fn attempt(setting: u64, words: &[u64]) -> Result<Seen, ()> {
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_TRYING.get() {
                loud(panic);
            }
        }));
    });
    IS_TRYING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| History::new(setting).run(words)));
    IS_TRYING.set(false);
    outcome.map_err(|_| ())
}

/// Panics of a thread that is trying are not printed: there may be thousands, and the last one comes again at the end.
static HOOK: Once = Once::new();
thread_local! {
    static IS_TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Enough for any history of some hundred steps, in seconds.
const ATTEMPTS_MAX: usize = 3_000;
