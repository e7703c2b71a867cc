//! What a guild does, told through [`Guild::handle`](guildhall_guild::Guild::handle) alone: what it refuses, what it accepts.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod accepted;
mod refused;
mod world;
