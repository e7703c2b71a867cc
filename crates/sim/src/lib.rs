//! Guildhall in one thread, from one seed: virtual time, a simulated disk and network, and checks that watch it.

#![warn(missing_docs)]

pub mod check;
pub mod dice;
pub mod faults;
pub mod model;
pub mod queue;
pub mod run;
pub mod seen;
pub mod workload;
mod world;
