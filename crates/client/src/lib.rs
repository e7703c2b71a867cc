//! What a chat backend links: calls to guilds at other nodes, and sessions beside a relay of its own.
//!
//! A [`Client`] keeps one link to each guild node. [`Client::guild`] calls a guild wherever it is: a call is sent again, elsewhere or after a pause, as
//! often as that does no harm and helps, until its deadline. [`Client::backend`] has sessions: for each guild that some attach to, one
//! feed comes over one link, and a relay here hands each session what it may hear.

mod call;
mod client;
mod config;
mod counters;
mod error;
mod feeds;
mod guild;
mod links;
mod node;
mod operations;
mod remote;

pub use client::Client;
pub use config::{ClientConfig, RelayConfig};
pub use counters::{Counter, Counters};
pub use error::{ClientError, ConnectError};
pub use guild::{Guild, MemberStream, Pieces, Recipients};
pub use guildhall_proto::call::{Freshness, PageLimit, Piece, Prefix, Users};
pub use guildhall_sessions::{Attach, AttachError, Delivery, Resume, ResumeError, Resumed};
pub use node::{GuildPage, Pong};
pub use remote::Remote;

/// Sessions of a backend node.
pub type Backend = guildhall_sessions::Backend<Remote>;
/// A session of a backend node, which reads for itself.
pub type SessionStream = guildhall_sessions::SessionStream<Remote>;
/// A session of a backend node, which [`Batches`] serves.
pub type BatchSession = guildhall_sessions::BatchSession<Remote>;
/// What all batch sessions of one guild at a backend node hear.
pub type Batches = guildhall_sessions::Batches<Remote>;
