//! Clients and guild nodes over loopback.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod calls;
mod placement;
mod sessions;
mod world;
