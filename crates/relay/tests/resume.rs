//! Sessions that are cut and come back, on the relay they were on or on one that was made since, beside a naive model.
//!
//! The model asks, for every session and every event, the permission rule itself with the member's roles as of that event. What a
//! session hears after it came back must be all that it should have heard since the position it knew, in order and once; what is
//! missing must lie under a gap that it was told first, and a gap must have its reason.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "resume/driver.rs"]
mod driver;
#[path = "model/world.rs"]
#[expect(dead_code, reason = "the model of relays needs more of it")]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestError, TestRunner};

use driver::{Counts, Driver};

#[test]
fn a_session_that_comes_back_hears_what_it_would_have_heard() {
    let step = (any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>());
    let history = (any::<u16>(), prop::collection::vec(step, 0..450));
    let total = std::cell::RefCell::new(Counts::default());
    let config = Config {
        cases: HISTORIES,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&history, |(setup, steps)| {
        let mut driver = Driver::new(setup);
        for step in steps {
            driver.step(step);
        }
        total.borrow_mut().add(&driver.finish());
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, (setup, steps))) => panic!("{why}\nafter setup {setup}, steps {steps:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let total = total.into_inner();
    println!("{total:?}");
    // What makes the test worth something really occurred, and often.
    let each = u64::from(HISTORIES);
    assert!(total.of("deliveries") > 20 * each, "{total:?}");
    for what in OFTEN {
        assert!(total.of(what) > each / 4, "{what}: {total:?}");
    }
}

const OFTEN: [&str; 17] = [
    "resumes on the same relay",
    "resumes on another relay",
    "resumes of streams",
    "resumes of batch sessions",
    "resumes of passive sessions",
    "resumes at another level",
    "resumes before what was heard",
    "news while away",
    "replays over a revoke",
    "replays over a role deletion",
    "replays over a change of own roles",
    "gaps: the ring has passed",
    "gaps: another epoch",
    "gaps: roles unknown",
    "ends after a resume",
    "level changes while lagging",
    "refused: ahead",
];

/// 225 steps on average each; a few seconds when optimised.
const HISTORIES: u32 = 10_000;
