//! Clients and guild nodes over loopback.

mod calls;
mod sessions;
mod world;
