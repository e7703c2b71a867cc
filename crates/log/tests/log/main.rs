//! Logs over disks in memory that lose, tear, flip, fill and fail, and over a real one.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod basic;
mod crashes;
mod damage;
mod repairs;
mod room;
mod world;
