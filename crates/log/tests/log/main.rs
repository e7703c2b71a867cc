//! Logs over disks in memory that lose, tear, flip, fill and fail, and over a real one.

mod basic;
mod crashes;
mod damage;
mod repairs;
mod room;
mod world;
