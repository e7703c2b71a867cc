//! Clients and guild nodes over loopback.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod blips;
mod calls;
mod placement;
mod sessions;
mod wire;
mod world;
