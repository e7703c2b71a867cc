//! Changes of the whole guild: bans, prunes, imports; what they refuse, what they come to, and that a crash at any batch is made
//! good by a retry.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod bans;
mod import;
mod memberships;
mod prune;
mod saving;
mod world;
