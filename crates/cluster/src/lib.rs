//! Who is alive, who owns which guild, and how a call finds its way there.
//!
//! - [`Placement`]: guilds lie in [`Shard`]s, shards with nodes, and some guilds are pinned. Pure arithmetic over rows: [`join`](Placement::join),
//!   [`leave`](Placement::leave), [`pin`](Placement::pin), [`unpin`](Placement::unpin).
//! - [`Coordinator`]: who keeps the one placement in force. The one for several nodes of one process is in the crate `store`, where it
//!   knows which grants its directory has seen.
//! - [`Routes`], [`RetryBudget`] and [`Retry`]: a client's side. What it knows of where guilds are, how much it may repeat, and one
//!   machine for each call.
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
//! # Driving a call
//!
//! Each [`Step`] is performed, and what came of it is told; at [`Retry::due`] it is told that. Here nobody performs anything.
//!
//! ```
//! use std::time::Duration;
//!
//! use guildhall_cluster::{
//!     BudgetConfig, Call, Input, Micros, Place, Repeat, Retry, RetryBudget, RetryConfig, Routes, RoutesConfig, Step,
//! };
//! use guildhall_proto::{Grant, GuildId, NodeId};
//!
//! // Of all calls of a client.
//! let mut routes = Routes::new(RoutesConfig::default());
//! let mut budget = RetryBudget::new(BudgetConfig::default(), Micros(0));
//!
//! let (guild, one, two) = (GuildId::new(7)?, NodeId::new(1)?, NodeId::new(2)?);
//! let call = Call { guild, repeat: Repeat::ById, deadline: Micros(5_000_000) };
//! let (mut retry, step) = Retry::begin(Micros(0), call, &RetryConfig::default(), 42, &mut routes, &mut budget);
//! assert_eq!(step, Step::Ask);
//!
//! let mut told = |now, input| (retry.handle(Micros(now), input, &mut routes, &mut budget), retry.due());
//! assert_eq!(told(100, Input::Routed(Place { node: one, grant: Grant(3) })).0, Step::Send(one));
//! // The guild has moved meanwhile.
//! assert_eq!(told(200, Input::Moved(Place { node: two, grant: Grant(4) })).0, Step::Send(two));
//! let (step, due) = told(300, Input::Overloaded { retry_after: Duration::from_millis(50) });
//! assert!(step == Step::Wait && due >= Some(Micros(50_300)));
//! assert_eq!(told(100_000, Input::Due).0, Step::Send(two));
//! // Sent again under the same operation id, it is carried out once at most.
//! assert_eq!(told(100_100, Input::Lost).0, Step::Wait);
//! assert_eq!(told(200_000, Input::Due).0, Step::Send(two));
//! assert_eq!(told(200_100, Input::Answered).0, Step::Done);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not for
//!
//! It opens no link and asks nobody; it knows no clock, and draws nothing that it was not given a seed for. Whether an owner's epoch is still
//! good is the store's word, not a placement's: a placement only says who may try.

#![warn(missing_docs)]

mod balance;
mod budget;
mod coordinator;
mod placement;
mod retry;
mod routes;
mod shard;
mod time;

pub use budget::{BudgetConfig, BudgetSpent, RetryBudget};
pub use coordinator::{Bell, Coordinator};
pub use placement::{Change, Joined, Leave, Left, Peer, Place, Placement, Revision, UnknownNode};
pub use retry::{Call, GaveUp, Input, Repeat, Retry, RetryConfig, Step};
pub use routes::{Learned, Routes, RoutesConfig};
pub use shard::{SHARDS, Shard};
pub use time::Micros;
