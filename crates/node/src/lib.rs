//! The shell of a guild node: what the pure cores decide, this performs.
//!
//! Each loaded guild has one owner task, which takes inputs from a bounded mailbox, lets the guild handle them, hands records to the
//! store and lets out what the gate releases. Readers read published views on their own threads; scans, folds and the death of what
//! is large happen on rayon workers at the lowest priority. Sessions in the same process attach to a [`Backend`], whose relays read the
//! owners' rings.
//!
//! On Linux the threads of the runtime should be [prompt](guildhall_threads::prompt), as `guildhall serve` has them: an owner that wakes then need not
//! wait until a worker's slice is over.
//!
//! ```
//! use std::sync::Arc;
//!
//! use guildhall_node::{Attach, Call, Delivery, Node, NodeConfig};
//! use guildhall_proto::{
//!     Actor, Channel, ChannelId, ChannelKind, ClientId, Command, GuildId, Level, MemberFlags, Mentions, Millis, Name, NewMember, Nick,
//!     OpId, Payload, Permissions, Publish, SessionId, Status, UserId,
//! };
//! use guildhall_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(NodeConfig::default(), Arc::new(MemoryStore::default()))?;
//! let (guild, channel, ada) = (GuildId::new(1)?, ChannelId::new(2)?, UserId::new(7)?);
//! let client = ClientId::new(1)?;
//! let now = Millis(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64);
//! let call = |counter, command| Call { op: OpId { client, counter, issued_at: now }, actor: Actor::System, command };
//!
//! let owner = NewMember { user: ada, nick: Nick::parse("Ada")?, roles: vec![], flags: MemberFlags::NONE };
//! let (name, everyone) = (Name::parse("Ada's")?, Permissions::VIEW_CHANNEL);
//! node.call(guild, call(1, Command::CreateGuild { name: name.clone(), everyone, owner })).await?;
//! let text = Channel { id: channel, name, kind: ChannelKind::Text, parent: None, position: 0 };
//! node.call(guild, call(2, Command::CreateChannel { channel: text, overwrites: vec![] })).await?;
//!
//! let backend = node.backend();
//! let attach = Attach {
//!     session: SessionId::new(9)?,
//!     user: ada,
//!     status: Status::Online,
//!     members: false,
//!     level: Level::Active,
//! };
//! let mut session = backend.attach(guild, attach).await?;
//! assert_eq!(node.view(guild).await?.online(), 1);
//!
//! let payload = Payload::new(&b"hello"[..])?;
//! let publish = Publish { channel, payload, mentions: Mentions::default(), session: None, echo: false };
//! let published = node.call(guild, call(3, Command::Publish(publish))).await?;
//! match session.next().await {
//!     Some(Delivery::Event(event)) => assert_eq!(event.position, published.at()),
//!     other => panic!("{other:?}"),
//! }
//! node.stop().await;
//! # Ok(()) }
//! ```

mod beside;
mod clock;
mod config;
mod confirm;
mod counters;
mod durable;
mod keys;
mod last;
mod links;
mod live;
mod mailbox;
mod membership;
mod node;
mod offload;
mod owner;
mod pace;
mod reads;
mod registry;
mod sponsors;
mod stored;

pub use beside::{Backend, BatchSession, Batches, SessionStream};
pub use clock::Clock;
pub use config::{LoadConfig, MailboxConfig, NodeConfig, OffloadConfig, Quota, ResumeConfig, TurnConfig};
pub use counters::{Counter, Counters, Counts};
pub use durable::{DurableError, DurableStore, WriterFailure};
pub use guildhall_cluster::{Coordinator, Peer};
pub use guildhall_guild::RecoverError;
pub use guildhall_members::{MemberRef, Question, View};
pub use guildhall_proto::AsOf;
pub use guildhall_relay::Delivery as DeliveryRef;
pub use guildhall_relay::{BatchItem, DetachReason, Gap, RelayConfig, Secret, SecretError, SecretKey, SecretKeys};
pub use guildhall_ring::{LatestConfig, RingConfig};
pub use guildhall_sessions::{Attach, AttachError, Delivery, Resume, ResumeError, Resumed};
pub use keys::NoRandomness;
pub use links::{AUDIT, ServeConfig, Serving};
pub use membership::Membership;
pub use node::{Call, Node, Pending, StartError};
pub use owner::SleepError;
pub use reads::{Recipients, ViewRef};
pub use stored::{StoredView, stored_view};
