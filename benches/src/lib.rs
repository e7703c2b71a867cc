//! Worlds to measure on, shared by the benchmarks.

pub mod worlds;
