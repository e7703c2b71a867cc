//! What a chat backend links: calls to guilds at another node, and sessions beside a relay of its own.
//!
//! A [`Client`] keeps a link to the guild node. [`Client::guild`] calls a guild there: a call is sent again, after a pause, as
//! often as that does no harm and helps, until its deadline. [`Client::backend`] has sessions: for each guild that some attach to, one
//! feed comes over the link, and a relay here hands each session what it may hear.
//!
//! ```
//! use guildhall_client::proto::{
//!     Actor, Channel, ChannelId, Command, GuildId, Name, NewMember, Nick, Payload, Permissions, Publish, UserId,
//! };
//! use guildhall_client::{Attach, Client, ClientConfig, Delivery, Freshness};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
//! # fn main() -> node::Done { node::served(async |address, credentials| {
//! // The address of a guild node, and what `Credentials::read` finds in the directory that `guildhall pki issue backend NAME` has made.
//! let client = Client::connect(ClientConfig::new(vec![address], credentials)).await?;
//! let (guild, channel, ada) = (client.guild(GuildId::new(1)?), ChannelId::new(2)?, UserId::new(7)?);
//!
//! let owner = NewMember::new(ada, Nick::parse("Ada")?);
//! let (name, everyone) = (Name::parse("Ada's")?, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);
//! guild.call(Actor::System, Command::CreateGuild { name: name.clone(), everyone, owner }).await?;
//! let hall = Command::CreateChannel { channel: Channel::text(channel, name), overwrites: vec![] };
//! let made = guild.call(Actor::System, hall).await?;
//! // One's own writes are read.
//! let fresh = guild.clone().fresh(Freshness::AtLeast(made.at()));
//! assert!(fresh.can(ada, Some(channel)).await?.1.contains(Permissions::SEND_MESSAGES));
//!
//! let backend = client.backend().expect("the certificate is a backend's");
//! let mut session = backend.attach(GuildId::new(1)?, Attach::new(client.new_session(), ada)).await?;
//! let hello = Publish::new(channel, Payload::new(&b"hello"[..])?);
//! let published = guild.call(Actor::User(ada), Command::Publish(hello)).await?;
//! match session.next().await {
//!     Some(Delivery::Event(event)) => assert_eq!(event.position, published.at()),
//!     other => panic!("{other:?}"),
//! }
//! session.detach().await?;
//! client.close().await;
//! # Ok(()) }) }
//! ```
//!
//! `examples/backend.rs` is a chat backend in small. Each call of a [`Client`] and a [`Guild`] has its own example; those of sessions stand together at
//! [`BatchSession`] and [`SessionStream`].

#![warn(missing_docs)]

// Where the node of the examples is used beside the code too.
#[cfg(test)]
extern crate self as guildhall_client;

mod call;
mod client;
mod config;
mod counters;
mod ensure;
mod error;
mod feeds;
mod guild;
mod import;
mod links;
mod node;
mod operations;
mod remote;
mod rest;

pub use client::Client;
pub use config::{ClientConfig, RelayConfig};
pub use counters::{Counter, Counters};
pub use ensure::Ensured;
pub use error::{ClientError, ConnectError};
pub use guild::{Guild, MemberStream, Pieces, Recipients};
pub use guildhall_cluster::{BudgetConfig, RetryConfig, RoutesConfig};
pub use guildhall_proto as proto;
pub use guildhall_proto::call::{Freshness, PageLimit, Piece, Prefix, Users};
pub use guildhall_relay::{BatchItem, Delivery as DeliveryRef, DetachReason, Gap, Secret, SecretError};
pub use guildhall_ring::{LatestConfig, RingConfig};
pub use guildhall_sessions::{Attach, AttachError, Delivery, Resume, ResumeError, Resumed, Returning};
pub use guildhall_transport::{
    BackoffConfig, Counter as LinkCounter, Counters as LinkCounters, Credentials, CredentialsError, TransportConfig,
};
pub use import::{Import, ImportError, Imported};
pub use node::{Archive, GuildPage, Pong};
pub use remote::Remote;

/// Sessions of a backend node: for each guild that some attach to, a relay beside them. Its methods: [`guildhall_sessions::Backend`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
/// # fn main() -> node::Done { node::with_backend(async |client| {
/// # use guildhall_client::proto::{Actor, ChannelId, Command, EventKind, Level, Mentions, Payload, Position, Publish, SessionId, Status, UserId};
/// # use guildhall_client::Client;
/// use guildhall_client::proto::GuildId;
/// use guildhall_client::{Attach, Resume, Resumed, Secret};
///
/// # async fn say(client: &Client, text: &'static str) -> Result<Position, Box<dyn std::error::Error>> {
/// #     let (channel, payload, mentions) = (ChannelId::new(2)?, Payload::new(text.as_bytes())?, Mentions::default());
/// #     let publish = Command::Publish(Publish { channel, payload, mentions, session: None, echo: false });
/// #     Ok(client.guild(GuildId::new(1)?).call(Actor::User(UserId::new(1)?), publish).await?.at())
/// # }
/// # let at = |session, user| -> Result<Attach, Box<dyn std::error::Error>> {
/// #     let (session, user) = (SessionId::new(session)?, UserId::new(user)?);
/// #     Ok(Attach { session, user, status: Status::Online, members: false, level: Level::Active })
/// # };
/// let (backend, guild) = (client.backend().expect("the certificate is a backend's"), GuildId::new(1)?);
/// let attach: Attach = at(31, 3)?; // Session 31, of user 3.
/// let session = backend.attach(guild, attach).await?;
/// // What a user's connection keeps, to come back with when it breaks: at this backend node, or at another.
/// let (secret, known) = (session.secret().to_string(), session.known());
/// drop(session);
///
/// say(&client, "while nobody listened").await?;
/// let secret: Secret = secret.parse()?;
/// let Resumed { mut session, gap } = backend.resume(guild, Resume { attach, secret, known }).await?;
/// assert_eq!(gap, None);
/// println!("{:?}", session.next().await);
/// session.detach().await?;
/// # Ok(()) }) }
/// ```
pub type Backend = guildhall_sessions::Backend<Remote>;
/// A session of a backend node, which reads for itself. Its methods: [`guildhall_sessions::SessionStream`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
/// # fn main() -> node::Done { node::with_backend(async |client| {
/// # use guildhall_client::proto::{Actor, ChannelId, Command, EventKind, Level, Mentions, Payload, Position, Publish, SessionId, Status, UserId};
/// # use guildhall_client::Client;
/// use guildhall_client::proto::GuildId;
/// use guildhall_client::{Attach, Delivery, DeliveryRef, DetachReason};
///
/// # async fn say(client: &Client, text: &'static str) -> Result<Position, Box<dyn std::error::Error>> {
/// #     let (channel, payload, mentions) = (ChannelId::new(2)?, Payload::new(text.as_bytes())?, Mentions::default());
/// #     let publish = Command::Publish(Publish { channel, payload, mentions, session: None, echo: false });
/// #     Ok(client.guild(GuildId::new(1)?).call(Actor::User(UserId::new(1)?), publish).await?.at())
/// # }
/// # let at = |session, user| -> Result<Attach, Box<dyn std::error::Error>> {
/// #     let (session, user) = (SessionId::new(session)?, UserId::new(user)?);
/// #     Ok(Attach { session, user, status: Status::Online, members: false, level: Level::Active })
/// # };
/// let backend = client.backend().expect("the certificate is a backend's");
/// let mut session = backend.attach(GuildId::new(1)?, at(31, 3)?).await?;
/// let said = say(&client, "one").await?;
/// match session.next().await {
///     Some(Delivery::Event(event)) => assert_eq!(event.position, said),
///     Some(Delivery::Gap(gap)) => println!("read the guild anew: all up to {} may be lost", gap.through),
///     Some(other) => println!("{other:?}"),
///     None => println!("it has ended"),
/// }
/// assert_eq!(session.known(), said);
/// // Many at once, shown where they lie.
/// say(&client, "two").await?;
/// let mut seen = 0;
/// while seen == 0 && session.read(64, |delivery| seen += usize::from(matches!(delivery, DeliveryRef::Event(_)))).await {}
/// // The user looks at another guild, and then goes away.
/// session.set_level(Level::Passive).await?;
/// session.set_status(Status::Idle).await?;
/// session.detach().await?;
/// // The same as `next().await`, for who has a context of its own.
/// while let Some(delivery) = std::future::poll_fn(|context| session.poll_next(context)).await {
///     if let Delivery::Detached(reason) = delivery {
///         assert_eq!(reason, DetachReason::Requested);
///     }
/// }
/// # Ok(()) }) }
/// ```
pub type SessionStream = guildhall_sessions::SessionStream<Remote>;
/// A session of a backend node, which [`Batches`] serves. Its methods: [`guildhall_sessions::BatchSession`].
pub type BatchSession = guildhall_sessions::BatchSession<Remote>;
/// What all batch sessions of one guild at a backend node hear, for one task that writes to all their connections. Its method:
/// [`guildhall_sessions::Batches::read`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
/// # fn main() -> node::Done { node::with_backend(async |client| {
/// # use guildhall_client::proto::{Actor, ChannelId, Command, EventKind, Level, Mentions, Payload, Position, Publish, SessionId, Status, UserId};
/// # use guildhall_client::Client;
/// use guildhall_client::proto::GuildId;
/// use guildhall_client::{Attach, BatchItem, BatchSession, Resume};
///
/// # async fn say(client: &Client, text: &'static str) -> Result<Position, Box<dyn std::error::Error>> {
/// #     let (channel, payload, mentions) = (ChannelId::new(2)?, Payload::new(text.as_bytes())?, Mentions::default());
/// #     let publish = Command::Publish(Publish { channel, payload, mentions, session: None, echo: false });
/// #     Ok(client.guild(GuildId::new(1)?).call(Actor::User(UserId::new(1)?), publish).await?.at())
/// # }
/// # let at = |session, user| -> Result<Attach, Box<dyn std::error::Error>> {
/// #     let (session, user) = (SessionId::new(session)?, UserId::new(user)?);
/// #     Ok(Attach { session, user, status: Status::Online, members: false, level: Level::Active })
/// # };
/// let (backend, guild) = (client.backend().expect("the certificate is a backend's"), GuildId::new(1)?);
/// let mut batches = backend.batches(guild).await?.expect("nobody else reads them");
/// // Each is named by a token of one's own: the number of its connection, say.
/// let bo = backend.attach_batch(guild, at(32, 2)?, 0).await?;
/// let mut cy: BatchSession = backend.attach_batch(guild, at(33, 3)?, 1).await?;
///
/// say(&client, "to both").await?;
/// let mut told = Vec::new();
/// while told.len() < 2 {
///     let goes_on = batches.read(1_000, |item| match item {
///         BatchItem::Event { event: _, tokens } => told.extend_from_slice(tokens),
///         BatchItem::Gap { .. } | BatchItem::Unread { .. } | BatchItem::Ephemeral { .. } | BatchItem::Detached { .. } => {}
///     });
///     assert!(goes_on.await);
/// }
/// told.sort();
/// assert_eq!(told, [0, 1]);
///
/// // Bo's connection breaks, and is there again as number 2; Cy says goodbye.
/// let resume = Resume { attach: at(32, 2)?, secret: bo.secret(), known: say(&client, "and again").await? };
/// drop(bo);
/// let resumed = backend.resume_batch(guild, resume, 2).await?;
/// assert_eq!((resumed.gap, resumed.session.session()), (None, SessionId::new(32)?));
/// cy.set_level(Level::Passive).await?;
/// cy.set_status(Status::Idle).await?;
/// cy.detach().await?;
/// # Ok(()) }) }
/// ```
pub type Batches = guildhall_sessions::Batches<Remote>;
