//! The roles, channels and overwrites of a guild, and the one rule of who may do what.
//!
//! [`Rights`] is a guild's permission state: persistent, so that a clone is O(1) and every view, audience and replay can keep the
//! version it is true at. It changes only by [`Rights::apply`], from the guild's own events, at the owner and at every relay alike;
//! [`Rights::take_back`] leads from there into the past.
//! Three questions are asked of it:
//!
//! - *what may this member do here?* [`Rights::base`] and [`Rights::in_channel`];
//! - *what may all these role sets do in this channel?* [`Rights::rule`], which a scan or an audience asks once per role set;
//! - *may this actor do that to them?* [`Authority`], the role hierarchy.
//!
//! The rule is the publicly documented one of Discord ("Permissions": *Permission Overwrites*, *Permission Hierarchy*): a guild's
//! owner and administrators have all; the base is the everyone role with all own roles; then the channel's overwrites, first for
//! everyone, then for all own roles together (denies, then allows), then for the user. A category's overwrites do not apply to its
//! channels.
//!
//! Not for: deciding commands (that is the guild's) or knowing who is a member.
//!
//! ```
//! use guildhall_permissions::Rights;
//! use guildhall_proto::{
//!     Channel, ChannelId, ChannelKind, EventKind, GuildId, GuildSettings, Name, Overwrite, OverwriteTarget, Permissions,
//!     RoleId, UserId,
//! };
//!
//! let (guild, owner, reader) = (GuildId::new(1)?, UserId::new(10)?, UserId::new(11)?);
//! let settings = GuildSettings { name: Name::parse("Ada's")?, owner };
//! let mut rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::VIEW_CHANNEL));
//! let before = rights.clone();
//!
//! let channel = Channel { id: ChannelId::new(2)?, name: Name::parse("staff")?, kind: ChannelKind::Text, parent: None, position: 0 };
//! let hidden = Overwrite {
//!     target: OverwriteTarget::Role(RoleId::everyone(guild)),
//!     allow: Permissions::NONE,
//!     deny: Permissions::VIEW_CHANNEL,
//! };
//! rights.apply(&EventKind::ChannelCreated { channel: channel.clone(), overwrites: vec![hidden] });
//!
//! assert_eq!(rights.in_channel(reader, &[], channel.id), Some(Permissions::NONE));
//! assert_eq!(rights.in_channel(owner, &[], channel.id), Some(Permissions::ALL));
//! assert_eq!(before.in_channel(reader, &[], channel.id), None); // The older version stays as it was.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authority;
mod overwrites;
mod rights;
mod rule;
mod sorted;

pub use authority::{Authority, Denied, Rank};
pub use overwrites::Overwrites;
pub use rights::{NoPast, Rights};
pub use rule::{ChannelRule, RoleEffect};
