//! The member store of one guild: pages of columns, changes over them, views for anyone, folds, and scans.
//!
//! [`Members`] is the owner's side. A change goes into an *overlay*; the *base* beneath it is immutable [pages of
//! columns](Base). A [`View`] is both together with the presence and the rights as of one position: made in O(1) with
//! each turn, read on any thread, never changed. When the overlay has grown, a *fold* makes the next base out of it: a
//! [`FoldJob`] runs on a worker, while later changes go into a second overlay, and its outcome is installed in O(1).
//!
//! Driving it, in order: [`put`](Members::put), [`remove`](Members::remove), [`set_status`](Members::set_status),
//! [`delete_role`](Members::delete_role) as the guild's events say; a [`view`](Members::view) at the end of a turn; a
//! fold when
//! [`fold_due`](Members::fold_due), run here if the guild [`folds_inline`](Members::folds_inline), else elsewhere, and
//! then
//! [`install`](Members::install)ed, or [given up](Members::abandon_fold) if its worker died. What an install supersedes
//! dies on a worker.
//!
//! ```
//! use guildhall_members::{Members, MembersConfig, Question};
//! use guildhall_permissions::Rights;
//! use guildhall_proto::{
//!     Channel, ChannelId, ChannelKind, EventKind, GuildId, GuildSettings, Member, MemberFlags, Millis, Name, Nick, Permissions,
//!     Position, Status, UserId,
//! };
//!
//! let (guild, ada, bob) = (GuildId::new(1)?, UserId::new(10)?, UserId::new(11)?);
//! let settings = GuildSettings { name: Name::parse("Ada's")?, owner: ada };
//! let mut rights = Rights::new(guild, settings, Rights::everyone_role(guild, Permissions::VIEW_CHANNEL));
//! let id = ChannelId::new(2)?;
//! let channel = Channel { id, name: Name::parse("hall")?, kind: ChannelKind::Text, parent: None, position: 0 };
//! rights.apply(&EventKind::ChannelCreated { channel, overwrites: Vec::new() });
//!
//! // The owner's turn: changes, then a view.
//! let mut members = Members::new(MembersConfig::default());
//! for (user, nick) in [(ada, "Ada"), (bob, "bob")] {
//!     let (nick, roles) = (Nick::parse(nick)?, Vec::new());
//!     members.put(&Member { user, nick, roles, joined_at: Millis(0), flags: MemberFlags::NONE });
//! }
//! members.set_status(bob, Status::Idle);
//! let view = members.view(Position::default(), &rights);
//!
//! // Anyone, on any thread: reads and scans. The owner has gone on meanwhile.
//! members.remove(bob);
//! assert_eq!(view.with_member(ada, |ada| ada.nick().len()), Some(3));
//! assert_eq!(view.by_prefix("B", 10)[0].user, bob);
//! let here = view.scan(Question::Here { channel: id })?;
//! let mut online = Vec::new();
//! for chunk_idx in 0..here.chunks() {
//!     here.run_chunk(chunk_idx, &mut online); // On as many workers as there are.
//! }
//! assert_eq!(online, [bob]);
//!
//! // A worker: the next base. Then the owner again.
//! let job = members.begin_fold().expect("there are changes");
//! let folded = job.run();
//! drop(members.install(folded));
//! assert_eq!((members.len(), members.online()), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it costs
//!
//! *n* members, *p* pages of at most 2,048, *s* distinct role sets, *c* changes since the last fold (some
//! thousands; in a busy large guild up to one for sixteen members).
//!
//! | Call | Cost | Who pays |
//! |---|---|---|
//! | `put`, `remove`, `set_status` | O(log n + log c) | owner |
//! | `ban`, `unban` | O(log bans) | owner |
//! | `delete_role`, `view`, `install` | O(1), or O(log) in roles | owner |
//! | `begin_fold` | O(1); when runs of changes are to be merged, which a `put` does too now and then, O(c): some tenths of a millisecond | owner |
//! | `abandon_fold` | O(c) | owner, when a worker died |
//! | `digest` | O(roles) | owner |
//! | `FoldJob::run` | O(members of touched pages and what they hold + c log c); O(s) more if roles were deleted | worker |
//! | `View::with_member`, `member`, `status`, `can` | O(log n + log c) | caller |
//! | `range` | O(log n + limit) | caller |
//! | `by_prefix` | O(p log n + c + limit log p); O(log n + c + limit) where nicks are ordered | caller |
//! | `order_nicks` | O(n log n): 100 to 200 ns a member; then O(n) more in each fold, some 20 ns | worker |
//! | `scan`, all chunks | O(n / 64 + holders of roles that decide + found + c): at most about 1 ns a member | workers |
//! | `search` | O(log n + members looked at) | caller |
//! | `Base::parts`, all written | O(bytes): at about the speed of memory | worker |
//! | `RoleTable::decode_page`, all pages | O(n): about 100 ns a member | workers |
//! | `filter`, all chunks | O(n + c log c) and a call of the condition each | workers |
//!
//! About 44 bytes a member with a 12-byte nick and four roles in few distinct sets, 59 if each member's role set is its
//! own, and 4 more in a guild that is searched by nick; an entry of the overlay takes some 130 until it is folded.
//!
//! A base is written out and read back [part by part](Base::parts), for a store.
//!
//! Not for: deciding who may change what (the guild's), starting threads (the node's), or being written by two.

#![warn(missing_docs)]

mod ahead;
mod bans;
mod base;
mod config;
mod digest;
mod fold;
mod holders;
mod layers;
mod member_ref;
mod members;
mod memory;
mod nick;
mod overlay;
mod page;
mod parts;
mod presence;
mod role_sets;
mod scan;
mod view;

pub use bans::Bans;
pub use base::Base;
pub use config::MembersConfig;
pub use digest::Digest;
pub use fold::{FoldJob, Folded, Superseded};
pub use guildhall_proto::Question;
pub use member_ref::{MemberRef, Roles};
pub use members::{Members, Put};
pub use memory::Memory;
pub use parts::{Dictionary, PagePiece, Part, PartError, PartKind, RoleTable, SetsPiece};
pub use scan::{Filter, Scan};
pub use view::{UnknownInView, View};
