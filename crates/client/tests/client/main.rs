//! Clients and guild nodes over loopback.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../examples/backend.rs"]
#[expect(dead_code, reason = "the example's own beginning is for who runs it")]
mod backend;
mod blips;
mod calls;
mod example;
mod hostile;
mod import;
mod placement;
#[path = "../../../transport/tests/transport/raw.rs"]
#[expect(dead_code, reason = "the tests of endpoints use more of it")]
mod raw;
mod sessions;
mod wire;
mod world;
