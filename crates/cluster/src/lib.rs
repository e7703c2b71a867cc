//! Who is alive, who owns which guild, and how a call finds its way there.
//!
//! - [`Placement`]: guilds lie in [`Shard`]s, shards with nodes, and some guilds are pinned. Pure arithmetic over rows: [`join`](Placement::join),
//!   [`leave`](Placement::leave), [`pin`](Placement::pin), [`unpin`](Placement::unpin).
//! - [`Coordinator`]: who keeps the one placement in force. The one for several nodes of one process is in the crate `store`, where it
//!   knows which grants its directory has seen.
//!
//! # Placing guilds
//!
//! ```
//! use guildhall_cluster::{Peer, Placement};
//! use guildhall_proto::{Grant, GuildId, Instance, NodeId};
//!
//! let (guild, one, two) = (GuildId::new(7)?, NodeId::new(1)?, NodeId::new(2)?);
//! let peer = |instance| Peer { instance: Instance(instance), addresses: vec![([127, 0, 0, 1], 7000).into()] };
//!
//! let mut placement = Placement::new(Grant(0));
//! placement.join(one, peer(10));
//! let first = placement.find(guild).expect("a node is alive");
//! assert_eq!(first.node, one);
//!
//! // A guild is placed by itself, and with its shard again. Whoever claims it shows the store a grant that never falls.
//! placement.join(two, peer(20));
//! let before = placement.clone();
//! let pinned = placement.pin(guild, two)?;
//! assert!(pinned.grant > first.grant);
//! assert_eq!(placement.grant(guild, two, Instance(20)), Some(pinned.grant));
//! assert_eq!(placement.grant(guild, one, Instance(10)), None);
//! assert_eq!(placement.changes_since(&before).len(), 1);
//! assert!(placement.unpin(guild).is_some_and(|place| place.grant > pinned.grant));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not for
//!
//! It opens no link and asks nobody; it knows no clock, and draws nothing that it was not given a seed for. Whether an owner's epoch is still
//! good is the store's word, not a placement's: a placement only says who may try.

#![warn(missing_docs)]

mod balance;
mod coordinator;
mod placement;
mod shard;

pub use coordinator::{Bell, Coordinator};
pub use placement::{Change, Joined, Left, Peer, Place, Placement, Revision, UnknownNode};
pub use shard::{SHARDS, Shard};
