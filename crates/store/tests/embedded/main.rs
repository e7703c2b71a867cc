//! The embedded store over a disk in memory that forgets, tears, flips, fills and fails.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod backups;
mod damage;
mod grants;
mod histories;
mod lost;
mod ordinary;
mod repairs;
mod room;
mod world;
