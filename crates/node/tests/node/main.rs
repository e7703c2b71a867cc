//! The node as its callers meet it: what it promises while stores fail, jobs and owners panic, callers go away and queues are full.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod batches;
mod checkpoints;
mod durable;
mod failing_disk;
mod full_disk;
mod gate;
mod isolation;
mod last_view;
mod levels;
mod limits;
mod loading;
mod membership;
mod reads;
mod recipients;
mod resume;
mod retiring;
mod rings;
mod room;
mod sessions;
mod sleep;
mod spread;
mod stopping;
mod store;
mod stress;
mod told;
mod turns;
mod world;
