//! Every number to reach, measured: one row of a table for each, with what the machine allows and what the peer does, in the same run.
//!
//! `cargo run --release -p guildhall-benches -- run [NAME…] [--json FILE] [--peer] [--quick]` measures the rows whose names have one of
//! these parts, or all. Rows that share a world make up a [`Bench`](rows::Bench), and each bench runs in a process of its own, so that
//! no row's freed memory or threads are another's. Each module of [`rows`] has its paper estimates in its head.
//!
//! A number is the middle one of several runs after a warm-up, with the least and the most of them. Where two ways are compared their runs take
//! turns. Latencies count from the moment at which a call was due, not from when it was made. What the host of a virtual machine took away meanwhile is
//! said above the table.
//!
//! Micro-benchmarks, for work on one function, are beside this in `micro/`, and run by `cargo bench`.

pub mod bare;
pub mod hearing;
pub mod latency;
pub mod limits;
pub mod machine;
pub mod owner;
pub mod peers;
pub mod processes;
pub mod report;
pub mod row;
pub mod rows;
pub mod run;
pub mod shell;
pub mod worlds;
