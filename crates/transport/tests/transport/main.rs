//! Endpoints over loopback: who gets a link, what crosses it, and what those cannot do who mean ill.
//!
//! Every port is the system's choice, every wait is for a condition, and where a deadline is what is tested, it is set short.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod gathering;
mod handshakes;
mod hostile;
mod identities;
mod lanes;
mod links;
mod pki;
mod raw;
mod table;
mod world;
