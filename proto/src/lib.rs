//! What crosses a boundary between Guildhall's parts: ids, commands, outcomes, events, errors, limits, frames, and the one codec.
//!
//! Everything here is plain data with its rules of well-formedness; nothing here decides what a guild does. The wire form is
//! described in `proto/SPEC.md` and pinned by golden vectors.
//!
//! ```
//! use guildhall_proto::{codec, Member, MemberFlags, Millis, Nick, UserId};
//!
//! let ada = Member {
//!     user: UserId::new(7)?,
//!     nick: Nick::parse("  Ada ")?,
//!     roles: Vec::new(),
//!     joined_at: Millis(1_700_000_000_000),
//!     flags: MemberFlags::NONE,
//! };
//! let bytes = codec::encode(&ada)?;
//! assert_eq!(codec::decode::<Member>(&bytes)?, ada);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

pub mod call;
pub mod codec;
mod command;
mod counters;
#[cfg(feature = "defects")]
pub mod defects;
mod ephemeral;
mod error;
mod event;
pub mod frame;
mod hello;
mod ids;
mod jitter;
pub mod limits;
mod model;
mod operation;
mod payload;
mod permissions;
mod position;
mod question;
mod record;
mod secret_key;
mod session;
mod structure;
mod text;

pub use command::{Actor, ChannelEdit, Command, GuildEdit, MemberEdit, NewMember, PruneBy, Publish, RoleEdit};
#[cfg(feature = "defects")]
pub use defects::Defect;
pub use ephemeral::{Ephemeral, EphemeralKind, Subject};
pub use error::{CallError, CommandError, Limited, LineFault, ListedThing, Outcome};
pub use event::{Event, EventKind, Message};
pub use hello::{Hello, HelloAnswer, Instance, Version, Versions};
pub use ids::{ChannelId, ClientId, Generation, GuildId, IdError, NodeId, RoleId, SessionId, Sponsor, UserId};
pub use jitter::{Caps, Jitter, mix};
pub use model::{
    Channel, ChannelKind, GuildSettings, Level, Member, MemberFlags, Mentions, Overwrite, OverwriteTarget, Role,
    Status, Unread,
};
pub use operation::{BodyHash, OpId};
pub use payload::{Payload, PayloadTooLong};
pub use permissions::{Permissions, UnknownPermissionBits};
pub use position::{AsOf, Epoch, Grant, Millis, Position, Seq};
pub use question::Question;
pub use record::{AppliedOp, Record, Stage};
pub use secret_key::SecretKey;
pub use session::{Attached, Reply, SessionRequest};
pub use structure::{Ban, KeptClient, Standing, Structure};
pub use text::{Name, Nick, Reason, TextError};
