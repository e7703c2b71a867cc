//! Relays on a runtime, and the sessions beside them.
//!
//! A [`Backend`] is one backend node's part: sessions attach to guilds there, each guild that has some has a relay, and each relay a task that
//! feeds it. Where the guilds are is the matter of whoever implements [`Guilds`]: a guild node has their owners in the same process, a backend
//! node of a cluster has links. In both a relay reads a [`Feed`] by cursor, and begins again from what [`Guilds::open`] tells if it has
//! fallen out of that.
//!
//! Nothing here decides who hears what: that is `guildhall_relay`'s, which knows no runtime.

#![warn(missing_docs)]

mod arrivals;
mod backend;
mod batch;
mod cuts;
mod errands;
mod feed;
mod guilds;
mod local;
mod resume;
mod rings;
#[cfg(test)]
mod scripted;
mod seat;
mod seats;
mod stream;
mod turns;

pub use arrivals::Arrivals;
pub use backend::{Attach, AttachError, Backend, Delivery};
pub use batch::{BatchSession, Batches};
pub use feed::Feed;
pub use guilds::{Counted, Guilds, Members, Opening, Returning};
pub use resume::{Resume, ResumeError, Resumed};
pub use rings::{Holder, Rings};
pub use stream::SessionStream;
