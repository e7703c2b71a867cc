//! What a chat backend links: calls to guilds at another node, and sessions beside a relay of its own.
//!
//! A [`Client`] keeps a link to the guild node. [`Client::guild`] calls a guild there: a call is sent again, after a pause, as
//! often as that does no harm and helps, until its deadline. [`Client::backend`] has sessions: for each guild that some attach to, one
//! feed comes over the link, and a relay here hands each session what it may hear.
//!
//! ```
//! use guildhall_client::{Attach, Client, ClientConfig, Delivery, Freshness};
//! use guildhall_proto::{
//!     Actor, Channel, ChannelId, ChannelKind, Command, GuildId, Level, MemberFlags, Mentions, Name, NewMember, Nick, Payload,
//!     Permissions, Publish, SessionId, Status, UserId,
//! };
//! # use std::sync::Arc;
//! # use std::time::{Duration, SystemTime, UNIX_EPOCH};
//! # use guildhall_node::{Node, NodeConfig, ServeConfig};
//! # use guildhall_proto::{Hello, Instance, Millis, NodeId, Versions};
//! # use guildhall_store::MemoryStore;
//! # use guildhall_transport::pki::{Authority, Issued, Validity};
//! # use guildhall_transport::{Credentials, Endpoint, TransportConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = Millis(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64);
//! # let validity = Validity { from: now, lifetime: Duration::from_secs(3600) };
//! # let (authority, _) = Authority::create("main".parse()?, validity)?;
//! # let credentials = |uri: &str| -> Result<Credentials, Box<dyn std::error::Error>> {
//! #     let Issued { certificate, key } = authority.issue(uri.parse()?, validity)?;
//! #     Ok(Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.certificate().as_bytes())?)
//! # };
//! # let node = Node::start(NodeConfig::default(), Arc::new(MemoryStore::default()))?;
//! # let hello = Hello { versions: Versions::SUPPORTED, node: NodeId::new(1)?, instance: Instance(1) };
//! # let guild_node = credentials("spiffe://main/guild-node/a")?;
//! # let (endpoint, acceptor) = Endpoint::listening("127.0.0.1:0".parse()?, &guild_node, hello, TransportConfig::default())?;
//! # let serving = node.serve(acceptor, ServeConfig::new(hello.node, hello.instance));
//! # let (address, credentials) = (endpoint.address()?, credentials("spiffe://main/backend/chat-1")?);
//! // The address of a guild node, and a certificate of the cluster's for a backend.
//! let client = Client::connect(ClientConfig::new(vec![address], credentials)).await?;
//! let (guild, channel, ada) = (client.guild(GuildId::new(1)?), ChannelId::new(2)?, UserId::new(7)?);
//!
//! let owner = NewMember { user: ada, nick: Nick::parse("Ada")?, roles: vec![], flags: MemberFlags::NONE };
//! let (name, everyone) = (Name::parse("Ada's")?, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);
//! guild.call(Actor::System, Command::CreateGuild { name: name.clone(), everyone, owner }).await?;
//! let text = Channel { id: channel, name, kind: ChannelKind::Text, parent: None, position: 0 };
//! let made = guild.call(Actor::System, Command::CreateChannel { channel: text, overwrites: vec![] }).await?;
//! // One's own writes are read.
//! let fresh = guild.clone().fresh(Freshness::AtLeast(made.at()));
//! assert!(fresh.can(ada, Some(channel)).await?.1.contains(Permissions::SEND_MESSAGES));
//!
//! let backend = client.backend().expect("the certificate is a backend's");
//! let session = SessionId::new(9)?;
//! let attach = Attach { session, user: ada, status: Status::Online, members: false, level: Level::Active };
//! let mut session = backend.attach(GuildId::new(1)?, attach).await?;
//! let payload = Payload::new(&b"hello"[..])?;
//! let publish = Publish { channel, payload, mentions: Mentions::default(), session: None, echo: false };
//! let published = guild.call(Actor::User(ada), Command::Publish(publish)).await?;
//! match session.next().await {
//!     Some(Delivery::Event(event)) => assert_eq!(event.position, published.at()),
//!     other => panic!("{other:?}"),
//! }
//! session.detach().await?;
//! client.close().await;
//! # serving.stop().await;
//! # node.stop().await;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

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
pub use guildhall_relay::{BatchItem, Delivery as DeliveryRef, DetachReason, Gap, Secret};
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
