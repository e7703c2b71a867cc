//! A node that serves links, and plain dialers that speak to it frame by frame, over loopback.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else is answered fails the test")]

mod audit;
mod backup;
mod calls;
mod faults;
mod feeds;
mod hostile;
#[path = "../../../transport/tests/transport/raw.rs"]
#[expect(dead_code, reason = "the tests of endpoints use more of it")]
mod raw;
mod reads;
mod roles;
mod sponsors;
mod stalls;
#[path = "../../../transport/tests/transport/table.rs"]
mod table;
mod world;
