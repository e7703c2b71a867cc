//! Random histories of a guild, delivered by the relay in both ways and by a naive model.
//!
//! The model asks, for every session and every event, the permission rule itself with the member's roles as of that event. It keeps
//! the full list of what each session should hear; what the session does hear is compared in order, and what it does not hear must
//! lie under a gap that it was told. For passive sessions it asks besides who is called, and makes the summaries itself; when a session
//! changes its level, it says anew all that comes after the position from which the relay says that the level holds.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "model/driver.rs"]
mod driver;
#[path = "model/session.rs"]
mod session;
#[path = "model/world.rs"]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestError, TestRunner};

use driver::{Counts, Driver};

#[test]
fn every_session_hears_exactly_what_the_naive_model_says() {
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
    assert!(total.of("deliveries") > 100 * each, "{total:?}");
    for what in OFTEN {
        assert!(total.of(what) > each / 4, "{what}: {total:?}");
    }
}

const OFTEN: [&str; 26] = [
    "stream gaps",
    "batch gaps",
    "resyncs",
    "epochs",
    "attaches ahead",
    "attaches in the past",
    "attaches too old",
    "attaches already ended",
    "changes of rights in the past",
    "detaches ahead",
    "detaches in the past",
    "removals",
    "deletions",
    "role deletions",
    "cohort changes",
    "revokes while a reader lags",
    "echoes left out",
    "passive mentions of users",
    "passive mentions of roles",
    "passive mentions of everyone",
    "passive mentions of here",
    "passive gaps",
    "summaries",
    "levels ahead",
    "levels in the past",
    "level changes while lagging",
];

/// 225 steps on average each; a few seconds when optimised.
const HISTORIES: u32 = 10_000;
